"""The collapse watch: what it measures, when it speaks, and that it forgets nothing."""

import contextlib
import dataclasses
import functools
import io
import json
import math
import sys
import types
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vidgan_jax import experiment
from vidgan_jax.experiment import Experiment
from vidgan_jax.losses.accuracy import ACCURACY
from vidgan_jax.progress import ProgressReport
from vidgan_jax.terms import GEN_ADVERSARIAL
from vidgan_jax.train import sharding, watch
from vidgan_jax.train.watch import CONTRAST, DIVERSITY, MOTION, CollapseError, Watch

NUM, Z_DIM = 6, 3
PATIENCE = 20
HEALTHY = {GEN_ADVERSARIAL: 1.2, ACCURACY: 0.8, DIVERSITY: 0.3, MOTION: 0.02, CONTRAST: 0.4}
COLLAPSED = {GEN_ADVERSARIAL: 9.8, ACCURACY: 1.0, DIVERSITY: 0.001, MOTION: 0.0, CONTRAST: 0.0}


@functools.cache
def build(config: str = "resnet3d", **fields: Any) -> Experiment:
    """A tiny experiment; fields of `config.watch`, or of others by their path."""
    arguments = [
        "--config.model.size=8",
        "--config.model.features=4",
        "--config.model.max_features=8",
        f"--config.model.z_dim={Z_DIM}",
        f"--config.watch.patience_steps={PATIENCE}",
        *(f"--config.{name.replace('__', '.')}={value}" for name, value in fields.items()),
    ]
    return experiment.build(experiment.load_config(f"configs/{config}.py:smoke", arguments))


def make_watch(exp: Experiment | None = None, mesh: Mesh | None = None, num: int = NUM) -> Watch:
    latents = jax.random.normal(jax.random.key(1), (num, Z_DIM))
    return Watch(exp or build(), mesh or sharding.make_mesh(1), (latents,))


def state_of(variables: Any) -> Any:
    """As much of a `GanState` as there is to look at."""
    return types.SimpleNamespace(gen=types.SimpleNamespace(variables=variables))


def floats(found: Mapping[str, jax.Array]) -> dict[str, float]:
    return {name: float(value) for name, value in found.items()}


def lines(text: str) -> list[str]:
    return text.splitlines()


# What is measured.


def test_measures_of_examples_made_by_hand() -> None:
    """Two clips of two frames, of grey a and b in the left half, of c in the right one."""
    grey = np.array([[[0.2, 0.6], [0.6, 0.6]], [[-0.2, 0.0], [0.0, 0.0]]])  # clip, frame, half
    clips = np.repeat(grey[:, :, None, :, None], 3, axis=-1)  # [2, 2, 1, 2, 3]
    clips = np.repeat(clips, 4, axis=2)
    found = floats(watch.measures(jnp.asarray(clips)))
    # Half the difference of two numbers is their deviation.
    expected = {
        DIVERSITY: np.mean([0.4, 0.6, 0.6, 0.6]) / 2,
        MOTION: np.mean([0.4, 0.0, 0.2, 0.0]),
        CONTRAST: np.mean([0.4, 0.0, 0.2, 0.0]) / 2,
    }
    assert found == pytest.approx(expected, rel=1e-5)


def test_measures_at_their_bounds() -> None:
    """Half of the clips black and the other white, then each frame, then each column."""
    sign = jnp.array([-1.0, 1.0])
    shape = (2, 2, 4, 2, 3)
    assert floats(watch.measures(jnp.broadcast_to(sign[:, None, None, None, None], shape))) == {
        DIVERSITY: 1.0,
        MOTION: 0.0,
        CONTRAST: 0.0,
    }
    assert float(watch.motion(jnp.broadcast_to(sign[:, None, None, None], shape))) == 2.0
    assert float(watch.contrast(jnp.broadcast_to(sign[:, None], shape))) == 1.0


def test_squares_of_one_colour_have_no_contrast_but_diversity() -> None:
    """The thesis's green squares, and its blue ones."""
    colours = jnp.array([[-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]])
    found = floats(watch.measures(jnp.broadcast_to(colours[:, None, None], (2, 4, 4, 3))))
    assert found == pytest.approx({CONTRAST: 0.0, DIVERSITY: 2 / 3})


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ((4, 8, 8, 3), {CONTRAST, DIVERSITY}),
        ((1, 8, 8, 3), {CONTRAST}),
        ((4, 2, 8, 8, 3), {CONTRAST, DIVERSITY, MOTION}),
        ((1, 1, 8, 8, 3), {CONTRAST}),
    ],
)
def test_only_what_examples_have_is_measured(shape: tuple[int, ...], names: set[str]) -> None:
    found = watch.measures(jax.random.normal(jax.random.key(0), shape))
    assert set(found) == names
    assert all(value.dtype == jnp.float32 and value.shape == () for value in found.values())


# The generator.


class Toy:
    """Clips whose diversity, motion and contrast are parameters, but for factors of about 1."""

    def apply(self, variables: Any, z: jax.Array) -> jax.Array:
        scales = variables["params"]["scales"]
        wave = jnp.sin(jnp.arange(4.0) + 1.0)
        of_latent = scales[0] * jnp.tanh(z[:, 0])[:, None, None, None, None]
        of_time = scales[1] * wave[:, None, None, None]
        of_place = scales[2] * wave[:, None, None] * wave[:, None]
        return jnp.broadcast_to(of_latent + of_time + of_place, (len(z), 4, 4, 4, 3))


def toy() -> Experiment:
    generator: Any = Toy()
    return dataclasses.replace(build(), generator=generator)


def test_a_real_generator_that_ignores_its_latents_shows() -> None:
    """Only diversity goes: the bias still draws something."""
    exp = build("resnet3d")
    variables, _ = jax.jit(exp.init_variables)(jax.random.key(0))
    watcher = make_watch(exp)
    before = floats(watcher.look(state_of(variables)))
    assert min(before.values()) > 1e-4
    leaves, tree = jax.tree.flatten(variables)
    takes_z = [leaf.ndim == 2 and leaf.shape[0] == Z_DIM for leaf in leaves]
    assert sum(takes_z) == 1
    deaf = [
        jnp.zeros_like(leaf) if taken else leaf + 0.1 * (leaf.ndim == 1)
        for leaf, taken in zip(leaves, takes_z, strict=True)
    ]
    after = floats(watcher.look(state_of(jax.tree.unflatten(tree, deaf))))
    assert after[DIVERSITY] < 1e-6
    assert after[CONTRAST] > 1e-4


@pytest.mark.parametrize("num", [3, 8, 16])
def test_devices_make_no_difference(num: int) -> None:
    """Whether they can share the latents or not, and with parameters divided among them."""
    exp = toy()
    state = state_of({"params": {"scales": jnp.array([0.5, 0.25, 0.125, 0.0])}})
    one = floats(make_watch(exp, num=num).look(state))
    mesh = sharding.make_mesh(8, fsdp=4)
    by_fours = NamedSharding(mesh, PartitionSpec(sharding.FSDP_AXIS))
    divided = state_of(jax.device_put(state.gen.variables, by_fours))
    found = make_watch(exp, mesh, num).look(divided)
    assert floats(found) == pytest.approx(one, rel=1e-4)
    assert all(value.sharding.is_fully_replicated for value in found.values())


def test_looking_waits_for_nothing() -> None:
    """No transfer in either direction: what is needed is on the devices after the first look."""
    exp = toy()
    state = state_of({"params": {"scales": jnp.array([0.5, 0.25, 0.125])}})
    watcher = make_watch(exp)
    watcher.look(state)
    with jax.transfer_guard("disallow"):
        found = watcher.look(state)
    assert all(isinstance(value, jax.Array) for value in found.values())


def test_when_to_look() -> None:
    every = build(watch__every_steps=40)
    assert [step for step in range(1, 121) if make_watch(every).is_due(step)] == [40, 80, 120]
    off = build(watch__every_steps=40, watch__on_collapse="off")
    assert not any(make_watch(off).is_due(step) for step in range(1, 121))


@pytest.mark.parametrize(
    ("scales", "told"),
    [
        ((0.5, 0.25, 0.25), []),
        ((0.0, 0.25, 0.25), ["min_diversity"]),
        ((0.5, 0.0, 0.25), ["min_motion"]),
        ((0.5, 0.25, 0.0), ["min_contrast"]),
        ((0.0, 0.0, 0.0), ["min_diversity", "min_motion", "min_contrast"]),
    ],
    ids=["healthy", "one output", "still", "flat", "black"],
)
def test_a_collapsed_generator_is_told_within_the_patience(
    scales: tuple[float, ...], told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """From a healthy start: looks at every 5th step, the collapse after step 40."""
    exp = toy()
    watcher = make_watch(exp)
    for step in range(5, 41 + PATIENCE, 5):
        now = jnp.array(scales if step > 40 else (0.03, 0.002, 0.08))  # barely enough each
        watcher.judge(step, floats(watcher.look(state_of({"params": {"scales": now}}))))
        if step == 40:
            assert not capsys.readouterr().err
    said = lines(capsys.readouterr().err)
    assert [f"config.watch.{name} " in line for name, line in zip(told, said, strict=True)] == [
        True
    ] * len(told)


# Judging.


def judge_all(watcher: Watch, rows: Iterable[tuple[int, Mapping[str, float]]]) -> None:
    for step, values in rows:
        watcher.judge(step, values)


@pytest.mark.parametrize("metric", list(HEALTHY))
def test_each_limit_is_told_once_with_what_to_do(
    metric: str, capsys: pytest.CaptureFixture[str]
) -> None:
    watcher = make_watch()
    values = HEALTHY | {metric: COLLAPSED[metric]}
    judge_all(watcher, ((step, values) for step in range(0, 3 * PATIENCE, 2)))
    (line,) = lines(capsys.readouterr().err)
    limit = next(limit for limit in watcher._limits if limit.metric == metric)
    assert line == (
        f"warning: step {PATIENCE}: {metric} is {COLLAPSED[metric]:.3g}, its "
        f"{'median' if metric == GEN_ADVERSARIAL else 'mean'} since step 0, "
        f"{'above' if limit.is_most else 'below'} config.watch.{limit.field} "
        f"(={limit.value:g}): {limit.meaning}; {limit.remedy}"
    )
    assert watcher.collapsed is None


def test_a_healthy_run_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Nor one that has bad moments, nor one that starts badly and mends within the patience."""
    judge_all(make_watch(), ((step, HEALTHY) for step in range(200)))
    spiky = (HEALTHY | {GEN_ADVERSARIAL: 90.0 if step % 10 == 0 else 4.0} for step in range(200))
    judge_all(make_watch(), enumerate(spiky))
    mending = (COLLAPSED if step < PATIENCE // 4 else HEALTHY for step in range(200))
    judge_all(make_watch(), enumerate(mending))
    assert not capsys.readouterr().err


def test_a_collapse_with_dips_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """The thesis's lower graph: near 10, and the discriminator confused for a moment now and then.

    A batch that is all told right but one is none that D doesn't win.
    """
    watcher = make_watch()
    for step in range(2 * PATIENCE):
        dip = step % 8 == 0
        losses = {GEN_ADVERSARIAL: 3.0 if dip else 10.0, ACCURACY: 0.96875 if dip else 1.0}
        watcher.judge(step, losses)
    first, second = lines(capsys.readouterr().err)
    assert "max_gen_loss (=7)" in first
    assert "max_disc_accuracy (=0.99)" in second


def test_values_are_judged_however_seldom_they_come(capsys: pytest.CaptureFixture[str]) -> None:
    """Looks farther apart than the patience is long: two in a row count."""
    rows = [(100, HEALTHY), (200, COLLAPSED), (300, COLLAPSED)]
    judge_all(make_watch(), rows[:2])
    assert "diversity" not in capsys.readouterr().err
    judge_all(make_watch(), rows[1:])
    assert "diversity is 0.001, its mean since step 200" in capsys.readouterr().err


def test_repetitions_are_few(capsys: pytest.CaptureFixture[str]) -> None:
    """Each after twice the time; a limit that is crossed again and again has no more lines."""
    low = {DIVERSITY: 0.0}
    judge_all(make_watch(), ((step, low) for step in range(100 * PATIENCE)))
    steps = [int(line.split()[2][:-1]) for line in lines(capsys.readouterr().err)]
    assert steps == [PATIENCE * n for n in (1, 3, 7, 15, 31, 63)]

    flapping = (float(step // (3 * PATIENCE) % 2) for step in range(100 * PATIENCE))
    judge_all(make_watch(), enumerate({DIVERSITY: value} for value in flapping))
    assert 3 <= len(lines(capsys.readouterr().err)) <= 6


def test_a_late_second_collapse_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    watcher = make_watch()
    judge_all(watcher, ((s, {DIVERSITY: 0.0}) for s in range(2 * PATIENCE)))
    judge_all(watcher, ((s, {DIVERSITY: 0.5}) for s in range(2 * PATIENCE, 6 * PATIENCE)))
    assert len(lines(capsys.readouterr().err)) == 1
    judge_all(watcher, ((s, {DIVERSITY: 0.0}) for s in range(6 * PATIENCE, 7 * PATIENCE + 1)))
    assert len(lines(capsys.readouterr().err)) == 1


def test_a_value_on_its_limit_does_not_cross_it(capsys: pytest.CaptureFixture[str]) -> None:
    """So that 0, and an accuracy of 1, switch a limit off."""
    exp = build(watch__min_diversity=0.0, watch__min_motion=0.0, watch__min_contrast=0.0)
    rows = ((step, {DIVERSITY: 0.0, MOTION: 0.0, CONTRAST: 0.0}) for step in range(100))
    judge_all(make_watch(exp), rows)
    exp = build(watch__max_disc_accuracy=1.0)
    judge_all(make_watch(exp), ((step, {ACCURACY: 1.0}) for step in range(100)))
    assert not capsys.readouterr().err


def test_a_critic_has_no_limits_of_logits(capsys: pytest.CaptureFixture[str]) -> None:
    exp = build(loss__adversarial="wasserstein", loss__r1_gamma=0.0)
    values = HEALTHY | {GEN_ADVERSARIAL: 1e6}
    judge_all(make_watch(exp), ((step, values) for step in range(100)))
    assert not capsys.readouterr().err


def test_the_names_are_those_that_are_logged() -> None:
    assert GEN_ADVERSARIAL in {term.name for term in build().objective.gen}


def test_advice_fits_the_run() -> None:
    def advice(exp: Experiment, metric: str) -> str:
        return next(limit for limit in make_watch(exp)._limits if limit.metric == metric).remedy

    assert "(config.init.path)" in advice(build(), GEN_ADVERSARIAL)
    assert "config.init.path" not in advice(build("resnet2d"), GEN_ADVERSARIAL)
    inflated = build(init__path="runs/resnet2d")
    assert "config.init.path" not in advice(inflated, GEN_ADVERSARIAL)
    assert "config.init.temporal_noise" in advice(inflated, MOTION)
    assert "config.data.stride (=3)" in advice(build(), MOTION)


# Stopping, and going on.


def test_stop_says_all_limits_that_are_crossed(capsys: pytest.CaptureFixture[str]) -> None:
    watcher = make_watch(build(watch__on_collapse="stop"))
    judge_all(watcher, ((step, COLLAPSED) for step in range(PATIENCE)))
    assert watcher.collapsed is None
    watcher.judge(PATIENCE, COLLAPSED)
    first, *rest = str(watcher.collapsed).split("\n  ")
    assert first == f"training collapsed by step {PATIENCE}:"
    assert len(rest) == len(COLLAPSED)
    assert not capsys.readouterr().err
    said = watcher.collapsed
    watcher.judge(PATIENCE + 1, COLLAPSED)
    assert watcher.collapsed == said
    assert issubclass(CollapseError, ValueError)  # as which commands tell it in a line


def test_who_goes_on_after_a_stop_gets_the_patience_anew() -> None:
    exp = build(watch__on_collapse="stop")
    stopped = make_watch(exp)
    judge_all(stopped, ((step, COLLAPSED) for step in range(PATIENCE + 1)))
    assert stopped.collapsed
    resumed = make_watch(exp)
    resumed.restore(json.loads(json.dumps(stopped.state())))
    rows = ((step, COLLAPSED) for step in range(PATIENCE + 1, 2 * PATIENCE + 1))
    judge_all(resumed, rows)
    assert resumed.collapsed is None
    resumed.judge(2 * PATIENCE + 1, COLLAPSED)
    assert resumed.collapsed


@pytest.mark.parametrize("on_collapse", ["warn", "stop"])
@pytest.mark.parametrize("seed", range(3))
def test_resumed_is_as_uninterrupted(
    on_collapse: str, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Interrupted after every row, wherever it stands: the same lines, the same memory."""
    exp = build(watch__on_collapse=on_collapse)
    rng = np.random.default_rng(seed)
    rows = []
    for step in range(5, 600, 5):
        bad = math.sin(step / 60 + seed) > 0
        row = {name: (COLLAPSED if bad else HEALTHY)[name] for name in HEALTHY}
        row = {name: value * rng.uniform(0.7, 1.4) for name, value in row.items()}
        if step % 15:  # looks are seldomer
            row = {name: row[name] for name in (GEN_ADVERSARIAL, ACCURACY)}
        rows.append((step, row))
    whole, piece = make_watch(exp), make_watch(exp)
    said = {"whole": "", "piece": ""}
    for step, row in rows:
        if whole.collapsed:
            break
        if step % 100 == 0:  # anew; elsewhere a restored memory must do
            saved, piece = piece.state(), make_watch(exp)
            piece.restore(json.loads(json.dumps(saved)))
        else:
            piece.restore(json.loads(json.dumps(piece.state())))
        for name, watcher in (("whole", whole), ("piece", piece)):
            watcher.judge(step, row)
            said[name] += capsys.readouterr().err
        assert piece.state() == whole.state()
        assert piece.collapsed == whole.collapsed
    assert said["piece"] == said["whole"]
    assert bool(said["whole"]) == (on_collapse == "warn")
    assert bool(whole.collapsed) == (on_collapse == "stop")


def test_a_checkpoint_without_a_memory_starts_anew() -> None:
    watcher = make_watch()
    judge_all(watcher, ((step, COLLAPSED) for step in range(PATIENCE)))
    states: list[dict[str, Any] | None] = [None, {}]
    for state in states:
        watcher.restore(state)
        assert watcher.state() == make_watch().state()


def test_off_neither_judges_nor_remembers(capsys: pytest.CaptureFixture[str]) -> None:
    watcher = make_watch(build(watch__on_collapse="off"))
    judge_all(watcher, ((step, COLLAPSED) for step in range(10 * PATIENCE)))
    assert not capsys.readouterr().err
    assert watcher.state() == make_watch().state()


def test_other_processes_are_silent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    watcher = make_watch()
    judge_all(watcher, ((step, COLLAPSED) for step in range(2 * PATIENCE)))
    assert not capsys.readouterr().err
    assert all(history["times"] == 1 for history in watcher.state().values())


class Terminal(io.StringIO):
    """What was written to a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_warning_stands_above_the_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar's line is erased before, and drawn again below."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "400")
    with contextlib.ExitStack() as stack:
        report = stack.enter_context(ProgressReport("run", total=100))
        report.update(50, "step 50")
        terminal.truncate(0)
        judge_all(make_watch(), ((step, {MOTION: 0.0}) for step in range(PATIENCE + 1)))
        written = terminal.getvalue()
    erased, _, rest = written.partition("warning: ")
    assert erased.rstrip("\x00").endswith("\x1b[2K")
    warning, _, below = rest.partition("\n")
    assert warning.startswith(f"step {PATIENCE}: {MOTION} is 0, its mean since step 0, below ")
    assert "run" not in warning.split()
    assert below.startswith("run")
    assert below.rstrip().endswith("left")
