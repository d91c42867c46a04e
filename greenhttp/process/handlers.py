"""Signal handlers that a server needs, kept against what an application does meanwhile.

A library that is first used in a request may handle TERM, ignore it, or block it; then the server could be stopped by
force alone, and a supervisor would lose requests. So somebody looks from time to time.
"""

import signal
from collections.abc import Mapping
from typing import Any

PERIOD = 1.0  # seconds between two looks
REPLACED = "the application has replaced the handler of %s; the server's own is back: use atexit, or code after serve()"

_signal, _getsignal = signal.signal, signal.getsignal  # the system's own in a supervisor: gevent's differ for SIGCHLD


class Handlers:
    """Those of this process, set from now on; `look` unblocks them. All calls are the main thread's.

    Arguments:
        handlers: signal number to its handler.
    """

    def __init__(self, handlers: Mapping[int, Any]) -> None:
        self.handlers = dict(handlers)
        for number, handler in handlers.items():
            _signal(number, handler)

    def look(self) -> list[int]:
        """Have them in force. Returns the numbers of those that somebody else had replaced.

        SIGPIPE's default would end the process with the first client that goes away.
        """
        replaced = [number for number, handler in self.handlers.items() if _getsignal(number) != handler]
        for number in replaced:
            _signal(number, self.handlers[number])
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self.handlers)
        if _getsignal(signal.SIGPIPE) is signal.SIG_DFL:
            _signal(signal.SIGPIPE, signal.SIG_IGN)
        return replaced
