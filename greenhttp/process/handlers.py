"""Signal handlers that a server needs, kept against what an application does meanwhile.

A library that is first used in a request may handle TERM, ignore it, or block it; then the server could be stopped by
force alone, and a supervisor would lose requests. So somebody looks from time to time.
"""

import importlib
import signal
from collections.abc import Mapping
from typing import Any

PERIOD = 1.0  # seconds between two looks
REPLACED = "the application has replaced the handler of %s; the server's own is back: use atexit, or code after serve()"

# Below the module signal, which makes an enumeration of each number: a look takes 1 µs and not 8. And gevent's differ
# for SIGCHLD.
_below: Any = importlib.import_module("_signal")
_set, _get, _mask = _below.signal, _below.getsignal, _below.pthread_sigmask


class Handlers:
    """Those of this process, set from now on; `look` unblocks them. All calls are the main thread's.

    Arguments:
        handlers: signal number to its handler.
    """

    def __init__(self, handlers: Mapping[int, Any]) -> None:
        self.handlers = {
            int(number): int(handler) if isinstance(handler, signal.Handlers) else handler
            for number, handler in handlers.items()
        }
        for number, handler in self.handlers.items():
            _set(number, handler)

    def look(self) -> list[int]:
        """Have them in force. Returns the numbers of those that somebody else had replaced.

        SIGPIPE's default would end the process with the first client that goes away.
        """
        replaced = [number for number, handler in self.handlers.items() if _get(number) != handler]
        for number in replaced:
            _set(number, self.handlers[number])
        _mask(_below.SIG_UNBLOCK, self.handlers)
        if _get(_below.SIGPIPE) == _below.SIG_DFL:
            _set(_below.SIGPIPE, _below.SIG_IGN)
        return replaced
