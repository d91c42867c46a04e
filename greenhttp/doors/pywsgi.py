"""gevent's WSGI server by its own name, served by greenhttp: for programs that are written for `gevent.pywsgi`.

    from greenhttp.pywsgi import WSGIServer         # instead of: from gevent.pywsgi import WSGIServer

    WSGIServer(("127.0.0.1", 8000), app).serve_forever()

or, for programs that cannot be changed, such as Locust and Flask-SocketIO, before they make their server:

    import greenhttp.pywsgi

    greenhttp.pywsgi.install()

`WSGIServer` is a subclass of gevent's: constructor, attributes, environ, logs and life cycle are its own. What is
between the listening socket and the application is a greenhttp.Server and behaves as one, time-outs and limits too:

- `spawn=Pool(n)` or a number bounds the requests that run, not the connections: more of them wait, without an end.
- What goes wrong, also in the application, is written to `error_log`; gevent's writes that to the hub's stream.
- After `stop`, running requests go on as with gevent; idle connections are closed.
- Fields of proxies change nothing in the environ, whoever sends them, as with gevent; `settings={"forwarded_field":
  "x-forwarded"}` has those of `forwarded_allow_ips` believed. An `environ` that says https is not taken back by them.
- TLS: an `ssl_context` is used as it is, of `ssl` or of `gevent.ssl`; else one is made of `certfile` and the like as
  `greenhttp.tls.server` makes it, so from TLS 1.2 on, whatever `ssl_version` says. Handshakes hold up nobody.
- There is no WebSocket yet, and no `handler_class` but gevent's own: each is refused in one line.
"""

import logging
import os
import sys
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from functools import lru_cache
from socket import AF_UNIX, IPPROTO_TCP, TCP_NODELAY
from typing import Any

import gevent
from gevent import pywsgi as original
from gevent.pool import Pool

from greenhttp import __version__, tls
from greenhttp.errors import ConfigError
from greenhttp.green.acceptor import Acceptor
from greenhttp.green.listener import Listener, bound_name, listen
from greenhttp.green.tls import Certificates
from greenhttp.hosting.wsgi import source_of
from greenhttp.http.connection import Door
from greenhttp.http.service import Service
from greenhttp.observe.access import LIMIT
from greenhttp.observe.atoms import Step
from greenhttp.observe.entries import Entries
from greenhttp.process import forked
from greenhttp.server import Server
from greenhttp.settings.address import Address
from greenhttp.settings.kinds import LONGEST, MOST, MOST_RUNNING
from greenhttp.settings.table import nearest
from greenhttp.tls.contexts import checked
from greenhttp.traces import trace

__all__ = ["WSGIServer", "install"]

GEVENTS: Any = original.WSGIServer  # also when `install` has put ours in its place
NEVER_CALLED = ("handle", "do_handle", "do_read", "do_close", "wrap_socket_and_handle")
OURS = {  # settings -> what says them here
    "bind": "listener",
    "backlog": "backlog",
    "concurrency": "spawn",
    "queue": "spawn",
    "interface": "application",
    "access_logfile": "log",
    "access_log_format": "log",
}
ARGUMENTS = ("listener", "application", "backlog", "spawn", "log", "error_log", "handler_class", "environ", "settings",
             "ssl_context", "certfile", "keyfile", "ca_certs", "cert_reqs", "ciphers")  # fmt: skip
FILES = ("certfile", "keyfile", "ca_certs", "cert_reqs", "ciphers")  # of which a context is made
NOTHING_HERE = {"ssl_version", "server_side", "server_hostname", "suppress_ragged_eofs", "do_handshake_on_connect"}
OF_CONTEXT = {*FILES, "keyfile_password", "tls_min"}  # settings that say the same
TLS = {"ssl_context", *FILES, *NOTHING_HERE}
SPAWNERS = ("default", None, gevent.spawn, gevent.spawn_raw, gevent.Greenlet.spawn)  # one for each, unbounded
SERVERS = (  # keys of an environ that the server knows; all others are the request's
    "SERVER_NAME", "SERVER_PORT", "SERVER_SOFTWARE", "wsgi.errors", "wsgi.file_wrapper", "wsgi.multiprocess",
    "wsgi.multithread", "wsgi.run_once", "wsgi.url_scheme", "wsgi.version",
)  # fmt: skip
HOSTS = "SERVER_NAME", "SERVER_PORT"

# pywsgi's line: peer - - [2026-01-31 23:59:59] "GET / HTTP/1.1" 200 5 0.000123, the time in the local zone. An entry
# says it in UTC, with quotes and milliseconds; `line_of` replaces that.
LINE = (
    Step("h"), Step("text", " - - "), Step("iso"), Step("text", ' "'), Step("r"), Step("text", '" '), Step("s"),
    Step("text", " "), Step("b"), Step("text", " "), Step("L"),
)  # fmt: skip
SECOND = len("2026-01-31T23:59:59")
STAMP = SECOND + len('.000Z"')


class WSGIServer(GEVENTS):  # type: ignore[misc]  # gevent has no types
    """gevent.pywsgi.WSGIServer on greenhttp; what is not said here is as there.

    Arguments:
        listener: (host, port), ":port", a port, "host:port", "unix:/path", or a listening socket.
        application: called with environ and start_response (PEP 3333); may also be set, or changed, afterwards.
        backlog: connections the kernel holds until they are accepted; not together with a socket.
        spawn: "default": as many requests run as there are connections; a number, or a gevent.pool.Pool, of which the
            size counts: that many run at a time.
        log, error_log: "default": stderr; None: nothing; an object with `write`, or a logger (INFO, ERROR). `log` gets
            a line for each answer, `error_log` what goes wrong; it is `wsgi.errors` too.
        handler_class: None or gevent's WSGIHandler.
        environ: what each environ begins with.
        settings: further settings by name, such as {"keepalive_timeout": 5}; see settings.table.
        ssl_context: serve TLS with this ssl.SSLContext.
        certfile, keyfile, ca_certs, cert_reqs, ciphers: serve TLS with a context made of these.

    Raises ConfigError for what is not there, or cannot be, also in the files for TLS; OSError, in `start`, if the
    address cannot be used.
    """

    __module__ = "greenhttp.pywsgi"  # by which people import it

    base_env = {**GEVENTS.base_env, "SERVER_SOFTWARE": f"greenhttp/{__version__}"}
    _serving: "_Serving | None" = None

    def __init__(
        self,
        listener: Any,
        application: Callable[..., Any] | None = None,
        backlog: int | None = None,
        spawn: Any = "default",
        log: Any = "default",
        error_log: Any = "default",
        handler_class: type | None = None,
        environ: Mapping[str, Any] | None = None,
        *,
        settings: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> None:
        self._refuse(handler_class, others)
        context = context_of(others) if others else None
        self._settings = dict(settings or {})
        for name in self._settings.keys() & OURS.keys():
            raise ConfigError(f"settings: {name} is set by the argument {OURS[name]!r}; give it there")
        if context is not None and (unused := sorted(self._settings.keys() & OF_CONTEXT)):
            raise ConfigError(
                f"settings: {', '.join(unused)}: no effect on the context that the arguments make; give all of TLS in"
                " the arguments, or all in settings"
            )
        super().__init__(listener, application, backlog, spawn, log, error_log, handler_class, environ,
                         **({} if context is None else {"ssl_context": context}))  # fmt: skip
        self._context = context
        _Serving(self)  # what is wrong with a setting is said here

    def _refuse(self, handler_class: type | None, others: Mapping[str, Any]) -> None:
        kind = type(self)
        handler = handler_class or self.handler_class
        if handler is not original.WSGIHandler:
            raise ConfigError(
                f"handler_class: {handler.__module__}.{handler.__qualname__} would never be called, since greenhttp"
                " reads and answers requests itself; leave it out (WebSocket is not supported yet; log= logs requests)"
            )
        if "handle" in others:
            raise ConfigError("handle: a WSGIServer has no such argument; give the application as application=")
        if unknown := sorted(others.keys() - TLS):
            raise ConfigError(f"{unknown[0]}: a WSGIServer has no such argument{nearest(unknown[0], ARGUMENTS)}")
        for name in NEVER_CALLED:
            if getattr(kind, name) is not getattr(GEVENTS, name):
                raise ConfigError(f"{kind.__qualname__}.{name} would never be called: greenhttp serves the connections")

    # ---- what the base class asks for

    def set_listener(self, listener: Any) -> None:
        if isinstance(listener, str) and listener.startswith("unix:"):
            self.family, self.address = AF_UNIX, listener.removeprefix("unix:").removeprefix("//")
            return
        super().set_listener(listener)

    @classmethod
    def get_listener(cls, address: Any, backlog: int | None = None, family: int | None = None) -> Any:
        if family == AF_UNIX:
            return listen(Address("unix", path=address), cls.backlog if backlog is None else backlog)
        sock = super().get_listener(address, backlog, family)
        # gevent's class has watchers, which gevent forgets to close. On libuv they would be in the way of whoever gets
        # the descriptor's number next.
        plain = Listener(fileno=os.dup(sock.fileno()))
        sock.close()
        return plain

    def set_spawn(self, spawn: Any) -> None:
        if isinstance(spawn, int) and not isinstance(spawn, bool):
            spawn = Pool(spawn)
        if isinstance(spawn, Pool):
            if spawn.size is not None and spawn.size < 1:
                raise ConfigError(f"spawn: a pool of {spawn.size} would never run a request; give 1 or more")
            self.pool = spawn
        elif spawn in SPAWNERS:
            self.pool = None
        else:
            raise ConfigError(f"spawn: {spawn!r} would never be called; give 'default', a number or a gevent.pool.Pool")

    def init_socket(self) -> None:
        super().init_socket()
        self.socket.setblocking(False)
        if self.family != AF_UNIX:
            self.socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)  # accepted ones inherit it

    # ---- life

    def start_accepting(self) -> None:
        if self._serving is None:
            serving = _Serving(self)
            serving.start([(self.socket, Address("unix" if self.family == AF_UNIX else "tcp", path=str(self.address)))])
            self._serving = serving
        else:
            self._serving.go_on()

    def serve_forever(self, stop_timeout: float | None = None) -> None:
        """Serve until `stop`. Raises ConfigError in a process that was forked since the start."""
        if self.started and self._serving is None:
            raise ConfigError(forked.serves_nothing())
        super().serve_forever(stop_timeout)

    def stop_accepting(self) -> None:
        if self._serving is not None:
            self._serving.pause()

    def close(self) -> None:
        """Close the listening socket; requests that run go on, idle connections are closed. Does not wait."""
        if (serving := self._leave()) is not None:
            gevent.spawn(serving.stop, LONGEST)

    def stop(self, timeout: float | None = None) -> None:
        """Close the listening socket, and idle connections; with a pool, wait until requests that run are answered.

        Arguments:
            timeout: seconds for that, by default `stop_timeout`; what runs then is cut. Without a pool nothing is
                waited for and nothing is cut: requests that run go on.
        """
        if self.pool is None:
            self.close()
        elif (serving := self._leave()) is not None:
            serving.stop(self.stop_timeout if timeout is None else timeout)

    def _leave(self) -> "_Serving | None":
        """Close the listening socket. What is connected is left to the caller."""
        serving, self._serving = self._serving, None
        if serving is not None:
            serving.leave()
        super().close()
        return serving

    def full(self) -> bool:
        """Whether as many requests run as `spawn` allows."""
        return self._serving is not None and self._serving.full()


def context_of(arguments: Mapping[str, Any]) -> Any:
    """The ssl.SSLContext that gevent's arguments ask for. Raises ConfigError."""
    given = {name: arguments[name] for name in FILES if arguments.get(name) is not None}
    if not arguments.get("server_side", True):
        raise ConfigError("server_side: a server speaks TLS as a server; leave it out")
    if (context := arguments.get("ssl_context")) is not None:
        if given:
            raise ConfigError(f"{', '.join(given)}: the ssl_context has it all; give one or the other")
        return checked(context, "ssl_context: {}")
    if "certfile" not in given:
        raise ConfigError(f"{', '.join(sorted(arguments))}: TLS needs a certificate; give certfile, or ssl_context")
    return tls.server(**given)


class _Serving(Server):
    """The Server behind a WSGIServer, from one start to the next stop: its environ, its logs, its listening socket."""

    def __init__(self, front: WSGIServer) -> None:
        size = front.pool.size if front.pool is not None else None
        values = {"queue_timeout": 0, "server_header": "off", "forwarded_field": "none", **front._settings}
        super().__init__(self.answer, interface="wsgi", concurrency=size or MOST_RUNNING, queue=MOST, **values)
        self.front = front
        if front._context is not None:
            self.certificates = Certificates([((), front._context)])
        self.lines = Entries(LINE, False, LIMIT)
        self.lines.wake = self._lines_came
        self.own = ("", "")  # the server's name and port where no proxy says others
        self._line_writer: gevent.Greenlet | None = None

    def answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        """What the application makes of the environ as the front says it should begin."""
        front = self.front
        if environ.get("HTTP_UPGRADE", "").lower() == "websocket":
            what = f"{environ['REQUEST_METHOD']} {environ['RAW_URI'].partition('?')[0]}"
            why = "refused with 501: WebSocket is not supported yet"
            self._noise("refusals", f"{_client()}{what}: {why}", "warning")
            start_response("501 Not Implemented", [("Content-Type", "text/plain")])
            return [b"There is no WebSocket here yet; use long polling.\n"]
        whole = front.get_environ()
        if environ["wsgi.url_scheme"] == "https":  # says a proxy that may, forwarded_allow_ips
            whole["wsgi.url_scheme"] = "https"
        told = (environ["SERVER_NAME"], environ["SERVER_PORT"]) != self.own  # says such a proxy, with the host
        for key in SERVERS:
            if key in whole and not (told and key in HOSTS):
                del environ[key]
        whole.update(environ)
        return front.application(whole, start_response)

    # ---- connections

    def _make_service(self) -> Service:
        service = super()._make_service()
        assert isinstance(service, Service)
        if not isinstance(self.front.log, original._NoopLog):
            service.observe(self.lines)
        return service

    def _make_door(self, service: Any, sock: Any, secure: bool) -> Acceptor:
        name = bound_name(sock)
        self.own = ("localhost", "80") if name.kind == "unix" else (name.host, str(name.port))
        return Door(service, sock, self.front.max_accept, secure)

    def full(self) -> bool:
        now = self.statistics()
        return bool(now.get("running", 0) + now.get("overdue", 0) >= self.settings.concurrency)

    def pause(self) -> None:
        """Accept nobody for now."""
        for door in self._doors:
            door.stop()
        self._doors = []

    def go_on(self) -> None:
        """Accept again."""
        if not self._doors:
            self._doors = [
                self._make_door(self._service, sock, secure)
                for (sock, _), secure in zip(self._listeners, self._secure, strict=True)
            ]
            for door in self._doors:
                door.start()

    def leave(self) -> None:
        """Close the listening socket, without a wait."""
        self._close_doors()

    def stop(self, timeout: float | None = None, linger: float = 0.0) -> bool:
        try:
            return super().stop(timeout, linger)
        finally:
            if self._line_writer is not None:
                self._line_writer.join(1)

    def _abandon(self, ours: bool) -> Any:
        self.front._serving = None
        self.front.__dict__.pop("socket", None)  # it is closed, and gevent's class knows it by that
        return super()._abandon(ours)

    # ---- logs

    def _lines_came(self) -> None:
        self._line_writer = gevent.spawn(self._write_lines)

    def _write_lines(self) -> None:
        more = True
        while more:
            lines, held, _, dropped = self.lines.take()
            try:
                for line in lines.decode("ascii").splitlines():
                    self.front.log.write(line_of(line) + "\n")
            except Exception as error:
                self._report("error", f"log: lines are lost, {type(error).__name__}: {error}")
            finally:
                self.lines.done(held)
            if dropped:
                self._report("warning", f"{dropped} log lines were dropped: they came faster than they were written")
            more = self.lines.rest()

    def _heard(self, level: int) -> bool:
        return level > logging.INFO  # as in pywsgi, a client that goes away is no error

    def _say(self, level: int, message: str, error: BaseException | None) -> None:
        self.front.error_log.write(f"{message}\n{'' if error is None else trace(error)}")


def _client() -> str:
    """Whose request this green thread serves, as the server's own lines begin."""
    who, id = source_of(gevent.getcurrent()) or ("", "")
    return f"{who} [{id}]: " if id else f"{who}: " if who else ""


def line_of(entry: str) -> str:
    """An entry of the log as pywsgi writes it."""
    peer, between, rest = entry.partition(' - - "')
    return f"{peer} - - [{_local(rest[:SECOND])}]{rest[STAMP:]}" if between else entry


@lru_cache(maxsize=2)
def _local(second: str) -> datetime:
    """A time that is said in UTC, in the local zone."""
    return datetime.fromisoformat(second).replace(tzinfo=timezone.utc).astimezone().replace(tzinfo=None)


def install() -> None:
    """Put WSGIServer into the place of gevent's: in gevent.pywsgi, and in modules that have taken it from there.

    May be repeated. What has been made, or derived, from gevent's before stays as it is: a derived class is named in a
    warning.
    """
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", {})
        if names is not globals():
            for name in [name for name, value in list(names.items()) if value is GEVENTS]:
                names[name] = WSGIServer
    for derived in GEVENTS.__subclasses__():
        if derived is not WSGIServer:
            name = f"{derived.__module__}.{derived.__qualname__}"
            logging.getLogger("greenhttp").warning(
                "%s is derived from gevent's WSGIServer and not replaced; call greenhttp.pywsgi.install() earlier", name
            )
