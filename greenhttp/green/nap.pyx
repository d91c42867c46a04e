"""`time.sleep` for green threads: one heap of deadlines and one timer of the loop, however many sleep.

gevent makes a timer, a waiter and a bound method for each sleep, and goes through all of them twice. Here a sleep is 16
bytes in a heap and 16 in a table, and waking is a switch: `greenhttp.patch` puts `sleep` into the place of gevent's.
Measured by `python -m perf micro green_nap` and by `wait-2000` of `python -m perf peers`.
"""

import sys

from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.math cimport INFINITY, isnan
from libc.stdint cimport uint32_t

from greenhttp.green.switch cimport PyGreenlet_Import, current_greenlet, greenlet, outcome, switch_quietly, switch_to
from greenhttp.process.clock cimport fine_clock

import gevent
from gevent import get_hub
from gevent.exceptions import BlockingSwitchOutError, InvalidSwitchError


PyGreenlet_Import()

cdef enum:
    AT_ONCE = 128           # woken per turn of the loop: ten thousand that are due together must not hold up the rest
    FEW = 64                # as many who left early may stay in the heap

cdef double LONGEST = 86400.0       # seconds one timer runs at most; who sleeps longer is looked at again then
cdef double FOREVER = 1e9           # thirty years


cdef struct Entry:
    double due
    uint32_t slot


cdef struct Slot:
    PyObject* sleeper       # owned; NULL: woken by something else, or free
    uint32_t following      # the next free one


cdef class Naps:
    """All that sleep in one hub."""
    cdef object hub
    cdef object timer
    cdef double armed       # when the timer comes; INFINITY: it does not run; -INFINITY: it is being answered
    cdef Entry* heap        # the first to wake at the top
    cdef Slot* slots
    cdef readonly uint32_t count    # in `heap`, and so many slots are in use
    cdef readonly uint32_t room     # of both
    cdef readonly uint32_t gone     # entries whose sleeper has left early
    cdef uint32_t free      # first free slot; those never used follow by number
    cdef uint32_t woken     # slot + 1 of the sleeper that is being switched to; 0: whoever switches, it is not this

    def __cinit__(self, hub):
        self.hub = hub
        self.armed = INFINITY

    def __dealloc__(self):
        PyMem_RawFree(self.heap)
        PyMem_RawFree(self.slots)

    cdef int sleep(self, double seconds) except -1:
        cdef greenlet sleeper = current_greenlet()
        cdef uint32_t slot
        cdef double due
        cdef PyObject* result
        cdef bint on_time
        if <object>sleeper is self.hub:
            raise BlockingSwitchOutError("time.sleep() was called in a callback of the loop; call it in a green thread")
        due = fine_clock() + min(seconds, FOREVER)
        while due < self.armed:
            self.arm(due)               # may run foreign code, which may sleep: so the table is looked at behind it
        # From here to the switch nothing runs that could wait.
        if self.count == self.room:
            self.grow()
        slot = self.free
        self.free = self.slots[slot].following
        self.slots[slot].sleeper = <PyObject*>sleeper
        Py_INCREF(sleeper)
        self.push(due, slot)
        sleeper = None                  # the table has it: who wakes this must be the only other holder
        result = switch_quietly(<PyObject*>self.hub)
        on_time = self.woken == slot + 1
        if on_time:
            self.woken = 0
        if result == NULL or not on_time:
            if not on_time:
                self.leave(slot)        # before anything else: its entry would wake whatever this waits in next
            try:
                outcome(result)
            finally:
                if self.gone == self.count and self.armed > 0:
                    self.disarm()       # a loop that only sleepers kept running ends
            raise InvalidSwitchError("a sleeping green thread was resumed by something else than its timer")
        outcome(result)
        return 0

    cdef void leave(self, uint32_t slot) noexcept:
        """Its sleeper is awake before its time. Its entry stays, as long as such entries are few."""
        self.forget(slot)
        self.gone += 1
        if self.gone > FEW and self.gone > self.count >> 1:
            self.sift_out()

    cdef void forget(self, uint32_t slot) noexcept:
        cdef PyObject* sleeper = self.slots[slot].sleeper
        self.slots[slot].sleeper = NULL
        Py_DECREF(<object>sleeper)

    def _wake(self):
        """Called by the timer, in the hub."""
        cdef double now = fine_clock()
        cdef int left = AT_ONCE
        self.armed = -INFINITY          # whoever sleeps again meanwhile is looked at below
        try:
            while left and self.count and self.heap[0].due <= now:
                left -= self.wake_first()
        finally:                        # Ctrl-C may come anywhere; without a timer nobody would wake any more
            self.disarm()
            while self.count > self.gone and self.heap[0].due < self.armed:
                self.arm(self.heap[0].due)

    cdef int wake_first(self) except -1:
        cdef uint32_t slot = self.pop()
        cdef greenlet sleeper
        if self.slots[slot].sleeper == NULL:
            self.gone -= 1
            self.release(slot)
            return 0
        sleeper = <greenlet>self.slots[slot].sleeper
        self.forget(slot)
        self.release(slot)
        self.woken = slot + 1
        try:
            switch_to(<PyObject*>sleeper)
        except BaseException:
            # As with gevent: a green thread that has the hub for its parent ended with this.
            self.hub.handle_error(sleeper, *sys.exc_info())
        self.woken = 0
        return 1

    def advance(self, double seconds):
        """Have everybody wake so much earlier: for tests that do not want to wait."""
        cdef uint32_t place
        for place in range(self.count):
            self.heap[place].due -= seconds
        if self.count:
            self.disarm()
            self.arm(self.heap[0].due)

    cdef int abandon(self) except -1:
        """In a forked process: nobody of these wakes, nor is freed."""
        self.count = self.gone = self.woken = 0
        return self.disarm()

    # ---- the timer

    cdef int arm(self, double due) except -1:
        """Come at `due`, unless it has become sooner meanwhile: foreign code may run in here, and sleep."""
        cdef double seconds = due - fine_clock()
        cdef object timer, former
        if seconds > 0:     # not finer than the loop's clock: libuv counts milliseconds and warns about less
            seconds = min(max(seconds, <double>self.hub.loop.approx_timer_resolution), LONGEST)
        # 0: after the next poll. On libev of low priority, but before the pool: when all ready descriptors have been
        # told, a green thread that is woken and done goes on with the next ready request, for two switches less.
        timer = self.hub.loop.timer(max(seconds, 0.0), priority=-1)
        timer.start(self._wake, update=True)
        former = timer
        if due < self.armed and timer.active:       # or it has come already
            former, self.timer = self.timer, timer
            self.armed = due
        if former is not None:
            former.stop()
            former.close()
        return 0

    cdef int disarm(self) except -1:
        cdef object former
        former, self.timer = self.timer, None
        self.armed = INFINITY
        if former is not None:
            former.stop()
            former.close()
        return 0

    # ---- the heap, and the table of who sleeps

    cdef int grow(self) except -1:
        cdef uint32_t room = max(self.room * 2, <uint32_t>32), slot
        cdef void* heap = PyMem_RawRealloc(self.heap, room * sizeof(Entry))
        cdef void* slots
        if heap == NULL:
            raise MemoryError()
        self.heap = <Entry*>heap
        slots = PyMem_RawRealloc(self.slots, room * sizeof(Slot))
        if slots == NULL:
            raise MemoryError()
        self.slots = <Slot*>slots
        for slot in range(self.room, room):
            self.slots[slot].sleeper = NULL
            self.slots[slot].following = slot + 1
        self.room = room
        return 0

    cdef void release(self, uint32_t slot) noexcept:
        self.slots[slot].following = self.free
        self.free = slot

    cdef void push(self, double due, uint32_t slot) noexcept:
        cdef uint32_t place = self.count, above
        self.count += 1
        while place:
            above = (place - 1) >> 1
            if self.heap[above].due <= due:
                break
            self.heap[place] = self.heap[above]
            place = above
        self.heap[place] = Entry(due, slot)

    cdef uint32_t pop(self) noexcept:
        """Take the top out; its slot, still in use."""
        cdef uint32_t slot = self.heap[0].slot
        self.count -= 1
        self.sink(0, self.heap[self.count])
        return slot

    cdef void sink(self, uint32_t place, Entry entry) noexcept:
        """Put `entry` into the empty `place`, or below it."""
        cdef uint32_t below
        while (below := 2 * place + 1) < self.count:
            if below + 1 < self.count and self.heap[below + 1].due < self.heap[below].due:
                below += 1
            if entry.due <= self.heap[below].due:
                break
            self.heap[place] = self.heap[below]
            place = below
        self.heap[place] = entry

    cdef void sift_out(self) noexcept:
        """Take out the entries of those who have left early."""
        cdef uint32_t kept = 0, place
        for place in range(self.count):
            if self.slots[self.heap[place].slot].sleeper == NULL:
                self.release(self.heap[place].slot)
            else:
                self.heap[kept] = self.heap[place]
                kept += 1
        self.count = kept
        self.gone = 0
        place = kept >> 1
        while place:
            place -= 1
            self.sink(place, self.heap[place])


def sleep(secs, /):
    """Let this green thread wait, and all others run. What `time.sleep` is after `import greenhttp.patch`.

    Arguments:
        secs: seconds, at least so many. 0 or less lets others run and does not wait, as gevent.sleep does.

    Raises ValueError for NaN; whatever is thrown into the green thread meanwhile, such as gevent.Timeout.
    """
    cdef double seconds = secs
    cdef Naps naps
    if not seconds > 0:
        if isnan(seconds):
            raise ValueError("Invalid value NaN (not a number)")
        gevent.sleep(0)
        return
    hub = get_hub()
    try:
        naps = hub.greenhttp_naps
    except AttributeError:
        naps = hub.greenhttp_naps = Naps(hub)
    naps.sleep(seconds)


def abandon(hub):
    """In a forked process: whoever sleeps in this hub is the parent's, and does not wake."""
    cdef Naps naps = hub.__dict__.pop("greenhttp_naps", None)
    if naps is not None:
        naps.abandon()
