"""The compiled modules; everything else about the package stands in setup.cfg."""

import os

import greenlet
from Cython.Build import cythonize
from setuptools import Extension, setup

HOT = [
    "greenhttp.wire.names",
    "greenhttp.wire.host",
    "greenhttp.wire.head",
    "greenhttp.wire.body",
    "greenhttp.wire.response",
    "greenhttp.green.board",
    "greenhttp.green.deadline",
    "greenhttp.green.pool",
    "greenhttp.green.stream",
    "greenhttp.green.transport",
    "greenhttp.green.acceptor",
    "greenhttp.green.nap",
    "greenhttp.green.sender",
    "greenhttp.green.spawn",
    "greenhttp.http.service",
    "greenhttp.http.forwarded",
    "greenhttp.http.request",
    "greenhttp.http.response",
    "greenhttp.http.connection",
    "greenhttp.hosting.wsgi",
    "greenhttp.hosting.handler",
    "greenhttp.observe.entries",
]

# `make coverage` builds with the C compiler's counters of lines, in a tree of its own (tests/cover.py).
COVERAGE = os.environ.get("GREENHTTP_COVERAGE")
# `python -m perf profile --lines` builds one module alone, with line numbers and otherwise the same code. Not by CFLAGS
# in the environment: they replace those that Python was built with, of which -fwrapv and -DNDEBUG change the code.
ONLY = os.environ.get("GREENHTTP_ONLY")

setup(
    ext_modules=cythonize(
        [
            Extension(
                name,
                [name.replace(".", "/") + ".pyx"],
                include_dirs=[os.path.dirname(greenlet.__path__[0])],  # so that "greenlet/greenlet.h" is found
                extra_compile_args=["-O0", "--coverage"] if COVERAGE else ["-O3", "-g"] if ONLY else ["-O3"],
                extra_link_args=["--coverage"] if COVERAGE else [],
            )
            for name in HOT
            if name == (ONLY or name)
        ],
        language_level=3,
        # No pickling: a copy of what is made of pointers and counts would be a second owner of them.
        compiler_directives={"boundscheck": False, "wraparound": False, "auto_pickle": False},
    )
)
