"""gunicorn's worker class: its master's child, with our server in it.

    master forks -> init_process: patch, then gunicorn's own: signals, load, post_worker_init -> run
    run: Server on the master's sockets, a beat, until TERM, QUIT, max_requests, or the master is gone; then drain

The sockets stay the master's: closing ours here takes nothing out of their queues, so a reload loses no request. This
module loads no gevent, for the master imports it: all of that comes after the fork.
"""

import contextlib
import faulthandler
import logging
import os
import signal
import sys
import time
from types import FrameType
from typing import Any

from gunicorn.workers.base import Worker as Base

from greenhttp.doors.translated import settings_of
from greenhttp.errors import ConfigError
from greenhttp.hosting.hooks import around
from greenhttp.logs.lines import TextFormatter
from greenhttp.logs.setup import can_write, entry, reached
from greenhttp.process.handlers import REPLACED, Handlers
from greenhttp.settings import console
from greenhttp.tls.renewal import EVERY, Renewal

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT, signal.SIGUSR1)
BEAT = 0.25  # seconds between two beats
NOT_BOOTED = 3  # the exit code at which gunicorn's master stops instead of trying again
NEVER_STARTED = (NOT_BOOTED, 4)  # all of those codes

log = logging.getLogger("greenhttp")


class _Passed(logging.Handler):
    """What greenhttp logs goes where gunicorn's errors go: by the level, the filters and the handlers that their logger
    has now, and those of the loggers that it propagates to.

    The application may disable that logger, take its handlers away, or close stderr, so they get a
    stream of their own for that. Where none of them can write, lines go to those from before it was loaded, else there.
    """

    def __init__(self, to: logging.Logger) -> None:
        super().__init__()
        self.to = to
        self.before = reached(to)
        stderr = console.descriptor(console.ERR)
        for handler in self.before:
            if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr:
                handler.setStream(os.fdopen(stderr, "w", 1, "utf-8", "backslashreplace", closefd=False))
        self.setFormatter(TextFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < self.to.getEffectiveLevel():
            return
        with contextlib.suppress(Exception):
            kept = self.to.filter(record)
            if not kept:
                return
            record = kept if isinstance(kept, logging.LogRecord) else record  # CPython 3.12+: it may be another one
        if not self._passed(record, [handler for handler in reached(self.to) if handler is not self]):
            self.keep(record)

    def keep(self, record: logging.LogRecord) -> None:
        """Write it by none of the application's handlers."""
        if not self._passed(record, self.before):
            console.say_as_it_is(f"{self.format(record)}\n")

    @staticmethod
    def _passed(record: logging.LogRecord, handlers: list[logging.Handler]) -> bool:
        """Whether any of these can write. One may not want it, by its level."""
        able = False
        for handler in filter(can_write, handlers):
            with contextlib.suppress(Exception):
                if record.levelno >= handler.level:
                    handler.handle(record)
                able = True
        return able


class Worker(Base):  # type: ignore[misc]
    """A worker for gunicorn: `gunicorn -k greenhttp.gunicorn.Worker app:app`.

    Patches the standard library before the application is loaded, then serves it as a WSGI application. In force are
    bind, worker_connections (requests at once, and connections), timeout, graceful_timeout, keepalive, max_requests and
    its jitter, limit_request_line, limit_request_fields, the access log and its format, forwarded_allow_ips,
    secure_scheme_headers, proxy_protocol, proxy_allow_ips, the variable SCRIPT_NAME, reload, certfile, keyfile,
    ca_certs, cert_reqs, ciphers, and the hooks of workers and requests and ssl_context. What greenhttp has beyond them
    has its defaults. HTTP/2 refuses to start.
    """

    def init_process(self) -> None:
        """Patch, then as gunicorn does it, which ends in `run`. Called in the worker, once."""
        signal.signal(signal.SIGTERM, self._early)
        console.hold()
        self.passed = _Passed(self.log.error_log)
        log.handlers[:] = [self.passed]
        log.setLevel(self.log.error_log.getEffectiveLevel())
        log.propagate = False
        try:
            self.settings = settings_of(self.cfg)
            # As the user that the master is: `user` may not be allowed to
            hooked = self._has_context_hook()
            self.renewal = Renewal(self.settings, hooked=hooked) if self.settings.certfile else None
        except ConfigError as error:
            log.error("%s", error)
            sys.exit(NOT_BOOTED)
        _patch(self.cfg.preload_app)
        # Before the application, all that serves it: it may leave nothing of sys.path
        from gevent.event import Event

        from greenhttp.program import boot, running  # noqa: F401

        boot.prepare_gevent()
        boot.hide_secrets()

        self.stopping = Event()
        self.quick = False
        if self.cfg.reload and self.cfg.reload_engine == "auto":
            self.cfg.set("reload_engine", "poll")  # inotify's reads would block the hub
        super().init_process()

    # ---- signals: handlers of Python's, which may interrupt anything

    def init_signals(self) -> None:
        """As gunicorn, but without the moment in which TERM would end the process; it waits."""
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            super().init_signals()
            self.handlers = {int(number): signal.getsignal(number) for number in HANDLED}
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _early(self, sig: int, frame: FrameType | None) -> None:
        """TERM while it boots: the master sends it once, and waits. What it loads is not interrupted."""
        self.alive = False

    def _wake(self) -> None:
        import gevent

        gevent.get_hub().loop.run_callback_threadsafe(self.stopping.set)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """TERM: what has come is answered."""
        self.alive = False
        self._wake()

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """INT and QUIT: at once. A second one does not wait for anything."""
        if self.quick:
            os._exit(1)
        self.alive, self.quick = False, True
        self._wake()

    def handle_usr1(self, sig: int, frame: FrameType | None) -> None:
        """USR1: the logs are opened again."""
        import gevent

        gevent.get_hub().loop.run_callback_threadsafe(gevent.spawn, self._reopen)

    def handle_abort(self, sig: int, frame: FrameType | None) -> None:
        """ABRT, by the master, when the loop has not turned for `timeout`: says where it is, and ends.

        An exception would only end whatever request holds the loop.
        """
        self.alive = False
        try:
            faulthandler.dump_traceback(console.descriptor(console.ERR))
            self.cfg.worker_abort(self)
        finally:
            os._exit(1)

    def _reopen(self) -> None:
        self.log.reopen_files()
        captured = getattr(self.log, "logfile", None)  # capture_output: where stdout and stderr go
        if captured is not None:
            console.move(captured.fileno())
        self.server.reopen()

    # ---- serving

    def run(self) -> None:
        """Serve until told to stop, then drain. Called by gunicorn, once."""
        import gevent

        from greenhttp.green.listener import Listener
        from greenhttp.hosting import errors
        from greenhttp.process import forked
        from greenhttp.process.board import Board
        from greenhttp.process.watchdog import Watchdog
        from greenhttp.program import boot, exits
        from greenhttp.server import Server
        from greenhttp.settings.address import Address
        from greenhttp.settings.remarks import open_lists

        console.fill()  # what the application has closed
        replaced = [number for number, handler in self.handlers.items() if signal.getsignal(number) != handler]
        self.kept = Handlers(self.handlers)
        self.kept.look()
        self._tell(replaced)
        loop = gevent.get_hub().loop
        waker = loop.io(self.PIPE[0], 1, ref=False)  # a signal in the moment before the poll does not interrupt it
        waker.start(os.read, self.PIPE[0], 4096)
        listeners = [
            (Listener(fileno=os.dup(one.fileno())), Address("fd", fd=one.fileno())) for one in self.sockets
        ]
        for sock, _ in listeners:
            sock.setblocking(False)
        board = Board(self.settings.concurrency + 16)
        board.own()
        errors.sink = self._from_application
        try:
            self.server = Server(self.wsgi, self.settings)
            self.server.hooks = around(self, self._own("pre_request"), self._own("post_request"))
            if self.renewal is not None:
                self.server.ssl_context = self._context_hook()
                self.server.certificates = self.server.certificates_of(self.renewal.material)
            self.server.start(listeners, None, board)
            if not self.cfg.keepalive:
                self.server.announce_close()
        except ConfigError as error:
            log.error("%s", error)
            sys.exit(NOT_BOOTED)
        if self.age == 1:  # once for all workers
            for line in open_lists(self.settings, {"proxy_allow_from": "proxy_allow_ips"}):
                log.warning("%s", line)
        boot.tune_collector()
        dog = Watchdog(loop, self.settings.hub_warn, 0.0, self.server.in_progress, board)
        dog.start()
        beats = gevent.spawn(self._beat)
        try:
            with forked.in_child(self._let_go):
                exit = exits.until(self.stopping)
                if exit is not None:
                    self.alive = False
                    self.stopping.set()
                if self.quick:
                    self.cfg.worker_int(self)
                    exits.outlast(self.server.stop, 0)
                else:
                    exits.outlast(self.server.stop, self.cfg.graceful_timeout, self.settings.drain_linger)
        finally:
            beats.kill()
            dog.stop()
            waker.stop()
            waker.close()
        if exit is not None:
            ended = exits.ended(exit)
            # By these gunicorn means that no worker can be started, and stops; this one has served.
            raise SystemExit(1) if ended.code in NEVER_STARTED else ended

    def _has_context_hook(self) -> bool:
        """Whether somebody has written one: gunicorn's own adds nothing."""
        return not self.cfg.ssl_context.__qualname__.endswith("NewSSLContext.ssl_context")

    def _context_hook(self) -> Any:
        """gunicorn's ssl_context as Server has it, or None. What it raises says that no worker can be started."""
        hook = self.cfg.ssl_context
        if not self._has_context_hook():
            return None

        def made(factory: Any) -> Any:
            try:
                return hook(self.cfg, factory)
            except Exception as error:
                log.error("ssl_context failed", exc_info=error)
                raise ConfigError("no context for TLS; see the traceback above") from error

        return made

    def _renew(self) -> None:
        """New handshakes get the certificates that are in the files by now."""
        material = None if self.renewal is None else self.renewal.look()
        if material is None:
            return
        try:
            self.server.renew(self.server.certificates_of(material))
        except (ConfigError, OSError) as error:  # the latter without descriptors to be had
            log.error("%s", error)

    def _let_go(self) -> None:
        """In a process that the application has forked from this worker: it is none of the master's."""
        signal.set_wakeup_fd(-1)
        for number in self.SIGNALS:
            handler = signal.getsignal(number)
            if getattr(handler, "__self__", None) is self:  # else it is the application's
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        for sock in self.sockets:
            sock.close()  # gunicorn's; the file of a UNIX socket stays

    def _beat(self) -> None:
        """Tell the master that the loop turns, also while it drains; see to what else may end the worker."""
        import gevent

        looked = time.monotonic()
        while True:
            self.notify()
            if time.monotonic() - looked >= EVERY:
                looked = time.monotonic()
                self._renew()
            self._tell(self.kept.look())
            if not self.stopping.is_set():
                self.nr = self.server.statistics().get("requests", 0)
                if self.nr >= self.max_requests:
                    self.log.info("Autorestarting worker after current request.")
                    self.alive = False
                elif self.ppid != os.getppid():
                    self.log.info("Parent changed, shutting down: %s", self)
                    self.alive = False
                if not self.alive:
                    self.stopping.set()
            gevent.sleep(BEAT)

    @staticmethod
    def _tell(replaced: list[int]) -> None:
        """Whose handlers of signals the application, or a hook, had replaced."""
        if replaced:
            log.warning(REPLACED, ", ".join(signal.Signals(number).name for number in replaced))

    def _from_application(self, source: tuple[str, str, str] | None, text: str) -> None:
        """What is written to `wsgi.errors` goes where gunicorn's errors go, and never further: see logs.setup."""
        self.passed.keep(entry(source, text))

    def _own(self, name: str) -> Any:
        """The hook of that name, or None where gunicorn's own stands, which only says at debug that it was called."""
        hook = getattr(self.cfg, name)
        return None if hook.__qualname__.endswith(f"Request.{name}") else hook


def _patch(preloaded: bool) -> None:
    from gevent import monkey

    if preloaded and not monkey.is_module_patched("socket"):
        log.warning(
            "preload_app: the application was imported before the standard library was patched, and may block all"
            " requests of a worker; make `import greenhttp.patch` the first line of gunicorn's configuration file"
        )
    import greenhttp.patch  # noqa: F401

    import gevent

    gevent.reinit()  # the master may have had a loop
