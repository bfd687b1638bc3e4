"""`python -m vidgan_jax.generate`: single latents, paths, sums; and their files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageSequence

from tests.runs import (
    NUM_FRAMES,
    NUM_STEPS,
    SIZE,
    Z_DIM,
    Runs,
    names,
    read_json,
    succeed,
    trained,
    type_in,
)
from vidgan_jax import files, generate
from vidgan_jax.data import media
from vidgan_jax.synthesis import pictures
from vidgan_jax.synthesis.latents import draw_latents
from vidgan_jax.synthesis.run import run_generator

SHEETS = ["contact_sheet.gif", "contact_sheet.mp4", "contact_sheet.png", "contact_sheet.webp"]


def draw(seed: int = 0, num: int = 3, truncation: float | None = None) -> np.ndarray:
    return np.asarray(draw_latents(seed, num, Z_DIM, truncation))


def read_mp4(path: Path) -> tuple[list[np.ndarray], float]:
    """Frames uint8 `[h, w, 3]`, and how many a second."""
    with av.open(str(path)) as container:
        rate = container.streams.video[0].average_rate
        assert rate is not None
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)], float(
            rate
        )


def read_png(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def run(workdir: Path, out: Path, *options: str) -> Mapping[str, Any]:
    """Runs the command; returns its report."""
    succeed(generate.main, f"--checkpoint={workdir}", f"--out={out}", *options)
    return read_json(out / generate.REPORT)


def examples_of(workdir: Path, latents: np.ndarray, *, averaged: bool = True) -> np.ndarray:
    exp, weights = trained(workdir)
    return run_generator(exp, weights, jnp.asarray(latents), batch_size=8, averaged=averaged)


# Files.


def test_a_film_goes_back_and_forth_in_its_clips() -> None:
    clips = np.broadcast_to(
        np.arange(4, dtype=np.uint8)[None, :, None, None, None], (9, 4, 2, 2, 3)
    )
    assert pictures.walk(clips)[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert pictures.walk(clips[:, 0]).shape == (9, 2, 2, 3)
    assert pictures.walk(clips[:, :1]).shape == (9, 2, 2, 3)


def test_images(runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = run(runs.images, tmp_path, "--num=3", "--seed=7")
    images = [f"image_{i:04d}.png" for i in range(3)]
    assert names(tmp_path) == ["contact_sheet.png", generate.REPORT, *images]
    expected = examples_of(runs.images, draw(seed=7)).astype(int)
    for name, image in zip(images, expected, strict=True):
        assert np.abs(read_png(tmp_path / name) - image).max() <= 1
    assert report == {
        "files": [*images, "contact_sheet.png"],
        "checkpoint": str(runs.images / "checkpoints" / str(NUM_STEPS)),
        "step": NUM_STEPS,
        "code": report["code"],
        "seed": 7,
        "num": 3,
        "truncation": None,
        "interpolate": 0,
        "interpolation": None,
        "arithmetic": None,
        "ema": True,
        "label_maps": None,
        "nearest_colours": None,
        "class_id": None,
        "style_from": None,
        "fps": 8.0,
        "shape": [3, SIZE, SIZE, 3],
    }
    assert f"3 images of step {NUM_STEPS} in {tmp_path}" in capsys.readouterr().out


def test_clips_of_all_formats(runs: Runs, tmp_path: Path) -> None:
    formats = (".mp4", ".gif", ".webp")
    report = run(runs.clips, tmp_path, "--num=2", "--truncation=1", "--format", *formats)
    clips = [f"clip_{i:04d}{suffix}" for i in range(2) for suffix in sorted(formats)]
    assert names(tmp_path) == sorted([*clips, *SHEETS, generate.REPORT])
    assert sorted([*report["files"], generate.REPORT]) == names(tmp_path)
    assert report["shape"] == [2, NUM_FRAMES, SIZE, SIZE, 3]
    assert report["truncation"] == 1.0
    assert report["fps"] == 12.0  # 24 of the data, every second frame
    for name in clips:
        if name.endswith(".mp4"):
            frames, rate = read_mp4(tmp_path / name)
            assert rate == 12.0
        else:
            with Image.open(tmp_path / name) as film:
                frames = [np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(film)]
        # Equal frames next to one another may be stored as one.
        assert 1 <= len(frames) <= NUM_FRAMES
        assert frames[0].shape == (SIZE, SIZE, 3)


def test_mp4_has_every_frame_at_the_rate_asked_for(runs: Runs, tmp_path: Path) -> None:
    report = run(runs.clips, tmp_path, "--num=1", "--fps=7.5")
    frames, rate = read_mp4(tmp_path / "clip_0000.mp4")
    assert (len(frames), rate, report["fps"]) == (NUM_FRAMES, 7.5, 7.5)
    sheet, rate = read_mp4(tmp_path / "contact_sheet.mp4")
    assert rate == 7.5
    assert len(sheet) % NUM_FRAMES == 0
    assert len(sheet) / rate >= 4  # long enough to look at


def test_files_of_an_inflated_checkpoint_are_the_images_and_still(
    runs: Runs, tmp_path: Path
) -> None:
    """On disk, too: every frame of the contact sheet is the image of the same number."""
    run(runs.images, tmp_path / "2d", "--num=2")
    run(runs.inflated, tmp_path / "3d", "--num=2", "--format=.mp4")
    images = [read_png(tmp_path / "2d" / f"image_{i:04d}.png") for i in range(2)]
    expected = np.stack([np.stack([image] * NUM_FRAMES) for image in images]).astype(np.uint8)
    sheet = read_png(tmp_path / "3d" / "contact_sheet.png")
    assert np.abs(sheet - media.filmstrips(media.enlarge(expected))).max() <= 1


def test_interpolated_images_begin_with_each_image(runs: Runs, tmp_path: Path) -> None:
    run(runs.images, tmp_path / "plain", "--num=3")
    report = run(runs.images, tmp_path / "film", "--num=3", "--interpolate=4")
    assert names(tmp_path / "film") == ["contact_sheet.png", generate.REPORT, "interpolation.mp4"]
    frames, rate = read_mp4(tmp_path / "film" / "interpolation.mp4")
    assert (len(frames), rate) == (12, 24.0)
    assert report["shape"] == [12, SIZE, SIZE, 3]
    assert (report["interpolate"], report["interpolation"]) == (4, "spherical")
    assert sorted(report["files"]) == ["contact_sheet.png", "interpolation.mp4"]
    sheets = [read_png(tmp_path / kind / "contact_sheet.png") for kind in ("plain", "film")]
    assert np.abs(sheets[0] - sheets[1]).max() <= 1


def test_interpolated_clips(runs: Runs, tmp_path: Path) -> None:
    report = run(runs.clips, tmp_path, "--num=2", "--interpolate=3", "--format", ".gif", ".mp4")
    films = ["interpolation.gif", "interpolation.mp4"]
    assert names(tmp_path) == ["contact_sheet.png", generate.REPORT, *films]
    frames, rate = read_mp4(tmp_path / "interpolation.mp4")
    assert (len(frames), rate, report["fps"]) == (6, 12.0, 12.0)


def test_kinds_of_interpolation_share_their_ends_only(runs: Runs, tmp_path: Path) -> None:
    """On the way they differ by more than what the film's encoder loses."""
    films = []
    for kind in ("linear", "spherical"):
        options = ("--num=3", "--interpolate=2", f"--interpolation={kind}")
        assert run(runs.images, tmp_path / kind, *options)["interpolation"] == kind
        films.append(np.stack(read_mp4(tmp_path / kind / "interpolation.mp4")[0]).astype(int))
    ends, ways = [np.abs(films[0] - films[1])[i::2].mean() for i in (0, 1)]
    assert ways > 2 * ends


EXPRESSION = "(0,1,2) - 3 + 1"


def latents_of_expression(*, rescale: bool) -> np.ndarray:
    """Of `EXPRESSION`, term by term, in numpy."""
    z = draw(seed=7, num=4).astype(np.float64)
    parts = np.stack([z[:3].mean(0), z[3], z[1], z[:3].mean(0) - z[3] + z[1]])
    if rescale:
        length = np.linalg.norm(z, axis=1)
        wanted = np.array([length[:3].mean(), length[3], length[1], length[[0, 1, 2, 3, 1]].mean()])
        parts *= (wanted / np.linalg.norm(parts, axis=1))[:, None]
    return parts.astype(np.float32)


@pytest.mark.parametrize("rescale", [True, False])
def test_arithmetic_of_images(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str], rescale: bool
) -> None:
    option = "--rescale" if rescale else "--no-rescale"
    report = run(runs.images, tmp_path, f"--arithmetic={EXPRESSION}", "--seed=7", option)
    pictures = ["term_0.png", "term_1.png", "term_2.png", "result.png"]
    assert names(tmp_path) == sorted([*pictures, "contact_sheet.png", generate.REPORT])
    expected = examples_of(runs.images, latents_of_expression(rescale=rescale))
    for name, image in zip(pictures, expected, strict=True):
        assert np.abs(read_png(tmp_path / name) - image).max() <= 1
    row = media.tile_images(media.enlarge(expected), columns=4).astype(int)
    assert np.abs(read_png(tmp_path / "contact_sheet.png") - row).max() <= 1
    assert report["arithmetic"] == {
        "expression": EXPRESSION,
        "terms": [
            {"sign": "+", "latents": [0, 1, 2]},
            {"sign": "-", "latents": [3]},
            {"sign": "+", "latents": [1]},
        ],
        "rescale": rescale,
    }
    assert (report["num"], report["interpolation"]) == (None, None)
    assert report["files"] == [*pictures, "contact_sheet.png"]
    assert f"3 terms and their result as images of step {NUM_STEPS}" in capsys.readouterr().out


def test_arithmetic_of_clips(runs: Runs, tmp_path: Path) -> None:
    options = ("--seed=7", "--format", ".mp4", ".gif")
    report = run(runs.clips, tmp_path, f"--arithmetic={EXPRESSION}", *options)
    stems = ["term_0", "term_1", "term_2", "result"]
    films = [stem + suffix for stem in stems for suffix in (".mp4", ".gif")]
    assert names(tmp_path) == sorted([*films, *SHEETS, generate.REPORT])
    assert sorted(report["files"]) == sorted([*films, *SHEETS])
    assert report["shape"] == [4, NUM_FRAMES, SIZE, SIZE, 3]
    clips = media.enlarge(examples_of(runs.clips, latents_of_expression(rescale=True)))
    sheet = read_png(tmp_path / "contact_sheet.png")
    assert np.abs(sheet - media.filmstrips(clips)).max() <= 1
    frames, rate = read_mp4(tmp_path / "result.mp4")
    assert (len(frames), rate) == (NUM_FRAMES, 12.0)
    frames, _ = read_mp4(tmp_path / "contact_sheet.mp4")
    assert frames[0].shape == media.tile_images(clips, columns=4)[0].shape  # in one row


def test_many_terms_take_several_rows(tmp_path: Path) -> None:
    images = np.zeros((20, 64, 64, 3), np.uint8)
    pictures.write_terms(tmp_path, images, 1.0, [])
    height, width, _ = read_png(tmp_path / "contact_sheet.png").shape
    assert (height, width) == (2 * 66 + 2, 16 * 66 + 2)


# Folders of earlier runs.


def test_a_run_removes_what_the_one_before_it_wrote(runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "image_0099.png").write_bytes(b"of somebody else")
    (tmp_path / "notes.txt").write_bytes(b"likewise")
    theirs = ["image_0099.png", "notes.txt"]
    run(runs.images, tmp_path, "--num=3")
    run(runs.images, tmp_path, "--num=1")
    images = ["contact_sheet.png", generate.REPORT, "image_0000.png"]
    assert names(tmp_path) == sorted([*images, *theirs])
    run(runs.clips, tmp_path, "--num=1")
    assert names(tmp_path) == sorted(["clip_0000.mp4", *SHEETS, generate.REPORT, *theirs])
    run(runs.images, tmp_path, "--arithmetic=0 - 1")
    pictures = ["contact_sheet.png", generate.REPORT, "result.png", "term_0.png", "term_1.png"]
    assert names(tmp_path) == sorted([*pictures, *theirs])


def test_only_pictures_in_the_folder_itself_are_removed(tmp_path: Path) -> None:
    """Whatever a report lists, by whoever wrote it."""
    out = tmp_path / "out"
    (out / "sub").mkdir(parents=True)
    (out / "folder.png").mkdir()
    outside, below = tmp_path / "outside.png", out / "sub" / "below.png"
    kept = [outside, below, out / "notes.txt", out / "unlisted.png", tmp_path / "target.png"]
    for path in (*kept, out / "old.png", out / "old.mp4"):
        path.write_bytes(b"")
    (out / "link.png").symlink_to(tmp_path / "target.png")
    listed = ["old.png", "old.mp4", "link.png", "notes.txt", "folder.png", "gone.png"]
    listed += ["../outside.png", str(outside), "sub/below.png", "sub\\below.png", "", ".", ".."]
    listed += ["sub", generate.REPORT, "x" * 5000 + ".png", "\0.png"]
    report = {"files": [*listed, 3, None, ["old.png"]]}
    (out / generate.REPORT).write_text(json.dumps(report))
    files.remove_listed(out / generate.REPORT, (".png", ".mp4", ".gif", ".webp"))
    assert names(out) == ["folder.png", "notes.txt", "sub", "unlisted.png"]
    assert all(path.exists() for path in kept)


@pytest.mark.parametrize(
    "report", ["", "{", "[]", "3", "{}", '{"files": null}', '{"files": 3}', "[" * 100_000, "\xff"]
)
def test_a_report_that_lists_no_files_stays(tmp_path: Path, report: str) -> None:
    (tmp_path / generate.REPORT).write_bytes(report.encode("latin-1"))
    (tmp_path / "image_0000.png").write_bytes(b"")
    files.remove_listed(tmp_path / generate.REPORT, (".png",))
    assert names(tmp_path) == [generate.REPORT, "image_0000.png"]


def test_a_run_that_fails_before_it_writes_removes_nothing(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(runs.images, tmp_path, "--num=1")
    before = names(tmp_path)

    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("no")

    monkeypatch.setattr(generate, "run_generator", fail)
    assert generate.main([f"--checkpoint={runs.images}", f"--out={tmp_path}"]) == 2
    assert names(tmp_path) == before


def test_one_checkpoint_of_a_workdir_and_the_last_generator(runs: Runs, tmp_path: Path) -> None:
    earlier = runs.images / "checkpoints" / "2"
    report = run(earlier, tmp_path, "--num=1", "--no-ema")
    assert (report["step"], report["checkpoint"], report["ema"]) == (2, str(earlier), False)
    image = examples_of(earlier, draw(num=1), averaged=False).astype(int)[0]
    assert np.abs(read_png(tmp_path / "image_0000.png") - image).max() <= 1


def test_the_command_as_a_user_types_it(runs: Runs, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made = type_in("generate", "--checkpoint", runs.clips, "--out", out, "--num", "2")
    assert made.returncode == 0, made.stderr
    assert "look at" in made.stdout
    assert names(out) == sorted(["clip_0000.mp4", "clip_0001.mp4", *SHEETS, generate.REPORT])
    failed = type_in("generate", "--checkpoint", tmp_path / "no", "--out", out)
    assert failed.returncode == 2
    assert failed.stderr == (
        f"error: {tmp_path / 'no'} does not exist; give a workdir that was trained, or an inflated "
        "one\n"
    )
