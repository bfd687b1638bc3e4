"""The real server in a thread, with a model that tests hold back and question."""

import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vidgan_jax.data import labels
from vidgan_jax.serving.app import make_app, make_server

SKY, TREE, GRASS, MOUNTAIN, WATER, SEA, SAND, RIVER = map(
    labels.class_id, ("sky", "tree", "grass", "mountain", "water", "sea", "sand", "river")
)


@dataclass(frozen=True)
class Call:
    """What the server asked of the model."""

    ids: np.ndarray
    seed: int
    variation: int
    truncation: float | None
    style: np.ndarray | None


@dataclass
class PaintedModel:
    """A model in all that the page sees, without a network: a clip is its map, drifting.

    Attributes:
      size: of maps and frames, in pixels.
      has_style: it takes a style picture.
      may_compile: `compile` waits for it.
      may_answer: `generate` waits for it.
      calls: all calls of `generate` so far, finished or not.
    """

    size: int = 48
    has_style: bool = False
    may_compile: threading.Event = field(default_factory=threading.Event)
    may_answer: threading.Event = field(default_factory=threading.Event)
    calls: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.may_compile.set()
        self.may_answer.set()
        known = (SKY, TREE, GRASS, MOUNTAIN, WATER, SEA, SAND, RIVER)
        self.description: dict[str, Any] = {
            "name": "painted",
            "step": 12000,
            "size": self.size,
            "num_frames": 8,
            "fps": 8.0,
            "z_dim": 16,
            "num_labels": 150,
            "labels": [
                {
                    "id": label,
                    "name": labels.CLASS_NAMES[label],
                    "colour": "#{:02x}{:02x}{:02x}".format(*labels.COLOURS[label]),
                }
                for label in known
            ],
            "default_label": known[0],
            "has_style": self.has_style,
            "max_variations": 6,
        }
        sky = np.full((self.size, self.size), SKY, np.uint8)
        hills = sky.copy()
        hills[self.size // 3 :] = MOUNTAIN
        hills[self.size // 2 :] = SEA
        # The page opens the first.
        self.examples: Sequence[tuple[str, np.ndarray]] = (("sky", sky), ("hills", hills))

    def compile(self) -> None:
        if not self.may_compile.wait(60):
            raise TimeoutError("no test let the model compile")

    def generate(
        self,
        label_map: np.ndarray,
        *,
        seed: int,
        variation: int = 0,
        truncation: float | None = None,
        style: np.ndarray | None = None,
    ) -> np.ndarray:
        self.calls.append(Call(label_map.copy(), seed, variation, truncation, style))
        if not self.may_answer.wait(60):
            raise TimeoutError("no test let the model answer")
        rng = np.random.default_rng([seed, variation])
        tint = rng.integers(0, 96, 3) * (1.0 if truncation is None else truncation)
        if style is not None:
            tint = tint + style.reshape(-1, 3).mean(0) / 2
        frames = [labels.COLOURS[np.roll(label_map, 3 * i, axis=1)] for i in range(8)]
        return np.clip(0.6 * np.stack(frames) + tint, 0, 255).astype(np.uint8)


class Server:
    """The real app on a free port of loopback, in a thread; can go away and come back."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen()  # from now on clients wait, whatever the thread does
        self.port = listener.getsockname()[1]
        self._server = make_server(make_app(self.model), host="127.0.0.1", port=self.port)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        if self._thread.is_alive():
            raise RuntimeError("the server did not end within 20 s")
