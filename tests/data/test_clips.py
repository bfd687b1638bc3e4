"""The loaders: one sequence for all hosts, exact states, workers that end, errors that name."""

import dataclasses
import json
import multiprocessing
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grain
import numpy as np
import pytest

from tests.datasets import SHARD, make_clip, make_dataset
from vidgan_jax.data.clips import Rows, evaluation_loader, training_loader
from vidgan_jax.data.records import ClipSource, RecordError, load_index
from vidgan_jax.types import Batch, ClipSpec

SPEC = ClipSpec(num_frames=3, stride=2, size=12, resize=16, label_maps=True)
NUM_CLIPS = 7


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ClipSource:
    """Three videos of 1, 2 and 4 clips of ten 16×16 PNG frames, with label maps."""
    directory = make_dataset(
        tmp_path_factory.mktemp("clips"), clips_per_video=[1, 2, 4], label_maps=True
    )
    return ClipSource(directory, "train")


def take(
    source: ClipSource, count: int, *, state: dict[str, int] | None = None, **keywords: Any
) -> list[Batch]:
    """The first `count` training batches (after `state`), of 4 examples by default."""
    with training_loader(source, SPEC, **({"batch_size": 4, "seed": 1} | keywords)) as loader:
        if state is not None:
            loader.set_state(state)
        return [next(loader) for _ in range(count)]


def joined(batches: Sequence[Batch]) -> tuple[np.ndarray, np.ndarray]:
    """All examples of the batches: frames, label maps."""
    frames = np.concatenate([np.asarray(batch.frames) for batch in batches])
    return frames, np.concatenate([np.asarray(batch.label_map) for batch in batches])


def assert_same(one: Sequence[Batch], other: Sequence[Batch]) -> None:
    for left, right in zip(joined(one), joined(other), strict=True):
        np.testing.assert_array_equal(left, right)


def test_batches(source: ClipSource) -> None:
    (batch,) = take(source, 1)
    assert isinstance(batch, Batch)
    for leaf, shape in zip(batch, [(4, 3, 12, 12, 3), (4, 12, 12)], strict=True):
        assert type(leaf) is np.ndarray
        assert (leaf.shape, leaf.dtype) == (shape, np.uint8)
    images = ClipSpec(num_frames=0, stride=1, size=12, resize=16)
    with training_loader(source, images, batch_size=2, seed=0) as loader:
        batch = next(loader)
        assert batch.frames.shape == (2, 12, 12, 3)
        assert batch.label_map is None
        assert (loader.num_clips, loader.num_videos) == (NUM_CLIPS, 3)


def test_the_seed_decides(source: ClipSource) -> None:
    first = take(source, 6)
    assert_same(first, take(source, 6))
    assert_same(first, take(source, 6, num_threads=0, read_buffer=1))
    assert not np.array_equal(joined(first)[0], joined(take(source, 6, seed=2))[0])


def test_no_two_epochs_are_equal(source: ClipSource) -> None:
    epochs = take(source, 4, batch_size=NUM_CLIPS)
    assert len({np.asarray(batch.frames).tobytes() for batch in epochs}) == 4


@pytest.mark.parametrize("process_count", [1, 2, 3, 4])
@pytest.mark.parametrize("first", [0, 13])
def test_each_sample_is_one_hosts(first: int, process_count: int) -> None:
    """By number: once, in order where batches stand side by side; others' are not even drawn."""
    drawn: list[int] = []

    def draw(number: int) -> int:
        drawn.append(number)
        return number

    samples, together = grain.MapDataset.range(100).map(draw), []
    for host in range(process_count):
        rows = Rows(samples, first, rows=3, process_index=host, process_count=process_count)
        together.append(np.reshape([rows[i] for i in range(len(rows))], (-1, 3)))
        assert drawn == together[-1].ravel().tolist()
        drawn.clear()
    numbers = np.concatenate(together, 1).ravel()
    whole = (100 - first) // (3 * process_count) * 3 * process_count
    np.testing.assert_array_equal(numbers, np.arange(first, first + whole))
    assert rows[::2][1] == rows[2]


@pytest.mark.parametrize("process_count", [2, 3, 4])
def test_hosts_share_every_batch(process_count: int, source: ClipSource) -> None:
    """An epoch and more: the hosts' rows, one behind the other, are the one host's batch."""
    hosts = [
        take(
            source,
            2,
            batch_size=12 // process_count,
            process_index=host,
            process_count=process_count,
            num_threads=0,
        )
        for host in range(process_count)
    ]
    for parts, whole in zip(zip(*hosts, strict=True), take(source, 2, batch_size=12), strict=True):
        assert_same(parts, [whole])


def test_other_numbers_of_hosts_go_on(source: ClipSource) -> None:
    """1, then 2, 4 and 3 hosts, from within an epoch and within a batch of theirs."""
    whole, state = joined(take(source, 10)), {"samples": 0}
    for process_count, batch_size in ((1, 7), (2, 3), (4, 2), (3, 1)):
        parts = []
        for host in range(process_count):
            with training_loader(
                source,
                SPEC,
                batch_size=batch_size,
                seed=1,
                process_index=host,
                process_count=process_count,
                num_threads=0,
            ) as loader:
                loader.set_state(state)
                parts.append(next(loader))
                after = loader.get_state()
        taken = slice(state["samples"], after["samples"])
        assert taken.stop - taken.start == process_count * batch_size
        for leaf, expected in zip(joined(parts), whole, strict=True):
            np.testing.assert_array_equal(leaf, expected[taken])
        state = after


def test_states_are_exact_and_portable(source: ClipSource) -> None:
    """Whatever the batch size, hosts and threads at saving and restoring."""
    whole = joined(take(source, 8))
    with training_loader(source, SPEC, batch_size=4, seed=1) as loader:
        assert loader.get_state() == {"samples": 0}
        for _ in range(3):
            next(loader)
        state = json.loads(json.dumps(loader.get_state()))
        assert state == {"samples": 12}
        ahead = [next(loader) for _ in range(2)]
        loader.set_state(state)
        assert loader.get_state() == state
        assert_same([next(loader) for _ in range(2)], ahead)
    elsewhere: tuple[dict[str, Any], ...] = ({}, {"batch_size": 5}, {"num_threads": 0})
    for keywords in elsewhere:
        rest = joined(take(source, 3, state=state, **keywords))
        for leaf, expected in zip(rest, whole, strict=True):
            np.testing.assert_array_equal(leaf, expected[12 : 12 + len(leaf)])
    with training_loader(
        source, SPEC, batch_size=3, seed=1, process_index=1, process_count=2
    ) as host:
        host.set_state(state)
        np.testing.assert_array_equal(next(host).frames, whole[0][15:18])
        assert host.get_state() == {"samples": 18}


def test_a_far_position_is_reached_at_once(source: ClipSource) -> None:
    start = time.perf_counter()
    (batch,) = take(source, 1, state={"samples": 10**12})
    assert batch.frames.shape[0] == 4
    assert time.perf_counter() - start < 2


def test_grain_saves_the_state(source: ClipSource, tmp_path: Path) -> None:
    """Through Grain's own handler, as orbax calls it."""
    epath = pytest.importorskip("etils.epath")
    handler = grain.checkpoint.CheckpointHandler()
    with training_loader(source, SPEC, batch_size=4, seed=1) as loader:
        next(loader)
        handler.save(epath.Path(tmp_path), loader)
        expected = next(loader)
    with training_loader(source, SPEC, batch_size=4, seed=1) as loader:
        handler.restore(epath.Path(tmp_path), loader)
        assert_same([next(loader)], [expected])


def test_worker_processes(source: ClipSource) -> None:
    """The same batches and states with workers as without, and no process is left behind."""
    expected = take(source, 6)
    with training_loader(source, SPEC, batch_size=4, seed=1, num_workers=2) as loader:
        assert_same([next(loader) for _ in range(3)], expected[:3])
        state = loader.get_state()
        assert type(next(loader).frames) is np.ndarray
    assert state == {"samples": 12}
    assert_same(take(source, 3, state=state, num_workers=1), expected[3:])
    assert multiprocessing.active_children() == []


def test_closing_ends_threads(source: ClipSource) -> None:
    loader = training_loader(source, SPEC, batch_size=4, seed=1)
    next(loader)
    assert any("grain" in thread.name for thread in threading.enumerate())
    loader.close()
    loader.close()
    deadline = time.monotonic() + 10
    while any("grain" in thread.name for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(ValueError, match="the loader is closed"):
        next(loader)


def test_evaluation_is_plain(source: ClipSource) -> None:
    """Every clip once, in order: first frames, centre crop, no flip."""
    with evaluation_loader(source, SPEC, batch_size=3) as loader:
        batches = list(loader)
        assert [len(batch.frames) for batch in batches] == [3, 3, 1]
        with pytest.raises(StopIteration):
            next(loader)
        loader.set_state({"samples": 3})
        assert_same(list(loader), batches[1:])
    for i, frames in enumerate(joined(batches)[0]):
        clip = int(source.clip_ids[i].rsplit("/")[-1])
        whole = make_clip(int(source.video[i]), clip, num_frames=10, size=16)
        np.testing.assert_array_equal(frames, whole[:5:2, 2:14, 2:14])


@pytest.mark.parametrize("process_count", [2, 3, 8])
def test_evaluation_over_hosts(process_count: int, source: ClipSource) -> None:
    """Every clip on one host only; a host may have none."""
    with evaluation_loader(source, SPEC, batch_size=2) as loader:
        whole = joined(list(loader))[0]
    for host in range(process_count):
        with evaluation_loader(
            source, SPEC, batch_size=2, process_index=host, process_count=process_count
        ) as loader:
            batches = list(loader)
        mine = whole[host::process_count]
        assert sum(len(batch.frames) for batch in batches) == len(mine)
        if batches:
            np.testing.assert_array_equal(joined(batches)[0], mine)


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"batch_size": 0}, r"batch_size \(=0\) must be at least 1"),
        ({"process_count": 0}, r"process_count \(=0\) must be at least 1"),
        ({"process_index": 2, "process_count": 2}, r"process_index \(=2\) must be below .*\(=2\)"),
        ({"process_index": -1}, r"process_index \(=-1\) must be at least 0"),
        ({"num_workers": -1}, r"num_workers \(=-1\)"),
        ({"num_threads": -1}, r"num_threads \(=-1\)"),
        ({"read_buffer": 0}, r"read_buffer \(=0\)"),
        ({"seed": -1}, r"seed \(=-1\) must be at least 0"),
        ({"max_skipped": -1}, r"max_skipped \(=-1\) must be at least 0, or None"),
        ({"max_skipped": 2}, r"max_skipped \(=2\) needs on_skip"),
    ],
)
def test_bad_arguments(keywords: dict[str, Any], text: str, source: ClipSource) -> None:
    with pytest.raises(ValueError, match=text):
        take(source, 1, **keywords)


@pytest.mark.parametrize("state", [{}, {"samples": -1}, {"samples": "1"}, {"next_index": 3}, None])
def test_foreign_states(state: Any, source: ClipSource) -> None:
    with (
        training_loader(source, SPEC, batch_size=1, seed=0) as loader,
        pytest.raises(ValueError, match=r"state must be \{'samples': n\} with n ≥ 0, got"),
    ):
        loader.set_state(state)


@pytest.mark.parametrize("keywords", [{"num_threads": 0}, {"num_threads": 2}, {"num_workers": 1}])
def test_a_corrupted_record_is_named_and_not_skipped(
    keywords: dict[str, int], tmp_path: Path
) -> None:
    """The error comes at its place, again when asked again, and repairing is enough to go on."""
    shard = make_dataset(tmp_path, clips_per_video=2) / SHARD
    source = ClipSource(tmp_path, "train")
    spec = ClipSpec(num_frames=2, stride=1, size=16, resize=16)
    with evaluation_loader(source, spec, batch_size=1) as loader:
        expected = [np.asarray(batch.frames) for batch in loader]
    position = int(load_index(shard).offset[3]) + 100
    with (
        open(shard, "r+b", buffering=0) as file,
        evaluation_loader(source, spec, batch_size=1, **keywords) as loader,
    ):
        good = os.pread(file.fileno(), 1, position)
        os.pwrite(file.fileno(), bytes([good[0] ^ 1]), position)
        batches = [next(loader) for _ in range(3)]
        for _ in range(1 if "num_workers" in keywords else 2):
            with pytest.raises(RecordError, match=rf"{SHARD}, record 3 .*corrupted data"):
                next(loader)
            assert loader.get_state() == {"samples": 3}
        os.pwrite(file.fileno(), good, position)
        batches += list(loader)
    np.testing.assert_array_equal([batch.frames for batch in batches], expected)


@pytest.mark.parametrize("keywords", [{"num_threads": 0}, {"num_threads": 2}, {"num_workers": 1}])
def test_an_id_of_no_class_ends_the_reading(keywords: dict[str, Any], source: ClipSource) -> None:
    """However it is read: the error names record, clip, id and number, and nothing is skipped."""
    spec = dataclasses.replace(SPEC, num_labels=3)
    message = rf"{SHARD}, record \d .*: the label map of clip 'train-\d/\d' holds the id 3, but"
    for make in (
        lambda: training_loader(source, spec, batch_size=2, seed=0, **keywords),
        lambda: evaluation_loader(source, spec, batch_size=2, **keywords),
    ):
        with make() as loader:
            with pytest.raises(RecordError, match=message):
                next(loader)
            assert loader.get_state() == {"samples": 0}
