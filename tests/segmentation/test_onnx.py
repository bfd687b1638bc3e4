"""Segmenters in ONNX files, against NumPy, PyTorch and Pillow."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.segmentation.onnx_models import KERNEL, write_model
from vidgan_jax.segmentation import loading, onnx
from vidgan_jax.segmentation.onnx_options import OnnxOptions

FRAMES = np.random.default_rng(1).integers(0, 256, (5, 8, 6, 3)).astype(np.uint8)


def logits_of(images: np.ndarray) -> np.ndarray:
    """Of float images `[..., 3]`, in float64."""
    return images @ KERNEL[:, :, 0, 0].T.astype(np.float64)


def test_logits_tell_the_class(tmp_path: Path) -> None:
    found = loading.load(str(write_model(tmp_path / "s.onnx")))
    assert found.classes == (0, 1, 2, 3, 4)
    expected = logits_of(FRAMES / 255).argmax(axis=-1)
    for batch_size in (2, 5, 8):
        np.testing.assert_array_equal(found(FRAMES, batch_size=batch_size), expected)
    assert set(np.unique(expected)) == {0, 1, 2, 3, 4}
    clips = found(FRAMES[None, None])
    assert (clips.shape, clips.dtype) == ((1, 1, 5, 8, 6), np.uint8)
    np.testing.assert_array_equal(found(FRAMES[0]), expected[0])


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize("made", [{}, {"nhwc": True}, {"half": True}])
def test_frames_are_scaled_as_told(tmp_path: Path, made: dict[str, Any]) -> None:
    layout = "NHWC" if made.get("nhwc") else "NCHW"
    told = {"mean": MEAN, "std": STD, "channels": "BGR", "layout": layout}
    found = loading.load(str(write_model(tmp_path / "s.onnx", options=told, **made)))
    expected = logits_of((FRAMES[..., ::-1] / 255 - MEAN) / STD)
    agree = found(FRAMES) == expected.argmax(axis=-1)
    if made.get("half"):  # where the two largest are nearly equal
        first, second = np.sort(expected, axis=-1)[..., ::-1][..., :2].T
        assert agree.T[first - second > 0.02].all()
    else:
        assert agree.all()


def test_networks_may_take_bytes(tmp_path: Path) -> None:
    found = loading.load(str(write_model(tmp_path / "s.onnx", uint8=True)))
    np.testing.assert_array_equal(found(FRAMES), logits_of(FRAMES / 1).argmax(axis=-1))
    told = {"scale": 0.5}
    with pytest.raises(ValueError, match=r"scale, mean and std must not be set; what is so"):
        loading.load(str(write_model(tmp_path / "t.onnx", uint8=True, options=told)))


def test_coarse_logits_are_resized_before_classes_are_compared(tmp_path: Path) -> None:
    """As PyTorch resizes them, and not as coarse classes would be."""
    found = loading.load(str(write_model(tmp_path / "s.onnx", stride=2)))
    coarse = torch.from_numpy(logits_of(FRAMES[:, ::2, ::2] / 255)).movedim(-1, 1)
    fine = torch.nn.functional.interpolate(
        coarse, size=(8, 6), mode="bilinear", align_corners=False
    )
    np.testing.assert_array_equal(found(FRAMES), fine.argmax(dim=1).numpy())
    nearest = coarse.argmax(dim=1).numpy().repeat(2, axis=1).repeat(2, axis=2)
    assert (found(FRAMES) != nearest).any()


def test_frames_are_resized_to_what_the_network_looks_at(tmp_path: Path) -> None:
    shape = [2, 3, 4, 12]
    told = {"size": [4, 12]}
    found = loading.load(str(write_model(tmp_path / "s.onnx", shape=shape, options=told)))
    small = [Image.fromarray(f).resize((12, 4), Image.Resampling.BILINEAR) for f in FRAMES]
    given = torch.from_numpy(logits_of(np.stack([np.asarray(p) for p in small]) / 255))
    fine = torch.nn.functional.interpolate(
        given.movedim(-1, 1), size=(8, 6), mode="bilinear", align_corners=False
    )
    np.testing.assert_array_equal(found(FRAMES), fine.argmax(dim=1).numpy())


def test_a_network_of_one_size_takes_no_other_frames(tmp_path: Path) -> None:
    found = loading.load(str(write_model(tmp_path / "s.onnx", shape=[1, 3, 8, 6])))
    np.testing.assert_array_equal(found(FRAMES), logits_of(FRAMES / 255).argmax(axis=-1))
    with pytest.raises(
        ValueError, match=r"takes frames 8 pixels high, not 6; .*\"size\": \[8, 6\]"
    ):
        found(FRAMES.swapaxes(1, 2))


def test_ids(tmp_path: Path) -> None:
    told: dict[str, Any] = {"num_classes": 5}
    found = loading.load(str(write_model(tmp_path / "s.onnx", ids=True, options=told)))
    expected = logits_of(FRAMES / 255).argmax(axis=-1)
    np.testing.assert_array_equal(found(FRAMES), expected)
    told |= {"size": [4, 3]}
    found = loading.load(str(write_model(tmp_path / "t.onnx", ids=True, options=told)))
    assert found(FRAMES).shape == FRAMES.shape[:-1]
    halves = found(FRAMES)[:, ::2, ::2]
    np.testing.assert_array_equal(found(FRAMES), halves.repeat(2, axis=1).repeat(2, axis=2))
    with pytest.raises(ValueError, match="how many classes there are; give num_classes"):
        loading.load(str(write_model(tmp_path / "u.onnx", ids=True)))
    with pytest.raises(
        ValueError, match=r"gives int64 \[5, 4, 3\] for 5 frames of 8x6, and not an"
    ):
        loading.load(
            str(write_model(tmp_path / "v.onnx", ids=True, stride=2, options={"num_classes": 5}))
        )(FRAMES)


def test_ids_may_count_otherwise(tmp_path: Path) -> None:
    """From 1, after "unlabelled", as in ADE20K's files; or in any order."""
    told: dict[str, Any] = {"label_offset": -1}
    found = loading.load(str(write_model(tmp_path / "s.onnx", options=told)))
    assert found.classes == (0, 1, 2, 3)
    # "Unlabelled" is never the answer.
    rest = logits_of(FRAMES / 255)[..., 1:].argmax(axis=-1)
    np.testing.assert_array_equal(found(FRAMES), rest)
    named = {"classes": ["sea", 2, None, "sky", "sand"]}
    found = loading.load(str(write_model(tmp_path / "t.onnx", options=named)))
    assert found.classes == (2, 26, 46)
    best = logits_of(FRAMES / 255)[..., [0, 1, 3, 4]].argmax(axis=-1)
    np.testing.assert_array_equal(found(FRAMES), np.array([26, 2, 2, 46])[best])
    told |= {"num_classes": 5}
    found = loading.load(str(write_model(tmp_path / "u.onnx", ids=True, options=told)))
    with pytest.raises(ValueError, match=r"gives the id 0, which is none of its classes .* logits"):
        found(FRAMES)


def test_identity_is_of_weights_and_options(tmp_path: Path) -> None:
    path = write_model(tmp_path / "s.onnx")
    first = onnx.load(path)
    assert onnx.load(path).identity == first.identity
    (tmp_path / "copy.onnx").write_bytes(path.read_bytes())
    assert onnx.load(tmp_path / "copy.onnx").identity == first.identity
    others = [
        onnx.load(path, OnnxOptions(mean=(0.5, 0.5, 0.5))),
        onnx.load(path, OnnxOptions(label_offset=3)),
        onnx.load(write_model(tmp_path / "t.onnx", stride=2)),
    ]
    assert len({first.identity, *(o.identity for o in others)}) == 4
    assert others[1].classes == (3, 4, 5, 6, 7)
    assert onnx.load(path, OnnxOptions(providers=("CPUExecutionProvider",))).identity == (
        first.identity
    )


def test_weights_must_be_within_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of whatever lies in the working directory would be in no digest."""
    path = write_model(tmp_path / "s.onnx", external=True)
    monkeypatch.chdir(tmp_path)
    assert Path("s.onnx.data").exists()
    with pytest.raises(ValueError, match=r"damaged .* weights must be within the file"):
        onnx.load(path)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"mena": 0}, r"s\.json: there is no 'mena'; there are input, output, size, layout"),
        ([1], "it must hold an object"),
        ({"layout": "HWC"}, r"layout \(='HWC'\) must be one of NCHW, NHWC"),
        ({"size": [8]}, r"size \(=\(8,\)\) must be height and width"),
        ({"size": "8x8"}, r"size \(=8x8\) must be height and width"),
        ({"scale": 0}, r"scale \(=0\) must be a number, and not 0"),
        ({"mean": "0.5"}, r"mean \(=0\.5\) must be three numbers"),
        ({"std": [1, 0, 1]}, r"std \(=\(1, 0, 1\)\) must be three numbers, and of std, none 0"),
        ({"num_classes": -1}, r"num_classes \(=-1\) must be at least 0"),
        ({"num_classes": 1.5}, r"num_classes \(=1\.5\) must be a whole number"),
        ({"classes": [0], "label_offset": 1}, "give classes or label_offset, not both"),
        ({"classes": [0, 1, 2, 3, 255]}, r"classes \(=.* must be ids from 0 to 254, or None"),
        ({"classes": [None]}, "one id at least"),
        ({"classes": ["clouds"]}, "class name 'clouds' is not one of ADE20K's 150"),
        ({"classes": [0, 1]}, "s.onnx: its output has 5 channels, not 2 for classes; what is so"),
        ({"num_classes": 150}, "its output has 5 channels, not 150"),
        ({"label_offset": -5}, r"up to the id -1 by the label_offset \(=-5\)"),
        ({"label_offset": 251}, "up to the id 255"),
        ({"layout": "NHWC"}, r"no images of 3 channels in the layout \(='NHWC'\)"),
        ({"input": "image"}, "there is no 'image'; there are x"),
        ({"output": "out"}, "there is no 'out'; there are conv"),
        ({"gives": "ids"}, r"its output 'conv' holds tensor\(float\), which are no ids"),
        ({"providers": ["NoSuchProvider"]}, "NoSuchProvider is not among onnxruntime's: .*CPU"),
    ],
)
def test_options_that_can_t_be_are_refused(tmp_path: Path, options: Any, text: str) -> None:
    path = write_model(tmp_path / "s.onnx", options=options)
    with pytest.raises(ValueError, match=text):
        loading.load(str(path))


def test_what_is_no_segmenter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("No network.\n")
    with pytest.raises(ValueError, match=r"text\.onnx: no ONNX file that onnxruntime .* can use"):
        loading.load(str(tmp_path / "text.onnx"))
    with pytest.raises(ValueError, match=r"gone\.onnx does not exist\. A segmenter is"):
        loading.load(str(tmp_path / "gone.onnx"))
    path = write_model(tmp_path / "s.onnx")
    path.with_suffix(".json").write_text("{")
    with pytest.raises(ValueError, match=r"s\.json: Expecting"):
        loading.load(str(path))
    with pytest.raises(ValueError, match=r"scales \(=\(300,\)\) are of converted segmenters"):
        loading.load(str(path), scales=(300,))
    grey = write_model(tmp_path / "grey.onnx", shape=["n", "c", "h", "w"], num_told=False)
    with pytest.raises(ValueError, match="how many classes there are; give num_classes"):
        loading.load(str(grey))
    with pytest.raises(ValueError, match=r"gives \[5, 5, 8, 6\] for 5 frames, and not logits of 7"):
        onnx.load(grey, OnnxOptions(num_classes=7))(FRAMES)
    with pytest.raises(ValueError, match=r"frames must be uint8 .* got float64"):
        onnx.load(grey, OnnxOptions(num_classes=5))(FRAMES / 255)


def test_logits_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path / "s.onnx")
    with pytest.raises(ValueError, match="gives logits that are not finite"):
        onnx.load(path, OnnxOptions(scale=1.2e36))(FRAMES)
