"""`python -m vidgan_jax.bench`: every benchmark runs, and writes what it shows."""

import re
from pathlib import Path

import pytest

from tests.runs import (
    CONFIG_3D,
    TINY_2D,
    TINY_3D,
    Runs,
    read_json,
    refuse,
    succeed,
    trained,
)
from vidgan_jax import bench
from vidgan_jax.train import plan


def test_step(tmp_path: Path, capsys: pytest.CaptureFixture[str], fast: None) -> None:
    """With a lazy term there are two programs, and each is timed."""
    figures = tmp_path / "new" / "step.json"
    lazy = "--config.loss.r1_every_steps=4"
    succeed(bench.main, "step", *TINY_2D, lazy, "--repeats=2", f"--json={figures}")
    start, whole, part = read_json(figures)["step"]
    assert start["what"] == "initialisation"
    assert (whole["what"], part["what"]) == ("step, all terms", "step, lazy terms left out")
    for row in (whole, part):
        assert 0 < row["fastest_s"] <= row["seconds"] <= row["slowest_s"]
        assert row["compile_s"] > 0
        assert row["clips_per_s"] == pytest.approx(8 / row["seconds"])
        assert row["temporaries_mib"] > 0
    out = capsys.readouterr().out
    assert "clips_per_s" in out
    assert "compile_s" in out


def test_loader(runs: Runs, tmp_path: Path) -> None:
    figures = tmp_path / "loader.json"
    small = ["--size=8", "--num-frames=4", "--stride=1", "--batch-size=4", "--seconds=0.1"]
    succeed(bench.main, "loader", f"--data={runs.data}", *small, f"--json={figures}")
    rows = read_json(figures)["loader"]
    assert [(row["num_workers"], row["num_threads"]) for row in rows] == [(0, 1), (0, 2), (2, 1)]
    assert all(row["clips_per_s"] > 0 for row in rows)


def test_inflate(runs: Runs, tmp_path: Path) -> None:
    figures = tmp_path / "inflate.json"
    succeed(bench.main, "inflate", *TINY_3D, f"--json={figures}")
    report = read_json(figures)
    (row,) = report["inflate"]
    _, weights = trained(runs.inflated)
    assert row["parameters"] == plan.count([weights.gen, weights.disc])
    assert row["seconds"] == pytest.approx(row["read_and_inflate_s"] + row["write_s"], rel=1e-3)
    assert row["peak_mib"] >= row["peak_before_mib"] > row["checkpoint_mib"] > 0
    assert report["devices"] == 8
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", report["jax"])


def test_labels(tmp_path: Path, fast: None) -> None:
    """Layers at each resolution that there is, and whole networks; each form is timed."""
    figures = tmp_path / "labels.json"
    small = ["--size=8", "--batch-size=2", "--num-labels=3", "--label-features=2"]
    succeed(bench.main, "labels", *small, "--num-frames=2", "--repeats=1", f"--json={figures}")
    rows = read_json(figures)["labels"]
    assert [row["what"] for row in rows] == [
        *("SPADE's first, 8×8", "SPADE's first, 4×4"),
        *("D's first, images, 8×8", "D's first, images, 4×4"),
        *("D's first, clips, 8×8", "D's first, clips, 4×4"),
        *("maps, all sizes", "all of small G, images", "all of D, clips"),
    ]
    for row in rows:
        forms = {"plain_s", "ours_s"} | (
            {"one_hot_s", "rows_s"} if "SPADE" in row["what"] else set()
        )
        assert set(row) == {"what", "ratio", *forms}
        assert all(row[form] > 0 for form in forms)
        assert row["ratio"] == pytest.approx(row["plain_s"] / row["ours_s"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["step", *TINY_2D, "--repeats=0"], r"--repeats \(=0\) must be above 0"),
        (["step", *TINY_2D, "--json={data}"], "--json .* is a folder; give a file's name"),
        (["step", *TINY_2D, "--json={data}/info.json/x"], "nothing can be written there"),
        (["step", f"{CONFIG_3D}r"], "no variant 'smoker'"),
        (["loader", "--data={data}/no"], "the folder does not exist"),
        (["loader", "--data={data}"], "needs clips of 22 frames, but the 6 clips"),
        (["loader", "--data={data}", "--split=no"], "no split 'no'"),
        (["loader", "--data={data}", "--seconds=nan"], r"--seconds \(=nan\) must be above 0"),
        (["loader", "--data={data}", "--batch-size=-1"], "--batch-size .* must be above 0"),
        (["labels", "--size=12"], r"size \(=12\) must be 8, 16, 32"),
        (["inflate", *TINY_2D], "is of images; give one of clips to inflate to"),
    ],
)
def test_mistakes_are_told_before_any_work(
    runs: Runs, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    filled = [argument.format_map(vars(runs)) for argument in arguments]
    with pytest.raises(ValueError, match=message):
        raise ValueError(refuse(capsys, bench.main, *filled))
