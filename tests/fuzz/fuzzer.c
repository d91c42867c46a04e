/* libFuzzer's side: starts Python, asks tests.fuzz.targets for a function, gives it one input after the other.

   Environment: FUZZ_TARGET names the function. Whatever it raises is printed, and the process aborts, so that libFuzzer
   keeps the input. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>

typedef int (*target_function)(const uint8_t *data, size_t size);

static target_function target;

/* The wire modules are compiled with -DPyFrame_New=fuzz_no_frame: Cython makes a frame object for each function that an
   exception passes through, which would cost most of an execution. It takes NULL for "no traceback, then". Modules that
   catch exceptions cannot do without. */
PyFrameObject *fuzz_no_frame(PyThreadState *state, PyCodeObject *code, PyObject *globals, PyObject *locals)
{
    (void)state, (void)code, (void)globals, (void)locals;
    return NULL;
}

static void stop(void)
{
    PyErr_Print();
    abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    PyObject *module, *address;
    PyConfig config;
    (void)argc, (void)argv;
    PyConfig_InitPythonConfig(&config);
    config.install_signal_handlers = 0;         /* they are libFuzzer's */
    config.site_import = 0;                     /* no .pth file leads to another build; PYTHONPATH says it all */
    if (PyStatus_Exception(Py_InitializeFromConfig(&config)))
        abort();
    PyConfig_Clear(&config);
    module = PyImport_ImportModule("fuzz_targets");
    address = module ? PyObject_CallMethod(module, "target", "s", getenv("FUZZ_TARGET")) : NULL;
    if (!address || !(target = (target_function)PyLong_AsVoidPtr(address)))
        stop();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (target(data, size) < 0)
        stop();
    return 0;
}
