from greenhttp.process.board cimport Board
from greenhttp.green.deadline cimport Phase, Timed, flag
from greenhttp.green.switch cimport greenlet

cdef class Job(Timed):
    cdef Job follower               # the next one in whichever queue this is in
    cdef flag queued                # in `ready` or `later` of its pool
    cdef flag busy                  # somebody is in the middle of its `advance` or `run`: nobody else may be
    cdef flag missed                # bits: what happened meanwhile
    cdef flag settling              # whoever it works for is done: what still runs is the server's own
    cdef readonly Worker worker     # the green thread it runs in, or None

    cdef Phase input_phase(self)
    cdef Phase output_phase(self)
    cdef bint ready(self, bint writing) except -1
    cdef bint advance(self) except -1
    cdef bint urgent(self) noexcept
    cdef int run(self) except -1
    cdef int refuse(self) except -1
    cdef int wait(self) except -1
    cdef int stream_closed(self) except -1
    cdef int gave_up(self, object error) except -1
    cdef int told_late(self, int missed) except -1
    cdef int abandon(self, bint ours) except -1

cdef enum:                      # bits of Job.missed
    BECAME_READY = 1
    TO_RETIRE = 2               # its server wants it to end when that loses nothing
    TO_CUT = 4                  # its server wants it to end now

cdef class PythonJob(Job):
    pass

cdef Job silent(Phase phase)

cdef list in_progress(Board board, tuple phases)

cdef class Queue:
    cdef Job head
    cdef Job tail
    cdef readonly Py_ssize_t count

    cdef void push(self, Job job) noexcept
    cdef Job pop(self)

cdef class Pool:
    cdef readonly object hub
    cdef readonly object loop
    cdef readonly Py_ssize_t limit          # green threads at most, but for the reserve
    cdef readonly Py_ssize_t reserve        # green threads beyond that, for urgent jobs alone
    cdef readonly Py_ssize_t queue_limit    # jobs in `patience` at most
    cdef readonly Phase patience            # jobs that want a green thread, none being free
    cdef readonly Py_ssize_t size           # green threads alive
    cdef readonly Py_ssize_t started        # green threads ever started
    cdef Py_ssize_t least_idle              # since the last shrink
    cdef list idle
    cdef Queue ready
    cdef Queue later
    cdef Queue urgent                       # jobs that wait for one of the reserve
    cdef Py_ssize_t reserved                # green threads of the reserve in use
    cdef object check
    cdef object spin
    cdef bint spinning
    cdef readonly unsigned long long turns  # of the loop in which this pool had something to do
    cdef object forked                      # in a forked process: forked(what, error) ends it; else None
    cdef bint keep_context                  # a job finds what the one before in its green thread has left in it

    cdef void wake(self, Job job) noexcept
    cdef int submit(self, Job job) except -1
    cdef int again(self, Job job) except -1
    cdef int kick(self) except -1
    cdef int unwatch(self, bint ours) except -1
    cdef int drain(self) except -1
    cdef bint wanting(self) noexcept
    cdef Worker hire(self)
    cdef Worker rested(self)
    cdef Worker begun(self)
    cdef int dismiss(self, Worker worker) except -1
    cdef bint attempt(self, Job job) except -1
    cdef int release(self, Job job) except -1
    cdef int release_waiting(self, Job job) except -1
    cdef int pass_on(self, object error) except -1
    cdef bint renew(self, Worker worker, int known) except -1
    cdef int work(self, Worker worker) except -1

cdef class Worker(greenlet):
    cdef Pool pool
    cdef readonly Job job
    cdef readonly int place                 # on the board, of what its job is at; -1: nowhere
    cdef void* errand                       # what its job works for, for who knows that kind of job; NULL: nothing
    cdef Py_ssize_t unheld                  # references to this object, seen from `hire`, while nobody else has one
    cdef object context                     # of the job in progress, or for the next; None before the first
    cdef Py_ssize_t alone                   # the same, seen from inside `work`
    cdef unsigned long long serial          # of the piece of work in progress; `kill` means one of them
    cdef readonly bint resting              # it has nothing to do and waits in `rest`; also before and after its life
    cdef bint retired
    cdef bint reserved                      # of the reserve, until it rests

    cdef int rest(self, Pool pool) except -1
    cdef int fresh_context(self) except -1
    cdef bint clean(self) except -1
