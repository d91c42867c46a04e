"""IDs that no other process makes, on this machine or on another, now or after a restart: for requests.

    new_id()    32 hex digits

The first half is random, made once for each process; the second half comes from a counter. So an ID takes no system
call, and two of one process are never equal. An ID is no secret: whoever has seen one can work out others.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memcpy

import os


cdef extern from "Python.h":
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 largest)
    void* PyUnicode_DATA(object text)

cdef extern from *:
    """
    #include <pthread.h>

    /* Also of a fork by a library in C, which Python's own hooks do not see. */
    static volatile int greenhttp_ids_stale = 1;
    static void greenhttp_ids_forked(void) { greenhttp_ids_stale = 1; }
    static int greenhttp_ids_watch(void) { return pthread_atfork(NULL, NULL, greenhttp_ids_forked); }
    """
    int stale "greenhttp_ids_stale"         # this process has no random half yet
    int watch_forks "greenhttp_ids_watch"() noexcept

cdef const char* HEX = b"0123456789abcdef"
cdef char process[16]
cdef uint64_t turn = 0

if watch_forks() != 0:
    raise MemoryError


cdef inline void put_hex(char* to, uint64_t number) noexcept:
    cdef int i
    for i in range(15, -1, -1):
        to[i] = HEX[number & 15]
        number >>= 4


cdef int begin() except -1:
    """What is random in the IDs of this process."""
    global turn, stale
    cdef bytes random = os.urandom(16)      # first: a copy of the old half must not pass for a new one
    cdef uint64_t both[2]
    memcpy(both, <char*>random, 16)
    put_hex(process, both[0])
    turn = both[1]
    stale = 0
    return 0


cdef inline uint64_t scattered(uint64_t number) noexcept:
    """Another number for each: neighbours do not look alike (the last step of splitmix64)."""
    number = (number ^ number >> 30) * <uint64_t>0xBF58476D1CE4E5B9
    number = (number ^ number >> 27) * <uint64_t>0x94D049BB133111EB
    return number ^ number >> 31


cpdef str new_id():
    """An ID: 32 hex digits, in small letters. Its second half alone is never all zeros."""
    global turn
    cdef object text
    cdef char* p
    if stale:
        begin()
    turn += 1
    if turn == 0:                           # which alone stays 0 when it is scattered
        turn = 1
    text = PyUnicode_New(32, 127)
    p = <char*>PyUnicode_DATA(text)
    memcpy(p, process, 16)
    put_hex(p + 16, scattered(turn))
    return <str>text
