"""The schema of `configs/`: the dataclasses' attributes are all the fields there are.

A field that comes later has a default, what was done before it: checkpoints hold their config.

What a field's type and value can be refused for, without a device or data, is refused here.
"""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from vidgan_jax.config_run import (
    FAULTS,
    MESH,
    WATCH,
    FaultsConfig,
    MeshConfig,
    TrainConfig,
    WatchConfig,
    check_run,
)
from vidgan_jax.schema import at_least, make_section, shares


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The networks.

    Attributes:
      name: of the family, a key of `MODELS`.
      size: height and width, 4·2ⁿ pixels.
      num_frames: frames of a clip; 0 for images.
      z_dim: length of a latent.
      features: channels at full resolution.
      max_features: most channels anywhere.
      time_stages: doublings of resolution, from 4×4 up, that double time too.
      init_scale: variance · fan_in of initial kernels; 1/3 is PyTorch's, 2 learns sooner; 0 for
        DCGAN's normal values of deviation 0.02.
      gen_batch_norm: batch norm in the generator, as DCGAN has it.
      disc_batch_norm: likewise in the discriminator.
      gen_spectral_norm: spectral norm of the generator's layers.
      disc_spectral_norm: of the discriminator's.
      gen_dtype: that the generator computes in, one of `DTYPES`: "bfloat16" is faster and smaller
        on GPUs and TPUs. Parameters, optimisers, statistics, frames and losses are float32 anyway.
      disc_dtype: likewise the discriminator.
      gen_remat: the generator's backward pass computes the insides of its blocks anew instead of
        keeping them: less memory for more time (`jax.checkpoint`).
      disc_remat: likewise the discriminator's.
      layout: of the ResNet GAN, a name of `vidgan_jax.models.resnet.LAYOUTS`: "resnet" is the
        thesis's, others are those of the public GAN-stability code's trained weights.
      num_classes: the ResNet GAN's classes of images, chosen by an embedding; 0 for no embedding.
      embed_dim: length of a class's embedding.
      num_labels: classes of label maps, which SPADE is conditioned on; 0 for no label maps.
      dont_care_channel: SPADE sees pixels of no class as one class more; else as none.
      instance_edges: SPADE sees the edges of instances, too (of classes, where maps lack those).
      base_size: SPADE's height and width before the first upsampling, pixels.
      middle_blocks: SPADE's blocks between the first and the second upsampling, 1 or 2.
      middle_upsampling: another upsampling between those two.
      start: of SPADE's generator: "dense" from a latent, "labels" from the label map.
      label_features: channels between a label map and SPADE's scales and shifts.
      encoder: SPADE learns latents from real examples (VAE).
      encoder_size: height and width that the encoder sees, pixels; 0 for `size`.
      encoder_time_stages: the encoder's halvings of time, counted from its 4×4 end.
      disc_features: channels of SPADE's discriminator at half the resolution.
      disc_layers: its layers before the logits.
      disc_scales: its copies, each at half the resolution of the one before.
      disc_last_stride: stride of the last of those layers.
      disc_padding: zeros on each side of its convolutions; 0 for as many as keep the size.
    """

    name: str
    size: int
    num_frames: int
    z_dim: int
    features: int
    max_features: int
    time_stages: tuple[int, ...]
    init_scale: float
    gen_batch_norm: bool = False
    disc_batch_norm: bool = False
    gen_spectral_norm: bool = False
    disc_spectral_norm: bool = False
    gen_dtype: str = "float32"
    disc_dtype: str = "float32"
    gen_remat: bool = False
    disc_remat: bool = False
    layout: str = "resnet"
    num_classes: int = 0
    embed_dim: int = 0
    num_labels: int = 0
    dont_care_channel: bool = False
    instance_edges: bool = False
    base_size: int = 4
    middle_blocks: int = 2
    middle_upsampling: bool = False
    start: str = "dense"
    label_features: int = 128
    encoder: bool = False
    encoder_size: int = 0
    encoder_time_stages: tuple[int, ...] = (0, 1, 2)
    disc_features: int = 64
    disc_layers: int = 3
    disc_scales: int = 2
    disc_last_stride: int = 2
    disc_padding: int = 0


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The records and what is cut from them.

    Attributes:
      path: folder of a prepared data set; empty for the embedded scenes.
      split: "train", "validation", …
      resize: height and width of frames before the random crop to the model's size, pixels.
      stride: frames of a record from one frame of a clip to the next.
      start_frames: clips start within the first so many frames; 0 for anywhere.
      flip: mirror with probability ½.
      num_workers: reading processes; 0 for threads of this one.
      num_threads: reading threads (in each worker).
      num_scene_videos: embedded scenes to render where `path` is empty.
      num_scene_clips: clips of each.
      dont_care: the id of pixels of no class in the label maps, beside 255.
    """

    path: str
    split: str
    resize: int
    stride: int
    start_frames: int
    flip: bool
    num_workers: int
    num_threads: int
    num_scene_videos: int
    num_scene_clips: int
    dont_care: int = 255


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """What the players minimise.

    Attributes:
      adversarial: a key of `ADVERSARIAL`.
      r1_gamma: γ of ½γ·‖∇D(real)‖²; 0 switches R1 off.
      r1_every_steps: R1, R2 and WGAN-GP's penalty in every so many-th step, with as many times the
        weight.
      r2_gamma: γ of ½γ·‖∇D(fake)‖²; 0 switches R2 off.
      gp_weight: λ of λ·(‖∇D‖ - 1)² between reals and fakes, WGAN-GP's; 0 switches it off.
      weight_clip: bound on the discriminator's parameters, as WGAN has it; 0 for none.
      least_squares: the labels (a, b, c) of "least_squares": D's for fakes, D's for reals, G's.
      mask_weight: of the mean of VGAN's mask, which keeps the foreground small; 0 for none.
      l1_weight: of the mean absolute difference from the real example; 0 for none.
      vgg_weight: of the difference between VGG19's features of both, frame by frame; 0 for none.
      vgg_weights: folder of VGG19's weights, as `python -m vidgan_jax.convert vgg19` writes it.
      feature_weight: of the difference between the discriminator's features of both (feature
        matching); 0 for none.
      kl_weight: of the divergence of the encoder's latents from normal ones; 0 for none.
    """

    adversarial: str
    r1_gamma: float
    r1_every_steps: int
    r2_gamma: float = 0.0
    gp_weight: float = 0.0
    weight_clip: float = 0.0
    least_squares: tuple[float, ...] = (-1.0, 1.0, 0.0)
    mask_weight: float = 0.0
    l1_weight: float = 0.0
    vgg_weight: float = 0.0
    vgg_weights: str = ""
    feature_weight: float = 0.0
    kl_weight: float = 0.0

    @property
    def penalises_gradient(self) -> bool:
        """Whether a term needs the discriminator's gradient at single examples."""
        return bool(self.r1_gamma or self.r2_gamma or self.gp_weight)


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """One player's optimiser.

    Attributes:
      name: a key of `OPTIMIZERS`.
      learning_rate: at the start.
      decay: RMSProp's running average of squares.
      beta1: Adam's.
      beta2: Adam's.
      eps: added to the root.
      decay_from: share of training after which the rate falls linearly to 0; 1 for never.
    """

    name: str
    learning_rate: float
    decay: float
    beta1: float
    beta2: float
    eps: float
    decay_from: float


@dataclasses.dataclass(frozen=True)
class InitConfig:
    """Where training starts from.

    Attributes:
      path: workdir or checkpoint with trained weights: of the same networks, or of their 2D
        versions, which are then inflated; empty for a random start.
      profile: of inflation over time, a name of `vidgan_jax.inflation.PROFILES`.
      temporal_noise: of inflation, see `vidgan_jax.inflation.inflate_params`.
      mode: of inflation: "exact", or "thesis" for its formula, which spectral norm throws off.
      opt_state: carry the optimisers' moments over, too; they start fresh otherwise.
    """

    path: str
    profile: str
    temporal_noise: float = 0.0
    mode: str = "exact"
    opt_state: bool = False


@dataclasses.dataclass(frozen=True)
class Config:
    """All sections; `name` is the run's, and of its default workdir."""

    name: str
    model: ModelConfig
    data: DataConfig
    loss: LossConfig
    gen_optimizer: OptimizerConfig
    disc_optimizer: OptimizerConfig
    train: TrainConfig
    init: InitConfig
    mesh: MeshConfig = MESH
    faults: FaultsConfig = FAULTS
    watch: WatchConfig = WATCH


DTYPES = ("float32", "bfloat16")
_DONT_CARE = 255
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(ModelConfig)}
# Fields that one family of networks has a meaning for.
_FIELDS_OF_FAMILIES = {
    "resnet": ("layout", "num_classes", "embed_dim"),
    "spade": (
        "num_labels",
        "dont_care_channel",
        "instance_edges",
        "base_size",
        "middle_blocks",
        "middle_upsampling",
        "start",
        "label_features",
        "encoder",
        "encoder_size",
        "encoder_time_stages",
        "disc_features",
        "disc_layers",
        "disc_scales",
        "disc_last_stride",
        "disc_padding",
    ),
}


def parse(raw: Mapping[str, Any], choices: Mapping[str, Collection[str]]) -> Config:
    """Makes a checked `Config` of nested mappings.

    Args:
      raw: sections as `configs/` composes them.
      choices: the names that a field may have, by the field's path ("model.name").

    Raises:
      ValueError: an unknown, missing, mistyped or impossible field; the message names it.
    """
    if "segmenter" in raw:
        raise ValueError(
            "the config describes a segmenter (it has the section config.segmenter), not a GAN; "
            "`python -m vidgan_jax.main` trains it, and nothing else takes it"
        )
    config: Config = make_section(Config, raw, "config")
    _check(config)
    for path, names in choices.items():
        section, name = path.split(".")
        value = getattr(getattr(config, section), name)
        if value not in names:
            raise ValueError(f"config.{path} (={value!r}) must be one of {', '.join(names)}")
    return config


def _check(config: Config) -> None:
    """Rules that a field's type does not state."""
    model, data, train = config.model, config.data, config.train
    at_least(1, model, "model", "z_dim", "features", "max_features")
    at_least(0, model, "model", "num_frames", "init_scale")
    _check_networks(model)
    at_least(1, data, "data", "stride", "num_threads", "num_scene_videos", "num_scene_clips")
    at_least(0, data, "data", "start_frames", "num_workers")
    if not 0 <= data.dont_care <= _DONT_CARE:
        raise ValueError(f"config.data.dont_care (={data.dont_care}) must be an id from 0 to 255")
    penalties = ("r1_gamma", "r2_gamma", "gp_weight")
    matching = ("l1_weight", "vgg_weight", "feature_weight", "kl_weight")
    at_least(0, config.loss, "loss", *penalties, *matching, "weight_clip", "mask_weight")
    if len(config.loss.least_squares) != 3:
        raise ValueError(
            f"config.loss.least_squares (={config.loss.least_squares}) must be three labels (a, b, "
            "c): D's for fakes, D's for reals, G's for fakes"
        )
    if model.disc_batch_norm and config.loss.penalises_gradient:
        on = " and ".join(name for name in penalties if getattr(config.loss, name))
        raise ValueError(
            f"config.loss.{on} needs a discriminator that judges each example by itself; set "
            "config.model.disc_batch_norm=False"
        )
    at_least(1, config.loss, "loss", "r1_every_steps")
    at_least(0, config.init, "init", "temporal_noise")
    at_least(0, train, "train", "seed", "num_epochs", "num_steps")
    counts = ("batch_size", "num_disc_steps", "grad_accum_steps", "num_samples")
    every = ("log_every_steps", "sample_every_steps", "save_every_steps")
    at_least(1, train, "train", *counts, *every, "keep_checkpoints")
    for name in ("gen_optimizer", "disc_optimizer"):
        section: OptimizerConfig = getattr(config, name)
        at_least(0, section, name, "learning_rate", "eps")
        shares(section, name, "decay", "beta1", "beta2", "decay_from")
        if 1 in (section.beta1, section.beta2):
            raise ValueError(
                f"config.{name}.beta1 (={section.beta1}) and beta2 (={section.beta2}) must be "
                "below 1: Adam divides by their distance to it"
            )
    shares(train, "train", "ema_decay")
    check_run(config.mesh, config.faults, config.watch)
    if model.max_features < model.features:
        raise ValueError(
            f"config.model.max_features (={model.max_features}) must be at least "
            f"config.model.features (={model.features})"
        )
    if data.resize < model.size:
        raise ValueError(
            f"config.data.resize (={data.resize}) must be at least config.model.size "
            f"(={model.size}), which is cropped from it"
        )
    if train.seed >= 1 << 32:
        raise ValueError(f"config.train.seed (={train.seed}) must be below 2³², as JAX's keys are")
    if bool(train.num_steps) == bool(train.num_epochs):
        raise ValueError(
            f"give one of config.train.num_steps (={train.num_steps}) and num_epochs "
            f"(={train.num_epochs}), and 0 for the other"
        )


def _check_networks(model: ModelConfig) -> None:
    """Numbers of single families, and whether a field is of another family than the model's."""
    at_least(0, model, "model", "num_classes", "num_labels", "encoder_size", "disc_padding")
    at_least(1, model, "model", "base_size", "label_features", "disc_features", "disc_layers")
    at_least(1, model, "model", "disc_scales", "disc_last_stride")
    for name in ("gen_dtype", "disc_dtype"):
        value = getattr(model, name)
        if value not in DTYPES:
            raise ValueError(f"config.model.{name} (={value!r}) must be one of {', '.join(DTYPES)}")
    if model.num_labels > _DONT_CARE:
        raise ValueError(
            f"config.model.num_labels (={model.num_labels}) must be at most {_DONT_CARE}: ids are "
            "bytes, and 255 is for pixels of no class"
        )
    if model.middle_blocks not in (1, 2):
        raise ValueError(f"config.model.middle_blocks (={model.middle_blocks}) must be 1 or 2")
    if bool(model.num_classes) != bool(model.embed_dim) or model.embed_dim < 0:
        raise ValueError(
            f"config.model.embed_dim (={model.embed_dim}) must be above 0 where num_classes "
            f"(={model.num_classes}) is, and 0 where that is 0"
        )
    for family, names in _FIELDS_OF_FAMILIES.items():
        for name in names if family != model.name else ():
            value, default = getattr(model, name), _DEFAULTS[name]
            if value != default:
                raise ValueError(
                    f"config.model.{name} (={value!r}) is of the {family} networks, and "
                    f"config.model.name is {model.name!r}; leave it at {default!r}"
                )
