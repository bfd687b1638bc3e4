"""Segmenters in ONNX files, from whatever framework; the extra `onnx` runs them.

What a file itself can't tell (how frames are scaled, which classes its channels are) stands beside
it, in FILE.json, see `onnx_options`.
"""

import dataclasses
import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vidgan_jax import files
from vidgan_jax.data.labels import MAX_LABELS
from vidgan_jax.layers.resize import resize_bilinear
from vidgan_jax.progress import ProgressReport
from vidgan_jax.segmentation.ade20k import resize_frames
from vidgan_jax.segmentation.interface import flat_frames
from vidgan_jax.segmentation.onnx_options import IDS, LAYOUTS, LOGITS, OnnxOptions, read_options

# Enters `identity`: a change here makes other label maps.
_VERSION = 1
_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
_INPUTS = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}
_FLOATS = ("tensor(float)", "tensor(float16)", "tensor(double)")


@dataclasses.dataclass(frozen=True)
class OnnxSegmenter:
    """A network in an ONNX file.

    Attributes:
      name: of the file, for errors.
      session: onnxruntime's.
      options: how it is used; input, output, `gives` and `scale` are filled in.
      table: the class of each of the network's ids; -1 for what is no class.
      dtype: of its input.
      fixed: batch, height and width that it takes; 0 where it takes any.
      identity: a digest of the file and the options.
    """

    name: str
    session: Any
    options: OnnxOptions
    table: tuple[int, ...]
    dtype: Any
    fixed: tuple[int, int, int]
    identity: str

    @property
    def classes(self) -> tuple[int, ...]:
        """Ids that it may give, ascending."""
        return tuple(sorted({i for i in self.table if i >= 0}))

    def __call__(
        self, frames: np.ndarray, *, batch_size: int = 8, progress: bool = False
    ) -> np.ndarray:
        """Segments frames.

        Args:
          frames: uint8 RGB `[..., h, w, 3]`.
          batch_size: frames at once, where the network does not say so itself.
          progress: report on stderr.

        Returns:
          uint8 `[..., h, w]`, class ids.

        Raises:
          ValueError: another dtype or shape; frames of a size that the network does not take; it
            fails, or gives something else than it should.
        """
        flat = flat_frames(frames, batch_size)
        self._check_size(flat.shape[1], flat.shape[2])
        found = np.empty(flat.shape[:-1], np.uint8)
        at_once = self.fixed[0] or min(batch_size, max(1, len(flat)))
        with ProgressReport("segmenting", total=len(flat), shown=progress) as report:
            for start in range(0, len(flat), at_once):
                part = flat[start : start + at_once]
                # Filled up: a frame's map doesn't depend on how many frames there are.
                seen = self._segment(np.resize(part, (at_once, *flat.shape[1:])))
                done = start + len(part)
                found[start:done] = seen[: len(part)]
                report.update(done, f"{done} of {len(flat)} frames")
        return found.reshape(frames.shape[:-1])

    def _segment(self, frames: np.ndarray) -> np.ndarray:
        options, height, width = self.options, *frames.shape[1:3]
        given = {options.input: self._prepared(frames)}
        try:
            output = np.asarray(self.session.run([options.output], given)[0])
        except Exception as error:  # onnxruntime's own, which have no base
            raise ValueError(
                f"{self.name} fails on {len(frames)} frames of {height}x{width}: "
                f"{_first_line(error)}; a network that wants another size gets `size`"
            ) from error
        if options.gives == IDS:
            return self._classes_of(output, len(frames), height, width)
        logits = np.moveaxis(output, LAYOUTS[options.layout], -1) if output.ndim == 4 else output
        if logits.ndim != 4 or (len(logits), logits.shape[-1]) != (len(frames), len(self.table)):
            raise ValueError(
                f"{self.name} gives {list(output.shape)} for {len(frames)} frames, and not logits "
                f"of {len(self.table)} classes, {options.layout}; see layout and num_classes"
            )
        if not np.isfinite(logits).all():
            raise ValueError(f"{self.name} gives logits that are not finite")
        kept = tuple(i for i, label in enumerate(self.table) if label >= 0)
        best = _best(logits.astype(np.float32), (height, width), kept)
        return np.asarray(self.table, np.int64)[list(kept)][np.asarray(best)].astype(np.uint8)

    def _prepared(self, frames: np.ndarray) -> np.ndarray:
        """The network's input of uint8 frames `[b, h, w, 3]`."""
        options = self.options
        pixels: np.ndarray = frames
        if options.size is not None and options.size != frames.shape[1:3]:
            pixels = np.asarray(_resized(frames, options.size))
        if options.channels == "BGR":
            pixels = pixels[..., ::-1]
        if self.dtype != np.uint8:
            mean, std = (np.asarray(n, np.float32) for n in (options.mean, options.std))
            pixels = (pixels.astype(np.float32) * np.float32(options.scale or 1) - mean) / std
        pixels = np.moveaxis(pixels, -1, LAYOUTS[options.layout])
        return np.ascontiguousarray(pixels, self.dtype)

    def _classes_of(self, output: np.ndarray, num: int, height: int, width: int) -> np.ndarray:
        """Class ids `[b, h, w]` of the network's ids."""
        channels = LAYOUTS[self.options.layout]
        ids = output.squeeze(channels) if output.ndim == 4 and output.shape[channels] == 1 else None
        ids = output if output.ndim == 3 else ids
        size = self.options.size or (height, width)
        if ids is None or ids.shape != (num, *size) or not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(
                f"{self.name} gives {output.dtype} {list(output.shape)} for {num} frames of "
                f"{size[0]}x{size[1]}, and not an integer id for each pixel"
            )
        wrong = (ids < 0) | (ids >= len(self.table))
        wrong = wrong | (np.asarray(self.table)[np.where(wrong, 0, ids)] < 0)
        if wrong.any():
            raise ValueError(
                f"{self.name} gives the id {ids[wrong][0]}, which is none of its classes (see "
                "classes, num_classes and label_offset); where it is no class, export logits, "
                "among which only those of classes are compared"
            )
        rows, columns = (
            (2 * np.arange(wanted) + 1) * had // (2 * wanted)
            for wanted, had in zip((height, width), size, strict=True)
        )
        return np.asarray(self.table, np.uint8)[ids][:, rows[:, None], columns]

    def _check_size(self, height: int, width: int) -> None:
        if self.options.size is not None:
            return
        for name, taken, given in zip(
            ("high", "wide"), self.fixed[1:], (height, width), strict=True
        ):
            if taken and taken != given:
                raise ValueError(
                    f"{self.name} takes frames {taken} pixels {name}, not {given}; have them "
                    f'resized by "size": [{self.fixed[1]}, {self.fixed[2]}] in its .json'
                )


def load(path: str | os.PathLike[str], options: OnnxOptions | None = None) -> OnnxSegmenter:
    """Reads a segmenter from an ONNX file.

    Args:
      path: FILE.onnx, weights within.
      options: how it is used; None for those in FILE.json, or the defaults where there is none.

    Raises:
      ValueError: onnxruntime is not installed, the file is none or damaged, or options that don't
        fit it.
      OSError: it can't be read.
    """
    where = os.fspath(path)
    options = read_options(where) if options is None else options
    data = files.read_bytes(files.path(where))
    session = _session(where, data, options)
    name = os.path.basename(where)
    try:
        options, given = _filled(session, options), _node(session.get_inputs(), options.input)
        _check_input(given, options)
        table = _table(session, options)
        shape = [n if isinstance(n, int) and n > 0 else 0 for n in given.shape]
    except ValueError as error:
        raise ValueError(f"{name}: {error}; what is so is told in its .json") from error
    del shape[LAYOUTS[options.layout]]
    batch, height, width = shape
    told = dataclasses.asdict(options) | {"providers": None}
    digest = hashlib.sha256(json.dumps([_VERSION, told], sort_keys=True).encode())
    digest.update(data)
    return OnnxSegmenter(
        name,
        session,
        options,
        table,
        _INPUTS[given.type],
        (batch, height, width),
        digest.hexdigest(),
    )


def _session(where: str, data: bytes, options: OnnxOptions) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ValueError(
            f'{where} needs a package that is not installed ({error}); install "vidgan-jax[onnx]"'
        ) from error
    there = onnxruntime.get_available_providers()
    providers = list(options.providers) or [name for name in _PROVIDERS if name in there]
    if missing := [name for name in providers if name not in there]:
        raise ValueError(f"providers: {missing[0]} is not among onnxruntime's: {', '.join(there)}")
    settings = onnxruntime.SessionOptions()
    settings.use_deterministic_compute = True
    settings.log_severity_level = 3
    with tempfile.TemporaryDirectory(prefix="vidgan_jax-") as nothing:
        # Weights elsewhere would not be in the digest, and would be looked for in the working
        # directory: in an empty folder, they are missing.
        settings.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", nothing
        )
        try:
            return onnxruntime.InferenceSession(data, settings, providers=providers)
        except Exception as error:  # onnxruntime's own, which have no base
            raise ValueError(
                f"{where}: no ONNX file that onnxruntime {onnxruntime.__version__} can use, or "
                f"damaged ({_first_line(error)}); weights must be within the file"
            ) from error


def _filled(session: Any, options: OnnxOptions) -> OnnxOptions:
    """The options with what the file tells."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if not options.input and len(inputs) != 1:
        raise ValueError(f"it has {len(inputs)} inputs: {_names(inputs)}; say which is `input`")
    given = _node(inputs, options.input)
    made = _node(outputs, options.output)
    gives = options.gives or (LOGITS if made.type in _FLOATS else IDS)
    if (gives == IDS) == (made.type in _FLOATS):
        raise ValueError(f"its output {made.name!r} holds {made.type}, which are no {gives}")
    scale = 1 / 255 if options.scale is None and given.type != "tensor(uint8)" else options.scale
    return dataclasses.replace(
        options, input=given.name, output=made.name, gives=gives, scale=scale
    )


def _check_input(given: Any, options: OnnxOptions) -> None:
    if given.type not in _INPUTS:
        raise ValueError(f"its input takes {given.type}, not any of {', '.join(_INPUTS)}")
    channels = LAYOUTS[options.layout]
    # Which axes may be the channels: those that are 3, or else those of any length.
    fitting = [i for i in LAYOUTS.values() if given.shape[i : i + 1] == [3]] or [
        i for i in LAYOUTS.values() if not isinstance((*given.shape, *[0] * 4)[i], int)
    ]
    if len(given.shape) != 4 or channels not in fitting:
        raise ValueError(
            f"its input takes {given.shape}, which are no images of 3 channels in the layout "
            f"(={options.layout!r})"
        )
    plain = OnnxOptions()
    if given.type == "tensor(uint8)" and (options.scale, options.mean, options.std) != (
        plain.scale,
        plain.mean,
        plain.std,
    ):
        raise ValueError("its input takes pixels as they are: scale, mean and std must not be set")
    sizes = [n for i, n in enumerate(given.shape) if i not in (0, channels)]
    if options.size and any(
        isinstance(taken, int) and taken != wanted
        for taken, wanted in zip(sizes, options.size, strict=True)
    ):
        raise ValueError(f"its input takes {given.shape}, not the size (={list(options.size)})")


def _table(session: Any, options: OnnxOptions) -> tuple[int, ...]:
    """The class of each of the network's ids, -1 for what is no class."""
    made = _node(session.get_outputs(), options.output)
    num = options.num_classes or (len(options.classes) if options.classes else 0)
    if options.gives == LOGITS and len(made.shape) == 4:
        told = made.shape[LAYOUTS[options.layout]]
        if isinstance(told, int) and num and told != num:
            raise ValueError(f"its output has {told} channels, not {num} for classes")
        num = told if isinstance(told, int) else num
    if num < 1:
        raise ValueError("it does not tell how many classes there are; give num_classes or classes")
    if options.classes is not None and len(options.classes) != num:
        raise ValueError(f"classes are {len(options.classes)}, and num_classes (={num})")
    shifted = (max(i + options.label_offset, -1) for i in range(num))
    table = tuple(-1 if i is None else i for i in options.classes or shifted)
    if max(table) < 0 or max(table) >= MAX_LABELS:
        raise ValueError(
            f"its classes would be up to the id {max(table)} by the label_offset "
            f"(={options.label_offset}); ids are from 0 to {MAX_LABELS - 1}"
        )
    return table


def _node(nodes: Sequence[Any], name: str) -> Any:
    found = [node for node in nodes if node.name == name or not name]
    if not found:
        raise ValueError(f"there is no {name!r}; there are {_names(nodes)}")
    return found[0]


def _names(nodes: Sequence[Any]) -> str:
    return ", ".join(node.name for node in nodes)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


@functools.partial(jax.jit, static_argnums=1)
def _resized(frames: jax.Array, size: tuple[int, int]) -> jax.Array:
    return resize_frames(frames, size).astype(jnp.uint8)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _best(logits: jax.Array, size: tuple[int, int], kept: tuple[int, ...]) -> jax.Array:
    """Which of the `kept` channels is the largest at each pixel, `[b, *size]`."""
    chosen = logits[..., np.asarray(kept)]
    if chosen.shape[1:3] != size:
        chosen = resize_bilinear(chosen, size)
    return jnp.argmax(chosen, axis=-1)
