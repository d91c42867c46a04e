"""green/openssl.pyx: what is found in the process is checked before it is called. Each case in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from greenhttp.green import openssl

CASES = {
    "OpenSSL in Python itself": ("del _ssl.__file__", "linked into Python itself"),
    "a file that is not loaded": ("_ssl.__file__ = '/nowhere/_ssl.so'", "cannot be looked into"),
    "a library without OpenSSL": (
        # This process has it already, and what it depends on is C's library alone.
        "import _ctypes_test as other; _ssl.__file__ = other.__file__", "cannot be found from Python's _ssl",
    ),
    "a context of another layout": ("_ssl._SSLContext = Pretended(16)", "not laid out as expected"),
    "something else in the place of a context": ("ssl.SSLContext = lambda protocol: Other()", "not laid out"),
    "a context of another OpenSSL": ("ssl.SSLContext = lambda protocol: Words()", "does not come from the OpenSSL"),
    "options that are not its own": ("ssl.SSLContext = Lying", "does not come from the OpenSSL"),
    "callbacks that stand nowhere": (
        "_ssl._SSLContext = Pretended(_ssl._SSLContext.__basicsize__)", "keeps its callbacks cannot be found",
    ),
}

BEGIN = """
import _ssl, ctypes, ssl

class Other:
    # its third word points nowhere
    __slots__ = ("first", "second")
    def __new__(cls):
        made = object.__new__(cls)
        ctypes.memmove(id(made) + 16, ctypes.byref(ctypes.c_size_t(0xdead000)), 8)
        return made
    def __del__(self):
        ctypes.memset(id(self) + 16, 0, 8)

memory = ctypes.create_string_buffer(4096)

class Words(Other):
    # its third word points to memory that holds no context
    __slots__ = ()
    def __new__(cls):
        made = object.__new__(cls)
        ctypes.memmove(id(made) + 16, ctypes.byref(ctypes.c_size_t(ctypes.addressof(memory))), 8)
        return made

class Lying(ssl.SSLContext):
    @property
    def options(self):
        return 1
    @options.setter
    def options(self, value):
        pass

class Pretended:
    # what is set in a context changes nothing in it
    def __init__(self, size):
        self.__basicsize__ = size
        self.sni_callback = self._msg_callback = self.keylog_filename = property(fset=lambda *set: None)
"""

END = """
from greenhttp.green import openssl
print(openssl.reason())
"""


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout.strip()


@pytest.mark.skipif(bool(openssl.reason()), reason=f"there is no direct way: {openssl.reason()}")
@pytest.mark.parametrize("case", CASES)
def test_what_is_not_as_expected_is_left_alone(case: str) -> None:
    change, why = CASES[case]
    assert why in run(BEGIN + textwrap.dedent(change) + END)


def test_without_it_connections_go_by_sslobject() -> None:
    """A name still chooses, tickets have keys of OpenSSL's own."""
    program = """
    import _ssl, ssl
    del _ssl.__file__
    import gevent
    from gevent import socket
    from greenhttp.green.tls import Certificates
    from greenhttp.green.transport import SocketStream
    import tempfile, pathlib
    from tests.tls import certificates as made
    def context(name):
        found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        found.load_cert_chain(*made.leaf(name).write(pathlib.Path(tempfile.mkdtemp())))
        return found
    certificates = Certificates([(("a.example",), context("a.example")), (("*.b.example",), context("*.b.example"))])
    assert certificates.set_ticket_keys([b"k" * 80]) is False
    ours, theirs = socket.socketpair()
    client = SocketStream(theirs)
    trust = ssl.create_default_context(cadata=made.leaf("a.example").authority.decode())
    shaking = gevent.spawn(client.start_tls, trust, server_name="www.b.example")
    stream = SocketStream(ours)
    stream.start_tls(certificates, server_side=True, timeout=10)
    shaking.get()
    stream.write(b"hello")
    stream.close()
    assert client.read() == b"hello"
    print(certificates.way, type(stream.layer).__name__, client.tls.verified)
    """
    assert run(textwrap.dedent(program)) == "simple NoneType True"
