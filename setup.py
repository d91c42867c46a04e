"""The compiled modules; everything else about the package stands in setup.cfg."""

import os

import greenlet
from Cython.Build import cythonize
from setuptools import Extension, setup

HOT = [
    "greenhttp.wire.head",
    "greenhttp.wire.body",
]

setup(
    ext_modules=cythonize(
        [
            Extension(
                name,
                [name.replace(".", "/") + ".pyx"],
                include_dirs=[greenlet.__path__[0]],
                extra_compile_args=["-O3"],
            )
            for name in HOT
            if os.path.exists(name.replace(".", "/") + ".pyx")
        ],
        language_level=3,
        compiler_directives={"boundscheck": False, "wraparound": False},
    )
)
