"""Linux's `perf`, attached to a running server, and the load meanwhile."""

import os
import shutil
import signal
import subprocess

from perf import CLIENT_CORE
from perf.reach.figure import Unable
from perf.tools import wrk
from perf.tools.servers import Running
from perf.tools.workloads import Workload

MISSING = "perf is missing: install the Debian package `linux-perf`"


def available() -> bool:
    return shutil.which("perf") is not None


def drive(running: Running, workload: Workload, seconds: int, patience: int = 0) -> wrk.Load:
    """wrk's load on the server, for so many seconds. Unable when it counted errors, or no answer."""
    url = f"{workload.scheme}://127.0.0.1:{running.port}{workload.path}"
    seconds *= workload.stretch
    patience = max(patience, workload.patience)
    load = wrk.start(url, workload.connections, seconds, workload.script, patience, workload.fresh)
    try:
        output, _ = load.communicate(timeout=seconds + patience + 20)
    except subprocess.TimeoutExpired:
        raise Unable("wrk did not end") from None
    finally:
        if load.poll() is None:
            load.kill()
            load.wait()
    try:
        found = wrk.parse(output)
    except ValueError as error:
        raise Unable(str(error)) from None
    if fault := found.fault():
        raise Unable(f"wrk: {fault}")
    return found


class Perf:
    """`perf COMMAND` counting or sampling these processes from entering the block to leaving it.

    It begins disabled and is enabled by its control descriptors, whose answer says that every event is attached: what
    comes after is counted whole.
    """

    def __init__(self, command: str, pids: list[int], *options: str):
        targets = ",".join(map(str, pids))
        self._command = ["taskset", "-c", str(CLIENT_CORE), "perf", command, *options, "-D", "-1", "-p", targets]

    def __enter__(self) -> "Perf":
        told, tell = os.pipe()
        answer, answered = os.pipe()
        self._control = (tell, answer)  # open until the end: `perf record` stops where they are closed
        try:
            self._process = subprocess.Popen(
                [*self._command, "--control", f"fd:{told},{answered}"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                pass_fds=(told, answered),
            )
        finally:
            os.close(told)
            os.close(answered)  # so that perf's end is the end of what can be read
        try:
            os.write(tell, b"enable\n")
            enabled = os.read(answer, 16)
        except BrokenPipeError:
            enabled = b""
        if not enabled:
            self._end()
        return self

    def _end(self) -> None:
        """Unable when perf does not say that all went well."""
        try:
            _, said = self._process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            _, said = self._process.communicate()
        finally:
            for descriptor in self._control:
                os.close(descriptor)
        if self._process.returncode not in (0, -signal.SIGINT):
            raise Unable(f"perf: {(said.strip() or f'status {self._process.returncode}').splitlines()[-1]}")

    def __exit__(self, *exc_info) -> None:
        self._process.send_signal(signal.SIGINT)
        self._end()
