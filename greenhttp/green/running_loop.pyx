"""asyncio's running loop, each green thread its own: `async def` code runs side by side in them.

asyncio keeps what runs in the state of the real thread: the running loop, since Python 3.14 the current task, and the
hooks of asynchronous generators. A green thread that runs a loop waits in the middle of it, in the selector or in
blocking code that a coroutine calls; all other green threads of the real thread then find that loop running, and may
start none of their own. So that state is exchanged whenever such a green thread is left, and again when it goes on.

That is told by greenlet's trace function, the one place that all switches pass. It is set when a loop begins to run
and no other does, and taken away when the last one has ended: where nobody uses asyncio, nothing is done at a switch.
Measured by `python -m perf micro green_running_loop`. To exchange it only around the selector would cost less and be
wrong where a coroutine calls what waits through gevent, a database driver for example. A real thread for each loop
(`offload(asyncio.run, ...)`) works too, but takes the green thread's locals and connections from the code, bounds how
many run, and shares one interpreter lock with the hub.

asyncio itself is left as it is but for `asyncio.events._set_running_loop`, which every loop calls when it begins to run
and when it has ended. It is replaced when asyncio is imported, so that who needs none does not pay for it.
"""

import os
import sys
import threading

from cpython.object cimport PyObject

from greenhttp.green.switch cimport PyGreenlet_Import, current_greenlet

from gevent import monkey
from greenlet import gettrace, settrace


cdef extern from *:
    """
    /* The rest of what a running loop sets in its thread. sys has functions for it, but they allocate, and audit. */
    static inline void greenhttp_exchange_hooks(PyObject** first, PyObject** last, int* depth) {
        PyThreadState* state = PyThreadState_Get();
        PyObject* hook = state->async_gen_firstiter;
        int tracking = state->coroutine_origin_tracking_depth;
        state->async_gen_firstiter = *first;
        *first = hook;
        hook = state->async_gen_finalizer;
        state->async_gen_finalizer = *last;
        *last = hook;
        state->coroutine_origin_tracking_depth = *depth;
        *depth = tracking;
    }
    """
    void exchange_hooks "greenhttp_exchange_hooks"(PyObject** first, PyObject** last, int* depth) noexcept

cdef extern from "Python.h":
    void Py_CLEAR(PyObject* o)

PyGreenlet_Import()

cdef bint TASK_IS_THE_THREADS = sys.version_info >= (3, 14)     # before that it is kept for each loop

cdef object get_loop = None         # asyncio's own functions
cdef object set_loop = None
cdef object exchange_task = None
cdef bint installed = False
cdef object here = monkey.get_original("_thread", "_local")()       # of this real thread: `loops`


cdef class Running:
    """A green thread in which a loop runs. While it is left, this has what is its own; else what was there before."""
    cdef object loop
    cdef object task
    cdef PyObject* first
    cdef PyObject* last
    cdef int depth

    def __dealloc__(self):
        Py_CLEAR(self.first)
        Py_CLEAR(self.last)

    cdef int leave(self) except -1:
        self.loop = get_loop()
        if self.loop is not None:
            if TASK_IS_THE_THREADS:
                self.task = exchange_task(self.loop, None)
            set_loop(None)
        exchange_hooks(&self.first, &self.last, &self.depth)
        return 0

    cdef int go_on(self) except -1:
        if self.loop is not None:
            set_loop(self.loop)
            if TASK_IS_THE_THREADS and self.task is not None:
                exchange_task(self.loop, self.task)
        self.loop = self.task = None
        exchange_hooks(&self.first, &self.last, &self.depth)
        return 0


cdef class Loops:
    """Those of one real thread."""
    cdef dict running       # address of the green thread: no reference, or who is stuck in a loop would stay for ever
    cdef Running now        # that of the current green thread
    cdef Trace trace        # set while a loop runs

    def __cinit__(self):
        self.running = {}

    cdef int begin(self, object green) except -1:
        cdef object key = <size_t><PyObject*>green
        self.now = self.running.get(key)
        if self.now is None:
            self.now = self.running[key] = Running.__new__(Running)
        if self.trace is None or gettrace() is not self.trace:
            if self.trace is not None:
                # Somebody has set another one, which may call ours: that one is to do nothing from now on, and the
                # new one must not be the same, or the two would call each other.
                self.trace.loops = None
            self.trace = Trace.__new__(Trace, self, gettrace())
            settrace(self.trace)
        return 0

    cdef int end(self, object green) except -1:
        self.now = None
        self.running.pop(<size_t><PyObject*>green, None)
        if not self.running and self.trace is not None and gettrace() is self.trace:
            settrace(self.trace.former)
            self.trace.loops = None
            self.trace = None
        return 0

    cdef int switched(self, PyObject* to) except -1:
        cdef Running one = self.now
        if one is not None:
            self.now = None
            one.leave()
        if self.running:
            one = self.running.get(<size_t>to)
            if one is not None:
                one.go_on()
                self.now = one
        return 0


cdef class Trace:
    """Called by greenlet after each switch, in the green thread that goes on."""
    cdef Loops loops        # None: it is not needed any more
    cdef object former      # the one that was set before

    def __cinit__(self, loops, former):
        self.loops, self.former = loops, former

    def __call__(self, str event, tuple between):
        cdef object to = between[1]
        if self.loops is not None:
            self.loops.switched(<PyObject*>to)
        if self.former is not None:
            self.former(event, between)


def _set_running_loop(loop, /):
    """asyncio's own, and what runs in this green thread is noted."""
    cdef object green = current_greenlet()
    cdef Loops loops = getattr(here, "loops", None)
    if loop is None:
        set_loop(None)
        if loops is not None:
            loops.end(green)
        return
    set_loop(loop)
    if loops is None:
        loops = here.loops = Loops()
    loops.begin(green)


# ---- its place in asyncio


def install():
    """Have asyncio's loops run side by side in the green threads of this process, now or when asyncio is imported.

    For a process whose standard library is patched; in another one a loop's selector does not let green threads run.
    """
    global installed
    if installed:
        return
    installed = True
    sys.meta_path.insert(0, _Coming())
    for name, change in CHANGES.items():
        if name in sys.modules:
            change(sys.modules[name])


class _Coming:
    """Finds modules as they are found otherwise, and has each of them changed whenever it has been executed."""

    def find_spec(self, name, path=None, target=None):
        if name not in CHANGES:
            return None
        others = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, others), None)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            CHANGES[name](module)

        spec.loader.exec_module = exec_module
        return spec


def _take_place(events):
    global get_loop, set_loop, exchange_task
    if not hasattr(events, "_c__set_running_loop"):
        return              # without its part in C asyncio keeps what runs in a threading.local
    get_loop, set_loop = events._c__get_running_loop, events._c__set_running_loop
    if TASK_IS_THE_THREADS:
        exchange_task = sys.modules["_asyncio"]._swap_current_task
    events._set_running_loop = _set_running_loop
    if hasattr(sys.modules["asyncio"], "_set_running_loop"):        # it was imported before
        sys.modules["asyncio"]._set_running_loop = _set_running_loop
    _part_policy(events)


def _part_policy(events):
    """`asyncio.set_event_loop` is for a green thread too. It is not where asyncio was imported before the patch."""
    kind = getattr(events, "_BaseDefaultEventLoopPolicy", None) or events.BaseDefaultEventLoopPolicy
    if not issubclass(kind._Local, threading.local):
        kind._Local = type("_Local", (threading.local,), {"_loop": None, "_set_called": False})
        policy = events._event_loop_policy
        if hasattr(policy, "_local"):
            policy._local = kind._Local()


def _wait_in_threads(unix_events):
    """Have asyncio wait for its subprocesses in threads, with gevent's `os.waitpid`.

    gevent waits for them too: a short one is gone before asyncio asks for its pidfd, and only that function knows how
    it ended. asyncio's threads call it up to Python 3.13, since then `os.waitid`, which would stop the whole process.
    """
    if monkey.is_module_patched("subprocess"):
        unix_events.can_use_pidfd = _no_pidfd
        watcher = getattr(unix_events, "_ThreadedChildWatcher", None) or unix_events.ThreadedChildWatcher
        watcher._do_waitpid = _do_waitpid


def _no_pidfd():
    return False


def _do_waitpid(self, loop, expected_pid, callback, args):
    try:
        code = os.waitstatus_to_exitcode(os.waitpid(expected_pid, 0)[1])
    except ChildProcessError:
        code = 255          # as asyncio: somebody else has waited for it
    if not loop.is_closed():
        loop.call_soon_threadsafe(callback, expected_pid, code, *args)
    self._threads.pop(expected_pid)


def _refuse_uvloop(uvloop):
    """Refuse it when a loop is made, and before one that was made elsewhere begins to run."""
    kind = uvloop.Loop
    make, run = kind.__new__, kind.run_forever

    def __new__(cls, *args, **kwargs):
        _refuse_in_a_green_thread()
        return make(cls, *args, **kwargs)

    def run_forever(self):
        _refuse_in_a_green_thread()
        return run(self)

    kind.__new__, kind.run_forever = __new__, run_forever


def _refuse_in_a_green_thread():
    if current_greenlet().parent is not None:       # else it is a real thread's own
        raise RuntimeError(
            "uvloop waits in C, which would stop all other requests of this process; leave uvloop out, so that asyncio"
            " uses its own loop, or run it on a real thread: greenhttp.offload(asyncio.run, ...)"
        )


CHANGES = {"asyncio.events": _take_place, "asyncio.unix_events": _wait_in_threads, "uvloop": _refuse_uvloop}
