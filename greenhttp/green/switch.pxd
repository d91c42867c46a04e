# The one place that knows greenlet's C interface. Modules that use it call PyGreenlet_Import() once.

from cpython.object cimport PyObject

cdef extern from *:
    """
    #include "greenlet/greenlet.h"

    static inline PyObject* greenhttp_switch(PyObject* target) {
        return PyGreenlet_Switch((PyGreenlet*)target, NULL, NULL);
    }

    static inline PyObject* greenhttp_outcome(PyObject* result) {
        return result;
    }

    static inline PyObject* greenhttp_switch_with(PyObject* target, PyObject* args, PyObject* kwargs) {
        return PyGreenlet_Switch((PyGreenlet*)target, args, kwargs);
    }

    static inline PyObject* greenhttp_current(void) {
        return (PyObject*)PyGreenlet_GetCurrent();
    }

    /* Borrowed, for comparing: there is no function that gives the current context itself, only a copy. */
    static inline PyObject* greenhttp_context(void) {
        return PyThreadState_Get()->context;
    }
    """
    ctypedef class greenlet.greenlet [object PyGreenlet]:
        pass

    void PyGreenlet_Import()
    # Run `target` until something switches back. A new reference to what that passed; NULL if it threw.
    object switch_to "greenhttp_switch"(PyObject* target)
    # The same in two steps. NULL stands for what was thrown: until `outcome` raises it, no traceback is made, which
    # allocates, so that foreign code could run and wait; who waits puts its state in order between the two.
    PyObject* switch_quietly "greenhttp_switch"(PyObject* target) noexcept
    object outcome "greenhttp_outcome"(PyObject* result)
    # The same, handing something over, as `greenlet.switch(*args, **kwargs)` does.
    object switch_with "greenhttp_switch_with"(PyObject* target, PyObject* args, PyObject* kwargs)
    object current_greenlet "greenhttp_current"()
    PyObject* current_context "greenhttp_context"()
