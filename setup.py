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
    "greenhttp.green.deadline",
    "greenhttp.green.pool",
    "greenhttp.green.stream",
    "greenhttp.green.transport",
    "greenhttp.green.acceptor",
    "greenhttp.green.spawn",
    "greenhttp.http.service",
    "greenhttp.http.request",
    "greenhttp.http.response",
    "greenhttp.http.connection",
    "greenhttp.hosting.wsgi",
    "greenhttp.hosting.handler",
    "greenhttp.observe.entries",
]

setup(
    ext_modules=cythonize(
        [
            Extension(
                name,
                [name.replace(".", "/") + ".pyx"],
                include_dirs=[os.path.dirname(greenlet.__path__[0])],  # so that "greenlet/greenlet.h" is found
                extra_compile_args=["-O3"],
            )
            for name in HOT
        ],
        language_level=3,
        compiler_directives={"boundscheck": False, "wraparound": False},
    )
)
