"""A small segmenter, trained on a data set's own label maps: does a frame show what its map says?

It knows the classes that the data set has, and nothing of other data. How well it does on real
frames is what generated ones are to be compared with; those that are plainer than real ones, being
trained for the very maps, may come out above.

On the embedded scenes (96×2 of 80 pixels, crops of 64) it is right in 95 % of the pixels of new
scenes; two thirds of the others lie at the edges of classes.
"""

import dataclasses
import functools
import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vidgan_jax import files
from vidgan_jax.data.clips import evaluation_loader, training_loader
from vidgan_jax.data.labels import DONT_CARE, check_num_labels
from vidgan_jax.data.records import ClipSource
from vidgan_jax.models.unet import UNet, check_halvings, most_levels
from vidgan_jax.progress import ProgressReport
from vidgan_jax.types import BATCH_STATS, ClipSpec

# Enters the cache's names: another network or training makes other segmenters.
VERSION = 1

_FEATURES = (24, 48, 64, 96)
_PEAK_RATE = 5e-3
_WARM_UP = 0.1
_WEIGHT_DECAY = 1e-4
_UNLABELLED = -1
_META = "meta"
_READ_BATCH = 32


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a segmenter is trained.

    Attributes:
      size: height and width that frames are cropped to, pixels.
      resize: height and width that they are resized to before.
      num_labels: classes of the label maps, ids 0 to `num_labels` - 1, at most 255.
      dont_care: the id of pixels of no class, beside 255.
      num_steps: updates.
      batch_size: frames of an update.
      seed: of parameters and data order.
    """

    size: int
    resize: int
    num_labels: int
    dont_care: int = DONT_CARE
    num_steps: int = 400
    batch_size: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("size", "num_steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} (={getattr(self, name)}) must be at least 1")
        check_num_labels(self.num_labels)


@dataclasses.dataclass(frozen=True)
class Segmenter:
    """A trained U-Net that says each pixel's class.

    Attributes:
      classes: ids that it knows, ascending; a pixel is always given one of them.
      features: channels of its levels, see `UNet`.
      variables: the network's, float32; kernels are rounded to half precision, as `save` stores
        them, so that a loaded segmenter says what the trained one did.
    """

    classes: tuple[int, ...]
    features: tuple[int, ...]
    variables: Mapping[str, Any]

    @property
    def num_params(self) -> int:
        """Trained numbers."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.variables["params"]))

    def __call__(
        self, frames: np.ndarray, *, batch_size: int = 32, progress: bool = False
    ) -> np.ndarray:
        """Segments frames.

        Args:
          frames: uint8 `[..., h, w, 3]`, images or clips of any number of axes; h and w can be
            halved for all levels. It does best at the size that it was trained at.
          batch_size: frames at once.
          progress: report on stderr.

        Returns:
          uint8 `[..., h, w]`, class ids.

        Raises:
          ValueError: another dtype or shape.
        """
        if frames.dtype != np.uint8 or frames.ndim < 3 or frames.shape[-1] != 3:
            raise ValueError(
                f"frames must be uint8 [..., h, w, 3]; got {frames.dtype} {list(frames.shape)}"
            )
        flat = frames.reshape(-1, *frames.shape[-3:])
        check_halvings(flat.shape, len(self.features))
        network = UNet(len(self.classes), self.features)
        variables = jax.device_put(self.variables)
        found = np.empty(flat.shape[:-1], np.uint8)
        with ProgressReport("segmenting", total=len(flat), shown=progress) as report:
            for start in range(0, len(flat), batch_size):
                part = flat[start : start + batch_size]
                done = start + len(part)
                # Filled up, so that nothing is compiled twice.
                filled = np.resize(part, (min(batch_size, len(flat)), *flat.shape[1:]))
                found[start:done] = _predict(network, variables, filled)[: len(part)]
                report.update(done, f"{done} of {len(flat)} frames")
        return np.asarray(self.classes, np.uint8)[found].reshape(frames.shape[:-1])


def train_segmenter(source: ClipSource, settings: Settings, *, progress: bool = True) -> Segmenter:
    """Trains a segmenter on the frames and label maps of a split.

    Single frames, cropped and flipped as GANs' training does it; Adam with decoupled weight decay
    on the cross-entropy of the labelled pixels, with a rate that rises, then falls to 0.

    Args:
      source: the clips; those without a label map are left out.
      settings: of the training; the same ones give the same segmenter.
      progress: report on stderr.

    Raises:
      ValueError: no clip has a label map, or an id of the data set is none of the classes.
      FloatingPointError: the training diverged.
    """
    size, num_steps = settings.size, settings.num_steps
    classes = known_classes(source, settings.num_labels, settings.dont_care)
    features = _FEATURES[: min(len(_FEATURES), most_levels(size))]
    network = UNet(len(classes), features)
    spec = ClipSpec(
        num_frames=0,
        stride=1,
        size=size,
        resize=settings.resize,
        label_maps=True,
        num_labels=settings.num_labels,
        dont_care=settings.dont_care,
    )
    targets = _target_table(classes)
    variables = jax.jit(network.init)(jax.random.key(settings.seed), jnp.zeros((1, size, size, 3)))
    optimizer = _optimizer(num_steps)
    state = _State(variables["params"], variables[BATCH_STATS], optimizer.init(variables["params"]))
    step = jax.jit(functools.partial(_step, network, optimizer), donate_argnums=0)
    with (
        training_loader(source, spec, batch_size=settings.batch_size, seed=settings.seed) as loader,
        ProgressReport("training the segmenter", total=num_steps, shown=progress) as report,
    ):
        for number in range(1, num_steps + 1):
            batch = next(loader)
            state, loss = step(state, batch.frames, targets[np.asarray(batch.label_map)])
            if number % 10 == 0 or number == num_steps:
                note = f"step {number} of {num_steps}, loss {float(loss):.3f}"
                report.update(number, note, last=number == num_steps)
    if not np.isfinite(float(loss)):
        raise FloatingPointError(f"the segmenter's loss is {float(loss)} after {num_steps} steps")
    trained = {"params": jax.tree.map(_rounded, state.params), BATCH_STATS: state.batch_stats}
    return Segmenter(classes, features, jax.device_get(trained))


def known_classes(
    source: ClipSource, num_labels: int, dont_care: int = DONT_CARE
) -> tuple[int, ...]:
    """The ids that a data set's label maps have, ascending, without those of no class.

    Raises:
      ValueError: an id is none of the classes, or there is no id.
    """
    classes = tuple(i for i in source.info.label_ids if i not in (dont_care, DONT_CARE))
    if not classes:
        raise ValueError(
            "the data set has no label maps, or none with a class; prepare it with label maps "
            "(`python -m vidgan_jax.prepare scenes` makes them)"
        )
    if classes[-1] >= num_labels:
        raise ValueError(
            f"the data set's label maps hold the id {classes[-1]}, but num_labels (={num_labels}) "
            f"allows 0 to {num_labels - 1}; give another data set, or dont_care where that id is "
            "no class"
        )
    return classes


def cached_segmenter(source: ClipSource, settings: Settings, *, progress: bool = True) -> Segmenter:
    """`train_segmenter`, once: later calls load what the first one has trained.

    Args:
      source: the clips; what counts is what they hold, not where they lie.
      settings: of the training.
      progress: report on stderr.

    Raises:
      ValueError: as `train_segmenter`, or the cached file is damaged.
      FloatingPointError: the training diverged.
    """
    path = cache_path(source, settings)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)  # or it fails here, before the work
        save(train_segmenter(source, settings, progress=progress), path)
    return load(path)


def cache_path(source: ClipSource, settings: Settings) -> Path:
    """Where `cached_segmenter` keeps one: below `$XDG_CACHE_HOME/vidgan_jax` or `~/.cache/…`."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    data = {"version": VERSION, "data": source.info.checksum, "split": source.split}
    made_of = json.dumps(data | dataclasses.asdict(settings), sort_keys=True)
    digest = hashlib.sha256(made_of.encode()).hexdigest()
    return cache / "vidgan_jax" / "segmenters" / f"{digest[:24]}.npz"


def read_labelled(source: ClipSource, spec: ClipSpec, *, num: int) -> tuple[np.ndarray, np.ndarray]:
    """The first clips of a split that have a label map, with it; centre crops, not flipped.

    Args:
      source: the clips.
      spec: how to cut them, `label_maps` on.
      num: examples at most.

    Returns:
      `(frames, label_maps)`: uint8 `[n, h, w, 3]` or clips `[n, t, h, w, 3]`, and uint8
      `[n, h, w]`; n is `num`, or as many as there are.

    Raises:
      ValueError: no clip has a label map and the frames that `spec` wants.
    """
    frames, label_maps, count = [], [], 0
    with evaluation_loader(source, spec, batch_size=min(num, _READ_BATCH)) as loader:
        while count < min(num, loader.num_clips):
            batch = next(loader)
            frames.append(np.asarray(batch.frames))
            label_maps.append(np.asarray(batch.label_map))
            count += len(frames[-1])
    return np.concatenate(frames)[:num], np.concatenate(label_maps)[:num]


def save(segmenter: Segmenter, path: str | os.PathLike[str]) -> None:
    """Writes a segmenter as one NPZ file, whole or not at all; kernels in half precision."""
    meta = {"classes": segmenter.classes, "features": segmenter.features, "version": VERSION}
    arrays: dict[str, Any] = {_META: np.array(json.dumps(meta))}
    for keys, leaf in jax.tree_util.tree_leaves_with_path(segmenter.variables):
        stored = np.float16 if leaf.ndim > 1 else np.float32
        arrays["/".join(key.key for key in keys)] = np.asarray(leaf, stored)
    with files.atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def load(path: str | os.PathLike[str]) -> Segmenter:
    """Reads a segmenter that `save` wrote.

    Raises:
      ValueError: the file is none, or damaged.
      OSError: it can't be read.
    """
    try:
        # Opened here: NumPy leaves a damaged file open.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            meta = json.loads(str(stored[_META]))
            variables: dict[str, Any] = {}
            for name in stored.files:
                if name != _META:
                    *parents, leaf = name.split("/")
                    place = functools.reduce(
                        lambda d, key: d.setdefault(key, {}), parents, variables
                    )
                    place[leaf] = stored[name].astype(np.float32)
        if meta["version"] != VERSION:
            raise ValueError(f"of version {meta['version']}, not {VERSION}")
        return Segmenter(tuple(meta["classes"]), tuple(meta["features"]), variables)
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path}: no segmenter, or damaged ({error}); remove it, it will be trained again"
        ) from error


class _State(NamedTuple):
    params: Any
    batch_stats: Any
    opt_state: Any


def _optimizer(num_steps: int) -> optax.GradientTransformation:
    rate = optax.warmup_cosine_decay_schedule(
        0.0, _PEAK_RATE, max(1, round(_WARM_UP * num_steps)), max(2, num_steps)
    )
    return optax.adamw(rate, weight_decay=_WEIGHT_DECAY)


def _step(
    network: UNet,
    optimizer: optax.GradientTransformation,
    state: _State,
    frames: jax.Array,
    targets: jax.Array,
) -> tuple[_State, jax.Array]:
    """One update; frames are uint8 `[b, h, w, 3]`, targets int32 `[b, h, w]` or `_UNLABELLED`."""

    def loss(params: Any) -> tuple[jax.Array, Any]:
        variables = {"params": params, BATCH_STATS: state.batch_stats}
        logits, changed = network.apply(variables, _to_unit_range(frames), mutable=[BATCH_STATS])
        labelled = targets != _UNLABELLED
        entropies = optax.softmax_cross_entropy_with_integer_labels(
            logits, jnp.where(labelled, targets, 0)
        )
        mean = jnp.sum(entropies * labelled) / jnp.maximum(jnp.sum(labelled), 1)
        return mean, changed[BATCH_STATS]

    (value, batch_stats), grads = jax.value_and_grad(loss, has_aux=True)(state.params)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    return _State(optax.apply_updates(state.params, updates), batch_stats, opt_state), value


@functools.partial(jax.jit, static_argnums=0)
def _predict(network: UNet, variables: Any, frames: jax.Array) -> jax.Array:
    """uint8 `[b, h, w, 3]` → uint8 `[b, h, w]`, indices of classes."""
    logits: Any = network.apply(variables, _to_unit_range(frames))
    return jnp.argmax(logits, axis=-1).astype(jnp.uint8)


def _to_unit_range(frames: jax.Array) -> jax.Array:
    return frames.astype(jnp.float32) / 127.5 - 1.0


def _target_table(classes: tuple[int, ...]) -> np.ndarray:
    """int32 `[256]`: id → index into `classes`, `_UNLABELLED` for all others."""
    table = np.full(256, _UNLABELLED, np.int32)
    table[list(classes)] = np.arange(len(classes))
    return table


def _rounded(leaf: jax.Array) -> jax.Array:
    """A kernel as half precision has it; biases and scales as they are."""
    return leaf.astype(jnp.float16).astype(jnp.float32) if leaf.ndim > 1 else leaf
