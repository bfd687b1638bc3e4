"""Requests that nobody should send, by kinds, each case by its own seed."""

import asyncio
import io
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from starlette.applications import Starlette

from tests.serving.served import BOUNDARY, FORM_TYPE, KNOWN, SIZE, a_map, form_of, png

Headers = list[tuple[bytes, bytes]]


class Request(NamedTuple):
    """What is sent, as a server hands it to the application."""

    method: str
    path: str
    headers: Headers
    body: bytes = b""


class Answer(NamedTuple):
    """What comes back."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


async def ask(
    app: Starlette, request: Request, *, step: int = 1 << 16, gone: bool = False
) -> Answer:
    """Calls the application as a server does, without what a well-behaved client would mend.

    Args:
      app: it has been started.
      request: to send.
      step: bytes of the body that come at once.
      gone: the client goes before the last of them.
    """
    pieces = [request.body[i : i + step] for i in range(0, len(request.body), step)] or [b""]
    if gone:
        pieces.pop()
    left = list(reversed(pieces))
    answered = asyncio.Event()
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if left:
            body = left.pop()
            return {"type": "http.request", "body": body, "more_body": bool(left) or gone}
        if not gone:
            await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            answered.set()

    path, _, query = request.path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "query_string": query.encode("utf-8", "surrogatepass"),
        "root_path": "",
        "headers": request.headers,
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8080),
        "state": {},
    }
    async with asyncio.timeout(60):
        await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent)
    return Answer(sent[0]["status"], dict(sent[0]["headers"]), body)


def post(
    body: bytes, content_type: bytes = FORM_TYPE.encode(), extra: Headers | None = None
) -> Request:
    headers = [(b"host", b"localhost"), (b"content-type", content_type), *(extra or [])]
    return Request("POST", "/api/generate", headers, body)


def form_request(**fields: bytes) -> Request:
    return post(form_of({"map": a_map(), **fields}))


def damaged(rng: np.random.Generator, data: bytes) -> bytes:
    """Bytes changed, lost, doubled or put in."""
    some = bytearray(data)
    for _ in range(rng.integers(1, 6)):
        where = int(rng.integers(0, len(some) + 1))
        length = int(rng.integers(0, 1 + len(some) // 4))
        match rng.integers(5):
            case 0:
                some[where : where + length] = rng.bytes(length)
            case 1:
                del some[where : where + length]
            case 2:
                some[where:where] = some[where : where + length]
            case 3:
                some[where:where] = rng.bytes(int(rng.integers(1, 9)))
            case 4:
                del some[where:]
    return bytes(some)


# --- Kinds


def forms_damaged(rng: np.random.Generator) -> Request:
    fields = {"map": a_map(), "seed": b"1", "style": a_map(9), "playback": b"pingpong"}
    return post(damaged(rng, form_of(fields)))


HEAD = b"Content-Disposition: form-data; name="
PIECES = (
    b"--",
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    f"--{BOUNDARY}".encode(),
    f"\r\n--{BOUNDARY}\r\n".encode(),
    f"--{BOUNDARY}--".encode(),
    HEAD + b'"map"\r\n\r\n',
    HEAD + b'"map"; filename="../../etc/passwd"\r\n\r\n',
    HEAD + b'"\xff\xfe"\r\n\r\n',
    HEAD + b"seed\r\n\r\n1",
    b"Content-Disposition: form-data; name*=utf-8''seed\r\n\r\n",
    b"Content-Disposition: form-data; " + b"a=b; " * 60 + b"\r\n\r\n",
    b"Content-Transfer-Encoding: base64\r\n",
    b"X: " + b"y" * 5000 + b"\r\n",
    b"A: b\r\n" * 20,
    b": \r\n",
    b"\r\n\r\n",
)


def forms_put_together(rng: np.random.Generator) -> Request:
    chosen = rng.integers(0, len(PIECES), rng.integers(0, 12))
    return post(b"".join(PIECES[i] for i in chosen))


CONTENT_TYPES = (
    b"",
    b"multipart/form-data",
    b"multipart/form-data; boundary=",
    b'multipart/form-data; boundary="',
    b"multipart/form-data; boundary=\xff\xfe",
    b"multipart/form-data; boundary=" + b"x" * 300,
    b"multipart/form-data; charset=undefined; boundary=of-the-tests",
    b"multipart/form-data; charset=punycode; boundary=of-the-tests",
    b"multipart/form-data; charset=\0; boundary=of-the-tests",
    b"multipart/form-data; boundary*=utf-8''of-the-tests",
    b"MULTIPART/FORM-DATA; BOUNDARY=of-the-tests",
    b"multipart/form-data, application/json; boundary=of-the-tests",
    b"application/x-www-form-urlencoded",
    b"application/json; boundary=of-the-tests",
    b";" * 200,
    b'multipart/form-data; x="\\"\\\\\\"; boundary=of-the-tests',
)


def content_types(rng: np.random.Generator) -> Request:
    kind = CONTENT_TYPES[rng.integers(len(CONTENT_TYPES))]
    return post(form_of({"map": a_map()}), damaged(rng, kind) if rng.integers(2) else kind)


def values(rng: np.random.Generator) -> Request:
    """Numbers and choices of all scripts, lengths and encodings."""
    texts = (
        "", "0", "-0", "00", "1e3", "1e999", "NaN", "-inf", "1" * 4000, "9" * 64, "٣", "²", "１２",
        "0x10", "1_000", " 1", "1\r\n", "1\0", "\ud800", "\U0001f600", "true", "null", "[]",
        "mp4\0", "MP4", "../mp4", "%00", "0.1", "4.0000001", "1.", "4", "once", "pingpong", "png",
    )  # fmt: skip
    codecs = ("utf-8", "utf-16", "utf-32", "cp037", "utf-7")
    names = ("seed", "variation", "truncation", "format", "playback", "loops")
    fields = {}
    for name in rng.choice(names, rng.integers(1, 4), replace=False):
        text = texts[rng.integers(len(texts))]
        fields[str(name)] = text.encode(codecs[rng.integers(len(codecs))], "replace")
    return form_request(**fields)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pngs_damaged(rng: np.random.Generator) -> Request:
    ids = rng.choice(KNOWN, (SIZE, SIZE)).astype(np.uint8)
    field = ("map", "style")[rng.integers(2)]
    return form_request(**{field: damaged(rng, png(ids))})


def pngs_of_chunks(rng: np.random.Generator) -> Request:
    """Right sums over wrong contents: what only a hand makes. Bombs, too."""
    sizes = (0, 1, 16, 2048, 2049, 4097, 8193, 65_536, 2**31 - 1, 2**31, 2**32 - 1)
    width, height = (sizes[rng.integers(len(sizes))] for _ in range(2))
    depth, colour = rng.integers(0, 20), rng.integers(0, 8)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, *rng.integers(0, 2, 3))
    bomb = zlib.compress(b"\0" * int(rng.choice([1, 300, 2_000_000])), 6)
    others = (
        (b"PLTE", rng.bytes(int(rng.integers(0, 800)))),
        (b"tRNS", rng.bytes(int(rng.integers(0, 300)))),
        (b"zTXt", b"a\0\0" + bomb),
        (b"iCCP", b"a\0\0" + bomb),
        (b"iTXt", b"a\0\1\0\0\0" + bomb),
        (b"eXIf", b"MM\0*" + rng.bytes(40)),
        (b"acTL", struct.pack(">II", int(rng.integers(0, 2**32)), 0)),
        (b"fcTL", rng.bytes(26)),
        (b"IHDR", header),
        (b"IDAT", bomb),
        (b"IDAT", rng.bytes(50)),
        (b"IEND", b""),
        (b"\0\0\0\0", b""),
        (b"gAMA", b""),
    )
    good = struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0)
    first = chunk(b"IHDR", good if rng.integers(2) else header)
    rest = b"".join(chunk(*others[i]) for i in rng.integers(0, len(others), rng.integers(0, 6)))
    field = ("map", "style")[rng.integers(2)]
    return form_request(**{field: b"\x89PNG\r\n\x1a\n" + first + rest + chunk(b"IEND", b"")})


def pictures(rng: np.random.Generator) -> Request:
    """Of other formats and modes, whole and damaged."""
    kinds = (
        ("PNG", "1"), ("PNG", "LA"), ("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "I;16"),
        ("JPEG", "L"), ("JPEG", "RGB"), ("JPEG", "CMYK"), ("GIF", "P"), ("BMP", "RGB"),
        ("WEBP", "RGB"), ("TIFF", "F"), ("PPM", "RGB"), ("ICO", "RGBA"), ("TGA", "RGB"),
    )  # fmt: skip
    name, mode = kinds[rng.integers(len(kinds))]
    side = (int(rng.integers(1, 40)), int(rng.integers(1, 40)))
    image = Image.new(mode if mode != "P" else "L", side)
    if mode not in ("F", "I;16"):
        image = Image.frombytes(image.mode, side, rng.bytes(len(image.tobytes())))
    file = io.BytesIO()
    (image.convert("P") if mode == "P" else image).save(file, format=name)
    data = file.getvalue()
    field = ("map", "style")[rng.integers(2)]
    return form_request(**{field: damaged(rng, data) if rng.integers(2) else data})


def garbage(rng: np.random.Generator) -> Request:
    signatures = (
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe1\0\x10Exif\0\0MM\0*",
    )
    data = signatures[rng.integers(len(signatures))] + rng.bytes(int(rng.integers(0, 3000)))
    return form_request(**{("map", "style")[rng.integers(2)]: data})


PATHS = (
    "/static/", "/static/../app.py", "/static/../../../etc/passwd", "/static/..\\app.py",
    "/static/%2e%2e/app.py", "/static/main.js\0.png", "/static/\0", "//static/main.js",
    "/static/main.js/", "/static/.", "/static/..", "/static/C:\\windows", "/static/con",
    "/api/examples/..", "/api/examples/1e0.png", "/api/examples/٣.png", "/api/examples/-0.png",
    "/api/examples/99999999999999999999.png", "/api/generate/../model", "/%00", "/\x00", "",
    "*", "/api/model?x=" + "y" * 3000, "/" + "a/" * 900, "/\udcff", "/static/\udcff", "/\U0001f600",
    "http://evil.example/", "/openapi.json;a", "/index.html", "/static/index.html",
)  # fmt: skip
METHODS = (
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "PATCH",
    "G\0T",
    "",
)


def paths(rng: np.random.Generator) -> Request:
    path = PATHS[rng.integers(len(PATHS))]
    if rng.integers(3) == 0:
        path = "/static/" + "".join(map(chr, rng.integers(0, 0x500, rng.integers(1, 40))))
    method = METHODS[rng.integers(len(METHODS))] if rng.integers(2) else "GET"
    return Request(method, path, [(b"host", b"localhost")])


NAMES = (
    b"host", b"origin", b"content-length", b"content-type", b"transfer-encoding", b"range",
    b"cookie", b"if-none-match", b"if-modified-since", b"accept", b"accept-encoding",
    b"content-encoding", b"expect", b"x-forwarded-for", b"x-forwarded-host", b"sec-fetch-site",
    b"connection", b"te",
)  # fmt: skip
VALUES = (
    b"", b"*", b"W/*", b'"', b'W/"x",' * 99, b"\xff\xfe", b"\0", b"-1", b"1" * 3000, b"null",
    b"localhost", b"localhost:-1", b"[::1", b"[" * 50, b"evil.example", b"http://localhost",
    b"gzip", b"bytes=0-", b"bytes=9-1,", b"100-continue", b"chunked", b"127.0.0.1, 127.0.0.2",
    b"cross-site", b"Wed, 99 Foo 9999", b"a=b; " * 400,
)  # fmt: skip


def headers(rng: np.random.Generator) -> Request:
    base = form_request(seed=b"3") if rng.integers(2) else Request("GET", "/static/main.js", [])
    more = []
    for _ in range(rng.integers(1, 8)):
        value = (
            rng.bytes(int(rng.integers(0, 60)))
            if rng.integers(4) == 0
            else VALUES[rng.integers(len(VALUES))]
        )
        more.append((NAMES[rng.integers(len(NAMES))], value))
    kept = [pair for pair in base.headers if rng.integers(8)]
    return base._replace(headers=[*kept, *more] if rng.integers(2) else [*more, *kept])


KINDS: Sequence[Callable[[np.random.Generator], Request]] = (
    forms_damaged,
    forms_put_together,
    content_types,
    values,
    pngs_damaged,
    pngs_of_chunks,
    pictures,
    garbage,
    paths,
    headers,
)
"""Each makes a request out of random numbers."""
