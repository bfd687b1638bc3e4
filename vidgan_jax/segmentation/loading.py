"""Segmenters by where they lie: what uses them need not know which kind one is of."""

from collections.abc import Sequence

from vidgan_jax import files
from vidgan_jax.models.segmenter import network_of
from vidgan_jax.segmentation import custom, onnx, onnx_options, small
from vidgan_jax.segmentation.ade20k import SCALES, Ade20kSegmenter
from vidgan_jax.segmentation.interface import SegmentFrames
from vidgan_jax.train.weights import load_network

_SCENES = "scenes"
_KINDS = (
    f"A segmenter is {_SCENES!r}, which comes with the package, a folder that `convert segmenter` "
    f"has written, a workdir of configs/segmenter.py, its {small.FILE}, an ONNX file "
    f"(FILE{onnx_options.SUFFIX}, and FILE.json beside it), or {custom.FORM}"
)


def load(where: str, *, scales: Sequence[int] | None = None) -> SegmentFrames:
    """Reads a segmenter.

    Args:
      where: "scenes" for the one that comes with the package and knows the embedded scenes; a
        folder that `python -m vidgan_jax.convert segmenter` has written; a workdir in which a small
        one was trained, or the file that training has left there; an ONNX file, see
        `vidgan_jax.segmentation.onnx`; "python:PACKAGE.MODULE:FUNCTION", see
        `vidgan_jax.segmentation.custom`.
      scales: short sides at which a converted one looks at frames, see
        `vidgan_jax.segmentation.ade20k`; None for the published ones.

    Raises:
      ValueError: there is none, it is damaged, or it has no scales.
      OSError: it can't be read.
    """
    is_custom, is_onnx = where.startswith(custom.PREFIX), where.endswith(onnx_options.SUFFIX)
    if scales is not None and (is_custom or is_onnx):
        raise ValueError(
            f"scales (={tuple(scales)}) are of converted segmenters, and {where} is none"
        )
    if is_custom:
        return custom.load(where)
    path = files.path(where)
    if where == _SCENES:
        path = small.SCENES
    elif not path.exists():
        raise ValueError(f"{where} does not exist. {_KINDS}")
    elif is_onnx:
        return onnx.load(where)
    elif path.is_dir() and not (path / small.FILE).is_file():
        return _converted(where, scales)
    if scales is not None:
        raise ValueError(
            f"scales (={tuple(scales)}) are of converted segmenters, and {where} is a small one, "
            "which looks at frames as they are"
        )
    return small.load(path / small.FILE if path.is_dir() else path)


def _converted(where: str, scales: Sequence[int] | None) -> Ade20kSegmenter:
    try:
        variables = load_network(where)
        network_of(variables["params"])
    except ValueError as error:
        raise ValueError(f"no segmenter in {where} ({error}). {_KINDS}") from error
    return Ade20kSegmenter(variables, SCALES if scales is None else tuple(scales))
