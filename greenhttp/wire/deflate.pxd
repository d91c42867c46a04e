cdef extern from *:
    """
    #include <stddef.h>

    /* zlib's z_stream, laid out as in every zlib.h since 1.0. */
    typedef struct {
        const unsigned char* next_in;
        unsigned int avail_in;
        unsigned long total_in;
        unsigned char* next_out;
        unsigned int avail_out;
        unsigned long total_out;
        const char* msg;
        void* state;
        void* (*zalloc)(void*, unsigned int, unsigned int);
        void (*zfree)(void*, void*);
        void* opaque;
        int data_type;
        unsigned long adler, reserved;
    } greenhttp_zstream;
    """
    ctypedef struct ZStream "greenhttp_zstream":
        const unsigned char* next_in
        unsigned int avail_in
        unsigned char* next_out
        unsigned int avail_out
        void* (*zalloc)(void*, unsigned int, unsigned int) noexcept
        void (*zfree)(void*, void*) noexcept
        void* state
        int data_type


cdef class Inflater:
    cdef ZStream stream
    cdef int finals                      # blocks with BFINAL in this message
    cdef bint bad                        # what take() has read is no deflate data

    cdef void give(self, const unsigned char* p, unsigned int size) noexcept
    cdef Py_ssize_t take(self, unsigned char* to, Py_ssize_t room) except -1
    cdef bint between_blocks(self) noexcept
    cdef int next_stream(self) except -1


cdef class Deflater:
    cdef ZStream stream

    cdef bytes message(self, const unsigned char* p, Py_ssize_t size, bint takeover)


cdef class Compression:
    cdef readonly unsigned char out_bits, in_bits
    cdef readonly bint out_takeover, in_takeover
    cdef Deflater out                    # with takeover, from the first message on
    cdef Inflater into                   # the same; without takeover while a message is being read

    cdef Inflater inflater(self)
    cdef void message_is_read(self) noexcept
    cdef bytes message(self, const unsigned char* p, Py_ssize_t size)
