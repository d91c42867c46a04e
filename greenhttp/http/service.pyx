"""What all connections of one server share: limits, phases, green threads, and the fields every answer carries."""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from greenhttp.process.board cimport Board
from greenhttp.green.deadline cimport Phase
from greenhttp.green.lingering cimport lingering
from greenhttp.green.pool cimport Pool, in_progress
from greenhttp.green.stream cimport Stream
from greenhttp.http.origin cimport Origins
from greenhttp.wire.head cimport Head

from time import gmtime

from greenhttp.errors import LimitError
from greenhttp.http.refusals import PROXY_HEADER, beyond


cdef extern from "time.h":
    ctypedef long time_t
    time_t c_time "time"(time_t*) noexcept

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject* o)

cdef enum:
    SPARE_HEADS = 256
    RESERVE = 8                 # requests for `health_path` that run although `concurrency` others do

cdef tuple DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
cdef tuple MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


cpdef str naming(str who, str id):
    """What a line of the log begins with, by the client, "" if unknown, and the ID of the request, None without one."""
    if id is None:
        return f"{who}: " if who else ""
    return f"{who} [{id}]: " if who else f"[{id}]: "


cdef class Service:
    """Arguments:
        settings: a config.Settings, or anything with its attributes.
        connections: open connections at most.
        report: report(level, message, exc_info=None), for the log; must neither block nor raise.
        hub: gevent's hub, by default that of this thread.
        noise: noise(kind, message, level="info"), for what outsiders can make the log say at will: refusals, and
            connections that break. As `report`, which it is by default.
    """

    def __init__(self, settings, int64_t connections, report, hub=None, noise=None):
        s = settings
        self.settings = s
        self.report = report
        self.noise = noise if noise is not None else lambda kind, message, level="info": report(level, message)
        self.max_connections = connections
        self.arriving = Phase("arriving", 0.0 if s.proxy_protocol == "off" else s.proxy_timeout)
        self.handshaking = Phase("handshaking", s.tls_timeout)
        self.fresh = Phase("fresh", s.header_timeout, setting="header")
        self.heading = Phase("heading", s.header_timeout, setting="header")
        self.idle = Phase("idle", s.keepalive_timeout)
        self.queued = Phase("queued", s.queue_timeout)
        self.running = Phase("running", s.request_timeout)
        self.overdue = Phase("overdue")
        self.flushing = Phase("flushing", s.write_timeout, s.write_min_rate, s.min_rate_after, "write")
        self.draining = lingering("draining", s, connections)
        self.lingering = lingering("lingering", s, connections)
        self.body = Phase("body", s.body_timeout, s.body_min_rate, s.min_rate_after, "body")
        self.writing = Phase("writing", s.write_timeout, s.write_min_rate, s.min_rate_after, "write")
        self.phases = (
            self.arriving, self.handshaking, self.fresh, self.heading, self.idle, self.queued, self.running,
            self.overdue, self.flushing, self.draining, self.lingering, self.body, self.writing,
        )
        self.health_path = None if s.health_path is None else s.health_path.encode("ascii")
        reserve = 0 if self.health_path is None else RESERVE
        self.pool = Pool(s.concurrency, s.queue, self.queued, hub, reserve, s.context == "thread")
        self.origins = Origins(s)
        self.origins.settle()
        self.id_name = s.request_id_header
        self.limit_body = s.limit_request_body
        self.gather = s.gather_chunked
        self.limit_buffers = s.limit_buffers
        self.crowded = beyond("limit_buffers", s.limit_buffers)
        self.limit_extensions = s.limit_chunk_extensions
        self.limit_trailers = s.limit_trailers
        self.limit_pipeline = s.limit_pipeline
        self.lingers = s.linger_timeout > 0
        self.dropped = set()
        self.head_options = {
            "limit_request_line": s.limit_request_line,
            "limit_request_head": s.limit_request_head,
            "limit_request_fields": s.limit_request_fields,
            "allow_names": frozenset(s.allow_headers),
            "allow_connect": "CONNECT" in s.allow_methods,
            "allow_trace": "TRACE" in s.allow_methods,
            "dropped": self.dropped,
        }
        self.heads = []
        self.doors = []
        self.server = b"" if s.server_header is None else f"Server: {s.server_header}\r\n".encode("ascii")
        self.date_line()

    def attach(self, app):
        """Set the application: a response.App."""
        self.app = app

    def observe(self, observer):
        """Set who is told of each answer: a response.Observer, or None."""
        self.observer = observer

    def identify(self):
        """From now on each request has an ID."""
        self.origins.identify()

    def show(self, Board board):
        """List on this board what runs."""
        self.board = board

    def in_progress(self):
        """What runs in the application: seconds, `GET /path`, green thread; the oldest first. May be called in another
        thread. Empty without a board."""
        return in_progress(self.board, (self.running, self.overdue))

    def renew(self, certificates):
        """From now on handshakes are made with these certificates."""
        if self.arrivals is not None:
            self.arrivals.certificates = certificates

    def announce_close(self):
        """From now on every answer says that it is the last on its connection."""
        self.stopping = True

    def close_idle(self):
        """From now on a connection that becomes idle ends: its answer had begun before `announce_close`."""
        self.closes_idle = True

    cdef Head take_head(self):
        cdef Head head = self.head
        if head is not None:
            self.head = None
            return head
        return self.heads.pop() if self.heads else Head(**self.head_options)

    cdef void give_head(self, Head head) noexcept:
        """Keep `head` for another request, unless somebody still refers to it."""
        if Py_REFCNT(<PyObject*>head) <= 2:
            head.reset()
            if self.head is None:
                self.head = head
            elif len(self.heads) < SPARE_HEADS:
                self.heads.append(head)

    cdef bytes date_line(self):
        """`Date`, as a field line (RFC 9110 5.6.7); remade once a second."""
        cdef long long now = c_time(NULL)
        if now != self.second:
            self.second = now
            t = gmtime(now)
            self.date = (
                f"Date: {DAYS[t.tm_wday]}, {t.tm_mday:02} {MONTHS[t.tm_mon - 1]} {t.tm_year:04} "
                f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT\r\n"
            ).encode("ascii")
        return self.date

    cdef int say_dropped(self, Stream stream) except -1:
        """Log each dropped field name once (contract rule 14), and who has sent it."""
        if len(self.dropped) > self.dropped_said:
            self.dropped_said = len(self.dropped)
            names = ", ".join(sorted(map(repr, self.dropped)))
            what = "fields dropped from requests (--allow-headers lets them through)"
            self.report("warning", f"{stream.about()}{what}: {names}")
        return 0

    cdef int refused(self, Stream stream, str request, int status, str reason, str id) except -1:
        """Log who is refused with what, and why. `request`: `GET /path`, or None if unknown; so `id`."""
        cdef str what = f"{naming(stream.who(), id)}refused with {status}" if request is None \
            else f"{naming(stream.who(), id)}{request}: refused with {status}"
        if status == 503 or reason is self.crowded:
            self.noise("overload", f"{what}: {reason}", "warning")
        else:
            # With the latter the proxy is set up wrongly, and no request comes through.
            self.noise("refusals", f"{what}: {reason}", "warning" if reason is PROXY_HEADER else "info")
        return 0

    cdef str why(self, object error):
        """What a WireError says, limits with their values."""
        if isinstance(error, LimitError):
            return beyond(error.reason, getattr(self.settings, error.reason, error.limit))
        return error.reason

    cdef str queue_full(self):
        return f"the queue is full: {self.pool.limit} running (concurrency), {self.pool.queue_limit} waiting (queue)"

    cdef str queue_too_long(self):
        return f"no place was free within {self.queued.duration:g} s (queue_timeout)"

    def when_empty(self, callback):
        """Call `callback` when the last connection has gone, which may be now."""
        self.emptied = callback
        if self.open_connections == 0:
            callback()

    cdef int make_way(self) except -1:
        """Accepting had to wait, and there may be room now."""
        self.full = False
        for door in self.doors:
            door.go_on()
        return 0

    def statistics(self):
        """What there is now: a dict of counts: in all, connections by phase, the pool's green threads as `pool_...`."""
        return {
            "connections": self.open_connections, "requests": self.requests,
            **{phase.name: phase.count for phase in self.phases},
            **self.pool.statistics(),
        }
