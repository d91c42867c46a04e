"""One line on stderr that says what runs and how long is left; nothing at all where stderr is not a terminal."""

import sys
import time


class Progress:
    def __init__(self, steps: int):
        self._steps, self._done, self._began = steps, 0, time.monotonic()
        self._shown = sys.stderr.isatty()

    def step(self, what: str, guess: float = 0.0) -> None:
        """`what` begins now. `guess`: seconds for a step, until the first has shown how long one takes."""
        spent = time.monotonic() - self._began
        each = spent / self._done if self._done else guess
        left = each * (self._steps - self._done)
        self._done += 1
        if self._shown:
            text = f"[{self._done}/{self._steps}] {what}" + (f", about {left:.0f} s left" if left else "")
            sys.stderr.write(f"\r\x1b[K{text[:118]}")
            sys.stderr.flush()

    def skip(self, steps: int) -> None:
        self._steps -= steps

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def say(self, what: str) -> None:
        """Without counting."""
        if self._shown:
            sys.stderr.write(f"\r\x1b[K{what[:118]}")
            sys.stderr.flush()
