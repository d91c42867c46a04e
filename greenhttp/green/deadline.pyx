"""Deadlines that cost two pointers: one list per phase, one timer for all of them.

Everything in one phase waits for the same duration, so the order of arrival is the order of expiry: entering a phase
appends to a ring, leaving it unlinks, and a sweep looks at the front only. Ten thousand idle connections are one list,
not ten thousand timers. Deadlines that users choose themselves (`read(timeout=)`) have no common duration and use the
loop's own timer heap, in `waiting`.

Minimum rates are not deadlines: they depend on what has moved meanwhile. The phases that have one are walked whole,
once a second; these are the peers that are being waited for, not the idle ones.
"""

import sys

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF

from greenhttp.process.clock cimport clock


cdef Timed owner(Node* node):
    """The thing that a node is part of. A pointer to it in each node would be 16 bytes of every idle connection."""
    return <Timed><PyObject*>(<char*>node - node_at)


cdef enum:
    AT_ONCE = 128           # told per turn of the loop: ten thousand that expire together must not hold up the rest


cdef class Phase:
    """What a thing is waiting for, and for how long at most.

    Arguments:
        name: for logs and statistics.
        duration: seconds; 0 means without limit.
        rate: bytes a second; above 0, things in this phase are asked once a second whether they are too slow.
        grace: seconds of waiting before the rate is judged.
        setting: what the names of the settings behind these begin with, `body` of `body_timeout`.
    """

    def __cinit__(self, str name, double duration=0.0, double rate=0.0, double grace=10.0, str setting=""):
        self.name = name
        self.duration = duration
        self.rate = rate
        self.grace = grace
        self.setting = setting
        self.ring.prev = self.ring.next = &self.ring

    cdef void append(self, Timed timed) noexcept:
        cdef Node* node = &timed.node
        node.expiry = clock() + self.duration if self.duration > 0 else 0
        node.next = &self.ring
        node.prev = self.ring.prev
        self.ring.prev.next = node
        self.ring.prev = node
        self.count += 1
        Py_INCREF(timed)        # a phase owns what waits in it: an idle connection has no other owner

    cdef void remove(self, Timed timed) noexcept:
        cdef Node* node = &timed.node
        node.prev.next = node.next
        node.next.prev = node.prev
        node.prev = node.next = NULL
        self.count -= 1
        Py_DECREF(timed)

    cdef Timed first(self):
        """The one that has waited longest, or None."""
        if self.ring.next == &self.ring:
            return None
        return owner(self.ring.next)

    cdef str broken(self, bint slowly):
        """Which limit a peer has not kept, behind `sent` or `read`."""
        if slowly:
            return f"less than {self.rate:.0f} bytes a second ({self.setting}_min_rate)"
        return f"nothing for {self.duration:g} s ({self.setting}_timeout)"

    cdef int sweep(self, double now, bint rates, int most) except -1:
        """Tell what has run out of time, `most` at a time; with `rates`, also what is too slow. The number told."""
        cdef int told = 0
        cdef Timed timed
        cdef Node* node
        cdef list slow
        if self.duration > 0:
            while told < most and self.ring.next != &self.ring and self.ring.next.expiry <= now:
                told += 1
                timed = owner(self.ring.next)
                timed.leave()
                timed.expired(self, now)
        if rates and self.rate > 0 and self.count:
            slow = []                    # told after the walk: telling changes the ring
            node = self.ring.next
            while node != &self.ring:
                timed = owner(node)
                if timed.is_slow(now):
                    slow.append(timed)
                node = node.next
            for timed in slow:
                if timed.phase is self:  # an earlier one may have ended it
                    timed.leave()
                    timed.expired(self, now)
        return told

    def __len__(self):
        return self.count

    cdef list abandon(self):
        """In a forked process: all that waited here. They wait in no phase any more, and are never freed, since what
        would run then is the parent's business."""
        cdef list result = self.members()
        cdef Timed timed
        for timed in result:            # the reference that this phase has had to each stays
            timed.phase = None
            timed.node.prev = timed.node.next = NULL
        self.ring.prev = self.ring.next = &self.ring
        self.count = 0
        return result

    def members(self):
        """All that wait here, longest first: a new list."""
        cdef list result = []
        cdef Node* node = self.ring.next
        while node != &self.ring:
            result.append(owner(node))
            node = node.next
        return result


cdef class Timed:
    """Something that is in one phase at a time."""

    cdef void enter(self, Phase phase) noexcept:
        """Move to the end of `phase`, from wherever it was."""
        Py_INCREF(self)
        self.leave()
        self.phase = phase
        phase.append(self)
        Py_DECREF(self)

    cdef void leave(self) noexcept:
        if self.phase is not None:
            self.phase.remove(self)
            self.phase = None

    cdef double age(self) noexcept:
        """Seconds in its phase; negative where nobody knows: one without a limit notes no time."""
        if self.phase is None or self.phase.duration <= 0:
            return -1
        return max(0, self.phase.duration - (self.node.expiry - clock()))

    cdef int expired(self, Phase phase, double now) except -1:
        """Called by the sweep, in the hub, after leaving `phase`: its duration is over or the peer is too slow."""
        return 0

    cdef bint is_slow(self, double now) noexcept:
        return False


cdef class PythonTimed(Timed):
    """A Timed that Python code can subclass, for what is not worth compiling."""

    def move_to(self, Phase phase not None):
        """Wait in `phase` from now on, and nowhere else."""
        self.enter(phase)

    def move_out(self):
        """Wait in no phase."""
        self.leave()

    def overdue(self, Phase phase, double now):
        """The duration of `phase` is over, or this was too slow for it; it has left the phase. In the hub."""

    def too_slow(self, double now):
        """Whether less has moved than the rate of its phase asks for. Asked in the hub, about once a second."""
        return False

    cdef int expired(self, Phase phase, double now) except -1:
        self.overdue(phase, now)
        return 0

    cdef bint is_slow(self, double now) noexcept:
        return self.too_slow(now)


cdef class Sweep:
    """The one timer behind a set of phases.

    Arguments:
        loop: gevent's loop.
        phases: the phases to look at.
        each: called after every sweep, for work that is due about once a second.

    An error in what is called goes to sys.excepthook, what ends programs (Ctrl-C that happens to arrive there) to the
    hub, and no further: gevent stops a libuv watcher that raised, and without this timer no deadline would ever come
    again.

    The period is a tenth of the shortest duration, between 10 ms and 1 s: a deadline is late by that much at most.
    """

    def __init__(self, loop, phases, each=None):
        cdef Phase phase
        self.loop = loop
        self.phases = tuple(phases)
        shortest = min([phase.duration for phase in self.phases if phase.duration > 0], default=10.0)
        self.period = min(1.0, max(0.01, shortest / 10))
        self.each = each
        self.timer = loop.timer(self.period, self.period, ref=False)
        self.soon = loop.timer(0, ref=False)

    def start(self):
        self.timer.start(self.sweep, update=True)

    def sweep(self):
        """Look once at every phase."""
        cdef double now = clock()
        cdef Phase phase
        cdef bint rates = now >= self.rates_next
        cdef int most = AT_ONCE
        if rates:
            self.rates_next = now + min(1.0, self.period * 10)
        for phase in self.phases:
            try:
                most -= phase.sweep(now, rates, most)
            except BaseException:
                self.complain()
        if most <= 0:
            self.soon.start(self.sweep)     # the rest after the loop has looked at everybody else
        elif self.each is not None:
            try:
                self.each()
            except BaseException:
                self.complain()

    cdef int complain(self) except -1:
        kind, error, traceback = sys.exc_info()
        try:
            if isinstance(error, Exception):
                sys.excepthook(kind, error, traceback)
                return 0
        except BaseException:           # of the hook, or of a signal's handler meanwhile
            kind, error, traceback = sys.exc_info()
        self.loop.handle_error(self, kind, error, traceback)
        return 0

    def stop(self):
        for timer in (self.timer, self.soon):
            timer.stop()
            timer.close()
        self.each = None


cdef Timed _any = Timed.__new__(Timed)
cdef Py_ssize_t node_at = <char*>&_any.node - <char*><PyObject*>_any     # where in a Timed its node is
