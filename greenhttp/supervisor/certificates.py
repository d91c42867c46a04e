"""What the master has of TLS: the certificates and their renewal, a pipe to each worker, and who reads the files.

    begin       before the listeners: the files are read, or what the program before has left is taken
    stay        before the master gives up its rights: a process stays that may still read them, see `reader`
    mail        a pipe to a worker that is going to be forked
    look        at each turn of the loop; once a minute at the files
    follow      at a reload
    left        for the program that takes over

A worker gets the certificates of its start by the fork, as its parent's memory; later ones through its pipe, which
also carries other ticket keys. It need not be allowed to read the files, and is not replaced for them.
"""

import contextlib
import json
import logging
import os
import tempfile
from base64 import b64decode, b64encode
from dataclasses import dataclass
from select import POLLIN, POLLOUT, poll  # before a preloaded application patches them
from typing import TYPE_CHECKING, Any

from greenhttp.errors import ConfigError
from greenhttp.settings.values import Settings
from greenhttp.supervisor import system
from greenhttp.supervisor.mail import Outbox
from greenhttp.supervisor.reader import Reader, names_of
from greenhttp.tls import renewal
from greenhttp.tls.files import Unreadable
from greenhttp.tls.material import Material
from greenhttp.tls.renewal import Renewal

if TYPE_CHECKING:
    from select import poll as Poll

log = logging.getLogger("greenhttp")

PATIENCE = 2.0  # seconds for the rest of what the reader has begun to say


@dataclass(frozen=True)
class Left:
    """For the program that takes over; descriptors and numbers, no secret.

    Attributes:
        memory: a file without a name, which has the certificates and what they were read from; -1: there are none.
        reader: the socket to the process that reads; -1: there is none.
        pipes: to workers, by their numbers.
    """

    memory: int
    reader: int
    pipes: dict[int, int]

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Left":
        """What `asdict` gave, after a way through JSON, whose keys are texts."""
        return cls(values["memory"], values["reader"], {int(number): fd for number, fd in values["pipes"].items()})

    def descriptors(self) -> list[int]:
        """All of them."""
        return [fd for fd in (self.memory, self.reader, *self.pipes.values()) if fd >= 0]


class Certificates:
    """See the module.

    Arguments:
        look: the master's poll.

    Attributes:
        reader: None: the master reads the files itself.
    """

    def __init__(self, look: "Poll") -> None:
        self.poll = look
        self.reader: Reader | None = None
        self._renewal: Renewal | None = None
        self._outboxes: dict[int, Outbox] = {}  # by the worker's number
        self._waiting: set[int] = set()  # workers whose pipe is full
        self._due = 0.0

    @property
    def material(self) -> Material | None:
        """What new workers serve with; None: there is no TLS."""
        return None if self._renewal is None else self._renewal.material

    def begin(self, settings: Settings, left: Left | None, when: float) -> None:
        """Read the files. Raises ConfigError, unless the program before has left what it served with."""
        held: dict[str, Any] = {}
        if left is not None:
            self._outboxes = {number: Outbox(fd) for number, fd in left.pipes.items()}
            held = _recall(left.memory)
            if left.reader >= 0:
                self.reader = Reader(left.reader, held.get("names", []))
                self.poll.register(self.reader.fd, POLLIN)
        if settings.certfile:
            keys = [(b64decode(key), made) for key, made in held.get("keys", [])]
            before = Material.from_bytes(b64decode(held["material"])) if held.get("material") else None
            reader = self._reader_of(settings)
            try:
                self._renewal = Renewal(settings, keys, before, elsewhere=reader is not None)
            except ConfigError as error:
                if left is None:
                    raise
                log.error("there is no TLS: %s", error)  # nor was there before; who serves must not end for it
            if reader is not None:
                reader.ask()
        self._due = when + renewal.EVERY

    def _reader_of(self, settings: Settings) -> Reader | None:
        """The process that reads the files which these settings name."""
        return self.reader if self.reader is not None and self.reader.names == names_of(settings) else None

    def stay(self, settings: Settings) -> None:
        """Keep somebody who may read the files, if this process is going to give up its rights. Raises ConfigError."""
        if self._renewal is not None and self.reader is None and system.drops(settings.user, settings.group):
            seen = self._renewal.seen._replace(material=self._renewal.material)  # it has none where it is an error
            self.reader = Reader.start(settings, seen)
            self.poll.register(self.reader.fd, POLLIN)

    def lines(self) -> list[str]:
        """What the start says of them."""
        return [] if self._renewal is None else self._renewal.lines()

    # ---- over time

    def look(self, when: float) -> None:
        """Once a minute at the files, at the keys of tickets, and at what runs out."""
        for number in list(self._waiting):
            self._flush(number)
        if self._renewal is None or when < self._due:
            return
        self._due = when + renewal.EVERY
        if self._reader_of(self._renewal.settings) is not None:  # it looks by itself, and says what it sees
            self._send(self._renewal.take(self._renewal.seen))
        else:
            self._send(self._renewal.look())

    def warn(self) -> None:
        """At the start: what has expired or soon will."""
        if self._renewal is not None:
            self._renewal.warn()

    def heard(self, fd: int) -> bool:
        """A descriptor is ready. Whether it is one of these."""
        if self.reader is not None and fd == self.reader.fd:
            self._hear_reader(self.reader)
            return True
        for number, outbox in self._outboxes.items():
            if outbox.fd == fd:
                self._flush(number)
                return True
        return False

    def _hear_reader(self, reader: Reader) -> None:
        try:
            seen = reader.read()
        except EOFError:
            self._lose_reader(reader)
            log.error("the process that reads certificates has ended; to renew them, restart greenhttp")
            return
        if seen is not None and self._renewal is not None and self._reader_of(self._renewal.settings) is not None:
            self._send(self._renewal.take(seen))

    def _lose_reader(self, reader: Reader) -> None:
        self.poll.unregister(reader.fd)
        os.close(reader.fd)
        self.reader = None

    def first(self, settings: Settings) -> Renewal | None:
        """For `follow`, where these settings are the first with TLS. Raises ConfigError if the files cannot be used."""
        return Renewal(settings) if settings.certfile and self._renewal is None else None

    def follow(self, settings: Settings, first: Renewal | None) -> None:
        """A reload: the files are read again, by these settings. What cannot be used is a line in the log, and what was
        there stays."""
        if not settings.certfile or self._renewal is None:
            self._renewal = first
            self.warn()
        elif (reader := self._reader_of(settings)) is not None:
            reader.ask()  # what it sees comes soon, and goes to all
            try:
                self._renewal.adopt(settings)
                self._send(self._renewal.material)
            except ConfigError as error:
                self._renewal.refuse(error)
        else:
            try:
                self._send(self._renewal.follow(settings))
            except Unreadable as error:
                self._renewal.refuse(error if self.reader is None else ConfigError(f"{error}; or restart greenhttp"))
            except ConfigError as error:
                self._renewal.refuse(error)

    # ---- workers

    def mail(self, number: int) -> int:
        """A pipe to a worker that is going to be forked: the end to read from; -1: there is no TLS. Raises OSError."""
        if self._renewal is None:
            return -1
        theirs, ours = os.pipe()
        self._outboxes[number] = Outbox(ours)
        return theirs

    def gone(self, number: int) -> None:
        """A worker that is not there any more, or that could not be forked."""
        outbox = self._outboxes.pop(number, None)
        if outbox is not None:
            self._listen(number, outbox, False)
            outbox.close()

    def let_go(self) -> None:
        """In a worker: close what is the master's."""
        for outbox in self._outboxes.values():
            outbox.close()
        if self.reader is not None:
            os.close(self.reader.fd)

    def end(self) -> None:
        """The master is over; so is who reads for it."""
        self.let_go()
        self._outboxes, self.reader = {}, None

    def _send(self, material: Material | None) -> None:
        if material is not None:
            message = material.to_bytes()
            for number, outbox in self._outboxes.items():
                outbox.send(message)
                self._listen(number, outbox, outbox.waits)

    def _flush(self, number: int) -> None:
        outbox = self._outboxes[number]
        outbox.flush()
        self._listen(number, outbox, outbox.waits)

    def _listen(self, number: int, outbox: Outbox, wanted: bool) -> None:
        """Have the poll tell when the pipe takes more, or no longer."""
        if wanted and number not in self._waiting:
            self._waiting.add(number)
            self.poll.register(outbox.fd, POLLOUT)
        elif not wanted and number in self._waiting:
            self._waiting.discard(number)
            self.poll.unregister(outbox.fd)

    # ---- an upgrade

    def left(self) -> Left:
        """What the next program is given. A pipe in the middle of a message is not: its worker keeps what it has.

        Raises OSError.
        """
        while self.reader is not None and self.reader.inbox.begun:  # the rest is on its way
            rest = poll()
            rest.register(self.reader.fd, POLLIN)
            if rest.poll(PATIENCE * 1000):
                self._hear_reader(self.reader)
            else:  # somebody has stopped it
                self._lose_reader(self.reader)
                log.error("the process that reads certificates does not go on; to renew them, restart greenhttp")
        keys = () if self._renewal is None else self._renewal.tickets.made
        memory = -1
        if self.material is not None or keys or self.reader is not None:
            memory = _memory({
                "material": None if self.material is None else b64encode(self.material.to_bytes()).decode(),
                "keys": [(b64encode(key).decode(), made) for key, made in keys],
                "names": [] if self.reader is None else self.reader.names,
            })  # fmt: skip
        pipes = {number: outbox.fd for number, outbox in self._outboxes.items() if not outbox.waits}
        return Left(memory, -1 if self.reader is None else self.reader.fd, pipes)


def _memory(values: dict[str, Any]) -> int:
    """A descriptor of a file without a name, in memory where the system has that."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("greenhttp-certificates", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    with open(fd, "wb", closefd=False) as file:
        file.write(json.dumps(values).encode())
    return fd


def _recall(fd: int) -> dict[str, Any]:
    """What another program has put there; it is gone afterwards."""
    if fd < 0:
        return {}
    with contextlib.suppress(OSError, ValueError), open(fd, "rb") as file:
        file.seek(0)
        values = json.loads(file.read())
        return values if isinstance(values, dict) else {}
    return {}


__all__ = ["Certificates", "Left"]
