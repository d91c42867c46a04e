"""`log_config`: Python's logging set up by a file, or by a dict, as gunicorn takes it.

    read(settings)      -> Config, or None if there is none
    Config.apply()      in a process that serves, for the application's loggers and all their handlers
    Config.own          in the supervisor's log process, for what greenhttp itself logs

A file of JSON, or one that ends in .toml, holds what logging.config.dictConfig takes; any other what fileConfig does
(INI).
Loggers that exist already are not disabled unless the file says so.
"""

import json
import logging
import logging.config
import os
import sys
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from typing import Any

from greenhttp.errors import ConfigError
from greenhttp.logs.lines import TextFormatter, unpacked
from greenhttp.settings.values import Settings
from greenhttp.traces import last_line

OURS, GUNICORNS = "greenhttp", "gunicorn.error"  # loggers; the second where a file does not name the first


class Config:
    """Arguments:
        source: the setting and, if it is a file, its name: for messages.
        content: for dictConfig; or the path of an INI file.
        level: of greenhttp's own log, unless the content has one for it.

    Attributes:
        own: whether all classes that it names are of the standard library: others would import the application.
        foreign: the first that is not, or "".
    """

    def __init__(self, source: str, content: "dict[str, Any] | str", level: str) -> None:
        self.source, self.content, self.level = source, content, level
        self.foreign = next((name for name in self._classes() if not _of_the_library(name)), "")

    @property
    def own(self) -> bool:
        return not self.foreign

    def apply(self) -> None:
        """Set up logging in this process. Raises ConfigError for whatever is wrong with it."""
        try:
            if isinstance(self.content, str):
                defaults = {"__file__": self.content, "here": os.path.dirname(self.content)}
                logging.config.fileConfig(self.content, defaults=defaults, disable_existing_loggers=False)
            else:
                logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, **self.content})
        except Exception as error:  # of the file, of a class that it names, of what that opens
            cause = error.__cause__ or error  # the texts of some say nothing without their kind
            why = last_line(cause) if isinstance(cause, (KeyError, TypeError, AttributeError)) else str(cause)
            raise ConfigError(f"{self.source}: {why}") from None
        ours, names = logging.getLogger(OURS), self._loggers()
        if OURS not in names and GUNICORNS in names:
            ours.parent = logging.getLogger(GUNICORNS)
        if ours.level == logging.NOTSET:
            ours.setLevel(self.level.upper())

    def handler(self, path: str | None) -> Callable[[bytes], None]:
        """Apply it, and give what handles the records that LogPipe has brought. Raises ConfigError.

        Arguments:
            path: of the error log, for a configuration without any handler for them; None: stderr.
        """
        self.apply()
        logging.Handler.handleError = _raise  # type: ignore[method-assign, assignment]  # the Scribe counts it
        logger = logging.getLogger(OURS)
        if not logger.hasHandlers():
            own = logging.StreamHandler() if path is None else logging.FileHandler(path, encoding="utf-8")
            own.setFormatter(TextFormatter())
            logger.addHandler(own)

        def handle(data: bytes) -> None:
            record = unpacked(data)
            if logger.isEnabledFor(record.levelno):
                logger.handle(record)

        return handle

    def _loggers(self) -> set[str]:
        if isinstance(self.content, str):
            ini = _ini(self.source, self.content)
            return {ini.get(part, "qualname", fallback="") for part in ini.sections() if part.startswith("logger_")}
        loggers = self.content.get("loggers")
        return set(loggers) if isinstance(loggers, dict) else set()

    def _classes(self) -> Iterator[str]:
        """Names of all that would be imported."""
        if isinstance(self.content, str):
            ini = _ini(self.source, self.content)
            for part in ini.sections():
                if part.startswith(("handler_", "formatter_")) and (name := ini.get(part, "class", fallback="")):
                    yield f"logging.{name}" if _in_logging(name) else name
            return
        for kind in ("handlers", "formatters", "filters"):
            entries = self.content.get(kind)
            for entry in entries.values() if isinstance(entries, dict) else ():  # else dictConfig says what is wrong
                yield from _named(entry)


def _raise(handler: logging.Handler, record: logging.LogRecord) -> None:
    """What a handler has run into, instead of a traceback on stderr."""
    raise  # noqa: PLE0704  called where an exception is handled


def reopen() -> None:
    """Open the files of all handlers in this process again under their names. Raises OSError."""
    for reference in list(logging._handlerList):  # type: ignore[attr-defined]
        handler = reference()
        if isinstance(handler, logging.FileHandler) and handler.stream is not None:
            handler.acquire()
            try:
                fresh = handler._open()
                handler.stream, old = fresh, handler.stream
                old.close()
            finally:
                handler.release()


def _named(entry: object) -> Iterator[str]:
    """`class`, `()` and what `ext://` stands before, at any depth."""
    if isinstance(entry, dict):
        for key, value in entry.items():
            if key in ("class", "()", "factory") and isinstance(value, str):
                yield value.removeprefix("ext://")
            else:
                yield from _named(value)
    elif isinstance(entry, (list, tuple)):
        for value in entry:
            yield from _named(value)
    elif isinstance(entry, str) and entry.startswith("ext://"):
        yield entry.removeprefix("ext://")


def _in_logging(name: str) -> bool:
    return hasattr(logging, name.partition(".")[0])


def _of_the_library(name: str) -> bool:
    return name.partition(".")[0] in sys.stdlib_module_names


def read(settings: Settings) -> Config | None:
    """What the settings say. Raises ConfigError for a file that cannot be read, or is none."""
    path, level = settings.log_config, settings.log_level
    if settings.log_config_dict:
        if path is not None:
            raise ConfigError("log_config and log_config_dict: both are given; leave one out")
        return Config("log_config_dict", json.loads(settings.log_config_dict), level)
    if path is None:
        return None
    source, path = f"log_config: {path}", os.path.abspath(path)
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        if path.endswith(".json") or text.lstrip()[:1] == "{":
            content = json.loads(text)
        elif path.endswith(".toml"):
            content = _toml(text)
        else:
            _ini(source, path)
            return Config(source, path, level)
    except OSError as error:
        raise ConfigError(f"{source}: {error.strerror}") from None
    except RecursionError:
        raise ConfigError(f"{source}: it is nested too deeply") from None
    except ValueError as error:  # also UnicodeDecodeError, and what json and tomllib raise
        raise ConfigError(f"{source}: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{source}: it holds no dictionary for logging.config.dictConfig")
    return Config(source, content, level)


def _toml(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    document: dict[str, Any] = tomllib.loads(text)
    return document


def _ini(source: str, path: str) -> ConfigParser:
    ini = ConfigParser(interpolation=None)
    try:
        with open(path, encoding="utf-8") as file:
            ini.read_file(file)
    except (ConfigParserError, UnicodeDecodeError) as error:
        raise ConfigError(f"{source}: {' '.join(str(error).split())}") from None
    missing = [part for part in ("loggers", "handlers", "formatters") if not ini.has_section(part)]
    if missing:
        raise ConfigError(f"{source}: no section [{missing[0]}]; give a file for logging.config.fileConfig, or .json")
    return ini
