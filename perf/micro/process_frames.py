"""What it costs to take the frames of a stack at one moment, against one by one."""

import sys
import threading
import traceback

from greenhttp.process.frames import callers, running
from perf.micro import best_of


def run() -> list[tuple[str, float]]:
    def deep(left: int) -> list[tuple[str, float]]:
        return deep(left - 1) if left else measured()

    def measured() -> list[tuple[str, float]]:
        frame, own = sys._getframe(), threading.get_ident()

        def walk(times: int) -> None:
            for _ in range(times):
                list(traceback.walk_stack(frame))

        def take(times: int) -> None:
            for _ in range(times):
                callers(frame, 1000)

        def ask(times: int) -> None:
            for _ in range(times):
                running(own)

        return [
            ("a stack of over twenty frames, one by one", best_of(walk, 10_000)),
            ("a stack of over twenty frames, at one moment", best_of(take, 10_000)),
            ("the innermost frame of a thread", best_of(ask, 10_000)),
        ]

    return deep(20)
