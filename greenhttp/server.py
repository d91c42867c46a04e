"""One process: listeners, limits, start, drain, stop.

    server = Server(app, bind="127.0.0.1:0")
    server.start()                  # listens; returns
    server.serve_forever()          # or: go on with other green threads
    server.stop(timeout=10)         # answers what has arrived, then stops

A Server belongs to the hub of the thread that starts it. It installs no signal handlers and starts no thread.
"""

import contextlib
import logging
import resource
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event

from greenhttp.config import Settings
from greenhttp.errors import ConfigError
from greenhttp.green.deadline import Sweep
from greenhttp.green.listener import Address, Listener, bound_name, close_listener, listen, parse_address
from greenhttp.hosting.wsgi import WSGI
from greenhttp.http.connection import Connection, Door
from greenhttp.http.service import Service

log = logging.getLogger("greenhttp")


class Server:
    """Serves one application on one or more addresses.

    Arguments:
        app: a WSGI application (PEP 3333).
        settings: a config.Settings; without it, one is made of `values`.
        values: settings by name, such as `bind="127.0.0.1:0"` or `header_timeout=5`; see config.SETTINGS.

    Raises ConfigError for a setting that cannot be, and, in `start`, for an address that cannot be used.
    """

    def __init__(self, app: Callable[..., Any], settings: Settings | None = None, **values: Any) -> None:
        if not callable(app):
            raise ConfigError(f"the application must be callable, not {type(app).__name__}")
        settings = Settings(**values) if settings is None else settings.replace(**values)
        self.app = app
        self.settings = settings.resolved(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self._wanted = [parse_address(text) for text in self.settings.bind]
        self._listeners: list[tuple[Listener, Address]] = []
        self._names: list[Address] = []
        self._doors: list[Door] = []
        self._service: Service | None = None
        self._sweep: Sweep | None = None
        self._stopped = Event()
        self._stopping = False

    def __repr__(self) -> str:
        state = "stopped" if self._service is None else "stopping" if self._stopping else "serving"
        return f"<Server {', '.join(map(str, self._names or self._wanted))} {state}>"

    # ---- what there is

    @property
    def started(self) -> bool:
        """Whether it listens, or still drains."""
        return self._service is not None

    @property
    def address(self) -> tuple[str, int] | str:
        """The first address it listens on, port 0 resolved: (host, port), or the path of a UNIX socket."""
        if not self._names:
            raise ConfigError("the server has no address before start()")
        first = self._names[0]
        return first.path if first.kind == "unix" else (first.host or "0.0.0.0", first.port)

    @property
    def addresses(self) -> list[str]:
        """Every address it listens on, as a URL where it is one."""
        return [str(name) if name.kind == "unix" else f"http://{name}" for name in self._names]

    def statistics(self) -> dict[str, int]:
        """Counts of connections by what they wait for, of green threads and of requests; {} when stopped."""
        return self._service.statistics() if self._service else {}

    # ---- life

    def start(self) -> None:
        """Listen and serve from now on, whenever the hub runs. Raises ConfigError if an address cannot be used."""
        if self._service is not None:
            return
        self._stopped.clear()
        self._stopping = False
        settings = self.settings
        listeners: list[tuple[Listener, Address]] = []
        try:
            for address in self._wanted:
                listeners.append((listen(address, settings.backlog), address))
        except BaseException:
            for sock, address in listeners:
                close_listener(sock, address)
            raise
        service = Service(settings, settings.connections, self._report)
        service.attach(WSGI(self.app, settings))
        self._listeners = listeners
        self._names = [bound_name(sock) for sock, _ in listeners]
        self._service = service
        self._sweep = Sweep(service.pool.loop, service.phases, service.pool.shrink)
        service.pool.start()
        self._sweep.start()
        self._doors = [Door(service, sock) for sock, _ in listeners]
        for door in self._doors:
            door.start()

    def serve_forever(self) -> None:
        """Serve until `stop` has been called, from another green thread, and is done."""
        self.start()
        self._stopped.wait()

    def stop(self, timeout: float | None = None) -> bool:
        """Stop: no new connections; every request that has arrived is answered; idle connections are closed.

        Arguments:
            timeout: seconds for that; None is `graceful_timeout`. What is not finished then is aborted; 0: at once.

        Returns whether everything could be finished. Suspends the calling green thread; not for the hub itself.
        """
        service, sweep = self._service, self._sweep
        if service is None or sweep is None:
            return True
        if self._stopping:
            self._stopped.wait()
            return True
        self._stopping = True
        until = time.monotonic() + (self.settings.graceful_timeout if timeout is None else timeout)
        # Connections in the kernel's queue were promised an answer by the handshake: they come in first.
        for door in self._doors:
            door.stop()
        for sock, address in self._listeners:
            close_listener(sock, address)
        service.announce_close()
        finished = self._drain(service, until)
        if not finished:
            for connection in self._connections(service):
                connection.cut()
            with contextlib.suppress(gevent.Timeout), gevent.Timeout(1):
                while service.open_connections:
                    gevent.sleep(0.01)
        sweep.stop()
        service.pool.stop()
        self._service = self._sweep = None
        self._doors, self._listeners, self._names = [], [], []
        self._stopped.set()
        return finished

    def _drain(self, service: Service, until: float) -> bool:
        empty = Event()
        service.when_empty(empty.set)
        for connection in self._connections(service):
            connection.retire()
        return bool(empty.wait(max(0.0, until - time.monotonic())))

    @staticmethod
    def _connections(service: Service) -> list[Connection]:
        members = [member for phase in service.phases for member in phase.members()]
        return [member for member in members if isinstance(member, Connection)]

    # ---- the log

    def _report(self, level: str, message: str, error: BaseException | None = None) -> None:
        """For Service: neither blocks nor raises. A log handler may wait for a lock, which the hub must not."""
        if not log.isEnabledFor(logging.getLevelName(level.upper())):
            return
        if gevent.getcurrent() is gevent.get_hub():
            gevent.spawn(self._write_log, level, message, error)
        else:
            self._write_log(level, message, error)

    @staticmethod
    def _write_log(level: str, message: str, error: BaseException | None) -> None:
        with contextlib.suppress(Exception):
            getattr(log, level)("%s", message, exc_info=error)
