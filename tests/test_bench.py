"""`python -m vidgan_jax.bench`: every benchmark runs, and writes what it shows."""

import importlib.util
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
from vidgan_jax.benchmarks import convolutions
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


def test_loader_against_the_step(runs: Runs, tmp_path: Path, fast: None) -> None:
    """Each way of reading against what the step takes, and both at once."""
    figures = tmp_path / "loader.json"
    on_data = f"--config.data.path={runs.data}"
    succeed(bench.main, "loader", *TINY_3D, on_data, "--seconds=0.1", f"--json={figures}")
    step, *ways, together = read_json(figures)["loader"]
    assert step["clips_per_s"] == pytest.approx(8 / step["step_s"])
    assert ways[0]["what"] == "0 workers, 1 threads (config)"
    assert [(row["num_workers"], row["num_threads"]) for row in ways] == [(0, 1), (0, 2), (2, 1)]
    for row in ways:
        assert row["ratio"] == pytest.approx(row["clips_per_s"] / step["clips_per_s"])
    assert 0 < together["waiting_share"] < 1
    assert together["clips_per_s"] == pytest.approx(8 / together["step_s"])


def test_generate(tmp_path: Path) -> None:
    """The second process finds what the first has compiled."""
    figures = tmp_path / "generate.json"
    small = ["--batch-size=2", "--repeats=3"]
    succeed(bench.main, "generate", *TINY_2D, *small, f"--json={figures}")
    cold, cached, warm = read_json(figures)["generate"]
    for row in (cold, cached):
        parts = [row[name] for name in ("start_s", "build_s", "compile_s", "first_s")]
        assert min(parts) > 0
        assert row["seconds"] == pytest.approx(sum(parts))
    assert 0 < warm["fastest_s"] <= warm["seconds"] <= warm["slowest_s"] < cold["seconds"]
    assert warm["clips_per_s"] == pytest.approx(2 / warm["seconds"])
    assert warm["peak_mib"] > 0


def test_step_against_torch(tmp_path: Path) -> None:
    """Both frameworks step in turns, with R1 and without; the mean is as training mixes them."""
    figures = tmp_path / "step.json"
    lazy = ["--config.loss.r1_every_steps=4", "--batch-size=2"]
    how = ["--against=torch", "--repeats=1", "--cores=1", "--no-torch-bf16", f"--json={figures}"]
    succeed(bench.main, "step", *TINY_3D, *lazy, *how)
    rows = read_json(figures)["step"]
    assert [row["what"].split(", ", 1)[1] for row in rows] == [
        "step, all terms",
        "step, lazy terms left out",
        "mean of 4 steps",
    ]
    whole, part, mean = rows
    for row in rows:
        assert (row["batch_size"], row["cores"]) == (2, 1)
        assert row["ratio"] == pytest.approx(row["torch_s"] / row["ours_s"])
        assert row["ratio_of_fastest"] == row["ratio_lower_quartile"] == row["ratio"]
        for side in ("ours", "torch"):
            assert row[f"{side}_peak_mib"] > 0
            assert row[f"{side}_s"] > 0
        assert not row["torch_compiled"]
    for side in ("ours_s", "torch_s"):
        assert mean[side] == pytest.approx((whole[side] + 3 * part[side]) / 4)
    assert mean["compile_s"] == pytest.approx(whole["compile_s"] + part["compile_s"])


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config.loss.gp_weight=1.0", "(=1.0) is not in the PyTorch step; set it to 0"),
        ("--cores=4096", "--cores (=4096) must be at most "),
    ],
)
def test_sides_refuse_in_words(
    capsys: pytest.CaptureFixture[str], argument: str, message: str
) -> None:
    """The other process's refusal is this one's."""
    assert message in refuse(capsys, bench.main, "step", *TINY_2D, "--against=torch", argument)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("torch", "PyTorch is not installed; run it from the checkout, after pip install -e"),
        ("tests.reference_torch.measured_step", "tests/reference_torch, PyTorch's side, can't be"),
    ],
)
def test_what_torchs_side_needs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, missing: str, message: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == missing else find(n))
    assert message in refuse(capsys, bench.main, "step", *TINY_2D, "--against=torch")


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
        (["step", *TINY_2D, CONFIG_3D], "--config was given 2 times; that needs --against torch"),
        (["step", *TINY_2D, "--no-torch-compile"], "--torch-compile needs --against torch"),
        (["step", *TINY_2D, "--cores=1"], "--cores needs --against torch"),
        (["step", *TINY_2D, "--batch-size=0"], r"--batch-size \(=0\) must be above 0"),
        (["loader", *TINY_2D, "--size=8"], "--size is of clips without a config; set the fields"),
        (["generate", *TINY_2D, "--repeats=0"], r"--repeats \(=0\) must be above 0"),
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


def test_convs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind of convolution: its result and both gradients, in both forms."""
    monkeypatch.setattr(
        convolutions.bench_convolutions,
        "__defaults__",
        (
            (
                convolutions.Case("a", (4, 4), (3, 3), (1, 1), (2, 3), 1),
                convolutions.Case("b", (2, 4, 4), (4, 4, 4), (2, 2, 2), (2, 3), 1, "transposed"),
                convolutions.Case("c", (2, 4, 4), (3, 4, 4), (1, 2, 2), (2, 3), 1, "upsampled"),
            ),
        ),
    )
    figures = tmp_path / "convs.json"
    succeed(bench.main, "convs", "--repeats=1", f"--json={figures}")
    rows = read_json(figures)["convs"]
    assert [row["what"] for row in rows] == ["a, 2 → 3", "b, 2 → 3", "c, 2 → 3"]
    for row in rows:
        assert len(row) == 7
        assert all(value > 0 for name, value in row.items() if name != "what")
