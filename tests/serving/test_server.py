"""The server on a real socket of loopback: slow, rude and many clients, and its end."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.serving import load
from tests.serving.served import FORM_TYPE, FakeModel, a_map, form_of, free_port, serving
from vidgan_jax.serving.app import make_app
from vidgan_jax.serving.forms import InputLimits
from vidgan_jax.serving.gate import Gate, RateLimit

ROOT = Path(__file__).parents[2]
BODY = form_of({"map": a_map(), "seed": b"3"})


class Server:
    """A server, and what a test looks at within it."""

    def __init__(self, port: int, model: FakeModel, gate: Gate) -> None:
        self.port = port
        self.model = model
        self.gate = gate

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def post(self) -> int:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, 20)) as client:
            client.request("POST", "/api/generate", BODY, {"Content-Type": FORM_TYPE})
            return client.getresponse().status


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    model, gate = FakeModel(), Gate(uploads=4)
    limits = InputLimits(upload_s=0.4)
    app = make_app(model, limits=limits, gate=gate, rate=RateLimit(burst=10**6))
    with serving(app) as port:
        until(lambda: app.state.compilation.state == "ready")
        yield Server(port, model, gate)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def head(length: int | None, extra: str = "") -> bytes:
    """Head of a request to generate; without a length its body is chunked."""
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return (
        f"POST /api/generate HTTP/1.1\r\nHost: localhost\r\n{size}\r\n{extra}"
        f"Content-Type: {FORM_TYPE}\r\n\r\n"
    ).encode()


def status_of(sock: socket.socket) -> int:
    """The status of an answer, which is read wholly."""
    response = http.client.HTTPResponse(sock)
    response.begin()
    response.read()
    return response.status


def test_a_connection_is_kept_over_answers_and_errors(server: Server) -> None:
    client = http.client.HTTPConnection("127.0.0.1", server.port, 20)
    with contextlib.closing(client):
        client.connect()
        own = client.sock.getsockname()
        for content_type, status in ((FORM_TYPE, 200), ("text/plain", 415), (FORM_TYPE, 200)):
            client.request("POST", "/api/generate", BODY, {"Content-Type": content_type})
            response = client.getresponse()
            assert response.status == status
            assert response.getheader("server") is None
            response.read()
            assert client.sock.getsockname() == own


def test_slow_clients_are_given_up_and_hold_nobody_back(server: Server) -> None:
    socks = [server.connect() for _ in range(3)]
    for sock in socks:
        sock.sendall(head(len(BODY)) + BODY[:30])
    began = time.monotonic()
    assert server.post() == 200
    assert time.monotonic() - began < 10
    for sock in socks:
        with sock:
            assert status_of(sock) == 408


def test_aborted_uploads_leave_their_places(server: Server) -> None:
    for i in range(12):
        with server.connect() as sock:
            sock.sendall(head(len(BODY) + 10**6) + BODY[: 10 * i])
    until(lambda: server.post() == 200)


def test_too_many_uploads_at_once_are_refused(server: Server) -> None:
    socks = [server.connect() for _ in range(4)]
    for sock in socks:
        sock.sendall(head(len(BODY)) + BODY[:30])
    until(lambda: server.post() == 429)
    for sock in socks:
        sock.close()
    until(lambda: server.post() == 200)


def test_huge_bodies_are_refused_as_they_come(server: Server) -> None:
    """Whatever length they announce, and none: the answer is there before the body is."""
    start = form_of({"map": b""}).split(b"\r\n\r\n")[0] + b"\r\n\r\n"
    piece = b"x" * 2**16
    for length in (10**11, None):
        with server.connect() as sock:
            sock.sendall(head(length) + (start if length else chunk(start)))
            sock.setblocking(False)
            sent, answer, left = 0, b"", b""
            until_s = time.monotonic() + 20
            while not answer:
                assert time.monotonic() < until_s
                with contextlib.suppress(BlockingIOError):
                    answer = sock.recv(100)
                left = left or (piece if length else chunk(piece))
                with contextlib.suppress(BlockingIOError):
                    done = sock.send(left)
                    sent, left = sent + done, left[done:]
        # Where the machine is busy time may be up before the bound is reached.
        assert answer.startswith((b"HTTP/1.1 413", b"HTTP/1.1 408"))
        assert sent < 64 * 2**20
    assert server.post() == 200


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def test_who_leaves_the_queue_is_not_generated_for(server: Server) -> None:
    server.model.may_answer.clear()
    before = len(server.model.calls)
    socks = [server.connect() for _ in range(5)]
    for i, sock in enumerate(socks):
        sock.sendall(head(len(BODY)) + BODY)
        until(lambda i=i: server.gate.in_line == i + 1)  # type: ignore[misc]
    for sock in socks[1:]:
        sock.close()
    until(lambda: server.gate.in_line == 1)
    server.model.may_answer.set()
    with socks[0] as sock:
        assert status_of(sock) == 200
    assert len(server.model.calls) == before + 1


def test_the_ninth_that_waits_is_told_to_come_again(server: Server) -> None:
    server.model.may_answer.clear()
    socks = [server.connect() for _ in range(9)]
    for i, sock in enumerate(socks):
        sock.sendall(head(len(BODY)) + BODY)
        until(lambda i=i: server.gate.in_line == i + 1)  # type: ignore[misc]
    client = http.client.HTTPConnection("127.0.0.1", server.port, 20)
    with contextlib.closing(client):
        client.request("POST", "/api/generate", BODY, {"Content-Type": FORM_TYPE})
        response = client.getresponse()
        assert response.status == 429
        assert int(response.getheader("retry-after", "")) >= 1
        assert json.loads(response.read())["error"]["field"] is None
    server.model.may_answer.set()
    for sock in socks:
        with sock:
            assert status_of(sock) == 200


def test_what_is_no_http_breaks_nothing(server: Server) -> None:
    whole = head(len(BODY)) + BODY
    for case in range(60):
        rng = np.random.default_rng(case)
        sent = bytearray(whole)
        for _ in range(4):
            where = int(rng.integers(0, 160))
            sent[where : where + int(rng.integers(0, 9))] = rng.bytes(int(rng.integers(0, 9)))
        with server.connect() as sock:
            sock.sendall(sent if case % 3 else rng.bytes(300))
            sock.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda sock=sock: sock.recv(4096), b""))  # type: ignore[misc]
            assert not answer or answer[:10] in (b"HTTP/1.1 2", b"HTTP/1.1 4"), (case, answer)
    assert server.post() == 200


def test_a_server_ends_while_a_clip_is_generated() -> None:
    model = FakeModel(seconds=0.3)
    app = make_app(model)
    with serving(app) as port:
        until(lambda: app.state.compilation.state == "ready")
        server = Server(port, model, Gate())
        thread = threading.Thread(target=server.post)
        thread.start()
        until(lambda: bool(model.calls))
    thread.join(20)
    assert not thread.is_alive()


# A process of its own, whose model compiles for as long as it says.
PROGRAM = """
import sys, time
from tests.serving.served import FakeModel
from vidgan_jax.serving.app import make_app, make_server
model = FakeModel(seconds=float(sys.argv[2]))
compile_s = float(sys.argv[3])
model.compile = lambda: time.sleep(compile_s)
print("starting", flush=True)
make_server(make_app(model), host="127.0.0.1", port=int(sys.argv[1])).run()
"""


@contextlib.contextmanager
def process(seconds: float, compile_s: float) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server of its own process, and its port."""
    port = free_port()
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        PROGRAM,
        str(port),
        str(seconds),
        str(compile_s),
    ]
    with subprocess.Popen(command, cwd=ROOT, text=True, stderr=subprocess.PIPE) as child:
        try:
            deadline = time.monotonic() + 60
            while True:
                assert child.poll() is None
                assert time.monotonic() < deadline
                with contextlib.suppress(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", port), timeout=5).close()
                    break
                time.sleep(0.05)
            yield child, port
        finally:
            child.kill()


def test_ctrl_c_ends_it_even_while_it_compiles() -> None:
    with process(seconds=0.0, compile_s=300.0) as (child, port):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
            sock.sendall(head(len(BODY)) + BODY)
            assert status_of(sock) == 503
            child.send_signal(signal.SIGINT)
            _, words = child.communicate(timeout=20)
        assert child.returncode in (0, -signal.SIGINT, 1)
        assert "Exception ignored" not in words


@pytest.mark.slow
def test_twenty_clients_for_a_minute_fail_by_nothing_but_429() -> None:
    with process(seconds=0.2, compile_s=0.0) as (child, port):
        report = load.run(port, BODY, FORM_TYPE, clients=20, seconds=60.0, process_id=child.pid)
    print(json.dumps(report, indent=2))
    assert set(report["statuses"]) == {"200", "429"}
    assert report["errors"] == []
    assert report["statuses"]["200"] > 100
    assert report["rss_mb_after"] - report["rss_mb_warm"] < 40


def test_many_clients_at_once_fail_by_nothing_but_429(server: Server) -> None:
    report = load.run(server.port, BODY, FORM_TYPE, clients=20, seconds=1.5, process_id=os.getpid())
    assert set(report["statuses"]) <= {"200", "429"}
    assert report["errors"] == []
    assert report["statuses"]["200"] > 10
    assert server.model.most_at_once == 1
