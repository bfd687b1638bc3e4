"""Who may come in: one generation at a time, a short queue, and so many requests of each client.

All of it is used from one event loop; only the work itself runs in another thread.
"""

import asyncio
import concurrent.futures
import contextlib
import ipaddress
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

_T = TypeVar("_T")
_LEAST_WAIT_S = 1.0
_KEPT_CLIENTS = 1024


class BusyError(Exception):
    """There is no place left for a request.

    Attributes:
      retry_after_s: when there may be one, seconds.
    """

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class LateError(Exception):
    """A request has waited too long for its turn and its clip."""


class GoneError(Exception):
    """The client has gone before there was an answer."""


class Gate:
    """Runs one piece of work at a time, in a thread, and lets a few wait for it.

    Work that has begun can't be stopped: its place is free when it is done, whether or not anybody
    still waits for it. Work that has not leaves the queue with its client.

    Args:
      waiting: requests that may wait beside the one that runs.
      uploads: requests that may send what they have at one time.
      timeout_s: seconds after which a request is given up.
    """

    def __init__(self, *, waiting: int = 8, uploads: int = 16, timeout_s: float = 120.0) -> None:
        for name, value in (("waiting", waiting), ("uploads", uploads), ("timeout_s", timeout_s)):
            if value <= 0:
                raise ValueError(f"{name} (={value}) must be above 0")
        self._most_waiting = waiting
        self._most_uploads = uploads
        self._timeout_s = timeout_s
        self._uploads = 0
        self._last_s = 0.0
        self._places: list[concurrent.futures.Future[Any]] = []
        self._worker = concurrent.futures.ThreadPoolExecutor(1, "generation")

    @property
    def in_line(self) -> int:
        """Requests that run or wait."""
        self._places = [place for place in self._places if not place.done()]
        return len(self._places)

    def check(self) -> None:
        """Refuses early what would be refused in the end.

        Raises:
          BusyError: the queue is full.
        """
        if (in_line := self.in_line) > self._most_waiting:
            raise BusyError(
                f"{self._most_waiting} requests are waiting already; try again soon",
                max(_LEAST_WAIT_S, in_line * self._last_s / 2),
            )

    @contextlib.contextmanager
    def upload(self) -> Iterator[None]:
        """Holds one of the places of clients that are sending.

        Raises:
          BusyError: all are taken.
        """
        if self._uploads >= self._most_uploads:
            raise BusyError(
                f"{self._most_uploads} uploads are under way already; try again soon", _LEAST_WAIT_S
            )
        self._uploads += 1
        try:
            yield
        finally:
            self._uploads -= 1

    async def run(self, work: Callable[[], _T], gone: Callable[[], Awaitable[None]]) -> _T:
        """Runs work when its turn comes.

        Args:
          work: runs in the one thread.
          gone: returns once the client has gone.

        Returns:
          What the work returns; what it raises is raised.

        Raises:
          BusyError: the queue is full.
          LateError: it has taken too long.
          GoneError: the client has gone.
        """
        self.check()
        place = self._worker.submit(self._timed, work)
        self._places.append(place)
        result = asyncio.wrap_future(place)
        leaving = asyncio.ensure_future(gone())
        try:
            both: tuple[asyncio.Future[Any], ...] = (result, leaving)
            await asyncio.wait(both, timeout=self._timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if result.done():
                return result.result()
            if leaving.done():
                leaving.result()
                raise GoneError
            raise LateError(f"this took longer than {self._timeout_s:g} s; try again later")
        finally:
            leaving.cancel()
            place.cancel()  # unless the work has begun
            result.cancel()

    def close(self) -> None:
        """Lets nobody in any more; what runs goes on to its end."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _timed(self, work: Callable[[], _T]) -> _T:
        began = time.monotonic()
        try:
            return work()
        finally:
            self._last_s = time.monotonic() - began


class RateLimit:
    """A token bucket for each client.

    Args:
      burst: requests that a client may make at once after a pause.
      per_s: requests a second in the long run.
      clock: seconds that only grow.
    """

    def __init__(
        self,
        *,
        burst: int = 60,
        per_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if burst < 1 or not (per_s > 0 and math.isfinite(per_s)):
            raise ValueError(f"burst (={burst}) must be at least 1 and per_s (={per_s}) above 0")
        self._burst = burst
        self._per_s = per_s
        self._clock = clock
        # When each client's bucket is full again; the least recent client first.
        self._full_at: dict[str, float] = {}

    @property
    def clients(self) -> int:
        """Clients that are remembered."""
        return len(self._full_at)

    def check(self, address: str) -> None:
        """Counts a request.

        Args:
          address: of the client. Of IPv6 the first 64 bits count, which are one customer's.

        Raises:
          BusyError: it has made too many.
        """
        client, now = _client(address), self._clock()
        full_at = max(self._full_at.pop(client, now), now) + 1 / self._per_s
        excess_s = full_at - now - self._burst / self._per_s
        if excess_s > 1e-9:
            self._full_at[client] = full_at - 1 / self._per_s
            raise BusyError(
                f"you may ask {self._per_s:g} times a second; wait a moment",
                max(_LEAST_WAIT_S, excess_s),
            )
        self._full_at[client] = full_at
        if len(self._full_at) > _KEPT_CLIENTS:
            self._forget(now)

    def _forget(self, now: float) -> None:
        """Forgets those whose buckets are full, and of the others the least recent half."""
        self._full_at = {client: at for client, at in self._full_at.items() if at > now}
        while len(self._full_at) > _KEPT_CLIENTS // 2:
            del self._full_at[next(iter(self._full_at))]


def _client(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # of a Unix socket, or a test's
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
