"""gunicorn's server hooks: functions in a Python file of settings, called when something happens to the processes.

    Hooks       those of one file in one process, and what becomes of what they raise
    Life        those of a process that serves, in their order: a worker's, or those of one process alone
    Arbiter, Worker, Config     what they are given: `server`, `worker`, and the `cfg` of both

Which there are, and what they are given, stands in settings/foreign.py. The file is run in each worker; only if it has
hooks of the supervisor in the supervisor too, which then has whatever the file imports, not patched. `server` and
`worker` are made in the supervisor and reach a worker by the fork, with all attributes that earlier hooks have given
them.
"""

import faulthandler
import logging
import os
import signal
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from greenhttp.errors import AppError, ConfigError
from greenhttp.logs import setup as logs
from greenhttp.settings.file import NAMES
from greenhttp.settings.table import BY_NAME
from greenhttp.settings.values import Settings
from greenhttp.traces import trace

if TYPE_CHECKING:
    from greenhttp.server import Server

log = logging.getLogger("greenhttp")


class HookError(AppError):
    """A hook has raised; `__cause__` is what."""


class Hooks:
    """The hooks of one file.

    Arguments:
        file: the file's name, for people.
        functions: the hooks by name.
    """

    def __init__(self, file: str = "", functions: Mapping[str, Callable[..., Any]] | None = None) -> None:
        self.file = file
        self.functions = functions or {}

    def __contains__(self, name: str) -> bool:
        return name in self.functions

    def call(self, name: str, *words: object) -> Any:
        """Call the hook of that name, if there is one: what it returns. Raises HookError for whatever it raises,
        SystemExit too."""
        hook = self.functions.get(name)
        if hook is None:
            return None
        try:
            return hook(*words)
        except (Exception, SystemExit) as error:
            where = error.__traceback__
            cause = error.with_traceback(where.tb_next if where is not None else None)  # without this line
            raise HookError(f"{self.file}: {name} failed") from cause

    def tried(self, name: str, *words: object) -> bool:
        """The same, but what it raises is logged. Returns whether it went well."""
        try:
            self.call(name, *words)
        except HookError as error:
            log.error("%s", error, exc_info=error.__cause__)
            return False
        return True


class Config:
    """`cfg`: the settings, by gunicorn's names for them or by our own; lists where gunicorn has lists."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def env(self) -> dict[str, str]:
        """Name to value, of what `raw_env` lists."""
        return dict(pair.split("=", 1) for pair in self._settings.env)

    @property
    def certfile(self) -> str | None:
        """The first of `certfile`."""
        return next(iter(self._settings.certfile), None)

    @property
    def keyfile(self) -> str | None:
        """The first of `keyfile`."""
        return next(iter(self._settings.keyfile), None)

    @property
    def cert_reqs(self) -> int:
        """As the module ssl has it: CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED."""
        return ("none", "optional", "required").index(self._settings.cert_reqs)

    @property
    def is_ssl(self) -> bool:
        """Whether there is a certificate."""
        return bool(self._settings.certfile)

    def __getattr__(self, name: str) -> Any:
        setting = NAMES.get(name, name)
        if name.startswith("_") or setting not in BY_NAME:
            raise AttributeError(f"cfg.{name}: there is no such setting here")
        value = getattr(self._settings, setting)
        return list(value) if isinstance(value, tuple) else value


class Application:
    """`server.app` and `worker.app`.

    Attributes:
        callable: the application; None until it is loaded, and in a supervisor that does not load it.
    """

    callable: Any = None

    def wsgi(self) -> Any:
        """The same, the way gunicorn asks for it."""
        return self.callable


class Arbiter:
    """`server`: the supervisor, as hooks see it; where one process serves alone, that process.

    Attributes:
        pid: its process.
        address: the addresses it listens on: (host, port), or the path of a UNIX socket; those of `bind` until it does.
        num_workers: how many workers should serve.
        WORKERS: the workers there are, by process.
        app, cfg, log: see Application and Config; log is the logger "greenhttp".
    """

    def __init__(self, settings: Settings, workers: int) -> None:
        self.pid = os.getpid()
        self.address: list[Any] = list(settings.bind)
        self.num_workers = workers
        self.WORKERS: dict[int, Worker] = {}
        self.cfg = Config(settings)
        self.app = Application()
        self.log = log


class Worker:
    """`worker`: a process that serves, as hooks see it.

    Attributes:
        age: the worker's number, from 1 on.
        pid: its process; "[booting]" before it has one.
        ppid: that of the supervisor.
        alive: False when it was told to end. A hook that sets it to False has the worker replaced.
        booted: whether the application is loaded.
        nr: requests it has served.
        app, cfg, log: as those of the Arbiter.
    """

    def __init__(self, age: int, server: Arbiter) -> None:
        self.age = age
        self.pid: int | str = "[booting]"
        self.ppid = server.pid
        self.alive = True
        self.booted = False
        self.app, self.cfg, self.log = server.app, server.cfg, server.log
        self.wsgi: Any = None
        self._served = 0
        self._serving: Server | None = None

    def __str__(self) -> str:
        return f"<Worker {self.pid}>"

    @property
    def nr(self) -> int:
        """Requests it has served."""
        if self._serving is not None:
            self._served = self._serving.statistics().get("requests", self._served)
        return self._served

    def serves(self, server: "Server") -> None:
        """The application is loaded."""
        self.app.callable = self.wsgi = server.app
        self._serving = server


class Life:
    """The hooks of a process that serves, to be told of in this order: forked, loaded, ready, told, over.

    Arguments:
        hooks: of the file, as run in this process.
        server, worker: what they are given.
        settings: say where the log is, until the server has set it up.
        alone: whether this process has no supervisor.
    """

    def __init__(self, hooks: Hooks, server: Arbiter, worker: Worker, settings: Settings, alone: bool = False) -> None:
        self.hooks, self.server, self.worker, self.settings, self.alone = hooks, server, worker, settings, alone
        self.forked = False

    def _call(self, name: str, *words: object, raises: bool) -> None:
        """Call it with the log set up, which the application may not have done yet, or no more."""
        if name in self.hooks:
            with logs.set_up(self.settings):
                (self.hooks.call if raises else self.hooks.tried)(name, *words)

    def fork(self) -> None:
        """The process is there, patched; nothing is loaded. Raises HookError."""
        self.worker.pid = os.getpid()
        if self.alone:
            self._call("on_starting", self.server, raises=True)
            self.server.WORKERS[os.getpid()] = self.worker
        self.forked = True
        self._call("post_fork", self.server, self.worker, raises=True)

    def load(self, server: "Server") -> None:
        """The application is loaded: its requests are to have hooks around them."""
        from greenhttp.hosting.hooks import around

        self.worker.serves(server)
        before, after = map(self.hooks.functions.get, ("pre_request", "post_request"))
        server.hooks = around(self.worker, before, after)
        if "ssl_context" in self.hooks:
            server.ssl_context = self._ssl_context

    def _ssl_context(self, factory: Callable[[], Any]) -> Any:
        """The context that the hook wants. Raises HookError."""
        from greenhttp.tls.contexts import checked  # with ssl, which comes after the patch

        made = self.hooks.call("ssl_context", self.worker.cfg, factory)
        try:
            return checked(made, f"{self.hooks.file}: ssl_context returned {{}}")
        except ConfigError as error:
            raise HookError(str(error)) from None

    def ready(self) -> None:
        """It is going to serve. Raises HookError."""
        self._call("post_worker_init", self.worker, raises=True)
        self.worker.booted = True

    def listen(self, server: "Server") -> None:
        """It serves. Raises HookError."""
        if self.alone and self.hooks.functions:
            self.server.address = [server.address]
            self.hooks.call("when_ready", self.server)

    def watch_abort(self) -> None:
        """ABRT calls worker_abort from now on, and ends the process; to be called before faulthandler is enabled.

        That writes the stack and raises the signal once more, which then arrives here. Where code that is not Python
        holds the interpreter, no handler of Python's ever runs.
        """
        if "worker_abort" in self.hooks:
            faulthandler.disable()
            signal.signal(signal.SIGABRT, self._abort)

    def _abort(self, *_: object) -> None:
        self.worker.alive = False
        try:
            self.hooks.tried("worker_abort", self.worker)
        finally:
            signal.signal(signal.SIGABRT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGABRT)

    def told(self, number: int) -> None:
        """A signal is going to end it."""
        self.worker.alive = False
        if number != signal.SIGTERM:
            self.hooks.tried("worker_int", self.worker)

    def over(self) -> None:
        """It has ended, well or not."""
        if self.forked:
            self._call("worker_exit", self.server, self.worker, raises=False)
            if self.alone:
                self._call("on_exit", self.server, raises=False)


def told(error: AppError, name: str) -> tuple[str, str]:
    """The traceback of what the application, or a hook, has raised, and the line after it; or "" and the error's line.

    Arguments:
        name: of the application.
    """
    if error.__cause__ is None:
        return "", str(error)
    what = str(error) if isinstance(error, HookError) else f"{name} could not be loaded"
    return trace(error.__cause__), f"{what}; see the traceback above"
