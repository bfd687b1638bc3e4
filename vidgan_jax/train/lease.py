"""A run's claim on a workdir in a bucket, where no file system keeps a second run out.

The claim is an object that its run writes anew every few seconds, until it ends. Who finds one
looks whether it changes: no clocks are compared. That of a run that was killed stays as it is, and
the next run takes its place.
"""

import contextlib
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from vidgan_jax import files

NAME = "running.json"
_BEAT_S = 10.0
# Several beats: one may take long, or fail.
_STILL_S = 45.0
# For what another run, that took the same claim at the same time, has written last.
_SETTLED_S = 3.0


@contextlib.contextmanager
def held(workdir: Path) -> Iterator[None]:
    """Claims a workdir meanwhile.

    Waits up to `_STILL_S` seconds where a run has left its claim there.

    Raises:
      ValueError: another run is at work there.
      OSError: nothing can be written there.
    """
    claim = _Claim(workdir / NAME)
    claim.take()
    ended = threading.Event()
    beating = threading.Thread(target=claim.renew_until, args=(ended,), daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
        claim.give_back()


class _Claim:
    """One run's object."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mine = secrets.token_hex(8)
        self._beat = 0

    def take(self) -> None:
        """Writes it, if need be in the place of one that nobody renews."""
        while (found := self._created()) is not None:
            who = f"process {_told(found, 'pid')} on {_told(found, 'host')}"
            print(
                f"{self._path}: left by {who}, or that still runs; looking for up to "
                f"{_STILL_S:.0f} s whether it does",
                file=sys.stderr,
            )
            if self._is_still(found):
                files.write_bytes(self._path, self._content())
                time.sleep(_SETTLED_S)
                found = self._read() or b""
                if _told(found, "run") == self._mine:
                    return
            if (now := self._read()) is not None:
                raise ValueError(
                    f"another run (process {_told(now, 'pid')} on {_told(now, 'host')}) is "
                    f"training in {self._path.parent}; wait for it, or give another --workdir"
                )

    def renew_until(self, ended: threading.Event) -> None:
        """Shows that the run is alive; warns where another has taken its place."""
        while not ended.wait(_BEAT_S):
            try:
                found = self._read()
                if found is not None and _told(found, "run") != self._mine:
                    print(
                        f"warning: process {_told(found, 'pid')} on {_told(found, 'host')} trains "
                        f"in {self._path.parent}, too; stop one of the two runs",
                        file=sys.stderr,
                    )
                    return
                self._beat += 1
                files.write_bytes(self._path, self._content())
            except OSError as error:
                print(f"warning: {self._path} is not renewed ({error})", file=sys.stderr)

    def give_back(self) -> None:
        """Removes it, where it is still this run's; what fails here costs the next run a wait."""
        with contextlib.suppress(OSError):
            found = self._read()
            if found is not None and _told(found, "run") == self._mine:
                files.remove(self._path)

    def _created(self) -> bytes | None:
        """None if there was no claim, and this one was written; else the one that is there."""
        while True:
            try:
                files.create(self._path, self._content())
                return None
            except FileExistsError:
                found = self._read()
            if found is not None:  # else removed since
                # A request whose answer was lost is sent again: it then finds itself.
                return None if _told(found, "run") == self._mine else found

    def _is_still(self, found: bytes) -> bool:
        """Whether the claim stays as it is for `_STILL_S` seconds."""
        begun = time.monotonic()
        while time.monotonic() - begun < _STILL_S:
            time.sleep(_BEAT_S / 4)
            if self._read() != found:
                return False
        return True

    def _read(self) -> bytes | None:
        try:
            return files.read_bytes(self._path)
        except FileNotFoundError:
            return None

    def _content(self) -> bytes:
        fields = {
            "run": self._mine,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "beat": self._beat,
            "time_s": round(time.time(), 3),
        }
        return json.dumps(fields).encode()


def _told(claim: bytes, field: str) -> object:
    """A field of a claim; None of what is none."""
    try:
        return json.loads(claim).get(field)
    except (ValueError, AttributeError):
        return None
