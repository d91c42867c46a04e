"""The supervisor's process: forks workers, hears of them through pipes, reaps them, and does what policy decides.

One thread, one poll over: the pipe that signals write to, a pipe from each worker, and nothing else. It owns the
listening sockets, so that what has reached the kernel's queue survives any worker. It imports neither gevent nor the
application, unless `preload`, or the file of settings has hooks of its own for it.

Long, but one thing: every part of it touches the same children, listeners and poll. What can be decided without them is
`policy`, what can be done without them `system`, `takeover`, `watch` and `death`.

    supervise(plan)  ->  the exit code; in a worker, which returns from the same call, that worker's
"""

import contextlib
import errno
import json
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from select import POLLIN, poll  # before a preloaded application patches them: this process has no green threads
from time import monotonic, sleep
from typing import TYPE_CHECKING

from greenhttp.errors import AppError, ConfigError
from greenhttp.green.listener import Listener, close_listener, is_lost, listen
from greenhttp.logs import setup as logs
from greenhttp.process.board import Board, Loads, now
from greenhttp.process.handlers import Handlers
from greenhttp.process.sender import described, sender
from greenhttp.process.sender import watch as watch_senders
from greenhttp.program import boot, endings
from greenhttp.program.check import socket_owner
from greenhttp.program.hooks import HookError, told
from greenhttp.settings import console
from greenhttp.settings.address import Address, parse_address
from greenhttp.settings.console import coloured, paint
from greenhttp.settings.shown import changed
from greenhttp.settings.values import Settings
from greenhttp.supervisor import certificates, hooked, system, takeover, watch, worker
from greenhttp.supervisor.death import held, how, oom_counter
from greenhttp.supervisor.journal import LogProcess
from greenhttp.supervisor.policy import Exit, Limits, Order, Policy, Say, Settled, Start, State, Tell

if TYPE_CHECKING:
    from greenhttp.server import Server

log = logging.getLogger("greenhttp")

fork, waitpid, kill = os.fork, os.waitpid, os.kill  # the system's own, see above

HANDLED = ("TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "TTIN", "TTOU", "WINCH", "CHLD")
ORDERS = {
    Order.DRAIN: signal.SIGTERM,
    Order.QUIT: signal.SIGQUIT,
    Order.DUMP: signal.SIGABRT,
    Order.KILL: signal.SIGKILL,
}
LAST_WORDS = 2.0  # seconds that a hung worker has to say by itself where it is
LONGEST_WORD = 1 << 20  # bytes of a line that a worker has not finished
READS = 16  # of one pipe before others have their turn; 64 KiB each, so that they empty the largest that users may have
LOOK = 1.0  # seconds between two looks at the workers' beats
HASTE = 0.1  # seconds between two looks at all pipes, where poll cannot be used
AT_START = (  # settings that a reload reads and does not apply: they are of the process, or of sockets that are open
    "pid", "user", "group", "umask", "preload", "reload", "reload_dirs", "error_logfile", "log_level", "backlog",
    "socket_mode", "socket_owner", "reuse_port", "log_format", "log_config", "log_config_dict",
)  # fmt: skip
LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR, "critical": logging.CRITICAL}


@dataclass
class Plan:
    """What to run.

    Attributes:
        name: of the application, as the command got it.
        settings: complete.
        file: the file of settings if it is Python, which every worker runs for what it does; or "".
        reread: gives name, settings and the names of hooks anew, for a reload. Raises ConfigError.
        where: the directory the command was started in.
        hooks: the names of the hooks in that file.
    """

    name: str
    settings: Settings
    file: str = ""
    reread: Callable[[], tuple[str, Settings, frozenset[str]]] | None = None
    where: str = field(default_factory=os.getcwd)
    hooks: frozenset[str] = frozenset()


@dataclass
class Child:
    """What the master has of one worker."""

    number: int
    pid: int
    pipe: int
    board: Board
    place: int
    timeout: float
    oom_kills: int = 0
    told: list[str] = field(default_factory=list)  # signals it was sent, by name
    ready: bool = False  # it has said so
    served: bool = False  # it has done all its requests, and has only to end
    unread: bytes = b""
    said: tuple[str, str] | None = None  # what it says went wrong: a traceback or "", and a line
    code: int | None = None


def supervise(plan: Plan) -> int:
    """Run until a signal ends it. Returns the exit code, in the master and in every worker. Raises ConfigError."""
    outcome = Master(plan).run()
    # A worker leaves the master's frames behind before it does anything.
    return worker.main(outcome) if isinstance(outcome, worker.Birth) else outcome


class Master:
    """See the module. One object for the life of the process."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.settings = plan.settings
        self.pid = os.getpid()
        self.listeners: dict[str, tuple[Listener, Address]] = {}
        self.children: dict[int, Child] = {}  # by pid
        self.loads = Loads()
        self.lifeline: tuple[int, int] = (-1, -1)
        self.arrived: deque[int] = deque()
        self.policy = Policy(workers_of(plan.settings), _limits(plan.settings))
        self.oom_kills = oom_counter()
        self.poll = poll()
        self.wake = self.wake_end = -1
        self.quick = False
        self.code = 1  # it ends with
        self.introduced = False
        self.limited = False  # poll cannot be used
        self.last_words = "", ""
        self.mask: set[int] = set()  # of signals, before a fork
        self.check = takeover.Check()
        self.passed = False  # the check: this process becomes the program on disk
        self.looked = monotonic()  # at the clock
        self.awake = now()  # when this process, or the machine, last woke up
        self.watcher = watch.Watcher()
        self.hooked = hooked.Hooked(plan.file, _counted(plan.settings), self.policy.target)
        self.preloaded: Server | None = None
        self.certificates = certificates.Certificates(self.poll)

    @property
    def journal(self) -> LogProcess:
        """The process that writes the log."""
        return self.log.keeper  # type: ignore[return-value]

    def run(self) -> "int | worker.Birth":
        """Until the end: the exit code, or in a child what it was born with."""
        with contextlib.ExitStack() as stack:
            self._open_log(stack)
            stack.enter_context(self._signals())
            taken = takeover.taken(os.environ)
            stack.enter_context(system.pid_file(self.settings.pid))
            try:
                self.hooked.serving = taken is not None
                if not self.settings.preload:
                    self.hooked.begin(lambda: hooked.read(self.plan.file, self.plan.hooks))
                self.certificates.begin(self.settings, taken.tls if taken else None, self._read_clock())
                self._listen(taken)
                self.certificates.stay(self.settings)
                kept = (self.settings.pid, self.settings.error_logfile, self.settings.access_logfile)
                system.drop(self.settings.user, self.settings.group, kept)
                if (self.settings.user, self.settings.group, self.settings.umask) != (None, None, None):
                    self.journal.renew()
                if self.settings.preload:
                    self.hooked.begin(lambda: boot.run_file(self.settings, self.plan.file))
                    self.preloaded = worker.preload(self.plan.name, _counted(self.settings))
                    self._keep_signals()
                    self.hooked.server.app.callable = self.preloaded.app
                    logs.say_kept()
                self.hooked.listen(self.listeners.values())
                self.lifeline = system.pipe() if taken is None else taken.lifeline
                self._watch_files(serving=taken is not None)
                if taken is not None:
                    self._adopt(taken)
                else:
                    self.policy.begin(self._read_clock())
                outcome = self._loop()
            except BaseException as error:
                self._close_listeners()
                if self.log.path is not None and isinstance(error, (ConfigError, AppError)):
                    log.critical("%s", error)  # whoever waits at stderr is told as well
                raise
            if isinstance(outcome, worker.Birth):
                stack.close()  # the child's copies: it will have a log and handlers of its own
                self._unblock_child()
                return outcome
            self.code = outcome
            system.notify(os.environ, "STOPPING=1")
            self._close_listeners()
            self.watcher.stop(self.poll)
            self.check.end(self._read_clock())
            self.certificates.end()
            self.hooked.over()
            if self.introduced or self.log.path is not None:
                log.info("stopped, exit code %d", outcome)
            return outcome

    def _open_log(self, stack: contextlib.ExitStack) -> None:
        """Raises ConfigError, unless workers serve already: then it goes to stderr."""
        try:
            self.log = stack.enter_context(logs.set_up(self.settings, LogProcess))
        except ConfigError as error:
            if not takeover.expected(os.environ):
                raise
            plain = self.settings.replace(error_logfile="-", log_config="off", log_config_dict="")
            self.log = stack.enter_context(logs.set_up(plain, LogProcess))
            log.error("%s; the log goes to stderr", error)

    # ---- the loop

    def _loop(self) -> "int | worker.Birth":
        period = system.watchdog_period(os.environ)
        alive = monotonic()
        while True:
            self.hooked.resized(self.policy.target)
            if self.passed:  # what is decided by now is still done by this program, and nothing new
                self._hear_all()
                self.policy.hand_over(self._read_clock())
            outcome = self._carry_out()
            if outcome is not None:
                return outcome
            if self.passed:
                self._become()
                self.policy.tick(self._read_clock())  # it could not, and may lack the workers it has not started
                continue
            due = self.policy.due()
            wait = LOOK if self.children or self.check.pid else None
            if due is not None:
                wait = min(LOOK, max(0.0, due - monotonic()))
            if (left := self.journal.look()) is not None:
                wait = left if wait is None else min(wait, left)
            if period is not None:
                if monotonic() - alive >= period:
                    alive = monotonic()
                    system.notify(os.environ, "WATCHDOG=1")
                wait = min(max(0.0, alive + period - monotonic()), LOOK if wait is None else wait)
            ready = self._poll(wait)
            if self.wake in ready:
                ready.remove(self.wake)
                with contextlib.suppress(BlockingIOError):
                    os.read(self.wake, 4096)
            while self.arrived:  # first: workers may tell of a signal that was sent to the whole group
                self._on_signal(self.arrived.popleft())
            for fd in ready:
                if fd == self.watcher.pipe:
                    self._changed()
                elif not self.certificates.heard(fd):
                    self._hear(fd)
            self._reap()
            beats = now()  # before the clock, which notices a sleep: one that comes between the two is nobody's silence
            when = self._read_clock()
            self.check.look(when, self.settings.boot_timeout)
            self._look_at_beats(when, beats)
            self.certificates.look(when)
            self.policy.tick(when)

    def _poll(self, wait: float | None) -> list[int]:
        """The descriptors that have something to say, within so many seconds."""
        try:
            ready = [fd for fd, _ in self.poll.poll(None if wait is None else wait * 1000 + 1)]
        except OSError as error:
            # More descriptors than RLIMIT_NOFILE allows by now, see poll(2). What is open stays open and can be read.
            if not self.limited:
                why = error.strerror
                log.error("the limit of open files is lower than their number (%s): raise it, see prlimit(1)", why)
            self.limited = True
            sleep(HASTE if wait is None else min(wait, HASTE) + 0.001)  # as the poll: time must pass
            pipes = [child.pipe for child in self.children.values()]
            return [self.wake, *pipes, *([self.watcher.pipe] if self.watcher.pipe >= 0 else [])]
        self.limited = False
        return ready

    def _carry_out(self) -> "int | worker.Birth | None":
        """Do what policy has decided. At the end: the exit code, or in a child what it was born with."""
        while actions := self.policy.take():  # a fork that fails at once decides on others
            for action in actions:
                match action:
                    case Start(number, generation):
                        born = self._fork(number, generation)
                        if born is not None:
                            return born
                    case Tell(number, order):
                        self._tell(number, order)
                    case Say(level, line):
                        log.log(LEVELS[level], "%s", line)
                    case Settled():
                        system.notify(os.environ, "READY=1", f"STATUS={self.policy.serving} workers serve")
                    case Exit(code):
                        return code
        if self.policy.stopping:  # whoever is to answer what is in the queues has them
            self._close_listeners()
        return None

    def _read_clock(self) -> float:
        """The time for whatever is decided; that in which this process did not run is nobody's."""
        when = monotonic()
        away = when - self.looked
        if away > 3 * LOOK:  # the machine slept, and so did the workers; or whoever stopped this process goes on
            self.awake = now()
            self.policy.slept(away, when)
            self.check.since = min(when, self.check.since + away)
        self.looked = when
        return when

    def _on_signal(self, number: int) -> None:
        name = signal.Signals(number).name
        if number != signal.SIGCHLD and (sent := sender(number)):
            log.info("received %s, sent by %s", name, described(*sent))
        if name == "SIGTERM":
            if not self.policy.stopping:
                wait = self.settings.graceful_timeout
                logs.announce(f"stopping; running requests have {wait:g} s to finish" if wait else "stopping")
                system.notify(os.environ, "STOPPING=1")
                self._hear_all()
                waiting = wait > 0 and not self.policy.serving and self._are_waiting()
                self.policy.stop(wait > 0, self._read_clock(), waiting=waiting)
                if not waiting:
                    self._close_listeners()  # the workers take what is in the queues before they go
        elif name in ("SIGINT", "SIGQUIT"):
            if self.quick:
                logs.cry("stopped by force")
                for child in self.children.values():
                    with contextlib.suppress(ProcessLookupError):
                        kill(child.pid, signal.SIGKILL)
                self._close_listeners()
                os._exit(1)
            self.quick = True
            system.notify(os.environ, "STOPPING=1")
            self.policy.stop(False, self._read_clock())
        elif name == "SIGHUP":
            self._reload()
        elif name == "SIGUSR1":
            self._reopen()
        elif name == "SIGUSR2":
            self._begin_upgrade()
        elif name in ("SIGTTIN", "SIGTTOU"):
            self._hear_all()
            self.policy.resize(1 if name == "SIGTTIN" else -1, self._read_clock())
        elif name == "SIGWINCH" and not _on_a_terminal():
            self._hear_all()
            self.policy.rest(self._read_clock())

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals become numbers in `arrived`, and a byte in a pipe wakes the poll."""
        woken, wake = system.pipe()
        for end in (woken, wake):
            os.set_blocking(end, False)
        self.wake, self.wake_end = woken, wake
        numbers = [getattr(signal, f"SIG{name}") for name in HANDLED]
        before = {number: signal.signal(number, self._arrive) for number in numbers}
        wakeup_before = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self.poll.register(woken, POLLIN)
        watch_senders(numbers)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)  # blocked while one program took over from another
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup_before)
            for number, handler in before.items():
                if os.getpid() != self.pid or number == signal.SIGCHLD:
                    signal.signal(number, handler)
                else:
                    endings.settle([number], self.code)
            os.close(woken)
            os.close(wake)

    def _arrive(self, number: int, _: object) -> None:
        self.arrived.append(number)

    def _keep_signals(self) -> None:
        """The application was loaded here, and may have taken signals for itself."""
        numbers = [getattr(signal, f"SIG{name}") for name in HANDLED]
        Handlers(dict.fromkeys(numbers, self._arrive)).look()
        watch_senders(numbers)
        signal.set_wakeup_fd(self.wake_end, warn_on_full_buffer=False)

    # ---- listeners

    def _listen(self, taken: "takeover.Taken | None") -> None:
        """Open what `bind` says; what another program left, or systemd opened, is taken as it is."""
        wanted = [parse_address(text) for text in self.settings.bind]
        if taken is not None:
            self.listeners = taken.listeners
            if all(address.kind == "fd" for _, address in self.listeners.values()):
                wanted = [address for _, address in self.listeners.values()]  # systemd gave them to the program before
        elif found := system.inherited(os.environ):
            wanted = [Address("fd", fd=fd) for fd in found]
            log.info("listening on the sockets that systemd has opened; bind is ignored")
        if self.settings.umask is not None:
            os.umask(self.settings.umask)
        self._open(wanted)

    def _open(self, wanted: list[Address]) -> None:
        """Have these listeners, and no others. Raises ConfigError, and leaves all as it was."""
        opened: dict[str, tuple[Listener, Address]] = {}
        try:
            for address in wanted:
                if str(address) not in self.listeners:
                    opened[str(address)] = (self._listener(address), address)
                elif is_lost(*self.listeners[str(address)]):
                    self._open_again(address)
        except (ConfigError, OSError):
            for sock, address in opened.values():
                close_listener(sock, address)
            raise
        names = {str(address) for address in wanted}
        for text in [text for text in self.listeners if text not in names]:
            close_listener(*self.listeners.pop(text))  # the workers have it until they have drained
        self.listeners.update(opened)

    def _open_again(self, address: Address) -> None:
        """The file of a UNIX socket was removed: make it anew. Workers of before have the old socket until they end.

        If it cannot be made, the old one stays: who is connected loses nothing.
        """
        old, _ = self.listeners[str(address)]
        try:
            self.listeners[str(address)] = (self._listener(address), address)
        except (ConfigError, OSError) as error:
            why = getattr(error, "strerror", None) or error
            log.error("the file of %s was removed and cannot be made again, so nobody can connect: %s", address, why)
            return
        log.warning("the file of %s was removed; it is made again", address)
        close_listener(old, address)

    def _listener(self, address: Address) -> Listener:
        ways = self.settings
        others = [parse_address(text) for text in ways.bind]
        return listen(address, ways.backlog, ways.socket_mode, socket_owner(ways), ways.reuse_port, others)

    def _are_waiting(self) -> bool:
        """Whether there are connections that nobody has accepted."""
        look = poll()
        for sock, _ in self.listeners.values():
            look.register(sock.fileno(), POLLIN)
        try:
            return bool(look.poll(0))
        except OSError:  # more than RLIMIT_NOFILE allows by now: nobody knows
            return True

    def _close_listeners(self) -> None:
        """Close those of this process, and remove the files: from now on nobody connects. May be repeated.

        Also the file of a UNIX socket goes at once. It would only take connections that nobody accepts any more, and
        that end without an answer when this process does.
        """
        if os.getpid() != self.pid:
            return
        for sock, address in self.listeners.values():
            close_listener(sock, address)
        self.listeners = {}

    # ---- workers

    def _fork(self, number: int, generation: int) -> "worker.Birth | None":
        """A new worker. In the child: what it needs to know."""
        if self.policy.workers[number].state is not State.STARTING:  # something else has been decided since
            self.policy.gone(number, "not started, as ordered", self._read_clock())
            return None
        try:
            seen = self.hooked.fork(number)
        except HookError as error:
            self._tell_once(*told(error, self.plan.name))
            self.policy.gone(number, str(error), self._read_clock())
            return None
        for name in ("stdout", "stderr"):
            logs.empty(getattr(sys, name, None))
        numbers = [getattr(signal, f"SIG{name}") for name in HANDLED]
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)  # until the child has handlers of its own
        place = self.loads.take()
        with contextlib.ExitStack() as undo:
            undo.callback(signal.pthread_sigmask, signal.SIG_SETMASK, mask)
            undo.callback(self.loads.give_back, place)
            try:
                ours, theirs = os.pipe()
                undo.callback(os.close, theirs)
                undo.callback(os.close, ours)
                os.set_blocking(ours, False)
                board = Board(self.settings.concurrency + 16)
                undo.callback(board.close)
                mail = self.certificates.mail(number)
                if mail >= 0:
                    undo.callback(os.close, mail)
                    undo.callback(self.certificates.gone, number)
                pid = fork()
            except (OSError, MemoryError) as error:  # no descriptor, no memory, no process to be had
                why = getattr(error, "strerror", None) or "out of memory"
                self.policy.gone(number, f"no process for it: {why}", self._read_clock(), None)
                return None
            undo.pop_all()
        if pid == 0:
            self.mask = mask
            self._become_child(ours)
            listeners = list(self.listeners.values())
            for sock, _ in listeners:
                sock.file = None  # the file of a UNIX socket is the master's to remove
            return worker.Birth(
                number=number, generation=generation, name=self.plan.name, settings=_counted(self.settings),
                file=self.plan.file, listeners=listeners, pipe=theirs, lifeline=self.lifeline[0], board=board,
                loads=self.loads, place=place, preloaded=self.preloaded, material=self.certificates.material, mail=mail,
                arbiter=self.hooked.server, seen=seen, hooks=self.hooked.hooks,
            )  # fmt: skip
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(theirs)
        if mail >= 0:
            os.close(mail)
        self.children[pid] = Child(number, pid, ours, board, place, self.settings.timeout, self.oom_kills())
        self.poll.register(ours, POLLIN)
        self.hooked.forked(seen, pid)
        return None

    def _unblock_child(self) -> None:
        """Signals arrive in the child from now on.

        By default USR1, HUP and others would end a worker that is only starting. A function takes them, since what is
        ignored would stay ignored in programs that the application starts.
        """
        ends = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD)
        for value in (getattr(signal, f"SIG{name}") for name in HANDLED):
            signal.signal(value, signal.SIG_DFL if value in ends else lambda *_: None)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)

    def _become_child(self, ours: int) -> None:
        """Let go of what is the master's alone: its ends of pipes, and other workers' boards."""
        for fd in [ours, self.lifeline[1], *(child.pipe for child in self.children.values())]:
            os.close(fd)
        for child in self.children.values():
            child.board.close()
        if self.watcher.pipe >= 0:
            os.close(self.watcher.pipe)
        self.certificates.let_go()

    def _tell(self, number: int, order: Order) -> None:
        child = next((child for child in self.children.values() if child.number == number), None)
        if child is None:
            return
        if order is Order.DUMP and not self._report_hang(child):
            order = Order.KILL
        value = ORDERS[order]
        child.told.append(value.name)
        with contextlib.suppress(ProcessLookupError):
            kill(child.pid, value)

    def _hear(self, fd: int) -> None:
        """A worker has said something: lines of JSON."""
        child = next((child for child in self.children.values() if child.pipe == fd), None)
        if child is None:
            self._unregister(fd)
            return
        for _ in range(READS):
            try:
                data = os.read(fd, 65536)
            except BlockingIOError:
                return
            if not data:  # it has closed it, or is gone, which the reaper will tell
                self._unregister(fd)
                return
            *lines, child.unread = (child.unread + data).split(b"\n")
            child.unread = child.unread[-LONGEST_WORD:]
            for line in lines:
                try:
                    word = json.loads(line)
                except (ValueError, RecursionError):  # the application writes to descriptors that are not its own
                    log.warning(
                        "worker %d: unexpected data in its pipe; the application writes to a wrong descriptor",
                        child.number,
                    )
                    continue
                self._heard(child, word)

    def _hear_all(self) -> None:
        """What all have said by now: who has said that it serves is not told to leave as one that only starts."""
        for child in self.children.values():
            self._hear(child.pipe)

    def _unregister(self, fd: int) -> None:
        with contextlib.suppress(KeyError):  # its end was read before
            self.poll.unregister(fd)

    def _heard(self, child: Child, word: object) -> None:
        match word:
            case {"ready": list(lines)}:
                child.ready = True
                if self.policy.workers[child.number].state is State.STARTING:  # else it leaves already
                    self._introduce(child, [str(line) for line in lines])
                self.policy.ready(child.number, self._read_clock())
            case {"leaving": str(why), **more}:
                self.policy.wants_out(child.number, why, self._read_clock(), str(more.get("vain", "")))
            case {"served": True}:
                child.served = True
            case {"drains": str(why), **more}:
                self.policy.drains(child.number, why, self._read_clock(), bool(more.get("fault")))
            case {"failed": str(line), "trace": str(text), "code": int(code)}:
                child.said, child.code = (text, line), code

    def _introduce(self, child: Child, lines: list[str]) -> None:
        if not self.introduced:
            self._introduce_all(lines)
        log.info("worker %d serves, process %d", child.number, child.pid)

    def _introduce_all(self, lines: list[str]) -> None:
        self.introduced = True
        for line in [*lines, *self.certificates.lines()]:
            logs.announce(line)
        count = self.policy.target
        on = coloured()
        many = f"{count} workers" if count > 1 else "1 worker"
        logs.announce(
            f"{paint(many, 'bold', on=on)} under process {self.pid}; HUP reloads, TTIN and TTOU change their number"
        )
        if self.log.elsewhere:
            log.info("settings: %s", changed(self.settings))
        logs.announce("Ctrl-C stops at once; TERM lets running requests finish")
        self.certificates.warn()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.check.pid:
                self._checked(status)
            if self.journal.died(pid, status):
                continue
            if pid == self.watcher.pid:
                self.watcher.pid = 0  # the end of its pipe says so too
            child = self.children.get(pid)
            if child is not None:  # else a stranger's orphan: process 1 inherits those
                self._gone(child, status)

    def _gone(self, child: Child, status: int) -> None:
        with contextlib.suppress(OSError):
            self._hear_all()  # its last words, and who serves without it
        self._unregister(child.pipe)
        os.close(child.pipe)
        del self.children[child.pid]
        self.loads.give_back(child.place)
        reason = how(status, child.told, self.oom_kills() - child.oom_kills, child.ready)
        draining = self.policy.workers[child.number].state is State.DRAINING
        if not child.told and not (draining and status == 0):  # 0 too: a handler may have called os._exit(0)
            for age, text in child.board.listed()[:20]:
                log.warning("worker %d: request in progress when it died: %s, for %.1f s", child.number, text, age)
        child.board.close()
        self.certificates.gone(child.number)
        if child.said:
            self._tell_once(*child.said)
        elif self.policy.workers[child.number].state is State.STARTING and not self.introduced:  # 0 is no reason either
            log.critical("worker %d ended before it was ready, without an error message: %s", child.number, reason)
        code = child.code if child.code is not None else 3
        self.hooked.gone(child.pid)
        self.policy.gone(child.number, reason, self._read_clock(), code, child.served and os.WIFEXITED(status))

    def _tell_once(self, text: str, line: str) -> None:
        """Say what went wrong, unless it is what went wrong before.

        Arguments:
            text: a traceback, or "".
            line: what it means.
        """
        if (text, line) != self.last_words:
            self.last_words = text, line
            logs.told(text, line, starting=not self.introduced)

    # ---- hung workers

    def _look_at_beats(self, now_here: float, when: float) -> None:
        for child in list(self.children.values()):
            worker_now = self.policy.workers.get(child.number)
            if worker_now is None or worker_now.state not in (State.SERVING, State.DRAINING):
                continue
            beat = child.board.last_beat
            silent = when - max(beat, self.awake) if beat else 0.0
            if silent > LOOK:
                self.loads.silence(child.place)  # nobody has to leave connections to it
            patience = child.timeout + (0 if child.board.spoken else LAST_WORDS)
            if child.timeout and silent > patience:
                why = held(child.pid) or f"its event loop is blocked for {silent:.0f} s"
                self.policy.hung(child.number, why, now_here)

    def _report_hang(self, child: Child) -> bool:
        """What it was at. Returns whether more is to be heard of itself, by ABRT."""
        requests = child.board.listed()
        for age, text in requests[:50]:
            log.error("worker %d: request in progress for %.1f s: %s", child.number, age, text)
        if len(requests) > 50:
            log.error("worker %d: and %d more requests", child.number, len(requests) - 50)
        if held(child.pid):
            return False
        if child.board.spoken:
            return "worker_abort" in self.plan.hooks
        if child.served:
            why = "has done its requests and does not exit: a thread, or a function at exit, does not end"
        elif now() - child.board.last_beat < LOOK:
            why = "is late although its event loop turns"
        else:
            why = "could not log its stacks itself, since native code holds the GIL or a request blocks it"
        log.error(
            "worker %d %s; the stacks that follow are those of its threads, and of green threads only the running one",
            child.number, why,
        )  # fmt: skip
        return True

    # ---- reload, reopen, upgrade

    def _reload(self) -> None:
        if self.policy.stopping:
            return
        self.last_words = "", ""
        if self.settings.preload:
            log.info("reloading: the application is preloaded, so the whole program is started again in this process")
            self._begin_upgrade()
            return
        late: list[str] = []
        system.notify(os.environ, "RELOADING=1", f"MONOTONIC_USEC={int(monotonic() * 1_000_000)}")
        try:
            if self.plan.reread is not None:
                name, settings, hooks = self.plan.reread()
                functions = hooked.read(self.plan.file, hooks)
                first = self.certificates.first(settings)
                before, self.settings = self.settings, settings
                try:
                    self._open([parse_address(text) for text in settings.bind] if settings.bind != before.bind
                               else [address for _, address in self.listeners.values()])  # fmt: skip
                except (ConfigError, OSError):
                    self.settings = before
                    raise
                self.certificates.follow(settings, first)
                self.plan.name, self.plan.hooks = name, hooks
                self.hooked.listens(self.listeners.values())
                self.hooked.reload(functions, _counted(settings))
                self.policy.limits = _limits(settings)
                late = [name for name in AT_START if getattr(before, name) != getattr(settings, name)]
        except (ConfigError, OSError) as error:  # the latter without descriptors, memory or processes to be had
            why = str(getattr(error, "strerror", None) or error)
            log.error("not reloaded, nothing was changed: %s", why.replace("\n", "; "))
            console.kept()  # about settings that are not in force
            system.notify(os.environ, "READY=1", f"STATUS={self.policy.serving} workers serve")
            return
        if late:
            log.warning("%s: changed, but a reload does not apply it; send USR2 to apply it", ", ".join(late))
        logs.say_kept()  # here: each worker would say its copy
        log.info("reloading")
        self._hear_all()  # to read the settings may have taken long
        self.policy.reload(self._read_clock(), workers_of(self.settings))

    def _changed(self) -> None:
        """Files have changed, with `reload`."""
        names = self.watcher.changed()
        if names is None:
            return
        if names:
            log.info("changed: %s", ", ".join(names))
            self._reload()
            return
        self.watcher.stop(self.poll)
        if not self.policy.stopping:
            log.error("the file watcher has ended; send HUP to reload")

    def _watch_files(self, serving: bool) -> None:
        """Raises ConfigError, unless workers serve already."""
        try:
            if self.settings.reload:
                self.watcher.start(self.settings.reload_dirs, self.lifeline, self.poll)
        except ConfigError as error:
            if not serving:
                raise
            log.error("files are not watched any more: %s", error)

    def _reopen(self) -> None:
        self.log.reopen()
        for child in self.children.values():
            with contextlib.suppress(ProcessLookupError):
                kill(child.pid, signal.SIGUSR1)

    def _begin_upgrade(self) -> None:
        if not self.policy.stopping:
            self.check.begin(self.plan.where, list(self.listeners), self._read_clock())

    def _checked(self, status: int) -> None:
        if self.policy.stopping:
            self.check.pid = 0
            return
        if not self.check.over(status):
            return
        if not self.hooked.exec():
            log.error("not upgraded, nothing was changed: pre_exec failed")
            return
        self.passed = True

    def _become(self) -> None:
        """Be the program on disk. All that was decided has been done: it would be lost with this program."""
        self.passed = False
        if self.policy.stopping:
            return
        log.info("upgrading: this process starts the program on disk; its workers serve until new ones are ready")
        workers = [
            takeover.Left(
                child.number, child.pid, child.pipe, child.board.fd, int(child.board.entries), w.generation,
                w.state is State.SERVING, w.graceful, child.timeout, w.leaving, ",".join(child.told),
                child.unread.decode("latin-1"),
            )
            for child in self.children.values()
            if (w := self.policy.workers.get(child.number)) is not None
        ]
        self.watcher.stop(self.poll)
        system.notify(os.environ, "RELOADING=1", f"MONOTONIC_USEC={int(monotonic() * 1_000_000)}")
        held = None
        try:
            held = self.certificates.left()
            left = takeover.Taken(self.listeners, workers, self.lifeline, self.policy.last, held)
            takeover.become(self.plan.where, left, HANDLED, self.arrived)
        except OSError as error:
            if held is not None and held.memory >= 0:
                os.close(held.memory)
            log.error("not upgraded, nothing was changed: %s", error)
            system.notify(os.environ, "READY=1")
            self._watch_files(serving=True)

    def _adopt(self, taken: "takeover.Taken") -> None:
        """Go on with the workers of the program that this process was before."""
        self.policy.last = taken.last
        when = self._read_clock()
        for left in taken.workers:
            self.policy.adopt(left.number, left.generation, left.serving, left.graceful, left.leaving, when)
            board = Board(left.entries, left.board)
            self.children[left.pid] = Child(
                left.number, left.pid, left.pipe, board, -1, left.timeout, self.oom_kills(),
                [name for name in left.told.split(",") if name], unread=left.unread.encode("latin-1"), ready=True,
            )  # fmt: skip
            self.poll.register(left.pipe, POLLIN)
            self.hooked.adopt(left.number, left.pid)
        self.policy.reload(when)


def workers_of(settings: Settings) -> int:
    """How many there should be; `auto`: one for each processor this process may use."""
    if settings.workers != "auto":
        return max(1, int(settings.workers))
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def _counted(settings: Settings) -> Settings:
    """The settings as a worker gets them: WSGI's `wsgi.multiprocess` wants a number."""
    return settings.replace(workers=workers_of(settings))


def _limits(settings: Settings) -> Limits:
    settled = 0.0 if settings.reload else Limits.settled  # who has just saved a file does not want to wait
    return Limits(boot=settings.boot_timeout, graceful=settings.graceful_timeout, settled=settled)


def _on_a_terminal() -> bool:
    """Whether this process belongs to a terminal's foreground, which sends WINCH when its window changes."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            return False
        return any(os.isatty(fd) for fd in range(3))  # it could not be opened: a guess, but not to rest by mistake
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
