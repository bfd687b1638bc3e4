"""Clips, in a real browser: made, played, varied, saved, shared."""

import io

import numpy as np
from PIL import Image

from tests.serving.browser.conftest import Serve, Visit
from tests.serving.browser.page import png, read_ids, wait_until
from tests.serving.browser.server import MOUNTAIN, SKY, TREE


def test_strokes_are_enough_for_a_clip_that_plays(visit: Visit, serve: Serve) -> None:
    studio = visit(server=serve())
    studio.wait_for_clips()
    calls = studio.model.calls
    first = len(calls)
    studio.choose(MOUNTAIN)
    for row in (10.5, 20.5, 30.5):
        studio.drag((8.5, row), (40.5, row))
    drawn = studio.ids()
    wait_until(studio.page, lambda: (calls[-1].ids == drawn).all(), "a request of the whole map")
    studio.wait_for_answer()
    # A request a pause, not a movement, nor even a stroke.
    assert 1 <= len(calls) - first <= 3
    studio.wait_for_clips()
    studio.wait_until_playing()
    studio.photograph("desktop_clip")


def test_variations_of_one_seed_are_side_by_side(visit: Visit, serve: Serve) -> None:
    studio = visit(server=serve())
    studio.wait_for_clips()
    calls = studio.model.calls
    studio.find("#seed").fill("1234")
    studio.find("#variations").select_option("4")
    studio.generate()
    wanted = {(1234, variation) for variation in range(4)}
    wait_until(
        studio.page, lambda: {(c.seed, c.variation) for c in calls} >= wanted, "four variations"
    )
    studio.wait_for_clips(4)
    boxes = [clip.bounding_box() for clip in studio.find("#videos video").all()]
    assert len({(box["x"], box["y"]) for box in boxes if box}) == 4
    studio.photograph("desktop_variations")
    assert studio.overlaps() == []
    studio.find("#new-seed").click()
    seed = int(studio.find("#seed").input_value())
    assert seed != 1234
    wait_until(studio.page, lambda: calls[-1].seed == seed, "a request with the new seed")


def test_truncation_is_sent_where_it_is_switched_on(visit: Visit, serve: Serve) -> None:
    studio = visit(server=serve())
    studio.wait_for_clips()
    calls = studio.model.calls
    assert {call.truncation for call in calls} == {None}
    studio.find("#truncation-on").check()
    studio.find("#truncation").fill("0.5")
    studio.generate()
    wait_until(studio.page, lambda: calls[-1].truncation == 0.5, "a truncation of 0.5")


def test_a_style_picture_goes_to_models_that_take_one(visit: Visit, serve: Serve) -> None:
    studio = visit(server=serve(has_style=True))
    studio.wait_for_clips()
    calls = studio.model.calls
    picture = np.full((40, 60, 3), (200, 30, 30), np.uint8)
    studio.open_file("#style", "style.png", png(picture))
    studio.generate()
    wait_until(studio.page, lambda: calls[-1].style is not None, "a style")
    assert calls[-1].style is not None
    assert (calls[-1].style == picture[0, 0]).all()
    assert not visit().find("#style").is_visible()


def test_downloads_are_real_files(visit: Visit) -> None:
    studio = visit()
    studio.choose(TREE)
    studio.drag((3.5, 20.5), (44.5, 31.5))
    studio.wait_for_clips()
    studio.wait_for_answer()
    name, content = studio.download("#download-mp4")
    assert name.endswith(".mp4")
    assert content[4:8] == b"ftyp"
    assert studio.film().shape[1:] == (48, 48, 3)
    assert len(studio.film()) >= 8
    name, content = studio.download("#download-gif")
    assert name.endswith(".gif")
    with Image.open(io.BytesIO(content)) as moving:
        assert (moving.format, moving.size) == ("GIF", (48, 48))
        assert getattr(moving, "n_frames", 1) >= 8
    name, content = studio.download("#download-map")
    assert name.endswith(".png")
    np.testing.assert_array_equal(read_ids(content), studio.ids())


def test_ping_pong_plays_there_and_back(visit: Visit) -> None:
    studio = visit()
    studio.wait_for_clips()
    once = studio.film()
    studio.find("#playback").select_option("pingpong")
    studio.generate()
    studio.wait_for_answer()
    both = studio.film()
    assert len(both) > len(once)
    # The way back shows the same frames, but for what the codec loses.
    back = both[-(len(both) - len(once)) :][::-1].astype(float)
    there = both[1 : 1 + len(back)].astype(float)
    assert np.abs(there - back).mean() < 8


def test_a_shared_address_brings_map_seed_and_the_same_clip(visit: Visit) -> None:
    studio = visit(permissions=["clipboard-read", "clipboard-write"])
    studio.wait_for_clips()
    studio.choose(MOUNTAIN)
    studio.drag((3.5, 20.5), (44.5, 31.5))
    studio.find("#seed").fill("4242")
    studio.generate()
    studio.wait_for_answer()
    ids, film = studio.ids(), studio.download("#download-mp4")[1]
    studio.find("#share").click()
    studio.says("copied|link|address")
    address = studio.page.evaluate("() => navigator.clipboard.readText()")
    assert address.startswith(studio.server.url + "/#")
    other = visit(fragment="#" + address.partition("#")[2])
    other.wait_for_clips()
    np.testing.assert_array_equal(other.ids(), ids)
    assert other.find("#seed").input_value() == "4242"
    assert other.download("#download-mp4")[1] == film


def test_a_state_saved_as_a_file_comes_back(visit: Visit) -> None:
    studio = visit()
    studio.choose(TREE)
    studio.drag((3.5, 20.5), (44.5, 31.5))
    studio.find("#seed").fill("77")
    ids = studio.ids()
    name, content = studio.download("#save-state")
    studio.find("#clear").click()
    studio.find("#seed").fill("1")
    studio.open_file("#load-state", name, content, "application/json")
    studio.wait_for_map(ids)
    assert studio.find("#seed").input_value() == "77"
    studio.open_file("#load-state", "broken.json", content[:-30], "application/json")
    studio.says("broken.json")
    np.testing.assert_array_equal(studio.ids(), ids)


def test_a_damaged_address_is_told_and_leaves_an_empty_map(visit: Visit) -> None:
    studio = visit(fragment="#v=1&map=AAAA")
    told = studio.find("#result").get_by_text("checksum")
    told.wait_for()
    studio.wait_for_clips()
    assert (studio.ids() == SKY).all()
