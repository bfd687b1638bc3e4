"""Generates images or clips from a checkpoint.

python -m vidgan_jax.generate --checkpoint WORKDIR --num 16 --seed 0 --out DIR
"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from vidgan_jax import cli, files
from vidgan_jax.data import media
from vidgan_jax.experiment import Experiment
from vidgan_jax.progress import ProgressReport
from vidgan_jax.train.checkpoint import Weights, experiment_of, load_weights
from vidgan_jax.train.step import forward, to_uint8

REPORT = "generation.json"
_INTERPOLATION_FPS = 24.0
_SHEET_CLIPS = 16
_MAX_FPS = 240.0
_NUM_SEEDS = 2**32  # JAX's keys take no more bits


def draw_latents(seed: int, num: int, z_dim: int, truncation: float | None) -> jax.Array:
    """Latents, each from a key of its own: number i is the same whatever `num` is.

    Args:
      seed: of all.
      num: how many.
      z_dim: length of each.
      truncation: components are standard normal within ± this many σ; None for no bound. Smaller is
        more typical and less varied (Brock et al. 2019, arXiv:1809.11096, section 3.1).

    Returns:
      float32 `[num, z_dim]`.
    """
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.arange(num))

    def draw(key: jax.Array) -> jax.Array:
        if truncation is None:
            return jax.random.normal(key, (z_dim,))
        return jax.random.truncated_normal(key, -truncation, truncation, (z_dim,))

    return jax.vmap(draw)(keys)


def interpolate(latents: jax.Array, steps: int) -> jax.Array:
    """A closed path through latents, along great circles (where their lengths differ, lengths too).

    Args:
      latents: float `[n, z]`, n > 1.
      steps: points from one latent to the next.

    Returns:
      float `[n · steps, z]`; every `steps`-th is one of the latents.

    Source: White 2016, arXiv:1609.04468, section 2.1.
    """
    following = jnp.roll(latents, -1, axis=0)
    lengths = jnp.linalg.norm(latents, axis=1, keepdims=True)
    next_lengths = jnp.roll(lengths, -1, axis=0)
    cosine = jnp.sum(latents * following, axis=1, keepdims=True) / (lengths * next_lengths)
    angle = jnp.maximum(jnp.arccos(jnp.clip(cosine, -1, 1)), 1e-4)[:, None]
    t = (jnp.arange(steps) / steps)[None, :, None]
    path = (
        jnp.sin((1 - t) * angle) * latents[:, None] + jnp.sin(t * angle) * following[:, None]
    ) / jnp.sin(angle)
    return path.reshape(-1, latents.shape[-1])


def run_generator(
    exp: Experiment, weights: Weights, latents: jax.Array, *, batch_size: int, averaged: bool = True
) -> np.ndarray:
    """Runs the generator over latents, batch by batch, with progress on stderr.

    Args:
      exp: the experiment that the weights are of.
      weights: trained ones.
      latents: float32 `[n, z]`.
      batch_size: at once; the last batch is filled up, so that nothing is compiled twice.
      averaged: use the averaged parameters.

    Returns:
      uint8 `[n, size, size, 3]` or `[n, t, size, size, 3]`.
    """
    params = weights.ema_params if averaged else weights.gen["params"]
    variables = jax.device_put({**weights.gen, "params": params})
    apply = jax.jit(lambda v, z: to_uint8(forward(exp.generator, v, z)))
    n, batch_size = len(latents), min(batch_size, len(latents))
    padded = jnp.concatenate([latents, latents[: -n % batch_size]])
    parts = []
    with ProgressReport("generating", total=n) as report:
        for start in range(0, n, batch_size):
            parts.append(np.asarray(apply(variables, padded[start : start + batch_size])))
            report.update(min(start + batch_size, n), f"{min(start + batch_size, n)} of {n}")
    return np.concatenate(parts)[:n]


def write_clips(out: Path, clips: np.ndarray, fps: float, suffixes: Sequence[str]) -> None:
    """One file a clip and format, and a moving and a printed contact sheet of the first 16."""
    for i, clip in enumerate(clips):
        for suffix in suffixes:
            media.write_clip(out / f"clip_{i:04d}{suffix}", clip, fps=fps)
    shown = media.enlarge(clips[:_SHEET_CLIPS])
    sheet = media.tile_images(shown)
    for suffix in (".gif", ".webp"):
        media.write_clip(out / f"contact_sheet{suffix}", sheet, fps=fps)
    loops = max(1, math.ceil(4 * fps / len(sheet)))
    media.write_mp4(out / "contact_sheet.mp4", sheet, fps=fps, loops=loops)
    media.write_png(out / "contact_sheet.png", media.filmstrips(shown))


def write_images(out: Path, images: np.ndarray) -> None:
    """One PNG an image, and a contact sheet of the first 64."""
    for i, image in enumerate(images):
        media.write_png(out / f"image_{i:04d}.png", image)
    media.write_png(out / "contact_sheet.png", media.tile_images(media.enlarge(images[:64])))


def walk(examples: np.ndarray) -> np.ndarray:
    """One film out of a latent path: images as they follow; of clips, one frame each.

    A clip's frames are taken back and forth, so that its scene moves on while it changes.

    Args:
      examples: uint8 `[n, h, w, 3]`, or `[n, t, h, w, 3]`.

    Returns:
      uint8 `[n, h, w, 3]`.
    """
    if examples.ndim == 4:
        return examples
    t = examples.shape[1]
    there_and_back = np.concatenate([np.arange(t), np.arange(t - 2, 0, -1)])
    frame = there_and_back[np.arange(len(examples)) % len(there_and_back)]
    return examples[np.arange(len(examples)), frame]


def generate(args: argparse.Namespace) -> int:
    """The command: checkpoint → latents → files."""
    _check(args)
    weights = load_weights(args.checkpoint)
    exp = experiment_of(weights)
    out = cli.output_folder("--out", args.out)
    model = exp.config.model
    fps = args.fps or weights.meta["fps"]
    latents = draw_latents(args.seed, args.num, model.z_dim, args.truncation)
    path = interpolate(latents, args.interpolate) if args.interpolate else latents
    examples = run_generator(exp, weights, path, batch_size=args.batch_size, averaged=args.ema)
    if args.interpolate:
        film = media.enlarge(walk(examples))
        fps = (args.fps or _INTERPOLATION_FPS) if not model.num_frames else fps
        for suffix in args.format:
            media.write_clip(out / f"interpolation{suffix}", film, fps=fps)
        media.write_png(out / "contact_sheet.png", media.tile_images(film[:: args.interpolate]))
    elif model.num_frames:
        write_clips(out, examples, fps, args.format)
    else:
        write_images(out, examples)
    report = {
        "checkpoint": str(weights.path),
        "step": weights.step,
        "code": weights.meta["code"],
        "seed": args.seed,
        "num": args.num,
        "truncation": args.truncation,
        "interpolate": args.interpolate,
        "ema": args.ema,
        "fps": fps,
        "shape": list(examples.shape),
    }
    files.write_json(out / REPORT, report)
    kind = "clips" if model.num_frames else "images"
    print(f"{args.num} {kind} of step {weights.step} in {out}; look at {out / 'contact_sheet.png'}")
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.num < 1 or args.batch_size < 1:
        raise ValueError(
            f"--num (={args.num}) and --batch-size (={args.batch_size}) must be at least 1"
        )
    if not 0 <= args.seed < _NUM_SEEDS:
        raise ValueError(f"--seed (={args.seed}) must be from 0 to {_NUM_SEEDS - 1}")
    if args.truncation is not None and not args.truncation > 0:
        raise ValueError(
            f"--truncation (={args.truncation}) must be above 0; 2 is mild, 0.5 strong"
        )
    if args.interpolate < 0 or (args.interpolate and args.num < 2):
        raise ValueError(
            f"--interpolate (={args.interpolate}) is the number of frames from one latent to the "
            f"next, of at least two (--num is {args.num})"
        )
    if args.fps is not None and not 0 < args.fps <= _MAX_FPS:
        raise ValueError(f"--fps (={args.fps}) must be above 0 and at most {_MAX_FPS:g}")


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m vidgan_jax.generate`."""
    parser = argparse.ArgumentParser(
        prog="python -m vidgan_jax.generate",
        description="Generates images or clips from a checkpoint.",
        allow_abbrev=False,
    )
    parser.add_argument("--checkpoint", required=True, help="a workdir, or one checkpoint in it")
    parser.add_argument("--out", required=True, help="folder for the files")
    parser.add_argument("--num", type=int, default=16, help="how many (default 16)")
    parser.add_argument("--seed", type=int, default=0, help="of the latents (default 0)")
    parser.add_argument("--truncation", type=float, help="bound on latents, in σ (default: none)")
    parser.add_argument(
        "--interpolate",
        type=int,
        default=0,
        metavar="FRAMES",
        help="one film from latent to latent, so many frames between two",
    )
    parser.add_argument("--fps", type=float, help="frames a second (default: the data's / stride)")
    parser.add_argument(
        "--format",
        nargs="+",
        choices=tuple(media.CLIP_WRITERS),
        default=[".mp4"],
        help="of single clips (default .mp4)",
    )
    parser.add_argument("--batch-size", type=int, default=8, help="clips at once (default 8)")
    parser.add_argument(
        "--ema",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="the averaged generator, or the last one",
    )
    return cli.run(parser, generate, argv)


if __name__ == "__main__":
    sys.exit(main())
