"""The data and the run that all of these tests compare with."""

from pathlib import Path

import pytest

from tests.datasets import make_dataset
from tests.train.test_loop import run


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data"), num_videos=3, size=8)


@pytest.fixture(scope="session")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to: checkpoints of the steps 3, 6 and 9. Read only."""
    workdir = tmp_path_factory.mktemp("whole")
    assert run(data, workdir).finished
    return workdir
