"""Generates images or clips from a checkpoint.

python -m vidgan_jax.generate --checkpoint WORKDIR --num 16 --seed 0 --out DIR
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vidgan_jax import cli, files
from vidgan_jax.data import media
from vidgan_jax.synthesis import arithmetic
from vidgan_jax.synthesis.latents import INTERPOLATIONS, draw_latents, interpolate, pick_latents
from vidgan_jax.synthesis.run import run_generator
from vidgan_jax.train.checkpoint import Weights, experiment_of, load_weights

REPORT = "generation.json"
_SPHERICAL = "spherical"
_SUFFIXES = (".png", *media.CLIP_WRITERS)
_INTERPOLATION_FPS = 24.0
_SHEET_CLIPS = 16
_MAX_FPS = 240.0


def write_clips(out: Path, clips: np.ndarray, fps: float, suffixes: Sequence[str]) -> list[str]:
    """One file a clip and format, and a moving and a printed contact sheet of the first 16.

    Args:
      out: folder for them.
      clips: uint8 `[n, t, h, w, 3]`.
      fps: frames a second.
      suffixes: formats of the single clips, of `media.CLIP_WRITERS`.

    Returns:
      The names of the files.
    """
    names = [f"clip_{i:04d}" for i in range(len(clips))]
    written = _write_each(out, names, clips, fps, suffixes)
    shown = media.enlarge(clips[:_SHEET_CLIPS])
    return [*written, *_write_sheets(out, shown, media.tile_images(shown), fps)]


def write_images(out: Path, images: np.ndarray) -> list[str]:
    """One PNG an image, and a contact sheet of the first 64; arguments as for `write_clips`."""
    written = _write_each(out, [f"image_{i:04d}" for i in range(len(images))], images)
    media.write_png(out / "contact_sheet.png", media.tile_images(media.enlarge(images[:64])))
    return [*written, "contact_sheet.png"]


def write_terms(out: Path, examples: np.ndarray, fps: float, suffixes: Sequence[str]) -> list[str]:
    """Files of an expression's terms and of its result, and contact sheets of all in that order.

    Args:
      out: folder for them.
      examples: images uint8 `[n, h, w, 3]` or clips `[n, t, h, w, 3]`, the result last.
      fps: of clips, frames a second.
      suffixes: formats of the single clips, of `media.CLIP_WRITERS`; images are PNGs.

    Returns:
      The names of the files.
    """
    names = [*(f"term_{i}" for i in range(len(examples) - 1)), "result"]
    written = _write_each(out, names, examples, fps, suffixes)
    shown = media.enlarge(examples)
    row = media.tile_images(shown, columns=_SHEET_CLIPS)
    if examples.ndim == 5:
        return [*written, *_write_sheets(out, shown, row, fps)]
    media.write_png(out / "contact_sheet.png", row)
    return [*written, "contact_sheet.png"]


def _write_each(
    out: Path,
    names: Sequence[str],
    examples: np.ndarray,
    fps: float = 0.0,
    suffixes: Sequence[str] = (),
) -> list[str]:
    written = []
    for name, example in zip(names, examples, strict=True):
        for suffix in suffixes if example.ndim == 4 else (".png",):
            written.append(name + suffix)
            if suffix == ".png":
                media.write_png(out / written[-1], example)
            else:
                media.write_clip(out / written[-1], example, fps=fps)
    return written


def _write_sheets(out: Path, clips: np.ndarray, sheet: np.ndarray, fps: float) -> list[str]:
    """Of clips `[n, t, h, w, 3]`: the moving `sheet` `[t, H, W, 3]`, and filmstrips as a PNG."""
    for suffix in (".gif", ".webp"):
        media.write_clip(out / f"contact_sheet{suffix}", sheet, fps=fps)
    loops = max(1, math.ceil(4 * fps / len(sheet)))
    media.write_mp4(out / "contact_sheet.mp4", sheet, fps=fps, loops=loops)
    media.write_png(out / "contact_sheet.png", media.filmstrips(clips))
    return [f"contact_sheet{suffix}" for suffix in (".gif", ".mp4", ".png", ".webp")]


def _write_film(
    out: Path, examples: np.ndarray, fps: float, suffixes: Sequence[str], steps: int
) -> list[str]:
    """One film along a path, and a contact sheet of the latents that it goes through."""
    film = media.enlarge(walk(examples))
    for suffix in suffixes:
        media.write_clip(out / f"interpolation{suffix}", film, fps=fps)
    media.write_png(out / "contact_sheet.png", media.tile_images(film[::steps]))
    return [*(f"interpolation{suffix}" for suffix in suffixes), "contact_sheet.png"]


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


def remove_earlier(out: Path) -> None:
    """Removes the pictures and films that an earlier run listed in its report; nothing else.

    Without it, clips of the earlier run would lie beside those of the new one and look like them.
    The report goes last: a run that is killed here leaves the next one its list.
    """
    try:
        listed = json.loads((out / REPORT).read_bytes())["files"]
        names = {name for name in listed if isinstance(name, str)}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return  # no report, or not one of ours, or of a version that listed no files
    # By what lies in the folder: a listed name can't lead out of it, whoever wrote the list.
    for path in out.iterdir():
        if path.name in names and path.suffix in _SUFFIXES and not path.is_dir():
            path.unlink()
    (out / REPORT).unlink()


def _latents(
    args: argparse.Namespace, expression: arithmetic.Expression | None, z_dim: int
) -> jax.Array:
    """What the generator is to run over, float32 `[n, z_dim]`."""
    if expression is not None:
        named = pick_latents(args.seed, expression.numbers, z_dim, args.truncation)
        return arithmetic.evaluate(expression, named, rescale=args.rescale)
    latents = draw_latents(args.seed, args.num, z_dim, args.truncation)
    if args.interpolate:
        return interpolate(latents, args.interpolate, args.interpolation)
    return latents


def _write(out: Path, args: argparse.Namespace, examples: np.ndarray, fps: float) -> list[str]:
    if args.arithmetic is not None:
        return write_terms(out, examples, fps, args.format)
    if args.interpolate:
        return _write_film(out, examples, fps, args.format, args.interpolate)
    if examples.ndim == 5:
        return write_clips(out, examples, fps, args.format)
    return write_images(out, examples)


def _report(
    args: argparse.Namespace, expression: arithmetic.Expression | None, weights: Weights
) -> dict[str, Any]:
    """What was asked for, and of which weights; None is what does not apply."""
    return {
        "checkpoint": str(weights.path),
        "step": weights.step,
        "code": weights.meta["code"],
        "seed": args.seed,
        "num": None if expression else args.num,
        "truncation": args.truncation,
        "interpolate": args.interpolate,
        "interpolation": args.interpolation if args.interpolate else None,
        "arithmetic": expression
        and {
            "expression": expression.text,
            "terms": [
                {"sign": "+" if term.sign > 0 else "-", "latents": list(term.numbers)}
                for term in expression.terms
            ],
            "rescale": args.rescale,
        },
        "ema": args.ema,
    }


def generate(args: argparse.Namespace) -> int:
    """The command: checkpoint → latents → files."""
    _check(args)
    expression = None if args.arithmetic is None else arithmetic.parse(args.arithmetic)
    weights = load_weights(args.checkpoint)
    exp = experiment_of(weights)
    model = exp.config.model
    latents = _latents(args, expression, model.z_dim)
    out = cli.output_folder("--out", args.out)
    fps = args.fps or weights.meta["fps"]
    if args.interpolate and not model.num_frames:
        fps = args.fps or _INTERPOLATION_FPS
    examples = run_generator(exp, weights, latents, batch_size=args.batch_size, averaged=args.ema)
    remove_earlier(out)
    written = _write(out, args, examples, fps)
    report = _report(args, expression, weights)
    shape = list(examples.shape)
    files.write_json(out / REPORT, {**report, "fps": fps, "shape": shape, "files": written})
    kind = "clips" if model.num_frames else "images"
    made = f"{args.num} {kind}"
    if expression:
        made = f"{len(expression.terms)} terms and their result as {kind}"
    print(f"{made} of step {weights.step} in {out}; look at {out / 'contact_sheet.png'}")
    return 0


def _check(args: argparse.Namespace) -> None:
    cli.check_sampling(args)
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
    if args.interpolation != _SPHERICAL and not args.interpolate:
        raise ValueError(
            f"--interpolation (={args.interpolation}) is of --interpolate FRAMES; give that, too"
        )
    if args.arithmetic is None and not args.rescale:
        raise ValueError("--no-rescale is of --arithmetic EXPRESSION; give that, too")
    if args.arithmetic is not None and args.interpolate:
        raise ValueError(
            f"--arithmetic ({args.arithmetic!r}) shows single latents and --interpolate "
            f"(={args.interpolate}) the way between latents; give one of the two"
        )


def _add_latents(parser: argparse.ArgumentParser) -> None:
    """The flags that say which latents, and what becomes of them."""
    parser.add_argument(
        "--num", type=int, default=16, help="how many (default 16); not used by --arithmetic"
    )
    parser.add_argument("--truncation", type=float, help="bound on latents, in σ (default: none)")
    parser.add_argument(
        "--interpolate",
        type=int,
        default=0,
        metavar="FRAMES",
        help="one film from latent to latent, so many frames between two",
    )
    parser.add_argument(
        "--interpolation",
        choices=tuple(INTERPOLATIONS),
        default=_SPHERICAL,
        help="the way between two: along the sphere (default), or straight, where latents are "
        "shorter than the generator knows",
    )
    parser.add_argument(
        "--arithmetic",
        metavar="EXPRESSION",
        help='the seed\'s latents by number, added up, such as "(3,8,12) - (5,6,9) + (0,7,2)"; a '
        "list is the mean of several; --arithmetic=EXPRESSION if a minus comes first",
    )
    parser.add_argument(
        "--rescale",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="terms and result of --arithmetic get the mean length of their latents (default)",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m vidgan_jax.generate`."""
    parser = argparse.ArgumentParser(
        prog="python -m vidgan_jax.generate",
        description="Generates images or clips from a checkpoint.",
        allow_abbrev=False,
    )
    parser.add_argument("--checkpoint", required=True, help="a workdir, or one checkpoint in it")
    parser.add_argument("--out", required=True, help="folder for the files")
    _add_latents(parser)
    parser.add_argument("--fps", type=float, help="frames a second (default: the data's / stride)")
    parser.add_argument(
        "--format",
        nargs="+",
        choices=tuple(media.CLIP_WRITERS),
        default=[".mp4"],
        help="of single clips (default .mp4)",
    )
    cli.add_sampling(parser, seed_of="the latents", batch_size=8)
    return cli.run(parser, generate, argv)


if __name__ == "__main__":
    sys.exit(main())
