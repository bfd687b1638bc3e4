"""Pictures of the averaged generator while it trains."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from vidgan_jax import files
from vidgan_jax.data import media
from vidgan_jax.data.clips import evaluation_loader
from vidgan_jax.data.collection import Clips
from vidgan_jax.data.labels import colorize
from vidgan_jax.experiment import Experiment
from vidgan_jax.train import sharding
from vidgan_jax.train.passes import forward, to_uint8
from vidgan_jax.train.state import GanState
from vidgan_jax.types import ClipSpec

SAMPLES = "samples"


class Sampler:
    """Pictures of the averaged generator at the same latents, at any step.

    Of networks that take label maps, each beside its map: the split's first ones, their centres.

    Attributes:
      inputs: what the generator takes for them: latents, and label maps where it takes any.
    """

    def __init__(
        self,
        experiment: Experiment,
        mesh: Mesh,
        workdir: Path,
        *,
        fps: float,
        source: Clips,
    ) -> None:
        self._folder, self._fps = workdir / SAMPLES, fps
        if jax.process_index() == 0:
            files.remove_temporaries(self._folder)
        train = experiment.config.train
        key = jax.random.fold_in(jax.random.key(train.seed), 0x5A3B1E)
        latents = jax.random.normal(key, (train.num_samples, experiment.config.model.z_dim))
        everywhere = sharding.replicated(mesh)
        self._label_maps: np.ndarray | None = None
        inputs: tuple[Any, ...] = (latents,)
        if experiment.clip_spec.label_maps:
            self._label_maps = _first_label_maps(source, experiment.clip_spec, train.num_samples)
            inputs = (latents, self._label_maps)
        self.inputs = inputs

        def sample(variables: Any) -> jax.Array:
            # Parameters that devices share are gathered: nothing else need move between them.
            whole = jax.lax.with_sharding_constraint(variables, everywhere)
            return to_uint8(forward(experiment.generator, whole, *inputs))

        self._sample = jax.jit(sample, out_shardings=everywhere)

    def write(self, state: GanState, step: int) -> None:
        """Writes `samples/STEP.png`, and `.mp4` for clips; every process must call it."""
        examples = jax.device_get(self._sample(state.ema_variables))
        if jax.process_index() != 0:
            return
        if self._label_maps is not None:
            maps = colorize(self._label_maps)
            if examples.ndim == 5:
                maps = np.broadcast_to(maps[:, None], examples.shape)
            examples = np.concatenate([maps, examples], axis=-2)
        examples = media.enlarge(examples)
        path = self._folder / f"{step:08d}.png"
        if examples.ndim == 4:
            media.write_png(path, media.tile_images(examples))
            return
        media.write_png(path, media.filmstrips(examples))
        loops = max(1, round(4 * self._fps / examples.shape[1]))  # about 4 s to look at
        grid = media.tile_images(examples)
        media.write_mp4(path.with_suffix(".mp4"), grid, fps=self._fps, loops=loops)


def _first_label_maps(source: Clips, spec: ClipSpec, num: int) -> np.ndarray:
    """The split's first `num` maps, `[num, h, w]`; again from the first where there are fewer."""
    with evaluation_loader(source, spec, batch_size=num, num_threads=0) as loader:
        found = np.asarray(next(loader).label_map)
    return np.resize(found, (num, *found.shape[1:]))
