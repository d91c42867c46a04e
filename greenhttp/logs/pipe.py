"""The pipe by which the log leaves, so that nobody who serves waits for a disk, a terminal or a stalled collector.

    whoever logs -> LogPipe.put() -> the pipe -> scribe.Scribe -> stderr, a file

The end that lines go into does not block: when the pipe is full, messages are lost and counted, and the count is logged
as soon as there is room. The flag is of our pipe alone; that of stderr is shared with whoever else has it, and it does
nothing for files.

Messages are cut into packets that a pipe takes whole or not at all (POSIX: up to PIPE_BUF bytes), since many processes
and threads write into one. There is no lock: signal handlers and finalizers log too, in the midst of anything.
"""

import contextlib
import fcntl
import itertools
import os
import struct
from collections.abc import Iterator
from select import PIPE_BUF
from time import monotonic

HEAD = struct.Struct("=4sIIHB")  # MAGIC, process, serial number of the message, bytes that follow, flags
MAGIC = b"\x00\xffGH"  # in no text: applications write to descriptors that are not their own
LAST = 1  # flags: the last packet of its message;
TO_STDERR = 2  # goes to stderr, whatever the log is;
RECORD = 4  # is a log record as JSON, which the reader formats;
REOPEN = 16  # the file is to be opened again, for what follows;
END = 8  # says nothing: whoever started the reader wants it to end
ROOM = PIPE_BUF - HEAD.size
CAPACITY = 1 << 20  # bytes that the pipe should hold: the stacks of a few hundred green threads
LONGEST = 1 << 19  # bytes of one message; what is longer is cut
PATIENCE = 2.0  # seconds after which the rest of a message does not come any more
MOST_PARTS = 64  # messages of which only a part has come

# The system's own, also where an application has put others into these modules since
_read, _write, _getpid = os.read, os.write, os.getpid


class LogPipe:
    """The pipe, seen by those who log. A forked child goes on with it as it is."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.writing, False)
        with contextlib.suppress(OSError, AttributeError):  # Linux alone; the limit of a user may be reached
            fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, CAPACITY)
        self.lost = 0  # messages since that was logged
        self._serials = itertools.count(1)  # next() is one step for all threads

    @staticmethod
    def line(text: str) -> str:
        """What the pipe has to say itself, as a line of the log; may be replaced."""
        return f"greenhttp: {text}\n"

    def put(self, text: str, flags: int = 0) -> bool:
        """Hand over a message, with its line ends. Never waits, never raises. False: it is lost, for want of room."""
        try:
            if self.lost:
                lost = self.lost
                if not self._send(self.line(f"{lost} log messages were lost: {WHY_LOST}").encode(), 0):
                    self.lost += 1
                    return False
                self.lost -= lost
            if self._send(text.encode("utf-8", "backslashreplace"), flags):
                return True
        except Exception:  # no memory, a closed pipe: logging ends nothing
            pass
        self.lost += 1
        return False

    def end(self, process: int = 0) -> None:
        """Tell the reader, or the one that is this process, that this was all."""
        with contextlib.suppress(OSError):
            _write(self.writing, HEAD.pack(MAGIC, _getpid(), process, 0, LAST | END))

    def reopen(self) -> bool:
        """Have the file opened again for what follows. False: there is no room to say so."""
        try:
            _write(self.writing, HEAD.pack(MAGIC, _getpid(), 0, 0, LAST | REOPEN))
        except OSError:
            return False
        return True

    def _send(self, data: bytes, flags: int) -> bool:
        serial, pid = next(self._serials) & 0xFFFFFFFF, _getpid()
        if len(data) > LONGEST:
            data = data[:LONGEST] + b" ... (cut)\n"
        for at in range(0, len(data), ROOM):
            part = data[at : at + ROOM]
            last = LAST if at + ROOM >= len(data) else 0
            try:
                _write(self.writing, HEAD.pack(MAGIC, pid, serial, len(part), flags | last) + part)
            except BlockingIOError:
                return False  # the reader says of what went before that its end is missing
        return True

    def close(self) -> None:
        """No more messages from this process, and none are read."""
        for fd in (self.writing, self.reading):
            with contextlib.suppress(OSError):
                os.close(fd)
        self.writing = self.reading = -1


WHY_LOST = "they came faster than the log could be written"


class Message:
    """One message, or as much of it as has come.

    Attributes:
        flags: TO_STDERR, RECORD, REOPEN.
        data: the bytes.
    """

    __slots__ = ("data", "flags", "since")

    def __init__(self, flags: int, data: bytes) -> None:
        self.flags, self.data, self.since = flags, data, monotonic()


class Reader:
    """Bytes of the pipe -> messages.

    Attributes:
        ended: whether somebody has called `LogPipe.end`.
    """

    def __init__(self) -> None:
        self.ended = False
        self._unread = b""
        self._parts: dict[tuple[int, int], Message] = {}  # by process and serial number

    @property
    def waits(self) -> bool:
        """Whether there are parts of messages, of which `overdue` may have something to tell."""
        return bool(self._parts)

    def feed(self, data: bytes) -> Iterator[Message]:
        """Messages that are complete with these bytes."""
        data = self._unread + data if self._unread else data
        at = 0
        while len(data) - at >= HEAD.size:
            magic, pid, serial, size, flags = HEAD.unpack_from(data, at)
            if magic != MAGIC or size > ROOM:
                found = data.find(MAGIC, at + 1)
                yield Message(0, data[at : found if found > 0 else len(data)])  # somebody else's, as it is
                at = found if found > 0 else len(data)
                continue
            if len(data) - at - HEAD.size < size:
                break
            at += HEAD.size
            if flags & END:
                self.ended = self.ended or serial in (0, _getpid())
            else:
                yield from self._packet((pid, serial), flags, data[at : at + size])
            at += size
        self._unread = data[at:]

    def _packet(self, key: tuple[int, int], flags: int, part: bytes) -> Iterator[Message]:
        message = self._parts.pop(key, None)
        if message is None:
            message = Message(flags, part)
        else:
            message.data += part
        if flags & LAST:
            yield message
            return
        self._parts[key] = message
        if len(self._parts) > MOST_PARTS:
            yield self._torn(next(iter(self._parts)))

    def overdue(self, everything: bool = False) -> Iterator[Message]:
        """Messages whose end was lost, with a word about that."""
        when = monotonic() - PATIENCE
        for key in [key for key, message in self._parts.items() if everything or message.since < when]:
            yield self._torn(key)

    def _torn(self, key: tuple[int, int]) -> Message:
        message = self._parts.pop(key)
        message.data += b" ... (the rest was lost)\n"
        message.flags &= ~RECORD  # half a record is text
        return message
