"""SIGKILL while a sample is written: no half picture is left, and the run goes on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import chex

from tests.runs import ROOT, names
from tests.train.test_loop import command, losses, run, saved_state
from vidgan_jax.train.samples import SAMPLES

# Ends the process where the picture of step 6 is there under its temporary name, half of it.
CHILD = """
import os, signal, sys
from vidgan_jax import main

replace = os.replace

def kill_at_step_6(source, target):
    if str(target).endswith("00000006.png"):
        os.truncate(source, os.path.getsize(source) // 2)
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

os.replace = kill_at_step_6
sys.exit(main.main(sys.argv[1:]))
"""


def test_killed_while_a_sample_is_written(data: Path, whole: Path, tmp_path: Path) -> None:
    workdir = tmp_path / "killed"
    arguments = command(data, workdir)[3:]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *arguments],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"},
        capture_output=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    left = names(workdir / SAMPLES)
    assert "00000000.png" in left
    assert "00000006.png" not in left
    assert any(name.startswith(".00000006.tmp-") for name in left)
    assert run(data, workdir).finished
    assert names(workdir / SAMPLES) == names(whole / SAMPLES)
    for name in names(whole / SAMPLES):
        assert (workdir / SAMPLES / name).read_bytes() == (whole / SAMPLES / name).read_bytes()
    assert losses(workdir) == losses(whole)
    chex.assert_trees_all_equal(saved_state(workdir), saved_state(whole))
