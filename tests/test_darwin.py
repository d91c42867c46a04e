"""The branches of the C code that other systems take: compiled here, and run where Linux has the same calls."""

import ctypes
import fcntl
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent / "greenhttp"

# What macOS declares and Linux does not, or declares otherwise.
DARWIN = """
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#undef MSG_NOSIGNAL
#undef MSG_MORE
#undef CLOCK_MONOTONIC_COARSE
#define CLOCK_MONOTONIC_RAW_APPROX CLOCK_MONOTONIC_RAW
#define SO_NWRITE 0x1024
extern int sendfile(int file, int socket, off_t offset, off_t* size, void* headers, int reserved);
"""
OTHER = "#include <stdint.h>\n" + DARWIN[: DARWIN.index("#define CLOCK")]

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not shutil.which("cc"), reason="needs Linux's headers and a C compiler"
)


def code_of(module):
    """The C code that stands in a Cython module, with what its declarations declare."""
    path = HOUSE / module
    texts = [found.read_text() for found in {path.with_suffix(".pxd"): 0, path: 0} if found.exists()]
    blocks = re.findall(r'cdef extern from \*:\n    """\n(.*?)\n    """', "\n".join(texts), re.DOTALL)
    assert blocks
    return "\n".join(blocks).replace("\\\\", "\\")


def compiled(source, path, *options):
    """Compile for a system that is not Linux; warnings are errors."""
    command = ["cc", "-x", "c", "-Wall", "-Werror", "-Wno-unused-function", "-U__linux__", *options, "-o", path, "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


ASKS = re.compile(r'cdef extern from \*:\n    """\n    #(?:include|ifndef)')  # else it asks Python alone
MODULES = [
    "green/acceptor.pyx", "green/layer.pxd", "green/openssl.pyx", "green/peers.pyx", "green/transport.pyx",
    "process/clock.pxd", "process/ids.pyx", "process/sender.pyx",
]  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize(("system", "option"), [(DARWIN, "-D__APPLE__"), (OTHER, "-Dnothing")])
def test_it_compiles_elsewhere(module, system, option, tmp_path):
    compiled(system + code_of(module), tmp_path / "out", option, "-fsyntax-only")


def test_every_module_with_c_code_is_compiled():
    """Of those below `http`; a declaration (.pxd) only where it asks the system for something."""
    with_code = [
        str(path.relative_to(HOUSE))
        for room in ("green", "process")
        for path in [*HOUSE.glob(f"{room}/*.pyx"), HOUSE / room / "clock.pxd", HOUSE / room / "layer.pxd"]
        if path.exists() and ASKS.search(path.read_text())
    ]
    assert sorted(with_code) == sorted(MODULES)


@pytest.fixture
def elsewhere(tmp_path):
    """elsewhere(module): its C code as a library, as another system would have it."""

    def build(module):
        source = re.sub(r"\bstatic (inline )?", "", code_of(module))
        compiled(DARWIN + source, tmp_path / "lib.so", "-D__APPLE__", "-shared", "-fPIC")
        return ctypes.CDLL(str(tmp_path / "lib.so"), use_errno=True)

    return build


def test_without_accept4_a_connection_is_non_blocking_and_not_inherited(elsewhere):
    library = elsewhere("green/acceptor.pyx")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        peer = ctypes.create_string_buffer(128)
        assert library.greenhttp_accept(listener.fileno(), peer) == -1
        with socket.create_connection(listener.getsockname()) as client:
            fd = library.greenhttp_accept(listener.fileno(), peer)
            try:
                assert not os.get_blocking(fd)
                assert fcntl.fcntl(fd, fcntl.F_GETFD) == fcntl.FD_CLOEXEC
                assert int.from_bytes(peer.raw[2:4], "big") == client.getsockname()[1]
            finally:
                os.close(fd)


def test_without_a_coarse_clock_time_goes_forward(elsewhere):
    clock = elsewhere("process/clock.pxd").greenhttp_clock
    clock.restype = ctypes.c_double
    assert 0 < clock() <= clock()


# On macOS poll() tells nothing about a descriptor whose `events` are 0 (xnu, bsd/kern/sys_generic.c, poll_nocancel).


def test_asked_for_writing_a_half_closed_connection_is_not_gone_and_a_reset_one_is(elsewhere):
    gone = elsewhere("green/transport.pyx").greenhttp_gone
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        with client, listener.accept()[0] as ours:
            assert not gone(ours.fileno())
            client.shutdown(socket.SHUT_WR)
            assert ours.recv(1) == b""
            assert not gone(ours.fileno())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
            assert gone(ours.fileno())
