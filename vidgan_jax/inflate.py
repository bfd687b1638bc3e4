"""Inflation: a trained 2D GAN becomes a 3D GAN that computes the same on still clips.

    python -m vidgan_jax.inflate --from WORKDIR_2D --config configs/resnet3d.py --out CHECKPOINT

The config's `init` section says how (`--config.init.profile=central`, `--config.init.mode=thesis`).
`vidgan_jax.inflation` has the transforms of variables, for networks of your own, too.

Source: Carreira, Zisserman 2017, arXiv:1705.07750, section 2.4; Egan 2019 (MIT thesis), 3.1.
"""

import argparse
import dataclasses
import functools
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from vidgan_jax import cli, experiment, files, networks
from vidgan_jax.config import InitConfig
from vidgan_jax.experiment import Experiment
from vidgan_jax.inflation import Target, inflate_moments, inflate_variables, target_of
from vidgan_jax.train import checkpoint
from vidgan_jax.train.passes import forward, forward_in_training
from vidgan_jax.train.state import average_of, averaged_collections, split_variables
from vidgan_jax.train.weights import Weights, experiment_of, load_weights, save_weights
from vidgan_jax.types import BATCH_STATS

TOLERANCE = 1e-5
REPORT = "inflation.json"


def weights_for(
    target: Experiment, path: str, how: InitConfig
) -> tuple[Weights, Experiment | None]:
    """Reads trained weights, and inflates them where they are of the 2D networks.

    Args:
      target: whose networks the weights are wanted for.
      path: workdir or checkpoint.
      how: profile, mode, noise; whether to bring the optimisers' moments.

    Returns:
      The weights for `target`'s networks, and the 2D experiment that they were inflated from (None
      where they fitted as they were).

    Raises:
      CheckpointError: no checkpoint, or one of networks that can't become `target`'s, or without
        the moments that are asked for.
    """
    weights = load_weights(path, moments=how.opt_state)
    source = experiment_of(weights)
    _check_models(source, target, path)
    if how.opt_state:
        _check_moments(weights, source, target, path)
    # Shapes only: nothing is computed.
    gen, disc = targets(target)
    if source.config.model.num_frames or not target.config.model.num_frames:
        found = {"gen": weights.gen, "disc": weights.disc}
        wanted = {"gen": gen.variables, "disc": disc.variables}
        checkpoint.check_same_networks(found, wanted, where=str(path))
        return weights, None
    change = functools.partial(
        inflate_variables,
        profile=how.profile,
        mode=how.mode,
        temporal_noise=how.temporal_noise,
    )
    try:
        inflated_gen = change(weights.gen, gen)
        average = change(weights.ema, gen, vectors_of=inflated_gen)
        collections = split_variables(inflated_gen)[1]
        inflated = dataclasses.replace(
            weights,
            gen=inflated_gen,
            disc=change(weights.disc, disc),
            # With no more of its own than a checkpoint keeps, so that what is measured is kept.
            ema=average_of(collections, average["params"], averaged_collections(average)),
            moments=weights.moments
            and {
                "gen": inflate_moments(weights.moments["gen"], weights.gen["params"], gen),
                "disc": inflate_moments(weights.moments["disc"], weights.disc["params"], disc),
            },
        )
    except ValueError as error:
        raise checkpoint.CheckpointError(f"{path}: {error}") from error
    return inflated, source


def targets(exp: Experiment) -> tuple[Target, Target]:
    """Both networks as inflation sees them, generator first."""
    gen = target_of(exp.generator, *exp.gen_inputs())
    return gen, target_of(exp.discriminator, *exp.disc_inputs())


def initial_weights(target: Experiment) -> tuple[Weights, Experiment | None]:
    """`weights_for` as the config's `init` section says."""
    return weights_for(target, target.config.init.path, target.config.init)


def _check_moments(weights: Weights, source: Experiment, target: Experiment, path: str) -> None:
    """Moments are of use to the same kind of optimiser only."""
    if weights.moments is None:
        raise checkpoint.CheckpointError(
            f"{path} has no optimisers' moments, which config.init.opt_state=True asks for; give a "
            "trained workdir, or inflate again with --config.init.opt_state=True"
        )
    for name in ("gen_optimizer", "disc_optimizer"):
        old, new = (getattr(e.config, name).name for e in (source, target))
        if old != new:
            raise checkpoint.CheckpointError(
                f"config.{name}.name (={new!r}) is {old!r} in {path}, whose moments it can't take "
                "over; use the same optimiser, or set config.init.opt_state=False"
            )


def _check_models(source: Experiment, target: Experiment, path: str) -> None:
    """All but the time of a 2D source must agree: shapes alone do not tell all that changed."""
    free = {"init_scale", "gen_dtype", "disc_dtype"}
    if not source.config.model.num_frames:
        free |= {"num_frames", "time_stages", "encoder_time_stages"}
    old, new = (dataclasses.asdict(e.config.model) for e in (source, target))
    if wrong := [k for k in new if k not in free and old[k] != new[k]]:
        lines = "; ".join(f"model.{k} is {old[k]!r} there and {new[k]!r} here" for k in wrong)
        raise checkpoint.CheckpointError(
            f"{path} is of another architecture: {lines}; set these fields as they are there"
        )


@dataclasses.dataclass(frozen=True)
class StillClipError:
    """How far an inflated network is from its 2D origin on still clips.

    Attributes:
      network: "generator", "generator_ema", "encoder" (that and the generator, from images to
        images) or "discriminator"; "…_training" where it is in training mode, its batch norm on the
        batch's statistics.
      relative: ‖3D − 2D‖₂ / ‖2D‖₂ over all outputs.
      largest: the largest absolute difference.
    """

    network: str
    relative: float
    largest: float


def measure(
    source: Experiment,
    target: Experiment,
    before: Weights,
    after: Weights,
    *,
    num_latents: int = 2,
    seed: int = 0,
) -> list[StillClipError]:
    """Runs both GANs on the same latents, the discriminators on the images that come out.

    Conditions are random. Everything is computed in full float32, whatever the configs' dtypes and
    the device's default for matrix products are: the rounding of bfloat16 would hide errors a
    thousand times as large as those that are looked for.
    """
    z_key, cond_key = jax.random.split(jax.random.key(seed))
    z = jax.random.normal(z_key, (num_latents, source.config.model.z_dim))
    cond = _random_conditions(source, cond_key, num_latents)
    frames = target.config.model.num_frames
    gens, discs = zip(*(networks.in_float32(e.config.model) for e in (source, target)), strict=True)
    compared = {
        "generator": (*gens, before.gen, after.gen),
        "generator_ema": (*gens, before.ema, after.ema),
    }
    if source.config.model.encoder:
        compared["encoder"] = (*gens, before.gen, after.gen)
    compared["discriminator"] = (*discs, before.disc, after.disc)
    errors = []
    images = z
    with jax.default_matmul_precision("highest"):
        for name, (module_2d, module_3d, variables_2d, variables_3d) in compared.items():
            flat_inputs: tuple[Any, ...] = (z, *cond)
            inputs = flat_inputs
            if name == "encoder":
                flat_inputs, inputs = (*inputs, images), (*inputs, _stills(images, frames))
            if name == "discriminator":
                flat_inputs, inputs = (images, *cond), (_stills(images, frames), *cond)
            ways = {"": forward}
            if BATCH_STATS in variables_2d:
                ways["_training"] = forward_in_training
            for way, apply in ways.items():
                want = jax.jit(functools.partial(apply, module_2d))(variables_2d, *flat_inputs)
                got = jax.jit(functools.partial(apply, module_3d))(variables_3d, *inputs)
                errors.append(_compare(name + way, want, got))
            if name.startswith("generator"):
                images = want
    return errors


def _random_conditions(exp: Experiment, key: jax.Array, n: int) -> tuple[jax.Array, ...]:
    """Class ids, or label maps of 4×4 patches."""
    model = exp.config.model
    if exp.cond_shape is None:
        return ()
    coarse = tuple(-(-size // 4) for size in exp.cond_shape)
    ids = jax.random.randint(key, (n, *coarse), 0, model.num_labels or model.num_classes)
    for axis, size in enumerate(exp.cond_shape, start=1):
        ids = jnp.repeat(ids, 4, axis=axis).take(jnp.arange(size), axis=axis)
    return (ids,)


def _stills(images: jax.Array, frames: int) -> jax.Array:
    return jnp.repeat(images[:, None], frames, axis=1)


def _compare(network: str, expected: Any, got: Any) -> StillClipError:
    """All outputs of a network together; a clip's are compared frame by frame."""
    wants, haves = [], []
    for flat, have in zip(jax.tree.leaves(expected), jax.tree.leaves(got), strict=True):
        want = flat if flat.ndim == have.ndim else jnp.broadcast_to(flat[:, None], have.shape)
        wants.append(np.asarray(want, np.float64).ravel())
        haves.append(np.asarray(have, np.float64).ravel())
    want, difference = np.concatenate(wants), np.concatenate(haves) - np.concatenate(wants)
    relative = float(np.linalg.norm(difference) / np.linalg.norm(want))
    return StillClipError(network, relative, float(np.abs(difference).max()))


def print_errors(errors: Sequence[StillClipError]) -> bool:
    """Shows the measurement as a table; returns whether all are within tolerance."""
    table = Table(title="still clips: 3D against 2D")
    for column in ("network", "relative error", "largest difference", ""):
        table.add_column(column)
    for e in errors:
        verdict = "ok" if e.relative <= TOLERANCE else f"above {TOLERANCE:g}"
        table.add_row(e.network, f"{e.relative:.2e}", f"{e.largest:.2e}", verdict)
    Console().print(table)
    return all(e.relative <= TOLERANCE for e in errors)  # False for NaN too


def write_inflated(args: argparse.Namespace) -> int:
    """The command: reads, inflates, writes, measures."""
    config = experiment.load_config(args.config, args.overrides)
    target = experiment.build(config)
    if not target.config.model.num_frames:
        raise ValueError(
            f"--config {args.config} is of images (model.num_frames = 0); a 3D one is wanted"
        )
    if checkpoint.has_checkpoint(args.out):
        raise ValueError(f"{args.out} has checkpoints already; choose another --out")
    init = target.config.init
    after, source = weights_for(target, args.source, init)
    if source is None:
        raise checkpoint.CheckpointError(
            f"{args.source} holds a 3D network already; train on from it with config.init.path"
        )
    cli.output_folder("--out", args.out)
    how = {name: value for name, value in dataclasses.asdict(init).items() if name != "path"}
    origin = {"path": str(args.source), "step": after.step, "code": after.meta["code"]}
    stride = target.config.data.stride
    meta = checkpoint.make_meta(
        config.to_dict(),
        fps=after.meta["fps"] * source.config.data.stride / stride,
        inflated={"from": origin, **how},
    )
    if args.verify and not _verify(args.out, source, target, after, meta["inflated"]):
        return 1
    written = save_weights(
        args.out,
        gen=after.gen,
        disc=after.disc,
        ema=after.ema,
        meta=meta,
        moments=after.moments,
    )
    print(
        f"inflated {args.source} (step {after.step}) by {init.profile!r}, mode {init.mode!r} → "
        f"{written}"
    )
    return 0


def _verify(
    out: str, source: Experiment, target: Experiment, after: Weights, how: Mapping[str, Any]
) -> bool:
    """Measures, shows and writes the errors; whether the weights may be written.

    Errors that are too large forbid it, but in a mode that promises nothing else.
    """
    errors = measure(source, target, load_weights(after.path), after)
    exact = print_errors(errors)
    report = {
        "tolerance": TOLERANCE,
        "within_tolerance": exact,
        "networks": {e.network: {"relative": e.relative, "largest": e.largest} for e in errors},
        **how,
    }
    files.write_json(files.path(out) / REPORT, report)
    if not exact and how["mode"] != "exact":
        print(f"mode {how['mode']!r} is not exact, as measured; mode 'exact' is", file=sys.stderr)
        return True
    if not exact:
        print(
            f"error: the 3D networks differ from the 2D ones, so no checkpoint was written; see "
            f"{out}/{REPORT}",
            file=sys.stderr,
        )
    return exact


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m vidgan_jax.inflate`."""
    parser = argparse.ArgumentParser(
        prog="python -m vidgan_jax.inflate", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--from", dest="source", required=True, help="2D workdir or checkpoint")
    parser.add_argument("--out", required=True, help="folder for the 3D checkpoint")
    parser.add_argument(
        "--verify",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure the still-clip error of every network",
    )
    cli.add_config(parser)
    return cli.run(parser, write_inflated, argv)


if __name__ == "__main__":
    sys.exit(main())
