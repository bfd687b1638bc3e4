"""Over a thousand requests that nobody should send: all are answered, none breaks anything."""

import asyncio
import collections
import contextlib
import gc
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from starlette.applications import Starlette

from tests.serving.fuzzing import KINDS, ask, form_request
from tests.serving.served import FakeModel
from vidgan_jax.serving.app import make_app
from vidgan_jax.serving.gate import RateLimit
from vidgan_jax.serving.guard import HEADERS

CASES = 105  # of each kind
ANSWERS = {200, 304, 400, 403, 404, 405, 413, 415, 422}
_STATM = Path("/proc/self/statm")


@contextlib.asynccontextmanager
async def started() -> AsyncIterator[Starlette]:
    """An application whose model is ready, and which counts no client's requests."""
    app = make_app(FakeModel(), rate=RateLimit(burst=10**6))
    async with app.router.lifespan_context(app):
        while app.state.compilation.state != "ready":
            await asyncio.sleep(0.001)
        yield app


def resident_mb() -> float:
    """Memory of this process, in MiB."""
    gc.collect()
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.parametrize("number", range(len(KINDS)), ids=[kind.__name__ for kind in KINDS])
def test_whatever_comes_is_answered(number: int) -> None:
    """No status but the declared ones; errors are JSON; every answer has the safe headers.

    Some clients go before all of their request has come.
    """
    statuses: collections.Counter[int] = collections.Counter()

    async def run() -> None:
        async with started() as app:
            for case in range(CASES):
                rng = np.random.default_rng([number, case])
                request = KINDS[number](rng)
                gone = request.method == "POST" and rng.integers(10) == 0
                step = int(rng.choice([1, 64, 1 << 16])) if len(request.body) < 4000 else 1 << 16
                answer = await ask(app, request, step=step, gone=bool(gone))
                statuses[answer.status] += 1
                where = f"{KINDS[number].__name__}, case {case}: {answer}"
                assert answer.status in ANSWERS or (gone and answer.status == 499), where
                for name, value in HEADERS.items():
                    assert answer.headers[name.lower().encode()] == value.encode(), where
                if answer.status >= 400 and answer.status != 499:
                    assert json.loads(answer.body)["error"]["message"], where
            assert (await ask(app, form_request(seed=b"1"))).status == 200

    asyncio.run(run())
    assert statuses.total() == CASES
    assert sum(statuses[status] for status in statuses if status >= 400) > CASES // 4


@pytest.mark.skipif(not _STATM.exists(), reason="what this process takes is read from /proc")
def test_memory_stays_what_it_was() -> None:
    """After requests of all kinds, and bodies of many megabytes: whole, aborted, too large."""

    async def run(cases: range) -> None:
        async with started() as app:
            for case in cases:
                for number, kind in enumerate(KINDS):
                    rng = np.random.default_rng([100 + number, case])
                    await ask(app, kind(rng))
                large = form_request(style=b"\x89PNG\r\n\x1a\n" + b"x" * 8_000_000)
                assert (await ask(app, large)).status == 400
                assert (await ask(app, large, gone=True)).status == 499
                too_large = form_request(style=b"x" * 9_000_000)
                assert (await ask(app, too_large)).status == 413

    asyncio.run(run(range(4)))
    before = resident_mb()
    asyncio.run(run(range(4, 12)))
    assert resident_mb() - before < 40
