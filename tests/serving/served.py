"""A model without a network, and what clients send: for tests of the server."""

import io
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image
from starlette.applications import Starlette

from vidgan_jax.data.labels import CLASS_NAMES, COLOURS
from vidgan_jax.serving.app import make_server

SIZE = 16
KNOWN = (2, 4, 21)
BOUNDARY = "of-the-tests"
FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
HOST = [(b"host", b"localhost")]


class FakeModel:
    """Draws its map in colours that the seed changes, frame by frame.

    Args:
      num_frames: of a clip; 0 of images.
      seconds: that a clip takes.
    """

    def __init__(self, num_frames: int = 4, seconds: float = 0.0) -> None:
        self.description: dict[str, Any] = {
            "name": "fake",
            "step": 7,
            "size": SIZE,
            "num_frames": num_frames,
            "fps": 8.0,
            "z_dim": 4,
            "num_labels": 150,
            "labels": [
                {"id": i, "name": CLASS_NAMES[i], "colour": f"#{COLOURS[i].tobytes().hex()}"}
                for i in KNOWN
            ],
            "default_label": KNOWN[0],
            "has_style": True,
            "max_variations": 6,
        }
        self.examples = [("sky", np.full((SIZE, SIZE), 2, np.uint8))]
        self.seconds = seconds
        self.may_compile = threading.Event()
        self.may_compile.set()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.calls: list[Mapping[str, Any]] = []
        self.at_once = self.most_at_once = 0

    def compile(self) -> None:
        assert self.may_compile.wait(60)

    def generate(
        self,
        label_map: np.ndarray,
        *,
        seed: int,
        variation: int = 0,
        truncation: float | None = None,
        style: np.ndarray | None = None,
    ) -> np.ndarray:
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        given = {"seed": seed, "variation": variation, "truncation": truncation, "style": style}
        self.calls = [*self.calls[-63:], {"label_map": label_map, **given}]
        time.sleep(self.seconds)
        assert self.may_answer.wait(60)
        frames = range(self.description["num_frames"] or 1)
        shades = [(seed + 40 * (variation + i)) % 256 for i in frames]
        self.at_once -= 1
        return np.stack([COLOURS[label_map] ^ np.uint8(shade) for shade in shades])


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def a_map(label: int = 4, side: int = SIZE) -> bytes:
    """A map of one label, as a PNG of ids."""
    return png(np.full((side, side), label, np.uint8))


def form_of(fields: Mapping[str, bytes]) -> bytes:
    """Fields as a body of `FORM_TYPE`."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'.encode()
        + (b'; filename="a.png"\r\nContent-Type: image/png' if name in ("map", "style") else b"")
        + b"\r\n\r\n"
        + value
        for name, value in fields.items()
    ]
    return b"\r\n".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


@contextmanager
def serving(app: Starlette) -> Iterator[int]:
    """Serves on a socket of loopback meanwhile; the port."""
    server = make_server(app, host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
