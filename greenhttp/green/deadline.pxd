ctypedef unsigned char flag     # a truth value of one byte: objects that there are ten thousand of count them

cdef struct Node:
    # One place in one phase. Linked by pointer, so that moving a connection from phase to phase allocates nothing.
    Node* prev
    Node* next
    double expiry

cdef Timed owner(Node* node)

cdef class Phase:
    cdef readonly str name
    cdef readonly double duration       # seconds; 0: things wait here without limit
    cdef readonly Py_ssize_t count
    cdef readonly double rate           # bytes a second below which a peer is too slow; 0: any speed will do
    cdef readonly double grace          # seconds before the rate is judged
    cdef str setting                    # `<setting>_timeout` and `<setting>_min_rate` are where these come from
    cdef Node ring                      # sentinel: ring.next expires first, ring.prev last

    cdef void append(self, Timed timed) noexcept
    cdef void remove(self, Timed timed) noexcept
    cdef Timed first(self)
    cdef str broken(self, bint slowly)
    cdef list abandon(self)
    cdef int sweep(self, double now, bint rates, int most) except -1

cdef class Timed:
    cdef Node node
    cdef readonly Phase phase           # None outside every phase

    cdef void enter(self, Phase phase) noexcept
    cdef void leave(self) noexcept
    cdef double age(self) noexcept
    cdef int expired(self, Phase phase, double now) except -1
    cdef bint is_slow(self, double now) noexcept

cdef class PythonTimed(Timed):
    pass

cdef class Sweep:
    cdef readonly tuple phases
    cdef readonly double period
    cdef object loop
    cdef object timer
    cdef object soon
    cdef object each
    cdef double rates_next

    cdef int complain(self) except -1
