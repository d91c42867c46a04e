"""The compiled modules; everything else about the package stands in setup.cfg."""

import os

import greenlet
from Cython.Build import cythonize
from setuptools import Extension, setup

HOT = [
    "greenhttp.wire.head",
    "greenhttp.wire.body",
    "greenhttp.wire.response",
    "greenhttp.green.deadline",
    "greenhttp.green.stream",
    "greenhttp.green.pool",
    "greenhttp.green.acceptor",
    "greenhttp.http.connection",
    "greenhttp.http.request",
    "greenhttp.http.response",
    "greenhttp.hosting.wsgi",
]
SOURCES = {name: name.replace(".", "/") + ".pyx" for name in HOT}

if __name__ == "__main__":
    setup(
        ext_modules=cythonize(
            [
                Extension(
                    name,
                    [source],
                    include_dirs=[greenlet.__path__[0]],
                    extra_compile_args=["-O3"],
                )
                for name, source in SOURCES.items()
                if os.path.exists(source)
            ],
            language_level=3,
            compiler_directives={"boundscheck": False, "wraparound": False},
        )
    )
