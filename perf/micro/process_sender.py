"""What it costs a signal to be noted with its sender."""

import os
import signal

from greenhttp.process.sender import sender, watch
from perf.micro import best_of


def run() -> list[tuple[str, float]]:
    own, number = os.getpid(), signal.SIGUSR2
    before = signal.signal(number, lambda *_: None)

    def send(times: int) -> None:
        for _ in range(times):
            os.kill(own, number)

    def send_and_ask(times: int) -> None:
        for _ in range(times):
            os.kill(own, number)
            sender(number)

    try:
        plain = best_of(send, 10_000)
        watch([number])
        return [
            ("a signal, Python's handler alone", plain),
            ("a signal, its sender noted", best_of(send, 10_000)),
            ("a signal, its sender noted and asked for", best_of(send_and_ask, 10_000)),
        ]
    finally:
        signal.signal(number, before)
