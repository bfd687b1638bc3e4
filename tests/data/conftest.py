"""A small data set, and copies of it to damage."""

import shutil
from pathlib import Path

import pytest

from tests.datasets import make_dataset


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set of one shard; not to be changed."""
    return make_dataset(
        tmp_path_factory.mktemp("pristine"), num_videos=3, num_frames=2, size=4, label_maps=True
    )


@pytest.fixture
def dataset(pristine: Path, tmp_path: Path) -> Path:
    """A copy of `pristine` to damage."""
    return Path(shutil.copytree(pristine, tmp_path / "dataset"))
