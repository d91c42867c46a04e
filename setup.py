"""The compiled modules; everything else about the package stands in setup.cfg."""

import os
import sys

if "t" in getattr(sys, "abiflags", ""):
    sys.exit("greenhttp does not run on the free-threaded build of Python; use the ordinary build")

import greenlet
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HOT = [
    "greenhttp.wire.names",
    "greenhttp.wire.host",
    "greenhttp.wire.forwarded",
    "greenhttp.wire.head",
    "greenhttp.wire.proxy",
    "greenhttp.wire.body",
    "greenhttp.wire.response",
    "greenhttp.process.board",
    "greenhttp.process.sender",
    "greenhttp.process.ids",
    "greenhttp.process.frames",
    "greenhttp.green.deadline",
    "greenhttp.green.pool",
    "greenhttp.green.chunks",
    "greenhttp.green.waiting",
    "greenhttp.green.reading",
    "greenhttp.green.stream",
    "greenhttp.green.layer",
    "greenhttp.green.transport",
    "greenhttp.green.openssl",
    "greenhttp.green.sslobject",
    "greenhttp.green.tls",
    "greenhttp.green.hello",
    "greenhttp.green.peers",
    "greenhttp.green.arrival",
    "greenhttp.green.acceptor",
    "greenhttp.green.nap",
    "greenhttp.green.lingering",
    "greenhttp.green.running_loop",
    "greenhttp.green.spawn",
    "greenhttp.http.service",
    "greenhttp.http.body",
    "greenhttp.http.exchange",
    "greenhttp.http.origin",
    "greenhttp.http.request",
    "greenhttp.http.response",
    "greenhttp.http.application",
    "greenhttp.http.connection",
    "greenhttp.hosting.wsgi",
    "greenhttp.hosting.handler",
    "greenhttp.observe.entries",
]

# Compiler and linker flags instead of ours: `make coverage` and `make asan` build in trees of their own with others
# (tests/instrumented.py).
FLAGS = os.environ.get("GREENHTTP_FLAGS", "").split()
# `python -m perf profile --lines` builds one module alone, with line numbers and otherwise the same code. Not by CFLAGS
# in the environment: they replace those that Python was built with, of which -fwrapv and -DNDEBUG change the code.
ONLY = os.environ.get("GREENHTTP_ONLY")

class Build(build_ext):
    """Says which module it compiles, and compiles as many at once as there are processors."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extension(self, ext):
        made = self.get_ext_fullpath(ext.name)
        sources = [*ext.sources, *ext.depends]
        if self.force or not os.path.exists(made) or max(map(os.path.getmtime, sources)) > os.path.getmtime(made):
            print(f"  compiling {ext.name}", flush=True)
        super().build_extension(ext)


setup(
    cmdclass={"build_ext": Build},
    ext_modules=cythonize(
        [
            Extension(
                name,
                [name.replace(".", "/") + ".pyx"],
                include_dirs=[os.path.dirname(greenlet.__path__[0])],  # so that "greenlet/greenlet.h" is found
                # -g0: Python's own flags have -g, which makes the modules six times as large. Names stay, for profiles.
                extra_compile_args=FLAGS or ["-O3", "-g" if ONLY else "-g0"],
                extra_link_args=FLAGS,
            )
            for name in HOT
            if name == (ONLY or name)
        ],
        quiet=True,             # Build says what is compiled
        language_level=3,
        # No pickling: a copy of what is made of pointers and counts would be a second owner of them.
        compiler_directives={"boundscheck": False, "wraparound": False, "auto_pickle": False},
    )
)
