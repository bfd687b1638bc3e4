"""Jobs and parts: parallel, resumable, and nothing half-written whatever happens."""

import errno
import os
from pathlib import Path

import pytest

from tests.preparation.work import Task, make_jobs, paint, starts
from vidgan_jax.data import records
from vidgan_jax.preparation import jobs as jobs_module
from vidgan_jax.preparation.jobs import run_jobs
from vidgan_jax.preparation.parts import Job, Outcome, OutputError, Parts


def _run(out: Path, jobs: list[Job], *, workers: int = 0, fps: int = 24) -> list[Outcome]:
    parts = Parts(out, "painted", {"fps": fps})
    with parts.opened(overwrite=False):
        return run_jobs(jobs, paint, parts, workers=workers, progress=False)


def _files(out: Path) -> set[str]:
    return {path.suffixes[-1] for path in (out / ".parts").iterdir() if path.suffix}


def _is_clean(out: Path) -> bool:
    return not any(path.name.startswith(".") for path in (out / ".parts").iterdir())


@pytest.mark.parametrize("workers", [0, 2])
def test_parts_hold_what_the_jobs_wrote(tmp_path: Path, workers: int) -> None:
    jobs = make_jobs(Task("b", 3), Task("a", 1), Task("c", 0))
    outcomes = _run(tmp_path, jobs, workers=workers)
    assert [(o.video_id, o.num_clips, o.num_frames) for o in outcomes] == [
        ("b", 3, 9),
        ("a", 1, 3),
        ("c", 0, 0),
    ]
    assert outcomes[2].part is None
    assert outcomes[2].notes == ("c: too short",)
    assert outcomes[0].part is not None
    part = tmp_path / ".parts" / outcomes[0].part
    assert part.stat().st_size == outcomes[0].num_bytes
    assert records.load_index(part).clip_id.tolist() == ["b#0", "b#1", "b#2"]
    assert _is_clean(tmp_path)


def test_processes_and_none_write_the_same_bytes(tmp_path: Path) -> None:
    jobs = make_jobs(*(Task(name, 2) for name in "abcd"))
    contents = []
    for workers in (0, 2):
        out = tmp_path / str(workers)
        outcomes = _run(out, jobs, workers=workers)
        contents.append([(out / ".parts" / str(o.part)).read_bytes() for o in outcomes])
    assert contents[0] == contents[1]


def test_a_second_run_does_only_what_is_left(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    tasks = [Task(name, marker=marker) for name in "abc"]
    _run(tmp_path / "out", make_jobs(*tasks[:2]))
    outcomes = _run(tmp_path / "out", make_jobs(*tasks))
    assert [line.split()[0] for line in marker.read_text().splitlines()] == ["a", "b", "c"]
    assert [outcome.num_clips for outcome in outcomes] == [2, 2, 2]


def test_a_changed_source_is_done_again_and_its_old_part_removed(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    job = make_jobs(Task("a", marker=marker))[0]
    (before,) = _run(tmp_path / "out", [job])
    (after,) = _run(tmp_path / "out", [Job(job.video_id, "changed", job.task)])
    assert starts(marker) == 2
    assert before.part != after.part
    assert not (tmp_path / "out" / ".parts" / str(before.part)).exists()


@pytest.mark.parametrize("lost", ["{part}", "{part}.index.npz"])
def test_a_part_that_is_not_whole_is_made_again(tmp_path: Path, lost: str) -> None:
    (outcome,) = _run(tmp_path, make_jobs(Task("a")))
    (tmp_path / ".parts" / lost.format(part=outcome.part)).unlink()
    (again,) = _run(tmp_path, make_jobs(Task("a")))
    assert records.load_index(tmp_path / ".parts" / str(again.part)).clip_id.tolist() == [
        "a#0",
        "a#1",
    ]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_video_costs_itself_only_and_is_tried_again(tmp_path: Path, workers: int) -> None:
    marker = tmp_path / "marker"
    tasks = [Task("a"), Task("bad", fail=True, marker=marker), Task("c")]
    for attempt in (1, 2):
        outcomes = _run(tmp_path / "out", make_jobs(*tasks), workers=workers)
        assert [outcome.num_clips for outcome in outcomes] == [2, 0, 2]
        assert outcomes[1].error == "bad: not a good video"
        assert starts(marker) == attempt
    assert _is_clean(tmp_path / "out")


def test_a_mistake_in_the_program_costs_one_video_and_is_named(tmp_path: Path) -> None:
    outcomes = _run(tmp_path, make_jobs(Task("a", crash=True), Task("b")))
    assert str(outcomes[0].error).startswith("unexpected TypeError: a mistake (work.py, line")
    assert outcomes[1].num_clips == 2


def test_a_worker_killed_once_is_replaced_and_its_job_done(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    tasks = [Task("a"), Task("b", die="once", marker=marker), Task("c"), Task("d")]
    outcomes = _run(tmp_path / "out", make_jobs(*tasks), workers=2)
    assert [outcome.num_clips for outcome in outcomes] == [2, 2, 2, 2]
    assert starts(marker) == 2


def test_a_job_that_kills_its_worker_costs_itself_only(tmp_path: Path) -> None:
    tasks = [Task("a"), Task("b", die="always"), Task("c"), Task("d")]
    outcomes = _run(tmp_path, make_jobs(*tasks), workers=2)
    assert [outcome.num_clips for outcome in outcomes] == [2, 0, 2, 2]
    assert "b: its process died 2 times: out of memory" in str(outcomes[1].error)
    _run(tmp_path, make_jobs(Task("a"), Task("c"), Task("d")))
    assert _is_clean(tmp_path)


def test_other_settings_are_refused_until_overwrite(tmp_path: Path) -> None:
    _run(tmp_path, make_jobs(Task("a")))
    with pytest.raises(ValueError, match=r"other settings \(fps was 24, now 30\).*--overwrite"):
        _run(tmp_path, make_jobs(Task("a")), fps=30)
    parts = Parts(tmp_path, "painted", {"fps": 30})
    with parts.opened(overwrite=True):
        assert parts.finished(make_jobs(Task("a"))) == []
    assert _files(tmp_path) == {".json"}  # The new plan only.


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    with (
        Parts(tmp_path, "painted", {}).opened(overwrite=False),
        pytest.raises(ValueError, match="another `prepare` is at work in this folder"),
        Parts(tmp_path, "painted", {}).opened(overwrite=False),
    ):
        pass


def _full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_stops_the_run_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = make_jobs(Task("a"), Task("b"), Task("c"))
    _run(tmp_path, jobs[:1])
    with monkeypatch.context() as patched:
        patched.setattr("vidgan_jax.data.shards.os.fsync", _full_disk)
        with pytest.raises(OutputError, match=r"the disk is full.*finished videos are kept"):
            _run(tmp_path, jobs)
    assert _is_clean(tmp_path)
    assert len(list((tmp_path / ".parts").glob("*.tfrecord"))) == 1
    assert [outcome.num_clips for outcome in _run(tmp_path, jobs)] == [2, 2, 2]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_folder_that_cannot_be_written_stops_before_any_work(
    tmp_path: Path, workers: int
) -> None:
    marker, file = tmp_path / "marker", tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(OutputError, match=r"file/out: cannot be written to .*--out"):
        _run(file / "out", make_jobs(Task("a", marker=marker)), workers=workers)
    assert starts(marker) == 0
    assert file.read_text() == "mine"


def test_a_write_that_fails_in_a_worker_stops_the_run(tmp_path: Path) -> None:
    tasks = [Task("a", 20, max_file_bytes=500), Task("b", 20, max_file_bytes=500)]
    with pytest.raises(OutputError, match=r"cannot be written to .*File too large"):
        _run(tmp_path, make_jobs(*tasks), workers=1)
    assert _files(tmp_path) == {".json"}
    assert _is_clean(tmp_path)


def test_ctrl_c_removes_what_is_half_written_and_keeps_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        if list((tmp_path / ".parts").glob("[!.]*.json")) != [tmp_path / ".parts" / "plan.json"]:
            raise KeyboardInterrupt

    jobs = make_jobs(*(Task(name, clips=20, wait_s=0.01) for name in "abcdef"))
    with monkeypatch.context() as patched:
        patched.setattr(jobs_module._State, "show", interrupt)
        with pytest.raises(KeyboardInterrupt):
            _run(tmp_path, jobs, workers=2)
    assert _is_clean(tmp_path)
    kept = len(list((tmp_path / ".parts").glob("*.tfrecord")))
    assert 1 <= kept < 6
    assert [outcome.num_clips for outcome in _run(tmp_path, jobs)] == [20] * 6


def test_two_videos_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two videos have the name 'a'"):
        _run(tmp_path, make_jobs(Task("a"), Task("a")))


def test_negative_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"workers \(=-1\) must be at least 0"):
        _run(tmp_path, make_jobs(Task("a")), workers=-1)
