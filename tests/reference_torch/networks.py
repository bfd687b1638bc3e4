"""The networks that the config's section `model` describes, built in PyTorch."""

from typing import Any

from torch import nn

from tests.reference_torch import dcgan, resnet, spade
from vidgan_jax.config import ModelConfig


def build_networks(model: ModelConfig) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator, with PyTorch's own initial weights.

    Raises:
      ValueError: what these networks lack: VGAN's streams, classes, the ResNet's other layouts and
        its spectral norm, SPADE's encoder.
    """
    if model.name not in _BUILDERS:
        raise ValueError(
            f"config.model.name (={model.name!r}) has no PyTorch networks here; "
            f"{', '.join(_BUILDERS)} have"
        )
    return _BUILDERS[model.name](model)


def _shared(model: ModelConfig) -> dict[str, Any]:
    return {
        "size": model.size,
        "nf": model.features,
        "nf_max": model.max_features,
        "frames": model.num_frames,
        "time_stages": model.time_stages if model.num_frames else (),
    }


def _resnet(model: ModelConfig) -> tuple[nn.Module, nn.Module]:
    _refuse(model, layout="resnet", num_classes=0, gen_spectral_norm=False)
    _refuse(model, disc_spectral_norm=False)
    generator = resnet.Generator(z_dim=model.z_dim, **_shared(model))
    return generator, resnet.Discriminator(**_shared(model))


def _dcgan(model: ModelConfig) -> tuple[nn.Module, nn.Module]:
    generator = dcgan.Generator(
        z_dim=model.z_dim,
        batch_norm=model.gen_batch_norm,
        spectral=model.gen_spectral_norm,
        **_shared(model),
    )
    discriminator = dcgan.Discriminator(
        batch_norm=model.disc_batch_norm, spectral=model.disc_spectral_norm, **_shared(model)
    )
    return generator, discriminator


def _spade(model: ModelConfig) -> tuple[nn.Module, nn.Module]:
    _refuse(model, encoder=False)
    labels = model.num_labels + model.dont_care_channel + model.instance_edges
    frames = model.num_frames >> len(model.time_stages)
    generator = spade.Generator(
        z_dim=model.z_dim,
        base=(frames, model.base_size, model.base_size)[-_rank(model) :],
        blocks=spade_blocks(model),
        labels=labels,
        hidden=model.label_features,
        start=model.start,
        batch_norm=model.gen_batch_norm,
        spectral=model.gen_spectral_norm,
    )
    discriminator = spade.Discriminator(
        labels=labels,
        scales=model.disc_scales,
        rank=_rank(model),
        nf=model.disc_features,
        layers=model.disc_layers,
        last_stride=model.disc_last_stride,
        padding=model.disc_padding,
        spectral=model.disc_spectral_norm,
    )
    return generator, discriminator


_BUILDERS = {"resnet": _resnet, "dcgan": _dcgan, "spade": _spade}


def spade_blocks(model: ModelConfig) -> list[tuple[str, int, tuple[int, ...]]]:
    """Each block's name and channels, and by how much each axis is upsampled before it."""
    doublings = (model.size // model.base_size).bit_length() - 1
    names = {"head": False, "middle_0": True, "middle_1": model.middle_upsampling}
    if model.middle_blocks == 1:
        names = {"head": False, "middle_1": True}
    names |= {f"up_{i}": True for i in range(doublings - sum(names.values()))}
    blocks, stage = [], 0
    for name, doubles in names.items():
        factors = (1,) * _rank(model)
        if doubles:
            factors = (2 if stage in model.time_stages else 1, 2, 2)[-_rank(model) :]
            stage += 1
        width = min(model.features << (doublings - stage), model.max_features)
        blocks.append((name, width, factors))
    return blocks


def _rank(model: ModelConfig) -> int:
    return 3 if model.num_frames else 2


def _refuse(model: ModelConfig, **wanted: Any) -> None:
    for name, value in wanted.items():
        if getattr(model, name) != value:
            raise ValueError(
                f"config.model.{name} (={getattr(model, name)!r}): the PyTorch {model.name} has "
                f"none; set it to {value!r}"
            )
