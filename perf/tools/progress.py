"""A progress bar on stderr: what runs, how much is done, how long it took and how long is left. Where stderr is no
terminal, one plain line for each group that is finished, so that the log of a long run says where it was."""

import shutil
import sys
import time

BAR = 20


def clock(seconds: float) -> str:
    """75 -> 1:15, 3675 -> 1:01:15"""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


class Progress:
    """`steps` in all, `seconds` guessed for all of them together. A guess is corrected by what the steps took so far:
    the guesses need to be right in proportion only. Without guesses all steps are taken to be of one length."""

    def __init__(self, steps: int, seconds: float = 0.0):
        self._steps, self._begun, self._began = steps, 0, time.monotonic()
        self._guessed, self._guessed_done, self._guess = seconds, 0.0, 0.0
        self._running = False
        self._terminal = sys.stderr.isatty()

    def step(self, what: str, guess: float = 0.0) -> None:
        """`what` begins now, and what began before is done. `guess`: seconds it will take."""
        self._guessed_done += self._guess
        self._guess = guess
        self._begun += 1
        self._running = True
        if self._terminal:
            self._show(f"{self._bar(self._begun - 1)} {self._begun}/{self._steps}  {self._times()}  {what}")

    def skip(self, steps: int, guess: float = 0.0) -> None:
        """So many steps fewer, `guess` seconds in all."""
        self._steps -= steps
        self._guessed -= guess

    def finished(self, group: str) -> None:
        """A group of steps is done."""
        self._guessed_done += self._guess
        self._guess, self._running = 0.0, False
        self.clear()
        if not self._terminal:
            print(f"{group} done, {self._begun}/{self._steps}, {self._times()}", file=sys.stderr, flush=True)

    def say(self, what: str) -> None:
        """On a terminal, without counting."""
        if self._terminal:
            self._show(what)

    def clear(self) -> None:
        if self._terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _bar(self, done: int) -> str:
        full = BAR * done // self._steps if self._steps else 0
        return f"[{'#' * full}{'-' * (BAR - full)}]"

    def _times(self) -> str:
        spent = time.monotonic() - self._began
        done = self._begun - self._running
        if self._guessed_done:
            left = spent * max(0.0, self._guessed - self._guessed_done) / self._guessed_done
        else:
            left = self._guessed or (spent / done * (self._steps - done) if done else 0.0)
        return clock(spent) + (f", about {clock(left)} left" if left >= 1 else "")

    def _show(self, text: str) -> None:
        width = shutil.get_terminal_size().columns - 1  # a line that wraps cannot be taken back
        sys.stderr.write(f"\r\x1b[K{text[:width]}")
        sys.stderr.flush()
