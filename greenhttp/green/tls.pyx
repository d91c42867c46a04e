"""TLS between a stream and its socket, and which certificate a client is shown.

    Certificates    what a listener shows, and which way a connection of its goes
    DirectLayer     OpenSSL's own functions (see `openssl`): no Python object is made for what is read or written
    SimpleLayer     an ssl.SSLObject (see `sslobject`): where those cannot be had, and for contexts with callbacks

Certificates, what OpenSSL calls back for, and the direct way are one module, for they share what OpenSSL is called for
at this moment.

Both ways encrypt into memory and send from there, so that OpenSSL never meets a full socket: several records leave in
one system call, what the system does not take is held back here, and an answer leaves together with the goodbye
(close_notify) behind it. The tickets that end a handshake wait for the first answer if its request has come already.

All connections share one BIO. It keeps nothing: whatever calls OpenSSL says before for which connection that is, and
nothing in OpenSSL that could call Python, or another green thread, is used this way. The interpreter's lock is held.

The end of the connection is kept from OpenSSL, which would take nothing more for sending: a peer that has ended its
input without a goodbye may still be answered. Whether something can be missing is for whoever reads to judge:
`Layer.over` says CUT.
"""

cimport cython
from cpython.object cimport PyObject
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_SetFromErrno
from libc.errno cimport EAGAIN, EINTR, EPIPE, errno
from libc.stdint cimport int64_t, uint32_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy, memset, strlen

from greenhttp.green.chunks cimport count_held
from greenhttp.green.layer cimport (
    BROKEN, CUT, MOST_GIVEN, MOST_REPLIES, MOST_TAKEN, MSG_MORE, MSG_NOSIGNAL, OPEN, PARTED, RECORD, SHAKEN, SHAKING,
    Handshake, Layer, c_recv, c_send, errno_set,
)
from greenhttp.green.openssl cimport Library, has_callbacks, libssl, pointer_of
from greenhttp.green.sslobject cimport SimpleLayer, shaking_simply, simple
from greenhttp.green.stream cimport Stream, iovec

import _ssl
import ssl
from hashlib import shake_256

from greenhttp.errors import TLSError


cdef enum:                      # OpenSSL's
    BIO_CTRL_FLUSH = 11
    BIO_RETRY = 0x9             # BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY
    BIO_FLAGS = 0xf
    BIO_TYPE = 0x4a0            # a source and sink of our own, without a descriptor
    MODE = 0x12                 # SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS
    CTRL_MODE = 33
    CTRL_CACHE_MODE = 44
    CACHE_OFF = 0
    CTRL_SNI_CALLBACK = 53
    CTRL_TICKET_CALLBACK = 72
    NO_RENEGOTIATION = 0x40000000
    ERROR_WANT_READ = 2
    ERROR_ZERO_RETURN = 6
    SNI_OK = 0
    SNI_FATAL = 2
    EX_DATA_OF_CONTEXT = 1
    OF_PYTHON = 0               # where _ssl keeps its own object for a connection

cdef enum:
    MOST_NAME = 255             # of a server; OpenSSL takes no longer one

force_simple = False            # for tests and measurements: SSLObject also where the direct way would do


# The BIO --------------------------------------------------------------------------------------------------------------

cdef struct Operation:          # what OpenSSL is called for at this moment
    int fd
    const char* before          # bytes that came before the layer did
    uint32_t before_size
    bint ended                  # the connection has
    int failure                 # errno
    int64_t received
    bint paused                 # enough was received
    char* out                   # encrypted, to be sent. Grows to what was ever needed, and stays
    size_t out_size
    size_t out_room

cdef Operation operation
cdef char gathered[RECORD]
cdef char bin[RECORD]
cdef void* bio = NULL
cdef int tickets_at = -1        # which of a context's places for others is ours: the keys of its tickets
cdef Library* lib = libssl()
cdef PyObject* shaking = NULL   # the DirectLayer for which OpenSSL is in a handshake


cdef int bio_read(void* self, char* into, int size) noexcept:
    cdef ssize_t n
    lib.BIO_clear_flags(self, BIO_FLAGS)
    if operation.before_size:
        n = min(size, <int>operation.before_size)
        memcpy(into, operation.before, n)
        operation.before += n
        operation.before_size -= <uint32_t>n
        return <int>n
    if operation.received >= MOST_TAKEN:
        operation.paused = True
        lib.BIO_set_flags(self, BIO_RETRY)
        return -1
    if not operation.ended and operation.failure == 0:
        while True:
            n = c_recv(operation.fd, into, size, 0)
            if n > 0:
                operation.received += n
                return <int>n
            if n == 0:
                operation.ended = True
            elif errno == EINTR:
                continue
            elif errno != EAGAIN:
                operation.failure = errno
            break
    lib.BIO_set_flags(self, BIO_RETRY)
    return -1


cdef bint more_room(size_t size) noexcept:
    """Room for so many bytes more of output. False: no memory."""
    cdef size_t room = max(operation.out_room, <size_t>4096)
    cdef char* larger
    while room < operation.out_size + size:
        room *= 2
    if room != operation.out_room:
        larger = <char*>realloc(operation.out, room)
        if larger == NULL:
            return False
        operation.out = larger
        operation.out_room = room
    return True


cdef int bio_write(void* self, const char* data, int size) noexcept:
    lib.BIO_clear_flags(self, BIO_FLAGS)
    if not more_room(size):
        return -1
    memcpy(operation.out + operation.out_size, data, size)
    operation.out_size += size
    return size


cdef long bio_control(void* self, int what, long number, void* pointer) noexcept:
    return what == BIO_CTRL_FLUSH


cdef void free_tickets(void* context, void* keys, void* ad, int at, long number, void* argument) noexcept nogil:
    """OpenSSL's callback for the end of a context."""
    free(keys)


cdef int prepare() except -1:
    """Make the BIO, once."""
    global bio, tickets_at
    cdef void* method
    if bio != NULL or lib == NULL:
        return 0
    method = lib.BIO_meth_new(BIO_TYPE, b"greenhttp")
    if method != NULL:
        lib.BIO_meth_set_write(method, bio_write)
        lib.BIO_meth_set_read(method, bio_read)
        lib.BIO_meth_set_ctrl(method, bio_control)
        bio = lib.BIO_new(method)
    if bio == NULL:
        raise MemoryError
    lib.BIO_set_init(bio, 1)
    tickets_at = lib.CRYPTO_get_ex_new_index(EX_DATA_OF_CONTEXT, 0, NULL, NULL, NULL, <void*>free_tickets)
    if tickets_at < 0:
        raise MemoryError
    return 0

prepare()


# Which certificate ----------------------------------------------------------------------------------------------------

cdef int on_server_name(void* connection, int* alert, void* argument) noexcept with gil:
    """OpenSSL's servername callback (RFC 6066 3). SSLObject lets go of the interpreter's lock before it comes here.

    A context may be in several Certificates, so the connection says whose names count.
    """
    global operation, shaking
    cdef const char* name = lib.SSL_get_servername(connection, 0)
    cdef PyObject* inner = <PyObject*>lib.SSL_get_ex_data(connection, OF_PYTHON)
    cdef SimpleLayer simply
    cdef DirectLayer layer
    cdef Operation ours
    cdef object context
    if name == NULL:
        return SNI_OK
    try:
        if inner != NULL:
            simply = shaking_simply.get(<uintptr_t>inner)
            if simply is None:
                return SNI_OK                   # somebody else's connection
            simply.name = name
            context = (<Certificates>simply.certificates).choose(name)
            if context is not None and context is not (<Certificates>simply.certificates).first:
                # Not behind its back: the callback for secrets (keylog) takes the file of the context that it knows,
                # and keeps the lock if that has none (CPython 3.11).
                (<object>inner).context = context
            return SNI_OK
        if shaking == NULL or (<DirectLayer>shaking).ssl != connection:
            return SNI_OK                       # somebody else's, too
        layer = <DirectLayer>shaking
        # Nothing in there lets others run. If ever something did, they would not meet what is in use.
        ours = operation
        memset(&operation, 0, sizeof(operation))
        try:
            context = layer.certificates.choose(name)
        finally:
            free(operation.out)
            operation = ours
            shaking = <PyObject*>layer
        if context is None or context is layer.certificates.first:
            return SNI_OK
    except BaseException:
        return SNI_FATAL
    if has_callbacks(context):
        return SNI_FATAL                # set since the handshake began: see Certificates.layer
    lib.SSL_set_SSL_CTX(connection, pointer_of(context))
    return SNI_OK


def _by_name(connection, name, context):
    """The same for Python's own callback, where there is no library."""
    cdef SimpleLayer layer = shaking_simply.get(<uintptr_t><PyObject*>connection._sslobj)
    if layer is not None and name is not None:
        layer.name = name.encode()
        found = (<Certificates>layer.certificates).choose(layer.name)
        if found is not None:
            connection.context = found


cdef int on_ticket(
    void* connection, unsigned char* name, unsigned char* iv, void* cipher, void* mac, int encrypting
) noexcept:
    """OpenSSL's callback for session tickets (RFC 5077 4, RFC 8446 4.6.1): AES-256-CBC and HMAC with SHA-256."""
    cdef TicketKeys* tickets = <TicketKeys*>lib.SSL_CTX_get_ex_data(lib.SSL_get_SSL_CTX(connection), tickets_at)
    cdef unsigned char* key
    cdef int i
    if tickets == NULL or tickets.count == 0:
        return 0
    for i in range(1 if encrypting else tickets.count):
        key = tickets.keys[i]
        if encrypting:
            if lib.RAND_bytes(iv, 16) != 1 or lib.EVP_EncryptInit_ex(
                cipher, lib.EVP_aes_256_cbc(), NULL, key + 48, iv
            ) != 1:
                return -1
            memcpy(name, key, 16)
        elif memcmp(name, key, 16) != 0:
            continue
        elif lib.EVP_DecryptInit_ex(cipher, lib.EVP_aes_256_cbc(), NULL, key + 48, iv) != 1:
            return -1
        if lib.HMAC_Init_ex(mac, key + 16, 32, lib.EVP_sha256(), NULL) != 1:
            return -1
        # 2: taken, and a ticket of the newest key is given. TLS 1.3 wants one for each connection, so that nobody can
        # tell that two are of one client (RFC 8446 C.4); and it acknowledges the client's Finished, behind which a
        # client with Nagle's algorithm holds back its request for 40 ms. Not where clients are verified: only a whole
        # handshake does that, and with a new ticket each time a certificate that has expired would do for ever.
        if lib.SSL_CTX_get_verify_mode(lib.SSL_get_SSL_CTX(connection)) != 0:
            return 1
        return 1 if i == 0 and lib.SSL_get_version(connection)[6] != b"3" else 2
    return 0


cdef class Certificates:
    """Certificates(contexts)\n--\n
    What a listener shows its clients.

    Arguments:
        contexts: pairs of names and an ssl.SSLContext, at least one. A client that names a server (SNI, RFC 6066 3) is
            shown the first that has exactly this name, else the first with a wildcard for it (`*.example.com` stands
            for one label, RFC 6125 6.4.3), else, and if it names none, the first of all.

    Attributes:
        contexts: as given, a tuple.

    The first is used as it is; of the others the certificate alone counts. How clients are verified must be the same in
    all of them, or ValueError is raised: OpenSSL verifies by the first, and resumes sessions of any.
    """

    def __init__(self, contexts):
        given = tuple([(tuple(names), context) for names, context in contexts])
        if not given:
            raise ValueError("at least one certificate is needed")
        for names, context in given:
            if not isinstance(context, _ssl._SSLContext):       # what ssl.SSLContext is may have been patched since
                raise TypeError(f"an ssl.SSLContext is needed, not {type(context).__name__}")
            for name in names:
                if not isinstance(name, str):
                    raise TypeError(f"a server's name is a str, not {type(name).__name__}")
        if self.contexts is not None:
            raise RuntimeError("certificates do not change; make others")
        if len({verifying(((names, context),)) for names, context in given}) > 1:
            raise ValueError(
                "contexts that are chosen from by name must verify clients alike: the first decides for all, and a"
                " session of one resumes at the others"
            )
        exact, wild = {}, {}
        for names, context in given:
            for name in names:
                name = name.rstrip(".").lower().encode("idna" if not name.isascii() else "ascii")
                where, name = (wild, name[2:]) if name.startswith(b"*.") else (exact, name)
                where.setdefault(name, context)
        self.exact, self.wild = exact, wild
        self.first = given[0][1]
        self.contexts = given           # not before: whoever ends looks into them
        self.direct = lib != NULL and not any([has_callbacks(context) for _, context in given])
        if lib != NULL:
            # Sessions are in tickets. The cache would keep 20,480 of clients without: a KiB each, or 10 if verified.
            lib.SSL_CTX_ctrl(pointer_of(self.first), CTRL_CACHE_MODE, CACHE_OFF, NULL)
        # It stays where it is, finds nothing where no connection of ours is, and is not put in place of another's.
        if lib == NULL:
            if self.first.sni_callback is None:
                self.first.sni_callback = _by_name
        elif not has_callbacks(self.first) or self.first.sni_callback is None:
            lib.SSL_CTX_callback_ctrl(pointer_of(self.first), CTRL_SNI_CALLBACK, <void (*)() noexcept>on_server_name)

    cdef object choose(self, const char* name):
        return find(self.exact, self.wild, name, strlen(name))

    def chosen(self, str name):
        """The context for a server name; the first where none is for that name."""
        cdef bytes wanted = name.encode()
        context = find(self.exact, self.wild, PyBytes_AS_STRING(wanted), PyBytes_GET_SIZE(wanted))
        return self.first if context is None else context

    def set_ticket_keys(self, keys):
        """Let session tickets be encrypted by keys that others may have as well: other processes, or this one later.

        Arguments:
            keys: of 80 bytes each: a name (16), a key for HMAC (32) and one for AES (32). The first encrypts, all
                decrypt; at most 8 are kept. Where clients are verified, each is bound to how: who resumes a session is
                not verified again.

        Returns False where that cannot be done (see `openssl`): tickets are valid in this process alone then.
        """
        cdef int count
        cdef TicketKeys* tickets
        keys = [bytes(memoryview(key)) for key in keys][:TICKET_KEYS]
        if any([len(key) != TICKET_KEY for key in keys]):
            raise ValueError(f"a ticket key has {TICKET_KEY} bytes")
        if lib == NULL:
            return False
        rules = verifying(self.contexts)
        if rules:
            keys = [shake_256(key + rules).digest(TICKET_KEY) for key in keys]
        for _, context in self.contexts:
            # A context's own: it may be in other Certificates too, which end before.
            tickets = <TicketKeys*>lib.SSL_CTX_get_ex_data(pointer_of(context), tickets_at)
            if tickets == NULL:
                tickets = <TicketKeys*>calloc(1, sizeof(TicketKeys))
                if tickets == NULL or lib.SSL_CTX_set_ex_data(pointer_of(context), tickets_at, tickets) != 1:
                    free(tickets)
                    raise MemoryError
            count = 0
            for key in keys:
                memcpy(tickets.keys[count], PyBytes_AS_STRING(key), TICKET_KEY)
                count += 1
            tickets.count = count
            if lib.SSL_CTX_callback_ctrl(
                pointer_of(context), CTRL_TICKET_CALLBACK, <void (*)() noexcept>on_ticket
            ) != 1:
                return False
        return True

    @property
    def way(self):
        """"direct" or "simple": how the next connection is made."""
        return "direct" if self.is_direct() else "simple"

    cdef bint is_direct(self) except -1:
        cdef tuple pair
        if not self.direct or force_simple:
            return False
        for pair in self.contexts:
            if has_callbacks(pair[1]):
                return False
        return True

    cdef Layer layer(self, int fd):
        """For a connection that was accepted, by its descriptor. Which way is asked for each: a callback may have been
        set meanwhile."""
        cdef DirectLayer made
        cdef SimpleLayer made_simply
        if not self.is_direct():
            made_simply = simple(self.first, fd, True, None)
            made_simply.certificates = self
            return made_simply
        made = DirectLayer.__new__(DirectLayer)
        made.fd = fd
        made.ssl = lib.SSL_new(pointer_of(self.first))
        if made.ssl == NULL:
            raise MemoryError
        made.certificates = self
        lib.BIO_up_ref(bio)
        lib.SSL_set_bio(made.ssl, bio, bio)
        lib.SSL_ctrl(made.ssl, CTRL_MODE, MODE, NULL)
        lib.SSL_set_read_ahead(made.ssl, 1)
        lib.SSL_set_options(made.ssl, NO_RENEGOTIATION)
        lib.SSL_set_accept_state(made.ssl)
        return made


cdef bytes verifying(tuple contexts):
    """How clients are verified, as bytes that differ if that does; b"": they are not."""
    cdef set rules = set()
    cdef tuple pair
    for pair in contexts:
        if pair[1].verify_mode != ssl.CERT_NONE:
            rules.add((int(pair[1].verify_mode), int(pair[1].verify_flags), tuple(sorted(pair[1].get_ca_certs(True)))))
    return repr(sorted(rules)).encode() if rules else b""


cdef object find(dict exact, dict wild, const char* name, size_t size):
    """The context for a server name, or None.

    Makes bytes and nothing that the collector counts: no tuple of arguments, no bound method. In the middle of OpenSSL
    no other green thread may be let run.
    """
    cdef char lower[MOST_NAME]
    cdef const char* dot
    cdef size_t i
    if size > MOST_NAME:
        return None
    for i in range(size):
        lower[i] = name[i] + 32 if 65 <= name[i] <= 90 else name[i]
    found = exact.get(PyBytes_FromStringAndSize(lower, size))
    if found is None:
        dot = <const char*>memchr(lower, 46, size)
        if dot != NULL:
            found = wild.get(PyBytes_FromStringAndSize(dot + 1, size - (dot + 1 - lower)))
    return found


# The direct way -------------------------------------------------------------------------------------------------------

@cython.no_gc                   # no cycle goes through it, and 16 bytes less
cdef class DirectLayer(Layer):
    """TLS by OpenSSL's own functions. Made by `Certificates.layer`."""

    def __dealloc__(self):
        if self.ssl != NULL:
            lib.SSL_free(self.ssl)
        self.forget()

    cdef void forget(self) noexcept:
        if self.held != NULL:
            count_held(-<ssize_t>self.held_size)
            free(self.held)
            self.held = NULL
            self.held_size = 0

    cdef int begin(self, Stream stream) except -1:
        """OpenSSL is about to be called for this connection."""
        operation.fd = self.fd
        operation.before_size = 0
        operation.ended = False
        operation.failure = 0
        operation.received = 0
        operation.paused = False
        operation.out_size = 0
        if self.held != NULL:
            if not more_room(self.held_size):
                raise MemoryError
            memcpy(operation.out, self.held, self.held_size)
            operation.out_size = self.held_size
            self.forget()
        if lib.ERR_peek_error():
            lib.ERR_clear_error()       # of somebody else's: it would be taken for ours
        return 0

    cdef int leave(self, Stream stream, bint last, bint wait) except -1:
        """Send what OpenSSL wants sent, or hold it back: all of it with `wait`, else what the system does not take.

        1: nothing is held back.
        """
        cdef size_t sent = 0
        cdef ssize_t n
        cdef int problem = 0
        while sent < operation.out_size and not wait:
            n = c_send(
                self.fd, operation.out + sent, operation.out_size - sent,
                MSG_NOSIGNAL | (MSG_MORE if last else 0),
            )
            if n >= 0:
                sent += n
            elif errno == EAGAIN:
                break
            elif errno != EINTR:
                problem = errno
                break
        self.stuck = not wait and sent < operation.out_size
        if problem:
            stream.failed = True
            self.said = True
            errno_set(problem)
            PyErr_SetFromErrno(OSError)         # raises
        if sent == operation.out_size:
            return 1
        self.held = <char*>malloc(operation.out_size - sent)
        if self.held == NULL:
            stream.failed = True
            raise MemoryError
        self.held_size = <uint32_t>(operation.out_size - sent)
        count_held(self.held_size)
        memcpy(self.held, operation.out + sent, self.held_size)
        return 0

    cdef Py_ssize_t held_back(self) noexcept:
        return self.held_size

    cdef int ended(self, int result) except -1:
        """What has ended an operation that gave `result`: sets `over`, or nothing if more has to come."""
        cdef int error = lib.SSL_get_error(self.ssl, result)
        if error == ERROR_WANT_READ:
            if operation.ended:
                self.over = CUT
        elif error == ERROR_ZERO_RETURN:
            self.over = PARTED
        else:
            self.over = BROKEN
            self.problem = <uint32_t>lib.ERR_get_error()
            lib.ERR_clear_error()
        return 0

    cdef Py_ssize_t read(self, Stream stream, char* into, size_t size) except -2:
        cdef size_t n = 0
        cdef int got, failure
        if self.over == BROKEN:
            raise self.broken(stream)
        self.unfinished = False
        if self.over != OPEN:
            return 0
        self.begin(stream)
        while True:
            got = lib.SSL_read(self.ssl, into + n, <int>min(size - n, <size_t>0x7fffffff))
            if got <= 0:
                self.ended(got)
                break
            n += got
            if n == size:
                self.unfinished = lib.SSL_has_pending(self.ssl)
                break
            if not lib.SSL_has_pending(self.ssl):
                break
        if operation.paused:
            self.unfinished = True
        failure = operation.failure
        stream.taken += operation.received - <int64_t>n     # what comes of a record is progress, before it is whole
        if operation.out_size:
            self.leave(stream, False, False)            # its own answers: to key updates, or why it gives up
            if self.held_size > MOST_REPLIES and self.over == OPEN:
                self.over = BROKEN
        if n:
            if self.over != OPEN:
                self.unfinished = True                  # how it has ended is for the next call, and comes by itself
            return n
        if failure:
            stream.failed = True
            errno_set(failure)
            PyErr_SetFromErrno(OSError)                 # raises
        if self.over == BROKEN:
            raise self.broken(stream)
        return -1 if self.over == OPEN else 0

    cdef object broken(self, Stream stream):
        stream.failed = True
        self.said = True
        self.unfinished = False
        return TLSError(f"the peer's TLS cannot be read: {words(self.problem)}")

    cdef Py_ssize_t take(self, Stream stream, char* into, size_t size) except -2:
        return self.read(stream, into, size)

    cdef Py_ssize_t discard(self, Stream stream, size_t size) except -2:
        return self.read(stream, bin, min(size, <size_t>RECORD))

    cdef Py_ssize_t give(self, Stream stream, iovec* parts, int count) except -2:
        cdef Py_ssize_t total = 0, size
        cdef size_t n, at = 0
        cdef char* data
        cdef int i = 0, result
        if self.stuck:
            self.begin(stream)
            if not self.leave(stream, False, False):
                return -1
        if self.over == BROKEN:
            raise self.broken(stream)
        if self.said:                                   # as the system does for a plain one
            stream.failed = True
            errno_set(EPIPE)
            PyErr_SetFromErrno(OSError)                 # raises
        self.begin(stream)
        while i < count and total < MOST_GIVEN:
            n = parts[i].iov_len - at
            if n >= RECORD or i + 1 == count:
                data = <char*>parts[i].iov_base + at
                size = min(<Py_ssize_t>n, MOST_GIVEN - total)
                at += size
            else:                                       # small ones share a record
                data = gathered
                size = 0
                while i < count and size < RECORD:
                    n = min(parts[i].iov_len - at, <size_t>(RECORD - size))
                    memcpy(gathered + size, <char*>parts[i].iov_base + at, n)
                    size += n
                    at += n
                    if at < parts[i].iov_len:
                        break
                    i += 1
                    at = 0
            if size:
                result = lib.SSL_write(self.ssl, data, <int>size)
                if result <= 0:
                    self.ended(result)
                    self.over = BROKEN
                    raise self.broken(stream)
                total += size
            if i < count and at == parts[i].iov_len:
                i += 1
                at = 0
        if total == 0:
            return 0 if count == 0 else -1
        # The last of an answer waits for the goodbye behind it.
        self.leave(stream, False, stream.finishing and operation.out_size < RECORD)
        return total

    cdef bint settle(self, Stream stream, bint last) except -1:
        if self.held == NULL and (self.said or not last):
            return True
        self.begin(stream)
        if last and not self.said:
            self.said = True
            if self.over != BROKEN and lib.SSL_shutdown(self.ssl) < 0:
                lib.ERR_clear_error()       # in the middle of its handshake; whoever calls OpenSSL next would be told
        return self.leave(stream, last, False)

    cdef bint called_back(self) noexcept:
        """Whether the context in use has got a callback since it was chosen: see Certificates.layer."""
        cdef void* used = lib.SSL_get_SSL_CTX(self.ssl)
        cdef tuple pair
        for pair in self.certificates.contexts:         # nearly always it is the first
            if pointer_of(pair[1]) == used:
                return has_callbacks(pair[1]) or has_callbacks(self.certificates.first)
        return False

    cdef Handshake shake(self, Stream stream) except *:
        global shaking
        cdef PyObject* outer = shaking
        cdef uint32_t before = stream.in_end - stream.in_pos
        cdef int result
        if self.called_back():
            self.over = BROKEN
            self.said = True
            raise TLSError("the context has got a callback in the middle of the handshake")
        self.begin(stream)
        if before:
            operation.before = stream.inbuf + stream.in_pos
            operation.before_size = before
        shaking = <PyObject*>self
        result = lib.SSL_do_handshake(self.ssl)
        shaking = outer
        stream.consume(before - operation.before_size)
        if result == 1:
            self.leave(stream, False, True)             # tickets: see `settle`
            self.certificates = None
            if stream.in_end > stream.in_pos:
                raise TLSError("more came with the handshake than belongs to it")
            return SHAKEN
        self.ended(result)
        if operation.failure:
            stream.failed = True
            errno_set(operation.failure)
            PyErr_SetFromErrno(OSError)                 # raises
        self.leave(stream, False, False)
        if self.over == OPEN:
            return SHAKING
        self.said = True
        if self.over == CUT:
            raise TLSError("the peer disconnected during the handshake")
        raise TLSError(words(self.problem))

    # ---- what was agreed on

    @property
    def version(self):
        """`TLSv1.3`, say."""
        return lib.SSL_get_version(self.ssl).decode()

    @property
    def cipher(self):
        """Name and bits of the cipher suite; None before the handshake is over."""
        cdef void* cipher = lib.SSL_get_current_cipher(self.ssl)
        if cipher == NULL:
            return None
        return lib.SSL_CIPHER_get_name(cipher).decode(), lib.SSL_CIPHER_get_bits(cipher, NULL)

    @property
    def server_name(self):
        """The host that the client wants, or None."""
        cdef const char* name = lib.SSL_get_servername(self.ssl, 0)
        return None if name == NULL else name.decode("ascii", "replace")

    @property
    def alpn(self):
        """The protocol that was agreed on (RFC 7301), or None."""
        cdef const unsigned char* name = NULL
        cdef unsigned int size = 0
        lib.SSL_get0_alpn_selected(self.ssl, &name, &size)
        return (<const char*>name)[:size].decode("ascii", "replace") if size else None

    @property
    def resumed(self):
        """Whether an earlier session was resumed."""
        return bool(lib.SSL_session_reused(self.ssl))

    @property
    def verified(self):
        """Whether the peer has shown a certificate that was verified."""
        return self.certificate is not None and lib.SSL_get_verify_result(self.ssl) == 0 \
            and lib.SSL_CTX_get_verify_mode(lib.SSL_get_SSL_CTX(self.ssl)) != 0

    @property
    def certificate(self):
        """The peer's certificate in DER, or None."""
        cdef void* found = lib.SSL_get1_peer_certificate(self.ssl)
        cdef unsigned char* into
        cdef int size
        if found == NULL:
            return None
        try:
            size = lib.i2d_X509(found, NULL)
            if size <= 0:
                return None
            der = PyBytes_FromStringAndSize(NULL, size)
            into = <unsigned char*>PyBytes_AS_STRING(der)
            lib.i2d_X509(found, &into)
            return der
        finally:
            lib.X509_free(found)


cdef str words(uint32_t problem):
    """What OpenSSL says of an error."""
    cdef const char* text = lib.ERR_reason_error_string(problem) if problem else NULL
    return "unknown reason" if text == NULL else text.decode("ascii", "replace")


# For who has a context -----------------------------------------------------------------------------------------------

cdef Layer begun(object context, int fd, bint server, object name):
    """For a connection that was plain until now: the direct way for the server's side, where it can be.

    Arguments:
        context: an ssl.SSLContext; for the server's side also what `certificates_of` takes.
        name: the server's, for a client; None: it is not verified, and not said.
    """
    return (<Certificates>certificates_of(context)).layer(fd) if server else simple(context, fd, False, name)


def certificates_of(tls):
    """Of a Certificates, an ssl.SSLContext, or pairs of names and contexts. Raises TypeError or ValueError."""
    if isinstance(tls, Certificates):
        return tls
    if isinstance(tls, _ssl._SSLContext):
        tls = [((), tls)]
    try:
        pairs = [(tuple(names), context) for names, context in tls]
    except (TypeError, ValueError):
        raise TypeError(needed(tls)) from None
    for _, context in pairs:
        if not isinstance(context, _ssl._SSLContext):
            raise TypeError(needed(context))
        if context.protocol == ssl.PROTOCOL_TLS_CLIENT:
            raise ValueError("a context for clients cannot show a certificate; greenhttp.tls.server makes one that can")
    return Certificates(pairs)


cdef str needed(object given):
    return f"an ssl.SSLContext is needed, not {type(given).__name__}; greenhttp.tls.server and .client make some"


def for_client(tls, name):
    """The context that a client encrypts with, who knows its server by that name; True: that of `client_context`.

    Raises TypeError or ValueError for what cannot be, and where the certificate would be anybody's: SSLObject accepts
    any name if it is given none.
    """
    if tls is True:
        tls = client_context()
    if not isinstance(tls, _ssl._SSLContext):
        raise TypeError(needed(tls))
    if tls.protocol == ssl.PROTOCOL_TLS_SERVER:
        raise ValueError("a context for servers does not verify one; greenhttp.tls.client makes one that does")
    if name is None and tls.check_hostname:
        raise ValueError("there is no host to verify the certificate by; give server_name")
    return tls


def client_context():
    """What `connect(tls=True)` verifies a server by: the system's authorities, and its name. The same each time: to
    read them takes some 10 ms."""
    global trusting
    if trusting is None:
        made = ssl.create_default_context()
        made.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        trusting = made
    return trusting


trusting = None
