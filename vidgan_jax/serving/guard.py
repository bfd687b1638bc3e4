"""What every request passes: names that this server has, pages that may post, headers for browsers.

A server on loopback is reached by every page that the user's browser shows. A page of elsewhere
whose name has come to mean 127.0.0.1 (DNS rebinding) is told by the Host header, one that posts
across by Origin.
"""

import ipaddress
import re
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY = (
    "default-src 'self'",
    "img-src 'self' blob: data:",
    "media-src blob:",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
)
HEADERS = {
    "Content-Security-Policy": "; ".join(_POLICY),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of every answer."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# A name, an IPv4 address or an IPv6 address in brackets; a port.
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,253}))(?::[0-9]{1,5})?")
_SAFE = ("GET", "HEAD", "OPTIONS")


def error(
    status: int,
    message: str,
    *,
    field: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """An answer that tells what is wrong.

    Args:
      status: of HTTP.
      message: in words.
      field: of the form, if it is one.
      headers: more of them.
    """
    content = {"error": {"field": field, "message": message}}
    return JSONResponse(content, status, {"Cache-Control": "no-store", **(headers or {})})


class Guard:
    """Lets requests to this server's own names through, and adds `HEADERS` to the answers.

    Args:
      app: answers what comes through.
      hosts: names and addresses that the server has beside loopback's. "0.0.0.0" and "::" stand for
        any address written in numbers, which no other name can have come to mean.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app = app
        names = {host.strip("[]").lower() for host in hosts}
        self._takes_addresses = bool(names & {"0.0.0.0", "::"})
        self._names = {*names, *_LOOPBACK}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers an ASGI call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_own(hosts[0]):
            return error(
                400, "this server has no such name; use localhost, or start it with --host NAME"
            )
        if scope["method"] not in _SAFE and not _is_same_origin(headers, hosts[0]):
            return error(403, "only the page of this server itself may post to it")
        return None

    def _is_own(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = (found[1] or found[2]).lower().removesuffix(".")
        return name in self._names or (self._takes_addresses and _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_same_origin(headers: Headers, host: str) -> bool:
    """Whether a request is of a page of this host, or of a program that is no browser."""
    own = (f"http://{host}".lower(), f"https://{host}".lower())
    if any(origin.lower() not in own for origin in headers.getlist("origin")):
        return False
    return all(site in ("same-origin", "none") for site in headers.getlist("sec-fetch-site"))
