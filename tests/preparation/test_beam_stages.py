"""Beam makes the same parts as the processes of one machine, and either finishes the other's."""

import dataclasses
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.preparation.work import Task, make_jobs, paint, starts
from vidgan_jax import prepare
from vidgan_jax.data import records, tfexample
from vidgan_jax.preparation import beam_stages, beam_work, dataset
from vidgan_jax.preparation.beam_stages import PipelineError, run_jobs, run_stages
from vidgan_jax.preparation.beam_work import SharingError
from vidgan_jax.preparation.jobs import run_jobs as run_jobs_here
from vidgan_jax.preparation.parts import Findings, Job, Outcome, OutputError, Parts, WriteClip
from vidgan_jax.preparation.stages import Earlier, Stage, opened, stage_parts
from vidgan_jax.preparation.stages import run_stages as run_stages_here

pytest.importorskip("apache_beam", reason="needs the extra `beam`")


@pytest.fixture(autouse=True)
def _short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beam_stages, "_POLL_S", 0.05)


def _jobs(out: Path, tasks: Sequence[Task], run: Callable[..., list[Outcome]]) -> list[Outcome]:
    parts = Parts(out, "painted", {})
    with parts.opened(overwrite=False):
        return run(make_jobs(*tasks), paint, parts, progress=False)


def _here(*args: Any, **options: Any) -> list[Outcome]:
    return run_jobs_here(*args, workers=0, **options)


def _parts(folder: Path) -> dict[str, bytes]:
    """What a run leaves, but for outcomes, which tell times."""
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith(".json")
    }


def _untimed(outcomes: Sequence[Outcome]) -> list[tuple[Any, ...]]:
    return [(o.video_id, o.part, o.num_clips, o.notes, o.error, o.details) for o in outcomes]


TASKS = (Task("b", 3), Task("bad", fail=True), Task("a", 1), Task("short", 0))


def test_beam_makes_the_same_parts(tmp_path: Path) -> None:
    """With a video that can't be used and one that is too short."""
    found = _jobs(tmp_path / "beam", TASKS, run_jobs)
    expected = _jobs(tmp_path / "here", TASKS, _here)
    assert _untimed(found) == _untimed(expected)
    assert found[1].error == "bad: not a good video"
    assert _parts(tmp_path / "beam/.parts") == _parts(tmp_path / "here/.parts")


def count_clips(task: Any, write: WriteClip) -> Findings:
    """A second stage: counts the clips of a part, and tells their names."""
    path, num_bytes = task
    with open(path, "rb") as file:
        payloads = [payload for _, payload in tfexample.scan(file, num_bytes, path.name)]
    found = [records.parse(payload, where="here").clip_id for payload in payloads]
    write(None, 1.0)
    return Findings(details={"clips": found})


class Painting:
    """Two stages: clips are painted, then counted where there are any."""

    def __init__(self, out: Path):
        self.painted = stage_parts(out, "painted", {})
        self.counted = stage_parts(out, "counted", {})

    def stages(self) -> list[Stage]:
        return [
            Stage("painted", self.painted, paint, self.itself),
            Stage("counted", self.counted, count_clips, self.part_of, in_this_process=True),
        ]

    def itself(self, video: Job, earlier: Earlier) -> Job:
        return video

    def part_of(self, video: Job, earlier: Earlier) -> Job | None:
        painted = earlier["painted"]
        if painted.part is None:
            return None
        task = self.painted.directory / painted.part, painted.num_bytes
        return Job(video.video_id, painted.part, task)


def _stages(
    out: Path, run: Callable[..., Mapping[str, Mapping[str, Outcome]]], *tasks: Task
) -> dict[str, list[tuple[Any, ...]]]:
    stages = Painting(out).stages()
    with opened(stages, overwrite=False):
        outcomes = run(stages, make_jobs(*tasks), progress=False)
    return {stage: _untimed(list(found.values())) for stage, found in outcomes.items()}


def _stages_here(*args: Any, **options: Any) -> dict[str, dict[str, Outcome]]:
    return run_stages_here(*args, workers=0, **options)


def _same_stages(one: Path, other: Path) -> bool:
    return all(
        _parts(one / ".stages" / name) == _parts(other / ".stages" / name)
        for name in ("painted", "counted")
    )


def test_a_chain_of_stages_is_that_of_one_machine(tmp_path: Path) -> None:
    """Later stages get the videos that are left; each side finishes what the other has begun."""
    marker = tmp_path / "marker"
    tasks = [Task("a", 3, marker=marker), *TASKS[1:2], *TASKS[3:], Task("z", 2, marker=marker)]
    expected = _stages(tmp_path / "here", _stages_here, *tasks)
    assert [names for names, *_ in expected["counted"]] == ["a", "z"]
    assert expected["counted"][0][-1] == {"clips": ["a#0", "a#1", "a#2"]}
    assert starts(marker) == 2

    _stages(tmp_path / "mixed", _stages_here, *tasks[:2])
    assert starts(marker) == 3
    assert _stages(tmp_path / "mixed", run_stages, *tasks) == expected
    assert starts(marker) == 4
    assert _same_stages(tmp_path / "mixed", tmp_path / "here")

    # Of Beam's work, this loses the second stage of one video.
    shutil.rmtree(tmp_path / "here")
    (tmp_path / "mixed").rename(tmp_path / "here")
    counted = sorted((tmp_path / "here/.stages/counted").glob("[!.p]*.json"))
    assert len(counted) == 2
    counted[0].unlink()
    assert _stages(tmp_path / "here", _stages_here, *tasks) == expected
    assert starts(marker) == 4


def test_the_data_set_is_the_same_byte_for_byte(tmp_path: Path) -> None:
    recipe = dataset.Recipe("painted", paint, make_jobs(*(Task(n) for n in "abcd")), {})
    layout = dataset.Layout(0.25, clips_per_shard=2)
    for name, execute in (("beam", run_jobs), ("here", _here_as_prepare)):
        dataset.prepare(recipe, tmp_path / name, layout=layout, progress=False, execute=execute)
    shards = sorted(path.name for path in (tmp_path / "here").glob("*.tfrecord*"))
    assert len(shards) == 8
    for name in (*shards, "info.json"):
        assert (tmp_path / "beam" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    assert not (tmp_path / "beam/.parts").exists()


def _here_as_prepare(*args: Any, workers: int | None, **options: Any) -> list[Outcome]:
    assert workers is None
    return _here(*args, **options)


def test_a_video_that_kills_its_process_costs_itself_and_is_tried_again(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    tasks = [Task("a"), Task("b", die="always", marker=marker), Task("c")]
    for attempts in (2, 4):
        outcomes = _jobs(tmp_path / "out", tasks, run_jobs)
        assert [outcome.num_clips for outcome in outcomes] == [2, 0, 2]
        assert "b: its process died 2 times" in str(outcomes[1].error)
        assert starts(marker) == attempts
    left = {path.name.partition(".")[2] for path in (tmp_path / "out/.parts").iterdir()}
    assert left == {"", "json", "tfrecord", "tfrecord.index.npz"}


def test_a_full_disk_on_a_worker_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"out: cannot be written to .*File too large.*--out$"):
        _jobs(tmp_path / "out", [Task("a", 20, max_file_bytes=500)], run_jobs)
    assert [path.name for path in (tmp_path / "out/.parts").glob("[!.]*")] == ["lock", "plan.json"]


def test_a_worker_that_does_not_see_the_folder_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_launch = beam_work.write_launch

    def write_elsewhere(*args: Any) -> beam_work.Launch:
        launch = write_launch(*args)
        launch.path.unlink()
        return launch

    monkeypatch.setattr(beam_work, "write_launch", write_elsewhere)
    monkeypatch.setattr("platform.node", lambda: "node7")
    path = rf"{tmp_path}/\.parts/launch\.pickle"
    with pytest.raises(SharingError, match=rf"^worker node7: {path} cannot be read .*NFS"):
        _jobs(tmp_path, TASKS, run_jobs)


def test_what_a_worker_finds_must_be_the_launchers(tmp_path: Path) -> None:
    stages, source = Painting(tmp_path).stages(), tmp_path / "videos"
    launch = beam_work.write_launch(stages, make_jobs(*TASKS), [source])
    with pytest.raises(SharingError, match=f"the source {source} is not there; all workers must"):
        beam_work.make_video(0, launch)
    launch.path.write_bytes(b"another")
    with pytest.raises(SharingError, match=r"launch\.pickle is not the launcher's file"):
        beam_work.make_video(0, launch)
    other = beam_work.Launch(launch.path, launch.digest, (), version="0.0")
    with pytest.raises(SharingError, match=r"has vidgan_jax .*, the launcher 0\.0; install"):
        beam_work.make_video(0, other)


def test_what_workers_wrote_elsewhere_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beam_stages, "_PATIENCE_S", 0.0)
    monkeypatch.setattr(beam_stages._Pipeline, "__call__", lambda *_: None)
    with pytest.raises(SharingError, match=r"of 4 videos, such as 'a', nothing is here"):
        _jobs(tmp_path, TASKS, run_jobs)


def test_a_mistake_in_the_program_ends_the_pipeline_in_one_line(tmp_path: Path) -> None:
    stages = [
        dataclasses.replace(stage, job=job, in_this_process=True)
        for stage, job in zip(Painting(tmp_path).stages(), (_itself, _mistaken), strict=True)
    ]
    with (
        opened(stages, overwrite=False),
        pytest.raises(PipelineError, match=r"pipeline failed: ValueError: no job for a\. Finish"),
    ):
        run_stages(stages, make_jobs(Task("a")), progress=False)


def _itself(video: Job, earlier: Earlier) -> Job:
    return video


def _mistaken(video: Job, earlier: Earlier) -> Job | None:
    raise ValueError(f"no job for {video.video_id}")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--runner=NopeRunner"], r"NopeRunner\): Unexpected pipeline runner: NopeRunner"),
        (["--direct_num_workers=x"], r"argument --direct_num_workers: invalid int value: 'x'$"),
    ],
)
def test_wrong_options_are_refused_in_one_line(
    tmp_path: Path, options: list[str], why: str
) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        run_jobs([], paint, Parts(tmp_path, "painted", {}), options=options)
    assert "\n" not in str(caught.value)


def test_what_beam_cannot_do_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts(tmp_path, "painted", {})
    with pytest.raises(ValueError, match=r"workers \(=2\) are of the processes of one machine"):
        run_jobs([], paint, parts, workers=2)
    with pytest.raises(ValueError, match=r"^videos: must be absolute"):
        run_jobs([], paint, parts, sources=["videos"])
    with pytest.raises(ValueError, match="two videos have the name 'a'"):
        run_jobs(make_jobs(Task("a"), Task("a")), paint, parts)
    monkeypatch.setitem(__import__("sys").modules, "apache_beam", None)
    with pytest.raises(ValueError, match=r'not installed .* pip install "\.\[beam\]"$'):
        run_jobs([], paint, parts)


@pytest.mark.parametrize(
    ("said", "kind", "text"),
    [
        (
            "java.lang.RuntimeException: Error received from SDK harness\\n  File x\\n"
            "vidgan_jax.preparation.beam_work.SharingError: worker n: /o is not there [while "
            "running 'make']\\n\\tat org.apache.Beam",
            SharingError,
            "worker n: /o is not there",
        ),
        ("Workflow failed.\nNo quota", PipelineError, "the Beam pipeline failed: Workflow failed."),
    ],
)
def test_what_runners_say_is_read(said: str, kind: type[OSError], text: str) -> None:
    error = beam_stages._said(said)
    assert type(error) is kind
    assert str(error).startswith(text)


def test_workers_stop_when_the_launcher_withdraws(tmp_path: Path) -> None:
    """In the middle of a video, and before the next one."""
    marker = tmp_path / "marker"
    stages = Painting(tmp_path).stages()
    with opened(stages, overwrite=False):
        launch = beam_work.write_launch(
            stages, make_jobs(Task("a", 600, wait_s=0.1, marker=marker)), []
        )

        def withdraw() -> None:
            while not starts(marker):
                time.sleep(0.05)
            beam_work.withdraw_launch(stages)

        threading.Thread(target=withdraw).start()
        with pytest.raises(InterruptedError, match="a: stopped"):
            beam_work.make_video(0, launch)
        with pytest.raises(InterruptedError, match="the launcher has stopped"):
            beam_work.make_video(0, launch)
    beam_work.stop_processes()
    assert starts(marker) == 1


_SCENES = "scenes --num-videos 2 --clips-per-video 1 --num-frames 2 --size 16 --supersampling 1"


def test_the_command_takes_a_runners_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a folder of the user's choice, by relative paths."""
    monkeypatch.chdir(tmp_path)
    options = "--runner=DirectRunner --direct_running_mode=in_memory"
    arguments = [*_SCENES.split(), "--out", "made", "--quiet", f"--beam={options}"]
    assert prepare.main(arguments) == 0
    assert len(records.ClipSource(tmp_path / "made", "train")) == 1
    for wrong, why in (
        (["--workers", "2"], "--workers (=2) is of one machine; with --beam, the runner's options"),
        (["--beam", "'"], '--beam "\'": No closing quotation'),
    ):
        assert prepare.main([*arguments, "--overwrite", *wrong]) == 2
        assert why in capsys.readouterr().err
