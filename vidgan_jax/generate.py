"""Generates images or clips from a checkpoint.

python -m vidgan_jax.generate --checkpoint WORKDIR --num 16 --seed 0 --out DIR
python -m vidgan_jax.generate --checkpoint WORKDIR --label-map SKETCH.png --out DIR
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vidgan_jax import cli, files
from vidgan_jax.data import media
from vidgan_jax.experiment import Experiment
from vidgan_jax.preparation.example import read_example
from vidgan_jax.synthesis import arithmetic, pictures
from vidgan_jax.synthesis.conditions import (
    Conditions,
    Sketch,
    check_class_id,
    read_sketches,
)
from vidgan_jax.synthesis.latents import INTERPOLATIONS, draw_latents, interpolate, pick_latents
from vidgan_jax.synthesis.run import run_generator
from vidgan_jax.train import programs
from vidgan_jax.train.weights import Weights, experiment_of, load_weights

REPORT = "generation.json"
_SPHERICAL = "spherical"
_SUFFIXES = (".png", *media.CLIP_WRITERS)
_INTERPOLATION_FPS = 24.0
_NUM, _NUM_OF_MAP = 16, 4
_MAX_FPS = 240.0


def _conditions(args: argparse.Namespace, exp: Experiment, fps: float) -> Conditions:
    """What the arguments give this model beside latents; `fps` is of its clips."""
    model = exp.config.model
    if model.num_labels and not args.label_map:
        raise ValueError(
            f"this model makes frames of label maps ({model.num_labels} classes); give some with "
            "--label-map FILE.png"
        )
    if args.style_from and not model.encoder:
        raise ValueError(
            f"--style-from {args.style_from}: this model has no encoder to take it "
            "(config.model.encoder is False); leave it out"
        )
    sketches: Sequence[Sketch] = ()
    if args.label_map:
        nearest = args.nearest_colours
        instances = args.instance_map or ()
        sketches = read_sketches(exp.config, args.label_map, instances, nearest_colours=nearest)
    check_class_id(model, args.class_id)
    style = None
    if args.style_from:
        style = read_example(
            args.style_from,
            size=model.size,
            num_frames=model.num_frames,
            fps=fps,
            warn=lambda text: print(text, file=sys.stderr),
        )
    return Conditions(sketches, args.class_id, style)


def _num_latents(args: argparse.Namespace, *, without_latents: bool) -> int:
    num = _num(args)
    if not without_latents:
        return num
    for name in ("interpolate", "arithmetic"):
        if getattr(args, name):
            raise ValueError(
                f"--{name} is of latents, and this model has none (config.model.start is "
                "'labels'); leave it out"
            )
    if args.num is not None and num > 1:
        print(
            f"--num (={num}): this model makes one of each label map (config.model.start is "
            "'labels', latents count for nothing); making one",
            file=sys.stderr,
        )
    return 1


def _num(args: argparse.Namespace) -> int:
    default = _NUM_OF_MAP if args.label_map else _NUM
    return default if args.num is None else int(args.num)


def _latents(
    args: argparse.Namespace, expression: arithmetic.Expression | None, num: int, z_dim: int
) -> jax.Array:
    """What the generator is to run over, float32 `[n, z_dim]`."""
    if expression is not None:
        named = pick_latents(args.seed, expression.numbers, z_dim, args.truncation)
        return arithmetic.evaluate(expression, named, rescale=args.rescale)
    latents = draw_latents(args.seed, num, z_dim, args.truncation)
    if args.interpolate:
        return interpolate(latents, args.interpolate, args.interpolation)
    return latents


def _write(
    out: Path, args: argparse.Namespace, examples: np.ndarray, fps: float, maps: np.ndarray | None
) -> list[str]:
    if args.arithmetic is not None:
        return pictures.write_terms(out, examples, fps, args.format, maps)
    if args.interpolate:
        return pictures.write_film(out, examples, fps, args.format, args.interpolate, maps)
    if examples.ndim == 5:
        return pictures.write_clips(out, examples, fps, args.format, maps)
    return pictures.write_images(out, examples, maps)


def _report(
    args: argparse.Namespace,
    expression: arithmetic.Expression | None,
    num: int,
    sketches: Sequence[Sketch],
    weights: Weights,
) -> dict[str, Any]:
    """What was asked for, and of which weights; None is what does not apply."""
    maps = [
        {"picture": f"label_map_{i}.png", **sketch.describe()} for i, sketch in enumerate(sketches)
    ]
    return {
        "checkpoint": str(weights.path),
        "step": weights.step,
        "code": weights.meta["code"],
        "seed": args.seed,
        "num": None if expression else num,
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
        "label_maps": maps or None,
        "nearest_colours": args.nearest_colours if maps else None,
        "class_id": args.class_id,
        "style_from": args.style_from,
    }


@programs.kept_for_user()
def generate(args: argparse.Namespace) -> int:
    """The command: checkpoint → latents → files."""
    _check(args)
    expression = None if args.arithmetic is None else arithmetic.parse(args.arithmetic)
    weights = load_weights(args.checkpoint)
    exp = experiment_of(weights)
    model = exp.config.model
    given = _conditions(args, exp, weights.meta["fps"])
    num = _num_latents(args, without_latents=model.start == "labels")
    latents = _latents(args, expression, num, model.z_dim)
    out = cli.output_folder("--out", args.out)
    fps = args.fps or weights.meta["fps"]
    if args.interpolate and not model.num_frames:
        fps = args.fps or _INTERPOLATION_FPS
    how = {"batch_size": args.batch_size, "averaged": args.ema}
    examples = run_generator(exp, weights, **given.inputs(latents), **how)
    files.remove_listed(out / REPORT, _SUFFIXES)
    written = _write(out, args, examples, fps, given.maps)
    report = _report(args, expression, num, given.sketches, weights)
    shape = list(examples.shape)
    files.write_json(out / REPORT, {**report, "fps": fps, "shape": shape, "files": written})
    kind = "clips" if model.num_frames else "images"
    made = f"{num} {kind if num > 1 else kind[:-1]}"
    if expression:
        made = f"{len(expression.terms)} terms and their result as {kind}"
    if maps := len(given.sketches):
        made += " of a label map" if maps == 1 else f" of each of {maps} label maps"
    print(f"{made} of step {weights.step} in {out}; look at {out / 'contact_sheet.png'}")
    return 0


def _check(args: argparse.Namespace) -> None:
    cli.check_sampling(argparse.Namespace(**vars(args) | {"num": _num(args)}))
    if args.truncation is not None and not args.truncation > 0:
        raise ValueError(
            f"--truncation (={args.truncation}) must be above 0; 2 is mild, 0.5 strong"
        )
    if args.interpolate < 0 or (args.interpolate and _num(args) < 2):
        raise ValueError(
            f"--interpolate (={args.interpolate}) is the number of frames from one latent to the "
            f"next, of at least two (--num is {_num(args)})"
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
    _check_given(args)


def _check_given(args: argparse.Namespace) -> None:
    """Refuses files that are not there, and combinations that have no meaning."""
    maps = args.label_map or []
    for name in ("instance_map", "nearest_colours"):
        if getattr(args, name) and not maps:
            raise ValueError(f"--{name.replace('_', '-')} is of --label-map FILE; give that, too")
    if args.instance_map and len(args.instance_map) != len(maps):
        raise ValueError(
            f"--instance-map gives {len(args.instance_map)} files and --label-map {len(maps)}; "
            "give one for each label map, in their order"
        )
    for name in ("interpolate", "arithmetic"):
        if getattr(args, name) and len(maps) > 1:
            raise ValueError(f"--{name} takes one label map, and --label-map gives {len(maps)}")
    for name in ("label_map", "instance_map", "style_from"):
        given = getattr(args, name) or []
        for path in [given] if isinstance(given, str) else given:
            if not Path(path).is_file():
                raise ValueError(f"--{name.replace('_', '-')} {path}: no such file")


def _add_latents(parser: argparse.ArgumentParser) -> None:
    """The flags that say which latents, and what becomes of them."""
    parser.add_argument(
        "--num",
        type=int,
        help=f"how many (default {_NUM}, and {_NUM_OF_MAP} of each label map); not used by "
        "--arithmetic",
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


def _add_given(parser: argparse.ArgumentParser) -> None:
    """The flags that give a conditional model what it is to show."""
    parser.add_argument(
        "--label-map",
        nargs="+",
        metavar="FILE",
        help="pictures of class ids, or painted in ADE20K's colours, for a model of label maps; "
        "they may be of any size",
    )
    parser.add_argument(
        "--instance-map",
        nargs="+",
        metavar="FILE",
        help="one for each label map, every instance of another colour, for a model that sees them",
    )
    parser.add_argument(
        "--nearest-colours",
        action="store_true",
        help="colours in --label-map that are no class's count as the nearest class's",
    )
    parser.add_argument(
        "--class-id", type=int, metavar="N", help="for a model of several classes of images"
    )
    parser.add_argument(
        "--style-from",
        metavar="FILE",
        help="an image or a video that a model with an encoder (VAE) draws its latents around",
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
    _add_given(parser)
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
