"""A GAN's training step in PyTorch, written plainly: what the package's own is measured against.

Source: the training loops of the public code of Mescheder, Geiger, Nowozin 2018, arXiv:1801.04406,
and Park, Liu, Wang, Zhu 2019, arXiv:1903.07291, with PyTorch's advice on speed: channels last, no
gradients where none are wanted, optimisers that go through all weights at once. Fakes are made once
for both updates, as in PyTorch's own example of DCGAN and in this package.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tests.reference_torch.derivatives import squared_slope
from tests.reference_torch.networks import build_networks
from tests.reference_torch.spade import one_hot
from vidgan_jax.config import Config, OptimizerConfig

Logits = Sequence[torch.Tensor]
"""One tensor, or one for each of the discriminator's scales."""

# Loss → (D's of reals, D's of fakes, G's), each of logits.
_SIDES: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], ...]] = {
    "logistic": (lambda x: F.softplus(-x), F.softplus, lambda x: F.softplus(-x)),
    "hinge": (lambda x: F.relu(1 - x), lambda x: F.relu(1 + x), torch.neg),
}

_LAYOUTS = {
    (nn.Conv2d, nn.ConvTranspose2d): torch.channels_last,
    (nn.Conv3d, nn.ConvTranspose3d): torch.channels_last_3d,
}


class TorchStep:
    """Both networks, what they minimise, and their updates.

    Args:
      config: checked, as `vidgan_jax.experiment.build` makes it. Rates are the ones at the start.
      device: "cpu", "cuda", ….
      compiled: `torch.compile` of both networks. Those passes through the discriminator that R1
        differentiates run without: PyTorch's compiler has no second derivatives.
      bf16: `torch.autocast` to bfloat16 in the networks.
      channels_last: memory layout of weights and data.
      networks: generator and discriminator; new ones by default.

    Attributes:
      generator: maps latents (and one-hot maps) to frames, channels last.
      discriminator: maps frames (and one-hot maps) to logits.
      average: of the generator.

    Raises:
      ValueError: networks or losses that are not here.
    """

    def __init__(
        self,
        config: Config,
        *,
        device: str = "cpu",
        compiled: bool = False,
        bf16: bool = False,
        channels_last: bool = True,
        networks: tuple[nn.Module, nn.Module] | None = None,
    ) -> None:
        check_losses(config)
        self.config, self.device, self.bf16 = config, torch.device(device), bf16
        self.generator, self.discriminator = (
            _laid_out(network.to(self.device).train(), channels_last)
            for network in networks or build_networks(config.model)
        )
        self.average = AveragedModel(
            self.generator,
            multi_avg_fn=get_ema_multi_avg_fn(config.train.ema_decay),
            use_buffers=True,
        )
        self.average.update_parameters(self.generator)  # The first one copies.
        self._generate: Any = self.generator
        self._judge: Any = self.discriminator
        if compiled:
            self._generate = torch.compile(self.generator)
            self._judge = torch.compile(self.discriminator)
        self.gen_optimizer = _optimizer(config.gen_optimizer, self.generator)
        self.disc_optimizer = _optimizer(config.disc_optimizer, self.discriminator)

    def __call__(
        self,
        frames: torch.Tensor,
        label_map: torch.Tensor | None,
        z: torch.Tensor,
        number: int,
    ) -> dict[str, float]:
        """One update of each network, on the same fakes, and one of the average.

        Args:
          frames: uint8 `[b, *axes, 3]` on the device.
          label_map: ids `[b, h, w]` on the device; None for networks without.
          z: latents `[b, z_dim]`.
          number: of the step, from 0: R1 is due in every `loss.r1_every_steps`-th.

        Returns:
          The terms' shares, by the names of `vidgan_jax.terms.objective`.
        """
        real = to_unit_range(frames, z.dtype)
        seg = self.one_hot(label_map)
        fake = self.generate(z, seg)
        metrics = self.disc_gradients(real, fake, seg, number)
        self.disc_optimizer.step()
        metrics |= self.gen_gradients(real, fake, seg)
        self.gen_optimizer.step()
        self.average.update_parameters(self.generator)
        return {name: float(value.detach()) for name, value in metrics.items()}

    def one_hot(self, label_map: torch.Tensor | None) -> torch.Tensor | None:
        """Ids `[b, h, w]` as the networks take them, `[b, h, w, n]`."""
        if label_map is None:
            return None
        model = self.config.model
        return one_hot(label_map, model.num_labels, model.dont_care_channel, model.instance_edges)

    def generate(self, z: torch.Tensor, seg: torch.Tensor | None) -> torch.Tensor:
        """Fakes in [-1, 1], `[b, *axes, 3]`, with what their gradient needs.

        Args:
          z: latents `[b, z_dim]`.
          seg: one-hot maps `[b, h, w, n]`, or None.
        """
        with self._autocast():
            fake: torch.Tensor = _given(self._generate, z, seg)
        return fake

    def disc_gradients(
        self, real: torch.Tensor, fake: torch.Tensor, seg: torch.Tensor | None, number: int
    ) -> dict[str, torch.Tensor]:
        """Leaves the gradients of the discriminator's loss at its parameters; returns the terms.

        Args:
          real: frames in [-1, 1], `[b, *axes, 3]`.
          fake: generated ones.
          seg: one-hot maps `[b, h, w, n]`, or None.
          number: of the step.
        """
        loss = self.config.loss
        of_real, of_fake, _ = _SIDES[loss.adversarial]
        self.disc_optimizer.zero_grad(set_to_none=True)
        fake, metrics = fake.detach(), {}
        with self._autocast():
            if seg is not None:
                # Its normalisation is each example's own, so both go through together.
                logits, _ = self._judge(torch.cat([fake, real]), torch.cat([seg, seg]))
                fake_logits, real_logits = zip(*(scale.chunk(2) for scale in logits), strict=True)
            elif loss.r1_gamma and number % loss.r1_every_steps == 0:
                real.requires_grad_()
                real_logits = (self.discriminator(real),)
                metrics["reg"] = loss.r1_gamma / 2 * squared_slope(real_logits[0], real).mean()
                fake_logits = (self._judge(fake),)
            else:
                real_logits, fake_logits = (self._judge(real),), (self._judge(fake),)
        metrics["D_real"] = _mean(of_real, real_logits)
        metrics["D_fake"] = _mean(of_fake, fake_logits)
        total = metrics["D_real"] + metrics["D_fake"]
        if "reg" in metrics:
            total = total + loss.r1_every_steps * metrics["reg"]
        total.backward()
        real.requires_grad_(False)
        return metrics | {"D": metrics["D_real"] + metrics["D_fake"]}

    def gen_gradients(
        self, real: torch.Tensor, fake: torch.Tensor, seg: torch.Tensor | None
    ) -> dict[str, torch.Tensor]:
        """Leaves the gradients of the generator's loss at its parameters; see `disc_gradients`."""
        loss = self.config.loss
        fool = _SIDES[loss.adversarial][2]
        self.gen_optimizer.zero_grad(set_to_none=True)
        self.discriminator.requires_grad_(False)
        with self._autocast():
            judged = _given(self._judge, fake, seg)
        metrics = {"G_fake": _mean(fool, (judged,) if seg is None else judged[0])}
        if loss.l1_weight:
            metrics["G_l1"] = loss.l1_weight * F.l1_loss(fake.to(real.dtype), real)
        total = torch.stack(list(metrics.values())).sum()
        total.backward()
        self.discriminator.requires_grad_(True)
        return metrics | {"G": total}

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)


def to_unit_range(frames: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """uint8 in [0, 255] to [-1, 1]."""
    return frames.to(dtype) / 127.5 - 1


def check_losses(config: Config) -> None:
    """Refuses terms and rules that this step lacks.

    Raises:
      ValueError: the field, its value, and what to set it to.
    """
    loss = config.loss
    if loss.adversarial not in _SIDES:
        raise ValueError(
            f"config.loss.adversarial (={loss.adversarial!r}) is not in the PyTorch step; "
            f"{', '.join(_SIDES)} are"
        )
    lacking = ("r2_gamma", "gp_weight", "weight_clip", "mask_weight", "vgg_weight")
    for name in (*lacking, "feature_weight", "kl_weight"):
        if getattr(loss, name):
            raise ValueError(
                f"config.loss.{name} (={getattr(loss, name)}) is not in the PyTorch step; set it "
                "to 0"
            )
    if config.train.num_disc_steps != 1:
        raise ValueError(
            f"config.train.num_disc_steps (={config.train.num_disc_steps}) must be 1: the PyTorch "
            "step updates both networks once"
        )


def _optimizer(config: OptimizerConfig, network: nn.Module) -> torch.optim.Optimizer:
    how: dict[str, Any] = {"lr": config.learning_rate, "eps": config.eps, "foreach": True}
    if config.name == "rmsprop":
        return torch.optim.RMSprop(network.parameters(), alpha=config.decay, **how)
    return torch.optim.Adam(network.parameters(), betas=(config.beta1, config.beta2), **how)


def _laid_out(network: nn.Module, channels_last: bool) -> nn.Module:
    """Weights of 2D and of 3D convolutions, each in its channels-last format."""
    if channels_last:
        for layer in network.modules():
            for kinds, layout in _LAYOUTS.items():
                if isinstance(layer, kinds):
                    layer.to(memory_format=layout)  # type: ignore[call-overload]
    return network


def _given(network: Any, x: torch.Tensor, seg: torch.Tensor | None) -> Any:
    return network(x) if seg is None else network(x, seg)


def _mean(side: Callable[[torch.Tensor], torch.Tensor], logits: Logits) -> torch.Tensor:
    """Over patches and examples, then over scales."""
    # In at least float32, where the networks are not.
    exact = [y.to(torch.promote_types(y.dtype, torch.float32)) for y in logits]
    return torch.stack([side(y).mean() for y in exact]).mean()
