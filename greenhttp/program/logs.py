"""Where the logger "greenhttp" writes when the application has set up no logging of its own."""

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO, cast

from greenhttp.errors import ConfigError
from greenhttp.settings.values import Settings
from greenhttp.traces import trace

FORMAT = "%(asctime)s %(levelname)s %(message)s"
FORMAT_OF_MANY = "%(asctime)s [%(process)d] %(levelname)s %(message)s"  # where several processes write

log = logging.getLogger("greenhttp")


class Formatter(logging.Formatter):
    """An exception that cannot be formatted must not take the line with it."""

    def formatException(self, ei: Any) -> str:
        return super().formatException(ei) if ei[1] is None else trace(ei[1]).rstrip("\n")


class LogFile(logging.FileHandler):
    """A log file that can be opened again under its name, after a rotation has moved it away."""

    def reopen(self) -> None:
        """Raises OSError, and goes on with the file it has, if there can be none of that name.

        The descriptor keeps its number: faulthandler knows no more than that, and would write the stacks of a crash to
        whoever has been given the number since, such as a client.
        """
        stream = self._open()
        self.acquire()
        try:
            if self.stream is None:  # nothing was logged after the handler was closed
                self.stream = stream
            else:
                with stream:
                    os.dup2(stream.fileno(), self.stream.fileno(), inheritable=False)
        finally:
            self.release()


def _application_is_silent(_: logging.LogRecord) -> bool:
    return not logging.getLogger().handlers


@contextlib.contextmanager
def set_up(settings: Settings, process: bool = False) -> Iterator[list[Callable[[], None]]]:
    """Level and place of the log, as long as the with block lasts; gives what reopens its files.

    Handlers that are there already are left alone. Lines for stderr end where the application, perhaps with its first
    request, gives the root logger a handler; a file that was asked for is written in any case.

    Arguments:
        process: whether each line says which process has written it.

    Raises ConfigError if the file cannot be written.
    """
    handler = _handler(settings)
    level = log.level
    if level == logging.NOTSET:
        log.setLevel(settings.log_level.upper())
    if handler is not None:
        handler.setFormatter(Formatter(FORMAT_OF_MANY if process else FORMAT))
        log.addHandler(handler)
    try:
        yield [handler.reopen] if isinstance(handler, LogFile) else []
    finally:
        if level == logging.NOTSET:
            log.setLevel(level)
        if handler is not None:
            log.removeHandler(handler)
            handler.close()


def stream() -> TextIO:
    """Where the log goes, for what must be written without logging: its file, or stderr."""
    for handler in log.handlers:
        if isinstance(handler, logging.StreamHandler) and hasattr(handler.stream, "fileno"):
            return cast(TextIO, handler.stream)
    return sys.stderr


def _handler(settings: Settings) -> logging.Handler | None:
    if settings.error_logfile != "-":
        try:
            return LogFile(settings.error_logfile, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"error_logfile: {settings.error_logfile}: {error.strerror}") from None
    if log.handlers or logging.getLogger().handlers:
        return None
    stream = logging.StreamHandler()
    stream.addFilter(_application_is_silent)
    return stream


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
