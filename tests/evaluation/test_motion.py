"""Measure "motion": clips of rendered scenes against themselves, made worse in known ways."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tests.evaluation.observing import conclude, observe
from tests.metrics.examples import to_bytes
from vidgan_jax.data.scenes import render_clip
from vidgan_jax.evaluation.measure import Part
from vidgan_jax.evaluation.motion import Motion

NUM, FRAMES, SIZE = 8, 8, 24
MEASURE = Motion(fps=12.0)


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    """Two moments of each scene, one after the other; twice as many frames as are scored."""
    clips = [
        render_clip(seed, moment, num_frames=2 * FRAMES, size=SIZE, fps=12, supersampling=1)
        for moment in range(2)
        for seed in range(NUM)
    ]
    return np.stack([clip.frames for clip in clips])


@pytest.fixture(scope="module")
def found(real: np.ndarray) -> dict[str, Mapping[str, Any]]:
    """What is concluded of each kind of bad clips, made from the reference's own scenes."""
    base, floor = real[:NUM], real[NUM:, :FRAMES]
    clips = base[:, :FRAMES]
    rng = np.random.default_rng(0)
    still = np.repeat(clips[:, :1], FRAMES, axis=1)
    slowing = [0, 3, 6, 8, 9, 10, 10, 10]
    shown = {
        "same": clips,
        "still": still,
        "half still": np.concatenate([still[: NUM // 2], clips[NUM // 2 :]]),
        "twice each": np.repeat(base[:, : FRAMES // 2], 2, axis=1),
        "twice as fast": base[:, ::2],
        "dying out": base[:, slowing],
        "backwards": clips[:, ::-1],
        "shuffled": clips[:, rng.permutation(FRAMES)],
        "noise": to_bytes(clips + rng.normal(0, 8, clips.shape)),
        "still and noise": to_bytes(still + rng.normal(0, 2, clips.shape)),
        "flicker": to_bytes(clips + 4.0 * (-1) ** np.arange(FRAMES)[:, None, None, None]),
        "pan": np.stack([np.roll(still[:, 0], -t, axis=2) for t in range(FRAMES)], axis=1),
    }
    return {kind: conclude(MEASURE, x, clips, floor) for kind, x in shown.items()}


def test_the_same_clips_are_at_no_distance(found: dict[str, Mapping[str, Any]]) -> None:
    same = found["same"]
    assert same["generated"] == same["real"]
    assert set(same["distance"]["generated"].values()) == {0.0}
    assert all(value > 0 for value in same["distance"]["floor"].values())
    assert same["floor"].keys() == same["real"].keys()


def test_the_same_again_bit_for_bit(real: np.ndarray, found: dict[str, Mapping[str, Any]]) -> None:
    """However the clips come in parts."""
    clips = real[:, :FRAMES]
    whole, parts = observe(MEASURE, clips), observe(MEASURE, clips, size=5)
    for name, rows in whole.rows.items():
        np.testing.assert_array_equal(rows, parts.rows[name], err_msg=name)
    assert conclude(MEASURE, clips[:NUM], clips[:NUM], clips[NUM:]) == found["same"]


def test_still_clips_are_told(found: dict[str, Mapping[str, Any]]) -> None:
    """They have no warp error to boast of, and half of them don't hide behind the others."""
    still, half = found["still"]["generated"], found["half still"]
    assert (still["still_clips"], still["still_steps"]) == (1, 1)
    assert still["flow"]["shares"][0] == 1
    for name in ("warp_error", "flicker", "pan", "end_over_start"):
        assert still[name] is None, name
    assert half["generated"]["still_clips"] == 0.5
    for kind in ("still", "half still"):
        for name in ("flow", "flow_clips", "frame_difference"):
            distances = found[kind]["distance"]
            assert distances["generated"][name] > 1.5 * distances["floor"][name], (kind, name)


def test_pace_is_told(found: dict[str, Mapping[str, Any]]) -> None:
    flow = {kind: x["generated"]["flow"]["mean"] for kind, x in found.items()}
    assert flow["twice as fast"] > 1.3 * flow["same"]
    assert flow["twice each"] < 0.7 * flow["same"]
    twice = found["twice each"]["generated"]
    assert twice["still_steps"] == pytest.approx(4 / 7)
    assert twice["flicker"] > 1.8
    dying, same = found["dying out"]["generated"], found["same"]["generated"]
    assert dying["end_over_start"] < 0.4 < 0.7 < same["end_over_start"] < 1.4
    curve = dying["curves"]["frame_difference"]
    assert curve[0] > 1.2 * curve[3] > 0
    assert curve[5:] == [0, 0]
    assert found["backwards"]["generated"]["curves"]["frame_difference"] == pytest.approx(
        same["curves"]["frame_difference"][::-1]
    )


def test_what_is_no_movement_is_told(found: dict[str, Mapping[str, Any]]) -> None:
    """Though all of it changes frames as much as movement does, or more."""
    real = found["same"]["real"]
    for kind in ("shuffled", "noise", "still and noise", "flicker"):
        figures = found[kind]["generated"]
        assert figures["frame_difference"]["mean"] > real["frame_difference"]["mean"], kind
        assert figures["flicker"] > real["flicker"] + 0.3, kind
    assert found["still and noise"]["generated"]["warp_error"] > real["warp_error"]
    assert found["still and noise"]["generated"]["pan"] < 0.7 * real["pan"]


def test_a_camera_is_told(found: dict[str, Mapping[str, Any]]) -> None:
    """A still picture passing by has hardly any warp error: its flow is one for the whole frame."""
    pan = found["pan"]
    assert pan["generated"]["warp_error"] < 0.5 * pan["real"]["warp_error"]
    assert pan["generated"]["pan"] > 0.9 > pan["real"]["pan"]
    assert pan["distance"]["generated"]["flow"] > 3 * pan["distance"]["floor"]["flow"]


def test_time_running_backwards_shows_where_things_fall(
    found: dict[str, Mapping[str, Any]],
) -> None:
    """And nowhere else: of all distances it is the only one that is more than the floor's."""
    distances = found["backwards"]["distance"]
    assert distances["generated"]["down"] > distances["floor"]["down"]
    assert found["backwards"]["generated"]["down"] < 0 < found["same"]["generated"]["down"]
    for name in ("flow", "flow_clips", "frame_difference"):
        assert distances["generated"][name] < distances["floor"][name], name


def test_units(found: dict[str, Mapping[str, Any]]) -> None:
    flow = found["same"]["real"]["flow"]
    assert flow["heights_per_frame"] == pytest.approx(flow["mean"] / SIZE)
    assert flow["heights_per_second"] == pytest.approx(flow["mean"] / SIZE * 12)
    assert sum(flow["shares"]) == pytest.approx(1)
    assert len(found["same"]["bins"]["edges"]) == len(flow["shares"]) + 1
    deciles = found["same"]["real"]["frame_difference"]["deciles"]
    assert deciles == sorted(deciles)
    assert found["same"]["size"] == [SIZE, SIZE]


def test_tables_and_headline(found: dict[str, Mapping[str, Any]]) -> None:
    figures, shares = MEASURE.tables(found["still"])
    assert figures.title == "motion: 8 generated clips against 8 real, 24×24 at 12 frames/s"
    cells = dict(zip(figures.columns, figures.rows[0], strict=True))
    assert [row[0] for row in figures.rows] == ["generated", "real", "real, another draw"]
    assert (cells["change"], cells["still"], cells["warp error"]) == ("0.00 ± 0.00", "100.0%", "–")
    assert shares.rows[0][1:] == ("100.0%", *["0.0%"] * 5)
    for row in shares.rows:
        assert len(row) == len(shares.columns)
        assert sum(float(cell[:-1]) for cell in row[1:]) == pytest.approx(100, abs=0.3)
    assert MEASURE.headline(found["still"]).keys() == {"motion", "still clips", "flow W1"}
    line = MEASURE.headline(found["noise"])
    assert line.keys() == {"motion", "still clips", "flow W1", "warp error", "flicker"}
    assert line["flow W1"] == found["noise"]["distance"]["generated"]["flow"]


def test_two_frames_are_enough(real: np.ndarray) -> None:
    """But have no second difference, and no course of time."""
    pairs = real[:, :2]
    found = Motion().conclude(
        {
            stream: observe(Motion(), x)
            for stream, x in zip(MEASURE.streams, (pairs[:3], pairs[3:6], pairs[6:9]), strict=True)
        }
    )
    assert found["generated"]["flicker"] is None
    assert found["generated"]["end_over_start"] is None
    assert found["generated"]["flow"]["heights_per_second"] is None
    assert found["generated"]["warp_error"] > 0
    assert len(found["real"]["curves"]["flow"]) == 1
    assert MEASURE.tables(found)[0].title.endswith("24×24")


def test_mistakes(real: np.ndarray) -> None:
    with pytest.raises(ValueError, match="motion is of clips; got images"):
        MEASURE.observe(Part(0, real[:, 0]))
    with pytest.raises(ValueError, match="at least 2 frames"):
        MEASURE.observe(Part(0, real[:, :1]))
    long, short = observe(MEASURE, real[:2, :FRAMES]), observe(MEASURE, real[:2, :2])
    names = MEASURE.streams
    with pytest.raises(ValueError, match="got 2 frames of 24×24, 8 frames of 24×24"):
        MEASURE.conclude(dict(zip(names, (long, short, long), strict=True)))
