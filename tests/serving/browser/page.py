"""The studio's page in Debian's Chromium: what a user does there, and what it then holds."""

import io
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Locator,
    Page,
    Response,
    expect,
    sync_playwright,
)

from tests.serving.browser import scripts
from tests.serving.browser.server import Server

CHROMIUM = shutil.which("chromium")
TIMEOUT_S = 15.0

DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 720}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 3,
    "has_touch": True,
    "is_mobile": True,
}

Point = tuple[float, float]
"""x, y in pixels of the label map; halves are the pixels' centres."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium with an empty profile that can resolve no name and calls nobody.

    Playwright keeps an event loop running in this thread meanwhile: what uses asyncio itself, as
    orbax does, must run in another one.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                "--no-first-run",
                "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
            ],
        )
        try:
            yield browser
        finally:
            browser.close()


class Watch:
    """What a page must never do, written down while it does other things.

    Attributes:
      complaints: errors and warnings of the console (violations of the content security policy are
        among them), uncaught exceptions, requests to anybody but the server.
      responses: answers to `POST /api/generate`.
    """

    def __init__(self, page: Page, server: str) -> None:
        self.complaints: list[str] = []
        self.responses: list[Response] = []
        self._server = server
        page.on("console", lambda said: self._console(said.type, said.text))
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        page.on("request", lambda request: self._request(request.url))
        page.on("response", self._response)

    def _console(self, kind: str, text: str) -> None:
        if kind in ("error", "warning", "assert"):
            self.complaints.append(f"console {kind}: {text}")

    def _request(self, url: str) -> None:
        if not url.startswith((self._server + "/", f"blob:{self._server}/", "data:")):
            self.complaints.append(f"a request to {url}")

    def _response(self, response: Response) -> None:
        if response.url.endswith("/api/generate"):
            self.responses.append(response)

    def forgive(self, pattern: str, *, at_least: int = 1) -> None:
        """Drops complaints that a test provoked, of which there must be some.

        Raises:
          AssertionError: there are too few.
        """
        kept = [text for text in self.complaints if not re.search(pattern, text)]
        if len(self.complaints) - len(kept) < at_least:
            raise AssertionError(f"nothing like {pattern!r} in {self.complaints}")
        self.complaints[:] = kept


class Studio:
    """The open page: what a user does there, and what it then holds."""

    def __init__(self, page: Page, server: Server, context: BrowserContext) -> None:
        self.page = page
        self.server = server
        self.model = server.model
        self.watch = Watch(page, server.url)
        self._cdp = context.new_cdp_session(page)
        self._fitted: dict[Point, list[float]] = {}

    def find(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def open(self, fragment: str = "") -> "Studio":
        self.page.goto(self.server.url + "/" + fragment)
        self.find("body[data-state=ready]").wait_for()
        return self

    def choose(self, label: int) -> None:
        """A label of the palette, wherever in its entry the attribute is."""
        entry = self.find(f'#palette [data-label="{label}"]')
        entry.evaluate("e => (e.closest('label') ?? e.labels?.[0] ?? e).click()")

    def tool(self, name: str) -> None:
        self.find(f'#tools [data-tool="{name}"]').click()

    def brush(self, pixels: int) -> None:
        self.find("#brush-size").fill(str(pixels))

    def on_screen(self, point: Point) -> Point:
        """Where a point of the map is, in CSS pixels of the window; the map is zoomed to fit."""
        box = self.find("#canvas").bounding_box()
        if box is None:
            raise AssertionError("the canvas is not shown")
        place = (box["width"], box["height"])
        if place not in self._fitted:
            self._fitted[place] = self.find("#canvas").evaluate(scripts.DRAWN)
        left, top, width, height = self._fitted[place]
        size = self.model.description["size"]
        return box["x"] + left + width * point[0] / size, box["y"] + top + height * point[1] / size

    def drag(self, *points: Point) -> None:
        """A stroke of the mouse through points of the map."""
        mouse = self.page.mouse
        mouse.move(*self.on_screen(points[0]))
        mouse.down()
        for point in points[1:]:
            mouse.move(*self.on_screen(point), steps=4)
        mouse.up()

    def click(self, point: Point) -> None:
        self.page.mouse.click(*self.on_screen(point))

    def drag_finger(self, *points: Point) -> None:
        """The same with a finger."""
        self.drag_fingers(points)

    def drag_pen(self, *points: Point) -> None:
        """The same with a pen."""
        kinds = ["mousePressed", *["mouseMoved"] * (len(points) - 1)]
        for kind, point in zip(kinds, points, strict=True):
            self._pen(kind, point)
        self._pen("mouseReleased", points[-1])

    def _pen(self, kind: str, point: Point) -> None:
        x, y = self.on_screen(point)
        pressed = {"pointerType": "pen", "button": "left", "buttons": 1, "clickCount": 1}
        self._cdp.send("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, **pressed})

    def drag_fingers(self, *ways: Sequence[Point]) -> None:
        """The same with fingers, each along a way of its own, all of so many points."""
        kinds = ["touchStart", *["touchMove"] * (len(ways[0]) - 1)]
        for kind, *points in zip(kinds, *ways, strict=True):
            places = [self.on_screen(point) for point in points]
            touched = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(places)]
            self._touch(kind, touched)
        self._touch("touchEnd", [])

    def _touch(self, kind: str, points: list[dict[str, float]]) -> None:
        self._cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def download(self, selector: str, *, key: str | None = None) -> tuple[str, bytes]:
        """The name and the content of what a control saves, by a click or a key."""
        with self.page.expect_download() as saved:
            if key is None:
                self.find(selector).click()
            else:
                self.page.keyboard.press(key)
        return saved.value.suggested_filename, Path(saved.value.path()).read_bytes()

    def ids(self) -> np.ndarray:
        """The map as the page exports it: uint8 `[size, size]`."""
        return read_ids(self.download("#export-ids")[1])

    def open_file(self, selector: str, name: str, content: bytes, mime: str = "image/png") -> None:
        """Chooses a file in a file input, or in the chooser that a button opens."""
        file: Any = {"name": name, "mimeType": mime, "buffer": content}
        control = self.find(selector)
        if control.evaluate("e => e.type === 'file'"):
            control.set_input_files(file)
            return
        with self.page.expect_file_chooser() as chooser:
            control.click()
        chooser.value.set_files(file)

    def give(self, event: str, name: str, content: bytes) -> None:
        """Drops a PNG on the canvas ("drop"), or pastes it there ("paste")."""
        self.find("#canvas").evaluate(scripts.GIVE, [event, name, list(content)])

    def wait_for_map(self, ids: np.ndarray) -> None:
        """Until the page has this map.

        Raises:
          AssertionError: it has another one to the end.
        """
        ends = time.monotonic() + TIMEOUT_S
        while (has := self.ids()).tobytes() != ids.tobytes() and time.monotonic() < ends:
            self.page.wait_for_timeout(50)
        np.testing.assert_array_equal(has, ids)

    def generate(self) -> None:
        self.find("#generate").click()

    def wait_for_clips(self, count: int = 1) -> None:
        """Until so many clips are beside the canvas and each shows a frame."""
        self.page.wait_for_function(
            "count => { const all = [...document.querySelectorAll('#videos video')];"
            " return all.length === count && all.every(v => v.readyState >= 2) }",
            arg=count,
        )

    def wait_for_answer(self) -> None:
        """Until every request has its answer and none follows within a debounce."""
        self.page.wait_for_timeout(_DEBOUNCE_MS)
        self.page.wait_for_function("() => document.querySelector('#stop').disabled")

    def wait_until_playing(self) -> None:
        """Until the first clip runs by itself, and goes round."""
        self.page.wait_for_function(
            "() => { const v = document.querySelector('#videos video');"
            " return v && !v.paused && v.loop && v.currentTime > 0.2 }"
        )

    def film(self) -> np.ndarray:
        """Frames of the first clip as it is saved: uint8 `[t, h, w, 3]`."""
        return read_film(self.download("#download-mp4")[1])

    def says(self, pattern: str) -> None:
        """Waits until the status line says so.

        Raises:
          AssertionError: it said something else to the end.
        """
        expect(self.find("#status")).to_have_text(
            re.compile(pattern, re.IGNORECASE), timeout=1000 * TIMEOUT_S
        )

    def chosen(self) -> int:
        """The label that the palette has chosen."""
        return self.find("#palette").evaluate(
            "e => Number(e.querySelector(':checked').closest('[data-label]').dataset.label)"
        )

    def tab_to(self, selector: str) -> None:
        """Presses Tab until an element has the focus.

        Raises:
          AssertionError: it never has.
        """
        for _ in range(120):
            if self.page.evaluate("s => document.activeElement.matches(s)", selector):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"no Tab reaches {selector}")

    def focus(self) -> tuple[str, bool]:
        """What has the focus, and whether one sees it: an outline or a shadow."""
        place, is_seen = self.page.evaluate(scripts.FOCUS)
        return place, is_seen

    def contrasts(self) -> list[dict[str, Any]]:
        """All text: "text", "place", "colour", "under" and "ratio" (1 to 21; 0: can't be told)."""
        self.page.wait_for_function(scripts.SETTLED)
        return self.page.evaluate(scripts.CONTRAST)

    def overlaps(self) -> list[str]:
        """Pairs of texts that lie over each other."""
        return self.page.evaluate(scripts.OVERLAPS)

    def small_targets(self, least: int = 24) -> list[str]:
        """Controls that are lower or narrower than so many CSS pixels (WCAG 2.2, 2.5.8)."""
        return self.page.evaluate(scripts.SMALL_TARGETS, least)

    def photograph(self, name: str) -> None:
        """A screenshot for people, where `STUDIO_SCREENSHOTS` names a folder."""
        if folder := os.environ.get("STUDIO_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.wait_for_function(scripts.SETTLED)
            self.page.screenshot(path=Path(folder) / f"{name}.png")

    def controls(self) -> list[tuple[str, str]]:
        """Role and name of everything that assistive technology can operate or play."""
        nodes = self._cdp.send("Accessibility.getFullAXTree")["nodes"]
        shown = [node for node in nodes if not node.get("ignored")]
        pairs = [
            (node["role"]["value"], node.get("name", {}).get("value", "").strip()) for node in shown
        ]
        return [pair for pair in pairs if pair[0] in _ROLES]


# Chromium's own words where they begin with a capital.
_ROLES = (
    "application",
    "button",
    "checkbox",
    "combobox",
    "ComboBoxSelect",
    "image",
    "link",
    "listbox",
    "menuitem",
    "radio",
    "searchbox",
    "slider",
    "spinbutton",
    "switch",
    "textbox",
    "Video",
)
_DEBOUNCE_MS = 400


def read_ids(content: bytes) -> np.ndarray:
    """A PNG of ids.

    Raises:
      AssertionError: it isn't one of 8 bits and a single channel.
    """
    with Image.open(io.BytesIO(content)) as picture:
        if picture.format != "PNG" or picture.mode != "L":
            raise AssertionError(f"a {picture.format} of mode {picture.mode}")
        return np.array(picture)


def png(pixels: np.ndarray) -> bytes:
    """uint8 `[h, w]` or `[h, w, 3]` as a PNG file."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def read_film(content: bytes) -> np.ndarray:
    """An MP4's frames: uint8 `[t, h, w, 3]`."""
    with av.open(io.BytesIO(content), "r") as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def wait_until(page: Page, holds: Callable[[], bool], what: str) -> None:
    """Waits for something outside the page, which goes on meanwhile.

    Raises:
      AssertionError: it didn't come to pass.
    """
    ends = time.monotonic() + TIMEOUT_S
    while not holds():
        if time.monotonic() > ends:
            raise AssertionError(f"not within {TIMEOUT_S} s: {what}")
        page.wait_for_timeout(20)
