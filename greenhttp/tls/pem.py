"""PEM bytes that OpenSSL reads, without secrets on the disk.

`ssl` takes certificates and keys by the name of a file alone. What a worker has are bytes, which the master has read
for it: they go into a file that is only memory where the system has such files, and else into one that nobody else can
read and that is removed at once.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

CERTIFICATE = re.compile(rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----")
KEY = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----")
ENCRYPTED = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: *4, *ENCRYPTED", re.MULTILINE)
_DIRECTORIES = ("/dev/shm", None)  # of memory, where there is one; the usual one for temporary files


class Encrypted(Exception):
    """A key needs a password, and there is none."""


class Pair(NamedTuple):
    """A certificate with its key. Its repr names the files alone.

    Attributes:
        chain: PEM: the certificate first, then the intermediate ones; a key among them is not used.
        key: PEM.
        password: of the key; None: it is not encrypted.
        certfile: where the chain was read from, for messages.
        keyfile: where the key was read from.
    """

    chain: bytes
    key: bytes
    password: bytes | None
    certfile: str
    keyfile: str

    def __repr__(self) -> str:
        return f"Pair({self.certfile!r}, {self.keyfile!r})"

    def load(self, context: Any) -> None:
        """Give it to a context, an `ssl.SSLContext` or what is below it in C.

        Raises Encrypted, or `ssl.SSLError` for what OpenSSL refuses.
        """

        def password() -> bytes:
            """Without this OpenSSL would ask at the terminal."""
            if self.password is None:
                raise Encrypted(f"{self.keyfile}: the key is encrypted, and there is no password for it")
            return self.password

        with as_file(self.chain) as chain, as_file(self.key) as key:
            context.load_cert_chain(chain, key, password)


@contextmanager
def as_file(data: bytes) -> Iterator[str]:
    """The name of a file with these bytes, which is gone afterwards."""
    descriptor, path = _memory()
    if descriptor < 0:
        descriptor, path = _temporary()
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        yield path
    finally:
        os.close(descriptor)
        if not path.startswith("/proc/"):
            with suppress(OSError):
                os.unlink(path)


def _memory() -> tuple[int, str]:
    """A file in memory and its name, which only this process can use; -1: the system has none."""
    try:
        descriptor = os.memfd_create("greenhttp-tls")
    except (AttributeError, OSError):  # not Linux; forbidden
        return -1, ""
    path = f"/proc/self/fd/{descriptor}"
    if os.access(path, os.R_OK):
        return descriptor, path
    os.close(descriptor)  # /proc is not mounted
    return -1, ""


def _temporary() -> tuple[int, str]:
    import tempfile  # only for this: it is no small module

    for directory in _DIRECTORIES:
        with suppress(OSError):
            return tempfile.mkstemp(prefix="greenhttp-", dir=directory)  # of mode 600
    return tempfile.mkstemp(prefix="greenhttp-")
