"""greenhttp as a process that speaks TLS, and the certificates that its clients are to see."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.system.process import Command
from tests.tls import certificates

ROOT = Path(__file__).parents[2]
DEFAULT, EXACT, WILD = "shop.example", "api.shop.example", "*.shop.example"


class Files:
    """Certificates in a directory, the authority that clients are to trust, and a client's own.

    Arguments:
        key: of the servers' certificates, as in `certificates`.
    """

    def __init__(self, where: Path, key: str = "p256") -> None:
        self.where = where
        self.authority = certificates.put(where / "authority.pem", certificates.authority().authorities())
        self.pairs = [
            certificates.leaf(name, *more, key=key).write(where, label)
            for label, name, more in (("default", DEFAULT, ["127.0.0.1"]), ("exact", EXACT, []), ("wild", WILD, []))
        ]
        self.client = certificates.client("alice").write(where, "alice")
        self.stranger = certificates.other_authority().leaf("mallory@example.com", common="mallory").write(where, "mal")

    @property
    def options(self) -> list[str]:
        return [option for cert, key in self.pairs for option in ("--certfile", cert, "--keyfile", key)]


class Served:
    """A process that serves tests.tls.served.

    Attributes:
        port: where, on 127.0.0.1.
        said: its log so far.
    """

    def __init__(self, files: Files, *options: str) -> None:
        self._process = Command(ROOT, "-b", "127.0.0.1:0", *files.options, *options, "tests.tls.served:app")
        self.said: list[str] = []

    def __enter__(self) -> Served:
        self._process.__enter__()
        try:
            start = self._process.until("Ctrl-C")
            self.port = int(re.search(r"https://127\.0\.0\.1:(\d+)", start)[1])
        except BaseException:
            self._process.__exit__(None, None, None)
            raise
        self._reader = threading.Thread(target=self.said.extend, args=(self._process.stderr,))
        self._reader.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.terminate()
        with contextlib.suppress(Exception):
            self._process.wait(30)
        self._process.kill()
        self._reader.join()
        self._process.__exit__(None, None, None)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


def serving(files: Files, *options: str) -> Iterator[Served]:
    with Served(files, *options) as served:
        yield served
