"""One process: listeners, limits, start, drain, stop.

    server = Server(app, bind="127.0.0.1:0")
    server.start()                  # listens; returns
    server.serve_forever()          # or: go on with other green threads
    server.stop(timeout=10)         # answers what has arrived, then stops

A Server belongs to the hub of the thread that starts it. It installs no signal handlers and starts no thread.
"""

import contextlib
import inspect
import logging
import re
import resource
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import gevent
from gevent import monkey
from gevent.event import Event

from greenhttp.errors import ConfigError
from greenhttp.green import nap, running_loop
from greenhttp.green.acceptor import Acceptor
from greenhttp.green.arrival import Arrival
from greenhttp.green.deadline import Sweep
from greenhttp.green.listener import Listener, bound_name, close_listener, family_of, listen
from greenhttp.green.loop import choose
from greenhttp.green.spawn import SpawnDoor, SpawnedJob, Spawner
from greenhttp.green.tls import Certificates
from greenhttp.hosting.errors import Errors
from greenhttp.hosting.interface import STREAM, Hooks, hosted, interface_of
from greenhttp.http.connection import Connection, Door, expect_prefaces
from greenhttp.http.preface import preface_of, retort
from greenhttp.http.service import Service
from greenhttp.observe.access import AccessLog
from greenhttp.observe.cuts import Cut, counted, listed
from greenhttp.observe.noise import Noise
from greenhttp.offloading import offload
from greenhttp.process import forked
from greenhttp.process.board import Board, Loads
from greenhttp.settings.address import Address, check_tls, is_tls, parse_address
from greenhttp.settings.remarks import open_lists
from greenhttp.settings.table import OF_THE_COMMAND
from greenhttp.settings.values import Settings

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from greenhttp.settings.typed import ServerSettings
    from greenhttp.tls.contexts import ContextHook, Kept
    from greenhttp.tls.material import Material

log = logging.getLogger("greenhttp")

# What a line about a connection or a request begins with, see Origin.who and http.service: for logs that keep it apart
PREFIX = re.compile(
    r"((?:\[[^] ]+\]|\d+(?:\.\d+){3})(?::\d+)?"
    r"|a UNIX peer(?: \(process \d+\))?|an unknown client|a UNIX client|client _[\w.-]+)"
    r"(?: \[([A-Za-z0-9_.=+/@:-]+)\])?: "  # request ID
    r"(?:([^\s:]+ /[^\s:]*): )?"  # method and path
)

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
LOG_ENTRIES = 1000  # waiting to be written at most
SEE_OFF_STEP = 0.05  # seconds between two looks at who has to go
LAST_WORDS = 2.0  # seconds that the access log has in the end


class Server:
    """Serves one application on one or more addresses.

    Arguments:
        app: a native handler, called with a Request; a WSGI application (PEP 3333); or, with `interface="stream"`, a
            function that is called with the Stream of each connection. The first two are told apart by their signature
            (see hosting.interface) unless `interface` says it.
        settings: a config.Settings; without it, one is made of `values`.
        values: settings by name, such as `bind="127.0.0.1:0"` or `header_timeout=5`; see settings.table, and
            settings.typed for types.

    Attributes:
        app, settings: as given, the settings complete.
        interface: "native", "wsgi" or "stream".
        hooks: what is done before and after each WSGI request (see hosting.wsgi.WSGI), to be set before `start`.
        ssl_context: called with a function that makes an ssl.SSLContext of the settings, for each certificate; returns
            the one to use. None: what that makes. Like `hooks`, to be set before `start`.
        certificates: what its TLS addresses show their clients, a green.tls.Certificates; read from the files that the
            settings name unless somebody else has set it before `start`. `renew` replaces it.

    Raises ConfigError for a setting that cannot be, and, in `start`, for an address that cannot be used.
    """

    def __init__(
        self, app: Callable[..., Any], settings: Settings | None = None, **values: "Unpack[ServerSettings]"
    ) -> None:
        if not callable(app):
            raise ConfigError(f"the application must be callable, not {type(app).__name__}")
        if inspect.iscoroutinefunction(app):
            raise ConfigError("the application is a coroutine function; give a plain function, without async")
        for name in values:
            if name in OF_THE_COMMAND:
                raise ConfigError(f"{name}: this setting works only with the greenhttp command; leave it out")
        self._told = settings is not None  # whoever has read them has said what is to be said of them
        settings = Settings(**values) if settings is None else settings.replace(**values)
        self.app = app
        self.settings = settings.resolved(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        choose(self.settings.loop)  # before anything makes the hub
        self.interface = interface_of(app) if self.settings.interface == "auto" else self.settings.interface
        if self.interface == STREAM and inspect.isgeneratorfunction(app):
            raise ConfigError("a stream handler must not be a generator, its values would be lost; use stream.write")
        self._wanted = [parse_address(text) for text in self.settings.bind]
        self._listeners: list[tuple[Listener, Address]] = []
        self._names: list[Address] = []
        self._secure: list[bool] = []  # for each of them, whether TLS is spoken there
        self._doors: list[Acceptor] = []
        self._service: Service | Spawner | None = None
        self._sweep: Sweep | None = None
        self._token: forked.Serving | None = None  # while it serves
        self._stopped = Event()
        self._stopping = self._cutting = False
        self._forked = False  # this process is a child of the one that serves
        self._entries: deque[tuple[int, str, BaseException | None]] = deque()
        self._entries_lost = 0
        self._log_writer: gevent.Greenlet | None = None
        self._noise = Noise(self._report, lambda level: self._heard(LEVELS[level]))
        self.hooks: Hooks | None = None
        self.ssl_context: ContextHook | None = None
        self.certificates: Certificates | None = None
        self._kept: Kept | None = None  # of the last `certificates_of`
        self._errors: Errors | None = None
        self._access = self._access_log()

    def __repr__(self) -> str:
        state = "stopped" if self._service is None else "stopping" if self._stopping else "serving"
        return f"<Server {', '.join(map(str, self._names or self._wanted))} {state}>"

    def _access_log(self) -> AccessLog | None:
        path, form = self.settings.access_logfile, self.settings.access_log_format
        return None if path is None or self.interface == STREAM else AccessLog(path, form)

    # ---- what there is

    @property
    def started(self) -> bool:
        """Whether it listens, or still drains."""
        return self._service is not None

    @property
    def address(self) -> tuple[str, int] | str:
        """The first address it listens on, port 0 resolved: (host, port), or the path of a UNIX socket."""
        if not self._names:
            raise ConfigError("the server has no address yet; call start() first")
        first = self._names[0]
        return first.path if first.kind == "unix" else (first.host or "0.0.0.0", first.port)

    @property
    def addresses(self) -> list[str]:
        """Every address it listens on, as a URL where it is one."""
        schemes = ("tcp", "tls") if self.interface == STREAM else ("http", "https")
        return [
            str(name) if name.kind == "unix" else f"{schemes[secure]}://{name}"
            for name, secure in zip(self._names, self._secure, strict=True)
        ]

    @property
    def families(self) -> list[str]:
        """Which address families each of `addresses` accepts: "unix", "IPv4", "IPv6", or "IPv4 and IPv6"."""
        return [family_of(sock) for sock, _ in self._listeners]

    def statistics(self) -> dict[str, int]:
        """Counts of connections by what they wait for, of green threads, of requests and of offloaded calls of the
        calling thread's hub; {} when stopped."""
        if self._service is None:
            return {}
        calls = {f"offload_{name}": count for name, count in offload.statistics().items()}
        return {**self._service.statistics(), **calls}

    def in_progress(self) -> list[tuple[float, str, Any]]:
        """What runs in the application: seconds, `GET /path`, green thread; the oldest first. Needs a board.

        May be called in another thread.
        """
        return self._service.in_progress() if self._service else []

    # ---- life

    def start(
        self,
        listeners: Sequence[tuple[Listener, Address]] | None = None,
        loads: Loads | None = None,
        board: Board | None = None,
    ) -> None:
        """Listen and serve from now on, whenever the hub runs.

        Arguments:
            listeners: sockets that somebody else has opened, with their addresses, to accept from instead of opening
                those of `bind`. They are closed in `stop`.
            loads: where other processes that accept from the same sockets say how many connections they have.
            board: where to list what runs, for a watchdog and for other processes.

        Raises ConfigError if an address cannot be used, or the access log cannot be opened.
        """
        if self._service is not None:
            return
        self._stopped.clear()
        self._stopping = self._cutting = self._forked = False
        opened: list[tuple[Listener, Address]] = []
        try:
            if listeners is None:
                ways = self.settings
                for address in self._wanted:
                    sock = listen(
                        address, ways.backlog, ways.socket_mode, ways.socket_owner, ways.reuse_port, self._wanted
                    )
                    opened.append((sock, address))
            if self.certificates is None and self.settings.certfile:
                self.certificates = self._read_certificates()
            places = [address for _, address in (opened if listeners is None else listeners)]
            check_tls(self.settings, self.certificates is not None, places)
            if self._access is not None:
                self._access.open(self._report)
        except BaseException:
            for sock, address in opened:
                close_listener(sock, address)
            raise
        if monkey.is_module_patched("select"):
            running_loop.install()  # where gevent has patched and not greenhttp.patch
        offload.bound(self.settings.offload_threads, self.settings.offload_processes)
        service = self._make_service()
        service.show(board)
        if self._errors is not None:
            self._errors.board = board
        self._listeners = opened if listeners is None else list(listeners)
        self._names = [bound_name(sock) for sock, _ in self._listeners]
        self._secure = [is_tls(address, self.certificates is not None) for _, address in self._listeners]
        if isinstance(service, Service):
            service.origins.https_port = self._https_port()
        self._service = service
        self._sweep = Sweep(service.pool.loop, service.phases, service.pool.shrink)
        service.pool.start()
        self._sweep.start()
        self._doors = [
            self._make_door(service, sock, secure)
            for (sock, _), secure in zip(self._listeners, self._secure, strict=True)
        ]
        for door in self._doors:
            if loads is not None:
                door.share(loads)
            door.start()
        self._token = forked.serving(service.pool.hub, self._abandon, self._say)
        if not self._told:
            self._told = True
            for line in open_lists(self.settings):
                self._report("warning", line)

    def _make_service(self) -> Service | Spawner:
        settings = self.settings
        if self.interface == STREAM:
            preface = preface_of(settings.proxy_protocol)
            return Spawner(
                self.app, settings, settings.connections, self._report, noise=self._noise, preface=preface,
                certificates=self.certificates, retort=retort,
            )
        service = Service(settings, settings.connections, self._report, noise=self._noise)
        environ = self._access is not None and self._access.entries.wants_environ
        app = hosted(self.app, settings, self.hooks, environ)
        self._errors = getattr(app, "errors", None)
        service.attach(app)
        expect_prefaces(service, self.certificates)
        if self._access is not None:
            service.observe(self._access.entries)
            if self._access.entries.wants_id:
                service.identify()
        return service

    def _https_port(self) -> int:
        """Where `https_redirect` sends requests: the port of the first TLS address that has one."""
        ports = (name.port for name, secure in zip(self._names, self._secure, strict=True) if secure)
        return next(filter(None, ports), 443)

    def _make_door(self, service: Service | Spawner, sock: Listener, secure: bool) -> Acceptor:
        if isinstance(service, Spawner):
            return SpawnDoor(service, sock, secure=secure)
        return Door(service, sock, secure=secure)

    def _read_certificates(self) -> Certificates:
        from greenhttp.tls import material

        return self.certificates_of(material.read(self.settings))

    def certificates_of(self, material: "Material") -> Certificates:
        """What its TLS addresses show their clients, by `ssl_context` too. Raises ConfigError, and what that raises.

        Contexts of the call before are used again where nothing of them has changed. While it serves, other green
        threads run meanwhile, unless the hub itself calls this.
        """
        from greenhttp.tls import contexts

        alpn = () if self.interface == STREAM else contexts.HTTP  # what it speaks is the handler's business
        if self._kept is None:
            self._kept = contexts.Kept()
        named = list(contexts.named_contexts(material, self.ssl_context, alpn, self._kept, self._pause()))
        made = Certificates(named)
        if material.ticket_keys:
            made.set_ticket_keys(material.ticket_keys)
        return made

    def _pause(self) -> Callable[[], None] | None:
        """Lets others run; None: there are none, or the calling green thread may not."""
        if self._service is None:
            return None
        hub = self._service.pool.hub
        if gevent.getcurrent() is hub or gevent.get_hub() is not hub:
            return None
        return lambda: gevent.sleep(0)

    def renew(self, certificates: Certificates) -> None:
        """From now on new handshakes are made with these; connections that are there go on."""
        self.certificates = certificates
        if self._service is not None:
            self._service.renew(certificates)

    def announce_close(self) -> None:
        """From now on every answer says that it is the last on its connection: no request meets its end on the way."""
        if isinstance(self._service, Service):
            self._service.announce_close()

    def serve_forever(self) -> None:
        """Serve until `stop` has been called, from another green thread, and is done.

        Raises ConfigError as `start` does, and in a process that was forked after the start.
        """
        if self._forked:
            raise ConfigError(forked.serves_nothing())
        self.start()
        self._stopped.wait()

    def reopen(self) -> None:
        """Open the access log anew, after its file was moved away. Does not wait; to be called in the hub's thread."""
        if self._access is not None:
            self._access.reopen()

    def stop(self, timeout: float | None = None, linger: float = 0.0) -> bool:
        """Stop: no new connections; every request that has arrived is answered; idle connections are closed.

        Arguments:
            timeout: seconds for that; None is `graceful_timeout`. What is not finished then is cut and logged; a client
                that has nothing of an answer yet gets 503. 0: at once.
            linger: seconds over which idle connections are closed, the longest idle first; requests that come on them
                meanwhile are answered. 0: all at once. The command gives `drain_linger` here.

        Returns whether everything could be finished. Suspends the calling green thread; not for the hub itself.
        """
        service, sweep = self._service, self._sweep
        if service is None or sweep is None:
            return True
        if self._stopping:
            self._stopped.wait()
            return True
        self._stopping = True
        wait = self.settings.graceful_timeout if timeout is None else timeout
        until = time.monotonic() + wait
        finished, interrupted = False, True
        try:
            self._close_doors()
            finished = self._drain(service, until, linger)
            interrupted = False
        finally:  # also when this green thread is killed meanwhile: whoever waits for the end must see it
            if self._token is not None:
                forked.over(self._token)
            self._noise.end()
            if not finished:
                self._cut(service, wait, interrupted)
            sweep.stop()
            service.pool.stop()
            try:
                if self._access is not None:
                    self._access.close(LAST_WORDS)
                if self._log_writer is not None:
                    self._log_writer.join(1)  # what was said last is worth a moment
            finally:
                self._service = self._sweep = None
                self._names = []
                self._stopped.set()
        return finished

    def _close_doors(self) -> None:
        # Connections in the kernel's queue were promised an answer by the handshake: they come in first.
        try:
            for door in self._doors:
                door.stop()
            if self._service is not None:
                self._service.pool.nudge()
        finally:  # also when this green thread is killed meanwhile: nobody may come in where nobody serves
            for door in self._doors:
                door.shut()
            for sock, address in self._listeners:
                close_listener(sock, address)
            self._doors, self._listeners = [], []

    def _drain(self, service: Service | Spawner, until: float, linger: float) -> bool:
        service.announce_close()
        empty = Event()
        service.when_empty(empty.set)
        if isinstance(service, Service):
            self._see_off(service, min(until, time.monotonic() + linger), empty)
            service.close_idle()
        for connection in self._connections(service):
            connection.retire()
        return bool(empty.wait(max(0.0, until - time.monotonic())))

    def _see_off(self, service: Service, until: float, empty: Event) -> None:
        """Close idle connections, the longest idle first, in steps until then.

        Who sends a request meanwhile gets an answer that says `Connection: close`, and connects to somebody else; who
        looks for the end before it sends sees it. A client that sends in the very moment in which its connection is
        closed has to try again: the more slowly they are closed, the fewer those are.
        """
        due = 0.0  # also less than one a step: a single connection does not go at once
        while not empty.is_set() and (left := until - time.monotonic()) > 0:
            step = max(min(SEE_OFF_STEP, left), 0.001)  # libuv knows no shorter time, and gevent warns of it
            if empty.wait(step):
                return
            idle = service.idle.members()
            due = len(idle) if left <= step else due % 1 + len(idle) * step / left if idle else 0.0
            for connection in idle[: int(due)]:
                if isinstance(connection, Connection):
                    connection.retire()

    def _cut(self, service: Service | Spawner, wait: float, interrupted: bool) -> None:
        """End all that is left. Never waits.

        Arguments:
            wait: seconds that it has had.
            interrupted: whoever stops the server was, before it has had them.
        """
        connections = self._connections(service)
        with contextlib.suppress(Exception):  # a stop must come to its end, whatever its words do
            self._tell_cuts([Cut(*found) for each in connections if (found := each.unfinished())], wait, interrupted)
        self._cutting = True
        for connection in connections:
            connection.cut()

    def _tell_cuts(self, cuts: list[Cut], wait: float, interrupted: bool) -> None:
        noun = "connection" if self.interface == STREAM else "request"
        if not cuts:
            return
        if wait <= 0:  # ordered: a second Ctrl-C, or graceful_timeout = 0
            self._report("info", f"{counted(cuts, noun)} cut: the server stops at once")
        elif interrupted:
            self._report("warning", listed(cuts, noun, "cut: the stop was interrupted"))
        else:
            setting = " (graceful_timeout)" if wait == self.settings.graceful_timeout else ""
            self._report("warning", listed(cuts, noun, f"cut: not finished within {wait:g} s{setting}"))

    @staticmethod
    def _connections(service: Service | Spawner) -> list[Arrival | Connection | SpawnedJob]:
        members = [member for phase in service.phases for member in phase.members()]
        return [member for member in members if isinstance(member, (Arrival, Connection, SpawnedJob))]

    # ---- a forked child

    def _abandon(self, ours: bool) -> Any:
        """This process was forked from the one that serves: see process.forked. What is still to be logged is that
        one's too."""
        kept = self._service, self._sweep, self._doors, self._log_writer, list(self._entries)
        if self._service is None or self._sweep is None:
            return kept
        self._forked = True
        if ours:
            for door in self._doors:
                door.shut()
            self._sweep.stop()
            nap.abandon(self._service.pool.hub)
        for sock, _ in self._listeners:
            sock.close()  # the file of a UNIX socket stays
        self._service.pool.abandon(self._service.phases, ours, self._came_back)
        self._service = self._sweep = self._log_writer = self._token = None
        self._doors, self._listeners, self._names, self._secure = [], [], [], []
        self._entries.clear()
        return kept

    def _came_back(self, what: str, error: BaseException | None) -> None:
        forked.came_back(what, error, self._say)

    # ---- the log

    def _report(self, level: str, message: str, error: BaseException | None = None) -> None:
        """For Service: neither blocks nor raises.

        A log handler may wait, for a lock or for the network, which neither the hub nor a connection between two of its
        states may. So a green thread of its own writes; beyond a bound, entries are counted instead of kept.
        """
        if level == "info" and self._cutting:
            return  # what becomes of requests that are cut is known to whoever cut them
        if not self._heard(LEVELS[level]):
            return
        if len(self._entries) >= LOG_ENTRIES:
            self._entries_lost += 1
            return
        self._entries.append((LEVELS[level], message, error))
        if self._log_writer is None:
            self._log_writer = gevent.spawn(self._write_log)

    def _write_log(self) -> None:
        try:
            while self._entries:
                level, message, error = self._entries.popleft()
                with contextlib.suppress(Exception):
                    self._say(level, message, error)
                del error  # with its traceback, and all that refers to
                if self._entries_lost and not self._entries:
                    lost, self._entries_lost = self._entries_lost, 0
                    why = "they came faster than they could be written"
                    self._say(logging.WARNING, f"{lost} log entries were dropped: {why}", None)
        finally:
            self._log_writer = None

    def _heard(self, level: int) -> bool:
        """Whether an entry of that level would be written anywhere."""
        return log.isEnabledFor(level)

    def _say(self, level: int, message: str, error: BaseException | None) -> None:
        """Write an entry. May wait, and may raise."""
        found = PREFIX.match(message)
        extra = {"peer": found[1], "request_id": found[2], "request": found[3]} if found else None
        log.log(level, "%s", message, exc_info=error, extra=extra)
