"""Plain clients for the scenarios: sockets, and an answer parser that knows no more than Content-Length."""

import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from functools import cache


def get(path: str = "/") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


@cache
def trusting() -> ssl.SSLContext:
    """A context that takes any certificate: who the server is, is not what is measured."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def http_connection(port: int, tls: bool, timeout: float) -> http.client.HTTPConnection:
    if tls:
        return http.client.HTTPSConnection("127.0.0.1", port, timeout=timeout, context=trusting())
    return http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)


def connect(
    port: int, receive_buffer: int | None = None, source: str | None = None, tls: bool = False
) -> socket.socket:
    """`source`: an address of 127.0.0.0/8 to come from, since each has ephemeral ports of its own."""
    client = socket.socket()
    client.settimeout(10)
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)  # before connect: it decides the window
    if source:
        client.bind((source, 0))
    client.connect(("127.0.0.1", port))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return trusting().wrap_socket(client, server_hostname="localhost") if tls else client


class Answers:
    """Bytes in, answers out: (status, body) each, for answers that carry a Content-Length."""

    def __init__(self):
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        self._buffer += data
        buffer, start, found = self._buffer, 0, []
        while (end := buffer.find(b"\r\n\r\n", start)) >= 0:
            head = bytes(buffer[start:end]).lower()
            at = head.find(b"\r\ncontent-length:")
            length = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(buffer) < end + 4 + length:
                break
            found.append((int(head[9:12]), bytes(buffer[end + 4 : end + 4 + length])))
            start = end + 4 + length
        del buffer[:start]
        return found


def ask(client: socket.socket, path: str = "/") -> tuple[int, bytes]:
    """One request and its answer on a kept connection. ConnectionError where the server closes instead."""
    client.sendall(get(path))
    answers = Answers()
    while True:
        data = client.recv(65536)
        if not data:
            raise ConnectionResetError("closed before the answer was complete")
        if found := answers.feed(data):
            return found[0]


def turns(items: list, seconds: float, slots: int = 100, period: float = 1) -> Iterator[list]:
    """Shares of `items` at an even pace, so that each item comes once in a period of so many seconds: by default 1/100
    of them every 10 ms."""
    shares = [items[i::slots] for i in range(slots)]
    began = time.monotonic()
    for turn in range(int(seconds / period * slots)):
        ahead = began + turn * period / slots - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
        yield shares[turn % slots]
