cdef enum Hello:
    PART = 0                    # more has to come
    WHOLE = 1
    WRONG = 2                   # it cannot become a ClientHello: `Verdict.alert` and `why` say the reason

cdef struct Verdict:
    unsigned char alert         # RFC 8446 6
    const char* why

cdef Hello look(const unsigned char* data, size_t size, Verdict* verdict) noexcept
