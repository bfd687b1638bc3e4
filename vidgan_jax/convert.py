"""Converts trained weights of PyTorch to checkpoints of this package.

    python -m vidgan_jax.convert spade GENERATOR.pth [--disc D.pth] [--encoder E.pth] --out DIR
    python -m vidgan_jax.convert gan_stability CHECKPOINT.pt --out DIR
    python -m vidgan_jax.convert vgg19 FILE.pth --out DIR
    python -m vidgan_jax.convert segmenter ENCODER.pth DECODER.pth --out DIR

The files are those of NVlabs/SPADE, LMescheder/GAN_stability, torchvision and
CSAILVision/semantic-segmentation-pytorch. Reading them needs torch: `pip install ".[convert]"`.
Beside a GAN's checkpoint goes `config.py`, to train it by, or to inflate it
(`--config DIR/config.py --config.model.num_frames=8`).
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax.typing import VariableDict

from vidgan_jax import cli, experiment, files
from vidgan_jax.config import ModelConfig
from vidgan_jax.conversion import configs, gan_stability, segmenter, spade, torch_files, vgg
from vidgan_jax.conversion.state_dicts import StateDict
from vidgan_jax.experiment import Experiment
from vidgan_jax.models.vgg import MIN_SIZE, Vgg19Features
from vidgan_jax.train import checkpoint, weights
from vidgan_jax.version import code_version

CONFIG = "config.py"
_FPS = 8.0  # clips of 24 frames a second, every third of them, as configs/ have it
_MAX_FPS = 240.0


def convert_spade(args: argparse.Namespace) -> int:
    """Generator, discriminator and encoder of SPADE → a checkpoint."""
    _check_out(args)
    read = {}
    for network, path in (
        (spade.GENERATOR, args.file),
        (spade.DISCRIMINATOR, args.disc),
        (spade.ENCODER, args.encoder),
    ):
        if path is not None:
            read[network] = _state_dict(path, network)
    given = spade.Files(
        read[spade.GENERATOR], read.get(spade.DISCRIMINATOR), read.get(spade.ENCODER)
    )
    told = spade.Told(
        size=args.size,
        upsampling=args.upsampling,
        num_labels=args.num_labels,
        dont_care=args.dont_care_channel,
        edges=args.instance_edges,
        disc_last_stride=args.disc_last_stride,
    )
    model = spade.model_config(given, told)
    config = configs.spade(model)
    exp = experiment.build(config)
    wanted_gen, wanted_disc = _shapes(exp)
    gen = spade.generator_variables(wanted_gen, given, model)
    disc = None
    if given.discriminator is not None:
        disc = spade.discriminator_variables(wanted_disc, given.discriminator)
    sources = [path for path in (args.file, args.disc, args.encoder) if path is not None]
    _save(args, exp, config, sources, {"gen": gen, "ema": gen, "disc": disc})
    channels = [f"{model.num_labels} classes"]
    channels += ["don't care"] if model.dont_care_channel else []
    channels += ["edges"] if model.instance_edges else []
    start = "the label map" if model.start == "labels" else f"{model.z_dim} latents"
    encoder = ", with an encoder" if model.encoder else ""
    print(
        f"SPADE from {' + '.join(channels)} to images of {model.size}×{model.size}, "
        f"{model.features} to {model.max_features} channels, begun by {start}{encoder}"
    )
    _print_next(args.out, gen, disc, "--label-map MAP.png")
    return 0


def convert_gan_stability(args: argparse.Namespace) -> int:
    """A checkpoint of GAN_stability → one of ours."""
    _check_out(args)
    found = gan_stability.networks(
        torch_files.read(args.file), args.file, class_id=args.class_id, new_disc=args.new_disc
    )
    model = gan_stability.model_config(found)
    config = configs.resnet(model)
    exp = experiment.build(config)
    wanted_gen, wanted_disc = _shapes(exp)
    gen = gan_stability.generator_variables(wanted_gen, found.generator, model)
    ema = gan_stability.generator_variables(wanted_gen, found.average, model)
    disc = None
    if found.discriminator is not None:
        disc = gan_stability.discriminator_variables(wanted_disc, found.discriminator, model)
    _save(
        args,
        exp,
        config,
        [args.file],
        {"gen": gen, "ema": ema, "disc": disc},
        iterations=found.iterations,
        averaged=found.average is not found.generator,
    )
    _print_resnet(model)
    _print_next(args.out, gen, disc, "--class-id 0" if model.num_classes > 1 else "--num 16")
    if model.num_classes > 1:
        print(
            f"training on knows no classes, of which this GAN has {model.num_classes}: to train "
            "one of them, convert again with --class-id N",
            file=sys.stderr,
        )
    return 0


def convert_vgg19(args: argparse.Namespace) -> int:
    """torchvision's VGG19 → the network of SPADE's loss."""
    state = _state_dict(args.file, "VGG19")
    wanted = _image_shapes(Vgg19Features().init)
    variables = vgg.variables(wanted, state)
    written = _save_network(args, "vgg19", [args.file], variables)
    print(f"VGG19 up to relu5_1, {_count(variables):,} parameters → {written}")
    print(f"next: python -m vidgan_jax.main --config … --config.loss.vgg_weights={args.out}")
    return 0


def convert_segmenter(args: argparse.Namespace) -> int:
    """CSAIL's segmenter of ADE20K → the one that prepares data sets."""
    encoder = _state_dict(args.file, segmenter.ENCODER)
    decoder = _state_dict(args.decoder, segmenter.DECODER)
    network = segmenter.network(encoder, decoder)
    variables = segmenter.variables(_image_shapes(network.init), encoder, decoder)
    written = _save_network(args, "segmenter", [args.file, args.decoder], variables)
    layers = 2 + 3 * sum(network.blocks)  # as its authors count them, with one layer in front
    print(
        f"dilated ResNet-{layers} with pyramid pooling, {network.num_classes} classes, "
        f"{_count(variables):,} parameters → {written}"
    )
    print(f"next: python -m vidgan_jax.prepare nature --segmenter {args.out} …")
    return 0


def _state_dict(path: str, network: str) -> StateDict:
    return StateDict(torch_files.arrays(torch_files.read(path), path), path, network)


def _image_shapes(init: Callable[..., VariableDict]) -> VariableDict:
    """Of the variables of a network that sees images."""
    example = jax.ShapeDtypeStruct((1, MIN_SIZE, MIN_SIZE, 3), jnp.float32)
    wanted: VariableDict = jax.eval_shape(init, jax.random.key(0), example)
    return wanted


def _save_network(
    args: argparse.Namespace, name: str, sources: Sequence[str], variables: VariableDict
) -> Path:
    """Writes a network that no GAN is made of; returns where to."""
    cli.output_folder("--out", args.out)
    origin = {"format": args.format, "files": [torch_files.origin_of(path) for path in sources]}
    meta = {"name": name, "code": code_version(), "converted": origin}
    return weights.save_network(args.out, variables, meta)


def _check_out(args: argparse.Namespace) -> None:
    if not 0 < args.fps <= _MAX_FPS:
        raise ValueError(f"--fps (={args.fps}) must be above 0 and at most {_MAX_FPS:g}")
    if checkpoint.has_checkpoint(args.out):
        raise ValueError(f"{args.out} has checkpoints already; choose another --out")
    cli.output_folder("--out", args.out)


def _shapes(exp: Experiment) -> tuple[Any, Any]:
    """Of both networks' variables."""
    shapes: tuple[Any, Any] = jax.eval_shape(exp.init_variables, jax.random.key(0))
    return shapes


def _save(
    args: argparse.Namespace,
    exp: Experiment,
    config: Mapping[str, Any],
    sources: Sequence[str],
    variables: Mapping[str, Any],
    **more: Any,
) -> None:
    """Writes the checkpoint, and the config beside it; a discriminator that is None is drawn."""
    disc = variables["disc"]
    if disc is None:
        zeros = [jnp.zeros(like.shape, like.dtype) for like in exp.disc_inputs()]
        disc = jax.jit(exp.discriminator.init)(jax.random.key(0), *zeros)
        print("no discriminator: it is drawn at random, with seed 0", file=sys.stderr)
    origin = {
        "format": args.format,
        "files": [torch_files.origin_of(path) for path in sources],
        "discriminator": "drawn, seed 0" if variables["disc"] is None else "converted",
        **more,
    }
    meta = checkpoint.make_meta(config, fps=args.fps, converted=origin)
    weights.save_weights(args.out, gen=variables["gen"], disc=disc, ema=variables["ema"], meta=meta)
    files.write_bytes(files.path(args.out) / CONFIG, configs.as_file(dict(config)).encode())


def _print_resnet(model: ModelConfig) -> None:
    classes = f", {model.num_classes} classes" if model.num_classes > 1 else ""
    print(
        f"ResNet GAN, layout {model.layout!r}, of images of {model.size}×{model.size}, "
        f"{model.features} to {model.max_features} channels, {model.z_dim} latents and an "
        f"embedding of {model.embed_dim}{classes}"
    )


def _print_next(out: str, gen: VariableDict, disc: VariableDict | None, inputs: str) -> None:
    sizes = [f"generator {_count(gen):,}"]
    sizes += [f"discriminator {_count(disc):,}"] if disc is not None else []
    print(f"parameters: {', '.join(sizes)} → {out}")
    print(f"next: python -m vidgan_jax.generate --checkpoint {out} {inputs} --out {out}/images")
    print(
        f"or:   python -m vidgan_jax.inflate --from {out} --config {out}/{CONFIG} "
        f"--config.model.num_frames=8 --out {out}-3d"
    )


def _count(variables: VariableDict) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def _add_fps(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fps",
        type=float,
        default=_FPS,
        help=f"frames a second of clips that it will make, inflated (default {_FPS:g})",
    )


def _add_spade(parser: argparse.ArgumentParser) -> None:
    _add_fps(parser)
    parser.add_argument("--disc", metavar="D.pth", help="discriminator (default: a random one)")
    parser.add_argument("--encoder", metavar="E.pth", help="encoder of a VAE (default: none)")
    parser.add_argument(
        "--size",
        type=int,
        help=f"height and width, where the generator begins with the label map (default "
        f"{spade.DEFAULT_SIZE}); else it is told by the weights",
    )
    parser.add_argument(
        "--upsampling",
        choices=tuple(spade.UPSAMPLINGS),
        help="the public code's --num_upsampling_layers (default: 'normal', or 'most' by weights)",
    )
    parser.add_argument("--num-labels", type=int, help="classes (default: by known channels)")
    parser.add_argument(
        "--dont-care-channel",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="a channel of pixels of no class follows the classes'",
    )
    parser.add_argument(
        "--instance-edges",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="a channel of instances' edges comes last",
    )
    parser.add_argument(
        "--disc-last-stride",
        type=int,
        choices=(1, 2),
        help="of the discriminator's last layer before the logits (default: 1 with 4 layers, 2 "
        "with 3)",
    )


def _add_gan_stability(parser: argparse.ArgumentParser) -> None:
    _add_fps(parser)
    parser.add_argument(
        "--class-id", type=int, metavar="N", help="keep this class only (default: all)"
    )
    parser.add_argument(
        "--new-disc", action="store_true", help="a random discriminator in place of the file's"
    )


def _add_segmenter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("decoder", metavar="DECODER", help="the decoder's .pth")


_FORMATS = {
    "spade": (convert_spade, _add_spade, "NVlabs/SPADE's networks", "the generator's .pth"),
    "gan_stability": (
        convert_gan_stability,
        _add_gan_stability,
        "a checkpoint of LMescheder/GAN_stability",
        "the checkpoint's .pt",
    ),
    "vgg19": (convert_vgg19, None, "torchvision's VGG19, for SPADE's loss", "its .pth"),
    "segmenter": (
        convert_segmenter,
        _add_segmenter,
        "CSAIL's segmenter of ADE20K, for preparing data sets",
        "the encoder's .pth",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m vidgan_jax.convert`."""
    parser = argparse.ArgumentParser(
        prog="python -m vidgan_jax.convert",
        description="Converts trained weights of PyTorch to checkpoints of this package.",
        allow_abbrev=False,
    )
    formats = parser.add_subparsers(dest="format", required=True, metavar="FORMAT")
    for name, (_, add_flags, what, file) in _FORMATS.items():
        of_format = formats.add_parser(name, help=what, description=what, allow_abbrev=False)
        of_format.add_argument("file", metavar="FILE", help=file)
        of_format.add_argument("--out", required=True, help="folder for the checkpoint")
        if add_flags is not None:
            add_flags(of_format)
    return cli.run(parser, lambda args: _FORMATS[args.format][0](args), argv)


if __name__ == "__main__":
    sys.exit(main())
