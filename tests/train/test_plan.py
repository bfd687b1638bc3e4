"""The plan: it says what there is, exactly where it can."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from vidgan_jax import experiment
from vidgan_jax.models.resnet import ResnetDiscriminator, ResnetGenerator
from vidgan_jax.train import beginning, plan, sharding

# ml_collections 1.1 loads config files by importlib's `load_module`.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

RESNET = str(Path(__file__).parents[2] / "configs" / "resnet{}.py")
FOUND = (640, 32)  # clips, videos


def make_plan(config: str, *overrides: str, found: tuple[int, int] | None = None) -> dict[str, Any]:
    built = experiment.build(experiment.load_config(config, overrides))
    mesh = sharding.make_mesh(8)
    return plan.make_plan(built, mesh, data_path="some/where", found=found)


def test_describe_lists_modules_as_they_are_called() -> None:
    """With what each returns for one example, and the parameters of all it contains."""
    layers = plan.describe(ResnetGenerator(8, 2, 4, 8), jnp.zeros((1, 3)))
    assert [(layer.path, layer.kind, layer.output, layer.parameters) for layer in layers] == [
        ("", "ResnetGenerator", (1, 2, 8, 8, 3), 512 + 1336 + 872 + 327),
        ("fc", "Dense", (1, 128), 3 * 128 + 128),
        ("block_0", "ResnetBlock", (1, 1, 4, 4, 4), 3 * 3 * 3 * (8 + 4) * 4 + 8 + 8 * 4),
        ("block_0/conv_0", "Conv", (1, 1, 4, 4, 4), 3 * 3 * 3 * 8 * 4 + 4),
        ("block_0/conv_1", "Conv", (1, 1, 4, 4, 4), 3 * 3 * 3 * 4 * 4 + 4),
        ("block_0/conv_s", "Conv", (1, 1, 4, 4, 4), 8 * 4),
        ("block_1", "ResnetBlock", (1, 2, 8, 8, 4), 2 * (3 * 3 * 3 * 4 * 4 + 4)),
        ("block_1/conv_0", "Conv", (1, 2, 8, 8, 4), 3 * 3 * 3 * 4 * 4 + 4),
        ("block_1/conv_1", "Conv", (1, 2, 8, 8, 4), 3 * 3 * 3 * 4 * 4 + 4),
        ("conv_img", "Conv", (1, 2, 8, 8, 3), 3 * 3 * 3 * 4 * 3 + 3),
    ]
    leaves = {layer.path for layer in layers if layer.is_leaf}
    assert leaves == {"fc", "conv_img", *(layer.path for layer in layers if "/" in layer.path)}


@pytest.mark.parametrize("num_frames", [0, 4])
def test_parameters_of_the_parts_add_up(num_frames: int) -> None:
    """Leaves hold every parameter once; the first line holds them all."""
    frames = (num_frames,) if num_frames else ()
    module, x = ResnetDiscriminator(16, 4, 8), jnp.zeros((1, *frames, 16, 16, 3))
    layers = plan.describe(module, x)
    variables = jax.eval_shape(module.init, jax.random.key(0), x)
    assert layers[0].parameters == plan.count(variables["params"])
    assert sum(layer.parameters for layer in layers if layer.is_leaf) == layers[0].parameters
    assert layers[0].output == (1,)
    assert len({layer.path for layer in layers}) == len(layers)


def test_num_bytes() -> None:
    """Typed keys have no bytes of their own; a dtype counts as it is stored."""
    tree = {"a": jnp.zeros((2, 3)), "b": [jnp.zeros(5, jnp.int8)], "key": jax.random.key(0)}
    assert plan.num_bytes(tree) == 2 * 3 * 4 + 5
    assert plan.num_bytes({}) == 0


@pytest.mark.parametrize(
    ("rank", "parameters"), [("2d", (33_261_251, 29_067_969)), ("3d", (102_593_603, 85_817_409))]
)
def test_plan_of_the_thesiss_networks(rank: str, parameters: tuple[int, int]) -> None:
    """The counts of the documented layout, by the config that ships; all of it survives JSON."""
    planned = make_plan(RESNET.format(rank), found=FOUND)
    networks = planned["networks"]
    assert (
        networks["generator"]["parameters"],
        networks["discriminator"]["parameters"],
    ) == parameters
    assert json.loads(json.dumps(planned))["memory"] == planned["memory"]
    # Parameters and RMSProp's squares of both, and G's average: 4 bytes each.
    gen, disc = parameters
    memory = planned["memory"]
    assert memory["state_bytes"] == pytest.approx(4 * (3 * gen + 2 * disc), rel=1e-6)
    assert memory["gradient_bytes"] == 4 * max(parameters)
    assert memory["total_bytes_estimate"] == sum(
        memory[name] for name in ("state_bytes", "gradient_bytes", "activation_bytes_estimate")
    )


def test_state_bytes_are_those_of_the_state() -> None:
    tiny = ["--config.model.size=8", "--config.train.batch_size=8"]
    built = experiment.build(experiment.load_config(RESNET.format("2d") + ":smoke", tiny))
    state = jax.eval_shape(lambda: beginning.initial_state(built, beginning.make_game(built, 1)))
    expected = sum(
        leaf.size * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(state.replace(key=None))
    )  # fmt: skip
    planned = make_plan(RESNET.format("2d") + ":smoke", *tiny)
    assert planned["memory"]["state_bytes"] == expected


def test_activations_grow_with_the_share_of_a_device() -> None:
    smoke = RESNET.format("2d") + ":smoke"
    estimates = [
        make_plan(smoke, f"--config.train.batch_size={n}", *more)["memory"][
            "activation_bytes_estimate"
        ]
        for n, more in ((8, []), (16, []), (16, ["--config.loss.r1_gamma=0"]))
    ]
    assert estimates[1] == pytest.approx(2 * estimates[0], rel=1e-6)
    assert estimates[2] < estimates[1]


def test_activations_of_bfloat16_take_half(capsys: pytest.CaptureFixture[str]) -> None:
    """Of each network its own; parameters and optimisers take what they took."""
    smoke = RESNET.format("2d") + ":smoke"
    both = [f"--config.model.{player}_dtype=bfloat16" for player in ("gen", "disc")]
    plans = [make_plan(smoke, *dtypes) for dtypes in ([], both[:1], both)]
    memory = [planned["memory"] for planned in plans]
    of_all = [m["activation_bytes_estimate"] for m in memory]
    assert of_all[0] == of_all[1] == 2 * of_all[2]  # D's four passes are the larger part
    assert memory[0]["state_bytes"] == memory[2]["state_bytes"]
    assert plans[1]["networks"]["generator"]["dtype"] == "bfloat16"
    for planned, words in zip(plans, (0, 1, 2), strict=True):
        plan.print_plan(planned)
        assert capsys.readouterr().out.count("parameters, computes in bfloat16") == words


def test_what_devices_share_and_what_comes_in_parts() -> None:
    """Nearly all of the networks is in leaves that 8 devices share; a part is a quarter."""
    more = ["--config.train.batch_size=32", "--config.mesh.fsdp=8"]
    exp = experiment.build(experiment.load_config(RESNET.format("3d"), more))
    mesh = sharding.make_mesh(fsdp=8)
    shared = plan.make_plan(exp, mesh, data_path="", found=None)
    whole = make_plan(RESNET.format("3d"), more[0])
    assert shared["devices"]["mesh"] == {"data": 1, "fsdp": 8}
    share = shared["memory"]["state_bytes"] / whole["memory"]["state_bytes"]
    assert 1 / 8 < share < 1 / 7.9
    parts = make_plan(RESNET.format("3d"), more[0], "--config.train.grad_accum_steps=4")
    activations = "activation_bytes_estimate"
    assert 4 * parts["memory"][activations] == pytest.approx(whole["memory"][activations], rel=1e-6)
    assert parts["memory"]["gradient_bytes"] == 2 * whole["memory"]["gradient_bytes"]
    assert parts["batch"]["parts"] == 4


def test_blocks_that_are_computed_anew_keep_little() -> None:
    """As measured of SPADE's generator of clips: 3,317 MiB of residuals, 137 with remat."""
    exp = experiment.build(experiment.load_config("configs/spade3d.py:mid", []))
    layers = plan.describe(exp.generator, *exp.gen_inputs())
    plain, anew = (plan.numbers_kept(layers, remat=remat) for remat in (False, True))
    assert 0.1 < anew / plain < 0.6
    images = experiment.build(experiment.load_config("configs/dcgan2d.py", []))
    layers = plan.describe(images.discriminator, *images.disc_inputs())
    assert plan.numbers_kept(layers, remat=True) <= plan.numbers_kept(layers, remat=False)


def test_batch_data_and_steps() -> None:
    """8 devices share a batch of 16; 400 epochs of 640 clips are 16 000 steps."""
    overrides = ["--config.train.batch_size=16", "--config.train.num_disc_steps=2"]
    planned = make_plan(RESNET.format("2d"), *overrides, "--config.data.path=x", found=FOUND)
    shares = {"global": 16, "per_process": 16, "per_device": 2}
    assert planned["batch"] == {**shares, "parts": 1, "disc_steps": 2}
    assert planned["data"] == {
        "path": "some/where",
        "embedded": False,
        "split": "train",
        "clips": 640,
        "videos": 32,
        "example_shape": [128, 128, 3],
    }
    assert planned["num_steps"] == 16_000
    assert (planned["devices"]["count"], planned["devices"]["platform"]) == (8, "cpu")
    assert planned["init"] is None


def test_without_data_the_plan_says_so() -> None:
    overrides = ("--config.model.size=8", "--config.init.path=w")
    planned = make_plan(RESNET.format("3d"), *overrides)
    assert planned["data"]["embedded"]
    assert planned["data"]["clips"] is None
    assert planned["num_steps"] is None
    assert planned["init"] == "w"
    steps = ("--config.train.num_steps=60", "--config.train.num_epochs=0")
    assert make_plan(RESNET.format("3d"), *overrides, *steps)["num_steps"] == 60


def test_a_batch_that_devices_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match=r"batch_size \(=12\) must divide by the 8 devices; use 8"):
        make_plan(RESNET.format("2d") + ":smoke", "--config.train.batch_size=12")


def test_the_plan_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts, shapes, batch and memory, for people."""
    monkeypatch.setenv("COLUMNS", "160")
    plan.print_plan(make_plan(RESNET.format("3d"), "--config.model.size=16", found=FOUND))
    printed = " ".join(capsys.readouterr().out.split())
    for text in (
        "parameters", "block_0", "conv_img", "ResnetBlock", "8 × 16 × 16 × 3", "plan of resnet3d",
        "640 clips of 32 videos", "8 cpu", "16 = 16 a process = 2 a device", "random weights",
    ):  # fmt: skip
        assert text in printed, text
