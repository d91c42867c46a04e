"""The memory of streams: chunks of one size from a common stock, and a count of what is not from there.

Chunks are touched again at once and last in, first out: the one in use stays in the processor's cache.
"""

from libc.stdlib cimport free, malloc

cdef enum:
    STOCK = 256                 # chunks kept for reuse, 4 MiB

cdef char* stock[STOCK]
cdef int stocked = 0
cdef size_t held = 0            # bytes of packed and grown input buffers, in this process


cdef char* borrow() noexcept:
    """A chunk, or NULL where there is no memory."""
    global stocked
    if stocked:
        stocked -= 1
        return stock[stocked]
    return <char*>malloc(CHUNK)


cdef void hand_back(char* chunk) noexcept:
    global stocked
    if stocked < STOCK:
        stock[stocked] = chunk
        stocked += 1
    else:
        free(chunk)


cdef void count_held(ssize_t size) noexcept:
    """So many bytes more, or less, are held beside the stock."""
    global held
    held += size


cdef size_t held_bytes() noexcept:
    """Bytes of input that streams of this process hold while nobody reads them."""
    return held
