"""What is in the way, in a real browser: a model that compiles, a server that refuses or goes."""

import functools
import re
from typing import Any

import numpy as np

from tests.serving.browser import scripts
from tests.serving.browser.conftest import Serve, Visit
from tests.serving.browser.page import wait_until
from tests.serving.browser.server import MOUNTAIN, TREE

# What the browser itself writes into its console about an answer that is none.
REFUSED = r"Failed to load resource: the server responded with a status of [45]\d\d"
UNREACHABLE = r"Failed to load resource: net::ERR_"


def test_while_the_model_compiles_one_can_draw_and_is_told(visit: Visit, serve: Serve) -> None:
    server = serve(ready=False)
    studio = visit(server=server)
    telling = re.compile("compil|prepar", re.IGNORECASE)
    studio.find("body").get_by_text(telling).first.wait_for()
    studio.choose(MOUNTAIN)
    studio.drag((8.5, 24.5), (40.5, 24.5))
    studio.photograph("desktop_compiling")
    assert studio.overlaps() == []
    studio.page.emulate_media(reduced_motion="reduce")
    studio.page.wait_for_function(scripts.STILL)
    drawn = studio.ids()
    calls = server.model.calls
    assert calls == []
    server.model.may_compile.set()
    studio.wait_for_clips()
    wait_until(studio.page, lambda: (calls[-1].ids == drawn).all(), "a request of the drawing")
    studio.watch.forgive(REFUSED, at_least=0)


def test_a_server_that_has_gone_is_told_and_its_return_noticed(visit: Visit, serve: Serve) -> None:
    server = serve()
    studio = visit(server=server)
    studio.wait_for_clips()
    server.stop()
    studio.choose(MOUNTAIN)
    studio.drag((8.5, 24.5), (40.5, 24.5))
    studio.says("server")
    studio.photograph("desktop_server_gone")
    assert studio.overlaps() == []
    drawn = studio.ids()
    assert (drawn[24, 8:41] == MOUNTAIN).all()
    server.start()
    calls = server.model.calls
    wait_until(studio.page, lambda: (calls[-1].ids == drawn).all(), "the drawing, asked again")
    studio.wait_for_answer()
    studio.watch.forgive(UNREACHABLE)
    studio.watch.forgive(REFUSED, at_least=0)


def test_refusals_are_told_in_the_servers_words(visit: Visit) -> None:
    studio = visit()
    studio.wait_for_clips()
    studio.wait_for_answer()
    refusals = {
        422: "map: has labels that this model has not learned: 149 (flag)",
        500: "something went wrong here",
        429: "8 requests are waiting already",
    }
    asked: list[int] = []

    def refuse(route: Any, status: int, message: str) -> None:
        asked.append(status)
        body = {"error": {"field": "map", "message": message}}
        route.fulfill(status=status, json=body, headers={"Retry-After": "1"})

    for status, message in refusals.items():
        answer = functools.partial(refuse, status=status, message=message)
        studio.page.route("**/api/generate", answer)
        studio.generate()
        studio.says(re.escape(message))
        studio.photograph(f"desktop_status_{status}")
        assert studio.overlaps() == []
        studio.page.unroute("**/api/generate")
    # "Busy" is asked again by itself, after the second that it told; what is wrong is not.
    with studio.page.expect_response("**/api/generate") as answered:
        pass
    assert answered.value.status == 200
    studio.wait_for_answer()
    studio.says("ready")
    assert asked == list(refusals)
    studio.watch.forgive(REFUSED)


def test_an_older_answer_never_replaces_a_newer_one(visit: Visit, serve: Serve) -> None:
    server = serve()
    studio = visit(server=server)
    studio.wait_for_clips()
    studio.wait_for_answer()
    calls = server.model.calls
    server.model.may_answer.clear()
    studio.tool("fill")
    for label in (TREE, MOUNTAIN):
        studio.choose(label)
        studio.click((24.5, 24.5))
        if label == TREE:
            wait_until(studio.page, lambda: (calls[-1].ids == TREE).all(), "the first request")
    server.model.may_answer.set()
    wait_until(studio.page, lambda: (calls[-1].ids == MOUNTAIN).all(), "the second request")
    studio.wait_for_answer()
    expected = server.model.generate(calls[-1].ids, seed=calls[-1].seed)
    seen = studio.film()[:8].mean((0, 1, 2))
    assert np.abs(seen - expected.mean((0, 1, 2))).max() < 6
