"""WebSocket clients: those of perf/websocket.c, which make the load, and a plain one that checks echoes."""

import select
import subprocess
from collections.abc import Iterable

from perf import CLIENT_CORE
from perf.tools import build, clients

KEY, ACCEPT = b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, section 1.3
OPENING = (
    b"GET %b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
)
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
LONGEST = 65535
"""Bytes of a message of the plain client."""


def frame(opcode: int, payload: bytes) -> bytes:
    """Masked with zeros, which leaves the payload as it is."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


class Client:
    """An open WebSocket. OSError from all of it where the server does not do as it should."""

    def __init__(self, port: int, path: str = "/"):
        self._socket, self._buffer = clients.connect(port), b""
        try:
            self._socket.sendall(OPENING % (path.encode(), port, KEY))
            while b"\r\n\r\n" not in self._buffer:
                self._fill()
            answer, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 101") or ACCEPT not in answer:
                raise ConnectionError(f"no WebSocket: {answer.decode(errors='replace').splitlines()[0]}")
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def _fill(self) -> None:
        if not (data := self._socket.recv(65536)):
            raise ConnectionResetError("closed")
        self._buffer += data

    def receive(self) -> tuple[int, bytes]:
        """The next frame that is no ping: opcode and payload. Fragments are not put together."""
        while True:
            while len(self._buffer) < 2 or len(self._buffer) < (start := 2 if self._buffer[1] < 126 else 4):
                self._fill()
            size = self._buffer[1] if start == 2 else int.from_bytes(self._buffer[2:4], "big")
            if self._buffer[1] > 126:
                raise ConnectionError("a masked frame, or one that is too large")
            while len(self._buffer) < start + size:
                self._fill()
            opcode, payload = self._buffer[0] & 15, self._buffer[start : start + size]
            self._buffer = self._buffer[start + size :]
            if opcode != PING:
                return opcode, payload
            self._socket.sendall(frame(PONG, payload))

    def echo(self, payload: bytes, text: bool = False) -> bool:
        """Whether the same comes back."""
        opcode = TEXT if text else BINARY
        self._socket.sendall(frame(opcode, payload))
        return self.receive() == (opcode, payload)

    def answer_pings(self) -> None:
        """What lies in the socket must be whole pings."""
        self._buffer += self._socket.recv(65536)
        while len(self._buffer) >= 2 + (size := self._buffer[1]):
            self._socket.sendall(frame(PONG, self._buffer[2 : 2 + size]))
            self._buffer = self._buffer[2 + size :]
            if len(self._buffer) < 2:
                break


def answer_pings(opened: Iterable[Client]) -> None:
    """Of those that have something to read."""
    with select.epoll() as poller:
        by_number = {}
        for client in opened:
            by_number[client.fileno()] = client
            poller.register(client.fileno(), select.EPOLLIN)
        for number, _ in poller.poll(0, max(1, len(by_number))):
            by_number[number].answer_pings()


def check(port: int, size: int, text: bool, times: int) -> str | None:
    """What is wrong with so many echoes, one after the other, or None."""
    payload = ("é" * (size // 2) if text else "x" * size).encode()
    try:
        client = Client(port)
        try:
            return None if all(client.echo(payload, text) for _ in range(times)) else "wrong echo"
        finally:
            client.close()
    except OSError as error:
        return f"{type(error).__name__}: {error}"


def start(port: int, connections: int, size: int, seconds: int, text: bool = False) -> subprocess.Popen:
    """The load: one message after the other on each. Ends with the line that wrk.parse reads."""
    command = [str(build.websocket()), "load", str(port), str(connections), str(size), str(seconds), *["text"] * text]
    return subprocess.Popen(
        ["taskset", "-c", str(CLIENT_CORE), *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


class Held:
    """Open WebSockets in a process of perf/websocket.c, from entering the `with` block to leaving it."""

    def __init__(self, port: int, connections: int, path: str = "/"):
        self._arguments = ["hold", str(port), str(connections), path]

    def __enter__(self) -> "Held":
        command = ["taskset", "-c", str(CLIENT_CORE), str(build.websocket()), *self._arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.opened = self.answer()
        return self

    def __exit__(self, *exc_info) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def tell(self, line: str) -> None:
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        """The next line that it says."""
        if not (line := self._process.stdout.readline()):
            raise OSError(f"the WebSocket clients ended with status {self._process.wait(10)}")
        return line.strip()
