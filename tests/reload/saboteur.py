"""A supervisor under sabotage: its processes are killed, stopped, reloaded, upgraded, in an order that a seed decides.

    python -m tests.reload.saboteur --minutes 3 --seed 1        `make saboteur`

After each act the server must be whole again: all workers serve, and whoever asks is answered. Requests may be lost
only by acts that end a worker by force. In the end TERM stops it with exit code 0, and the log has a line about each.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.reload import ANSWERED, KINDS, LOST, Client, Program, children, finish, table

WORKERS = 3
PATIENCE = 90.0  # seconds, far beyond what any act takes
OPTIONS = (
    "--timeout", "2", "--graceful-timeout", "5", "--drain-linger", "200ms", "--hub-warn", "0", "--error-logfile",
    "error.log", "--boot-timeout", "20", "--access-logfile", "access.log",
)  # fmt: skip


class Saboteur:
    """Arguments:
        where: a directory for what the program writes.
        seed: decides all acts.

    Attributes:
        acts: how often which was done.
        forced: how many workers were ended by force.
    """

    def __init__(self, where: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.where = where
        self.program = Program(where, "-w", str(WORKERS), *OPTIONS, secure=True)
        self.master = self.program.process.pid
        self.acts: Counter[str] = Counter()
        self.forced = 0

    def log(self) -> str:
        """All of it, of the files that were moved away too."""
        return "".join(path.read_text() for path in sorted(self.where.glob("error.log*"), reverse=True))

    def until(self, condition: object, what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():  # type: ignore[operator]
            assert self.program.process.poll() is None, f"the supervisor has ended\n{self.log()[-3000:]}"
            assert time.monotonic() < end, f"{what} did not happen\n{self.log()[-3000:]}"
            time.sleep(0.02)

    def workers(self) -> list[int]:
        return children(self.master)

    def whole(self) -> None:
        """Wait until as many workers as there should be serve, and one of them answers."""
        self.until(lambda: len(self.workers()) == WORKERS, f"{WORKERS} workers")
        self.until(self.answers, "an answer")

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.program.port), timeout=10) as client:
                client.sendall(b"GET /?1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return client.recv(100).startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False

    def victim(self) -> int:
        """One that has said that it serves: only of those each death is a line of its own."""
        found: list[int] = []
        self.until(lambda: found.extend(self.serving()) or found, "a worker that serves")
        return self.chance.choice(found)

    def serving(self) -> list[int]:
        text = self.log()
        return [pid for pid in self.workers() if f" serves, process {pid}\n" in text]

    # ---- acts

    def act(self) -> str:
        """One of them, and what must come of it."""
        name = self.chance.choice([name for name in dir(self) if name.startswith("do_")])
        getattr(self, name)()
        self.whole()
        self.acts[name.removeprefix("do_")] += 1
        return name.removeprefix("do_").replace("_", " ")

    def do_kill_a_worker(self) -> None:
        self.force(signal.SIGKILL)

    def do_crash_a_worker(self) -> None:
        self.force(signal.SIGSEGV)

    def do_stop_a_worker(self) -> None:
        self.force(signal.SIGSTOP)

    def force(self, number: int) -> None:
        pid = self.victim()
        self.forced += 1
        os.kill(pid, number)
        self.until(lambda: pid not in self.workers(), f"the end of {pid}")

    def do_tell_a_worker_to_drain(self) -> None:
        pid = self.victim()
        os.kill(pid, signal.SIGTERM)
        self.until(lambda: pid not in self.workers(), f"the end of {pid}")

    def do_kill_the_log_process(self) -> None:
        (pid,) = children(self.master, log=True) or [0]
        if pid:
            os.kill(pid, signal.SIGKILL)
        self.until(lambda: children(self.master, log=True) not in ([], [pid]), "another log process")

    def do_stop_the_log_process(self) -> None:
        for pid in children(self.master, log=True):
            os.kill(pid, signal.SIGSTOP)
            for _ in range(3):
                assert self.answers()
            os.kill(pid, signal.SIGCONT)

    def do_reload(self) -> None:
        self.renew(signal.SIGHUP)

    def do_upgrade(self) -> None:
        self.renew(signal.SIGUSR2)

    def renew(self, number: int) -> None:
        before = set(self.workers())
        self.program.bump()
        os.kill(self.master, number)
        self.until(lambda: not before & set(self.workers()), "a new generation")

    def do_reload_what_is_broken(self) -> None:
        web = self.where / "web.py"
        text = web.read_text()
        web.write_text("import nothing_of_that_name\n")
        failed = self.log().count("the new generation failed")
        os.kill(self.master, signal.SIGHUP)
        self.until(lambda: self.log().count("the new generation failed") > failed, "a failed generation")
        web.write_text(text)

    def do_renew_the_certificate(self) -> None:
        wanted = self.program.renew()
        self.until(lambda: self.shown() == wanted, "the new certificate")

    def do_spoil_the_certificate(self) -> None:
        before, refused = self.shown(), self.log().count("cannot be read again")
        (self.where / "server.pem").write_text("no certificate\n")
        self.until(lambda: self.log().count("cannot be read again") > refused, "a line about it")
        assert self.shown() == before
        self.do_renew_the_certificate()

    def shown(self) -> bytes | None:
        """What a client of TLS is shown now."""
        try:
            plain = socket.create_connection(("127.0.0.1", self.program.secure_port), timeout=10)
            with plain, self.program.trust.wrap_socket(plain, server_hostname="localhost") as client:
                return client.getpeercert(binary_form=True)
        except OSError:
            return None

    def do_rotate(self) -> None:
        (self.where / "error.log").rename(self.where / f"error.log.{sum(self.acts.values()):05}")
        os.kill(self.master, signal.SIGUSR1)
        self.until((self.where / "error.log").exists, "a new log")

    def do_one_more_and_one_less(self) -> None:
        os.kill(self.master, signal.SIGTTIN)
        self.until(lambda: len(self.workers()) == WORKERS + 1, "one more")
        os.kill(self.master, signal.SIGTTOU)

    def do_noise(self) -> None:
        for _ in range(200):
            with socket.create_connection(("127.0.0.1", self.program.port), timeout=10) as client:
                client.sendall(self.chance.choice((b"\x16\x03\x01\x00", b"GET / HTTP/1.1\r\n\r\n", b"x", b"")))

    # ---- the end

    def end(self, clients: list[Client]) -> list[str]:
        """Stop it. What was wrong."""
        finish(clients, 1)
        wrong = []
        if (code := self.program.stop()) != 0:
            wrong.append(f"exit code {code}")
        text = self.log()
        lost = sum(client.outcomes[LOST] for client in clients)
        if lost > self.forced * len(clients):
            wrong.append(f"{lost} requests were lost by {self.forced} workers that were ended by force")
        if not text.endswith("INFO stopped, exit code 0\n"):
            wrong.append("the log has no last line")
        died = len(re.findall(r"worker \d+ died: ", text)) + text.count(" is hung: it is stopped (SIGSTOP")
        if died < self.forced:
            wrong.append(f"{self.forced} workers were ended by force, {died} lines say so")
        unexplained = len(re.findall(r"worker \d+ died: killed by SIGKILL, not by", text)) - self.acts["kill_a_worker"]
        if unexplained > 0:
            wrong.append(f"{unexplained} more deaths are said to be somebody's")
        wrong += [line for line in self.program.lines if "Traceback" in line][:1]
        return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reload.saboteur", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as where:
        saboteur = Saboteur(Path(where), given.seed)
        try:
            saboteur.until(lambda: "Ctrl-C" in saboteur.log(), "the start")
            saboteur.whole()
            clients: list[Client] = saboteur.program.clients(KINDS)
            for client in clients:
                client.start()
            end = time.monotonic() + given.minutes * 60
            while time.monotonic() < end:
                done = saboteur.act()
                if sys.stderr.isatty():
                    print(f"\r{sum(saboteur.acts.values())} acts, {done:40}", end="", file=sys.stderr, flush=True)
            wrong = saboteur.end(clients)
        finally:
            saboteur.program.end()
    print(f"\nseed {given.seed}: " + ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in saboteur.acts.items()))
    print(table(clients))
    total = sum(client.outcomes[ANSWERED] for client in clients)
    print(f"{total:,} answered; {saboteur.forced} workers ended by force; wrong: {'; '.join(wrong) or 'nothing'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
