from libc.stdint cimport int64_t, uint32_t, uint64_t

from cpython.ref cimport PyObject

from greenhttp.wire.deflate cimport Compression


cpdef enum Event:
    NOTHING = 0            # all bytes were used, and nothing is whole
    TEXT = 1
    BINARY = 2
    PING = 3
    PONG = 4
    CLOSE = 5
    FAILED = 6             # a rule is broken: nothing more is read from this peer


cpdef enum Opcode:
    OP_CONTINUATION = 0
    OP_TEXT = 1
    OP_BINARY = 2
    OP_CLOSE = 8
    OP_PING = 9
    OP_PONG = 10


cdef enum:
    FRAME_HEAD_MAX = 10    # bytes frame_head() may write
    CONTROL_MAX = 125      # bytes of a control frame's payload


cdef class Codec:
    # What the last feed() has completed. Take `message` by take(): what stays in it lives as long as the socket idles.
    cdef object message                  # TEXT: str; BINARY, PING and PONG: bytes
    cdef readonly str reason             # CLOSE: the peer's; FAILED: which rule, for the log
    cdef readonly unsigned short code    # CLOSE: the peer's, 1005 without one; FAILED: the one to close with
    cdef unsigned char event             # an Event

    cdef unsigned char stage             # what comes next: a head, payload, or nothing more
    cdef unsigned char client            # whether this is the client's end

    # The frame
    cdef unsigned char opcode
    cdef unsigned char last              # FIN
    cdef unsigned char head_size         # bytes of a head that has come in parts
    cdef unsigned char head[14]

    # The message
    cdef unsigned char kind              # OP_TEXT or OP_BINARY, or 0 between two messages
    cdef unsigned char compressed        # RSV1
    cdef unsigned char need, low, high   # UTF-8: bytes missing to the character, and the bounds of the next one

    cdef uint32_t mask                   # as it lies in memory, rotated to the next byte of the payload
    cdef int64_t left                    # bytes of the frame's payload still to come
    cdef PyObject* control               # payload of a control frame that has come in parts
    cdef PyObject* whole                 # bytes of the message, if in parts or compressed; some to spare while it grows
    cdef Py_ssize_t used
    cdef readonly Py_ssize_t max_frame, max_message
    cdef readonly Compression compression        # None: not agreed upon

    cdef Py_ssize_t feed(self, char* data, Py_ssize_t size) except -1
    cdef inline object take(self):
        message = self.message
        self.message = None
        return message
    cdef bint idle(self) noexcept
    cdef Py_ssize_t kept(self) noexcept
    cdef bytes compress(self, object data)
    cdef int shared_window(self) noexcept

    cdef int fail(self, int code, str reason) except -1
    cdef Py_ssize_t read_head(self, const unsigned char* p, Py_ssize_t size) except -1
    cdef int parse_head(self, const unsigned char* p, Py_ssize_t size) except -1
    cdef int control_payload(self, const unsigned char* p, Py_ssize_t size) except -1
    cdef int control_frame(self, bytes payload) except -1
    cdef int data_payload(self, unsigned char* p, Py_ssize_t size) except -1
    cdef int whole_message(self, unsigned char* p, Py_ssize_t size) except -1
    cdef int append(self, unsigned char* p, Py_ssize_t size) except -1
    cdef int inflate(self, const unsigned char* p, Py_ssize_t size) except -1
    cdef int room(self, Py_ssize_t size, Py_ssize_t most) except -1
    cdef int finish(self) except -1
    cdef void forget(self) noexcept


# The head of a frame without a mask, 2 to 10 bytes; returns how many. `into` has room for FRAME_HEAD_MAX.
cdef int frame_head(char* into, int opcode, int64_t size, bint compressed, bint last) noexcept
cdef bytes close_payload(int code, str reason)
