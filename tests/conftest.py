"""Settings for all tests: eight simulated devices, programs that compile fast and run slowly."""

import atexit
import os
import tempfile
from collections.abc import Iterator

# In the environment, for the processes that tests start: their numbers must be the same.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"

import jax
import pytest

from tests.datasets import make_dataset
from tests.runs import SIZE, Runs, make_runs, one_device
from vidgan_jax import devices

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)

# What one test has compiled the next one finds: runs of verbs are the same program again and again.
_programs = tempfile.TemporaryDirectory(prefix="vidgan_jax-programs-")
atexit.register(_programs.cleanup)
jax.config.update("jax_compilation_cache_dir", _programs.name)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
# For the processes that tests start, too: they leave the user's cache alone.
os.environ["JAX_COMPILATION_CACHE_DIR"] = _programs.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"


@pytest.fixture(scope="session", autouse=True)
def _programs_on_one_device() -> Iterator[None]:
    """Of the simulated devices, which compile longer together and compute no faster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "usable", lambda: jax.local_devices()[:1])
        yield


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """One tiny chain for all tests of verbs: 2D training, inflation, 3D training. Read only."""
    folder = tmp_path_factory.mktemp("runs")
    return make_runs(folder, make_dataset(folder / "data", size=SIZE))


@pytest.fixture(scope="session")
def images_data(runs: Runs) -> str:
    """The argument that names the chain's data set."""
    return f"--config.data.path={runs.data}"


@pytest.fixture
def fast() -> Iterator[None]:
    """Verbs train on one device."""
    with one_device():
        yield
