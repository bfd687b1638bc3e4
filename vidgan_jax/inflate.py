"""Inflation: a trained 2D GAN becomes a 3D GAN that computes the same on still clips.

    python -m vidgan_jax.inflate --from WORKDIR_2D --config configs/resnet3d.py --out CHECKPOINT

The config's `init` section says how (`--config.init.profile=central`).

`inflate_params` is the transform of a parameter tree: a kernel becomes `a[t] · kernel` with a
profile `a` over time that sums to 1, so that a clip of equal frames meets the same sum of weights
as the image did. Since end frames are repeated in time (`vidgan_jax.layers.conv`), every
activation of the 3D network equals the 2D network's, repeated over time.

Source: Carreira, Zisserman 2017, arXiv:1705.07750, section 2.4; Egan 2019 (MIT thesis), 3.1.
"""

import argparse
import dataclasses
import functools
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from rich.console import Console
from rich.table import Table

from vidgan_jax import cli, experiment, files
from vidgan_jax.experiment import Experiment
from vidgan_jax.train import checkpoint
from vidgan_jax.train.checkpoint import Weights
from vidgan_jax.types import PyTree

TOLERANCE = 1e-5
REPORT = "inflation.json"

_Path = tuple[str, ...]
_Shapes = Mapping[_Path, tuple[int, ...]]


def average_profile(width: int) -> np.ndarray:
    """Equal weights, float32 `[width]`: the thesis's."""
    return np.full(width, 1 / width, np.float32)


def central_profile(width: int) -> np.ndarray:
    """All weight on the middle tap (half on each of two), float32 `[width]`.

    Source: Yu et al. 2023 (MAGVIT), arXiv:2212.05199, section 3.1.
    """
    profile = np.zeros(width, np.float32)
    for middle in ((width - 1) // 2, width // 2):
        profile[middle] += 0.5
    return profile


PROFILES: dict[str, Callable[[int], np.ndarray]] = {
    "average": average_profile,
    "central": central_profile,
}


def inflate_params(
    params: PyTree, target: PyTree, *, profile: str = "average", temporal_noise: float = 0.0
) -> PyTree:
    """Turns parameters of a 2D network into those of the 3D network with the same names.

    Args:
      params: nested dicts of arrays, the 2D network's.
      target: nested dicts of anything with `shape`, the 3D network's (`jax.eval_shape` of its
        `init`): the same paths, convolution kernels with one more leading axis, dense layers wider
        by the number of frames at their end.
      profile: a name of `PROFILES`.
      temporal_noise: standard deviation, relative to the kernel's, of noise between the taps of a
        convolution, or the frames of a dense layer that ends time; it sums to 0 over them. Still
        clips don't see it, so the contract holds. Moving ones do: without it all taps and frames
        are alike, a saddle that training takes long to leave. It depends on the leaf's path alone.

    Returns:
      Nested dicts like `target` of numpy arrays, dtypes as in `params`; none is left random.

    Raises:
      ValueError: an unknown profile; leaves on one side only; a leaf that no rule fits. The message
        gives paths and shapes.
    """
    if profile not in PROFILES:
        raise ValueError(f"profile (={profile!r}) must be one of {', '.join(PROFILES)}")
    have = traverse_util.flatten_dict(params)
    want = {path: tuple(leaf.shape) for path, leaf in traverse_util.flatten_dict(target).items()}
    shapes = {path: tuple(leaf.shape) for path, leaf in have.items()}
    _check_paths(shapes, want)
    if not temporal_noise >= 0:
        raise ValueError(f"temporal_noise (={temporal_noise}) must be at least 0")
    taps = PROFILES[profile]
    inflated = {}
    for path, leaf in have.items():
        value = _inflate_leaf(np.asarray(leaf), path, shapes, want, taps)
        if temporal_noise:
            value = _add_still_noise(value, np.shape(leaf), path, temporal_noise)
        inflated[path] = value
    return traverse_util.unflatten_dict(inflated)


def _add_still_noise(
    value: np.ndarray, source: tuple[int, ...], path: _Path, relative: float
) -> np.ndarray:
    """Adds noise over time whose sum over time is 0, to kernels that sum over it."""
    if value.ndim == 5 and len(value) > 1:
        frames = len(value)  # taps of a convolution
    elif value.ndim == 2 and value.shape[0] > source[0]:
        frames = value.shape[0] // source[0]  # rows of a dense layer that ends time
    else:
        return value
    rng = np.random.default_rng(zlib.crc32("/".join(path).encode()))
    noise = rng.standard_normal((frames, value.size // frames), dtype=np.float32)
    noise -= noise.mean(axis=0)
    noise *= np.float32(relative * value.std())
    return value + noise.reshape(value.shape).astype(value.dtype)


def _check_paths(have: _Shapes, want: _Shapes) -> None:
    left = [f"{'/'.join(p)} {have[p]} is in the 2D network only" for p in have.keys() - want.keys()]
    new = [f"{'/'.join(p)} {want[p]} is in the 3D network only" for p in want.keys() - have.keys()]
    if left or new:
        shown = "\n  ".join(sorted(left + new)[:8])
        raise ValueError(
            f"{len(left + new)} leaves have no counterpart:\n  {shown}\n"
            "both networks need the same names and numbers of layers"
        )


def _inflate_leaf(
    leaf: np.ndarray,
    path: _Path,
    have: _Shapes,
    want: _Shapes,
    taps: Callable[[int], np.ndarray],
) -> np.ndarray:
    """One leaf by the first rule that fits."""
    source, wanted = have[path], want[path]
    if source == wanted:
        return leaf
    is_kernel = path[-1] == "kernel"
    if is_kernel and len(source) == 4 and len(wanted) == 5 and wanted[1:] == source:
        # [k, k, i, o] → [t, k, k, i, o]
        weights = taps(wanted[0]).astype(leaf.dtype)
        return weights.reshape(-1, 1, 1, 1, 1) * leaf
    if is_kernel and len(source) == len(wanted) == 2:
        if frames := _columns_repeated(source, wanted):
            return np.tile(leaf, (1, frames))
        if source[1] == wanted[1] and wanted[0] % source[0] == 0:
            frames = wanted[0] // source[0]  # rows of [t·h·w·c] see equal frames: share them out
            return np.tile(leaf / np.asarray(frames, leaf.dtype), (frames, 1))
    if path[-1] == "bias" and len(source) == len(wanted) == 1:
        kernel = (*path[:-1], "kernel")
        frames = _columns_repeated(have.get(kernel, ()), want.get(kernel, ()))
        if frames and wanted[0] == frames * source[0]:
            return np.tile(leaf, frames)
    raise ValueError(
        f"{'/'.join(path)}: no rule turns {source} (2D) into {wanted} (3D); the networks must "
        "differ in time only (same channels, kernel widths and latent length)"
    )


def _columns_repeated(source: tuple[int, ...], wanted: tuple[int, ...]) -> int:
    """How many frames a dense layer `[i, o]` → `[i, t·o]` makes; 0 where it is none such."""
    if len(source) == len(wanted) == 2 and source[0] == wanted[0] and wanted[1] % source[1] == 0:
        return wanted[1] // source[1]
    return 0


def weights_for(
    target: Experiment, path: str, *, profile: str, temporal_noise: float = 0.0
) -> tuple[Weights, Experiment | None]:
    """Reads trained weights, and inflates them where they are of the 2D networks.

    Args:
      target: whose networks the weights are wanted for.
      path: workdir or checkpoint.
      profile: of inflation.
      temporal_noise: of inflation.

    Returns:
      The weights for `target`'s networks, and the 2D experiment that they were inflated from (None
      where they fitted as they were).

    Raises:
      CheckpointError: no checkpoint, or one of networks that can't become `target`'s.
    """
    weights = checkpoint.load_weights(path)
    source = checkpoint.experiment_of(weights)
    _check_models(source, target, path)
    # Shapes only: nothing is computed.
    gen, disc = jax.eval_shape(target.init_variables, jax.random.key(0))
    wanted = {"gen": gen["params"], "disc": disc["params"]}
    if source.config.model.num_frames or not target.config.model.num_frames:
        found = {"gen": weights.gen["params"], "disc": weights.disc["params"]}
        checkpoint.check_same_networks(found, wanted, where=str(path))
        return weights, None
    how = functools.partial(inflate_params, profile=profile, temporal_noise=temporal_noise)
    try:
        gen_params = how(weights.gen["params"], wanted["gen"])
        disc_params = how(weights.disc["params"], wanted["disc"])
        ema = how(weights.ema_params, wanted["gen"])
    except ValueError as error:
        raise checkpoint.CheckpointError(f"{path}: {error}") from error
    inflated = dataclasses.replace(
        weights,
        gen={**weights.gen, "params": gen_params},
        disc={**weights.disc, "params": disc_params},
        ema_params=ema,
    )
    return inflated, source


def initial_weights(target: Experiment) -> tuple[Weights, Experiment | None]:
    """`weights_for` as the config's `init` section says."""
    init = target.config.init
    return weights_for(target, init.path, profile=init.profile, temporal_noise=init.temporal_noise)


def _check_models(source: Experiment, target: Experiment, path: str) -> None:
    """All but the time of a 2D source must agree: shapes alone do not tell all that changed."""
    free = {"init_scale"}
    if not source.config.model.num_frames:
        free |= {"num_frames", "time_stages"}
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
      network: "generator", "discriminator" or "generator_ema".
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

    Matrix products run in full float32 here, whatever the device's default is.
    """
    z = jax.random.normal(jax.random.key(seed), (num_latents, source.config.model.z_dim))
    frames = target.config.model.num_frames

    def generate(e: Experiment, variables: Any) -> jax.Array:
        return jax.jit(e.generator.apply)(variables, z)

    def judge(e: Experiment, variables: Any, x: jax.Array) -> jax.Array:
        return jax.jit(e.discriminator.apply)(variables, x)

    errors = []
    with jax.default_matmul_precision("highest"):
        for name, variables_2d, variables_3d in (
            ("generator", before.gen, after.gen),
            ("generator_ema", _averaged(before), _averaged(after)),
        ):
            images = generate(source, variables_2d)
            stills = jnp.repeat(images[:, None], frames, axis=1)
            errors.append(_compare(name, stills, generate(target, variables_3d)))
        logits = judge(source, before.disc, images)
        errors.append(_compare("discriminator", logits, judge(target, after.disc, stills)))
    return errors


def _averaged(weights: Weights) -> dict[str, Any]:
    return {**weights.gen, "params": weights.ema_params}


def _compare(network: str, expected: jax.Array, got: jax.Array) -> StillClipError:
    want, have = np.asarray(expected, np.float64), np.asarray(got, np.float64)
    difference = have - want
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
    after, source = weights_for(
        target, args.source, profile=init.profile, temporal_noise=init.temporal_noise
    )
    if source is None:
        raise checkpoint.CheckpointError(
            f"{args.source} holds a 3D network already; train on from it with config.init.path"
        )
    cli.output_folder("--out", args.out)
    origin = {"path": str(args.source), "step": after.step, "code": after.meta["code"]}
    stride = target.config.data.stride
    meta = checkpoint.make_meta(
        config.to_dict(),
        fps=after.meta["fps"] * source.config.data.stride / stride,
        inflated={"from": origin, "profile": init.profile, "temporal_noise": init.temporal_noise},
    )
    if args.verify and not _verify(args.out, source, target, after, meta["inflated"]):
        return 1
    written = checkpoint.save_weights(
        args.out, gen=after.gen, disc=after.disc, ema_params=after.ema_params, meta=meta
    )
    print(f"inflated {args.source} (step {after.step}) by {init.profile!r} → {written}")
    return 0


def _verify(
    out: str, source: Experiment, target: Experiment, after: Weights, how: Mapping[str, Any]
) -> bool:
    """Measures, shows and writes the errors; nothing else is written where they are too large."""
    errors = measure(source, target, checkpoint.load_weights(after.path), after)
    exact = print_errors(errors)
    report = {
        "tolerance": TOLERANCE,
        "within_tolerance": exact,
        "networks": {e.network: {"relative": e.relative, "largest": e.largest} for e in errors},
        **how,
    }
    files.write_json(Path(out) / REPORT, report)
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
