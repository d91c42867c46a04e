"""The process that reads certificates where the master may no longer: it keeps the rights of the start.

With `--user` the master gives up its own before the first worker. Keys belong to root as a rule, and are renewed every
few weeks. This process reads what the settings of the start name and nothing else: it takes no orders
but to look at once, and tells what it sees through a socket. It is forked before the application is loaded, outlives
an upgrade, and ends with the master.
"""

import contextlib
import json
import logging
import os
import signal
import socket
from base64 import b64decode, b64encode
from select import POLLIN, poll

from greenhttp.errors import ConfigError
from greenhttp.settings.values import Settings
from greenhttp.supervisor.journal import IGNORED, close_all_but
from greenhttp.supervisor.mail import Inbox, Outbox
from greenhttp.tls import renewal
from greenhttp.tls.material import Material
from greenhttp.tls.renewal import Sight, sight

log = logging.getLogger("greenhttp")

fork = os.fork  # the system's own, also after a patch

NAME = "greenhttp-certs"  # Linux has room for 15 letters
OF_FILES = ("certfile", "keyfile", "ca_certs", "keyfile_password")  # the settings that name what it reads


def names_of(settings: Settings) -> list[object]:
    """What it reads, to compare with what other settings name."""
    values = (getattr(settings, name) for name in OF_FILES)
    return [list(value) if isinstance(value, tuple) else value for value in values]


class Reader:
    """The process, as the master has it.

    Arguments:
        fd: the socket to it.
        names: what it reads, see `names_of`.
    """

    def __init__(self, fd: int, names: list[object]) -> None:
        self.fd, self.names = fd, names
        self.inbox = Inbox(fd)

    @classmethod
    def start(cls, settings: Settings, seen: Sight) -> "Reader":
        """Fork it. Raises ConfigError.

        Arguments:
            seen: the files, as the master has just read them, with what it serves.
        """
        try:
            ours, theirs = socket.socketpair()
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            try:
                if fork() == 0:
                    _be(theirs.fileno(), settings, seen)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        except OSError as error:
            raise ConfigError(f"the process that reads certificates cannot start: {error.strerror}") from None
        theirs.close()
        return cls(ours.detach(), names_of(settings))

    def ask(self) -> None:
        """Have it look at once."""
        with contextlib.suppress(OSError):
            os.write(self.fd, b"?")

    def read(self) -> Sight | None:
        """What it has seen last; None: nothing new. Raises EOFError when it has gone."""
        messages = self.inbox.read()
        return _sight(messages[-1]) if messages else None


def _message(seen: Sight) -> bytes:
    material = None if seen.material is None else b64encode(seen.material.to_bytes()).decode()
    error = None if seen.error is None else str(seen.error)
    return json.dumps([list(seen.state), material, error]).encode()


def _sight(message: bytes) -> Sight:
    state, material, error = json.loads(message)
    return Sight(
        tuple(tuple(one) for one in state), None if material is None else Material.from_bytes(b64decode(material)),
        None if error is None else ConfigError(error),
    )  # fmt: skip


def _be(fd: int, settings: Settings, seen: Sight) -> None:
    """The life of that process. Does not return."""
    try:
        signal.set_wakeup_fd(-1)
        with contextlib.suppress(OSError), open("/proc/self/comm", "w") as comm:  # Linux: for ps, top and pstree
            comm.write(NAME)
        for name in (*IGNORED, "USR1"):  # it ends when the master does
            signal.signal(getattr(signal, f"SIG{name}"), signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        close_all_but({0, 1, 2, fd})
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _watch(fd, settings, seen)
    finally:
        os._exit(0)


def _watch(fd: int, settings: Settings, seen: Sight) -> None:
    look = poll()
    look.register(fd, POLLIN)
    outbox = Outbox(fd)
    used = () if seen.material is None else seen.material.pairs
    os.set_blocking(fd, True)  # this process may wait for the master: it has nothing else to do
    while True:
        if look.poll(renewal.EVERY * 1000) and not os.read(fd, 64):
            return
        last, seen = seen, sight(settings, seen, used)
        if seen.material is not None:
            used = seen.material.pairs
        if seen is not last:
            outbox.send(_message(seen))
