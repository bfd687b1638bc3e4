"""`python -m vidgan_jax.evaluate`: scores of a checkpoint as tables and as JSON."""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests.datasets import make_dataset
from tests.runs import NUM_STEPS, SIZE, Runs, names, read_json, refuse, succeed, trained, type_in
from vidgan_jax import evaluate
from vidgan_jax.data.clips import training_loader
from vidgan_jax.data.records import ClipSource
from vidgan_jax.evaluation import engine
from vidgan_jax.evaluation.relative import Relative
from vidgan_jax.synthesis.latents import pick_latents
from vidgan_jax.synthesis.run import Synthesizer

NUM = 96
RELATIVE = "--measures=relative"


def run(checkpoint: Path, out: Path, *options: str) -> Mapping[str, Any]:
    """Runs the command; returns its report."""
    succeed(evaluate.main, f"--checkpoint={checkpoint}", f"--num={NUM}", f"--out={out}", *options)
    return read_json(out / "scores.json")


def frechet(report: Mapping[str, Any], who: str, kind: str) -> float:
    return report["scores"]["relative"][who][kind]["frechet"]


def test_clips(runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All that a generator without label maps is measured by."""
    copy = tmp_path / "also" / "here.json"
    report = run(runs.clips, tmp_path / "new" / "report", f"--data={runs.data}", f"--json={copy}")
    assert read_json(copy) == report
    assert list(report["scores"]) == ["relative", "motion", "diversity"]
    told = report["manifest"]
    source = ClipSource(runs.data, "train")
    assert told["checkpoint"]["step"] == NUM_STEPS
    assert told["checkpoint"]["ema"]
    assert len(told["checkpoint"]["generator_sha256"]) == 64
    assert told["data"]["checksum"] == source.info.checksum
    assert (told["data"]["split"], told["data"]["clip_stride"]) == ("train", 2)
    assert (told["num"], told["num_reference"], told["seed"]) == (NUM, NUM, 0)
    assert told["protocol"]["deviations"] == {"num": {"protocol": 512, "used": NUM}}
    assert told["left_out"] == {"agreement": "the generator takes no label maps"}
    # An untrained generator is farther off than real clips are from one another.
    for kind in ("frames", "clips"):
        assert frechet(report, "generated", kind) > 5 * frechet(report, "floor", kind) > 0
    printed = capsys.readouterr()
    assert f"{frechet(report, 'floor', 'clips'):.4f}" in printed.out
    assert "protocol relative with changes: num: " in printed.out
    assert "not quite protocol relative: num 96 for 512" in printed.err
    assert "agreement is left out: the generator takes no label maps" in printed.err
    assert names(tmp_path / "new" / "report") == [
        "curves.png", "examples.mp4", "examples.png", "scores.json",
    ]  # fmt: skip


def test_the_reference_is_drawn_as_training_draws(runs: Runs, tmp_path: Path) -> None:
    report = run(runs.clips, tmp_path, f"--data={runs.data}", RELATIVE)
    exp, _ = trained(runs.clips)
    with training_loader(
        ClipSource(runs.data, "train"), exp.clip_spec, batch_size=2 * NUM, seed=0
    ) as loader:
        real = np.asarray(next(loader).frames)
    measure = Relative(is_clips=True)
    one, other = (measure.observe(engine.Part(0, half)) for half in np.split(real, 2))
    seen = {"fakes": other, "reference": one, "floor": other}
    assert measure.conclude(seen)["generated"] == report["scores"]["relative"]["floor"]


def test_two_runs_give_the_same_json(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another folder, the data set of the training by its name or not: the very same bytes."""
    run(runs.clips, tmp_path / "one", f"--data={runs.data}")
    run(runs.clips, tmp_path / "two")
    one, two = ((tmp_path / name / "scores.json").read_bytes() for name in ("one", "two"))
    assert one == two
    other = run(runs.clips, tmp_path / "other", RELATIVE, "--seed=1")
    assert frechet(other, "floor", "clips") != frechet(json.loads(one), "floor", "clips")


def test_what_is_known_is_not_done_again(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(runs.clips, tmp_path, RELATIVE)
    table = capsys.readouterr().out
    monkeypatch.delattr(engine, "Synthesizer")
    assert run(runs.clips, tmp_path, RELATIVE) == first
    printed = capsys.readouterr()
    assert "scored before, in just the same way" in printed.err
    assert printed.out == table
    with pytest.raises(NameError, match="Synthesizer"):
        evaluate.main([f"--checkpoint={runs.clips}", f"--out={tmp_path}", "--num=97", RELATIVE])


def test_a_run_that_was_stopped_goes_on_and_ends_the_same(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped by Ctrl-C in the fakes, and again among the real ones."""
    whole = run(runs.clips, tmp_path / "whole", "--batch-size=16")
    out, calls, observe = tmp_path / "stopped", [0], Relative.observe
    for last in (3, 8):
        calls[0] = 0

        def stopping(self: Relative, part: engine.Part, last: int = last) -> Any:
            calls[0] += 1
            if calls[0] > last:
                raise KeyboardInterrupt
            return observe(self, part)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Relative, "observe", stopping)
            command = [f"--checkpoint={runs.clips}", f"--num={NUM}", f"--out={out}"]
            assert evaluate.main([*command, "--batch-size=16"]) == 130
        assert names(out) == ["parts"]
    generated = []
    generate = Synthesizer.__call__

    def counted(self: Synthesizer, latents: Any, *given: Any) -> np.ndarray:
        generated.append(len(latents))
        return generate(self, latents, *given)

    monkeypatch.setattr(Synthesizer, "__call__", counted)
    assert run(runs.clips, out, "--batch-size=16") == whole
    assert sum(generated) == 8  # those to look at
    one, two = (tmp_path / name / "scores.json" for name in ("whole", "stopped"))
    assert one.read_bytes() == two.read_bytes()


def test_images_have_frames_only(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = run(runs.images, tmp_path)
    assert list(report["scores"]) == ["relative", "diversity"]
    for row in ("generated", "floor"):
        assert frechet(report, row, "frames") > 0
        assert report["scores"]["relative"][row]["clips"] is None
    assert "None" not in capsys.readouterr().out
    assert report["manifest"]["left_out"]["motion"] == "images don't move"
    assert names(tmp_path) == ["examples.png", "scores.json"]


def test_an_inflated_checkpoint_has_the_frames_of_its_images_and_no_motion(
    runs: Runs, tmp_path: Path
) -> None:
    images = run(runs.images, tmp_path / "images", RELATIVE)
    clips = run(runs.inflated, tmp_path / "clips", f"--data={runs.data}")
    motion = clips["scores"]["motion"]
    assert motion["generated"]["frame_difference"]["mean"] < 1e-3
    assert motion["floor"]["frame_difference"]["mean"] > 1
    # Another draw of real frames is compared with: of clips' starts.
    expected = frechet(images, "generated", "frames")
    assert frechet(clips, "generated", "frames") == pytest.approx(expected, rel=0.1)
    assert clips["manifest"]["checkpoint"]["inflated"]


def test_the_last_generator_and_one_checkpoint_of_a_workdir(runs: Runs, tmp_path: Path) -> None:
    earlier = runs.clips / "checkpoints" / "2"
    averaged = run(earlier, tmp_path / "a", RELATIVE)
    last = run(earlier, tmp_path / "b", RELATIVE, "--no-ema")
    told = [report["manifest"]["checkpoint"] for report in (averaged, last)]
    assert [t["step"] for t in told] == [2, 2]
    assert [t["ema"] for t in told] == [True, False]
    assert told[0]["generator_sha256"] != told[1]["generator_sha256"]
    assert averaged["scores"] != last["scores"]


def test_reports_lie_in_the_workdir_if_nothing_else_is_said(runs: Runs, tmp_path: Path) -> None:
    """Real examples are measured once for all of them."""
    workdir = shutil.copytree(runs.clips, tmp_path / "run")
    for checkpoint in (workdir, workdir / "checkpoints" / "2"):
        succeed(evaluate.main, f"--checkpoint={checkpoint}", f"--num={NUM}", RELATIVE)
    found = [name for name in names(workdir / "evaluation") if name != engine.PARTS]
    steps = sorted(found, key=lambda name: int(name.rpartition("-")[2]))
    assert [name.rpartition("-")[2] for name in steps] == ["2", str(NUM_STEPS)]
    # The protocol's own name is left for its own report.
    assert all(re.fullmatch(r"relative-[0-9a-f]{8}-\d", name) for name in steps)
    kept = names(workdir / "evaluation" / engine.PARTS)
    assert [name.split("-")[0] for name in kept] == ["floor", "reference"]
    assert engine.read_report(workdir / "evaluation" / steps[0]).step == 2


def test_a_generator_of_real_clips_is_as_near_as_the_floor(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exp, _ = trained(runs.clips)
    source = ClipSource(runs.data, "train")
    loader = training_loader(source, exp.clip_spec, batch_size=32, seed=99)

    def draw(self: Synthesizer, latents: np.ndarray, *given: Any) -> np.ndarray:
        return np.asarray(next(loader).frames)[: len(latents)]

    monkeypatch.setattr(Synthesizer, "__call__", draw)
    report = run(runs.clips, tmp_path, RELATIVE)
    loader.close()
    for kind in ("frames", "clips"):
        assert frechet(report, "generated", kind) < 3 * frechet(report, "floor", kind)


def test_a_part_of_each_clip(runs: Runs, tmp_path: Path) -> None:
    """Every other frame of the first three: two, of the generated and of the real ones alike."""
    report = run(runs.clips, tmp_path, "--measures=motion", "--num-frames=3", "--subsample=2")
    motion = report["scores"]["motion"]
    for who in ("generated", "real", "floor"):
        assert len(motion[who]["curves"]["frame_difference"]) == 1
    whole = run(runs.clips, tmp_path / "whole", "--measures=motion")["scores"]["motion"]
    one, all_of_it = (found["real"]["frame_difference"]["mean"] for found in (motion, whole))
    assert one > all_of_it


def test_a_codec_and_a_size_are_of_the_examples_and_told(runs: Runs, tmp_path: Path) -> None:
    plain = run(runs.images, tmp_path / "a", RELATIVE)
    coded = run(runs.images, tmp_path / "b", RELATIVE, "--codec=jpeg:20")
    small = run(runs.images, tmp_path / "c", RELATIVE, "--resize=16", "--resize-filter=area")
    assert coded["scores"]["relative"]["floor"] == plain["scores"]["relative"]["floor"]
    assert coded["scores"]["relative"]["generated"] != plain["scores"]["relative"]["generated"]
    assert small["scores"]["relative"]["floor"] != plain["scores"]["relative"]["floor"]
    assert set(coded["manifest"]["protocol"]["deviations"]) == {"codec", "measures", "num"}
    assert small["manifest"]["protocol"]["resize"] == 16


def test_another_split(runs: Runs, tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data", size=SIZE, splits=("train", "validation"))
    report = run(runs.clips, tmp_path, RELATIVE, f"--data={data}", "--split=validation")
    assert report["manifest"]["data"]["split"] == "validation"
    assert report["manifest"]["protocol"]["deviations"]["split"]["used"] == "validation"


def test_a_sweep(runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every kept checkpoint of two workdirs; the real examples are measured once."""
    out = tmp_path / "sweep"
    command = (f"--num={NUM}", "--measures", "relative", "motion", f"--out={out}")
    succeed(evaluate.main, "--sweep", runs.clips, runs.inflated, *command, f"--data={runs.data}")
    assert {"sweep.csv", "sweep.json", "sweep.md", "sweep.png", "parts"} <= set(names(out))
    kept = [name.split("-")[0] for name in names(out / "parts")]
    assert sorted(kept) == sorted(2 * ["floor", "reference"])
    rows = (out / "sweep.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 + 1
    report = engine.read_report(out / "clips" / "2")
    assert report.step == 2
    assert "clips, step 2: FD-random frames" in capsys.readouterr().err


def test_all_protocols_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    for how in (["--protocol=list"], ["--protocol", "list"]):
        assert evaluate.main(how) == 0
        assert json.loads(capsys.readouterr().out)["thesis"]["num"] == 353


# Mistakes.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num=80"], r"--num \(=80\) must be above 80, the number of features"),
        (["--batch-size=0"], r"--batch-size \(=0\) must be at least 1"),
        (["--seed=-1"], r"--seed \(=-1\) must be from 0 to 4294967295"),
        (["--checkpoint={data}"], "has no checkpoint in it; give a workdir that was trained"),
        (["--checkpoint={data}/no"], "does not exist; give a workdir that was trained"),
        (["--sweep", "{data}"], "give a checkpoint as --checkpoint, or workdirs as --sweep"),
        (["--data={data}/no"], "no: the folder does not exist"),
        (["--split=validation"], r"no split 'validation'; it has \['train'\]"),
        (["--json={data}"], "--json .* is a folder; give a file's name"),
        (["--json={data}/info.json/f"], "--json .*: nothing can be written there"),
        (["--out={data}/info.json"], "--out .*: nothing can be written there"),
        (["--data={short}"], "needs clips of 7 frames, but the 2 clips of split 'train' have 3"),
        (["--data={one}"], "split 'train' has only 1 clip of the 7 frames needed"),
        (["--protocol=fid"], r"--protocol \(='fid'\) must be one of relative, thesis"),
        (["--protocol=thesis"], "compares frames with label maps, and the checkpoint is not"),
        (
            ["--protocol=fvd2048_16f", "--split=train"],
            "FVD's network needs at least 9 frames, and the checkpoint makes 4; take another",
        ),
        (["--num-frames=5"], "measures clips of 5 frames, and the checkpoint makes 4"),
        (
            ["--protocol=fid50k"],
            "measures FID, KID and IS by a network that is a file of yours: .* --inception FILE",
        ),
        (["--subsample=4"], r"--subsample \(=4\) leaves 1 of 4 frames; at least 2 make a clip"),
        (
            ["--measures=agreement"],
            "nothing is left to measure .*agreement: the generator takes no",
        ),
        (["--resize=7"], r"--resize \(=7\) must be 0, or at least 8"),
        (["--num=1"], r"--num \(=1\) must be 0, or at least 2"),
        (["--segmenter=scenes"], "--segmenter is for the measure 'agreement', which is not taken"),
        (["--i3d=x"], "--i3d is for the measure 'fvd', which is not taken here"),
        (["--maps-split=x"], "--maps-split is for generators of label maps, which this checkpoint"),
        (["--num=0"], "checkpoint is not conditioned on any; say how many as --num"),
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
    monkeypatch.delattr(engine, "Synthesizer")
    monkeypatch.delattr(engine, "Observations")
    folders = {
        "data": runs.data,
        "short": make_dataset(tmp_path / "short", num_videos=1, num_frames=3, size=SIZE),
        "one": make_dataset(tmp_path / "one", num_videos=1, clips_per_video=1, size=SIZE),
    }
    filled = [option.format_map(folders) for option in options]
    out = f"--out={tmp_path / 'out'}"
    with pytest.raises(ValueError, match=message):
        raise ValueError(refuse(capsys, evaluate.main, f"--checkpoint={runs.clips}", out, *filled))


def test_another_report_leaves_nothing_of_the_earlier_one(runs: Runs, tmp_path: Path) -> None:
    """And nothing of the user's is touched."""
    run(runs.clips, tmp_path, RELATIVE)
    (tmp_path / "own.png").write_bytes(b"mine")
    assert "examples.mp4" in names(tmp_path)
    run(runs.images, tmp_path, RELATIVE)
    assert names(tmp_path) == ["examples.png", "own.png", "scores.json"]


def test_latents_are_the_same_whatever_jax_is_set_to(monkeypatch: pytest.MonkeyPatch) -> None:
    latents = np.asarray(pick_latents(3, [0, 5], 4, None))
    with jax.default_prng_impl("rbg"), jax.enable_x64(True):
        again = np.asarray(pick_latents(3, [0, 5], 4, None))
    np.testing.assert_array_equal(again, latents)
    assert again.dtype == np.float32


def test_clips_are_not_measured_of_images(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    said = refuse(capsys, evaluate.main, f"--checkpoint={runs.images}", "--protocol=fvd2048_16f")
    assert "measures clips (FVD), and the checkpoint makes images" in said


def test_a_checkpoint_that_names_no_data(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    """An inflated one: its config isn't what it was trained by."""
    said = refuse(capsys, evaluate.main, f"--checkpoint={runs.inflated}")
    assert "names no data set; give the folder of one as --data" in said


def test_a_damaged_observation_is_named(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = tmp_path / "run" / "evaluation" / engine.PARTS
    shutil.copytree(runs.clips, tmp_path / "run")
    checkpoint = f"--checkpoint={tmp_path / 'run'}"
    succeed(evaluate.main, checkpoint, f"--num={NUM}", RELATIVE)
    damaged = next(path for path in shared.glob("floor-*/*"))
    damaged.write_bytes(damaged.read_bytes()[:-99])
    shutil.rmtree(next((tmp_path / "run" / "evaluation").glob("relative-*")))
    said = refuse_after_work(capsys, checkpoint, f"--num={NUM}", RELATIVE)
    assert f"{damaged} is damaged" in said


def refuse_after_work(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Runs the command, which must end with status 2; returns its last line."""
    assert evaluate.main(list(arguments)) == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_the_command_as_a_user_types_it(runs: Runs, tmp_path: Path) -> None:
    out = tmp_path / "report"
    made = type_in(
        "evaluate", "--checkpoint", runs.clips, "--num", str(NUM), "--out", out, RELATIVE
    )
    assert made.returncode == 0, made.stderr
    assert "floor: real, another draw" in made.stdout
    failed = type_in("evaluate", "--checkpoint", runs.data / "no")
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: ")
    assert failed.stderr.count("\n") == 1
