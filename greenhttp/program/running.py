"""A server as a program of its own: started, introduced, stopped by signals.

`run` is the last step of the command and of `serve` and `serve_stream`: it owns the process's signal handlers while the
server runs, and what is said on the terminal.
"""

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import gevent
from gevent import monkey
from gevent.event import Event

from greenhttp import __version__
from greenhttp.errors import ConfigError
from greenhttp.green.tls import certificates_of
from greenhttp.hosting import errors
from greenhttp.hosting.interface import STREAM, doubt
from greenhttp.logs import setup as logs
from greenhttp.process import forked
from greenhttp.process.board import Board
from greenhttp.process.handlers import PERIOD, REPLACED, Handlers
from greenhttp.process.sender import described as by_whom
from greenhttp.process.sender import sender, watch
from greenhttp.process.watchdog import Watchdog
from greenhttp.program import exits
from greenhttp.program.endings import settle
from greenhttp.program.loading import FACTORY_NAMES
from greenhttp.program.renewing import Renewing, Terminal
from greenhttp.server import Server
from greenhttp.settings.console import coloured, paint, say
from greenhttp.settings.shown import changed
from greenhttp.settings.table import BY_NAME, OF_THE_COMMAND
from greenhttp.settings.values import Settings

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable
    from typing import TypeAlias

    from typing_extensions import Unpack

    from greenhttp.green.stream import Stream
    from greenhttp.program.hooks import Life
    from greenhttp.settings.typed import ServeSettings, StreamSettings, Texts

    Shown: TypeAlias = "ssl.SSLContext | Iterable[tuple[Iterable[str], ssl.SSLContext]]"

STOPPED, BROKEN = 0, 1

KINDS = {"wsgi": "WSGI", "native": "native handler", "stream": "stream handler"}

TOO_LATE = OF_THE_COMMAND | {"patch", "workers", "timeout"}  # settings of a program that is not running yet

OF_HTTP = (  # settings that people give for streams too, and that do nothing there
    "forwarded_field", "forwarded_host", "forwarded_strip", "secure_scheme_headers", "root_path", "root_path_header",
    "allowed_hosts", "request_id_header", "https_redirect",
)  # fmt: skip

SOON = 0.5  # seconds within which the hub should have heard of a signal

# Real ones, also in a patched process
_start_thread = monkey.get_original("_thread", "start_new_thread")
_allocate_lock = monkey.get_original("_thread", "allocate_lock")

log = logging.getLogger("greenhttp")

# Called on SIGUSR1, in a green thread: whatever keeps a log file open adds what opens it again.
reopen: list[Callable[[], None]] = []


def serve(
    app: Callable[..., Any], *, bind: "Texts" = "127.0.0.1:8000", **settings: "Unpack[ServeSettings]"
) -> None:
    """Serve a native handler or a WSGI application until a signal ends it.

    Arguments:
        app: called with a Request and returning a Response, str, bytes, a dict or list (sent as JSON), an iterator of
            bytes or a file; or a WSGI application (PEP 3333). Which one is told from its signature, unless
            `interface="native"` or "wsgi" says it.
        bind: "host:port", ":port", "unix:/path", or a list of these.
        settings: any other setting by name, like `header_timeout="5s"`; settings.typed lists them with types.

    TERM lets running requests finish, INT (Ctrl-C) and QUIT stop at once. Must be called in the main thread, where
    signals arrive; a program that has other plans for them uses Server. If a green thread calls sys.exit(), running
    requests finish as after TERM, and the program ends with that code (SystemExit).

    An address, a log or a loop that cannot be used ends the program with one line and exit code 1 (SystemExit): the
    machine is to be changed then, not the program.

    Raises:
        ConfigError: a setting that cannot be, or it is not the main thread.
    """
    _serve(app, bind=bind, **settings)


def serve_stream(
    handler: Callable[["Stream"], object], *, bind: "Texts", tls: "Shown | None" = None,
    **settings: "Unpack[StreamSettings]",
) -> None:
    """Serve any protocol, with one green thread per connection, until a signal ends it.

    Arguments:
        handler: called with the Stream of each connection. When it returns, what it has written is sent and the
            connection is closed; when it raises, the connection is reset and the error logged.
        tls: the context to encrypt with, an ssl.SSLContext (`greenhttp.tls.server` makes one); or several, as pairs of
            names and contexts: the name that a client asks for chooses, the first is the default. None: that of the
            setting `certfile`, or plain.
        bind, settings: as for `serve`. `connections` bounds the green threads; `write_timeout` ends a peer that does
            not read. How long to wait for a peer's bytes is the protocol's business: `stream.timeout`.

    It ends as `serve` does.

    Raises:
        ConfigError: a setting that cannot be, or it is not the main thread.
    """
    _serve(handler, tls, bind=bind, interface=STREAM, **settings)


def _serve(app: Callable[..., Any], tls: "Shown | None" = None, **settings: Any) -> None:
    try:  # threading cannot be asked: where it is patched, its threads are green ones
        signal.set_wakeup_fd(signal.set_wakeup_fd(-1))
    except ValueError:
        raise ConfigError("serve() handles signals: call it in the main thread, or use Server instead") from None
    for name in settings:
        if name in TOO_LATE:
            raise ConfigError(f"{name}: this setting works only with the greenhttp command; leave it out")
    server = Server(app, **settings)
    if tls is not None:
        server.certificates = certificates_of(tls)
    try:
        run(server, getattr(app, "__name__", type(app).__name__))
    except ConfigError as error:
        say(str(error), "red")
        sys.exit(BROKEN)


def run(server: Server, name: str, life: "Life | None" = None) -> int:
    """Set up the log, start the server, wait for a signal, stop it. Returns the exit code.

    Arguments:
        server: not started yet.
        name: the application's, for people.
        life: the hooks of this process.

    Raises ConfigError if the log cannot be written or an address cannot be used; HookError; SystemExit if a green
    thread of the application has called sys.exit(), and everything has been stopped as after TERM.

    The handlers are Python's, not the loop's: they also run while the application keeps the loop busy, so that a second
    Ctrl-C always gets through.
    """
    settings = server.settings
    loop = gevent.get_hub().loop
    renewing = Renewing(server)
    with (
        logs.set_up(settings) as written,
        opened_again([written.reopen, logs.reopen_handlers, server.reopen]),
        # Without a life it is a program of somebody's own, which may go on
        signals(loop, ends=life is not None, renew=renewing.look if renewing.any else None) as (asked, stop),
    ):
        errors.sink = logs.from_application
        board = Board(settings.concurrency + 16)
        board.own()
        server.start(board=board)
        if life is not None:
            life.watch_abort()
            life.listen(server)
        dog = Watchdog(loop, settings.hub_warn, 0.0, server.in_progress)
        dog.start()
        *lines, ready = introduction(server, name, loop)
        for line in [*lines, *renewing.lines()]:
            logs.announce(line)
        if written.elsewhere:
            log.info("settings: %s", changed(settings))
        logs.announce(ready)
        renewing.start()
        exit = exits.until(stop)
        renewing.stop()
        if exit is not None:
            asked.append(signal.SIGTERM)  # a signal after this one is the second
        elif sent := sender(asked[0]):
            log.info("received %s, sent by %s", signal.Signals(asked[0]).name, by_whom(*sent))
        if life is not None:
            life.told(asked[0])
        if asked[0] == signal.SIGTERM and settings.graceful_timeout:
            logs.announce(f"stopping; running requests have {settings.graceful_timeout:g} s to finish")
            exits.outlast(server.stop, settings.graceful_timeout, settings.drain_linger)
        else:
            exits.outlast(server.stop, 0)
        dog.stop()
        errors.sink = None
        log.info("stopped")
    if exit is not None:
        raise exits.ended(exit)
    return STOPPED


@contextlib.contextmanager
def opened_again(calls: list[Callable[[], None]]) -> Iterator[None]:
    """SIGUSR1 makes these calls meanwhile."""
    reopen.extend(calls)
    try:
        yield
    finally:
        reopen[:] = [call for call in reopen if call not in calls]


@contextlib.contextmanager
def signals(
    loop: Any, supervised: bool = False, ends: bool = False, renew: Callable[[], None] | None = None
) -> Iterator[tuple[list[int], Event]]:
    """Signals in the order they came, and an event for the first; the handlers there were come back afterwards.

    Arguments:
        ends: the process does so afterwards: signals are settled instead.
        supervised: in a worker. Ctrl-C goes to all processes of a terminal, but what it means is the supervisor's
            business: INT is ignored, and so is what only supervisors know.
        renew: called in the loop at HUP, which else is left alone. If the terminal has gone, HUP ends the process.
    """
    asked: list[int] = []
    stop = Event()

    def on_signal(number: int, _: object) -> None:
        if number == signal.SIGTERM and signal.SIGTERM in asked:
            return  # sent to the process and to its group, or passed on by a wrapper: one request to stop
        if asked:
            if not supervised:
                logs.cry("stopped by force")
                logs.last_words()
            os._exit(BROKEN)
        asked.append(number)
        heard = _allocate_lock()
        heard.acquire()
        loop.run_callback_threadsafe(_stop, stop, heard)
        if not supervised:
            with contextlib.suppress(RuntimeError):  # no thread to be had
                _start_thread(_say_if_held, (heard, number))

    def on_reopen(*_: object) -> None:
        loop.run_callback_threadsafe(gevent.spawn, _reopen)

    terminal = Terminal()

    def on_hang_up(number: int, frame: object) -> None:
        if terminal.gone:
            on_signal(number, frame)
        else:
            loop.run_callback_threadsafe(renew)

    handlers: dict[int, Any] = dict.fromkeys((signal.SIGTERM, signal.SIGINT, signal.SIGQUIT), on_signal)
    if supervised:
        ignored = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH)
        handlers |= dict.fromkeys(ignored, signal.SIG_IGN)
    handlers[signal.SIGUSR1] = on_reopen
    if renew is not None:
        handlers[signal.SIGHUP] = on_hang_up
    before = {number: signal.getsignal(number) for number in (*handlers, signal.SIGPIPE)}
    kept = Handlers(handlers)
    watched = {number for number, call in handlers.items() if call is on_signal}
    watch(watched)

    def look() -> None:
        replaced = kept.look()
        watch(watched.intersection(replaced))
        if replaced:
            names = ", ".join(signal.Signals(number).name for number in replaced)
            gevent.spawn(log.warning, REPLACED, names)  # a handler of the application's may wait

    # A signal that arrives just before the poll does not interrupt it, and Python's handler would run only when
    # something else wakes the loop. A byte in this pipe does.
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    wakeup_before = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    waker = loop.io(woken, 1, ref=False)
    waker.start(os.read, woken, 512)
    looks = loop.timer(PERIOD, PERIOD, ref=False)
    looks.start(look)
    kept.look()

    def give_back() -> None:
        """In a forked child: what signals mean is its own business. A handler that the application has set stays."""
        signal.set_wakeup_fd(-1)
        for number, call in [*handlers.items(), (signal.SIGUSR1, on_reopen)]:
            if signal.getsignal(number) is call:
                signal.signal(number, before[number])

    try:
        with forked.in_child(give_back):
            yield asked, stop
    finally:
        looks.stop()
        looks.close()
        signal.set_wakeup_fd(wakeup_before)
        if ends:
            settle((*before, signal.SIGHUP), None if supervised else STOPPED)
        else:
            for number, call in before.items():
                if call is not None:  # of C code, such as faulthandler's: it cannot be set from here
                    signal.signal(number, call)
        waker.stop()
        waker.close()
        os.close(woken)
        os.close(wake)


def _stop(stop: Event, heard: Any) -> None:
    heard.release()
    stop.set()


def _say_if_held(heard: Any, number: int) -> None:
    """In a thread of its own: the hub cannot say by itself that it does not turn. No lock of anybody else is taken."""
    if heard.acquire(True, SOON):
        return
    again = "press Ctrl-C again" if number == signal.SIGINT else "press Ctrl-C or send INT"
    logs.cry(f"a handler holds the process; {again} to end it")


def _reopen() -> None:
    for call in list(reopen):
        try:
            call()
        except Exception as error:  # a full disk, a directory that has gone: serving goes on
            with contextlib.suppress(Exception):
                log.error("a log file cannot be reopened, the old one is kept: %s", error)


def described(server: Server) -> str:
    """What is served, and why it is taken for that: `WSGI (detected)`."""
    why = "detected" if server.settings.interface == "auto" else "as set"
    return f"{KINDS[server.interface]} ({why})"


def doubts(server: Server) -> list[str]:
    """A line for each thing that may not be what was meant."""
    lines = []
    if server.settings.debug:
        lines.append("debug is on: clients see the traceback of an error; use it for development only")
    if server.settings.interface == "auto" and (line := doubt(server.app)):
        lines.append(line)
    elif server.interface == "native" and (name := getattr(server.app, "__name__", "")) in FACTORY_NAMES:
        lines.append(f"{name} takes one argument, so it is served as a handler; if it is a factory, call it in APP")
    if server.interface == STREAM and server.settings.access_logfile is not None:
        lines.append("access_logfile is ignored: stream handlers have no access log")
    usual = Settings()
    idle = [name for name in OF_HTTP if getattr(server.settings, name) != getattr(usual, name)]
    if server.interface == STREAM and idle:
        lines.append(f"no effect for stream handlers: {', '.join(idle)}")
    if server.hooks is not None and server.interface != "wsgi":
        lines.append("pre_request and post_request do not run: only WSGI applications have these hooks")
    return lines


def introduction(server: Server, name: str, loop: Any, supervised: bool = False) -> list[str]:
    """What is served where and how, as lines for the terminal. A worker leaves out what its supervisor says."""
    colours = coloured()
    where = [_clickable(url, family, colours) for url, family in zip(server.addresses, server.families, strict=True)]
    kind = type(loop).__module__.split(".")[1]  # gevent.libev.corecext, gevent.libuv.loop
    backend = getattr(loop, "backend", "")
    process = "" if supervised else f", process {os.getpid()}"
    patched = "standard library patched"
    lines = doubts(server)
    if not monkey.is_module_patched("socket"):
        patched = f"standard library {paint('NOT patched', 'yellow', on=colours)}"
        instead = "" if server.settings.patch else "leave out --no-patch, or "
        lines.append(
            "a call that blocks (time.sleep, a database) stops all other connections;"
            f" {instead}make `import greenhttp.patch` the first line of the program"
        )
    return [
        f"serving {paint(name, 'bold', on=colours)} at {', '.join(where)}",
        f"interface: {described(server)}",
        f"version {__version__}{process}, loop {kind}{f' ({backend})' if backend else ''}, {patched}",
        *(paint(line, "yellow", on=colours) for line in lines),
        *_limits(server),
        *([] if supervised else ["Ctrl-C stops at once; TERM lets running requests finish"]),
    ]


def _limits(server: Server) -> list[str]:
    """What is in force of the settings that people ask about first."""
    settings = server.settings
    if server.interface == STREAM:
        return [f"up to {settings.connections} connections; write time-out {_typed(server, 'write_timeout')}"]
    wait = f"{settings.queue} more in the queue" if settings.queue else "no queue"
    body = f"bodies up to {_typed(server, 'limit_request_body')}"
    names = (("head", "header"), ("body", "body"), ("write", "write"), ("keep-alive", "keepalive"))
    times = ", ".join(f"{word} {_typed(server, f'{name}_timeout')}" for word, name in names)
    request = _typed(server, "request_timeout") if settings.request_timeout else "unlimited"
    return [
        f"up to {settings.concurrency} requests at once, {wait}; up to {settings.connections} connections; {body}",
        f"time-outs: {times}, request {request}",
    ]


def _typed(server: Server, name: str) -> str:
    return str(BY_NAME[name].typed(getattr(server.settings, name)))


def _clickable(url: str, family: str, colours: bool) -> str:
    for wildcard, local in (("//0.0.0.0:", "//127.0.0.1:"), ("//[::]:", "//[::1]:")):
        if wildcard in url:
            mine = paint(url.replace(wildcard, local), "bold", "cyan", on=colours)
            return f"{mine} (and every other {'' if ' ' in family else f'{family} '}address of this machine)"
    return paint(url, "bold", "cyan", on=colours)
