"""A client that does what it is told, byte by byte."""

from __future__ import annotations

import struct
from typing import Any

from gevent import socket

from tests.answers import Answer, Incomplete, one


class Client:
    """One connection, TCP or to the path of a UNIX socket. Methods suspend the calling green thread.

    Arguments:
        receive_buffer: bytes the system holds for it, for a client that reads slowly.
        source: the address it comes from.
    """

    def __init__(self, address: Any, *, receive_buffer: int | None = None, source: str | None = None) -> None:
        self.sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        if source is not None:
            self.sock.bind((source, 0))
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            self.sock.connect(address)
        except OSError:
            self.sock.close()
            raise
        if not isinstance(address, str):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""

    def send(self, data: bytes) -> Client:
        self.sock.sendall(data)
        return self

    def answer(self, method: str = "GET") -> Answer:
        """The next answer."""
        ended = False
        while True:
            try:
                answer, self.data = one(self.data, method, ended=ended)
                return answer
            except Incomplete:
                assert not ended, f"the connection ended after {self.data!r}"
            piece = self.sock.recv(65536)
            ended = not piece
            self.data += piece

    def ask(self, data: bytes, method: str = "GET") -> Answer:
        return self.send(data).answer(method)

    def rest(self) -> bytes:
        """Everything up to the end; ConnectionResetError if that is a reset."""
        while piece := self.sock.recv(65536):
            self.data += piece
        data, self.data = self.data, b""
        return data

    def ended(self) -> bool:
        """Whether the server has closed in good order, with nothing more to say."""
        return self.rest() == b""

    def was_reset(self) -> bool:
        """Whether the connection ends with a reset; waits for its end."""
        try:
            self.rest()
        except ConnectionResetError:
            return True
        return False

    def finish(self) -> Client:
        """Nothing more will be sent: a FIN."""
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def reset(self) -> None:
        """Go away with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()
