"""The hooks of the supervisor itself, and the objects that all hooks are given, also those of its workers.

A file of settings without such hooks is not run in the supervisor. A hook that raises ends the supervisor only before
it has begun to serve; afterwards its traceback is logged, and all goes on.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from greenhttp.errors import ConfigError
from greenhttp.green.listener import Listener, bound_name
from greenhttp.program.hooks import Arbiter, Config, Hooks, Worker, log
from greenhttp.settings.address import Address
from greenhttp.settings.file import run_hooks
from greenhttp.settings.foreign import HOOKS_OF_MASTER
from greenhttp.settings.values import Settings

Functions = Mapping[str, Callable[..., Any]]

has_run = False  # whether a file was run here: what it imports is not patched, in the workers neither


def wanted(names: Iterable[str]) -> bool:
    """Whether any of these hooks is one of the supervisor."""
    return not HOOKS_OF_MASTER.keys().isdisjoint(names)


def read(file: str, names: Iterable[str]) -> Functions:
    """Run the file here if it has such hooks; else there are none. Raises ConfigError."""
    if not file or not wanted(names):
        return {}
    global has_run
    from greenhttp.program.loading import look_in  # not before: by that a worker's patch tells who came too early

    has_run = True
    look_in()  # what is beside the file can be imported, as in a worker
    return run_hooks(file)


class Hooked:
    """See the module.

    Arguments:
        file: the file of settings.
        settings: complete.
        workers: how many should serve.

    Attributes:
        serving: whether workers serve already, those of the program that this process was before.
        hooks: of the file, as run in this process.
        server: what they are given.
    """

    def __init__(self, file: str, settings: Settings, workers: int) -> None:
        self.file = file
        self.hooks = Hooks(file.rpartition("/")[2])
        self.server = Arbiter(settings, workers)
        self.serving = False

    def begin(self, get: Callable[[], Functions]) -> None:
        """The hooks are read, and told that all begins. Raises ConfigError, HookError unless workers serve."""
        try:
            self.hooks.functions = get()
        except ConfigError as error:
            if not self.serving:
                raise
            log.error("the supervisor runs without its hooks: %s", error)
        self._first("nworkers_changed", self.server.num_workers, None)
        self._first("on_starting")

    def listen(self, listeners: Iterable[tuple[Listener, Address]]) -> None:
        """It listens there. Raises HookError unless workers serve."""
        self.listens(listeners)
        self._first("when_ready")

    def listens(self, listeners: Iterable[tuple[Listener, Address]]) -> None:
        """It listens there from now on."""
        names = [bound_name(sock) for sock, _ in listeners]
        self.server.address = [name.path if name.kind == "unix" else (name.host, name.port) for name in names]

    def _first(self, name: str, *words: object) -> None:
        if self.serving:
            self.hooks.tried(name, self.server, *words)
        else:
            self.hooks.call(name, self.server, *words)

    def reload(self, functions: Functions, settings: Settings) -> None:
        """Other hooks, and other settings, from now on."""
        self.hooks.functions = functions
        self.server.cfg = Config(settings)
        self.hooks.tried("on_reload", self.server)

    def resized(self, workers: int) -> None:
        """So many workers should serve from now on."""
        before = self.server.num_workers
        if workers != before:
            self.server.num_workers = workers
            self.hooks.tried("nworkers_changed", self.server, workers, before)

    def fork(self, number: int) -> Worker:
        """A worker is going to be forked. Raises HookError."""
        worker = Worker(number, self.server)
        self.hooks.call("pre_fork", self.server, worker)
        return worker

    def forked(self, worker: Worker, pid: int) -> None:
        """It has that process."""
        worker.pid = pid
        self.server.WORKERS[pid] = worker

    def adopt(self, number: int, pid: int) -> None:
        """A worker of the program that this process was before."""
        worker = Worker(number, self.server)
        worker.booted = True
        self.forked(worker, pid)

    def gone(self, pid: int) -> None:
        """The process of a worker has ended."""
        worker = self.server.WORKERS.pop(pid)
        worker.alive = False
        self.hooks.tried("child_exit", self.server, worker)

    def exec(self) -> bool:
        """This process is going to become another program. Whether nothing is said against it."""
        return self.hooks.tried("pre_exec", self.server)

    def over(self) -> None:
        """All workers have gone."""
        self.hooks.tried("on_exit", self.server)

