"""Whole messages through a pipe, to a process that may not read for a while.

    Outbox(fd).send(message)    never waits; what could not go yet gives way to what is sent after it
    Inbox(fd).read()            whole messages

Certificates and keys take this way and no other: nothing of them is in a file, in the environment or in an argument.
"""

import os
from struct import Struct

_LENGTH = Struct("!Q")


class Outbox:
    """The end that is written to; its descriptor becomes one that does not block."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self._begun = b""  # the rest of a message whose beginning is out
        self._next = b""

    @property
    def waits(self) -> bool:
        """Whether there is something that the pipe has not taken yet."""
        return bool(self._begun or self._next)

    def send(self, message: bytes) -> None:
        """Instead of what still waits, unless that has begun to leave."""
        self._next = _LENGTH.pack(len(message)) + message
        self.flush()

    def flush(self) -> None:
        """Write what the pipe takes."""
        while self.waits:
            if not self._begun:
                self._begun, self._next = self._next, b""
            try:
                self._begun = self._begun[os.write(self.fd, self._begun) :]
            except BlockingIOError:
                return
            except OSError:  # nobody will read it
                self._begun = self._next = b""

    def close(self) -> None:
        os.close(self.fd)


class Inbox:
    """The end that is read from; its descriptor becomes one that does not block."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self._data = bytearray()

    @property
    def begun(self) -> bool:
        """Whether there is the beginning of a message."""
        return bool(self._data)

    def read(self) -> list[bytes]:
        """The messages that have come whole, the oldest first. Raises EOFError when no more will."""
        ended = False
        while True:
            try:
                data = os.read(self.fd, 1 << 16)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                ended = True
                break
            self._data += data
        messages = []
        while len(self._data) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._data)[0]
            if len(self._data) < end:
                break
            messages.append(bytes(self._data[_LENGTH.size : end]))
            del self._data[:end]
        if ended and not messages:
            raise EOFError
        return messages
