"""A stream's input: what has come and was not read.

An idle stream has no buffer at all. Input is received into chunks borrowed from a common stock; when a stream is put
aside with a few unread bytes they are packed into memory of their size.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcpy, memmove

from greenhttp.green.chunks cimport CHUNK, borrow, count_held, hand_back
from greenhttp.green.waiting cimport Waiting

from greenhttp.errors import LineTooLong, StreamClosed


cdef extern from "string.h":
    void* memmem(const void* haystack, size_t haystack_size, const void* needle, size_t needle_size)

cdef enum:
    SMALL = 4096                # what is packed into as much as a chunk gets more, so that it is none
    MOST_INPUT = 1073741824     # bytes buffered at most: positions are 32 bits


cdef class Reader(Waiting):
    """A stream, as far as it is read. Base of `stream.Stream`."""

    cdef Py_ssize_t take(self, char* into, size_t size) except -2:
        """Bytes that are there now, at most `size`; 0 at the end of input; -1 when nothing is there."""
        raise NotImplementedError

    cdef Py_ssize_t discard(self, size_t size) except -2:
        """As `take`, but nobody wants the bytes."""
        cdef char* chunk = borrow()
        if chunk == NULL:
            raise MemoryError
        try:
            return self.take(chunk, min(size, <size_t>CHUNK))
        finally:
            hand_back(chunk)

    cdef int ending(self) except -1:
        """Whoever reads for a program is about to be told that the input has ended. Raises StreamTruncated where that
        may be the work of somebody between the two."""
        return 0

    cdef void drop_input(self) noexcept:
        if self.inbuf != NULL:
            if self.in_cap == CHUNK:
                hand_back(self.inbuf)
            else:
                count_held(-<ssize_t>self.in_cap)
                free(self.inbuf)
            self.inbuf = NULL
        self.in_cap = self.in_pos = self.in_end = 0

    cdef int resize_input(self, uint32_t capacity) except -1:
        """Move what is unread into memory of another size. CHUNK itself always means a borrowed chunk."""
        cdef uint32_t unread = self.in_end - self.in_pos
        cdef char* memory = borrow() if capacity == CHUNK else <char*>malloc(capacity)
        if memory == NULL:
            raise MemoryError
        if unread:
            memcpy(memory, self.inbuf + self.in_pos, unread)
        self.drop_input()
        if capacity != CHUNK:
            count_held(capacity)
        self.inbuf = memory
        self.in_cap = capacity
        self.in_end = unread
        return 0

    cdef int make_room(self) except -1:
        if self.inbuf == NULL:
            self.inbuf = borrow()
            if self.inbuf == NULL:
                raise MemoryError
            self.in_cap = CHUNK
            self.in_pos = self.in_end = 0
        elif self.in_end == self.in_cap:
            if self.in_pos >= self.in_cap >> 1:
                memmove(self.inbuf, self.inbuf + self.in_pos, self.in_end - self.in_pos)
                self.in_end -= self.in_pos
                self.in_pos = 0
            else:
                if self.in_cap >= MOST_INPUT:
                    raise MemoryError
                self.resize_input(self.in_cap * 2)
        return 0

    cdef Py_ssize_t fill_now(self) except -2:
        """Receive once: the number of new bytes; 0 at the end of input; -1 when nothing is there."""
        return self.fill_some(MOST_INPUT)

    cdef Py_ssize_t fill_some(self, Py_ssize_t most) except -2:
        """As `fill_now`, at most so many bytes."""
        cdef Py_ssize_t n
        if self.at_end:
            return 0
        self.make_room()
        n = self.take(self.inbuf + self.in_end, min(<Py_ssize_t>(self.in_cap - self.in_end), most))
        if n > 0:
            self.in_end += <uint32_t>n
            self.taken += n
        else:
            if n == 0:
                self.at_end = True
            if self.in_end == self.in_pos:
                self.drop_input()
        return n

    cdef Py_ssize_t fill(self) except -1:
        """Receive, waiting if need be: the number of new bytes; 0 at the end of input."""
        cdef Py_ssize_t n
        while True:
            if self.closed:
                raise StreamClosed("the stream is closed")
            n = self.fill_now()
            if n >= 0:
                self.share(n)
                if self.closed:
                    raise StreamClosed("the stream was closed by another green thread")
                return n
            self.wait_read()

    cdef void pack(self) noexcept:
        """This stream is put aside: keep its unread bytes in no more memory than they need."""
        cdef uint32_t unread = self.in_end - self.in_pos
        cdef uint32_t capacity = 128
        if self.inbuf == NULL:
            return
        if unread == 0:
            self.drop_input()
        elif self.in_cap == CHUNK:
            while capacity < unread + (unread >> 2):
                capacity <<= 1
            if capacity == CHUNK:
                capacity = CHUNK + SMALL        # of its own, and so counted in `held`
            try:
                self.resize_input(capacity)
            except MemoryError:
                pass                    # it stays where it is

    cdef void consume(self, Py_ssize_t size) noexcept:
        if size >= <Py_ssize_t>(self.in_end - self.in_pos):     # more, if it was closed meanwhile
            self.drop_input()
        else:
            self.in_pos += <uint32_t>size

    cdef Py_ssize_t drop(self, Py_ssize_t most) except -2:
        """Forget what was received or, if nothing was, at most so many bytes of what is there; the number, or 0 at the
        end of input, or -1 when nothing is there."""
        cdef Py_ssize_t n = self.in_end - self.in_pos
        if n > 0:
            self.drop_input()
        elif self.at_end:
            n = 0
        else:
            n = self.discard(most)
            if n == 0:
                self.at_end = True
        return n

    cdef int unpin(self, Py_ssize_t size) except -1:
        """The bytes that were looked at are done with, `size` of them for good."""
        self.pinned = False
        self.consume(size if not self.closed else self.in_end - self.in_pos)
        return 0

    cdef bytes cut(self, Py_ssize_t size):
        """The next `size` buffered bytes, removed from the buffer."""
        cdef bytes data = PyBytes_FromStringAndSize(self.inbuf + self.in_pos, size)
        self.consume(size)
        return data

    cdef Py_ssize_t read_now(self, char* into, Py_ssize_t size) except -2:
        """What is there, at most `size`, into memory of the caller; 0 at the end of input; -1 when nothing is there."""
        cdef Py_ssize_t n
        if self.in_end == self.in_pos:
            if self.closed:
                raise StreamClosed("the stream is closed")
            if size >= CHUNK and not self.at_end:       # straight to where it is wanted
                n = self.take(into, size)
                if n > 0:
                    self.taken += n
                elif n == 0:
                    self.at_end = True
                return n
            n = self.fill_now()
            if n <= 0:
                return n
        n = min(<Py_ssize_t>(self.in_end - self.in_pos), size)
        memcpy(into, self.inbuf + self.in_pos, n)
        self.consume(n)
        return n

    cdef Py_ssize_t read_into(self, char* into, Py_ssize_t size) except -1:
        """At least one byte, at most `size`, into memory of the caller; 0 at the end of input. May wait."""
        cdef Py_ssize_t n
        cdef uint32_t mine = self.tenure
        while True:
            n = self.read_now(into, size)
            if n >= 0:
                try:
                    self.share(n)
                except BaseException:
                    if n and not self.closed and self.tenure == mine:
                        self.unread(into, n)    # whoever interrupts the others' turn must not cost a byte
                    raise
                return n
            self.wait_read()

    cdef bytes gather(self, Py_ssize_t size):
        """`size` bytes, fewer at the end of input. Memory grows with what arrives, not with what was asked for."""
        cdef Py_ssize_t got = 0, capacity = min(size, <Py_ssize_t>65536), n
        cdef bytes data = PyBytes_FromStringAndSize(NULL, capacity)
        cdef bytes larger
        cdef uint32_t mine = self.tenure
        try:
            while got < size:
                if got == capacity:
                    capacity = min(size, capacity * 2)
                    larger = PyBytes_FromStringAndSize(NULL, capacity)
                    memcpy(PyBytes_AS_STRING(larger), PyBytes_AS_STRING(data), got)
                    data = larger
                n = self.read_into(PyBytes_AS_STRING(data) + got, capacity - got)
                if n == 0:
                    break
                got += n
        except BaseException:
            if got and not self.closed and self.tenure == mine:
                self.unread(PyBytes_AS_STRING(data), got)
            raise
        return data if got == capacity else PyBytes_FromStringAndSize(PyBytes_AS_STRING(data), got)

    cdef int unread(self, const char* data, Py_ssize_t size) except -1:
        """Put bytes back before the buffer, so that a timed-out read has lost nothing."""
        cdef uint32_t unread = self.in_end - self.in_pos
        cdef bytes rest = PyBytes_FromStringAndSize(self.inbuf + self.in_pos, unread) if unread else b""
        cdef uint32_t capacity = 2 * CHUNK
        if size + unread > <Py_ssize_t>MOST_INPUT:
            raise MemoryError("more than 1 GiB was read and cannot be put back")
        self.drop_input()
        while capacity < size + unread:
            capacity <<= 1
        self.resize_input(capacity)
        memcpy(self.inbuf, data, size)
        memcpy(self.inbuf + size, PyBytes_AS_STRING(rest), unread)
        self.in_end = <uint32_t>(size + unread)
        return 0

    cdef int ended_early(self, bytes data) except -1:
        """`data` is all that has come, and less than was asked for: as `ending`, and then nothing is lost."""
        try:
            return self.ending()
        except BaseException:
            if data and not self.closed:
                self.unread(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
            raise

    def read(self, Py_ssize_t size=-1, *, timeout=None):
        """`size` bytes, or all up to the end of input if `size` is negative. Fewer only at the end of input.

        Raises StreamTimeout, StreamClosed, or a ConnectionError from the system; over TLS StreamTruncated, as all that
        read to the end of input do: what had come before can still be read, by `read_some`.
        """
        cdef bytes data
        self.begin_read(timeout)
        if size < 0:
            size = <Py_ssize_t>(<size_t>-1 >> 1)
        data = self.gather(size)
        if PyBytes_GET_SIZE(data) < size:
            self.ended_early(data)
        return data

    def read_some(self, Py_ssize_t size=65536, *, timeout=None):
        """What is there, at least one byte and at most `size`, waiting only if nothing is. b"" at the end of input."""
        self.begin_read(timeout)
        if size <= 0:
            return b""
        while self.in_end == self.in_pos:       # again, if another green thread took in the meantime what had come
            if self.fill() == 0:
                self.ending()
                return b""
        return self.cut(min(size, <Py_ssize_t>(self.in_end - self.in_pos)))

    def readexactly(self, Py_ssize_t size, *, timeout=None):
        """Exactly `size` bytes. Raises EOFError if the input ends before; what had arrived can still be read."""
        cdef bytes data
        if size < 0:
            raise ValueError(f"{size} bytes cannot be read; give 0 or more")
        self.begin_read(timeout)
        data = self.gather(size)
        if PyBytes_GET_SIZE(data) < size:
            self.ended_early(data)
            if data:
                self.unread(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
            raise EOFError(f"the input ended after {len(data)} of {size} bytes")
        return data

    def readuntil(self, bytes separator not None=b"\n", Py_ssize_t limit=65536, *, timeout=None):
        """Bytes up to and including `separator`; at the end of input what is left, possibly b"".

        Raises LineTooLong when `limit` bytes hold no separator; they stay unread.
        """
        cdef Py_ssize_t n = PyBytes_GET_SIZE(separator), searched = 0, unread
        cdef char* start
        cdef char* found
        if n == 0:
            raise ValueError("the separator is empty")
        self.begin_read(timeout)
        while True:
            unread = self.in_end - self.in_pos
            if unread - searched >= n:
                start = self.inbuf + self.in_pos
                if n == 1:
                    found = <char*>memchr(start + searched, PyBytes_AS_STRING(separator)[0], unread - searched)
                else:
                    found = <char*>memmem(start + searched, unread - searched, PyBytes_AS_STRING(separator), n)
                if found != NULL and found - start + n <= limit:
                    return self.cut(found - start + n)
                searched = unread - n + 1
            if unread >= limit:
                raise LineTooLong(f"no {separator!r} within {limit} bytes")
            if self.fill() == 0:
                self.ending()
                return self.cut(self.in_end - self.in_pos) if self.in_end > self.in_pos else b""

    def readline(self, Py_ssize_t limit=65536, *, timeout=None):
        """One line with its line feed; the last one may lack it; b"" at the end of input. Raises LineTooLong."""
        return self.readuntil(b"\n", limit, timeout=timeout)

    def __iter__(self):
        return self

    def __next__(self):
        cdef bytes line = self.readuntil(b"\n")
        if not line:
            raise StopIteration
        return line

    @property
    def buffered(self):
        """Bytes that have arrived and were not read."""
        return self.in_end - self.in_pos
