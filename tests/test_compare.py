"""`python -m vidgan_jax.compare`: runs of all kinds on one page."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.datasets import NUM_LABELS, make_dataset
from tests.models_on_disk import save_model
from tests.reports.html_pages import HtmlPage, read_page
from tests.runs import (
    NUM_FRAMES,
    NUM_STEPS,
    SIZE,
    Z_DIM,
    Runs,
    fields,
    logged,
    names,
    read_json,
    refuse,
    succeed,
    trained,
)
from vidgan_jax import compare
from vidgan_jax.data.clips import evaluation_loader
from vidgan_jax.data.labels import colorize, resize_label_map
from vidgan_jax.data.records import ClipSource
from vidgan_jax.evaluation.manifest import tree_digest
from vidgan_jax.evaluation.tables import cell
from vidgan_jax.synthesis.latents import draw_latents
from vidgan_jax.synthesis.run import run_generator
from vidgan_jax.train.weights import load_weights

SPADE = (
    *fields(model_size=32, model_features=2, model_max_features=4, model_z_dim=3),
    *fields(model_num_labels=NUM_LABELS + 1, model_label_features=4, model_disc_features=4),
    *fields(model_disc_scales=1, model_init_scale=2.0, data_resize=32, data_num_threads=1),
)
MARGIN, CELL = 2, 64


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set with label maps, and checkpoints of label maps and of classes."""
    folder = tmp_path_factory.mktemp("models")
    splits = ("train", "validation")
    data = make_dataset(folder / "maps", size=32, label_maps=True, splits=splits)
    on_data = fields(data_path=data)
    save_model(folder / "pictures", "spade2d.py:smoke", (*SPADE, *on_data))
    time = fields(model_num_frames=NUM_FRAMES, data_stride=2, model_size=16, data_resize=16)
    save_model(folder / "films", "spade3d.py:smoke", (*SPADE, *time, *on_data), fps=4.0)
    tiny = fields(model_size=8, model_features=4, model_max_features=8, model_z_dim=Z_DIM)
    classes = fields(model_num_classes=3, model_embed_dim=2, data_resize=8, model_init_scale=2.0)
    save_model(folder / "classes", "resnet2d.py:smoke", (*tiny, *classes))
    return folder


def run(out: Path, *arguments: str | Path) -> tuple[HtmlPage, Mapping[str, Any]]:
    """Runs the command; returns its page and its report."""
    succeed(compare.main, *arguments, f"--out={out}")
    page = read_page((out / compare.PAGE).read_text("utf-8"))
    assert page.fetched() == []
    return page, read_json(out / compare.REPORT)


def frames_of(path: Path) -> np.ndarray:
    """Of a film or a picture, `[t, h, w, 3]`."""
    if path.suffix == ".png":
        with Image.open(path) as image:
            return np.asarray(image)[None].astype(int)
    with av.open(str(path)) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    return np.stack(frames).astype(int)


def cells(frames: np.ndarray, column: int, num: int) -> np.ndarray:
    """A column of a grid, `[num, t, CELL, CELL, 3]`."""
    left = MARGIN + column * (CELL + MARGIN)
    tops = [MARGIN + row * (CELL + MARGIN) for row in range(num)]
    return np.stack([frames[:, top : top + CELL, left : left + CELL] for top in tops])


def enlarged(examples: np.ndarray, frames: list[int]) -> np.ndarray:
    """Examples as a grid's cells have them, the frames of these numbers."""
    clips = examples if examples.ndim == 5 else examples[:, None]
    factor = CELL // clips.shape[-2]
    clips = clips[:, np.array(frames) % clips.shape[1]]
    return clips.repeat(factor, axis=2).repeat(factor, axis=3).astype(int)


def close(found: np.ndarray, expected: np.ndarray) -> bool:
    """But for what the codec loses."""
    assert found.shape == expected.shape
    brightness = np.array([0.299, 0.587, 0.114])  # colours have half the resolution
    return bool(np.abs((found - expected) @ brightness).mean() < 8)


def examples_of(workdir: Path, num: int, seed: int, cond: np.ndarray | None = None) -> np.ndarray:
    exp, weights = trained(workdir)
    latents = draw_latents(seed, num, exp.config.model.z_dim, None)
    return run_generator(exp, weights, latents, batch_size=8, cond=cond)


def read_maps(data: Path) -> tuple[np.ndarray, np.ndarray]:
    """The validation split's label maps `[n, 32, 32]`, and clips as the 3D model has them."""
    exp, _ = trained(data.parent / "pictures")
    films, _ = trained(data.parent / "films")
    spec = exp.clip_spec
    spec = type(spec)(**{**vars(spec), "num_frames": NUM_FRAMES, "stride": 2})
    assert films.clip_spec.stride == 2
    with evaluation_loader(ClipSource(data, "validation"), spec, batch_size=6) as loader:
        batch = next(loader)
    return np.asarray(batch.label_map), np.asarray(batch.frames)


def test_images_and_clips_of_the_same_latents(runs: Runs, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    table = tmp_path / "table.json"
    page, report = run(out, runs.images, runs.clips, "--num=3", "--seed=5", f"--json={table}")
    assert names(out) == [
        compare.PAGE,
        compare.REPORT,
        "run_00.png",
        "run_01.mp4",
        "side_by_side.mp4",
    ]
    assert read_json(table) == report
    images, clips = (examples_of(workdir, 3, 5) for workdir in (runs.images, runs.clips))
    together = frames_of(out / "side_by_side.mp4")
    assert len(together) % NUM_FRAMES == 0
    assert len(together) >= 2 * 12  # frames a second of the clips
    first = together[:NUM_FRAMES]
    assert close(cells(first, 0, 3), enlarged(images, [0] * NUM_FRAMES))
    assert close(cells(first, 1, 3), enlarged(clips, [*range(NUM_FRAMES)]))
    assert not close(cells(first, 1, 3), enlarged(clips[::-1], [*range(NUM_FRAMES)]))
    np.testing.assert_array_equal(
        cells(frames_of(out / "run_00.png"), 0, 1), enlarged(images[:1], [0])
    )
    assert report["files"] == ["side_by_side.mp4", "run_00.png", "run_01.mp4"]
    assert [run["name"] for run in report["runs"]] == ["images", "clips"]
    assert {run["step"] for run in report["runs"]} == {NUM_STEPS}
    assert report["runs"][0]["generator_params"] < report["runs"][1]["generator_params"]
    assert report["notes"] == [
        "All runs have the same latents 0 to 2 of seed 5 (4 numbers each).",
        "By the averaged generators.",
        "Row i is of latent i.",
        "images: images, which stand still.",
    ]
    assert report["differences"]["model.num_frames"] == ["0", str(NUM_FRAMES)]
    assert "model.size" not in report["differences"]
    # What was logged is there, all of it.
    assert [run["name"] for run in page.data["runs"]] == ["images", "clips"]
    lines = logged(runs.clips)
    for chart in page.data["charts"]:
        curve = next(c for c in chart["curves"] if c["run"] == 1)
        values = [line[chart["name"]] for line in lines if chart["name"] in line]
        assert curve["values"] == pytest.approx(values, rel=1e-5)
    assert {chart["name"] for chart in page.data["charts"]} == {*lines[-1]} - {"step"}
    assert "python -m vidgan_jax.evaluate --checkpoint RUN" in page.one("section", id="scores").text


def test_the_same_twice(runs: Runs, tmp_path: Path) -> None:
    """Bit for bit; and what an earlier comparison left, and only that, is removed."""
    given = (runs.clips, runs.inflated, "--num=3", "--no-ema")
    run(tmp_path / "a", *given)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "run_99.png").write_bytes(b"mine")
    run(tmp_path / "b", runs.clips, runs.inflated, runs.images, "--num=3", "--no-ema")
    assert "run_02.png" in names(tmp_path / "b")
    _, report = run(tmp_path / "b", *given)
    assert names(tmp_path / "b") == sorted([*names(tmp_path / "a"), "run_99.png"])
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
    assert "By the last generators." in report["notes"]


def test_label_maps_and_what_is_real_stand_beside(models: Path, tmp_path: Path) -> None:
    """Of all sizes; models without label maps have their latents only."""
    given = (models / "pictures", models / "films", models / "classes")
    page, report = run(tmp_path, *given, "--num=7")
    heads = page.one("div", **{"class": "heads"})
    assert heads.text == "label maprealpicturesfilmsclasses"
    maps, real = read_maps(models / "maps")
    rows = np.arange(7) % 6
    first = frames_of(tmp_path / "side_by_side.mp4")[:NUM_FRAMES]
    still, moving = [0] * NUM_FRAMES, [*range(NUM_FRAMES)]
    assert close(cells(first, 0, 7), enlarged(colorize(maps)[rows], still))
    assert close(cells(first, 1, 7), enlarged(real[rows], moving))
    small = np.stack([resize_label_map(ids, 16) for ids in maps])
    expected = [
        enlarged(examples_of(given[0], 7, 0, maps[rows]), still),
        enlarged(examples_of(given[1], 7, 0, small[rows]), moving),
        enlarged(examples_of(given[2], 7, 0, (np.arange(7) % 3).astype(np.int32)), still),
    ]
    for column, examples in enumerate(expected, start=2):
        assert close(cells(first, column, 7), examples), column
        assert not close(cells(first, column, 7), examples[::-1]), column
    assert report["notes"] == [
        "pictures, films: latents 0 to 6 of seed 0, 3 numbers each.",
        "classes: latents 0 to 6 of seed 0, 4 numbers each.",
        "Latents of different lengths have nothing to do with one another.",
        "By the averaged generators.",
        "Label maps: from the split 'validation' of maps, 6 in turn; row i is of map and latent i.",
        "classes: row i is of class i, 3 classes in turn.",
        "Smaller examples are enlarged by repeating pixels.",
        "pictures, classes: images, which stand still.",
    ]
    assert "None of these runs has logged anything." in page.one("section", id="curves").text


def test_maps_of_files(models: Path, tmp_path: Path) -> None:
    """One row for each, where nothing else is asked for."""
    ids = np.zeros((12, 20), np.uint8)
    ids[6:] = 2
    paths = [tmp_path / "half.png", tmp_path / "whole.png"]
    Image.fromarray(ids).save(paths[0])
    Image.fromarray(0 * ids).save(paths[1])
    out = tmp_path / "out"
    page, report = run(out, models / "pictures", "--label-map", *paths)
    assert page.one("div", **{"class": "heads"}).text == "label mappictures"
    assert page.one("h1").text == "Run pictures"
    cond = np.stack([resize_label_map(ids, 32), np.zeros((32, 32), np.uint8)])
    sheet = frames_of(out / "side_by_side.png")
    np.testing.assert_array_equal(cells(sheet, 0, 2), enlarged(colorize(cond), [0]))
    expected = enlarged(examples_of(models / "pictures", 2, 0, cond), [0])
    assert np.abs(cells(sheet, 1, 2) - expected).max() <= 1
    assert (
        "Label maps: of the files half.png, whole.png; row i is of map and latent i."
        in (report["notes"])
    )


def copied(workdir: Path, target: Path) -> Path:
    """A workdir to change."""
    return Path(shutil.copytree(workdir, target, symlinks=True))


def write_scores(workdir: Path, name: str, headline: Mapping[str, float], **changes: Any) -> Path:
    """Scores of a workdir's newest checkpoint, as `evaluate` writes them."""
    weights = load_weights(workdir)
    told = {"step": weights.step, "ema": True, "generator_sha256": tree_digest(weights.ema)}
    manifest = {
        "version": 1,
        "checkpoint": told | changes.pop("checkpoint", {}),
        "protocol": {"name": "relative", "num": 8},
        **changes,
    }
    path = workdir / "evaluation" / name / "scores.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"manifest": manifest, "headline": headline, "scores": {}}))
    return path


def test_scores_of_the_very_checkpoint_are_compared(runs: Runs, tmp_path: Path) -> None:
    one, other = (copied(runs.images, tmp_path / name) for name in ("one", "other"))
    # Copies have the same weights: a file's scores would be both's.
    (other / "checkpoints" / "2").rename(other / "checkpoints" / "3.aside")
    shutil.rmtree(other / "checkpoints" / "3")
    (other / "checkpoints" / "3.aside").rename(other / "checkpoints" / "2")
    write_scores(one, "relative-3", {"pixel accuracy": 0.5, "odd": 1.0})
    write_scores(
        one, "relative-2", {"pixel accuracy": 0.1}, checkpoint={"step": 2, "generator_sha256": "x"}
    )
    beside = write_scores(other, "relative-2", {"pixel accuracy": 0.75})
    moved = tmp_path / "elsewhere" / "scores.json"
    moved.parent.mkdir()
    beside.rename(moved)
    page, report = run(tmp_path / "out", one, other, runs.clips, "--num=3", "--scores", moved)
    assert report["scores"] == [
        {
            "run": "one",
            "step": 3,
            "protocol": "relative",
            "headline": {"pixel accuracy": 0.5, "odd": 1.0},
        },
        {"run": "other", "step": 2, "protocol": "relative", "headline": {"pixel accuracy": 0.75}},
    ]
    assert report["scores_notes"] == [
        "one has scores of other weights, which are not shown: relative-2.",
        "Without scores: clips; `python -m vidgan_jax.evaluate --checkpoint RUN` makes them.",
    ]
    table = next(table for table in page.tables() if table[0][0] == "score")
    assert table[0] == ["score", "one, step 3", "other, step 2"]
    key = "pixel accuracy"
    assert table[1] == [key, cell(key, 0.5), f"{cell(key, 0.75)} ★"]


def test_a_checkpoint_has_its_curves_until_then(runs: Runs, tmp_path: Path) -> None:
    """A workdir all of them, one that was cut short and is not finite, too."""
    workdir = copied(runs.images, tmp_path / "run")
    with (workdir / "metrics.jsonl").open("a") as lines:
        lines.write('{"step": 4, "D": NaN, "G": Infinity}\n{"step": 5, "D"')
    earlier = workdir / "checkpoints" / "2"
    page, report = run(tmp_path / "out", workdir, earlier, "--num=3", "--names", "all", "</script>")
    assert [run["name"] for run in report["runs"]] == ["all", "</script>"]
    (chart,) = [chart for chart in page.data["charts"] if chart["name"] == "D"]
    assert [curve["steps"] for curve in chart["curves"]] == [[1, 2, 3, 4], [1, 2]]
    assert chart["curves"][0]["values"][-1] == "NaN"
    assert len(page.all("script")) == 2


def test_folders_of_any_name(runs: Runs, tmp_path: Path) -> None:
    name = '<img src=x onerror=alert(1)> & "b" {{DATA}}'
    workdir = copied(runs.images, tmp_path / name)
    page, report = run(tmp_path / "out", workdir, "--num=3")
    assert report["runs"][0]["name"] == name
    assert page.one("h1").text == f"Run {name}"
    assert page.data["runs"][0]["name"] == name


def test_mistakes(
    runs: Runs, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All told before any work: no folder is made."""
    out = f"--out={tmp_path / 'out'}"
    link = tmp_path / "link"
    link.symlink_to(runs.images)
    newest = runs.images / "checkpoints" / str(NUM_STEPS)
    no_map = tmp_path / "no.png"
    for arguments, said in (
        ((), "no run to compare; give workdirs, or checkpoints"),
        ((runs.images, newest), f"{newest} and {runs.images} are the same checkpoint"),
        ((runs.images, link), "are the same checkpoint; give it once"),
        ((runs.images, tmp_path / "none"), "none does not exist"),
        ((runs.images, runs.data), "has no checkpoint in it"),
        ((runs.images, "--names", "a", "b"), "--names gives 2 names for 1 runs"),
        ((runs.images, "--num=0"), r"--num (=0) must be at least 1"),
        ((runs.images, "--label-map", no_map), f"--label-map {no_map}: no such file"),
        ((runs.images, "--scores", no_map), f"--scores {no_map}: no such file"),
        ((runs.images, f"--data={runs.data}"), "--data: none of these runs takes label maps"),
        ((models / "films", f"--data={runs.data}"), "label map"),
        ((models / "films", "--split=test"), "test"),
        ((runs.images, f"--json={tmp_path}"), "is a folder; give a file's name"),
    ):
        assert said in refuse(capsys, compare.main, *arguments, out), arguments
    assert not (tmp_path / "out").exists()


def test_damage_is_told(runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights, lines, scores = (copied(runs.images, tmp_path / name) for name in ("w", "l", "s"))
    state = weights / "checkpoints" / str(NUM_STEPS) / "state"
    # What of the state is in which file is chance; much of it is not read.
    for path in [p for p in state.rglob("*") if p.is_file() and p.stat().st_size > 1000]:
        os.truncate(path, path.stat().st_size // 2)
    (lines / "metrics.jsonl").write_text('{"step": 1, "D": "x"}\n')
    given_scores = write_scores(scores, "relative-3", {})
    given_scores.write_text("{}")
    for workdir, said in (
        (weights, str(weights)),
        (lines, "what it logged of 'D' has more than numbers in it"),
    ):
        given = (runs.clips, workdir, f"--out={tmp_path / 'out'}")
        assert said in refuse(capsys, compare.main, *given)
    said = "scores.json is no report of evaluate, or damaged; remove it"
    of_file = (runs.clips, f"--out={tmp_path / 'out'}", "--scores", given_scores)
    assert said in refuse(capsys, compare.main, *of_file)
    assert not (tmp_path / "out").exists()
    # One that merely lies in a workdir keeps nobody from comparing.
    run(tmp_path, scores, "--num=3")
    assert said in (tmp_path / compare.PAGE).read_text()


def test_the_size_is_told(runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, runs.images, "--num=3")
    told = capsys.readouterr()
    page = tmp_path / compare.PAGE
    assert f"{page}: {page.stat().st_size / 1e6:.1f} MB\n" in told.err
    assert told.out == f"1 run, 3 examples each: {page}\n"
    assert SIZE < CELL  # or nothing here was enlarged
