"""The properties of tests/fuzz/properties.py at the fuzzer's speed: compiled, and without Python where it can be.

Each function is one execution of libFuzzer's. What can be done in several ways - limits, where to cut, whether to go
byte by byte - is chosen by a hash of the input, so that an input always gets the same.

The bytes lie in memory of which all that has not been handed out yet is poisoned: a parser that looks one byte too far
is reported, also in the middle of an input.

A refusal costs an exception, which would be most of an execution: `refused` stands in for WireError and LimitError
here, and always returns the same one. (fuzzer.c does the same to the frames of its traceback.)
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport malloc
from libc.string cimport memcmp, memcpy

from greenhttp.wire.body cimport ChunkedDecoder, Step
from greenhttp.wire.head cimport Field, Head
from greenhttp.wire.host cimport Authority, parse_authority
from greenhttp.wire.names cimport find_known, token_table
from greenhttp.wire.scan cimport clean_value, trim

import re

from greenhttp.wire import body as wire_body
from greenhttp.wire import head as wire_head
from greenhttp.wire.names import KNOWN_NAMES
from tests.fuzz import properties, rules

TOKENS, TEXT = re.compile(rules.TOKEN), re.compile(rules.TEXT)

cdef extern from "Python.h":
    int PyException_SetTraceback(object error, object traceback) except -1

cdef extern from "sanitizer/asan_interface.h":
    void poison "ASAN_POISON_MEMORY_REGION"(const void* start, size_t size) noexcept
    void unpoison "ASAN_UNPOISON_MEMORY_REGION"(const void* start, size_t size) noexcept

cdef enum:
    BIGGEST = 1 << 17       # bytes of an input; longer ones are left alone
    MARGIN = 64             # poisoned, before the bytes
    SAMPLE = 16             # of the inputs that were refused, one in so many is read by the rules as well

cdef int status             # of the last refusal
cdef object refusal = Exception("refused")


def refused(int with_status, reason, limit=None):
    global status
    status = with_status
    PyException_SetTraceback(refusal, None)     # or each use of it would be added to those before
    return refusal


cdef class Memory:
    """Bytes that become readable as they arrive."""
    cdef uint8_t* start
    cdef uint8_t* bytes
    cdef size_t size
    cdef size_t arrived

    def __cinit__(self):
        self.start = <uint8_t*> malloc(MARGIN + BIGGEST)
        self.bytes = self.start + MARGIN
        poison(self.start, MARGIN + BIGGEST)

    cdef void hold(self, const uint8_t* data, size_t size) noexcept:
        """Take all the bytes, none of them readable."""
        unpoison(self.bytes, size)
        memcpy(self.bytes, data, size)
        poison(self.bytes, max(size, self.size))
        self.size = size
        self.arrived = 0

    cdef void arrive(self, size_t size) noexcept:
        cdef size_t start = self.arrived & ~<size_t> 7      # what the sanitizer marks is a multiple of eight
        unpoison(self.bytes + start, size - start)
        self.arrived = size


cdef uint32_t mixed(const uint8_t* data, size_t size) noexcept nogil:
    """A number that depends on all the bytes: where to cut, what to sample. The same each time."""
    cdef uint32_t h = 2166136261
    cdef size_t i
    for i in range(size):
        h = (h ^ data[i]) * 16777619
    return h ^ (h >> 15)


cdef bytes copied(const uint8_t* data, size_t size):
    return (<const char*> data)[:size]


# Heads ----------------------------------------------------------------------------------------------------------------

cdef Memory memory = Memory(), other_memory = Memory()


cdef int outcome(Head head, Memory bytes, size_t start, size_t end, size_t step) except -1:
    """Parse what has arrived, first `start` bytes, then `step` more at a time up to `end`.

    Returns 0 if more is wanted, 1 if the head is complete, else the status of the refusal.
    """
    cdef size_t size = start
    cdef Py_ssize_t used
    try:
        while True:
            bytes.arrive(size)
            used = head.parse(<const char*> bytes.bytes, size)
            if used or size == end:
                break
            size = min(size + step, end)
    except Exception as error:
        if error is not refusal:
            raise
        return status
    if not 0 <= used <= <Py_ssize_t> size or used != head.head_size:
        raise AssertionError(f"{used} of {size} bytes used, head_size {head.head_size}")
    return used > 0


cdef bint within(uint32_t at, uint32_t size, Py_ssize_t whole) noexcept:
    return <uint64_t> at + size <= <uint64_t> whole


cdef int check_offsets(Head head) except -1:
    cdef int i
    cdef Py_ssize_t whole = head.head_size
    assert within(head.target_at, head.target_len, whole) and head.target_len > 0
    assert within(head.path_at, head.path_len, whole)
    assert within(head.query_at, head.query_len, whole)
    assert within(head.host_at, head.host_len, whole)
    for i in range(head.count):
        assert within(head.field[i].name, head.field[i].name_len, whole) and head.field[i].name_len > 0
        assert within(head.field[i].value, head.field[i].value_len, whole)
    return 0


cdef bint same_heads(Head a, Head b) noexcept:
    """The bytes are in different places, so offsets are compared, and everything else that is not an object."""
    return (
        a.method == b.method and a.is_head == b.is_head
        and a.target_at == b.target_at and a.target_len == b.target_len
        and a.path_at == b.path_at and a.path_len == b.path_len
        and a.query_at == b.query_at and a.query_len == b.query_len
        and a.host_at == b.host_at and a.host_len == b.host_len
        and a.has_query == b.has_query and a.path_plain == b.path_plain and a.form == b.form and a.minor == b.minor
        and a.framing == b.framing and a.content_length == b.content_length and a.keep_alive == b.keep_alive
        and a.wants_continue == b.wants_continue and a.has_connection_upgrade == b.has_connection_upgrade
        and a.head_size == b.head_size and a.count == b.count
        and (a.count == 0 or memcmp(a.field, b.field, a.count * sizeof(Field)) == 0)
    )


cdef int check_head(const uint8_t* data, size_t size, tuple heads, dict settings, uint32_t number) except -1:
    cdef Head whole = heads[0], single = heads[1], parts = heads[2]
    cdef size_t cut = number % (size + 1)
    cdef bint singly = (number >> 16) % 4 == 0      # this costs more than all the rest
    cdef int expected, found
    memory.hold(data, size)
    whole.reset()
    expected = outcome(whole, memory, size, size, 0)
    assert whole.examined <= 2 * size

    if singly:
        memory.hold(data, size)
        single.reset()
        found = outcome(single, memory, 0, size, 1)
        assert found == expected, f"{expected} at once, {found} byte by byte"
        assert single.examined <= 2 * size

    memory.hold(data, size)
    parts.reset()
    found = outcome(parts, memory, cut, cut, 0)
    if found == 0:
        other_memory.hold(data, size)
        found = outcome(parts, other_memory, size, size, 0)      # the bytes have moved meanwhile
    assert found == expected, f"{expected} at once, {found} when cut at {cut}"
    assert parts.examined <= 2 * size

    if expected == 1:
        check_offsets(whole)
        assert not singly or same_heads(whole, single), "a head byte by byte is another"
        assert same_heads(whole, parts), f"a head cut at {cut} is another"
        memory.arrive(size)
        whole.base = <const char*> memory.bytes
        properties.agree_on_head(whole, copied(data, size), settings)
    else:
        assert expected in (0, 400, 413, 414, 417, 431, 501, 505), expected
        if number % SAMPLE == 0:
            assert rules.read_head(copied(data, size), **settings) is None, f"well formed, but {expected}"
    return 0


cdef list head_turns = []     # (three heads, settings)


cdef int fuzz_head(const uint8_t* data, size_t size) except -1:
    cdef uint32_t number = mixed(data, size)
    if size <= BIGGEST:
        heads, settings = head_turns[(number >> 20) % 2]
        check_head(data, size, heads, settings, number)
    return 0


# Chunked bodies -------------------------------------------------------------------------------------------------------

cdef struct Content:
    uint8_t* bytes
    size_t size
    size_t used             # bytes of the message


cdef Content whole_content, single_content, parts_content
cdef list body_turns = []     # (decoder, settings)


cdef int decode(ChunkedDecoder decoder, Memory memory, size_t start, size_t end, Content* content) except -1:
    """Decode what has arrived between start and end: 0 more is wanted, 1 complete, else the status of the refusal."""
    cdef const char* p = <const char*> memory.bytes + start
    cdef const char* out = NULL
    cdef Py_ssize_t size = end - start, used = 0, n = 0
    cdef int what
    while True:
        try:
            what = decoder.step(p, size, &used, &out, &n)
        except Exception as error:
            if error is not refusal:
                raise
            return status
        if not 0 <= used <= size:
            raise AssertionError(f"{used} of {size} bytes used")
        content.used += used
        if what == Step.DATA:
            if n <= 0 or out < p or out + n != p + used:
                raise AssertionError("content that is not the end of what was used")
            memcpy(content.bytes + content.size, out, n)
            content.size += n
        elif what == Step.END:
            return 1
        elif used != size:
            raise AssertionError("bytes left, and no word why")
        else:
            return 0
        p += used
        size -= used


cdef int check_body(
    const uint8_t* data, size_t size, ChunkedDecoder decoder, dict settings, uint32_t number
) except -1:
    cdef size_t i, cut = number % (size + 1)
    cdef int expected, found = 0
    cdef list trailers
    whole_content.size = whole_content.used = single_content.size = single_content.used = 0
    parts_content.size = parts_content.used = 0
    memory.hold(data, size)
    memory.arrive(size)
    decoder.reset()
    expected = decode(decoder, memory, 0, size, &whole_content)
    trailers = decoder.fields()

    memory.hold(data, size)
    decoder.reset()
    for i in range(size):
        memory.arrive(i + 1)
        found = decode(decoder, memory, i, i + 1, &single_content)
        if found:
            break
    assert found == expected, f"{expected} at once, {found} byte by byte"
    assert trailers == decoder.fields(), "trailers byte by byte are others"

    memory.hold(data, size)
    memory.arrive(cut)
    decoder.reset()
    found = decode(decoder, memory, 0, cut, &parts_content)
    if found == 0:
        memory.arrive(size)
        found = decode(decoder, memory, cut, size, &parts_content)
    assert found == expected, f"{expected} at once, {found} when cut at {cut}"
    assert trailers == decoder.fields(), f"trailers cut at {cut} are others"

    assert same_content(&whole_content, &single_content), "content byte by byte is another"
    assert same_content(&whole_content, &parts_content), f"content cut at {cut} is another"
    assert expected in (0, 1, 400, 413, 431), expected
    if expected == 1 or number % SAMPLE == 0:
        wanted = rules.read_chunked(copied(data, size), **settings)
        assert wanted.content == copied(whole_content.bytes, whole_content.size), wanted
        assert wanted.size == (whole_content.used if expected == 1 else None), wanted
        sent = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in trailers]
        assert wanted.trailers == sent, wanted
    if expected == 1:
        # What has ended stays so, and takes no more.
        i = whole_content.used
        assert decode(decoder, memory, 0, 0, &whole_content) == 1 and whole_content.used == i
        assert parts_content.used == i and single_content.used == i
    return 0


cdef bint same_content(const Content* a, const Content* b) noexcept:
    return a.size == b.size and memcmp(a.bytes, b.bytes, a.size) == 0


cdef int fuzz_body(const uint8_t* data, size_t size) except -1:
    cdef uint32_t number = mixed(data, size)
    if size <= BIGGEST:
        decoder, settings = body_turns[(number >> 20) % 2]
        check_body(data, size, decoder, settings, number)
    return 0


# Hosts and names: libFuzzer's own copy of an input is just as long as the input ---------------------------------------


cdef int fuzz_host(const uint8_t* data, size_t size) except -1:
    cdef Authority authority
    cdef bint good = parse_authority(data, size, &authority)
    if good or mixed(data, size) % SAMPLE == 0:
        wanted = rules.read_authority(copied(data, size))
        assert good == (wanted is not None), wanted
    if good:
        assert wanted[0] == copied(data, authority.name_size), wanted
        assert (-1 if wanted[1] is None else wanted[1]) == authority.port, wanted
    return 0


cdef dict index_of = {name.encode(): index for index, name in enumerate(KNOWN_NAMES)}


cdef int fuzz_names(const uint8_t* data, size_t size) except -1:
    cdef Py_ssize_t tokens = 0, start = 0, end = size
    cdef int index
    cdef bint clean = clean_value(data, size)
    while tokens < <Py_ssize_t> size and token_table()[data[tokens]]:
        tokens += 1
    index = find_known(data, tokens)
    trim(data, &start, &end)
    if index >= 0 or mixed(data, size) % SAMPLE == 0:
        text = copied(data, size)
        assert text[:tokens] == (TOKENS.match(text) or [b""])[0]
        assert index == index_of.get(text[:tokens].lower(), -1), index
        assert clean == (TEXT.fullmatch(text) is not None), clean
        assert text[start:end] == text.strip(b" \t")
    return 0


# What is called through Python ----------------------------------------------------------------------------------------

cdef int fuzz_response(const uint8_t* data, size_t size) except -1:
    properties.check_response(copied(data, size))
    return 0


cdef int fuzz_forwarded(const uint8_t* data, size_t size) except -1:
    properties.check_forwarded(copied(data, size))
    return 0


cdef int fuzz_proxy(const uint8_t* data, size_t size) except -1:
    properties.check_proxy(copied(data, size))
    return 0


cdef list servers = []        # one for each of properties.SERVERS


cdef int fuzz_connection(const uint8_t* data, size_t size) except -1:
    properties.check_answers(copied(data, size), servers[mixed(data, size) % 3])
    return 0


cdef int fuzz_arrival(const uint8_t* data, size_t size) except -1:
    properties.check_arrival(copied(data, size))
    return 0


def target(name):
    """The address of a target's function, for fuzzer.c."""
    if name == "connection":
        for arguments in properties.SERVERS:
            servers.append(properties.Server(*arguments).__enter__())
        return <size_t> &fuzz_connection
    if name == "response":
        return <size_t> &fuzz_response
    if name == "forwarded":
        return <size_t> &fuzz_forwarded
    if name == "proxy":
        return <size_t> &fuzz_proxy
    if name == "arrival":
        return <size_t> &fuzz_arrival
    wire_head.WireError = wire_head.LimitError = wire_body.WireError = wire_body.LimitError = refused
    if name == "head":
        for settings in properties.HEAD_SETTINGS:
            head_turns.append((tuple([Head(**settings) for _ in range(3)]), settings))
        return <size_t> &fuzz_head
    if name == "body":
        whole_content.bytes = <uint8_t*> malloc(BIGGEST)
        single_content.bytes = <uint8_t*> malloc(BIGGEST)
        parts_content.bytes = <uint8_t*> malloc(BIGGEST)
        for settings in properties.BODY_SETTINGS:
            body_turns.append((ChunkedDecoder(**settings), settings))
        return <size_t> &fuzz_body
    return {"host": <size_t> &fuzz_host, "names": <size_t> &fuzz_names}[name]
