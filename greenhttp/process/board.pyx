"""What one process does at this moment, in memory that another can read: also while code in C holds the interpreter.

The supervisor makes a `Board` before it forks a worker. The worker writes: the beat of its loop, counts, and in a table
what each green thread is at, as a text and a time. The supervisor reads, whatever state the worker is in, and after its
death. No lock: each number is written by one process in one store, and a torn text costs a funny line in a log.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy

from greenhttp.process.clock cimport clock

import mmap
import os
import tempfile


cdef enum:
    HEAD = 128          # bytes
    PLACES = 256        # workers that can be compared

cdef uint32_t AWAY = 0xFFFFFFFF     # instead of a count: it does not accept


cdef class Board:
    """Arguments:
        entries: green threads that can be listed.
        fd: memory made by another Board, which is of that size; -1: new memory.
    """

    def __cinit__(self, int entries, int fd=-1):
        size = HEAD + sizeof(BoardEntry) * entries
        self.fd = make_memory(size) if fd < 0 else fd
        try:
            self.memory = mmap.mmap(self.fd, size)      # which takes one more descriptor
        except BaseException:
            if fd < 0:
                os.close(self.fd)
            raise
        PyObject_GetBuffer(self.memory, &self.view, PyBUF_SIMPLE | PyBUF_WRITABLE)
        self.head = <BoardHead*>self.view.buf
        self.table = <BoardEntry*>(<char*>self.view.buf + HEAD)
        self.entries = entries

    def __dealloc__(self):
        PyMem_RawFree(self.free)
        if self.view.buf != NULL:
            PyBuffer_Release(&self.view)

    def close(self):
        """Give the descriptor back; the memory goes with the last who refers to it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    # ---- the process it is about

    def own(self):
        """Called once by the process that this board is about, before it writes."""
        cdef uint32_t place
        self.free = <uint32_t*>PyMem_RawMalloc(self.entries * sizeof(uint32_t))
        if self.free == NULL:
            raise MemoryError()
        for place in range(self.entries):
            self.free[place] = self.entries - 1 - place     # the first is taken first: few pages are ever touched
        self.free_count = self.entries

    cdef int note(self, const char* text, size_t length) noexcept:
        """Somebody begins with this. The place to `strike`, or -1 if the table is full."""
        cdef uint32_t place
        cdef BoardEntry* entry
        if self.free_count == 0:
            return -1
        self.free_count -= 1
        place = self.free[self.free_count]
        entry = &self.table[place]
        if length > TEXT:
            length = TEXT
        memcpy(entry.text, text, length)
        entry.since = clock()
        entry.length = <uint32_t>length
        return <int>place

    cdef void strike(self, int place) noexcept:
        if place >= 0:
            self.table[place].length = 0
            self.free[self.free_count] = <uint32_t>place
            self.free_count += 1

    def beat(self, Py_ssize_t connections, Py_ssize_t running, unsigned long long requests):
        """The loop turns."""
        self.head.connections = <uint32_t>connections
        self.head.running = <uint32_t>running
        self.head.requests = requests
        self.head.spoken = 0        # it turns again: what it hangs at next time is something else
        self.head.beat = clock()

    def speak(self):
        """It has said by itself what it hangs at."""
        self.head.spoken = 1

    # ---- whoever looks at it

    @property
    def last_beat(self):
        """When its loop turned last, on the clock of `now`; 0.0: it has not begun."""
        return self.head.beat

    @property
    def spoken(self):
        return self.head.spoken != 0

    def counts(self):
        """Open connections, running requests, requests ever."""
        return self.head.connections, self.head.running, self.head.requests

    def entry(self, int place):
        """Seconds and text of one place; 0.0 and "" for -1, or where nobody is at anything."""
        return read(self, place, clock())

    def listed(self):
        """What it is at: pairs of seconds and text, the oldest first."""
        cdef uint32_t place
        cdef double when = clock()      # one for all, or who is read later would be older
        return sorted(
            [read(self, <int>place, when) for place in range(self.entries) if self.table[place].length], reverse=True
        )


cdef tuple read(Board board, int place, double when):
    cdef BoardEntry* entry
    cdef uint32_t length = 0
    if place >= 0 and <uint32_t>place < board.entries:
        entry = &board.table[place]
        length = min(entry.length, <uint32_t>TEXT)
    if length == 0:
        return 0.0, ""
    return max(0.0, when - entry.since), entry.text[:length].decode("ascii", "replace")


def now():
    """The clock of beats: monotonic seconds, the same in all processes of a machine."""
    return clock()


cdef class Loads:
    """How many connections each worker has, for all of them to see: who has more than others lets those accept.

    Memory of the workers that one program has forked, and of that program; nobody else can find it.
    """

    def __cinit__(self):
        self.memory = mmap.mmap(-1, PLACES * sizeof(uint32_t))     # shared with the children that are forked
        PyObject_GetBuffer(self.memory, &self.view, PyBUF_SIMPLE | PyBUF_WRITABLE)
        self.counts = <uint32_t*>self.view.buf
        self.mine = -1

    def __dealloc__(self):
        if self.view.buf != NULL:
            PyBuffer_Release(&self.view)

    def take(self):
        """A place for one more worker, or -1: there are too many to look at. Called by who forks them."""
        for place in range(PLACES):
            if self.counts[place] == 0:
                self.counts[place] = 1
                return place
        return -1

    def give_back(self, int place):
        """Nobody is there any more, or it does not accept any more."""
        if place >= PLACES:
            raise IndexError(place)
        if place >= 0:
            self.counts[place] = 0

    def silence(self, int place):
        """Who is there does not turn its loop: nobody should wait for it, until it publishes again."""
        if place >= PLACES:
            raise IndexError(place)
        if place >= 0 and self.counts[place]:
            self.counts[place] = AWAY

    def own(self, int place):
        """Called by a worker: this is its place; -1: none."""
        if place >= PLACES:
            raise IndexError(place)
        self.mine = place

    def values(self):
        """Connections of each worker, in the order of their places."""
        return [self.counts[place] - 1 for place in range(PLACES) if self.counts[place] not in (0, AWAY)]

    def publish(self, int64_t connections):
        """So many connections has this worker."""
        self.set(connections)

    def leave(self):
        """This worker accepts no more: nobody should wait for it."""
        if self.mine >= 0:
            self.counts[self.mine] = AWAY
            self.mine = -1

    cdef void set(self, int64_t connections) noexcept:
        if self.mine >= 0:
            self.counts[self.mine] = <uint32_t>connections + 1

    cdef Standing standing(self, int64_t connections) noexcept:
        """Whether there are others that accept, and whether one of them has clearly fewer connections than this one."""
        cdef int place
        cdef uint32_t count
        cdef int64_t fewest = AWAY
        if self.mine < 0:
            return ALONE
        for place in range(PLACES):
            count = self.counts[place]
            if count and place != self.mine and count - 1 < fewest:
                fewest = count - 1
        if fewest >= AWAY - 1:
            return ALONE
        return MORE if connections > fewest + (fewest >> 5) else EVEN       # a thirtieth is no difference


cdef int make_memory(size_t size) except -1:
    """A descriptor of memory without a name; children inherit the mapping, not the descriptor."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("greenhttp-board", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    try:
        os.ftruncate(fd, size)
    except BaseException:
        os.close(fd)
        raise
    return fd
