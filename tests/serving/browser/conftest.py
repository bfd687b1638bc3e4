"""Fixtures of the tests in a browser: one Chromium, one server, a context a visit."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving.browser.page import CHROMIUM, DESKTOP, TIMEOUT_S, Studio, chromium
from tests.serving.browser.server import PaintedModel, Server

Serve = Callable[..., Server]
Visit = Callable[..., Studio]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A browser takes as long as the rest of the studio's tests together, and more."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs Debian's package `chromium` (apt-get install chromium)")
    with chromium() as one:
        yield one


@pytest.fixture(scope="package")
def served() -> Iterator[Server]:
    """A server for the tests that leave it as it was."""
    server = Server(PaintedModel())
    yield server
    server.stop()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Servers of a test's own, whose model it may hold back."""
    servers: list[Server] = []

    def start(*, ready: bool = True, **model: Any) -> Server:
        painted = PaintedModel(**model)
        if not ready:
            painted.may_compile.clear()
        servers.append(Server(painted))
        return servers[-1]

    yield start
    for server in servers:
        server.model.may_compile.set()
        server.model.may_answer.set()
        server.stop()


@pytest.fixture
def visit(browser: Any, served: Server, serve: Serve) -> Iterator[Visit]:
    """Opens the page in a fresh context; at the end nothing may have gone wrong in any.

    It takes `serve` only to be gone before the test's own servers are.
    """
    opened: list[Studio] = []

    def open_page(
        settings: dict[str, Any] = DESKTOP,
        *,
        server: Server = served,
        fragment: str = "",
        **more: Any,
    ) -> Studio:
        context = browser.new_context(**settings, **more)
        context.set_default_timeout(1000 * TIMEOUT_S)
        opened.append(Studio(context.new_page(), server, context))
        return opened[-1].open(fragment)

    yield open_page
    for studio in opened:
        studio.page.context.close()
    assert [text for studio in opened for text in studio.watch.complaints] == []
