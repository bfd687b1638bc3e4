"""The studio's HTTP application: the page, and the interface that it and others generate by."""

import asyncio
import contextlib
import dataclasses
import functools
import hashlib
import importlib.resources
import logging
import math
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vidgan_jax.serving import inputs, openapi, outputs
from vidgan_jax.serving.forms import InputLimits, RequestError, read_form
from vidgan_jax.serving.gate import BusyError, Gate, GoneError, LateError, RateLimit
from vidgan_jax.serving.guard import HEADERS, Guard, error
from vidgan_jax.serving.inputs import Wish

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
_INDEX = "index.html"
_RETRY_S = 2.0
_NOT_STORED = {"Cache-Control": "no-store"}
# What requests end by beside an answer, each with its own status.
_TOLD = (RequestError, BusyError, LateError, GoneError, ClientDisconnect, HTTPException)
_log = logging.getLogger(__name__)


class Model(Protocol):
    """What the application needs of a model; `serving.model.StudioModel` is one."""

    @property
    def description(self) -> Mapping[str, Any]:
        """What /api/model tells of it, as JSON takes it."""

    @property
    def examples(self) -> Sequence[tuple[str, np.ndarray]]:
        """Names and label maps to start from, uint8 `[size, size]`."""

    def compile(self) -> None:
        """Compiles all that `generate` runs."""

    def generate(
        self,
        label_map: np.ndarray,
        *,
        seed: int,
        variation: int = 0,
        truncation: float | None = None,
        style: np.ndarray | None = None,
    ) -> np.ndarray:
        """Generates uint8 `[t, size, size, 3]` of a label map, uint8 `[size, size]`."""


@dataclasses.dataclass(frozen=True)
class PageFile:
    """A file of the page.

    Attributes:
      data: all of it.
      media_type: what browsers know it by.
      tag: tells one version from another, as HTTP writes it.
    """

    data: bytes
    media_type: str
    tag: str


class Compilation:
    """Compiles a model beside everything else, and tells how far that is.

    Attributes:
      state: "compiling", "ready" or "failed".
      error: what went wrong; None where nothing did.

    Args:
      model: to compile.
    """

    def __init__(self, model: Model) -> None:
        self.state = "compiling"
        self.error: str | None = None
        self._model = model
        self._began_s = time.monotonic()
        self._took_s: float | None = None

    @property
    def seconds(self) -> float:
        """How long it has taken so far, or in all."""
        return time.monotonic() - self._began_s if self._took_s is None else self._took_s

    def start(self) -> None:
        """Begins, once, in a thread that keeps nobody from leaving."""
        self._began_s = time.monotonic()
        threading.Thread(target=self._compile, name="compilation", daemon=True).start()

    def _compile(self) -> None:
        try:
            self._model.compile()
            state = "ready"
        except Exception as failure:  # whatever it is: the page tells it
            _log.exception("the model can't be compiled")
            self.error = f"{type(failure).__name__}: {failure}"
            state = "failed"
        self._took_s = time.monotonic() - self._began_s
        self.state = state


def make_app(
    model: Model,
    *,
    hosts: Sequence[str] = (),
    limits: InputLimits | None = None,
    gate: Gate | None = None,
    rate: RateLimit | None = None,
) -> Starlette:
    """Makes the application; it compiles the model in the background once it is started.

    Args:
      model: to generate with; one thread at a time calls it.
      hosts: names and addresses by which the server may be called, beside loopback's.
      limits: on what clients send; None for the usual.
      gate: lets one request generate at a time; None for the usual.
      rate: of each client's requests; None for the usual.

    Returns:
      An ASGI application, whose `state.compilation` is the `Compilation`.
    """
    limits = limits or InputLimits()
    compilation = Compilation(model)
    api = _Api(model, compilation, limits, gate or Gate(), rate or RateLimit())

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        compilation.start()
        try:
            yield
        finally:
            api.gate.close()

    app = Starlette(
        routes=api.routes(),
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers={
            **dict.fromkeys(_TOLD, _tell),
            Exception: _tell_failure,
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.compilation = compilation
    return app


def make_server(app: Starlette, *, host: str, port: int) -> uvicorn.Server:
    """A server for the application, with bounds on what connections cost.

    Args:
      app: of `make_app`.
      host: address to listen on.
      port: likewise; 0 for any that is free.
    """
    # Of every damaged form it would write a line.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            http="h11",
            ws="none",
            lifespan="on",
            log_level="error",
            access_log=False,
            server_header=False,
            # X-Forwarded-For would let a client choose the address that its requests count for.
            proxy_headers=False,
            limit_concurrency=256,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=5,
        )
    )


def read_page() -> dict[str, PageFile]:
    """The files of the page, by their names, out of the package."""
    found = {}
    for entry in importlib.resources.files(__package__).joinpath("page").iterdir():
        stem, dot, suffix = entry.name.rpartition(".")
        if stem and dot + suffix in _TYPES:
            data = entry.read_bytes()
            tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
            found[entry.name] = PageFile(data, _TYPES[dot + suffix], tag)
    return found


class _Api:
    """The routes, and what they share."""

    def __init__(
        self,
        model: Model,
        compilation: Compilation,
        limits: InputLimits,
        gate: Gate,
        rate: RateLimit,
    ) -> None:
        self.gate = gate
        self._model = model
        self._compilation = compilation
        self._limits = limits
        self._rate = rate
        self._page = read_page()
        self._examples = [outputs.encode_ids(label_map) for _, label_map in model.examples]
        self._description = openapi.describe(limits)
        # Decoding a picture may take many times its bytes: one at a time.
        self._decoding = asyncio.Lock()

    def routes(self) -> list[Route]:
        return [
            Route("/", self.page),
            Route("/static/{name}", self.static),
            Route("/api/model", self.model),
            Route("/api/examples", self.examples),
            Route("/api/examples/{name}", self.example),
            Route("/api/generate", self.generate, methods=["POST"]),
            Route("/openapi.json", self.openapi),
        ]

    async def page(self, request: Request) -> Response:
        return _page_file(request, self._page[_INDEX])

    async def static(self, request: Request) -> Response:
        file = self._page.get(request.path_params["name"])
        if file is None:
            raise HTTPException(404)
        return _page_file(request, file)

    async def model(self, request: Request) -> Response:
        limits, compilation = self._limits, self._compilation
        content = {
            **self._model.description,
            "limits": {name: getattr(limits, name) for name in openapi.TOLD_LIMITS},
            "state": compilation.state,
            "seconds": round(compilation.seconds, 3),
            "error": compilation.error,
        }
        return JSONResponse(content, headers=_NOT_STORED)

    async def examples(self, request: Request) -> Response:
        names = [name for name, _ in self._model.examples]
        content = [{"name": n, "url": f"/api/examples/{i}.png"} for i, n in enumerate(names)]
        return JSONResponse(content, headers=_NOT_STORED)

    async def example(self, request: Request) -> Response:
        names = [f"{i}.png" for i in range(len(self._examples))]
        if request.path_params["name"] not in names:
            raise HTTPException(404)
        data = self._examples[names.index(request.path_params["name"])]
        return Response(data, media_type="image/png", headers=_NOT_STORED)

    async def openapi(self, request: Request) -> Response:
        return JSONResponse(self._description, headers=_NOT_STORED)

    async def generate(self, request: Request) -> Response:
        self._rate.check(request.client.host if request.client else "")
        self._check_ready()
        self.gate.check()
        with self.gate.upload():
            content_type = request.headers.get("content-type", "")
            form = await read_form(request.stream(), content_type, self._limits)
            async with self._decoding:
                wish = await asyncio.to_thread(
                    inputs.read_wish, form, self._model.description, self._limits
                )
        del form
        file, generation_s = await self.gate.run(
            functools.partial(self._make, wish), functools.partial(_gone, request)
        )
        headers = {
            **_NOT_STORED,
            "X-Seed": str(wish.seed),
            "X-Generation-Ms": str(round(generation_s * 1000)),
        }
        return Response(file.data, media_type=file.media_type, headers=headers)

    def _check_ready(self) -> None:
        if self._compilation.state == "failed":
            raise RequestError(503, f"the model can't be compiled: {self._compilation.error}")
        if self._compilation.state != "ready":
            raise RequestError(
                503,
                "the model is still being compiled; /api/model tells when it is ready",
                retry_after_s=_RETRY_S,
            )

    def _make(self, wish: Wish) -> tuple[outputs.File, float]:
        """A file, and the seconds that the model took for it."""
        began = time.monotonic()
        frames = self._model.generate(
            wish.label_map,
            seed=wish.seed,
            variation=wish.variation,
            truncation=wish.truncation,
            style=wish.style,
        )
        generation_s = time.monotonic() - began
        file = outputs.encode(
            frames,
            format=wish.format,
            fps=self._model.description["fps"],
            playback=wish.playback,
            loops=wish.loops,
        )
        return file, generation_s


async def _gone(request: Request) -> None:
    """Returns once the client has gone, after all of its request has come."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _page_file(request: Request, file: PageFile) -> Response:
    """A file of the page, which browsers ask for again each time, or that it is still the same."""
    headers = {"Cache-Control": "no-cache", "ETag": file.tag}
    known = {tag.strip().removeprefix("W/") for tag in _if_none_match(request).split(",")}
    if file.tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(file.data, media_type=file.media_type, headers=headers)


def _if_none_match(request: Request) -> str:
    return request.headers.get("if-none-match", "")


def _after(seconds: float | None) -> dict[str, str]:
    return {} if seconds is None else {"Retry-After": str(math.ceil(seconds))}


# --- Errors, as clients are told of them

_ELSE = {404: "there is nothing of this name here", 405: "this takes other methods"}


def _tell(request: Request, told: Exception) -> Response:
    match told:
        case RequestError():
            after = _after(told.retry_after_s)
            return error(told.status, told.message, field=told.field, headers=after)
        case BusyError():
            return error(429, str(told), headers=_after(told.retry_after_s))
        case LateError():
            return error(503, str(told), headers=_after(_RETRY_S))
        case HTTPException():
            words = _ELSE.get(told.status_code, told.detail)
            return error(told.status_code, words, headers=dict(told.headers or {}))
        case _:  # the client has gone, and nobody reads this
            return Response(status_code=499)


def _tell_failure(request: Request, told: Exception) -> Response:
    """Of a mistake in the program itself, which the server's log has."""
    return error(500, "something went wrong here; the server's log tells what", headers=HEADERS)
