from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #define GREENHTTP_BOARD_TEXT 116
    typedef struct {
        double since;               /* of `deadline.clock` */
        uint32_t length;            /* of the text; 0: nobody is at this */
        char text[GREENHTTP_BOARD_TEXT];
    } greenhttp_board_entry;
    typedef struct {
        double beat;                /* when the loop turned last; 0: it has not begun */
        uint64_t requests;
        uint32_t connections;
        uint32_t running;
        uint32_t spoken;            /* it has told by itself that it hangs */
    } greenhttp_board_head;
    """
    enum:
        TEXT "GREENHTTP_BOARD_TEXT"

    ctypedef struct BoardEntry "greenhttp_board_entry":
        double since
        uint32_t length
        char* text

    ctypedef struct BoardHead "greenhttp_board_head":
        double beat
        uint64_t requests
        uint32_t connections
        uint32_t running
        uint32_t spoken

cdef class Board:
    cdef readonly int fd
    cdef object memory
    cdef Py_buffer view
    cdef BoardHead* head
    cdef BoardEntry* table
    cdef readonly uint32_t entries
    cdef uint32_t* free             # places of the table, as a stack; of the process it is about
    cdef uint32_t free_count

    cdef int note(self, const char* text, size_t length) noexcept
    cdef void strike(self, int place) noexcept

cdef enum Standing:
    ALONE
    EVEN
    MORE

cdef class Loads:
    cdef object memory
    cdef Py_buffer view
    cdef uint32_t* counts           # connections + 1; 0: no such worker
    cdef int mine

    cdef void set(self, int64_t connections) noexcept
    cdef Standing standing(self, int64_t connections) noexcept
