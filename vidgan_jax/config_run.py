"""Sections of a config that say how a run goes: its length, devices, faults, signs of collapse."""

import dataclasses

from vidgan_jax.schema import at_least, shares

REACTIONS = {
    "not_finite": ("stop", "rollback"),
    "damaged_records": ("stop", "skip"),
    "failed_saves": ("stop", "go_on"),
    "on_collapse": ("warn", "stop", "off"),
}


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The run.

    Attributes:
      seed: of parameters, latents and data order.
      batch_size: examples a step, over all devices of all processes.
      num_epochs: passes over the data (as many examples as there are clips); 0 where `num_steps`
        says it.
      num_steps: generator updates; 0 where `num_epochs` says it.
      num_disc_steps: discriminator updates for each, every one on a batch of its own.
      ema_decay: of the generator's average, a step.
      log_every_steps: between metrics.
      sample_every_steps: between pictures of the same latents.
      save_every_steps: between checkpoints; the last step is always saved.
      keep_checkpoints: newest ones to keep.
      num_samples: latents in those pictures.
      grad_accum_steps: equal parts of a batch that go through the networks one after the other,
        their gradients added up: a large batch in the memory of a small one. Batch norm sees the
        parts.
    """

    seed: int
    batch_size: int
    num_epochs: float
    num_steps: int
    num_disc_steps: int
    ema_decay: float
    log_every_steps: int
    sample_every_steps: int
    save_every_steps: int
    keep_checkpoints: int
    num_samples: int
    grad_accum_steps: int = 1


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """How the devices of all processes share the work: they are `data` × `fsdp`.

    All of them divide the batch among themselves.

    Attributes:
      data: groups of devices, each with the whole state; -1 for as many as the devices make.
      fsdp: devices of a group, which share its large parameters, their averages and their
        optimisers' states (fully sharded data parallelism).
      min_shard_size: numbers in a parameter from which on it is shared.
    """

    data: int = -1
    fsdp: int = 1
    min_shard_size: int = 1 << 16


@dataclasses.dataclass(frozen=True)
class FaultsConfig:
    """What a run does where something breaks.

    Attributes:
      not_finite: a loss, a gradient or a weight that is not finite: "stop", or "rollback" to the
        last checkpoint and go on from there with other random numbers.
      max_rollbacks: as often, then stop. A run that is resumed counts on from what its checkpoint
        knows.
      damaged_records: a record that can't be used: "stop", or "skip" it, another example taking its
        place.
      max_skipped_records: different ones that a process may come across from its start on.
      failed_saves: a checkpoint, a sample or metrics that can't be written, of a full disk, say:
        "stop", or "go_on" and try again when the next one is due. The checkpoint that the run ends
        with must be saved in any case.
    """

    not_finite: str = "stop"
    max_rollbacks: int = 3
    damaged_records: str = "stop"
    max_skipped_records: int = 100
    failed_saves: str = "stop"


@dataclasses.dataclass(frozen=True)
class WatchConfig:
    """Signs of collapse, as the thesis saw it in its 3D ResNet GAN from scratch (section 4.4).

    Attributes:
      on_collapse: a limit that the mean over `patience_steps` has crossed (of a loss, the median):
        "warn", or "stop" after a save; "off" looks at nothing.
      every_steps: between looks at the generator's examples of the same latents.
      patience_steps: that these are taken over.
      max_gen_loss: of the generator's adversarial loss, but Wasserstein's, which has no zero. The
        thesis's networks were near 10; 7 is one fake in a thousand taken for real.
      max_disc_accuracy: share of logits on the right side, of reals and fakes; likewise.
      min_diversity: deviation between the latents' examples, mean over pixels; pixels are in
        [-1, 1].
      min_motion: difference between a clip's consecutive frames, mean over pixels.
      min_contrast: deviation within a frame, mean over its colours; a black frame has none, nor has
        a green one.
    """

    on_collapse: str = "warn"
    every_steps: int = 100
    patience_steps: int = 500
    max_gen_loss: float = 7.0
    max_disc_accuracy: float = 0.99
    min_diversity: float = 0.01
    min_motion: float = 0.0005
    min_contrast: float = 0.02


# Of configs from before there were these sections.
MESH, FAULTS, WATCH = MeshConfig(), FaultsConfig(), WatchConfig()


def check_run(mesh: MeshConfig, faults: FaultsConfig, watch: WatchConfig) -> None:
    """Rules that a field's type does not state.

    Raises:
      ValueError: an impossible field; the message names it.
    """
    if mesh.data != -1:
        at_least(1, mesh, "mesh", "data")
    at_least(1, mesh, "mesh", "fsdp", "min_shard_size")
    at_least(0, faults, "faults", "max_rollbacks", "max_skipped_records")
    at_least(1, watch, "watch", "every_steps", "patience_steps")
    for section, where in ((faults, "faults"), (watch, "watch")):
        for name, choices in REACTIONS.items():
            if getattr(section, name, choices[0]) not in choices:
                raise ValueError(
                    f"config.{where}.{name} (={getattr(section, name)!r}) must be one of "
                    f"{', '.join(choices)}"
                )
    shares(watch, "watch", "max_disc_accuracy")
    at_least(0, watch, "watch", "max_gen_loss", "min_diversity", "min_motion", "min_contrast")
