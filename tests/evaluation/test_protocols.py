"""Named protocols: fixed, changed in the open, refused where out of range."""

from typing import Any

import pytest

from vidgan_jax.evaluation import protocols


@pytest.mark.parametrize("name", list(protocols.PROTOCOLS))
def test_a_named_protocol_has_no_deviations(name: str) -> None:
    chosen = protocols.choose(name, num=None, codec=None)
    assert chosen.protocol == protocols.PROTOCOLS[name]
    assert not chosen.deviations
    assert chosen.as_json()["name"] == name
    assert protocols.choose(name, num=chosen.protocol.num).deviations == {}


def test_what_is_set_otherwise_is_a_deviation() -> None:
    chosen = protocols.choose("fvd2048_16f", num_frames=8, num=2048, sampling="training")
    assert chosen.protocol.num_frames == 8
    assert chosen.deviations == {
        "num_frames": (16, 8),
        "sampling": ("one_per_video", "training"),
    }
    assert chosen.as_json()["deviations"]["num_frames"] == {"protocol": 16, "used": 8}


def test_what_the_published_protocols_say() -> None:
    fvd = protocols.PROTOCOLS["fvd2048_128f_subsample8f"]
    assert (fvd.num, fvd.num_reference, fvd.num_frames, fvd.subsample) == (2048, 2048, 128, 8)
    assert (fvd.split, fvd.sampling) == ("train", protocols.ONE_PER_VIDEO)
    thesis = protocols.PROTOCOLS["thesis"]
    assert (thesis.num, thesis.split, thesis.min_share) == (353, "validation", 0.01)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num": -1}, r"--num \(=-1\) must be at least 0"),
        ({"subsample": 0}, r"--subsample \(=0\) must be at least 1"),
        ({"num_variations": 1}, r"--num-variations \(=1\) must be at least 2"),
        ({"sampling": "some"}, r"--sampling \(='some'\) must be one of training, one_per_video"),
        ({"resize_filter": "cubic"}, r"--resize-filter \(='cubic'\) must be one of bicubic"),
        ({"cut": "half"}, r"--cut \(='half'\) must be one of trained, whole"),
        ({"measures": ("fid",)}, "--measures fid: must be among relative, inception"),
        ({"measures": ()}, "--measures: name at least one of relative, inception"),
        ({"measures": ("fvd", "fvd")}, "--measures names fvd twice"),
        ({"min_share": 1.0}, r"--min-share \(=1.0\) must be from 0 to below 1"),
        ({"codec": "mp4"}, r"--codec \(='mp4'\) must be none, or jpeg:QUALITY with 1 to 100"),
        ({"codec": "jpeg:0"}, r"--codec \(='jpeg:0'\) must be none"),
        ({"codec": "jpeg:101"}, r"--codec \(='jpeg:101'\) must be none"),
    ],
)
def test_mistakes(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        protocols.choose("relative", **fields)


def test_an_unknown_protocol() -> None:
    with pytest.raises(ValueError, match=r"--protocol \(='fid'\) must be one of relative, thesis"):
        protocols.choose("fid")
