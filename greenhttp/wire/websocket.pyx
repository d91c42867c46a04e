"""Frames of a WebSocket, RFC 6455: bytes in, messages out, and heads of frames. No leniency: sections are with rules.

`Codec.feed` takes bytes as they come, cut anywhere, and stops behind each event. Payload is written to where it stays,
unmasked on the way: of a message that lies whole in the input, one copy is made, its str or bytes. A message in parts
grows with what has arrived, whatever its heads claim, and text is checked as it comes: the first byte that is no UTF-8
ends the connection, in the middle of a frame too. Between two messages a Codec has no memory beyond itself.

Close codes by which a Codec fails: 1002 a rule of the protocol, 1007 text that is not UTF-8, 1009 a limit.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_INCREF, Py_XDECREF, PyObject
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from greenhttp.wire.deflate cimport Compression, Inflater


cdef extern from "Python.h":
    object PyUnicode_New(Py_ssize_t size, unsigned int maxchar)
    void* PyUnicode_DATA(object text)
    int _PyBytes_Resize(PyObject** made, Py_ssize_t size) except -1

cdef extern from *:
    """
    #include <stddef.h>
    #include <stdint.h>
    #include <string.h>

    #define GREENHTTP_HIGH 0x8080808080808080u

    /* XOR with the mask, a word at a time; the compiler makes vectors of it. Returns whether a byte is beyond ASCII. */
    static int greenhttp_unmask_to(unsigned char* restrict to, const unsigned char* restrict from, size_t size,
                                   uint32_t mask) {
        uint64_t word, both = (uint64_t)mask << 32 | mask, seen = 0;
        size_t i, words = size / 8;
        for (i = 0; i < words; i++) {
            memcpy(&word, from + i * 8, 8);
            word ^= both;
            seen |= word;
            memcpy(to + i * 8, &word, 8);
        }
        if (size & 7) {
            word = 0;
            memcpy(&word, from + words * 8, size & 7);
            word ^= both;
            memcpy(to + words * 8, &word, size & 7);
            for (i = words * 8; i < size; i++)
                seen |= to[i];
        }
        return (seen & GREENHTTP_HIGH) != 0;
    }

    static void greenhttp_unmask(unsigned char* p, size_t size, uint32_t mask) {
        uint64_t word, both = (uint64_t)mask << 32 | mask;
        size_t i, words = size / 8;
        for (i = 0; i < words; i++) {
            memcpy(&word, p + i * 8, 8);
            word ^= both;
            memcpy(p + i * 8, &word, 8);
        }
        for (i = words * 8; i < size; i++)
            p[i] ^= ((const unsigned char*)&both)[i & 7];
    }

    /* The mask for the byte behind `size` bytes. */
    static uint32_t greenhttp_rotated(uint32_t mask, size_t size) {
        unsigned char old[4], new[4];
        size_t i;
        memcpy(old, &mask, 4);
        for (i = 0; i < 4; i++)
            new[i] = old[(i + size) & 3];
        memcpy(&mask, new, 4);
        return mask;
    }

    /* Whether the bytes go on as UTF-8, RFC 3629 section 4. */
    static int greenhttp_utf8(const unsigned char* p, size_t size, unsigned char* need_at, unsigned char* low_at,
                              unsigned char* high_at) {
        unsigned char need = *need_at, low = *low_at, high = *high_at, c;
        uint64_t word[4];
        size_t i = 0;
        while (i < size) {
            c = p[i++];
            if (need) {
                if (c < low || c > high)
                    return 0;
                low = 0x80;
                high = 0xBF;
                need--;
            } else if (c < 0x80) {
                for (; i + 32 <= size; i += 32) {
                    memcpy(word, p + i, 32);
                    if ((word[0] | word[1] | word[2] | word[3]) & GREENHTTP_HIGH)
                        break;
                }
                for (; i + 8 <= size; i += 8) {
                    memcpy(word, p + i, 8);
                    if (word[0] & GREENHTTP_HIGH)
                        break;
                }
            } else {
                if (c < 0xC2 || c > 0xF4)
                    return 0;
                low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
                high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
                need = c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
                if (size - i >= need) {     /* all of the character is there, as nearly always */
                    if (p[i] < low || p[i] > high || (need > 1 && (p[i + 1] & 0xC0) != 0x80)
                        || (need > 2 && (p[i + 2] & 0xC0) != 0x80))
                        return 0;
                    i += need;
                    need = 0;
                }
            }
        }
        *need_at = need;
        *low_at = low;
        *high_at = high;
        return 1;
    }
    """
    bint greenhttp_unmask_to(unsigned char* to, const unsigned char* source, size_t size, uint32_t mask) noexcept
    void greenhttp_unmask(unsigned char* p, size_t size, uint32_t mask) noexcept
    uint32_t greenhttp_rotated(uint32_t mask, size_t size) noexcept
    bint greenhttp_utf8(
        const unsigned char* p, size_t size, unsigned char* need, unsigned char* low, unsigned char* high
    ) noexcept

cdef const unsigned char* DEFLATE_TAIL = b"\0\0\xff\xff"

cdef enum:
    HEAD, PAYLOAD, ENDED                # Codec.stage

    FIN = 0x80
    RSV1 = 0x40
    RSV2_OR_3 = 0x30
    MASKED = 0x80

    LEAST_ROOM = 512                    # bytes of a message that has come in parts, at first

    PROTOCOL_ERROR = 1002               # section 7.4.1
    NO_CODE = 1005
    NOT_UTF8 = 1007
    TOO_BIG = 1009


@cython.no_gc                           # str and bytes only: no circle can pass through it
@cython.final
cdef class Codec:
    """The receiving side of one WebSocket.

    Arguments:
        max_frame: bytes of a data frame's payload, as it is sent.
        max_message: bytes of a message, inflated if it is compressed; UTF-8 of text.
        client: the end that masks, and refuses masked frames.
        compression: what is agreed upon, a handshake.Deflate; None: nothing.
    """

    def __init__(
        self, *, Py_ssize_t max_frame=1048576, Py_ssize_t max_message=16777216, bint client=False, compression=None
    ):
        self.max_frame = max_frame
        self.max_message = max_message
        self.client = client
        if compression is not None:
            self.compression = Compression(*compression)

    def __dealloc__(self):
        Py_XDECREF(self.whole)
        Py_XDECREF(self.control)

    cdef Py_ssize_t feed(self, char* data, Py_ssize_t size) except -1:
        """Read up to the end of one event; returns the bytes used, all of them if `event` is NOTHING or FAILED.

        The bytes are written over. Behind CLOSE and FAILED everything is passed over (section 5.5.1).
        """
        cdef unsigned char* p = <unsigned char*> data
        cdef Py_ssize_t at = 0, n
        self.event = NOTHING
        if self.message is not None:
            self.message = None
        while at < size and self.stage != ENDED:
            if self.stage == HEAD:
                at += self.read_head(p + at, size - at)
                if self.stage != PAYLOAD:
                    break
            n = size - at
            if n > self.left:
                n = self.left
            if self.opcode & 8:
                self.control_payload(p + at, n)
            else:
                self.data_payload(p + at, n)
            at += n
            if self.event != NOTHING:
                break
        return size if self.event in (NOTHING, FAILED) else at

    cdef bint idle(self) noexcept:
        """Whether it is between two messages, and no part of a frame has come."""
        return self.stage == HEAD and self.head_size == 0 and self.kind == 0

    cdef Py_ssize_t kept(self) noexcept:
        """Bytes of memory that an unfinished message has."""
        return 0 if self.whole == NULL else PyBytes_GET_SIZE(<object> self.whole)

    cdef bytes compress(self, object data):
        """The payload of a message (str, or bytes-like), compressed as agreed; None: it goes out as it is.

        With takeover, what is compressed must be sent, and in this order.
        """
        cdef bytes plain
        if self.compression is None:
            return None
        plain = data.encode() if isinstance(data, str) else bytes(data)
        return self.compression.message(<const unsigned char*> PyBytes_AS_STRING(plain), PyBytes_GET_SIZE(plain))

    cdef int shared_window(self) noexcept:
        """Codecs with the same number here compress a message to the same bytes; -1: only this one, 0: not at all."""
        if self.compression is None:
            return 0
        return -1 if self.compression.out_takeover else self.compression.out_bits

    cdef int fail(self, int code, str reason) except -1:
        self.stage = ENDED
        self.forget()
        self.event = FAILED
        self.code = code
        self.reason = reason
        return 0

    cdef void forget(self) noexcept:
        cdef PyObject* whole = self.whole
        cdef PyObject* control = self.control
        self.whole = self.control = NULL
        self.used = 0
        self.kind = 0
        self.need = 0
        if self.compressed:
            self.compressed = False
            self.compression.message_is_read()
        Py_XDECREF(whole)
        Py_XDECREF(control)

    # Heads ------------------------------------------------------------------------------------------------------------

    cdef Py_ssize_t read_head(self, const unsigned char* p, Py_ssize_t size) except -1:
        """Bytes used; `stage` says whether the head is whole."""
        cdef int n, had = self.head_size
        if had == 0:
            n = self.parse_head(p, size)
            if n == 0 and self.stage == HEAD:           # hence less than a head
                memcpy(self.head, p, size)
                self.head_size = size
        else:
            size = min(size, <Py_ssize_t> sizeof(self.head) - had)
            memcpy(self.head + had, p, size)
            n = self.parse_head(self.head, had + size)
            self.head_size = had + size if n == 0 else 0
        return size if n == 0 else n - had

    cdef int parse_head(self, const unsigned char* p, Py_ssize_t size) except -1:
        """Bytes of the head (section 5.2), 0 if more are needed or it has failed.

        Rules are applied in the order of the bytes, so that it fails in the same way wherever the bytes are cut.
        """
        cdef int opcode = p[0] & 15, at = 2, i
        cdef uint64_t n
        if p[0] & RSV2_OR_3 or p[0] & RSV1 and (self.compression is None or opcode not in (OP_TEXT, OP_BINARY)):
            return self.fail(PROTOCOL_ERROR, "a reserved bit is set")
        if opcode & 7 > 2:
            return self.fail(PROTOCOL_ERROR, f"opcode {opcode} is reserved")
        if opcode & 8:
            if not p[0] & FIN:
                return self.fail(PROTOCOL_ERROR, "a control frame is fragmented")
        elif opcode == OP_CONTINUATION:
            if self.kind == 0:
                return self.fail(PROTOCOL_ERROR, "a continuation without a beginning")
        elif self.kind:
            return self.fail(PROTOCOL_ERROR, "a new message inside a fragmented one")
        if size < 2:
            return 0
        if bool(p[1] & MASKED) == self.client:
            return self.fail(PROTOCOL_ERROR, f"a frame with{'' if self.client else 'out'} a mask")
        n = p[1] & 127
        if n > CONTROL_MAX:
            if opcode & 8:
                return self.fail(PROTOCOL_ERROR, f"a control frame of more than {CONTROL_MAX} bytes")
            at = 4 if n == 126 else 10
            if size < at:
                return 0
            n = 0
            for i in range(2, at):
                n = n << 8 | p[i]
            if n >> 63:
                return self.fail(PROTOCOL_ERROR, "a length of 64 bits")
            if n < 126 or at == 10 and n < 65536:
                return self.fail(PROTOCOL_ERROR, "a length with more bytes than it needs")
            if n > <uint64_t> self.max_frame:
                return self.fail(TOO_BIG, f"a frame of more than {self.max_frame} bytes")
        elif not opcode & 8 and n > <uint64_t> self.max_frame:
            return self.fail(TOO_BIG, f"a frame of more than {self.max_frame} bytes")
        if not (opcode & 8 or p[0] & RSV1 or self.compressed) and n + self.used > <uint64_t> self.max_message:
            return self.fail(TOO_BIG, f"a message of more than {self.max_message} bytes")
        if self.client:
            self.mask = 0
        else:
            if size < at + 4:
                return 0
            memcpy(&self.mask, p + at, 4)
            at += 4
        self.opcode = opcode
        self.last = p[0] & FIN != 0
        self.left = n
        if opcode == OP_TEXT or opcode == OP_BINARY:
            self.kind = opcode
            self.compressed = p[0] & RSV1 != 0
        self.stage = PAYLOAD
        return at

    # Control frames, section 5.5 --------------------------------------------------------------------------------------

    cdef int control_payload(self, const unsigned char* p, Py_ssize_t size) except -1:
        """`size` bytes have come, at most what is left."""
        cdef bytes payload
        cdef Py_ssize_t at
        if self.control == NULL:
            payload = PyBytes_FromStringAndSize(NULL, self.left)
        else:
            payload = <bytes> self.control
        at = PyBytes_GET_SIZE(payload) - self.left
        greenhttp_unmask_to(<unsigned char*> PyBytes_AS_STRING(payload) + at, p, size, self.mask)
        self.left -= size
        if self.left == 0:
            self.stage = HEAD
            Py_XDECREF(self.control)
            self.control = NULL
            return self.control_frame(payload)
        self.mask = greenhttp_rotated(self.mask, size)
        if self.control == NULL:
            Py_INCREF(payload)
            self.control = <PyObject*> payload
        return 0

    cdef int control_frame(self, bytes payload) except -1:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(payload)
        cdef int code = NO_CODE
        cdef str reason = ""
        if self.opcode != OP_CLOSE:
            self.message = payload
            self.event = PING if self.opcode == OP_PING else PONG
            return 0
        if size == 1:
            return self.fail(PROTOCOL_ERROR, "a close frame of one byte")
        if size:
            code = <unsigned char> payload[0] << 8 | <unsigned char> payload[1]
            if not may_be_sent(code):
                return self.fail(PROTOCOL_ERROR, f"the close code {code} may not be sent")
            try:
                reason = PyUnicode_DecodeUTF8(PyBytes_AS_STRING(payload) + 2, size - 2, NULL)
            except UnicodeDecodeError:
                return self.fail(NOT_UTF8, "a close reason that is not UTF-8")
        self.stage = ENDED
        self.forget()
        self.event = CLOSE
        self.code = code
        self.reason = reason
        return 0

    # Messages, section 5.4 --------------------------------------------------------------------------------------------

    cdef int data_payload(self, unsigned char* p, Py_ssize_t size) except -1:
        """`size` bytes have come, at most what is left."""
        self.left -= size
        if self.left == 0:
            self.stage = HEAD
            if self.last and self.whole == NULL and not self.compressed:
                return self.whole_message(p, size)
        if size and not self.append(p, size):
            return 0
        if self.left == 0:
            if self.last:
                return self.finish()
        else:
            self.mask = greenhttp_rotated(self.mask, size)
        return 0

    cdef int whole_message(self, unsigned char* p, Py_ssize_t size) except -1:
        cdef int kind = self.kind
        self.kind = 0
        if kind == OP_BINARY:
            made = PyBytes_FromStringAndSize(NULL, size)
            if size:                    # b"" is shared
                greenhttp_unmask_to(<unsigned char*> PyBytes_AS_STRING(made), p, size, self.mask)
            self.message = made
            self.event = BINARY
            return 0
        if size == 0:
            self.message = ""
        else:
            made = PyUnicode_New(size, 127)
            if greenhttp_unmask_to(<unsigned char*> PyUnicode_DATA(made), p, size, self.mask):
                greenhttp_unmask(p, size, self.mask)
                try:
                    made = PyUnicode_DecodeUTF8(<char*> p, size, NULL)
                except UnicodeDecodeError:
                    return self.fail(NOT_UTF8, "text that is not UTF-8")
            self.message = made
        self.event = TEXT
        return 0

    cdef int append(self, unsigned char* p, Py_ssize_t size) except -1:
        """One more part of a message; returns whether it is good."""
        cdef unsigned char* to
        if self.compressed:
            greenhttp_unmask(p, size, self.mask)
            return self.inflate(p, size)
        self.room(size, self.used + size + self.left if self.last else self.max_message)
        to = <unsigned char*> PyBytes_AS_STRING(<object> self.whole) + self.used
        greenhttp_unmask_to(to, p, size, self.mask)
        if self.kind == OP_TEXT and not greenhttp_utf8(to, size, &self.need, &self.low, &self.high):
            self.fail(NOT_UTF8, "text that is not UTF-8")
            return 0
        self.used += size
        return 1

    cdef int inflate(self, const unsigned char* p, Py_ssize_t size) except -1:
        """The same of a compressed one. One byte beyond the limit is inflated, and no more."""
        cdef Inflater stream = self.compression.inflater()
        cdef unsigned char* to
        cdef Py_ssize_t room, n
        stream.give(p, <unsigned int> size)
        while True:
            self.room(1, self.max_message + 1)
            to = <unsigned char*> PyBytes_AS_STRING(<object> self.whole) + self.used
            room = PyBytes_GET_SIZE(<object> self.whole) - self.used
            n = stream.take(to, room)
            if self.kind == OP_TEXT and not greenhttp_utf8(to, n, &self.need, &self.low, &self.high):
                self.fail(NOT_UTF8, "text that is not UTF-8")
                return 0
            self.used += n
            if self.used > self.max_message:
                self.fail(TOO_BIG, f"a message of more than {self.max_message} bytes")
                return 0
            if stream.bad:
                self.fail(NOT_UTF8, "a compressed message that cannot be inflated")
                return 0
            if n < room:
                return 1

    cdef int room(self, Py_ssize_t size, Py_ssize_t most) except -1:
        """Make room for `size` more bytes, and as many as have come, of at most `most` in all."""
        cdef Py_ssize_t wanted = self.used + size, room
        if self.whole != NULL and wanted <= PyBytes_GET_SIZE(<object> self.whole):
            return 0
        room = max(min(max(wanted * 2, LEAST_ROOM), most), wanted)
        if self.whole == NULL:
            made = PyBytes_FromStringAndSize(NULL, room)
            Py_INCREF(made)
            self.whole = <PyObject*> made
        else:
            _PyBytes_Resize(&self.whole, room)
        return 0

    cdef int finish(self) except -1:
        cdef int kind = self.kind
        cdef Py_ssize_t size = self.used
        if self.compressed:
            if not self.inflate(DEFLATE_TAIL, 4):               # RFC 7692 7.2.2
                return 0
            if not self.compression.into.between_blocks():
                return self.fail(NOT_UTF8, "a compressed message that is not whole")
            size = self.used
        if self.need:
            return self.fail(NOT_UTF8, "text that ends in the middle of a character")
        if kind == OP_TEXT:
            self.message = "" if size == 0 else PyUnicode_DecodeUTF8(PyBytes_AS_STRING(<object> self.whole), size, NULL)
        elif size == 0:
            self.message = b""
        else:
            if size != PyBytes_GET_SIZE(<object> self.whole):
                _PyBytes_Resize(&self.whole, size)
            self.message = <object> self.whole
        self.forget()
        self.event = TEXT if kind == OP_TEXT else BINARY
        return 0

    # For tests, the testing client and the simulator ------------------------------------------------------------------

    def receive(self, data):
        """All events of `data` (bytes): a list of (Event, value).

        The value is the message, the payload of PING and PONG, or (code, reason) of CLOSE and FAILED.
        """
        cdef bytearray mine = bytearray(data)
        cdef char* p = mine
        cdef Py_ssize_t at = 0, size = len(mine)
        found = []
        while at < size:
            at += self.feed(p + at, size - at)
            if self.event != NOTHING:
                value = (self.code, self.reason) if self.event >= CLOSE else self.take()
                found.append((Event(self.event), value))
        return found

    def outgoing(self, data):
        """A message (str or bytes) as it is sent: (payload, whether it is compressed)."""
        cdef bytes smaller = self.compress(data)
        if smaller is not None:
            return smaller, True
        return (data.encode() if isinstance(data, str) else bytes(data)), False

    @property
    def is_idle(self):
        """Whether it is between two messages, and no part of a frame has come."""
        return self.idle()

    def _bench_decode(self, bytes data not None, Py_ssize_t n, bint fresh=False):
        """Read one whole event n times; `fresh`: from a copy each time, as its bytes are written over."""
        cdef bytearray mine = bytearray(data)
        cdef char* p = mine
        cdef Py_ssize_t size = len(data)
        for _ in range(n):
            if fresh:
                memcpy(p, <const char*> data, size)
            if self.feed(p, size) != size or self.event == NOTHING or self.event == FAILED:
                raise AssertionError(self.reason)
            self.take()


cdef bint may_be_sent(int code) noexcept:
    """Close codes for the wire: section 7.4, and what is registered since (1012 to 1014)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


# The writing side -----------------------------------------------------------------------------------------------------


cdef int frame_head(char* into, int opcode, int64_t size, bint compressed, bint last) noexcept:
    cdef int i, n
    into[0] = <char> (opcode | (RSV1 if compressed else 0) | (FIN if last else 0))
    if size <= CONTROL_MAX:
        into[1] = <char> size
        return 2
    n = 2 if size < 65536 else 8
    into[1] = 126 if n == 2 else 127
    for i in range(n):
        into[2 + i] = <char> (size >> 8 * (n - 1 - i) & 0xFF)
    return 2 + n


cdef bytes close_payload(int code, str reason):
    """The payload of a close frame (section 5.5.1).

    Raises ValueError for a code that may not be sent, and a reason of more than 123 bytes.
    """
    cdef bytes text
    if not may_be_sent(code):
        raise ValueError(f"the close code {code} may not be sent; use 1000 to 1003, 1007 to 1014 or 3000 to 4999")
    text = reason.encode()
    if len(text) > CONTROL_MAX - 2:
        raise ValueError(f"the reason has {len(text)} bytes; a close frame has room for {CONTROL_MAX - 2}")
    return bytes((code >> 8, code & 0xFF)) + text


def frame(int opcode, bytes payload not None, *, mask=None, bint compressed=False, bint last=True):
    """A frame as bytes.

    Arguments:
        mask: four bytes, of a client; None: without a mask.
        compressed: set RSV1.
        last: set FIN.
    """
    cdef char into[FRAME_HEAD_MAX]
    cdef Py_ssize_t size = len(payload)
    cdef int n = frame_head(into, opcode, size, compressed, last)
    cdef uint32_t word
    cdef bytes made
    if mask is None:
        return into[:n] + payload
    if len(mask) != 4:
        raise ValueError("a mask has four bytes")
    into[1] |= MASKED
    memcpy(&word, <const char*> mask, 4)
    made = into[:n] + mask + payload
    greenhttp_unmask(<unsigned char*> PyBytes_AS_STRING(made) + n + 4, size, word)
    return made


def closing(int code, str reason not None=""):
    """The payload of a close frame; see close_payload."""
    return close_payload(code, reason)


def _bench_encode(bytes data not None, Py_ssize_t n):
    """Write the head and the payload of a frame n times to the same place."""
    cdef bytearray into = bytearray(len(data) + FRAME_HEAD_MAX)
    cdef char* p = into
    for _ in range(n):
        memcpy(p + frame_head(p, OP_BINARY, len(data), False, True), <const char*> data, len(data))


def _bench_mask(bytes data not None, Py_ssize_t n, bint bytewise):
    """XOR with a mask n times, as it is done here or a byte at a time."""
    cdef bytearray mine = bytearray(data)
    cdef unsigned char* p = mine
    cdef uint32_t word = 0x01020304
    cdef const unsigned char* mask = <const unsigned char*> &word
    cdef Py_ssize_t k
    for _ in range(n):
        if bytewise:
            for k in range(len(data)):
                p[k] ^= mask[k & 3]
        else:
            greenhttp_unmask(p, len(data), word)
