cdef enum:
    CHUNK = 16384               # one borrowed buffer

cdef char* borrow() noexcept
cdef void hand_back(char* chunk) noexcept
cdef void count_held(ssize_t size) noexcept
cdef size_t held_bytes() noexcept
