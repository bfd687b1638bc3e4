"""`python -m vidgan_jax.generate`: latents, paths through them, files."""

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
    refuse,
    succeed,
    trained,
    type_in,
)
from vidgan_jax import generate
from vidgan_jax.data import media
from vidgan_jax.train import checkpoint

SHEETS = ["contact_sheet.gif", "contact_sheet.mp4", "contact_sheet.png", "contact_sheet.webp"]


def draw(seed: int = 0, num: int = 3, truncation: float | None = None) -> np.ndarray:
    return np.asarray(generate.draw_latents(seed, num, Z_DIM, truncation))


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


def examples_of(workdir: Path, latents: np.ndarray, **options: Any) -> np.ndarray:
    options = {"batch_size": 8, **options}
    return generate.run_generator(*trained(workdir), jnp.asarray(latents), **options)


# Latents.


@pytest.mark.parametrize("truncation", [None, 1.0])
@pytest.mark.parametrize(("num", "many"), [(1, 2), (3, 8)])
def test_number_i_is_the_same_however_many_there_are(
    num: int, many: int, truncation: float | None
) -> None:
    few, all_of_them = draw(5, num, truncation), draw(5, many, truncation)
    np.testing.assert_array_equal(few, all_of_them[:num])


def test_latents_are_standard_normal_and_seeds_differ() -> None:
    latents = np.asarray(generate.draw_latents(0, 2000, 16, None))
    assert latents.dtype == np.float32
    assert abs(latents.mean()) < 0.02
    assert abs(latents.std() - 1) < 0.02
    assert len(np.unique(latents.round(4), axis=0)) == 2000
    assert not np.isin(draw(seed=1), draw(seed=0)).any()


@pytest.mark.parametrize("truncation", [0.5, 2.0])
def test_truncation_bounds_every_component(truncation: float) -> None:
    latents = np.asarray(generate.draw_latents(0, 500, 16, truncation))
    assert np.abs(latents).max() <= truncation
    assert np.abs(latents).max() > 0.95 * truncation
    assert abs(latents.mean()) < 0.03


# Paths.


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_path_hits_its_latents_and_is_closed(steps: int) -> None:
    latents = draw(num=3)
    path = np.asarray(generate.interpolate(jnp.asarray(latents), steps))
    assert path.shape == (3 * steps, Z_DIM)
    np.testing.assert_allclose(path[::steps], latents, rtol=1e-5)
    # On from the last towards the first: no jump, and no stop.
    strides = np.linalg.norm(np.roll(path, -1, axis=0) - path, axis=1)
    assert (
        strides.max() < np.linalg.norm(latents - np.roll(latents, -1, axis=0), axis=1).max() + 1e-5
    )
    assert strides.min() > 0


def test_a_path_between_unit_latents_is_a_great_circle() -> None:
    """Equal angles from step to step, and length 1 all the way."""
    latents = jnp.asarray([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    path = np.asarray(generate.interpolate(latents, 9))
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), 1, rtol=1e-5)
    cosines = np.sum(path * np.roll(path, -1, axis=0), axis=1)
    np.testing.assert_allclose(np.arccos(cosines), np.pi / 2 / 9, rtol=1e-3)


def test_a_path_between_equal_latents_stands_still() -> None:
    path = generate.interpolate(jnp.ones((2, Z_DIM)), 4)
    np.testing.assert_allclose(path, 1, rtol=1e-5)


def test_a_film_goes_back_and_forth_in_its_clips() -> None:
    clips = np.broadcast_to(
        np.arange(4, dtype=np.uint8)[None, :, None, None, None], (9, 4, 2, 2, 3)
    )
    assert generate.walk(clips)[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert generate.walk(clips[:, 0]).shape == (9, 2, 2, 3)
    assert generate.walk(clips[:, :1]).shape == (9, 2, 2, 3)


# The generator.


def test_batches_change_nothing(runs: Runs) -> None:
    latents = draw(num=5)
    whole = examples_of(runs.clips, latents)
    assert whole.dtype == np.uint8
    assert whole.shape == (5, NUM_FRAMES, SIZE, SIZE, 3)
    for batch_size in (1, 2):
        parts = examples_of(runs.clips, latents, batch_size=batch_size).astype(int)
        assert np.abs(parts - whole).max() <= 1


def test_the_average_and_the_last_generator_differ(runs: Runs) -> None:
    latents = draw(num=2)
    last = examples_of(runs.images, latents, averaged=False).astype(int)
    assert np.abs(last - examples_of(runs.images, latents)).max() > 1


def test_a_freshly_inflated_generator_makes_the_images_stand_still(runs: Runs) -> None:
    latents = draw(num=4)
    images = examples_of(runs.images, latents).astype(int)
    clips = examples_of(runs.inflated, latents).astype(int)
    assert clips.shape == (4, NUM_FRAMES, SIZE, SIZE, 3)
    assert np.abs(clips - images[:, None]).max() <= 1
    assert np.abs(images - images[:1]).max() > 1  # or a constant would do


# Files.


def test_images(runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = run(runs.images, tmp_path, "--num=3", "--seed=7")
    images = [f"image_{i:04d}.png" for i in range(3)]
    assert names(tmp_path) == ["contact_sheet.png", generate.REPORT, *images]
    expected = examples_of(runs.images, draw(seed=7)).astype(int)
    for name, image in zip(images, expected, strict=True):
        assert np.abs(read_png(tmp_path / name) - image).max() <= 1
    assert report == {
        "checkpoint": str(runs.images / "checkpoints" / str(NUM_STEPS)),
        "step": NUM_STEPS,
        "code": report["code"],
        "seed": 7,
        "num": 3,
        "truncation": None,
        "interpolate": 0,
        "ema": True,
        "fps": 8.0,
        "shape": [3, SIZE, SIZE, 3],
    }
    assert f"3 images of step {NUM_STEPS} in {tmp_path}" in capsys.readouterr().out


def test_clips_of_all_formats(runs: Runs, tmp_path: Path) -> None:
    formats = (".mp4", ".gif", ".webp")
    report = run(runs.clips, tmp_path, "--num=2", "--truncation=1", "--format", *formats)
    clips = [f"clip_{i:04d}{suffix}" for i in range(2) for suffix in sorted(formats)]
    assert names(tmp_path) == sorted([*clips, *SHEETS, generate.REPORT])
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
    sheets = [read_png(tmp_path / kind / "contact_sheet.png") for kind in ("plain", "film")]
    assert np.abs(sheets[0] - sheets[1]).max() <= 1


def test_interpolated_clips(runs: Runs, tmp_path: Path) -> None:
    report = run(runs.clips, tmp_path, "--num=2", "--interpolate=3", "--format", ".gif", ".mp4")
    films = ["interpolation.gif", "interpolation.mp4"]
    assert names(tmp_path) == ["contact_sheet.png", generate.REPORT, *films]
    frames, rate = read_mp4(tmp_path / "interpolation.mp4")
    assert (len(frames), rate, report["fps"]) == (6, 12.0, 12.0)


def test_one_checkpoint_of_a_workdir_and_the_last_generator(runs: Runs, tmp_path: Path) -> None:
    earlier = runs.images / "checkpoints" / "2"
    report = run(earlier, tmp_path, "--num=1", "--no-ema")
    assert (report["step"], report["checkpoint"], report["ema"]) == (2, str(earlier), False)
    image = examples_of(earlier, draw(num=1), averaged=False).astype(int)[0]
    assert np.abs(read_png(tmp_path / "image_0000.png") - image).max() <= 1


# Mistakes.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num=0"], r"--num \(=0\) and --batch-size \(=8\) must be at least 1"),
        (["--batch-size=0"], r"--batch-size \(=0\) must be at least 1"),
        (["--seed=-1"], r"--seed \(=-1\) must be from 0 to 4294967295"),
        (["--seed=4294967296"], "--seed .* must be from 0 to 4294967295"),
        (["--truncation=-1"], r"--truncation \(=-1.0\) must be above 0"),
        (["--truncation=nan"], r"--truncation \(=nan\) must be above 0"),
        (["--interpolate=4", "--num=1"], r"of at least two \(--num is 1\)"),
        (["--interpolate=-4"], r"--interpolate \(=-4\) is the number of frames"),
        (["--fps=0"], r"--fps \(=0.0\) must be above 0 and at most 240"),
        (["--fps=1e9"], "--fps .* must be above 0 and at most 240"),
        (["--checkpoint={data}"], "has no checkpoint in it; give a workdir that was trained"),
        (["--checkpoint={data}/no"], "does not exist; give a workdir that was trained"),
        (["--out={data}/info.json/out"], "--out .*: nothing can be written there"),
        (["--out={data}/info.json"], "--out .*: nothing can be written there"),
    ],
)
def test_mistakes_are_told_before_any_work(
    runs: Runs,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    message: str,
) -> None:
    monkeypatch.delattr(generate, "run_generator")
    out = tmp_path / "out"
    filled = [option.format_map(vars(runs)) for option in options]
    with pytest.raises(ValueError, match=message):
        raise ValueError(
            refuse(capsys, generate.main, f"--checkpoint={runs.clips}", f"--out={out}", *filled)
        )
    assert not out.exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--format=.avi", "invalid choice: '.avi' (choose from"),
        ("--num=few", "invalid int value: 'few'"),
        ("--config.model.size=3", "unknown argument --config.model.size=3"),
    ],
)
def test_unknown_values_show_the_usage(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, message: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        generate.main([f"--checkpoint={runs.clips}", f"--out={tmp_path / 'out'}", option])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_checkpoint_of_another_version_is_refused(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A field that this code does not know: the message names it, and who wrote it."""
    _, weights = trained(runs.images)
    config = {**weights.meta["config"], "wings": 2}
    parts = {"gen": weights.gen, "disc": weights.disc, "ema_params": weights.ema_params}
    meta = {**weights.meta, "config": config, "code": "9.9"}
    checkpoint.save_weights(tmp_path / "new", **parts, meta=meta)
    said = refuse(capsys, generate.main, f"--checkpoint={tmp_path / 'new'}", f"--out={tmp_path}")
    assert "config.wings" in said
    assert "it was saved by 9.9: use that" in said


def test_a_full_disk_leaves_whole_files_only(
    runs: Runs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = Image.Image.save

    def save(image: Image.Image, path: Path, **options: Any) -> None:
        if "0001" in path.name:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device", str(path))
        whole(image, path, **options)

    monkeypatch.setattr(Image.Image, "save", save)
    said = refuse(capsys, generate.main, f"--checkpoint={runs.images}", f"--out={tmp_path}")
    assert "No space left on device" in said
    assert names(tmp_path) == ["image_0000.png"]


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
