"""Runs that compute in bfloat16, by their commands: from float32 weights, inflated, used."""

from pathlib import Path

import jax
import pytest

from tests.runs import (
    NUM_STEPS,
    TINY_2D,
    TINY_3D,
    Runs,
    fields,
    logged,
    names,
    read_json,
    succeed,
    trained,
)
from vidgan_jax import evaluate, generate, inflate, main

# ml_collections 1.1 loads config files by importlib's `load_module`.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

BFLOAT16 = [f"--config.model.{player}_dtype=bfloat16" for player in ("gen", "disc")]


def test_a_run_goes_on_from_float32s_weights_and_can_be_used(
    runs: Runs, images_data: str, tmp_path: Path, fast: None
) -> None:
    """Weights are float32 all the time; nothing else asks what the networks compute in."""
    workdir, out = tmp_path / "run", tmp_path / "out"
    start = fields(init_path=runs.images)
    succeed(main.main, *TINY_2D, *BFLOAT16, images_data, *start, f"--workdir={workdir}")
    exp, weights = trained(workdir)
    assert exp.generator.dtype == exp.discriminator.dtype == "bfloat16"
    assert weights.step == NUM_STEPS
    leaves = jax.tree.leaves([weights.gen, weights.disc, weights.ema])
    assert {str(leaf.dtype) for leaf in leaves} == {"float32"}
    first, before = (logged(folder)[0] for folder in (workdir, runs.images))
    assert first.keys() == before.keys()
    succeed(generate.main, f"--checkpoint={workdir}", f"--out={out}", "--num=2")
    assert names(out)
    scores = tmp_path / "scores.json"
    succeed(evaluate.main, f"--checkpoint={workdir}", "--num=96", f"--json={scores}")
    assert read_json(scores)["manifest"]["checkpoint"]["step"] == NUM_STEPS


def test_inflation_into_bfloat16_is_measured_in_float32(runs: Runs, tmp_path: Path) -> None:
    """The contract is the weights'; the dtype is free to change."""
    succeed(inflate.main, *TINY_3D, *BFLOAT16, f"--from={runs.images}", f"--out={tmp_path}")
    assert read_json(tmp_path / inflate.REPORT) == {
        **read_json(runs.inflated / inflate.REPORT),
        "within_tolerance": True,
    }
    assert trained(tmp_path)[0].config.model.gen_dtype == "bfloat16"
