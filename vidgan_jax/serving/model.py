"""A model of label maps, loaded, compiled and ready to draw from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vidgan_jax.data.labels import COLOURS, DONT_CARE, class_name
from vidgan_jax.experiment import Experiment
from vidgan_jax.preparation.example import squared
from vidgan_jax.serving.vocabulary import Vocabulary, vocabulary_of
from vidgan_jax.synthesis.latents import pick_latents
from vidgan_jax.synthesis.run import Synthesizer
from vidgan_jax.train import programs
from vidgan_jax.train.weights import Weights, experiment_of, load_weights

MAX_VARIATIONS = 6
MAX_SEED = 2**32 - 1
MAX_VARIATION = 2**31 - 1
TRUNCATIONS = (0.1, 4.0)


class StudioModel:
    """A generator of label maps, one example at a time.

    Threads may share it as long as one of them at a time calls `compile` or `generate`.

    Attributes:
      description: what the page is to know of the model, as JSON takes it.
      examples: names and maps to start from, uint8 `[size, size]`.
      said: where labels and examples are from, in words.

    Args:
      exp: the experiment that the weights are of.
      weights: trained ones.
      vocabulary: what the model knows.
      averaged: use the averaged parameters.

    Raises:
      ValueError: the model takes no label maps.
    """

    def __init__(
        self, exp: Experiment, weights: Weights, vocabulary: Vocabulary, *, averaged: bool = True
    ) -> None:
        _check_takes_maps(exp, weights)
        self.description: Mapping[str, Any] = _describe(exp, weights, vocabulary)
        self.examples: Sequence[tuple[str, np.ndarray]] = vocabulary.examples
        self.said = vocabulary.said
        self._model = exp.config.model
        self._is_known = np.zeros(256, bool)
        self._is_known[[*vocabulary.labels, DONT_CARE]] = True
        self._run = Synthesizer(exp, weights, batch_size=1, averaged=averaged)

    @classmethod
    def load(cls, checkpoint: Path, *, averaged: bool = True) -> "StudioModel":
        """Reads a model; compiles nothing.

        Args:
          checkpoint: a workdir (its newest checkpoint) or one checkpoint.
          averaged: use the averaged parameters.

        Raises:
          CheckpointError: there is none, or it is damaged.
          ValueError: the model takes no label maps, or its data set is damaged.
        """
        weights = load_weights(checkpoint)
        exp = experiment_of(weights)
        _check_takes_maps(exp, weights)
        return cls(exp, weights, vocabulary_of(weights, exp), averaged=averaged)

    def compile(self) -> None:
        """Compiles all that `generate` runs, or finds it in the user's cache of programs.

        Afterwards no call compiles anything: neither with a style nor with a truncation, if these
        are the first.
        """
        size = self._model.size
        blank = np.full((size, size), DONT_CARE, np.uint8)
        grey = np.full((size, size, 3), 128, np.uint8)
        with programs.kept_for_user():
            self.generate(blank, seed=0)
            self.generate(blank, seed=0, truncation=1.0)
            if self._model.encoder:
                self.generate(blank, seed=0, style=grey)

    def generate(
        self,
        label_map: np.ndarray,
        *,
        seed: int,
        variation: int = 0,
        truncation: float | None = None,
        style: np.ndarray | None = None,
    ) -> np.ndarray:
        """Generates an example of a label map: the same bits for the same input.

        Args:
          label_map: uint8 `[size, size]`, ids that `description` lists, or 255 for "don't care".
          seed: of the latents, 0 to 2³² - 1.
          variation: number of the seed's latent, 0 to 2³¹ - 1.
          truncation: bound on the latent's components, in σ, 0.1 to 4; None for none.
          style: picture to draw the latent around, uint8 RGB `[h, w, 3]` of any size, of which the
            square in the middle counts; of models with an encoder.

        Returns:
          uint8 `[t, size, size, 3]`; t is 1 of images.

        Raises:
          ValueError: an argument is not as it must be; the message names it.
        """
        self._check_map(label_map)
        _check_range("seed", seed, 0, MAX_SEED)
        _check_range("variation", variation, 0, MAX_VARIATION)
        if truncation is not None:
            _check_range("truncation", truncation, *TRUNCATIONS)
        styles = None if style is None else self._styles(style)
        latents = pick_latents(seed, [variation], self._model.z_dim, truncation)
        (made,) = self._run(latents, label_map[None], styles)
        return made if self._model.num_frames else made[None]

    def unknown_labels(self, label_map: np.ndarray) -> list[int]:
        """The ids in a map, uint8 of any shape, that the model does not know, ascending."""
        return [int(i) for i in np.unique(label_map) if not self._is_known[i]]

    def _check_map(self, label_map: np.ndarray) -> None:
        size = self._model.size
        if label_map.dtype != np.uint8 or label_map.shape != (size, size):
            raise ValueError(
                f"label_map {label_map.dtype} {list(label_map.shape)} must be uint8 {[size, size]}"
            )
        if unknown := self.unknown_labels(label_map):
            said = ", ".join(f"{i} ({class_name(i)})" for i in unknown)
            raise ValueError(
                f"label_map has labels unknown to this model: {said}; paint with those that "
                "it has learned"
            )

    def _styles(self, style: np.ndarray) -> np.ndarray:
        """One example out of a picture: uint8 `[1, size, size, 3]` or `[1, t, size, size, 3]`."""
        if not self._model.encoder:
            raise ValueError(
                "style: this model has no encoder to take it (config.model.encoder is False); "
                "leave it out"
            )
        if style.dtype != np.uint8 or style.ndim != 3 or style.shape[-1] != 3 or not style.size:
            raise ValueError(f"style {style.dtype} {list(style.shape)} must be uint8 [h, w, 3]")
        still = squared(style, self._model.size)
        frames = self._model.num_frames
        return np.stack([still] * frames)[None] if frames else still[None]


def _check_takes_maps(exp: Experiment, weights: Weights) -> None:
    if not exp.config.model.num_labels:
        raise ValueError(
            f"{weights.path}: this model takes no label maps (config.model.name is "
            f"{exp.config.model.name!r}), so there is nothing to draw for it; give a SPADE model's "
            "checkpoint"
        )


def _check_range(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ValueError(f"{name} (={value}) must be from {least} to {most}")


def _describe(exp: Experiment, weights: Weights, vocabulary: Vocabulary) -> dict[str, Any]:
    model = exp.config.model
    has_latents = model.start == "dense"
    labels = [
        {"id": i, "name": class_name(i), "colour": "#" + COLOURS[i].tobytes().hex()}
        for i in vocabulary.labels
    ]
    return {
        "name": exp.config.name,
        "step": weights.step,
        "size": model.size,
        "num_frames": model.num_frames,
        "fps": float(weights.meta["fps"]),
        "z_dim": model.z_dim if has_latents else 0,
        "num_labels": model.num_labels,
        "labels": labels,
        "default_label": vocabulary.labels[0],
        "has_style": model.encoder,
        "max_variations": MAX_VARIATIONS if has_latents else 1,
    }
