"""Drawing, in a real browser: tools, undo, files in and out. What is drawn is read as exported."""

import io
import re
from itertools import pairwise

import numpy as np
from PIL import Image

from tests.serving.browser.conftest import Visit
from tests.serving.browser.page import DESKTOP, png
from tests.serving.browser.server import GRASS, MOUNTAIN, SAND, SKY, TREE, WATER

NOISE = np.random.default_rng(0).choice(
    np.array([SKY, TREE, GRASS, WATER, 255], np.uint8), (48, 48)
)


def test_a_stroke_of_the_mouse_paints_the_chosen_label(visit: Visit) -> None:
    studio = visit()
    assert (studio.ids() == SKY).all()
    studio.choose(MOUNTAIN)
    studio.brush(4)
    studio.drag((8.5, 24.5), (40.5, 24.5))
    ids = studio.ids()
    assert (ids[24, 8:41] == MOUNTAIN).all()
    assert set(np.unique(ids)) == {SKY, MOUNTAIN}
    rows = np.flatnonzero((ids == MOUNTAIN).any(1))
    assert 3 <= len(rows) <= 5
    assert abs(rows.mean() - 24) <= 1


def test_what_is_painted_is_shown_in_its_colour(visit: Visit) -> None:
    studio = visit()
    studio.choose(MOUNTAIN)
    studio.brush(12)
    studio.drag((24.5, 24.5), (30.5, 24.5))
    studio.page.mouse.move(2, 2)
    left, top = studio.on_screen((24, 24))
    right, bottom = studio.on_screen((30, 25))
    with Image.open(io.BytesIO(studio.page.screenshot())) as shot:
        seen = np.array(shot.convert("RGB"))[int(top) : int(bottom), int(left) : int(right)]
    (colour,) = [e["colour"] for e in studio.model.description["labels"] if e["id"] == MOUNTAIN]
    # All of it, but for the lines between pixels.
    assert (seen == list(bytes.fromhex(colour[1:]))).all(-1).mean() > 0.6


def test_line_fill_and_eraser(visit: Visit) -> None:
    studio = visit()
    studio.choose(SAND)
    studio.brush(2)
    studio.tool("line")
    studio.drag((0.5, 20.5), (24.5, 2.5), (47.5, 20.5))
    line = studio.ids()
    assert (line[20] == SAND).all()
    # Straight, however the mouse went.
    assert not (line[:16] == SAND).any()
    studio.choose(WATER)
    studio.tool("fill")
    studio.click((24.5, 40.5))
    filled = studio.ids()
    assert (filled[line == SAND] == SAND).all()
    assert (filled[23:] == WATER).all()
    assert (filled[:18] == SKY).all()
    studio.tool("eraser")
    studio.brush(8)
    studio.drag((24.5, 36.5), (30.5, 36.5))
    erased = studio.ids()
    # To the label that an empty map has.
    assert (erased[36, 24:31] == SKY).all()
    assert 7 * 7 < (erased != filled).sum() < 16 * 10


def test_undo_and_redo_by_button_and_by_key(visit: Visit) -> None:
    studio = visit()
    maps = [studio.ids()]
    for label, row in ((TREE, 10.5), (GRASS, 30.5)):
        studio.choose(label)
        studio.drag((10.5, row), (30.5, row))
        maps.append(studio.ids())
    assert all((a != b).any() for a, b in pairwise(maps))
    studio.find("#undo").click()
    np.testing.assert_array_equal(studio.ids(), maps[1])
    studio.page.keyboard.press("Control+z")
    np.testing.assert_array_equal(studio.ids(), maps[0])
    assert studio.find("#undo").is_disabled()
    studio.page.keyboard.press("Control+Shift+z")
    np.testing.assert_array_equal(studio.ids(), maps[1])
    studio.find("#redo").click()
    np.testing.assert_array_equal(studio.ids(), maps[2])
    assert studio.find("#redo").is_disabled()


def test_what_is_drawn_after_an_undo_cannot_be_redone_over(visit: Visit) -> None:
    studio = visit()
    studio.choose(TREE)
    studio.drag((10.5, 10.5), (30.5, 10.5))
    studio.find("#undo").click()
    assert studio.find("#redo").is_enabled()
    studio.drag((40.5, 40.5), (44.5, 40.5))
    assert studio.find("#redo").is_disabled()
    drawn = studio.ids()
    studio.find("#clear").click()
    assert (studio.ids() == SKY).all()
    studio.find("#undo").click()
    np.testing.assert_array_equal(studio.ids(), drawn)


def test_pen_and_finger_draw(visit: Visit) -> None:
    studio = visit({**DESKTOP, "has_touch": True})
    studio.brush(3)
    studio.choose(MOUNTAIN)
    studio.drag_pen((8.5, 14.5), (20.5, 14.5), (40.5, 14.5))
    studio.drag_finger((8.5, 34.5), (20.5, 34.5), (40.5, 34.5))
    ids = studio.ids()
    assert (ids[[14, 34], 9:40] == MOUNTAIN).all()
    assert (ids == MOUNTAIN).sum() < 2 * 3 * 40


def test_an_example_starts_a_map_and_can_be_undone(visit: Visit) -> None:
    studio = visit()
    studio.find("#examples:enabled").select_option(label="hills")
    studio.wait_for_map(studio.model.examples[1][1])
    studio.find("#undo").click()
    assert (studio.ids() == SKY).all()


def test_a_map_saved_and_opened_again_is_the_same(visit: Visit) -> None:
    studio = visit()
    studio.open_file("#import", "noise.png", png(NOISE))
    studio.wait_for_map(NOISE)
    for kind in ("ids", "colours"):
        name, content = studio.download(f"#export-{kind}")
        assert name.endswith(f"{kind}.png")
        studio.find("#clear").click()
        assert (studio.ids() == SKY).all()
        studio.open_file("#import", name, content)
        studio.wait_for_map(NOISE)


def test_a_map_of_another_size_is_stretched_by_nearest_pixels(visit: Visit) -> None:
    studio = visit()
    studio.open_file("#import", "large.png", png(NOISE.repeat(3, 0).repeat(3, 1)))
    studio.wait_for_map(NOISE)


def test_dropped_and_pasted_pictures_are_opened(visit: Visit) -> None:
    studio = visit()
    studio.give("drop", "noise.png", png(NOISE))
    studio.wait_for_map(NOISE)
    trees = np.full((48, 48), TREE, np.uint8)
    studio.give("paste", "image.png", png(trees))
    studio.wait_for_map(trees)
    studio.find("#undo").click()
    np.testing.assert_array_equal(studio.ids(), NOISE)


def test_bad_files_are_refused_and_the_map_kept(visit: Visit) -> None:
    studio = visit()
    bad = {"notes.txt": b"no picture", "cut_off.png": png(NOISE)[:200], "empty.png": b""}
    for name, content in bad.items():
        studio.open_file("#import", name, content)
        studio.says(re.escape(name))
    assert (studio.ids() == SKY).all()
    assert studio.find("#undo").is_disabled()


def test_what_is_no_label_of_the_model_is_asked_about(visit: Visit) -> None:
    strange = np.full((48, 48), TREE, np.uint8)
    strange[:10] = 149
    studio = visit()
    dialog = studio.find("dialog[open]")
    studio.open_file("#import", "strange.png", png(strange))
    assert "149" in dialog.inner_text()
    studio.page.keyboard.press("Escape")
    studio.says("not opened")
    assert (studio.ids() == SKY).all()
    studio.open_file("#import", "strange.png", png(strange))
    dialog.get_by_role("button").filter(has_text="don't care").click()
    studio.wait_for_map(np.where(strange == 149, 255, strange).astype(np.uint8))
