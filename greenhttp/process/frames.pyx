"""The frames of a stack that may go on while it is read: that of a green thread that waits, or of another thread.

    callers(frame, most)    what `traceback.walk_stack` gives, all of one moment
    running(thread)         the innermost frame of a thread

CPython 3.11 makes a frame's object when somebody asks for it, as `f_back` does, and the collector may run in the middle
of that. Where a finalizer waits then, or lets another thread run, the very frame may come to its end, and its memory be
another's: `f_back` gives what is no frame, and its reader crashes. So the collector has to wait here. Code in C has the
interpreter to itself meanwhile, and nobody sees it stopped.
"""

import sys
from types import FrameType


cdef extern from "Python.h":
    ctypedef struct PyFrameObject

    int PyGC_Disable() noexcept
    int PyGC_Enable() noexcept
    int PyFrame_GetLineNumber(PyFrameObject* frame) noexcept
    PyFrameObject* PyFrame_GetBack(PyFrameObject* frame) noexcept   # a new reference; NULL behind the outermost
    void Py_DECREF(PyFrameObject* o)


def callers(frame, Py_ssize_t most):
    """Pairs of a frame and the number of its line, or None: the innermost first, `most` of them at most."""
    cdef int collects
    if not isinstance(frame, FrameType):
        raise TypeError("not a frame")
    collects = PyGC_Disable()
    try:
        return chain(frame, most)
    finally:
        if collects:
            PyGC_Enable()


cdef list chain(object frame, Py_ssize_t most):
    cdef list found = []
    cdef PyFrameObject* back
    cdef int line
    while len(found) < most:
        line = PyFrame_GetLineNumber(<PyFrameObject*>frame)
        found.append((frame, line if line >= 0 else None))
        back = PyFrame_GetBack(<PyFrameObject*>frame)
        if back is NULL:
            break
        frame = <object>back
        Py_DECREF(back)
    return found


def running(thread):
    """The innermost frame of the thread with this ident, or None: it has ended, or runs no Python."""
    cdef int collects = PyGC_Disable()
    try:
        return sys._current_frames().get(thread)
    finally:
        if collects:
            PyGC_Enable()
