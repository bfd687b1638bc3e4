"""The studio for everybody, in a real browser: phones, keyboards, screen readers, all eyes."""

from typing import Any, Literal

import numpy as np
import pytest

from tests.serving.browser import scripts
from tests.serving.browser.conftest import Serve, Visit
from tests.serving.browser.page import DESKTOP, PHONE, wait_until
from tests.serving.browser.server import MOUNTAIN, SKY, WATER

SCROLLED = "() => scrollY"
WIDTH = "() => document.documentElement.scrollWidth"


def test_the_whole_task_on_a_phone_with_a_finger(visit: Visit) -> None:
    studio = visit(PHONE)
    studio.wait_for_clips()
    studio.photograph("phone_start")
    studio.choose(WATER)
    studio.find('#tools [data-tool="brush"]').tap()
    studio.find("#canvas").scroll_into_view_if_needed()
    before = studio.page.evaluate(SCROLLED)
    studio.drag_finger((8.5, 10.5), (20.5, 30.5), (40.5, 40.5))
    # Drawing must not move the page.
    assert studio.page.evaluate(SCROLLED) == before
    ids = studio.ids()
    assert ids[30, 20] == WATER
    studio.find("#undo").tap()
    assert (studio.ids() == SKY).all()
    studio.find("#redo").tap()
    np.testing.assert_array_equal(studio.ids(), ids)
    studio.find("#generate").tap()
    studio.wait_for_answer()
    studio.wait_for_clips()
    studio.find("#videos").scroll_into_view_if_needed()
    studio.wait_until_playing()
    studio.photograph("phone_clip")
    assert len(studio.film()) >= 8


def test_a_phone_is_wide_enough_and_a_finger_small_enough(visit: Visit) -> None:
    studio = visit(PHONE)
    studio.wait_for_clips()
    assert studio.page.evaluate(WIDTH) <= 390
    assert studio.small_targets() == []
    canvas = studio.find("#canvas").bounding_box()
    assert canvas is not None
    assert min(canvas["width"], canvas["height"]) >= 300


def test_two_fingers_zoom_and_draw_nothing(visit: Visit) -> None:
    studio = visit(PHONE)
    studio.choose(WATER)
    apart = [(20.5 - i, 24.5) for i in range(0, 18, 3)], [(28.5 + i, 24.5) for i in range(0, 18, 3)]
    studio.drag_fingers(*apart)
    assert (studio.ids() == SKY).all()
    assert studio.find("#undo").is_disabled()
    # Zoomed in, the same place of the screen is nearer to the map's middle.
    corner = studio.on_screen((2.5, 2.5))
    studio.page.touchscreen.tap(*corner)
    zoomed = np.argwhere(studio.ids() == WATER).mean(0)
    studio.find("#undo").tap()
    studio.find("#zoom-fit").tap()
    studio.page.touchscreen.tap(*corner)
    fitted = np.argwhere(studio.ids() == WATER).mean(0)
    assert (zoomed > fitted + 3).all()


def test_the_whole_task_without_a_pointer(visit: Visit) -> None:
    studio = visit()
    studio.wait_for_clips()
    press = studio.page.keyboard.press
    studio.tab_to("#palette *")
    for _ in studio.model.description["labels"]:
        if studio.chosen() == MOUNTAIN:
            break
        press("ArrowDown")
    assert studio.chosen() == MOUNTAIN
    studio.tab_to("#canvas")
    press("ArrowRight")
    press("ArrowDown")
    press("Space")
    studio.tab_to("#generate")
    before = len(studio.model.calls)
    press("Enter")
    wait_until(studio.page, lambda: len(studio.model.calls) > before, "a request")
    painted = studio.model.calls[-1].ids
    assert (painted == MOUNTAIN).any()
    assert (painted == SKY).any()
    studio.wait_for_answer()
    studio.photograph("desktop_keyboard")
    studio.tab_to("#download-mp4")
    name, content = studio.download("#download-mp4", key="Enter")
    assert name.endswith(".mp4")
    assert content[4:8] == b"ftyp"
    studio.tab_to("#canvas")
    press("Control+z")
    assert (studio.ids() == SKY).all()
    press("Control+Shift+z")
    np.testing.assert_array_equal(studio.ids(), painted)


def test_focus_is_always_seen_and_never_trapped(visit: Visit) -> None:
    studio = visit()
    studio.wait_for_clips()
    places: list[str] = []
    for _ in range(80):
        studio.page.keyboard.press("Tab")
        place, is_seen = studio.focus()
        if place.startswith("body") or place in places[:1]:
            break
        assert is_seen, f"nothing shows that {place} has the focus"
        places.append(place)
    else:
        pytest.fail(f"80 tabs and no end: {places}")
    assert len(places) > 15
    assert len(places) == len(set(places))


@pytest.mark.parametrize("settings", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_all_text_contrasts_in_light_and_dark(visit: Visit, settings: dict[str, Any]) -> None:
    studio = visit(settings)
    studio.wait_for_clips()
    studio.wait_for_answer()
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        studio.page.emulate_media(color_scheme=scheme)
        studio.photograph(f"{'phone' if settings is PHONE else 'desktop'}_{scheme}")
        assert studio.overlaps() == []
        texts = studio.contrasts()
        assert len(texts) > 20
        assert [text for text in texts if text["ratio"] < 4.5] == []
        under = {text["under"] for text in texts if text["place"] == "#status"}
        assert (min(map(_brightness, under)) > 128) == (scheme == "light")
    studio.find("#help").click()
    studio.find("#help-dialog").wait_for()
    with_help = studio.contrasts()
    assert len(with_help) > len(texts) + 10
    assert [text for text in with_help if text["ratio"] < 4.5] == []
    studio.page.keyboard.press("Escape")
    studio.find("#help-dialog").wait_for(state="hidden")


def _brightness(colour: str) -> float:
    """Of "rgb(r,g,b)", 0 to 255."""
    return float(np.mean([int(part) for part in colour[4:-1].split(",")]))


def test_every_control_has_a_name_of_its_own(visit: Visit, serve: Serve) -> None:
    studio = visit(server=serve(has_style=True))
    studio.wait_for_clips()
    controls = studio.controls()
    assert len(controls) > 25
    assert [pair for pair in controls if not pair[1]] == []
    buttons = sorted(name for role, name in controls if role == "button")
    assert sorted(set(buttons)) == buttons
    radios = {name for role, name in controls if role == "radio"}
    assert {entry["name"] for entry in studio.model.description["labels"]} <= radios


def test_the_document_tells_its_language_title_and_parts(visit: Visit) -> None:
    page = visit().page
    assert page.evaluate("() => document.documentElement.lang").startswith("en")
    assert page.title()
    assert page.locator("h1").count() == 1
    assert page.locator("main").count() == 1
    assert page.locator("[aria-live], [role=status]").count() >= 1


def test_who_wants_less_motion_starts_clips_himself(visit: Visit) -> None:
    studio = visit(reduced_motion="reduce")
    studio.wait_for_clips()
    studio.page.wait_for_timeout(300)
    assert studio.page.evaluate(scripts.STILL)
    clip = studio.find("#videos video")
    assert clip.evaluate("v => v.paused")
    studio.find("#play").click()
    studio.wait_until_playing()


def test_nothing_scrolls_at_1280_by_720(visit: Visit) -> None:
    studio = visit()
    studio.wait_for_clips()
    drawing = ("#canvas", "#undo", "#zoom-fit", "#export-colours", "#status")
    result = ("#videos video", "#generate", "#seed", "#download-mp4", "#share", "#save-state")
    for selector in (*drawing, *result):
        box = studio.find(selector).first.bounding_box()
        assert box is not None, selector
        assert min(box["x"], box["y"]) >= 0, selector
        assert box["x"] + box["width"] <= 1280, selector
        assert box["y"] + box["height"] <= 720, selector
    assert studio.page.evaluate(WIDTH) <= 1280
    canvas = studio.find("#canvas").bounding_box()
    assert canvas is not None
    assert min(canvas["width"], canvas["height"]) >= 320
