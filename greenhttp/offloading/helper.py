"""A process that makes calls for this one: started when first needed, asked over a socket pair, replaced when it dies.

    helper = Helper()
    helper.call(fn, args, kwargs)       in a real thread, which waits; -> what fn returns, or raises what it raises
    helper.kill()                       from anywhere: the call is over, the next one has a new process

Why no pool of somebody else's: those of loky 3.7 and pebble 5 manage their processes from `threading` threads, which in
a patched process are green threads of the hub. Measured here, a large argument stops the hub while it is sent (0.6 s
for 50 MB), loky's end of the program hangs, and on libuv, which makes pipes non-blocking for all who read them, both
break at the first large result. What this takes from a library is the hard part, which functions can travel:
cloudpickle also takes those of the program itself, closures and lambdas by value.

The process is started by `posix_spawn`, never by a fork: it inherits no lock, no hub and no descriptor but its end of
the pair. It is not patched. When this process ends, however it does, the other end of the pair says so.
"""

import _socket  # the plain one, also in a patched process
import contextlib
import os
import pickle
import posix  # its plain functions, also in a patched process: those of os would tell the hub about the child
import signal
import struct
import sys
import traceback
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, NoReturn

from greenhttp.errors import OffloadError

LENGTH = struct.Struct("!Q")
SLICE = 1 << 20  # bytes received at a time
LEFT = (signal.SIGTERM, signal.SIGHUP)  # may go to all of a process group or systemd unit; the server drains then

inside = False  # whether this is such a process


class RemoteTraceback(Exception):
    """The cause of what a call in another process raised: where that was, as text."""

    def __str__(self) -> str:
        return f'in the offload process:\n"""\n{self.args[0]}"""'


class Helper:
    """See the module. One call at a time."""

    def __init__(self) -> None:
        self.pid = 0
        self.doomed = False  # by `kill`, also where there is no process yet; reset with the next call
        self._killed = 0  # the process that `kill` has ended; it may have answered before
        self._socket: _socket.socket | None = None

    def __del__(self) -> None:
        if self._socket is not None:  # of a thread that has left; the process ends with it
            self._socket.close()

    def call(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Raises what fn raises; OffloadError where it cannot travel there or its result back, or the process died."""
        if self._socket is not None and (self.pid == self._killed or _hung_up(self._socket)):
            self._bury()
        try:
            asked = _dumps((fn, args, kwargs))
        except Exception as error:  # whatever the pickling of a user's class raises
            raise OffloadError(f"{named(fn)} or its arguments cannot be pickled: {error}") from error
        if self._socket is None:
            self._start()
        assert self._socket is not None
        try:
            _send(self._socket, asked)
            answer = _receive(self._socket)
        except OSError:
            raise OffloadError(f"the process that ran {named(fn)} {self._bury()}") from None
        returned, packed, text = pickle.loads(answer)
        try:
            value = pickle.loads(packed)
        except Exception as error:
            what = "result" if returned else "exception"
            cause = error if returned else RemoteTraceback(text)
            raise OffloadError(f"the {what} of {named(fn)} cannot be unpickled: {error}") from cause
        if returned:
            return value
        raise value from RemoteTraceback(text)

    def kill(self) -> None:
        """End the process, whatever it is at; `call` notices."""
        self.doomed = True
        if self.pid:
            self._killed = self.pid
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _start(self) -> None:
        ours, theirs = _socket.socketpair()  # closed by exec, both of them; a copy is made for the process
        code = f"import sys; sys.path[:] = {sys.path!r}; from greenhttp.offloading.helper import main; main()"
        try:
            self.pid = posix.posix_spawn(
                sys.executable, [sys.executable, "-c", code], os.environ,
                file_actions=[(posix.POSIX_SPAWN_DUP2, theirs.fileno(), 0)],
                setsigmask=(signal.SIGINT, *LEFT),  # they wait until `main` has said what becomes of them
            )  # fmt: skip
        finally:
            theirs.close()
        self._socket = ours
        if self.doomed:
            self.kill()

    def _bury(self) -> str:
        """Forget the dead process. Says how it died."""
        assert self._socket is not None
        self._socket.close()
        pid, self.pid, self._killed, self._socket = self.pid, 0, 0, None
        with contextlib.suppress(OSError):  # libev may have reaped it already
            code = os.waitstatus_to_exitcode(posix.waitpid(pid, 0)[1])
            return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        return "died"


def named(fn: Callable[..., Any]) -> str:
    """What people call it: `report()`."""
    return f"{getattr(fn, '__qualname__', None) or type(fn).__qualname__}()"


def _dumps(value: Any) -> bytes:
    import cloudpickle

    return cloudpickle.dumps(value, pickle.HIGHEST_PROTOCOL)  # type: ignore[no-any-return]


def _send(sock: _socket.socket, data: bytes) -> None:
    sock.sendall(LENGTH.pack(len(data)))
    sock.sendall(data)


def _receive(sock: _socket.socket) -> bytes:
    return bytes(_exactly(sock, LENGTH.unpack(_exactly(sock, LENGTH.size))[0]))


def _hung_up(sock: _socket.socket) -> bool:
    """Whether the other side has gone. It says nothing unasked."""
    try:
        return not sock.recv(1, _socket.MSG_PEEK | _socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _exactly(sock: _socket.socket, count: int) -> bytearray:
    data = bytearray()
    while len(data) < count:
        piece = sock.recv(min(SLICE, count - len(data)))
        if not piece:
            raise ConnectionResetError
        data += piece
    return data


# ---- in the process


def main() -> NoReturn:
    """Make calls until the other side has gone."""
    import queue
    import threading

    global inside
    inside = True
    sock = _socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # what a call reads from stdin is not ours
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of a terminal; it is meant for the server
    for number in LEFT:
        signal.signal(number, _left_to_the_server)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    asked: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def listen() -> None:
        """A thread of its own: also while a call computes, the end of the other side ends this one."""
        with contextlib.suppress(OSError):
            while True:
                asked.put(_receive(sock))
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        answer = _answer(asked.get())
        with contextlib.suppress(OSError):
            _send(sock, answer)


def _left_to_the_server(sig: int, frame: FrameType | None) -> None:
    """Nothing; and unlike SIG_IGN nothing that the programs inherit which a call starts."""


def _answer(asked: bytes) -> bytes:
    try:
        fn, args, kwargs = pickle.loads(asked)
        return pickle.dumps((True, _dumps(fn(*args, **kwargs)), ""))
    except BaseException as error:
        text = traceback.format_exc()
        try:
            packed = _dumps(error)
        except Exception:
            packed = _dumps(OffloadError(f"{type(error).__name__}: {error}"))
        return pickle.dumps((False, packed, text))
