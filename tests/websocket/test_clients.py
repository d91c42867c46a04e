"""Clients that people use, against the command: WebSockets plain and over TLS, compressed and not.

What each client offers decides whether messages are compressed: `takeover` servers agree to whatever is offered. A
close frame that answers a client's has its code and no reason (RFC 6455 5.5.1): who closes first hears of none.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import Browser, Page, needs_browser
from tests.system.process import Command, needs

pytest.importorskip("websockets")
websocket = pytest.importorskip("websocket")
simple_websocket = pytest.importorskip("simple_websocket")
certificates = pytest.importorskip("tests.tls.certificates")

from websockets.asyncio.client import connect as asyncio_connect  # noqa: E402
from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402
from websockets.sync.client import ClientConnection, connect  # noqa: E402

TIMEOUT = 60  # seconds; only a hang takes as long
MIB = 1 << 20
TEXTS = ["", "a", "grüß dich", "\0", "😀" * 1000, "x" * 125, "x" * 126, "x" * 65_535, "x" * 65_536, "x" * MIB]
BLOBS = [b"", b"\0", bytes(range(256)), b"\xff" * 65_536, bytes(MIB)]
CODES = [1000, 1001, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]


class Server(Command):
    """The command with clients_app."""

    def __init__(self, where: Path, *options: str) -> None:
        self.authority = str(where / "authority.pem")
        super().__init__(
            Path(__file__).parent, "-b", "127.0.0.1:0", "--websocket-max-frame", "2m", *options, "clients_app:app",
            PYTHONPATH=str(Path(__file__).parents[2]),
        )  # fmt: skip

    def __enter__(self) -> Server:
        super().__enter__()
        self.place = re.sub("127.0.0.1", "localhost", self.url())
        self.ws = self.place.replace("http", "ws", 1)
        self.trust = ssl.create_default_context(cafile=self.authority) if self.ws.startswith("wss") else None
        return self

    def end(self, key: str) -> str:
        """With what the server saw the WebSocket of that key closed, once it is."""
        with urllib.request.urlopen(f"{self.place}/end?key={key}", timeout=TIMEOUT, context=self.trust) as answer:
            return answer.read().decode()

    def __exit__(self, *exc: object) -> None:
        """It has nothing to complain about but what a test has provoked."""
        self.terminate()
        code, _, said = self.rest()
        super().__exit__(*exc)
        assert code == 0, said
        assert said.count("Traceback") == said.count("RuntimeError: of the application"), said


@pytest.fixture(scope="module", params=["plain", "tls", "plain, compressed", "tls, compressed"])
def server(request: Any, tmp_path_factory: Any) -> Iterator[Server]:
    where = tmp_path_factory.mktemp("server")
    options = []
    (where / "authority.pem").write_bytes(certificates.authority().authorities())
    if "tls" in request.param:
        certfile, keyfile = certificates.leaf("localhost").write(where)
        options += ["--certfile", certfile, "--keyfile", keyfile]
    if "compressed" in request.param:
        options += ["--websocket-compression", "takeover"]
    with Server(where, *options) as server:
        yield server


def no_threads_on_tls(server: Server) -> None:
    """A client that reads in one thread and writes in another uses one TLS object in both. Python locks it since 3.13;
    before, such clients fail now and then with whatever server."""
    if server.trust is not None and sys.version_info < (3, 13):
        pytest.skip("a client with threads, over TLS, on Python before 3.13")


@pytest.fixture(params=["deflate", None])
def dial(request: Any, server: Server) -> Callable[..., ClientConnection]:
    """dial(path, ...): the synchronous client of websockets."""
    no_threads_on_tls(server)

    def dial(path: str, **options: Any) -> ClientConnection:
        return connect(
            server.ws + path, ssl=server.trust, compression=request.param, proxy=None, max_size=None,
            open_timeout=TIMEOUT, close_timeout=TIMEOUT, **options,
        )  # fmt: skip

    return dial


# ---- websockets, synchronous


def test_websockets_echo(dial: Any) -> None:
    with dial("/echo") as ws:
        for message in [*TEXTS, *BLOBS]:
            ws.send(message)
            assert ws.recv(TIMEOUT) == message
        for message in TEXTS[:8]:  # many on the way at once
            ws.send(message)
        assert [ws.recv(TIMEOUT) for _ in range(8)] == TEXTS[:8]
        assert ws.ping(b"payload").wait(TIMEOUT)
    assert ws.close_code == 1000


def test_websockets_fragments(dial: Any) -> None:
    with dial("/echo") as ws:
        ws.send(["grü", "", "ß", " dich"])
        assert ws.recv(TIMEOUT) == "grüß dich"
        ws.send(iter([b"x" * 100_000] * 20))
        assert ws.recv(TIMEOUT) == b"x" * 2_000_000
        with pytest.raises(ConnectionClosed) as caught:  # each within the limit, the message beyond it
            ws.send(iter([b"x" * MIB] * 17))
            ws.recv(TIMEOUT)
        assert caught.value.rcvd.code == 1009


def test_websockets_is_pinged(dial: Any) -> None:
    with dial("/pinging") as ws:
        for number in range(3):
            ws.send(str(number))
            assert ws.recv(TIMEOUT) == str(number)


def test_websockets_close_codes(dial: Any, server: Server) -> None:
    for code in CODES:
        with dial("/closing") as ws, pytest.raises(ConnectionClosed) as caught:
            ws.send(f"{code} because, grüß dich")
            ws.recv(TIMEOUT)
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (code, "because, grüß dich")
        assert caught.value.rcvd_then_sent
        with dial("/listening?key=code") as ws:
            ws.close(code, "grüß dich")
        assert server.end("code") == f"{code} grüß dich"


def test_websockets_sub_protocols(dial: Any) -> None:
    for offered, chosen in ((["chat.v1"], "chat.v1"), (["other", "chat.v1", "chat.v2"], "chat.v2"), (["other"], None)):
        with dial("/echo", subprotocols=offered) as ws:
            assert ws.subprotocol == chosen


def test_websockets_refused(dial: Any, server: Server) -> None:
    with pytest.raises(InvalidStatus) as caught:
        dial("/echo", origin="https://evil.example")
    assert caught.value.response.status_code == 403
    with dial("/echo", origin=server.place) as ws:
        ws.send("own")
        assert ws.recv(TIMEOUT) == "own"
    with pytest.raises(InvalidStatus) as caught:
        dial("/")
    assert caught.value.response.status_code == 200


def test_websockets_when_the_handler_fails(dial: Any) -> None:
    with dial("/failing") as ws, pytest.raises(ConnectionClosed) as caught:
        ws.send("x")
        ws.recv(TIMEOUT)
    assert caught.value.rcvd.code == 1011


# ---- websockets, asyncio


@pytest.mark.parametrize("compression", ["deflate", None])
def test_websockets_of_asyncio(server: Server, compression: str | None) -> None:
    async def converse(number: int) -> int:
        async with asyncio_connect(
            f"{server.ws}/echo", ssl=server.trust, compression=compression, proxy=None, max_size=None
        ) as ws:
            for message in TEXTS[:9]:
                await ws.send(f"{number} {message}")
                assert await ws.recv() == f"{number} {message}"
            for blob in BLOBS:
                await ws.send(blob)
                assert await ws.recv() == blob
            await (await ws.ping())
        return ws.close_code

    async def all_at_once() -> list[int]:
        return await asyncio.wait_for(asyncio.gather(*(converse(number) for number in range(20))), TIMEOUT)

    assert asyncio.run(all_at_once()) == [1000] * 20


# ---- websocket-client


@pytest.fixture
def classic(server: Server) -> Callable[..., Any]:
    def dial(path: str, **options: Any) -> Any:
        return websocket.create_connection(
            server.ws + path, timeout=TIMEOUT, http_no_proxy=["*"], sslopt={"context": server.trust}, **options
        )

    return dial


def test_websocket_client(classic: Any) -> None:
    ws = classic("/echo", subprotocols=["chat.v1"])
    assert ws.getsubprotocol() == "chat.v1"
    for text in TEXTS:
        ws.send(text)
        assert ws.recv() == text
    for blob in BLOBS:
        ws.send_binary(blob)
        assert ws.recv_data() == (websocket.ABNF.OPCODE_BINARY, blob)
    ws.ping("are you there")
    assert ws.recv_data(control_frame=True) == (websocket.ABNF.OPCODE_PONG, b"are you there")
    ws.send_close(4001, b"bye")
    assert ws.recv_data(control_frame=True) == (websocket.ABNF.OPCODE_CLOSE, (4001).to_bytes(2, "big"))
    assert ws.sock.recv(1) == b""  # the server closes TCP first
    ws.shutdown()


def test_websocket_client_close_codes(classic: Any) -> None:
    for code in CODES:
        ws = classic("/closing")
        ws.send(f"{code} because")
        opcode, data = ws.recv_data(control_frame=True)
        assert (opcode, data) == (websocket.ABNF.OPCODE_CLOSE, code.to_bytes(2, "big") + b"because")
        ws.shutdown()


def test_websocket_client_of_another_origin(classic: Any) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        classic("/echo", origin="https://evil.example")
    assert caught.value.status_code == 403
    classic("/echo", suppress_origin=True).close()


# ---- simple-websocket


def test_simple_websocket(server: Server) -> None:
    no_threads_on_tls(server)
    ws = simple_websocket.Client(f"{server.ws}/echo", subprotocols=["chat.v2"], ssl_context=server.trust)
    assert ws.subprotocol == "chat.v2"
    for message in [*TEXTS, *BLOBS]:
        ws.send(message)
        assert ws.receive(TIMEOUT) == message
    ws.close(4000, "bye")
    ws = simple_websocket.Client(f"{server.ws}/closing", ssl_context=server.trust)
    ws.send("1013 later")
    with pytest.raises(simple_websocket.ConnectionClosed) as caught:
        ws.receive(TIMEOUT)
    assert (caught.value.reason, caught.value.message) == (1013, "later")


# ---- node


NODE = """
const [url] = process.argv.slice(1)
const texts = ["", "a", "grüß dich", "😀".repeat(1000), "x".repeat(126), "x".repeat(65536), "x".repeat(1 << 20)]
const ws = new WebSocket(url + "/echo", ["chat.v1"])
ws.binaryType = "arraybuffer"
const heard = []
ws.onopen = () => { for (const text of texts) ws.send(text); ws.send(new Uint8Array(1 << 20).fill(255)) }
ws.onmessage = ({data}) => {
    heard.push(data)
    if (heard.length <= texts.length) return
    const same = texts.every((text, number) => text === heard[number])
    const blob = new Uint8Array(data)
    console.log(JSON.stringify([ws.protocol, same, blob.length, blob.every(byte => byte === 255)]))
    ws.close(4001, "bye")
}
ws.onclose = ({code, reason, wasClean}) => {
    console.log(JSON.stringify([code, reason, wasClean]))
    const other = new WebSocket(url + "/closing")
    other.onopen = () => other.send("1012 because")
    other.onclose = ({code, reason, wasClean}) => console.log(JSON.stringify([code, reason, wasClean]))
}
"""


@needs("node")
def test_node(server: Server) -> None:
    here = ["node", "--experimental-websocket", "-e"]
    if subprocess.run([*here, "WebSocket"], capture_output=True, check=False).returncode:
        pytest.skip("this node has no WebSocket")
    done = subprocess.run(
        [*here, NODE, server.ws], capture_output=True, text=True, timeout=TIMEOUT, check=False,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "NODE_EXTRA_CA_CERTS": server.authority},
    )  # fmt: skip
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        ["chat.v1", True, MIB, True], [4001, "", True], [1012, "because", True],
    ], done.stderr  # fmt: skip


# ---- curl


UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade"}


@needs("curl")
def test_curl(server: Server) -> None:
    speaks = subprocess.run(["curl", "-V"], capture_output=True, text=True).stdout
    if not re.search(r"^Protocols:.* ws\b", speaks, re.MULTILINE):
        pytest.skip("this curl has no ws://")
    done = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "--cacert", server.authority, "-m", str(TIMEOUT), f"{server.ws}/closing"],
        capture_output=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@needs("curl")
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, "426"),
        ({**UPGRADE, "Sec-WebSocket-Version": "13"}, "400"),
        ({**UPGRADE, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}, "426"),
        ({"Upgrade": "h2c", "Connection": "Upgrade, HTTP2-Settings", "HTTP2-Settings": "AAMAAABkAAQC"}, "426"),
    ],
    ids=["no upgrade", "no key", "no version", "h2c"],
)
def test_curl_without_a_handshake(server: Server, fields: dict[str, str], status: str) -> None:
    options = [part for name, value in fields.items() for part in ("-H", f"{name}: {value}")]
    done = subprocess.run(
        ["curl", "-sSi", "--http1.1", "--noproxy", "*", "--cacert", server.authority, *options, f"{server.place}/echo"],
        capture_output=True, text=True, timeout=TIMEOUT,
    )  # fmt: skip
    assert done.stdout.startswith(f"HTTP/1.1 {status} "), (done.stdout, done.stderr)
    if status == "426":
        assert re.search(r"(?mi)^upgrade: websocket\r?$", done.stdout), done.stdout
        assert re.search(r"(?mi)^sec-websocket-version: 13\r?$", done.stdout), done.stdout


# ---- Chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser("--ignore-certificate-errors") as browser:  # which are no concern here
        yield browser


CONVERSATION = """new Promise((done, failed) => {
    const sent = ["", "grüß dich", "😀".repeat(1000), "x".repeat(65536), "x".repeat(1 << 20)]
    sent.push(new Uint8Array(1 << 20).fill(7))
    const ws = new WebSocket("%s/echo", ["other", "chat.v1"])
    ws.binaryType = "arraybuffer"
    const heard = []
    ws.onopen = () => sent.forEach(each => ws.send(each))
    ws.onmessage = ({data}) => {
        heard.push(typeof data === "string" ? data : new Uint8Array(data))
        if (heard.length === sent.length) ws.close(3001, "grüß dich")
    }
    ws.onclose = ({code, reason, wasClean}) => done({
        protocol: ws.protocol, extensions: ws.extensions, code, reason, wasClean,
        same: sent.every((each, number) => String(each) === String(heard[number])),
    })
})"""
CLOSED = """new Promise(done => {
    const ws = new WebSocket("%s")
    let opened = false
    ws.onopen = () => { opened = true; ws.send("%s") }
    ws.onclose = ({code, reason, wasClean}) => done({opened, code, reason, wasClean})
})"""


@needs_browser
def test_chromium(server: Server, browser: Browser) -> None:
    page = browser.open(server.place)
    heard = page.run(CONVERSATION % server.ws)
    extensions = heard.pop("extensions")
    assert heard == {"protocol": "chat.v1", "code": 3001, "reason": "", "wasClean": True, "same": True}
    assert extensions.startswith("permessage-deflate") or not extensions
    assert page.errors == []


@needs_browser
def test_chromium_close_codes(server: Server, browser: Browser) -> None:
    page = browser.open(server.place)
    for code in CODES:
        assert page.run(CLOSED % (f"{server.ws}/closing", f"{code} because")) == {
            "opened": True, "code": code, "reason": "because", "wasClean": True,
        }  # fmt: skip
    failed = page.run(CLOSED % (f"{server.ws}/failing", "x"))
    assert (failed["code"], failed["wasClean"]) == (1011, True)
    assert page.errors == []


@needs_browser
def test_chromium_from_another_site_is_refused(server: Server, browser: Browser) -> None:
    evil = browser.open(server.place.replace("localhost", "127.0.0.1"))
    assert evil.run(CLOSED % (f"{server.ws}/echo", "x")) == {
        "opened": False, "code": 1006, "reason": "", "wasClean": False,
    }  # fmt: skip
    assert "403" in evil.errors[-1]


@needs_browser
def test_chromium_closes_the_page(server: Server, browser: Browser) -> None:
    page: Page = browser.open(server.place)
    opened = "new Promise(done => { window.ws = new WebSocket('%s/listening?key=left'); ws.onopen = () => done(true) })"
    assert page.run(opened % server.ws)
    page.ask("Page.close")
    assert server.end("left") == "1001 "


def test_a_client_that_vanishes(classic: Any, server: Server) -> None:
    """Its machine resets the connection: no close frame came, which is 1006."""
    ws = classic("/listening?key=reset")
    ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    ws.sock.close()
    assert server.end("reset").startswith("1006 ")
