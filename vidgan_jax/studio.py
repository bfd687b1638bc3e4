"""Serves a page to draw label maps on, and to watch what a model makes of them.

    python -m vidgan_jax.studio
    python -m vidgan_jax.studio --checkpoint WORKDIR --port 8080

Without --checkpoint it takes the model that `bash launch/quickstart.sh maps` has trained. The page
is for this machine alone, unless --host says otherwise.
"""

import argparse
import errno
import ipaddress
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vidgan_jax import cli
from vidgan_jax.serving.model import StudioModel
from vidgan_jax.train.checkpoint import has_checkpoint

TRAINED_HERE = (Path("quickstart/maps3d"), Path("quickstart/maps2d"))
_EXTRA = ("starlette", "uvicorn", "multipart", "python_multipart", "anyio")
_INSTALL = 'pip install ".[studio]"'
_LOOPBACK = "127.0.0.1"
_MAX_PORT = 65535


def studio(args: argparse.Namespace) -> int:
    """The command: checkpoint → model → server, until Ctrl-C."""
    if not 0 <= args.port <= _MAX_PORT:
        raise ValueError(f"--port (={args.port}) must be from 0, for any free one, to {_MAX_PORT}")
    make_app, make_server = _server_parts()
    checkpoint = Path(args.checkpoint) if args.checkpoint else trained_here()
    # Before the model, which takes seconds: a port in use is told at once.
    with _listen(args.host, args.port) as listener:
        model = StudioModel.load(checkpoint, averaged=args.ema)
        app = make_app(model, hosts=names_of(args.host))
        server = make_server(app, host=args.host, port=args.port)
        _tell(model, checkpoint, args.host)
        print(f"draw at {_url(listener)} (Ctrl-C ends it)", flush=True)
        try:
            server.run(sockets=[listener])
        finally:
            if app.state.compilation.state == "compiling":
                _leave_at_once(sys.exception())
    return 0


def _leave_at_once(error: BaseException | None) -> None:
    """Ends the process as `cli.run` does, but without winding up the interpreter.

    XLA can't be stopped while it compiles, and a thread that comes back from there to an
    interpreter that has ended aborts the process. Returns where the error is a defect.
    """
    line, status = ("", 0) if error is None else cli.told(error) or ("", None)
    if status is None:
        return
    if line:
        print(line, file=sys.stderr, flush=True)
    os._exit(status)


def trained_here() -> Path:
    """The model that the quickstart has trained below the current folder: clips', else images'.

    Raises:
      ValueError: there is none.
    """
    for workdir in TRAINED_HERE:
        if has_checkpoint(workdir):
            return workdir
    raise ValueError(
        f"no model to draw for: there is none in {' or '.join(map(str, TRAINED_HERE))}; "
        "`bash launch/quickstart.sh maps` trains one in about ten minutes, or give one of label "
        "maps as --checkpoint WORKDIR"
    )


def names_of(host: str) -> list[str]:
    """What this machine may be called in URLs, beside loopback's, where a server listens there.

    An address of no machine, 0.0.0.0 or ::, stands for all that this one has.
    """
    return [] if _is_loopback(host) else [host, socket.gethostname()]


def _server_parts() -> tuple[Any, Any]:
    """`make_app` and `make_server`.

    Raises:
      ValueError: the extra is not installed.
    """
    try:
        from vidgan_jax.serving.app import make_app, make_server
    except ImportError as error:
        if (error.name or "").split(".")[0] not in _EXTRA:
            raise
        raise ValueError(f"the studio's server is not installed ({error}): {_INSTALL}") from error
    return make_app, make_server


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
      ValueError: the port is in use or not for users, or the machine has no such address.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = found[0]
        return socket.create_server(address[:2], family=family)
    except socket.gaierror as error:
        raise ValueError(
            f"--host (={host}): {error.strerror}; give a name or an address of this machine"
        ) from error
    except OSError as error:
        raise ValueError(_why_not(error, host, port)) from error


def _why_not(error: OSError, host: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            rule = "is in use; end what uses it, or give another one, or 0 for any free one"
            return f"--port (={port}) {rule}"
        case errno.EACCES | errno.EPERM:
            return f"--port (={port}) is not for users of this machine; give one above 1023"
        case errno.EADDRNOTAVAIL:
            return f"--host (={host}) is no address of this machine; leave it out for loopback"
    return f"--host (={host}) --port (={port}): {error.strerror or error}; give others"


def _tell(model: StudioModel, checkpoint: Path, host: str) -> None:
    """What there is to know before the page is opened."""
    about = model.description
    print(
        f"{about['name']}, step {about['step']}, of {checkpoint}; its {len(about['labels'])} "
        f"labels: {model.said}",
        file=sys.stderr,
    )
    if not _is_loopback(host):
        print(
            f"warning: --host {host} lets other machines use this one; there is no password",
            file=sys.stderr,
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    everywhere = ipaddress.ip_address(host).is_unspecified
    return f"http://{_in_url(socket.gethostname() if everywhere else host)}:{port}/"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m vidgan_jax.studio`."""
    parser = argparse.ArgumentParser(
        prog="python -m vidgan_jax.studio",
        description="Serves a page to draw label maps on, and to watch what a model makes of them.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--checkpoint",
        help="a workdir of a model of label maps, or one checkpoint in it (default: what "
        "`bash launch/quickstart.sh maps` has trained)",
    )
    parser.add_argument(
        "--host",
        default=_LOOPBACK,
        help=f"address to listen at (default {_LOOPBACK}, for this machine alone)",
    )
    parser.add_argument(
        "--port", type=int, default=8080, help="to listen at (default 8080); 0 for any free one"
    )
    parser.add_argument(
        "--ema",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="the averaged generator (default), or the last one",
    )
    return cli.run(parser, studio, argv)


if __name__ == "__main__":
    sys.exit(main())
