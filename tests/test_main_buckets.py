"""`python -m vidgan_jax.main` with a data set in a bucket, as a user types it."""

from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.buckets import listed, opened, upload
from tests.runs import TINY_2D, Runs, logged, refuse, succeed, trained
from vidgan_jax import evaluate, main


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[str]:
    with opened(tmp_path / "buckets") as name:
        yield name


def test_a_run_on_a_bucket_is_the_run_on_disk(
    fast: None, runs: Runs, bucket: str, tmp_path: Path
) -> None:
    """To the bit; `--workdir` is on disk: Orbax writes buckets by a driver of its own."""
    data = upload(runs.data, f"{bucket}/data")
    succeed(main.main, *TINY_2D, f"--config.data.path={data}", f"--workdir={tmp_path / 'run'}")
    (_, there), (_, here) = trained(tmp_path / "run"), trained(runs.images)
    for name in ("gen", "disc", "ema"):
        jax.tree.map(np.testing.assert_array_equal, getattr(there, name), getattr(here, name))
    found, wanted = (logged(workdir) for workdir in (tmp_path / "run", runs.images))
    assert [row["D"] for row in found] == [row["D"] for row in wanted]


def test_what_is_wrong_with_a_bucket_is_one_line(
    runs: Runs, bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = f"--workdir={tmp_path / 'run'}"
    said = refuse(capsys, main.main, *TINY_2D, f"--config.data.path={bucket}/no", run)
    assert "data set gs://bucket/no: the folder does not exist" in said
    said = refuse(capsys, main.main, *TINY_2D, "--config.data.path=tfds:a?data_dir=gs://b", run)
    assert "a bucket stands at the beginning of a path" in said
    said = refuse(capsys, main.main, *TINY_2D, "--workdir=hdfs://host/run")
    assert "files are on disks, gs:// and s3://, not on hdfs://" in said
    assert not (tmp_path / "run").exists()


def test_results_go_to_buckets(runs: Runs, bucket: str) -> None:
    data = upload(runs.data, f"{bucket}/data")
    succeed(
        evaluate.main,
        f"--checkpoint={runs.images}",
        f"--data={data}",
        "--num=96",
        f"--json={bucket}/scores/images.json",
    )
    assert listed(f"{bucket}/scores") == ["images.json"]
