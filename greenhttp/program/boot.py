"""The process as an application should find it: directory, environment, standard library; then the application itself.

    enter(settings)             the directory
    patch(settings)             the environment; the loop is chosen, the standard library patched
    run_file(settings, file)    patch, then a Python file of settings -> its hooks
    load(name, settings)        patch, hide_secrets, then -> a Server, not started
    warm_up(settings)           what the application wants to do before it is asked
    tune_collector()            after the application is loaded

Imports nothing that the patch would come too late for: all else is imported inside functions.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from greenhttp.errors import AppError, ConfigError
from greenhttp.settings import console
from greenhttp.settings.table import BY_NAME
from greenhttp.settings.values import Settings

if TYPE_CHECKING:
    from greenhttp.server import Server

_PASSWORD = BY_NAME["keyfile_password"].variable


def enter(settings: Settings) -> None:
    """Go to the directory that `chdir` says. Raises ConfigError."""
    if settings.chdir != ".":
        try:
            os.chdir(settings.chdir)
        except OSError as error:
            raise ConfigError(f"chdir: {settings.chdir}: {error.strerror}") from None
    check_directory()


def check_directory() -> None:
    """The application is looked for in it. Raises ConfigError if it was removed."""
    try:
        os.getcwd()
    except OSError as error:
        raise ConfigError(f"the current directory: {error.strerror}; enter one that exists, or give --chdir") from None


def patch(settings: Settings) -> None:
    """The variables of `env`; then choose the loop and patch. Raises ConfigError."""
    for pair in settings.env:
        name, _, value = pair.partition("=")
        os.environ[name] = value
    patch_once(settings.patch, settings.loop)


@cache
def patch_once(patch: bool, loop: str) -> None:
    """Choose the loop and patch, once. Raises ConfigError."""
    from greenhttp.green.loop import choose

    choose(loop)
    # click keeps a threading.local; an application that uses click gets one that was imported after the patch, also
    # where it patches by itself
    for name in [name for name in sys.modules if name.partition(".")[0] == "click"]:
        del sys.modules[name]
    if patch:
        import greenhttp.patch  # noqa: F401  before all that follows


def configure(settings: Settings) -> None:
    """Patch, and make what is beside a Python file of settings importable, as it is for the application."""
    patch(settings)
    # First all that serves: files there may be called like modules of the standard library, http.py or resource.py
    from greenhttp.hosting import interface  # noqa: F401
    from greenhttp.program import running  # noqa: F401
    from greenhttp.program.loading import look_in

    look_in()


def run_file(settings: Settings, file: str) -> dict[str, Callable[..., Any]]:
    """Patch, and run a Python file of settings: its settings have been read already, its effects and hooks count.

    Arguments:
        file: its name; "": there is none.

    Raises ConfigError.
    """
    configure(settings)
    if not file:
        return {}
    from greenhttp.settings.file import run_hooks

    return run_hooks(file)


def load(name: str, settings: Settings) -> "Server":
    """Patch, import the application and make its server.

    Arguments:
        name: of the application.

    Raises AppError, also for what no request could be answered with: workers that serve are not replaced by that;
    AppImportError with its cause; ConfigError.
    """
    configure(settings)
    hide_secrets()
    # Before the application, all that serves it: it may leave nothing of sys.path, or put modules of its own first
    from greenhttp.hosting.interface import unfit
    from greenhttp.program import loading, running  # noqa: F401
    from greenhttp.server import Server

    prepare_gevent()
    here = os.getcwd()
    app = loading.load(name, settings.pythonpath)
    console.fill()  # what it has closed
    if why := unfit(app, settings.interface, loading.as_call(name)):
        raise AppError(f"{name}: {why}")
    return Server(app, settings if _is_in(here) else _placed(settings, here))


def hide_secrets() -> None:
    """Take the password of keys out of os.environ, which an application may show, or hand to others.

    The settings have it by now. What /proc/PID/environ shows is of the start, and stays.
    """
    os.environ.pop(_PASSWORD, None)


@contextmanager
def secrets_kept() -> Iterator[None]:
    """Put back what is hidden within: a master that has loaded the application reads the settings again."""
    password = os.environ.get(_PASSWORD)
    try:
        yield
    finally:
        if password is not None:
            os.environ[_PASSWORD] = password


def _is_in(directory: str) -> bool:
    """Whether that is the current directory; the application may have left it, or removed another."""
    try:
        return os.getcwd() == directory
    except OSError:
        return False


def _placed(settings: Settings, directory: str) -> Settings:
    """The same, with paths that no longer depend on the current directory."""
    from dataclasses import replace

    from greenhttp.settings.address import parse_address

    places = [parse_address(text) for text in settings.bind]
    bind = [
        str(replace(place, path=os.path.join(directory, place.path)) if place.kind == "unix" else place)
        for place in places
    ]

    def placed(path: str | None) -> str | None:
        return path if path in (None, "-") else os.path.join(directory, path or "")

    secret = settings.keyfile_password
    if secret is not None and secret.startswith("file:"):
        secret = f"file:{placed(secret[5:])}"
    return settings.replace(
        bind=bind,
        access_logfile=placed(settings.access_logfile),
        certfile=[placed(path) for path in settings.certfile],
        keyfile=[placed(path) for path in settings.keyfile],
        ca_certs=placed(settings.ca_certs),
        keyfile_password=secret,
    )


def prepare_gevent() -> None:
    """Have imported what gevent imports when it is first used."""
    import gevent

    for part in ("format_context", "loop", "resolver", "threadpool"):
        getattr(gevent.config, part)


def warm_up(settings: Settings, call: bool = True) -> None:
    """Call what `warm_up` names, or only look for it. Raises AppError; AppImportError with its cause."""
    if settings.warm_up is not None:
        from greenhttp.program.loading import warm_up

        warm_up(settings.warm_up, call)


def tune_collector() -> None:
    """Keep the cyclic garbage collector from walking what cannot be garbage.

    What has been imported stays; and each of some thousand waiting requests keeps a few containers alive, which at the
    interpreter's own threshold of 700 new ones makes it look through all of them every hundred requests (`wait-2000` of
    `python -m perf hello` shows it). A threshold that the application has set is left alone.
    """
    import gc

    gc.collect()
    gc.freeze()
    if gc.get_threshold()[0] in (700, 2000):  # the defaults of CPython 3.10 to 3.14
        gc.set_threshold(50_000, *gc.get_threshold()[1:])
