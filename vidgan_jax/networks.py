"""The networks that the config's section `model` describes: one builder for each family."""

import dataclasses
from collections.abc import Callable
from typing import Any

from flax import linen as nn

from vidgan_jax.config import ModelConfig
from vidgan_jax.models import dcgan, resnet, spade, vgan


def _dtypes(model: ModelConfig) -> tuple[str | None, str | None]:
    """What the generator and the discriminator cast their data to; None for nothing.

    A network of float32 casts nothing: its data are that already, or float64 on purpose.
    """
    gen, disc = (None if d == "float32" else d for d in (model.gen_dtype, model.disc_dtype))
    return gen, disc


def _resnet(model: ModelConfig) -> tuple[nn.Module, nn.Module]:
    for name in ("gen_batch_norm", "disc_batch_norm"):
        if getattr(model, name):
            raise ValueError(
                f"config.model.{name} (=True): the ResNet GAN has no place for batch norm; set it "
                "to False"
            )
    shared: dict[str, Any] = {
        "size": model.size,
        "features": model.features,
        "max_features": model.max_features,
        "time_stages": model.time_stages,
        "init_scale": model.init_scale,
        "layout": model.layout,
        "num_classes": model.num_classes,
    }
    gen_dtype, disc_dtype = _dtypes(model)
    generator = resnet.ResnetGenerator(
        **shared,
        num_frames=model.num_frames,
        spectral_norm=model.gen_spectral_norm,
        embed_dim=model.embed_dim,
        dtype=gen_dtype,
        remat=model.gen_remat,
    )
    discriminator = resnet.ResnetDiscriminator(
        **shared,
        spectral_norm=model.disc_spectral_norm,
        dtype=disc_dtype,
        remat=model.disc_remat,
    )
    return generator, discriminator


def _layouts(model: ModelConfig) -> tuple[dcgan.Layout, dcgan.Layout]:
    """DCGAN's, the generator's and the discriminator's."""
    gen_dtype, disc_dtype = _dtypes(model)
    gen = dcgan.Layout(
        size=model.size,
        num_frames=model.num_frames,
        features=model.features,
        max_features=model.max_features,
        time_stages=model.time_stages,
        init_scale=model.init_scale,
        batch_norm=model.gen_batch_norm,
        spectral_norm=model.gen_spectral_norm,
        dtype=gen_dtype,
        remat=model.gen_remat,
    )
    disc = dataclasses.replace(
        gen,
        batch_norm=model.disc_batch_norm,
        spectral_norm=model.disc_spectral_norm,
        dtype=disc_dtype,
        remat=model.disc_remat,
    )
    return gen, disc


def _dcgan(model: ModelConfig) -> tuple[nn.Module, nn.Module]:
    gen, disc = _layouts(model)
    return dcgan.DcganGenerator(gen), dcgan.DcganDiscriminator(disc)


def _vgan(model: ModelConfig) -> tuple[nn.Module, nn.Module]:
    gen, disc = _layouts(model)
    return vgan.VganGenerator(gen), dcgan.DcganDiscriminator(disc)


def _spade(model: ModelConfig) -> tuple[nn.Module, nn.Module]:
    if model.disc_batch_norm:
        raise ValueError(
            "config.model.disc_batch_norm (=True): SPADE's discriminator has instance norm; set it "
            "to False"
        )
    if model.num_labels < 1:
        raise ValueError(
            "config.model.num_labels (=0) must be at least 1: SPADE is conditioned on label maps"
        )
    if model.encoder and model.start == "labels":
        raise ValueError(
            "config.model.encoder (=True) learns latents, and config.model.start (='labels') has "
            "no use for any; set start='dense', or encoder=False"
        )
    gen_dtype, disc_dtype = _dtypes(model)
    labels = spade.LabelChannels(model.num_labels, model.dont_care_channel, model.instance_edges)
    shared: dict[str, Any] = {"num_frames": model.num_frames, "init_scale": model.init_scale}
    encoder = spade.SpadeEncoder(
        **shared,
        size=model.encoder_size or model.size,
        features=model.features,
        z_dim=model.z_dim,
        time_stages=model.encoder_time_stages,
        spectral_norm=model.gen_spectral_norm,
        dtype=gen_dtype,
        remat=model.gen_remat,
    )
    generator = spade.SpadeGenerator(
        **shared,
        labels=labels,
        size=model.size,
        features=model.features,
        max_features=model.max_features,
        time_stages=model.time_stages,
        base_size=model.base_size,
        middle_blocks=model.middle_blocks,
        middle_upsampling=model.middle_upsampling,
        start=model.start,
        label_features=model.label_features,
        batch_norm=model.gen_batch_norm,
        spectral_norm=model.gen_spectral_norm,
        encoder=encoder if model.encoder else None,
        dtype=gen_dtype,
        remat=model.gen_remat,
    )
    discriminator = spade.SpadeDiscriminator(
        **shared,
        labels=labels,
        size=model.size,
        features=model.disc_features,
        layers=model.disc_layers,
        scales=model.disc_scales,
        last_stride=model.disc_last_stride,
        padding=model.disc_padding,
        spectral_norm=model.disc_spectral_norm,
        dtype=disc_dtype,
        remat=model.disc_remat,
    )
    return generator, discriminator


# Family → (generator, discriminator).
MODELS: dict[str, Callable[[ModelConfig], tuple[nn.Module, nn.Module]]] = {
    "dcgan": _dcgan,
    "resnet": _resnet,
    "spade": _spade,
    "vgan": _vgan,
}


def in_float32(model: ModelConfig) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator as `MODELS` builds them, computing in float32 in any case."""
    exact = dataclasses.replace(model, gen_dtype="float32", disc_dtype="float32")
    return MODELS[model.name](exact)
