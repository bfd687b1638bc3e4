"""Tiny segmenters in ONNX files, whose answers other frameworks give, too."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# 1×1 kernels [classes, channels, 1, 1]: of five colours, the one of the most similar hue wins.
_HUES = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.6, 0.8, 0], [0.6, 0.5, 0.6]], np.float32)
KERNEL = _HUES[:, :, None, None]


def write_model(
    path: Path,
    *,
    nhwc: bool = False,
    stride: int = 1,
    ids: bool = False,
    uint8: bool = False,
    half: bool = False,
    shape: Sequence[int | str] | None = None,
    num_told: bool = True,
    options: dict[str, Any] | None = None,
    external: bool = False,
) -> Path:
    """Writes a network of one 1×1 convolution, from 3 channels to 5 classes.

    Args:
      path: FILE.onnx.
      nhwc: its input's and output's layout.
      stride: of the convolution.
      ids: gives the ids of the largest logits, int64.
      uint8: takes uint8 images.
      half: takes float16.
      shape: of the input; None for any.
      num_told: the output's shape tells the number of classes; of NCHW logits.
      options: written to FILE.json.
      external: weights lie in another file.

    Returns:
      `path`.
    """
    kind = TensorProto.UINT8 if uint8 else TensorProto.FLOAT16 if half else TensorProto.FLOAT
    last: list[Any] = ["n", "h", "w", 3] if nhwc else ["n", 3, "h", "w"]
    nodes = [helper.make_node("Cast", ["x"], ["float"], to=TensorProto.FLOAT)]
    if nhwc:
        nodes.append(helper.make_node("Transpose", ["float"], ["image"], perm=[0, 3, 1, 2]))
    image = "image" if nhwc else "float"
    nodes.append(helper.make_node("Conv", [image, "kernel"], ["conv"], strides=[stride, stride]))
    result = "conv"
    if ids:
        nodes.append(helper.make_node("ArgMax", ["conv"], ["ids"], axis=1, keepdims=0))
        result = "ids"
    elif nhwc:
        nodes.append(helper.make_node("Transpose", ["conv"], ["logits"], perm=[0, 2, 3, 1]))
        result = "logits"
    if not num_told:
        nodes += _cut(result)
        result = "some"
    num: Any = len(KERNEL) if num_told else "classes"
    made: list[Any] = ["n", "H", "W", num] if nhwc else ["n", num, "H", "W"]
    out = helper.make_tensor_value_info(
        result,
        TensorProto.INT64 if ids else TensorProto.FLOAT,
        ["n", "H", "W"] if ids else made,
    )
    given = helper.make_tensor_value_info("x", kind, shape or last)
    kernel = numpy_helper.from_array(KERNEL, "kernel")
    of_cut = () if num_told else (0, 1, len(KERNEL))
    numbers = [numpy_helper.from_array(np.array([i]), str(i)) for i in of_cut]
    graph = helper.make_graph(nodes, "segmenter", [given], [out], [kernel, *numbers])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if external:
        onnx.save(
            model,
            path,
            save_as_external_data=True,
            location=f"{path.name}.data",
            size_threshold=0,
        )
    else:
        onnx.save(model, path)
    if options is not None:
        path.with_suffix(".json").write_text(json.dumps(options))
    return path


def _cut(logits: str) -> list[onnx.NodeProto]:
    """Gives all the channels, but by a number that is worked out from the input."""
    return [
        helper.make_node("Cast", ["float"], ["whole"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", ["whole"], ["largest"], axes=[0, 1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["largest", "0"], ["nothing"]),
        helper.make_node("Add", ["nothing", "5"], ["five"]),
        helper.make_node("Slice", [logits, "0", "five", "1"], ["some"]),
    ]
