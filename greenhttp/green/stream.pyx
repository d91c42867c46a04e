"""Stream: bytes to and from a peer, read and written as if that blocked.

    chunks      the memory of streams
    waiting     where the running green thread waits, and for how long
    reading     what has come and was not read
    stream      what was written and has not left; and how it ends

Output gathers in a borrowed chunk, so that a response - or sixteen pipelined ones - leaves in one system call; large
pieces are not copied but chained before it. It is pushed out before a read suspends, when it grows beyond 64 KiB, and
otherwise at the end of the loop's turn.

What lies below is reached through a seam of few methods (`take`, `discard`, `give`, `watch_*`); `transport` has a
descriptor and memory behind it.

Input and waiting are base classes, not parts: a part would be an object more for each connection. Each level costs a
new connection some 80 instructions, so output and the end share one.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memmove

from greenhttp.green.chunks cimport CHUNK, borrow, hand_back
from greenhttp.green.reading cimport Reader
from greenhttp.green.waiting cimport SHARE_BYTES, Wait
from greenhttp.process.clock cimport clock

import fcntl
import os
import stat

from gevent import get_hub

from greenhttp.errors import StreamClosed
from greenhttp.green import waiting


cdef extern from "unistd.h":
    ssize_t pread(int fd, void* into, size_t size, int64_t offset)
    int c_close "close"(int fd)

cdef extern from "Python.h":
    PyTypeObject* Py_TYPE(PyObject* o)

cdef enum:
    SMALL = 4096                # output up to this size is copied, larger pieces are chained
    HIGH_WATER = 65536          # unsent output beyond which `write` waits
    PARTS = 64                  # pieces per vectored send
    FLUSH_BYTES = 1048576       # sent per call at most by a flush that nobody waits for
    SKIPPED = 1048576           # unread bytes dropped at most before a close that cannot linger


cdef int need_open(Stream stream) except -1:
    """Raise StreamClosed if nothing can be written any more."""
    if stream.closed:
        raise StreamClosed("the stream is closed")
    if stream.lost:
        raise StreamClosed(waiting.LOST)
    if stream.sealed:
        raise StreamClosed(waiting.OVER)
    return 0


cdef bytes bytes_of(object data):
    """What is written, as bytes. Raises TypeError."""
    if isinstance(data, str):
        raise TypeError("a stream takes bytes, not str; give text.encode()")
    return bytes(memoryview(data))


cdef inline PyObject** items(Chain* chain) noexcept:
    """The first of its items that has not left."""
    return <PyObject**>(chain + 1) + chain.first


cdef inline bint is_file(PyObject* item) noexcept:
    return Py_TYPE(item) == <PyTypeObject*>FilePart


cdef void free_chain(Chain* chain) noexcept:
    cdef uint32_t i
    for i in range(chain.count):
        Py_DECREF(<object>items(chain)[i])      # bytes and FileParts: nothing of anybody else's runs
    free(chain)


cdef class FilePart:
    """A range of a file that waits to be sent, by a descriptor of its own: the caller may close the file meanwhile."""

    def __cinit__(self, int fd, int64_t offset, int64_t left):
        self.fd = -1
        self.fd = os.dup(fd)
        self.offset = offset
        self.left = left

    def __dealloc__(self):
        if self.fd >= 0:
            c_close(self.fd)


cdef class Stream(Reader):
    """A buffered byte stream. Base of the streams in `transport`; not made directly.

    Attributes:
        proxied: what a proxy has said of the connection before its first byte (`proxy_protocol`), or None.

    One green thread may read while another writes; two readers, or two writers that have to wait, are an error.

    Used in one thread, that of the hub which is there when it first waits.
    """

    def __dealloc__(self):          # for the input too: a level that has its own costs every connection
        self.drop_input()
        self.drop_output()

    cdef Py_ssize_t give(self, iovec* parts, int count) except -2:
        """Send what goes out now, in order; -1 when nothing does."""
        raise NotImplementedError

    cdef Py_ssize_t give_file(self, FilePart part, size_t size) except -2:
        """Send at most `size` bytes of a file; 0 when the file has ended early; -1 when nothing goes out now."""
        cdef char* chunk = borrow()
        cdef iovec piece
        cdef ssize_t n
        if chunk == NULL:
            raise MemoryError
        try:
            n = pread(part.fd, chunk, min(size, <size_t>CHUNK), part.offset)
            if n <= 0:
                return 0
            piece.iov_base = chunk
            piece.iov_len = n
            return self.give(&piece, 1)
        finally:
            hand_back(chunk)

    cdef bint settle(self) except -1:
        """All output was given; whether what lies below has let go of it as well, its goodbye included if this is the
        last."""
        return True

    cdef bint parting(self) noexcept:
        """Whether what lies below has a goodbye to say before the end."""
        return False

    cdef int64_t pending(self) noexcept:
        """Bytes of output that have not left."""
        return (self.chain.size if self.chain != NULL else 0) + (self.out_end - self.out_pos)

    cdef int seal(self) except -1:
        """Move the tail of the output into the chain, so that something can come after it."""
        cdef Py_ssize_t size = self.out_end - self.out_pos
        if size:
            self.link(PyBytes_FromStringAndSize(self.outbuf + self.out_pos, size), size)
        self.out_pos = self.out_end = 0
        return 0

    cdef int link(self, object item, int64_t size) except -1:
        """Append a bytes or a FilePart of so many bytes to the chain."""
        cdef Chain* chain = self.chain
        cdef uint32_t room
        if chain == NULL or chain.first + chain.count == chain.room:
            if chain != NULL and chain.first > chain.room >> 1:
                memmove(chain + 1, items(chain), chain.count * sizeof(PyObject*))
                chain.first = 0
            else:
                room = 8 if chain == NULL else 2 * chain.room
                chain = <Chain*>realloc(chain, sizeof(Chain) + room * sizeof(PyObject*))
                if chain == NULL:
                    raise MemoryError
                if self.chain == NULL:
                    chain.size = chain.skip = 0
                    chain.first = chain.count = 0
                chain.room = room
                self.chain = chain
        items(chain)[chain.count] = <PyObject*>item
        Py_INCREF(item)
        chain.count += 1
        chain.size += size
        return 0

    cdef char* reserve(self, Py_ssize_t size) except NULL:
        """Room for `size` bytes, at most CHUNK, at the end of the output; `commit` says how many were written."""
        if self.outbuf == NULL:
            self.outbuf = borrow()
            if self.outbuf == NULL:
                raise MemoryError
            self.out_pos = self.out_end = 0
        elif CHUNK - <Py_ssize_t>self.out_end < size:
            self.seal()
        return self.outbuf + self.out_end

    cdef void commit(self, Py_ssize_t size) noexcept:
        self.out_end += <uint32_t>size

    cdef int put(self, const char* data, Py_ssize_t size) except -1:
        """Append to the output by copying. Sends nothing."""
        if size <= CHUNK:
            memcpy(self.reserve(size), data, size)
            self.out_end += <uint32_t>size
            return 0
        return self.put_object(PyBytes_FromStringAndSize(data, size))

    cdef int put_object(self, bytes data) except -1:
        """Append to the output, large pieces without copying. Sends nothing."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        if size <= SMALL:
            return self.put(PyBytes_AS_STRING(data), size)
        self.seal()
        return self.link(data, size)

    cdef int put_file(self, FilePart part) except -1:
        """Append a range of a file to the output. Sends nothing."""
        self.seal()
        return self.link(part, part.left)

    cdef void drop_output(self) noexcept:
        if self.outbuf != NULL:
            hand_back(self.outbuf)
            self.outbuf = NULL
        self.out_pos = self.out_end = 0
        if self.chain != NULL:
            free_chain(self.chain)
            self.chain = NULL
        if self.wait is not None:
            self.wait.slow_since = 0

    cdef int flush_now(self) except -1:
        """Send what goes out without waiting. 1: everything has left. 0: the rest waits for the peer.

        Between a system call and `sent`, and between two of `link` for what belongs together, nothing allocates.
        """
        cdef iovec parts[PARTS + 1]
        cdef Chain* chain
        cdef PyObject** item
        cdef uint32_t i
        cdef int count
        cdef Py_ssize_t n
        cdef int64_t budget = FLUSH_BYTES
        cdef FilePart part
        if self.wait is not None and self.wait.slow_since > 0:
            self.held_up(clock())       # now: what is given below hides it
        while True:
            if self.closed:
                raise StreamClosed("the stream is closed")
            if self.lost:
                raise StreamClosed(waiting.LOST)
            count = 0
            i = 0
            chain = self.chain
            if chain != NULL:
                item = items(chain)
                while i < chain.count and i < PARTS and not is_file(item[i]):
                    parts[i].iov_base = PyBytes_AS_STRING(<object>item[i])
                    parts[i].iov_len = PyBytes_GET_SIZE(<object>item[i])
                    i += 1
                if i:
                    parts[0].iov_base = <char*>parts[0].iov_base + chain.skip
                    parts[0].iov_len -= chain.skip
                count = i
            if (chain == NULL or i == chain.count) and self.out_end > self.out_pos:
                parts[count].iov_base = self.outbuf + self.out_pos
                parts[count].iov_len = self.out_end - self.out_pos
                count += 1
            if count:
                n = self.give(parts, count)
            elif chain != NULL:
                part = <FilePart>item[0]
                n = self.give_file(part, <size_t>min(part.left, <int64_t>SHARE_BYTES))
                if n == 0:
                    self.lost = True
                    raise StreamClosed("the file ended before all announced bytes were sent")
            elif self.settle():
                break
            else:
                return self.stalled()
            if n < 0:
                return self.stalled()
            self.sent(n)
            budget -= n
            if self.wait is not None and self.wait.slow_since > 0:
                self.wait.slow_moved += n
            if budget <= 0 and self.pending():
                return self.stalled()
        self.drop_output()
        return 1

    cdef int stalled(self) except -1:
        """Some output has to wait: from here on the peer's pace counts. 0."""
        cdef Wait wait = self.waiting()
        if self.closed:
            raise StreamClosed("the stream was closed by another green thread")
        if wait.slow_since == 0 and self.pending():
            wait.slow_since = clock()
            wait.slow_moved = 0
            wait.slow_backlog = self.backlog()
        return 0

    cdef void sent(self, int64_t size) noexcept:
        """Strike `size` bytes off the front of the output."""
        cdef Chain* chain = self.chain
        cdef PyObject* item
        cdef int64_t rest
        while size and chain != NULL:
            item = items(chain)[0]
            rest = (<FilePart>item).left if is_file(item) else PyBytes_GET_SIZE(<object>item) - chain.skip
            chain.size -= min(size, rest)
            if size < rest:
                if is_file(item):
                    (<FilePart>item).left -= size
                    (<FilePart>item).offset += size
                else:
                    chain.skip += size
                return
            size -= rest
            chain.skip = 0
            chain.first += 1
            chain.count -= 1
            if chain.count == 0:
                free(chain)
                self.chain = chain = NULL
            Py_DECREF(<object>item)         # a bytes or a FilePart: nothing of anybody else's runs
        self.out_pos += <uint32_t>size

    cdef int quiet(self) except -1:
        """All output has left: nothing is pushed out, and unless somebody waits for it, writing is not watched."""
        self.pushing = False
        if self.wait is not None and not self.wait.writes:
            self.watch_write(False)
        return 0

    cdef int flush_all(self) except -1:
        """Send everything, waiting for the peer where need be."""
        cdef uint32_t mine = self.tenure
        cdef int64_t before
        while True:
            if self.tenure != mine:
                raise StreamClosed(waiting.OVER)
            need_open(self)
            before = self.pending()
            if self.flush_now():
                if self.tenure == mine:
                    self.quiet()
                    self.share(before)
                return 0
            if self.pending() < before:
                self.share(before - self.pending())
            if self.tenure == mine:
                self.wait_write()

    def _push(self):
        """Send what nobody waits for: now, and the rest as the peer takes it."""
        cdef uint32_t mine = self.tenure
        if self.closed or self.lost or self.sealed or self.wait is not None and self.wait.writes:
            return
        try:
            if self.flush_now():
                if self.pushing:
                    self.quiet()
            elif self.tenure == mine:
                self.pushing = True
                self.watch_write(True)
        except OSError as error:
            # The peer has gone, or a file ended early. Whoever writes next is told, and nothing follows.
            if self.tenure != mine or self.closed:
                return
            self.lost = True
            self.drop_output()
            if self.pushing:
                self.quiet()
            if self.job is not None:
                self.job.gave_up(error)
            self.fail(StreamClosed(waiting.LOST))       # who waits for the peer may wait for an answer to what was lost

    def _push_scheduled(self):
        self.scheduled = False
        self._push()

    cdef int written(self, object timeout) except -1:
        cdef int64_t pending = self.pending()
        if pending > HIGH_WATER:
            self.begin_write(timeout)
            while not self.flush_now() and self.pending() > HIGH_WATER:
                self.wait_write()
            self.share(pending)
        if self.pending() and not self.pushing and not self.scheduled:
            self.scheduled = True
            try:
                get_hub().loop.run_callback(self._push_scheduled)
            except BaseException:
                self.scheduled = False
                raise
        return 0

    def write(self, data, *, timeout=None):
        """Append bytes to the output. Waits while more than 64 KiB are unsent; what is less leaves by itself, at the
        latest at the end of this turn of the loop.

        Raises StreamTimeout, StreamClosed, or a ConnectionError from the system.
        """
        if type(data) is not bytes:
            data = bytes_of(data)
        need_open(self)
        self.put_object(data)
        self.written(timeout)

    def writelines(self, pieces, *, timeout=None):
        """Append many pieces; they leave together, in one system call where that is possible."""
        need_open(self)
        for data in pieces:
            if type(data) is not bytes:
                data = bytes_of(data)
            need_open(self)                     # whatever made the piece may have taken long
            self.put_object(data)
        self.written(timeout)

    def flush(self, *, timeout=None):
        """Wait until the system has taken all output."""
        self.begin_write(timeout)
        self.flush_all()

    def sendfile(self, file, int64_t offset=0, count=None, *, timeout=None):
        """Send `count` bytes of a regular file from `offset`, by default to its end, without reading them into memory.

        Arguments:
            file: an object with `fileno()`, open for reading.

        Returns the number of bytes sent. Raises ValueError, before anything is sent, for an offset or a count below 0,
        and for what is not a regular file open for reading; StreamClosed if the file shrinks meanwhile.
        """
        cdef FilePart part = None
        cdef int64_t left
        cdef int fd = file.fileno()
        if offset < 0 or count is not None and count < 0:
            raise ValueError("an offset and a count are 0 or more")
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY:
            raise ValueError("sendfile needs a regular file that is open for reading")
        left = status.st_size - offset
        if count is not None:
            left = min(left, <int64_t>count)
        if left > 0:
            part = FilePart(fd, offset, left)
        need_open(self)
        if part is not None:
            self.put_file(part)
        self.flush(timeout=timeout)
        return max(left, 0)

    @property
    def unsent(self):
        """Bytes that were written and have not left."""
        return self.pending()

    # The end ----------------------------------------------------------------------------------------------------------

    def shutdown(self, *, timeout=None):
        """Send all output, then tell the peer that nothing more will come. Reading goes on."""
        self.finishing = self.parting()
        try:
            self.flush(timeout=timeout)
        finally:
            self.finishing = False
        self.hang_up()

    def close(self, *, timeout=None):
        """Send all output and close. Closing twice is nothing."""
        if self.closed:
            return
        try:
            self.finishing = self.parting()
            # A writer that still waits learns that the stream was closed.
            if (self.pending() or self.finishing) and (self.wait is None or not self.wait.writes):
                self.flush(timeout=timeout)
        finally:
            # What was given up, or could not be sent, must not look like a regular end.
            self.finish(self.lost or self.pending() > 0)
            self.tell_job()

    def abort(self):
        """Close at once, unsent output is lost; the peer sees a reset, not an end."""
        self.finish(True)
        self.tell_job()

    cdef int tell_job(self) except -1:
        """Closed by somebody who holds the stream: a job that waits for it would wait for ever."""
        if self.sealed and self.job is not None:
            self.job.stream_closed()
        return 0

    cdef bint last_words(self) except -1:
        """Send what there is, if that takes no wait, and close. Whether it has left; else the peer sees a reset."""
        cdef bint told = False
        self.finishing = self.parting()
        try:
            if self.flush_now():
                told = True
                self.skip_input()
        except OSError:
            told = False                # the peer has gone
        finally:
            self.finish(not told)
        return told

    cdef int skip_input(self) except -1:
        """Take what has come, and drop it: to close with unread input resets the connection, and what was said last may
        never be read."""
        cdef Py_ssize_t n = 1, left = SKIPPED
        while n > 0 and left > 0:
            n = self.discard(left)
            left -= n
        return 0

    cdef int finish(self, bint reset) except -1:
        if self.closed:
            return 0
        self.closed = True
        if self.wait is not None:
            self.wait.end()
        self.drop_output()
        if not self.pinned:
            self.drop_input()
        try:
            self.release(reset)
        finally:
            self.fail(StreamClosed("the stream was closed by another green thread"))
        return 0

    cdef int abandon(self, bint ours) except -1:
        """In a forked process: close the descriptor and nothing else, for the connection is the parent's. Nobody who
        waits is told: those green threads do not go on here. `ours`: see Pool.abandon."""
        if not self.closed:
            self.closed = True
            if ours:
                self.release(False)
            else:
                self.let_go()
        return 0

    cdef void let_go(self) noexcept:
        """Close the descriptor, whatever watches it."""

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if kind is None:
            self.close()
        else:
            self.abort()

    @property
    def closed(self):
        """Whether `close` or `abort` was called, or the server has ended the connection."""
        return bool(self.closed)

    @property
    def failed(self):
        """Whether the connection broke, or the peer was given up: nothing more can be said to it."""
        return bool(self.failed)

    @property
    def peer(self):
        """The other end: (host, port), or "" where there is none."""
        return ""

    @property
    def tls(self):
        """How the connection is encrypted, a tls.agreed.TLSInfo; None if it is not, or is closed."""
        return None

    def start_tls(self, context, *, server_side=None, server_name=None, timeout=None):
        """Go on encrypted, as STARTTLS and the like have agreed on (RFC 3207, RFC 2830 ...).

        What was written before is sent first, as it is. Other green threads must leave the stream alone meanwhile.

        Arguments:
            context: an ssl.SSLContext; `greenhttp.tls.server` and `greenhttp.tls.client` make some. For the server's
                side also several, as pairs of names and contexts.
            server_side: whether this end shows a certificate; None: if the peer has connected to us.
            server_name: for a client: the host whose certificate it must be, asked for by SNI. Needed, unless the
                context has no `check_hostname`.
            timeout: seconds for all of it; None: `stream.timeout`.

        Raises TLSError if the handshake fails, or if the peer has sent more already: whoever can insert bytes before
        the encryption must not have them taken for encrypted ones (CVE-2011-0411). StreamTimeout, StreamClosed, or a
        ConnectionError from the system. If it fails once the handshake has begun the stream is closed.
        """
        raise NotImplementedError

    cdef str who(self):
        """The peer, for people: `127.0.0.1:4711`, `[::1]:4711`; "" where there is none, in memory."""
        return ""

    cdef str about(self):
        """What a line of the log about this connection begins with."""
        cdef str who = self.who()
        return f"{who}: " if who else ""
