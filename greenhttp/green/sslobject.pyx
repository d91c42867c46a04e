"""TLS between a stream and its socket by Python's SSLObject and two MemoryBIO: the simple way, see `tls`."""

from cpython.object cimport PyObject
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_SetFromErrno
from libc.errno cimport EAGAIN, EINTR, EPIPE, errno
from libc.stdint cimport uint32_t, uintptr_t
from libc.string cimport memcpy

from greenhttp.green.chunks cimport CHUNK, borrow, hand_back
from greenhttp.green.layer cimport (
    BROKEN, CUT, MOST_GIVEN, MOST_REPLIES, MOST_TAKEN, MSG_MORE, MSG_NOSIGNAL, OPEN, PARTED, SHAKEN, SHAKING,
    Handshake, Layer, c_recv, c_send, errno_set,
)
from greenhttp.green.stream cimport Stream, iovec
from greenhttp.green.switch cimport PyGreenlet_Import, current_greenlet

import _ssl
import ssl
from weakref import ref

from greenhttp.errors import StreamClosed, TLSError

PyGreenlet_Import()

cdef enum:
    UNLIKELY = -63              # 0xc1, a byte that hardly ever comes in a record of its own: UTF-8 has none

# Address of _ssl's object for a connection -> its SimpleLayer. More than one: SSLObject lets other threads run, and a
# callback in Python anybody.
cdef dict shaking_simply = {}

# Called as functions: an attribute of an object would be a bound method, at whose making the collector may run.
cdef object put_bytes = ssl.MemoryBIO.write, get_bytes = ssl.MemoryBIO.read
cdef object shake_hands = _ssl._SSLSocket.do_handshake, say_end = _ssl._SSLSocket.shutdown
cdef object encrypt = _ssl._SSLSocket.write, decrypt = _ssl._SSLSocket.read, decrypted = _ssl._SSLSocket.pending


cdef SimpleLayer simple(object context, int fd, bint server, object name):
    cdef SimpleLayer made = SimpleLayer.__new__(SimpleLayer)
    made.fd = fd
    made.incoming, made.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    made.ssl = context.wrap_bio(made.incoming, made.outgoing, server_side=server, server_hostname=name)
    made.ssl._sslsock = ref(made.ssl)       # by this gevent's contexts find what to call an sni_callback with
    made.inner = made.ssl._sslobj
    made.held = made.early = made.raw = b""
    return made


cdef class SimpleLayer(Layer):
    """TLS by Python's SSLObject.

    Foreign code runs in the middle of that: the collector's where it raises, which it does whenever more has to come; a
    signal's handler behind each operation, before its result is known here; callbacks in Python within OpenSSL. All of
    them may wait, raise, and close the stream. Therefore

        whoever calls it is `busy`: other green threads find that nothing comes and nothing goes now;
        output is copied into `raw`, in which nothing can interrupt, is thereby the stream's no more, and is encrypted
            when the stream asks for what is next;
        input is decrypted into `early`, and copied from there if the stream is as it was;
        before the descriptor is used again it is looked at: whoever closes the stream takes it away.
    """

    cdef int enter(self, Stream stream) except -1:
        """0: another green thread is in the middle of something."""
        cdef object running = current_greenlet()
        self.need_fd()
        if self.busy == <PyObject*>running:
            raise StreamClosed("the stream is used in the middle of its own TLS")      # by a finalizer, say
        if self.busy != NULL:
            return 0
        self.busy = <PyObject*>running
        return 1

    cdef int need_fd(self) except -1:
        if self.fd < 0:
            raise StreamClosed("the stream was closed by another green thread")
        return 0

    cdef Py_ssize_t receive(self, Stream stream) except -2:
        """Take from the socket what is there: bytes; 0 at the end; -1 when nothing is."""
        cdef char* chunk
        cdef ssize_t n
        self.need_fd()
        chunk = borrow()
        if chunk == NULL:
            raise MemoryError
        try:
            while True:
                n = c_recv(self.fd, chunk, CHUNK, 0)
                if n >= 0 or errno != EINTR:
                    break
            if n > 0:
                put_bytes(self.incoming, PyBytes_FromStringAndSize(chunk, n))
                stream.taken += n               # as in DirectLayer.read
        finally:
            hand_back(chunk)
        if n < 0 and errno != EAGAIN:
            stream.failed = True
            PyErr_SetFromErrno(OSError)                 # raises
        return n

    cdef int collect(self) except -1:
        """What is encrypted is held here."""
        self.held = joined(self.held, self.held_at, get_bytes(self.outgoing))
        self.held_at = 0
        return 0

    cdef int leave(self, Stream stream, bint last, bint wait) except -1:
        """As DirectLayer's."""
        cdef ssize_t n
        self.need_fd()
        if self.outgoing.pending:
            self.collect()
        while self.held_at < PyBytes_GET_SIZE(self.held) and not wait:
            n = c_send(
                self.fd, PyBytes_AS_STRING(self.held) + self.held_at, PyBytes_GET_SIZE(self.held) - self.held_at,
                MSG_NOSIGNAL | (MSG_MORE if last else 0),
            )
            if n >= 0:
                self.held_at += n
            elif errno == EAGAIN:
                break
            elif errno != EINTR:
                stream.failed = True
                self.said = True
                PyErr_SetFromErrno(OSError)             # raises
        if self.held_at == PyBytes_GET_SIZE(self.held):
            self.held = b""
            self.held_at = 0
            self.stuck = False
            return 1
        self.stuck = not wait
        return 0

    cdef Py_ssize_t held_back(self) noexcept:
        return PyBytes_GET_SIZE(self.held) - self.held_at + PyBytes_GET_SIZE(self.raw)

    cdef int decrypt_some(self) except -1:
        """Into `early`. 0: the peer has said goodbye. Raises what _ssl does; what had been decrypted is kept.

        First one byte, then what else is in its record: how much that is, is known before and behind, so that a
        signal's handler that raises costs nothing. Whether a record was of one byte is told by that.
        """
        cdef Py_ssize_t n = 0, before = decrypted(self.inner)
        cdef object into = PyByteArray_FromStringAndSize(NULL, max(before, <Py_ssize_t>1))
        cdef char* data = PyByteArray_AS_STRING(into)
        data[0] = UNLIKELY
        try:
            n = decrypt(self.inner, PyByteArray_GET_SIZE(into), into)
        except ssl.SSLError:
            raise
        except BaseException:
            if before:
                n = before - <Py_ssize_t>decrypted(self.inner)
            elif data[0] != UNLIKELY or decrypted(self.inner):
                n = 1
            if n:
                self.keep(data, n)
                self.unfinished = True
            raise
        if n:
            self.keep(data, n)
        return n != 0

    cdef int keep(self, const char* data, Py_ssize_t size) except -1:
        self.early = joined(self.early, self.early_at, PyBytes_FromStringAndSize(data, size))
        self.early_at = 0
        return 0

    cdef Py_ssize_t reading(self, Stream stream) except -2:
        """1: there is something in `early`; 0: the end; -1: nothing is there."""
        if self.early_at < PyBytes_GET_SIZE(self.early):
            return 1
        self.unfinished = False
        if self.over == BROKEN:
            raise self.broken(stream, None)
        if self.over != OPEN:
            return 0
        if not self.enter(stream):
            self.unfinished = True                      # as far as is known
            return -1
        try:
            return self.go_on_reading(stream)
        finally:
            self.busy = NULL

    cdef Py_ssize_t go_on_reading(self, Stream stream) except -2:
        cdef Py_ssize_t n, received = 0
        while True:
            try:
                if not self.decrypt_some():
                    self.over = PARTED
                    return 0
                if decrypted(self.inner):
                    self.decrypt_some()                 # the rest of the record
                return 1
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLZeroReturnError:
                self.over = PARTED
                return 0
            except ssl.SSLError as error:
                self.over = BROKEN
                self.leave(stream, False, False)
                raise self.broken(stream, error) from None
            self.need_fd()
            if self.outgoing.pending:
                self.leave(stream, False, False)
                if self.held_back() > MOST_REPLIES + PyBytes_GET_SIZE(self.raw):
                    self.over = BROKEN
                    raise self.broken(stream, None)
            if received > MOST_TAKEN:
                self.unfinished = True
                return -1
            n = self.receive(stream)
            if n == 0:
                self.over = CUT
                return 0
            if n < 0:
                return -1
            received += n

    cdef object broken(self, Stream stream, object error):
        stream.failed = True
        self.said = True
        return TLSError(f"the peer's TLS cannot be read: {reason_of(error)}")

    cdef Py_ssize_t take(self, Stream stream, char* into, size_t size) except -2:
        cdef SimpleLayer me = self                      # whoever closes the stream drops it
        cdef char* buffer = stream.inbuf
        cdef uint32_t end = stream.in_end
        cdef Py_ssize_t n = me.reading(stream)
        if n <= 0:
            return n
        self.need_fd()
        if stream.inbuf != buffer or stream.in_end != end:      # another has read meanwhile
            self.unfinished = True
            return -1
        n = min(<Py_ssize_t>size, PyBytes_GET_SIZE(self.early) - self.early_at)
        memcpy(into, PyBytes_AS_STRING(self.early) + self.early_at, n)
        self.strike_off(n)
        stream.taken -= n                               # whoever takes counts it, and it was counted when it came
        return n

    cdef Py_ssize_t discard(self, Stream stream, size_t size) except -2:
        cdef SimpleLayer me = self
        cdef Py_ssize_t n = me.reading(stream)
        if n > 0:
            n = min(<Py_ssize_t>size, PyBytes_GET_SIZE(self.early) - self.early_at)
            self.strike_off(n)
            stream.taken -= n
        return n

    cdef int strike_off(self, Py_ssize_t size) except -1:
        self.early_at += size
        if self.early_at == PyBytes_GET_SIZE(self.early):
            self.early = b""
            self.early_at = 0
            self.unfinished = self.over != OPEN or self.incoming.pending > 0 or decrypted(self.inner) > 0
        else:
            self.unfinished = True
        return 0

    cdef Py_ssize_t give(self, Stream stream, iovec* parts, int count) except -2:
        cdef SimpleLayer me = self
        cdef Py_ssize_t total = 0, n
        cdef bytes data
        cdef int i
        if self.over == BROKEN:
            raise self.broken(stream, None)
        if self.said:
            stream.failed = True
            errno_set(EPIPE)
            PyErr_SetFromErrno(OSError)                 # raises
        if self.raw or self.stuck:
            # In there the stream may change, and what `parts` point to go: it is asked again.
            return 0 if me.settle(stream, False) else -1
        for i in range(count):
            total += min(<Py_ssize_t>parts[i].iov_len, MOST_GIVEN - total)
        if total == 0:
            return 0 if count == 0 else -1
        data = PyBytes_FromStringAndSize(NULL, total)
        total = 0
        for i in range(count):
            n = min(<Py_ssize_t>parts[i].iov_len, MOST_GIVEN - total)
            memcpy(PyBytes_AS_STRING(data) + total, parts[i].iov_base, n)
            total += n
        self.raw = data
        return total

    cdef bint settle(self, Stream stream, bint last) except -1:
        cdef SimpleLayer me = self
        if not self.held_back() and (self.said or not last):
            return True
        if not me.enter(stream):
            return False
        try:
            if me.raw:
                me.encrypt_raw(stream)
            if last and not me.said:
                me.said = True
                if me.over != BROKEN:
                    me.say_goodbye()
            return me.leave(stream, last, False) and not me.raw
        finally:
            me.busy = NULL

    cdef int encrypt_raw(self, Stream stream) except -1:
        cdef bytes data = self.raw
        cdef Py_ssize_t before = self.outgoing.pending
        self.raw = b""
        try:
            encrypt(self.inner, data)
        except ssl.SSLError as error:
            self.over = BROKEN
            raise self.broken(stream, error) from None
        except BaseException:
            if self.outgoing.pending == before:
                self.raw = joined(data, 0, self.raw)
            else:
                self.collect()                          # a signal's handler has raised behind it
            raise
        return 0

    cdef int say_goodbye(self) except -1:
        """SSLObject then waits for the peer's, and takes anything else for an error: what has come is put aside."""
        cdef bytes coming
        try:
            while decrypted(self.inner):
                self.decrypt_some()
        except ssl.SSLError:
            pass
        coming = get_bytes(self.incoming)
        try:
            say_end(self.inner)
        except ssl.SSLError:
            pass                                        # it has not come
        finally:
            put_bytes(self.incoming, coming)
        return 0

    cdef Handshake shake(self, Stream stream) except *:
        cdef SimpleLayer me = self
        if not me.enter(stream):
            return SHAKING
        try:
            return me.go_on_shaking(stream)
        finally:
            me.busy = NULL

    cdef Handshake go_on_shaking(self, Stream stream) except *:
        cdef Py_ssize_t n = stream.in_end - stream.in_pos
        cdef object key = <uintptr_t><PyObject*>self.inner
        if n > 0:
            put_bytes(self.incoming, PyBytes_FromStringAndSize(stream.inbuf + stream.in_pos, n))
            stream.consume(n)
        while True:
            try:
                if self.certificates is not None:
                    shaking_simply[key] = self
                try:
                    shake_hands(self.inner)
                finally:
                    shaking_simply.pop(key, None)
                self.leave(stream, False, True)
                self.certificates = None
                return SHAKEN
            except ssl.SSLWantReadError:
                self.leave(stream, False, False)
            except (ssl.SSLError, ssl.CertificateError) as error:
                self.over = BROKEN
                self.said = True
                self.leave(stream, False, False)
                raise TLSError(reason_of(error)) from None
            n = self.receive(stream)
            if n == 0:
                self.over = CUT
                self.said = True
                raise TLSError("the peer disconnected during the handshake")
            if n < 0:
                return SHAKING

    @property
    def version(self):
        """As DirectLayer's; so the others."""
        return self.ssl.version()

    @property
    def cipher(self):
        found = self.ssl.cipher()
        return None if found is None else (found[0], found[2])

    @property
    def server_name(self):
        if not self.ssl.server_side:
            return self.ssl.server_hostname
        return None if self.name is None else self.name.decode("ascii", "replace")

    @property
    def alpn(self):
        return self.ssl.selected_alpn_protocol()

    @property
    def resumed(self):
        return self.ssl.session_reused

    @property
    def verified(self):
        return self.certificate is not None and self.ssl.context.verify_mode != ssl.CERT_NONE

    @property
    def certificate(self):
        return self.ssl.getpeercert(True)


cdef bytes joined(bytes one, Py_ssize_t start, bytes other):
    """`one` from `start`, and `other`: without a slice, at which the collector may run."""
    cdef Py_ssize_t left = PyBytes_GET_SIZE(one) - start
    cdef bytes made
    if left == 0:
        return other
    made = PyBytes_FromStringAndSize(NULL, left + PyBytes_GET_SIZE(other))
    memcpy(PyBytes_AS_STRING(made), PyBytes_AS_STRING(one) + start, left)
    memcpy(PyBytes_AS_STRING(made) + left, PyBytes_AS_STRING(other), PyBytes_GET_SIZE(other))
    return made


cdef str reason_of(object error):
    """What OpenSSL says of an error, without Python's source lines."""
    if error is None:
        return "too much of nothing"
    reason = getattr(error, "verify_message", None) or getattr(error, "reason", None)
    return str(reason).replace("_", " ").lower() if reason else str(error)
