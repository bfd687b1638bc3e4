"""Forms that clients send, taken apart in memory as they arrive, within bounds."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

FORM_TYPE = "multipart/form-data"
TEXT_FIELDS = ("seed", "variation", "truncation", "format", "playback", "loops")
FIELDS = ("map", "style", *TEXT_FIELDS)

_TEXT_BYTES = 64
_NAME_BYTES = 256
_BOUNDARY_BYTES = 70  # RFC 2046, section 5.1.1
# Of a form's own: boundaries and headers of its parts.
_FRAME_BYTES = 32 * 1024


class RequestError(Exception):
    """What a client is told instead of a clip.

    Attributes:
      status: of HTTP.
      message: what is wrong and what to do, in words.
      field: the form's field that is wrong; None where it is none.
      retry_after_s: when to come again, seconds; None where that would not help.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        field: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.field = field
        self.retry_after_s = retry_after_s


@dataclasses.dataclass(frozen=True)
class InputLimits:
    """How much a client may send.

    Attributes:
      map_bytes: of a label map's file.
      style_bytes: of a style picture's file.
      map_side: height and width of a label map, pixels; known before it is decoded. In colours
        2048×2048 take 1.7 s and 170 MB to read.
      style_side: likewise of a style picture; photographs are larger.
      upload_s: seconds that a form may take to arrive.
    """

    map_bytes: int = 8 * 2**20
    style_bytes: int = 8 * 2**20
    map_side: int = 2048
    style_side: int = 4096
    upload_s: float = 30.0

    def of_fields(self) -> dict[str, int]:
        """Bytes that each field may have."""
        text = dict.fromkeys(TEXT_FIELDS, _TEXT_BYTES)
        return {"map": self.map_bytes, "style": self.style_bytes, **text}


async def read_form(
    stream: AsyncIterator[bytes], content_type: str, limits: InputLimits
) -> dict[str, bytes]:
    """Reads a form of `FIELDS` into memory, no more of each than it may have.

    Args:
      stream: the request's body as it arrives.
      content_type: of the request.
      limits: how much, and how long it may take.

    Returns:
      What each field holds, by name; fields that were not sent are not there.

    Raises:
      RequestError: 400 for what is no form, is cut short, or has unknown fields or one twice; 408
        for what takes too long; 413 for what is too large; 415 for another content type.
    """
    form = _Form(_boundary(content_type), limits.of_fields())
    try:
        async with asyncio.timeout(limits.upload_s):
            async for chunk in stream:
                form.write(chunk)
    except TimeoutError as error:
        raise RequestError(
            408, f"the form did not arrive within {limits.upload_s:g} s; send it again"
        ) from error
    return form.fields()


def bad_value(field: str, message: str) -> RequestError:
    """What a client is told of a bad value in a field of its form."""
    return RequestError(400, f"{field}: {message}", field=field)


def shown(text: str) -> str:
    """What a client has sent, as an error shows it: short and printable."""
    return ascii(text if len(text) <= 32 else f"{text[:31]}…")


def _boundary(content_type: str) -> bytes:
    """What parts a form, by the request's content type."""
    kind, options = parse_options_header(content_type)
    if kind != FORM_TYPE.encode():
        raise RequestError(
            415,
            f"the content type must be {FORM_TYPE}; got {shown(content_type)} (curl sends forms "
            "by -F)",
        )
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= _BOUNDARY_BYTES:
        raise RequestError(
            400, f"the content type must name a boundary of 1 to {_BOUNDARY_BYTES} characters"
        )
    return boundary


class _Form:
    """Takes a form apart as it arrives.

    Args:
      boundary: between its parts.
      most: bytes that each field may have, by its name.
    """

    def __init__(self, boundary: bytes, most: Mapping[str, int]) -> None:
        self._most = most
        self._left = sum(most.values()) + _FRAME_BYTES
        self._fields: dict[str, bytearray] = {}
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._name = ""
        self._is_complete = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._take_header,
                "on_header_value": self._take_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._name_part,
                "on_part_data": self._take_data,
                "on_end": self._end,
            },
        )

    def write(self, chunk: bytes) -> None:
        self._left -= len(chunk)
        if self._left < 0:
            raise RequestError(413, "the form is too large as a whole; /api/model tells the limits")
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise RequestError(400, f"the form is damaged ({shown(str(error))})") from error

    def fields(self) -> dict[str, bytes]:
        if not self._is_complete:
            raise RequestError(400, "the form is empty or cut short; send all of it")
        return {name: bytes(value) for name, value in self._fields.items()}

    def _begin_part(self) -> None:
        self._disposition = b""
        self._header.clear()
        self._value.clear()

    def _take_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _name_part(self) -> None:
        kind, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"")[:_NAME_BYTES].decode("utf-8", "replace")
        if kind != b"form-data" or not name:
            raise RequestError(400, "a part of the form has no name of a field")
        if name not in self._most:
            raise RequestError(
                400, f"the form has no field {shown(name)}; its fields are {', '.join(FIELDS)}"
            )
        if name in self._fields:
            raise bad_value(name, "is given twice; send it once")
        self._fields[name] = bytearray()
        self._name = name

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        value, most = self._fields[self._name], self._most[self._name]
        if len(value) + end - start > most:
            raise RequestError(
                413, f"{self._name}: has more than {most} bytes; make it smaller", field=self._name
            )
        value += data[start:end]

    def _end(self) -> None:
        self._is_complete = True
