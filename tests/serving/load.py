"""Many clients at once against a server of loopback, and what became of their requests."""

import collections
import contextlib
import http.client
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

_MAX_PAUSE_S = 0.5


def run(
    port: int, body: bytes, content_type: str, *, clients: int, seconds: float, process_id: int
) -> dict[str, Any]:
    """Lets clients ask one after the other, each again when it is answered; a refused one waits.

    Args:
      port: of the server.
      body: that they post.
      content_type: of it.
      clients: at one time.
      seconds: how long.
      process_id: of the server, whose memory is looked at; where there is no /proc it is 0.
    """
    until = time.monotonic() + seconds
    lock = threading.Lock()
    statuses: collections.Counter[str] = collections.Counter()
    latencies: list[float] = []
    errors: list[str] = []

    def ask(number: int) -> None:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        with contextlib.closing(client):
            while time.monotonic() < until:
                began = time.monotonic()
                try:
                    client.request("POST", "/api/generate", body, {"Content-Type": content_type})
                    response = client.getresponse()
                    response.read()
                except (OSError, http.client.HTTPException) as error:
                    with lock:
                        errors.append(f"client {number}: {error!r}")
                    client.close()
                    continue
                with lock:
                    statuses[str(response.status)] += 1
                    if response.status == 200:
                        latencies.append(time.monotonic() - began)
                if response.status == 429:
                    asked_s = float(response.getheader("retry-after", "1"))
                    time.sleep(min(_MAX_PAUSE_S, asked_s))  # less than it is asked to wait

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(clients)]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 4)
    warm_mb = _resident_mb(process_id)
    for thread in threads:
        thread.join(seconds + 60)
    assert not any(thread.is_alive() for thread in threads)
    p50, p95 = np.percentile(latencies or [0.0], [50, 95])
    return {
        "requests": statuses.total(),
        "statuses": dict(statuses),
        "errors": errors,
        "latency_s": {"p50": round(float(p50), 3), "p95": round(float(p95), 3)},
        "rss_mb_warm": warm_mb,
        "rss_mb_after": _resident_mb(process_id),
    }


def _resident_mb(process_id: int) -> float:
    statm = Path(f"/proc/{process_id}/statm")
    if not statm.exists():
        return 0.0
    return round(int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)
