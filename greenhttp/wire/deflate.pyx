"""permessage-deflate, RFC 7692: messages to and from raw deflate (RFC 1951), whose last four bytes are left out.

zlib is called by its functions, found at run time in the library that Python's own `zlib` uses: Python's objects cannot
be reset, so that each message without takeover would cost a new state, and they make bytes of each step, where a message
grows in one place here. No headers are needed for it, nor anything else to install.

    without takeover    One Deflater for each size of window, and an Inflater for each message that is being read, of
                        which a few are kept: all of the process, none of a socket.
    with takeover       Both of each socket's own, made when they are first needed. Windows of 4 KiB and memLevel 5:
                        39 KB to send and 11 KB to receive, 40 KB if the client cannot be asked for a small window.
                        zlib's defaults are 268 KB and 40 KB, for messages that are a tenth smaller (docs/settings.md).

What is inflated goes where the caller says, as many bytes as there is room for: the limit is the caller's.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.ref cimport Py_INCREF, PyObject
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp

import zlib


cdef extern from "Python.h":
    int _PyBytes_Resize(PyObject** made, Py_ssize_t size) except -1

cdef extern from *:
    """
    #include <dlfcn.h>

    typedef struct {
        int (*deflateInit2_)(greenhttp_zstream*, int, int, int, int, int, const char*, int);
        int (*deflate)(greenhttp_zstream*, int);
        int (*deflateReset)(greenhttp_zstream*);
        int (*deflateEnd)(greenhttp_zstream*);
        unsigned long (*deflateBound)(greenhttp_zstream*, unsigned long);
        int (*inflateInit2_)(greenhttp_zstream*, int, const char*, int);
        int (*inflate)(greenhttp_zstream*, int);
        int (*inflateReset)(greenhttp_zstream*);
        int (*inflateEnd)(greenhttp_zstream*);
        int (*inflateGetDictionary)(greenhttp_zstream*, unsigned char*, unsigned int*);
        int (*inflateSetDictionary)(greenhttp_zstream*, const unsigned char*, unsigned int);
    } greenhttp_zlib;

    #define GREENHTTP_FIND(name) \\
        do { \\
            *(void**)(&into->name) = dlsym(from, #name); \\
            if (into->name == NULL) return 0; \\
        } while (0)

    /* Whether a library that is loaded, or can be, has all that is needed. NULL: the program itself. */
    static int greenhttp_find_zlib(const char* path, greenhttp_zlib* into) {
        void* from = dlopen(path, RTLD_LAZY);
        if (from == NULL)
            return 0;
        GREENHTTP_FIND(deflateInit2_); GREENHTTP_FIND(deflate); GREENHTTP_FIND(deflateReset);
        GREENHTTP_FIND(deflateEnd); GREENHTTP_FIND(deflateBound); GREENHTTP_FIND(inflateInit2_);
        GREENHTTP_FIND(inflate); GREENHTTP_FIND(inflateReset); GREENHTTP_FIND(inflateEnd);
        GREENHTTP_FIND(inflateGetDictionary); GREENHTTP_FIND(inflateSetDictionary);
        return 1;
    }
    """
    ctypedef struct Library "greenhttp_zlib":
        int (*deflateInit2_)(ZStream*, int, int, int, int, int, const char*, int) noexcept
        int (*deflate)(ZStream*, int) noexcept
        int (*deflateReset)(ZStream*) noexcept
        int (*deflateEnd)(ZStream*) noexcept
        unsigned long (*deflateBound)(ZStream*, unsigned long) noexcept
        int (*inflateInit2_)(ZStream*, int, const char*, int) noexcept
        int (*inflate)(ZStream*, int) noexcept
        int (*inflateReset)(ZStream*) noexcept
        int (*inflateEnd)(ZStream*) noexcept
        int (*inflateGetDictionary)(ZStream*, unsigned char*, unsigned int*) noexcept
        int (*inflateSetDictionary)(ZStream*, const unsigned char*, unsigned int) noexcept
    bint greenhttp_find_zlib(const char* path, Library* into) noexcept

cdef enum:
    Z_SYNC_FLUSH = 2
    Z_OK = 0
    Z_STREAM_END = 1
    Z_MEM_ERROR = -4
    Z_BUF_ERROR = -5
    Z_DEFLATED = 8

    LEVEL = 5                   # four fifths of the time of level 6, for messages that are 2 to 3 % larger
    MEM_LEVEL = 8               # without takeover
    TAKEOVER_MEM_LEVEL = 5
    LEAST = 64                  # bytes of a message that is compressed: smaller ones gain nothing without a history
    LEAST_TAKEOVER = 16

    WIDEST = 15                 # bits of a window
    WINDOW = 1 << 15
    MOST_FINALS = 16            # blocks with BFINAL in a message; each costs two copies of the window
    MOST_SPARE = 2              # inflaters that nobody uses
    MOST_AT_ONCE = 1 << 30      # bytes: zlib counts with 32 bits
    TAIL_SIZE = 4
    BETWEEN_BLOCKS = 128        # of data_type, after inflate()

cdef bytes VERSION = b"1"       # zlib compares the first character, and the size of its structure
cdef bytes TAIL = b"\0\0\xff\xff"

cdef Library library
cdef bint found = False
cdef list deflaters = [None] * (WIDEST + 1)     # by bits of the window
cdef list spare = []

cdef size_t in_use = 0


def available():
    """Whether a zlib was found: without one nothing can be agreed upon."""
    return found


def memory():
    """Bytes that zlib has allocated for all of this and not freed: for statistics and tests."""
    return in_use


# malloc, as by default, and counted.
cdef void* allocate(void* opaque, unsigned int items, unsigned int size) noexcept:
    global in_use
    cdef size_t* made = <size_t*> malloc(<size_t> items * size + 16)
    if made == NULL:
        return NULL
    made[0] = <size_t> items * size
    in_use += made[0]
    return made + 16 // sizeof(size_t)


cdef void release(void* opaque, void* where) noexcept:
    global in_use
    cdef size_t* made = <size_t*> where - 16 // sizeof(size_t)
    in_use -= made[0]
    free(made)


@cython.no_gc
@cython.final
cdef class Inflater:
    """A stream of raw deflate that is being read."""

    def __cinit__(self, int bits):
        self.stream.zalloc = allocate
        self.stream.zfree = release
        if library.inflateInit2_(&self.stream, -bits, VERSION, sizeof(ZStream)) != Z_OK:
            raise MemoryError

    def __dealloc__(self):
        if self.stream.state != NULL:
            library.inflateEnd(&self.stream)

    cdef void give(self, const unsigned char* p, unsigned int size) noexcept:
        """Bytes that the next take()s read; nothing may be left of those before."""
        self.stream.next_in = p
        self.stream.avail_in = size

    cdef Py_ssize_t take(self, unsigned char* to, Py_ssize_t room) except -1:
        """Inflate into `room` bytes; returns how many there are. As many as there is room for: ask again."""
        cdef int result
        room = min(room, MOST_AT_ONCE)
        self.stream.next_out = to
        self.stream.avail_out = <unsigned int> room
        while True:
            result = library.inflate(&self.stream, Z_SYNC_FLUSH)
            if result == Z_STREAM_END:          # RFC 7692 7.2.3.4: other blocks may follow, with the same window
                self.finals += 1
                self.bad = self.finals > MOST_FINALS
                if not self.bad:
                    self.next_stream()
                    if self.stream.avail_in and self.stream.avail_out:
                        continue
            elif result == Z_MEM_ERROR:
                raise MemoryError
            elif result != Z_OK and result != Z_BUF_ERROR:
                self.bad = True
            return room - self.stream.avail_out

    cdef int next_stream(self) except -1:
        """Begin anew behind a block with BFINAL, and keep the window."""
        cdef unsigned int size = 0
        cdef unsigned char* window = <unsigned char*> malloc(WINDOW)
        if window == NULL:
            raise MemoryError
        self.bad = (
            library.inflateGetDictionary(&self.stream, window, &size) != Z_OK
            or library.inflateReset(&self.stream) != Z_OK
            or library.inflateSetDictionary(&self.stream, window, size) != Z_OK
        )
        free(window)
        return 0

    cdef bint between_blocks(self) noexcept:
        return self.stream.data_type & BETWEEN_BLOCKS != 0


@cython.no_gc
@cython.final
cdef class Deflater:
    """A stream of raw deflate that is being written."""

    def __cinit__(self, int bits, int mem_level):
        self.stream.zalloc = allocate
        self.stream.zfree = release
        if library.deflateInit2_(
            &self.stream, LEVEL, Z_DEFLATED, -bits, mem_level, 0, VERSION, sizeof(ZStream)
        ) != Z_OK:
            raise MemoryError

    def __dealloc__(self):
        if self.stream.state != NULL:
            library.deflateEnd(&self.stream)

    cdef bytes message(self, const unsigned char* p, Py_ssize_t size, bint takeover):
        """Compress one message that is not empty (RFC 7692 7.2.1)."""
        cdef PyObject* made
        cdef Py_ssize_t room = library.deflateBound(&self.stream, size) + 16, used = 0, part, left = size
        cdef char* end
        first = PyBytes_FromStringAndSize(NULL, room)
        Py_INCREF(first)
        made = <PyObject*> first
        first = None
        self.stream.next_in = p
        self.stream.avail_in = 0
        while True:
            if self.stream.avail_in == 0:
                self.stream.avail_in = <unsigned int> min(left, MOST_AT_ONCE)
                left -= self.stream.avail_in
            part = min(room - used, MOST_AT_ONCE)
            self.stream.next_out = <unsigned char*> PyBytes_AS_STRING(<object> made) + used
            self.stream.avail_out = <unsigned int> part
            library.deflate(&self.stream, 0 if left else Z_SYNC_FLUSH)     # fails only if it is called wrongly
            used += part - self.stream.avail_out
            if self.stream.avail_out and self.stream.avail_in == 0 and left == 0:
                break
            if room - used < 16:
                room += room // 2
                _PyBytes_Resize(&made, room)
        if not takeover:
            library.deflateReset(&self.stream)
        end = PyBytes_AS_STRING(<object> made) + used - TAIL_SIZE
        assert used > TAIL_SIZE and memcmp(end, <const char*> TAIL, TAIL_SIZE) == 0
        _PyBytes_Resize(&made, used - TAIL_SIZE)
        return taken(made)


cdef extern from *:
    """
    /* The reference that `made` is becomes the result's. */
    #define greenhttp_taken(made) (made)
    """
    object taken "greenhttp_taken"(PyObject* made)


@cython.no_gc
@cython.final
cdef class Compression:
    """permessage-deflate of one WebSocket, as agreed upon (handshake.Deflate has the same attributes).

    Arguments:
        out_bits, in_bits: the windows, of what is sent (9 to 15) and of what comes (8 to 15).
        out_takeover, in_takeover: whether a message may refer to those before it.
    """

    def __cinit__(self, int out_bits=WIDEST, int in_bits=WIDEST, bint out_takeover=False, bint in_takeover=False):
        if not found:
            raise RuntimeError("no zlib was found")
        if not (9 <= out_bits <= WIDEST and 8 <= in_bits <= WIDEST):
            raise ValueError("a window has 9 to 15 bits, 8 to 15 to receive")
        self.out_bits, self.in_bits = out_bits, in_bits
        self.out_takeover, self.in_takeover = out_takeover, in_takeover

    cdef Inflater inflater(self):
        """For the message that is being read."""
        if self.into is None:
            if self.in_takeover:
                self.into = Inflater(self.in_bits)
            else:
                self.into = spare.pop() if spare else Inflater(WIDEST)
        return self.into

    cdef void message_is_read(self) noexcept:
        cdef Inflater used = self.into
        if used is None:
            return
        used.finals = 0
        if self.in_takeover:
            return
        self.into = None
        if len(spare) < MOST_SPARE and library.inflateReset(&used.stream) == Z_OK:
            used.bad = False
            spare.append(used)

    cdef bytes message(self, const unsigned char* p, Py_ssize_t size):
        """The payload of a message, compressed; None: it goes out as it is, since it would not become smaller."""
        cdef bytes made
        cdef Deflater out
        if size < (LEAST_TAKEOVER if self.out_takeover else LEAST):
            return None
        if self.out_takeover:
            if self.out is None:
                self.out = Deflater(self.out_bits, TAKEOVER_MEM_LEVEL)
            return self.out.message(p, size, True)      # larger or not: those behind it refer to it
        out = deflaters[self.out_bits]
        if out is None:
            out = deflaters[self.out_bits] = Deflater(self.out_bits, MEM_LEVEL)
        made = out.message(p, size, False)
        return made if len(made) < size else None


cdef bint look():
    for path in (getattr(zlib, "__file__", None), "", "libz.so.1", "libz.1.dylib"):
        if path is not None:
            place = path.encode("utf-8", "surrogateescape")
            if greenhttp_find_zlib(<const char*> place if path else NULL, &library):
                return True
    return False


found = look()
