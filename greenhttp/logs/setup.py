"""Where the logger "greenhttp" writes while a server runs, and what is said at a terminal.

    with set_up(settings) as log: ...       the pipe, whoever reads it, the handler; taken down afterwards
    announce(line)                          for whoever has started it: at the terminal, or in the log
    inherit(number)                         in a worker, which goes on with the pipe of its supervisor

An application with logging of its own has greenhttp's lines among its others, where its handlers put them; those of the
supervisor never go there, for a handler may wait.
"""

import contextlib
import errno
import io
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from greenhttp.errors import ConfigError
from greenhttp.logs import config
from greenhttp.logs.lines import JSON, JSONFormatter, TextFormatter, packed
from greenhttp.logs.pipe import LONGEST, RECORD, TO_STDERR, LogPipe
from greenhttp.logs.scribe import ScribeThread, opened
from greenhttp.settings import console
from greenhttp.settings.values import Settings

SHORT = 100_000  # characters that are kept of a message that is too long
LAST_WORDS = 1.0  # seconds that the reader of the pipe has in the end

log = logging.getLogger("greenhttp")


class _Ours(logging.Logger):
    """The logger "greenhttp": whatever an application does to logging, its lines are written, and nothing is raised.

    It cannot be disabled: logging.config does that to all loggers that exist, unless it is told not to, and
    logging.disable to all there ever are. Its level is left to the application.
    """

    disabled = property(lambda self: False, lambda self, value: None)

    def isEnabledFor(self, level: int) -> bool:
        return level >= self.getEffectiveLevel()

    def makeRecord(self, *words: Any, **more: Any) -> logging.LogRecord:
        """By the application's factory, unless that fails: it may be made for its own records alone."""
        try:
            record = super().makeRecord(*words, **more)
            if isinstance(record, logging.LogRecord):
                return record
        except Exception:
            pass
        name, level, file, line, message, args, error, *rest = words
        return logging.LogRecord(name, level, file, line, message, args, error, *rest[:1])

    def handle(self, record: logging.LogRecord) -> None:
        """By the application's handlers and our own. What theirs raise, or a filter, is not the caller's business."""
        try:
            super().handle(record)
        except Exception:  # in the hub, also that a handler waits
            if current is not None:
                current.writer.emit(record)

    def callHandlers(self, record: logging.LogRecord) -> None:
        """The application's, and our own also where they have thrown it out.

        Those of the application by the method of the class, as it is now: tools that watch logging replace it.
        """
        ours = current.handler if current is not None else None
        if current is None or ours is None:
            super().callHandlers(record)
            return
        failed = False
        if not current.apart:  # there nothing may wait
            reaches = logging.Logger(self.name)
            reaches.handlers = others() or [logging.NullHandler()]  # without any, stderr would have the line
            try:
                logging.Logger.callHandlers(reaches, record)
            except Exception:  # in the hub, also that a handler waits
                failed = True
        if ours.filter(record) or failed:
            ours.emit(record)


log.__class__ = _Ours


def others() -> list[logging.Handler]:
    """Handlers of the application's that what is logged here would reach, as far as they can write."""
    if current is not None and current.apart:
        return []
    return [handler for handler in reached(log) if not isinstance(handler, PipeHandler) and can_write(handler)]


def reached(logger: logging.Logger | None) -> list[logging.Handler]:
    """Its handlers, and those of the loggers that it propagates to."""
    found: list[logging.Handler] = []
    while logger is not None:
        found += logger.handlers
        logger = logger.parent if logger.propagate else None
    return found


def can_write(handler: logging.Handler) -> bool:
    """Whether it writes at all: a NullHandler does not, nor one to a stream that is None or closed."""
    if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
        return handler.stream is not None and not getattr(handler.stream, "closed", False)
    return not isinstance(handler, logging.NullHandler)


class Keeper(Protocol):
    """Whoever has the pipe read."""

    def reopen(self) -> None:
        """Have the log opened again under its name."""

    def stop(self, timeout: float) -> bool:
        """Have what has come written, for so many seconds at most. Whether it was."""


Handle = Callable[[bytes], None]  # of a record, as bytes
Make = Callable[[LogPipe, str | None, Callable[[str | None], Handle] | None], Keeper]


class PipeHandler(logging.Handler):
    """Log records into the pipe. Never waits, never raises, has no lock.

    Arguments:
        record: whether the record itself is handed over, for handlers of a log_config.
    """

    def __init__(self, pipe: LogPipe, formatter: logging.Formatter, record: bool) -> None:
        super().__init__()
        self.pipe, self.record = pipe, record
        self.setFormatter(formatter)

    def createLock(self) -> None:
        """None: whoever is stopped or switched away from in here must not keep others out."""
        self.lock: Any = _Open()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self._made(record)
            if len(text) > LONGEST:  # cut here, where half of it can still be made a whole line
                record = logging.makeLogRecord({**vars(record), "msg": f"{record.getMessage()[:SHORT]} ... (cut)"})
                record.args, record.exc_info, record.exc_text = (), None, None
                text = self._made(record)
        except Exception as error:  # arguments whose __str__ raises, no memory
            what = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
            why = f"this log message cannot be formatted ({type(error).__name__})"
            self.pipe.put(self.pipe.line(f"{record.levelname} {what!r:.200}: {why}"))
            return
        self.pipe.put(text, RECORD if self.record else 0)

    def _made(self, record: logging.LogRecord) -> str:
        formatter = self.formatter or TextFormatter()
        return packed(record, formatter) if self.record else formatter.format(record) + "\n"


class _Open:
    """A lock that is always free."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass

    def __enter__(self) -> bool:
        return True

    def __exit__(self, *_: object) -> None:
        pass


class Log:
    """The log of this process.

    Attributes:
        pipe: by which it leaves.
        keeper: whoever reads that.
        path: of the file; None: stderr.
        uniform: whether each line of it has a form that a program reads.
        people: whether somebody looks at stderr, and lines for people go there.
        elsewhere: whether the log is somewhere else than they look.
        writer: what makes an entry of a record, into the pipe.
        config: the log_config, as far as this process has one.
        handler: of the logger, while nothing else takes its place.
        apart: whether the log is greenhttp's own business: this process serves nothing.
        worker: the number of the worker that this process is.
        process: the one that has set it up.
    """

    worker: int | None = None
    handler: PipeHandler | None = None
    apart = False

    def __init__(self, settings: Settings, make: Make) -> None:
        self.settings = settings
        self.held = console.hold()
        try:
            self.pipe = LogPipe()
        except OSError as error:
            console.release()
            raise ConfigError(f"the log needs a pipe: {error.strerror}; raise the limit with ulimit -n") from None
        self.process = os.getpid()
        self.path = None if settings.error_logfile == "-" else os.path.abspath(settings.error_logfile)
        try:
            self.config = config.read(settings)
            formed = settings.log_format == JSON
            self.formatter = JSONFormatter(lambda: self.worker) if formed else TextFormatter()
            if formed:
                self.pipe.line = self._line  # type: ignore[method-assign]
            self.uniform = formed or self.config is not None
            self.people = console.seen() and not (formed and self.path is None)
            self.elsewhere = not self.people or self.path is not None or self.config is not None
            self.writer = PipeHandler(self.pipe, self.formatter, record=False)
            usable = self.config if self.config is not None and self.config.own else None
            self.keeper = make(self.pipe, self.path, None if usable is None else usable.handler)
        except OSError as error:
            self._let_go()
            raise ConfigError(f"error_logfile: {settings.error_logfile}: {error.strerror}") from None
        except BaseException:
            self._let_go()
            raise

    def _line(self, text: str) -> str:
        return self.formatter.format(logging.makeLogRecord({"msg": text, "levelname": "WARNING"})) + "\n"

    def say(self, text: str) -> None:
        """Text for stderr, as it is."""
        self.pipe.put(text, TO_STDERR)

    def reopen(self) -> None:
        """Open the log again under its name, after a rotation."""
        self.keeper.reopen()

    def close(self) -> None:
        """Have everything written, for a moment at most."""
        if self.keeper.stop(LAST_WORDS):
            self._let_go()  # else its reader still has them, and the numbers must not become other files'

    def _let_go(self) -> None:
        self.pipe.close()
        if self.held:
            console.release()


current: Log | None = None  # of this process; a forked child goes on with it


@contextlib.contextmanager
def set_up(settings: Settings, make: Make | None = None) -> Iterator[Log]:
    """Level and place of the log, as long as the with block lasts.

    Within a process that has it set up already, or has inherited it, nothing changes. Lines for stderr end where the
    application, perhaps with its first request, gives the root logger a handler; a file that was asked for is written
    in any case.

    Arguments:
        make: makes whoever reads the pipe; None: a thread of this process.

    Raises ConfigError if the log cannot be written, or log_config cannot be used.
    """
    global current
    if current is not None:
        yield current
        return
    current = mine = Log(settings, make or _thread)
    before = log.level, log.propagate
    try:
        mine.apart = make is not None
        mine.handler = _handler(mine)
        if log.level == logging.NOTSET:
            log.setLevel(settings.log_level.upper())
        if mine.handler is not None:
            log.addHandler(mine.handler)
        console.through(mine.say)
        if make is not None and mine.config is not None and mine.config.foreign:
            why = f"{mine.config.foreign} is not of the standard library"
            log.warning("%s: the supervisor logs without it, because %s", mine.config.source, why)
        say_kept()
        yield mine
    finally:
        if os.getpid() == mine.process:  # a child's copy of this frame leaves everything to the child
            console.through(None)
            log.setLevel(before[0])
            log.propagate = before[1]
            if mine.handler is not None:
                log.removeHandler(mine.handler)
            current = None
            mine.close()


def _thread(pipe: LogPipe, path: str | None, _: object) -> Keeper:
    return ScribeThread(pipe, path)


def _handler(mine: Log) -> PipeHandler | None:
    """The one to add."""
    if mine.config is not None and not mine.apart:
        mine.config.apply()
        if log.hasHandlers():
            return None
    made = mine.writer
    if mine.apart:
        made.record = mine.config is not None and mine.config.own
        log.propagate = False
        return made
    if mine.path is None:
        made.addFilter(_application_is_silent)
    return made


def say_kept() -> None:
    """What came to mind before there was a log."""
    for line in console.kept():
        announce(line, "yellow", level=logging.WARNING)


def _application_is_silent(_: logging.LogRecord) -> bool:
    return not others()


def inherit(number: int) -> None:
    """In a worker: from now on this process is that worker, and its log reaches the application's handlers too.

    Raises ConfigError for a log_config that cannot be applied.
    """
    mine = current
    if mine is None:
        return
    mine.worker = number
    mine.apart = False
    say_kept()
    with contextlib.suppress(OSError):
        os.close(mine.pipe.reading)  # the supervisor has it, and the log process
    mine.pipe.reading = -1
    if mine.config is not None:
        ours = log.handlers[:]
        mine.config.apply()
        if mine.config.own:  # the log process has the same handlers, and may wait for them
            log.handlers[:] = ours
            log.propagate = False
            return
        for handler in ours:
            log.removeHandler(handler)
        mine.handler = None
        mine.writer.record = False
    elif mine.path is None:
        mine.writer.addFilter(_application_is_silent)
    log.propagate = True


def leave() -> None:
    """In the log process: what it logs comes from the pipe, and must not go there again."""
    global current
    current = None
    log.handlers[:] = []
    log.propagate = True


def announce(line: str, *styles: str, level: int = logging.INFO) -> None:
    """A line for whoever has started the server: at the terminal if they look there, and in the log if it is elsewhere.

    Arguments:
        line: perhaps painted.
        styles: at the terminal.
        level: in the log.
    """
    if current is None or current.people:
        console.say(line, *styles)
    if current is not None and current.elsewhere:
        log.log(level, "%s", console.plain(line))


def cry(line: str) -> None:
    """A line before this process ends by force. It passes no handler of the application's, which might never return."""
    if current is None or current.people:
        console.say(line)
    if current is not None and current.elsewhere:
        current.writer.emit(log.makeRecord(log.name, logging.WARNING, "", 0, "%s", (line,), None))


def from_application(source: tuple[str, str, str] | None, text: str) -> None:
    """An entry for what an application has written to `wsgi.errors`.

    The application's own handlers never see it: one of them may be what has written it.

    Arguments:
        source: peer, `GET /path` and ID, each "" if unknown; None where no request is known.
    """
    if current is not None:
        current.writer.emit(entry(source, text))  # not `handle`: a filter is quiet where the application has handlers


def entry(source: tuple[str, str, str] | None, text: str) -> logging.LogRecord:
    """A record for that, see `from_application`."""
    peer, request, id = source or ("", "", "")
    who = " ".join(part for part in (peer, f"[{id}]" if id else "") if part)
    message = "".join(f"{part}: " for part in (who, request) if part) + text.rstrip("\n")
    record = log.makeRecord(log.name, logging.ERROR, "(wsgi.errors)", 0, "%s", (message,), None)
    record.peer, record.request, record.request_id = peer or None, request or None, id or None
    return record


def last_words() -> None:
    """Have written what was said, before this process ends by force; for a moment at most."""
    if current is not None:
        current.keeper.stop(LAST_WORDS)


def told(text: str, line: str, starting: bool = True) -> None:
    """What has kept the server, or a worker, from starting: in the log, and on stderr if somebody waits there for it.

    Arguments:
        text: a traceback, or "".
        line: what it means.
        starting: whether nothing has ever served.
    """
    mine = current
    if mine is None or mine.people or not mine.uniform and (mine.path is None or starting):
        console.say_as_it_is(text)
        console.say(line, "red")
    if mine is not None and (mine.uniform or mine.path is not None):
        log.critical("%s", f"{line}\n{text}".rstrip("\n"))


def reopen_handlers() -> None:
    """Open the files of a log_config's handlers again under their names. Raises OSError."""
    if current is not None and current.config is not None:
        config.reopen()


class Crash:
    """Where the interpreter writes stacks when it crashes, or gets ABRT: the log's file, without any pipe or thread.

    Attributes:
        fd: keeps its number: faulthandler knows no more than that, and would write to whoever has been given it since,
            such as a client.
    """

    def __init__(self) -> None:
        self.path = current.path if current is not None else None
        # Of its own: those of `console` are closed before the functions at exit run, in which it may hang.
        self.fd = os.dup(console.descriptor(console.ERR))
        with contextlib.suppress(OSError):
            if self.path is not None:
                fresh = opened(self.path)
                os.dup2(fresh, self.fd, inheritable=False)
                os.close(fresh)

    def reopen(self) -> None:
        """Open the file again under its name. Raises OSError, and goes on with the one it has, if there can be none."""
        if self.path is None:
            return
        fresh = opened(self.path)
        try:
            os.dup2(fresh, self.fd, inheritable=False)
        finally:
            os.close(fresh)


def empty(stream: io.TextIOBase | Any) -> None:
    """Have nothing left in the buffer of stdout or stderr, which a forked child would write again.

    What cannot be written, because the disk is full or nobody reads, is thrown away.
    """
    try:
        stream.flush()
        return
    except Exception:  # it may be the application's
        pass
    with contextlib.suppress(Exception):
        fd = stream.fileno()
        kept, nowhere = os.dup(fd), os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.dup2(nowhere, fd)  # for a moment, in this process alone
            stream.flush()
        finally:
            os.dup2(kept, fd)
            os.close(kept)
            os.close(nowhere)


def check(setting: str, path: str | None) -> None:
    """Whether the log of this setting could be opened; makes no file. None and `-` always can.

    Raises ConfigError if not.
    """
    if path in (None, "-"):
        return
    try:
        _try(os.path.realpath(path))
    except OSError as error:
        raise ConfigError(f"{setting}: {path}: {error.strerror}") from None


def _try(path: str) -> None:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC))
    except FileNotFoundError:
        directory = os.path.dirname(path)
        os.stat(directory)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES)) from None
