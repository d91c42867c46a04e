"""What a worker does, from the fork on: patch, load, serve, say that it is ready, beat, drain when it is told to.

What it says to the supervisor is lines of JSON in a pipe: {"ready": [lines]}, {"leaving": why, "vain": why},
{"drains": why, "fault": whether the application told it to}, {"served": true}, {"failed": line, "trace": text or "",
"code": exit code}. What it is told are signals: TERM drains, QUIT ends at once, USR1 opens the logs again, ABRT asks
for a dump. The supervisor's death is the end of the lifeline, a pipe that it alone could write to: then it drains by
itself.
"""

import faulthandler
import json
import logging
import os
import posix
import random
import signal
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from greenhttp.errors import AppError, ConfigError
from greenhttp.green.listener import Listener
from greenhttp.logs import setup as logs
from greenhttp.process.board import Board, Loads
from greenhttp.program import boot
from greenhttp.program.hooks import Arbiter, Hooks, Life, Worker, told
from greenhttp.settings.address import Address
from greenhttp.settings.values import Settings
from greenhttp.supervisor.mail import Inbox
from greenhttp.supervisor.recycle import Bounds, bounds_for, resident
from greenhttp.traces import trace

if TYPE_CHECKING:
    from greenhttp.server import Server
    from greenhttp.tls.material import Material

log = logging.getLogger("greenhttp")

STOPPED, BROKEN, APP_FAILED = 0, 1, 3

WITHOUT_C = {"c_stack": False} if sys.version_info >= (3, 14) else {}
UNSHARED = "this Python's OpenSSL takes no ticket keys"
BEAT = 0.25  # seconds between two beats of a loop that turns
AGAIN = 60.0  # seconds until certificates are tried again that could not be used for want of descriptors


@dataclass
class Birth:
    """What a worker is born with.

    Attributes:
        number, generation: see policy.Worker.
        name, settings, file: see master.Plan.
        listeners: listening sockets, shared with the supervisor and all other workers.
        pipe: where it says things.
        lifeline: ends when the supervisor does.
        board: its own, to write on.
        loads, place: where it says how many connections it has, and sees others'.
        preloaded: the Server that was made before the fork, or None.
        material: certificates to begin with, or None without TLS.
        mail: a pipe that brings later ones; -1: there is none.
        arbiter, seen: what hooks are given as `server` and as `worker`.
        hooks: the supervisor's; the worker's too, if the file has run before the fork.
    """

    number: int
    generation: int
    name: str
    settings: Settings
    file: str
    listeners: list[tuple[Listener, Address]]
    pipe: int
    lifeline: int
    board: Board
    loads: Loads
    place: int
    preloaded: Any
    material: "Material | None"
    mail: int
    arbiter: Arbiter
    seen: Worker
    hooks: Hooks

    def let_go(self) -> None:
        """In a process that the application has forked from this worker: it has nothing to say to the supervisor.

        Lifeline and mail stay open. They are watched still, and libuv must not find something else under their numbers.
        """
        posix.close(self.pipe)  # at once: gevent's os.close() waits for a turn of the loop


def preload(name: str, settings: Settings) -> "Server":
    """Load the application before any fork, so that its memory is shared. Raises AppError, ConfigError."""
    with boot.secrets_kept():
        server = boot.load(name, settings)
    boot.tune_collector()
    return server


def main(birth: Birth) -> int:
    """The worker's life. Returns its exit code."""
    tell = _Pipe(birth.pipe)
    life = Life(birth.hooks, birth.arbiter, birth.seen, birth.settings)
    try:
        if birth.preloaded is None:
            life.hooks = Hooks(birth.hooks.file, boot.run_file(birth.settings, birth.file))
            logs.inherit(birth.number)
            life.fork()
            server = boot.load(birth.name, birth.settings)
            boot.tune_collector()
        else:
            server = birth.preloaded
            boot.hide_secrets()
            logs.inherit(birth.number)
            _after_preload(birth.number)
            life.fork()
        life.load(server)
        boot.warm_up(server.settings)
        life.ready()
        _serve(birth, server, tell, life)
    except AppError as error:
        text, line = told(error, birth.name)
        tell.say(failed=line, trace=text, code=APP_FAILED)
        return APP_FAILED
    except ConfigError as error:
        tell.say(failed=str(error), trace="", code=BROKEN)
        return BROKEN
    except Exception as error:
        line = f"{birth.name} could not be served; see the traceback above"
        tell.say(failed=line, trace=trace(error), code=APP_FAILED)
        return APP_FAILED
    finally:
        life.over()
    return STOPPED


def _after_preload(number: int) -> None:
    """Make what gevent kept before the fork this process's own, and say what did not come along."""
    import gc
    import logging
    import threading

    import gevent
    from greenlet import greenlet

    gevent.reinit()
    threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    green = [one for one in gc.get_objects() if isinstance(one, greenlet) and one and one is not gevent.getcurrent()]
    green = [one for one in green if one is not gevent.get_hub() and one.parent is not None]
    if threads or green:
        names = ", ".join([*threads, *map(repr, green)])
        logging.getLogger("greenhttp").warning(
            "worker %d: (green) threads started while the application was preloaded do not run here: %s", number, names
        )


def _serve(birth: Birth, server: "Server", tell: "_Pipe", life: Life) -> None:
    import gevent

    from greenhttp.hosting import errors
    from greenhttp.process import forked
    from greenhttp.process.sender import described, sender
    from greenhttp.process.watchdog import Watchdog
    from greenhttp.program import exits, running

    settings = server.settings
    loop = gevent.get_hub().loop
    crash = logs.Crash()
    with (
        running.opened_again([crash.reopen, logs.reopen_handlers, server.reopen]),
        running.signals(loop, supervised=True, ends=True) as (asked, stop),
        forked.in_child(birth.let_go),
    ):
        life.watch_abort()
        # SIGABRT, and every crash: where was it. Not in C: on a green thread's stack CPython 3.14 crashes over that.
        faulthandler.enable(crash.fd, all_threads=True, **WITHOUT_C)
        birth.loads.own(birth.place)
        birth.board.own()
        errors.sink = logs.from_application
        mail = _Mail(birth, server)
        server.start(birth.listeners, birth.loads, birth.board)
        keeper = _Keeper(birth, server, tell, bounds_for(settings, random.Random()))
        lifeline = loop.io(birth.lifeline, 1, ref=False)
        lifeline.start(_supervisor_died, asked, stop, birth.number)
        dog = Watchdog(loop, settings.hub_warn, settings.timeout, server.in_progress, birth.board)
        dog.start()
        tell.say(ready=[*running.introduction(server, birth.name, loop, supervised=True), *mail.lines()])
        exit = exits.until(stop)
        keeper.stop()
        if exit is not None:
            tell.say(drains=exits.what(exit), fault=True)
            asked.append(signal.SIGTERM)
        elif (sent := sender(asked[0])) and sent[0] != os.getppid():
            tell.say(drains=f"{signal.Signals(asked[0]).name}, sent by {described(*sent)}")
        lifeline.stop()
        lifeline.close()
        life.told(asked[0])
        graceful = asked[0] == signal.SIGTERM and settings.graceful_timeout > 0
        limit, linger = (settings.graceful_timeout, settings.drain_linger) if graceful else (0, 0)
        exits.outlast(server.stop, limit, linger)
        tell.say(served=True)
        mail.stop()
        dog.stop()
    if exit is not None:
        raise exits.ended(exit)


def _supervisor_died(asked: list[int], stop: Any, number: int) -> None:
    if not asked:
        import gevent

        asked.append(signal.SIGTERM)
        stop.set()
        gone = "worker %d: the supervisor has died; this worker finishes its requests and ends"
        gevent.spawn(log.error, gone, number)  # a handler of the application's may wait


class _Pipe:
    """Says things to the supervisor."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def say(self, **word: Any) -> None:
        """One line; never waits long: the supervisor reads whenever it is awake."""
        data = json.dumps(word).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self.fd, data) :]
        except OSError:  # it is gone; the lifeline says so too
            pass


class _Mail:
    """Certificates: those of the start, and later ones that the supervisor sends."""

    def __init__(self, birth: Birth, server: "Server") -> None:
        import gevent

        self.number, self.server, self.material = birth.number, server, birth.material
        self.shared = True  # the keys of tickets are those of all workers
        self.newest: Material | None = None  # that has come, and is not in use
        self.spawn, self.sleep, self.busy = gevent.spawn, gevent.sleep, False
        self.watcher: Any = None
        if birth.material is not None:
            self._use(birth.material)
        if birth.mail >= 0:
            self.inbox = Inbox(birth.mail)
            self.watcher = gevent.get_hub().loop.io(birth.mail, 1, ref=False)
            self.watcher.start(self._read)

    def _use(self, material: "Material") -> None:
        """Raises ConfigError, HookError."""
        before, there = self.material, self.server.certificates
        if there is None or before is None or before != replace(material, ticket_keys=before.ticket_keys):
            there = self.server.certificates_of(material)
            self.server.renew(there)
        self.shared = there.set_ticket_keys(material.ticket_keys)
        self.material = material

    def lines(self) -> list[str]:
        """What the start says of them."""
        return [] if self.shared else [f"TLS sessions resume only at the worker that began them: {UNSHARED}"]

    def _read(self) -> None:
        from greenhttp.tls.material import Material

        try:
            messages = self.inbox.read()
        except EOFError:
            self.stop()
            return
        if messages:
            self.newest = Material.from_bytes(messages[-1])
            if not self.busy:
                self.busy = True
                self.spawn(self._renew)  # a handler of the log may wait

    def _renew(self) -> None:
        try:
            while (material := self.newest) is not None:
                self.newest = None
                try:
                    self._use(material)
                except OSError as error:  # no descriptor to be had, say; the supervisor will not send it again
                    log.error("worker %d: the new certificates cannot be used yet: %s", self.number, error)
                    self.sleep(AGAIN)
                    self.newest = self.newest or material
        except Exception as error:  # of the hook ssl_context, say
            log.error(
                "worker %d: the new certificates cannot be used, the old ones stay: %s", self.number, error,
                exc_info=error.__cause__,
            )  # fmt: skip
        finally:
            self.busy = False

    def stop(self) -> None:
        watcher, self.watcher = self.watcher, None
        if watcher is not None:
            watcher.stop()
            watcher.close()


class _Keeper:
    """Beats, and asks to be replaced when the worker has done enough."""

    def __init__(self, birth: Birth, server: "Server", tell: _Pipe, bounds: Bounds) -> None:
        from time import monotonic

        import gevent

        self.board, self.loads, self.server, self.tell, self.bounds = birth.board, birth.loads, server, tell, bounds
        self.seen = birth.seen
        self.bare = resident() if bounds.rss else 0
        self.clock, self.since, self.beats, self.asked = monotonic, monotonic(), 0, False
        self.timer = gevent.get_hub().loop.timer(0.001, BEAT, ref=False)
        self.timer.start(self.beat)
        self.beat()  # or a loop that stands still from the first turn on would never be missed

    def beat(self) -> None:
        counts = self.server.statistics()
        requests = counts.get("requests", 0)
        self.board.beat(counts.get("connections", 0), counts.get("running", 0), requests)
        self.loads.publish(counts.get("connections", 0))
        self.beats += 1
        if not self.seen.alive and not self.asked:
            self.asked = True
            self.tell.say(leaving="a hook set worker.alive to False")
        if self.bounds.any and not self.asked:
            rss = resident() if self.bounds.rss and self.beats % 4 == 0 else 0
            age = self.clock() - self.since
            if why := self.bounds.reason(requests, rss, age):
                self.asked = True
                self.tell.say(leaving=why, vain=self.bounds.why_in_vain(self.bare, rss, age))

    def stop(self) -> None:
        """No more wishes; the beat goes on while it drains."""
        self.asked = True


__all__ = ["Birth", "main", "preload"]
