"""The access log: one entry for each request, in a file, written where nobody waits for it.

Access log
----------
`access_logfile` is a path or "-" for the standard output; `access_log_format` is one of

    combined    Apache's: peer - user [time] "request line" status bytes "referer" "user agent"
    common      Apache's: the same without the last two
    json        an object a line, see below
    a text      with gunicorn's atoms

Atoms: %(h)s client address, %(l)s "-", %(u)s the name in Basic credentials, which the server does not check, %(t)s
time, %(r)s request line, %(s)s status, %(b)s bytes or "-" for none, %(B)s bytes, %(f)s referer, %(a)s user agent, %(m)s
method, %(U)s path and %(q)s query as they were sent, %(H)s version, %(T)s %(M)s %(D)s %(L)s duration in seconds,
milliseconds, microseconds, and seconds with a fraction, %(p)s process; not of gunicorn: %(c)s "cut" where a stop of the
server has cut the request, %(id)s the ID of the request; by name %({user-agent}i)s a request field, %({etag}o)s a
response field, %({SSL_PROTOCOL}e)s the version of TLS, %({REMOTE_PORT}e)s what the environ of a WSGI application says
when it is done, names in any case, texts and numbers alone. "-" is what is unknown, absent or empty. Put quotes around
what may have spaces in it.

Keys of json: time (ISO 8601, UTC), peer, method, target (as sent), version, tls (TLSv1.3, say), status, bytes, duration
(seconds), complete (whether the whole answer was made), cut (whether a stop of the server has cut the request),
referer, user_agent, request_id; null is what is unknown or absent. Bytes beyond ASCII are read as latin-1, so that none
is lost.

- Peer is the client that a trusted proxy has named (`forwarded_allow_ips`). Where none has, and where the server
  refused before it knew, it is the other end of the connection.
- There is one entry for each answer: also where the server refused (408, 431, 503 ...), with "-" for what is not known
  of the request, and where the connection ended before an answer began: status 499, nginx's number for it, which was
  never sent. Half a request that nobody answered has none.
- A request line that was refused stands as it came, if all of it had come and it is not longer than is allowed. Its
  first word is the method then, its last one the version if it begins with HTTP/, and what is between them the target.
- A request that was cut because `graceful_timeout` was over: if a head was out, its status, and not complete; if none
  was, 503, which is what the client was sent; 499 if its socket did not take that at once.
- Bytes are those of content put into the stream, without heads and the framing of chunks; 0 for HEAD. A client that
  leaves afterwards has not received all of them.
- Time is when the application was asked, or the request refused. Duration runs from there until the whole answer was
  in the stream; a refusal has none.
- Bytes from outside that are not printable ASCII, quotes and backslashes are escaped, as Apache does it.

Entries are gathered for a tenth of a second, then written at once by a thread of the hub's pool. If that cannot keep
up, because a disk is slow or a pipe is full, entries are dropped beyond 32 MiB and their number is reported.
"""

import os
import stat
from collections.abc import Callable
from select import PIPE_BUF
from typing import Any

import gevent
from gevent.monkey import get_original

from greenhttp.errors import ConfigError
from greenhttp.observe.atoms import JSON, parse
from greenhttp.observe.entries import Entries
from greenhttp.settings import console

INTERVAL = 0.1  # seconds that entries are gathered
LIMIT = 32 << 20  # bytes of entries not yet written: some 200,000 of usual size

Report = Callable[[str, str], None]


class AccessLog:
    """An access log. Belongs to the hub of the thread that calls `open`.

    Arguments:
        path: the file, appended to; "-": standard output.
        form: the format, see the module.

    Raises ConfigError for a format that cannot be.
    """

    def __init__(self, path: str, form: str) -> None:
        self.path = path
        self._place = path if path == "-" else os.path.abspath(path)  # the application may change the directory
        self.entries: Any = Entries(parse(form), form == JSON, LIMIT)
        self._file = -1
        self._stale = False
        self._failing = False
        self._lost = 0
        self._loop: Any = None
        self._timer: Any = None
        self._writer: gevent.Greenlet | None = None

    def open(self, report: Report) -> None:
        """Open the file; entries are written from now on.

        Arguments:
            report: report(level, message), for what is lost; must neither block nor raise.

        Raises ConfigError if it cannot be opened.
        """
        try:
            self._file = self._opened()
        except OSError as error:
            raise ConfigError(f"access_logfile: {self.path!r} cannot be opened: {error.strerror}") from None
        self._report = report
        self._loop = gevent.get_hub().loop
        self.entries.wake = self._wake
        if self.entries.rest():
            self._wake()

    def reopen(self) -> None:
        """Open the path anew, after the file was moved away. Entries that have come until now may go to either file.

        Does not wait. To be called in the hub's thread; does nothing for the standard output.
        """
        if self._loop is None or self.path == "-":
            return
        self._stale = True
        self._begin()

    def close(self, timeout: float) -> None:
        """Write what there is, for `timeout` seconds at most; close the file. Suspends the calling green thread."""
        if self._loop is None:
            return
        with gevent.Timeout(timeout, False):
            gevent.sleep(0)  # requests that were just cut have their entries then
            while self._writer is not None or self.entries.count or self.entries.dropped:
                self._begin().join()
        self._drop_timer()
        self._loop = None
        self.entries.wake = _nothing
        if self._writer is not None:
            # The thread is still in there with the descriptor, which must not become another file's meanwhile.
            count = self.entries.count + self.entries.dropped
            self._report("warning", f"the last batch of the access log and {count} entries after it are lost")
        elif self.path != "-":
            os.close(self._file)
        self._file = -1

    # ---- in the hub's thread

    def _wake(self) -> None:
        self._timer = self._loop.timer(INTERVAL)  # a new one: libev's does not start twice with the same time
        self._timer.start(self._begin)

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def _begin(self) -> gevent.Greenlet:
        self._drop_timer()
        if self._writer is None:
            self._writer = gevent.spawn(self._write)
        return self._writer

    def _write(self) -> None:
        batch, held, count, dropped = self.entries.take()
        reopening: OSError | None = None
        error: Exception | None = None
        try:
            reopening, error = gevent.get_hub().threadpool.apply(self._put, (batch,))
        except Exception as failure:  # no thread to be had, say: the next batch may fare better
            error = failure
        finally:
            self.entries.done(held)
            self._writer = None
        if reopening is not None:
            why = f"{reopening.strerror}; the old file is kept"
            self._report("error", f"access log {self.path!r} cannot be reopened: {why}")
        self._tell(error, count)
        if dropped:
            why = "it could not be written as fast as they came"
            self._report("warning", f"{dropped} access log entries were dropped: {why}")
        more = self.entries.rest()
        if self._loop is None:
            return
        if self._stale:
            self._begin()  # it was asked for while the thread was busy
        elif more:
            self._wake()

    def _tell(self, error: Exception | None, count: int) -> None:
        """Report the first batch that failed, and the first that did not again."""
        if error is not None:
            self._lost += count
            if not self._failing:
                why = f"{getattr(error, 'strerror', None) or error}; entries are lost until it can be written again"
                self._report("error", f"access log {self.path!r}: {why}")
        elif self._failing:
            lost, self._lost = self._lost, 0
            self._report("warning", f"access log {self.path!r}: can be written again; {lost} entries were lost")
        self._failing = error is not None

    # ---- in a thread of the pool: plain system calls, and nothing of gevent

    def _put(self, batch: bytes) -> tuple[OSError | None, OSError | None]:
        """What went wrong while opening the file anew, and while writing."""
        reopening = None
        if self._stale:
            self._stale = False
            try:
                self._file, old = self._opened(), self._file
                os.close(old)
            except OSError as error:
                reopening = error
        try:
            put(self._file, batch)
        except OSError as error:
            return reopening, error
        return reopening, None

    def _opened(self) -> int:
        if self.path == "-":
            return console.descriptor(console.OUT)
        # Not blocking while it is opened: a FIFO that nobody reads is an error, not a wait.
        file = os.open(self._place, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o640)
        os.set_blocking(file, True)
        return file


def put(file: int, data: bytes) -> None:
    """Write all of it. Blocks the thread; also where somebody made the descriptor non-blocking. Raises OSError.

    Into a pipe others may write too, such as the error log: it gets whole lines, and no more of them at once than it
    keeps together (POSIX: PIPE_BUF bytes).
    """
    piped = stat.S_ISFIFO(os.fstat(file).st_mode)
    rest = memoryview(data)
    while rest:
        size = len(rest)
        if piped and size > PIPE_BUF:
            size = data.rfind(b"\n", len(data) - size, len(data) - size + PIPE_BUF) + 1 - (len(data) - size)
        try:
            rest = rest[os.write(file, rest[: size if size > 0 else PIPE_BUF]) :]
        except BlockingIOError:
            get_original("select", "select")([], [file], [])  # the patched one would need a loop in this thread


def _nothing() -> None:
    pass
