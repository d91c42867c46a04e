"""`python -m tests.soak MINUTES [--seed N]`: exit code 1 on a wrong answer, a leak or a traceback nobody ordered."""

import argparse
import os
import platform
import random
import signal
import sys

import gevent
import greenlet

from greenhttp.green.loop import choose


def main():
    choose("auto")
    from tests.soak.course import GROWTH, Soak  # the hub is made by what it imports
    from tests.soak.report import summary

    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Honest and hostile clients for a while.")
    parser.add_argument("minutes", nargs="?", type=float, default=10.0, metavar="MINUTES")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="of an earlier run, to repeat it")
    options = parser.parse_args()
    if not 0 < options.minutes <= 60 * 24:
        parser.error("MINUTES: give more than 0 and no more than a day")

    print(
        f"{options.minutes:g} minutes, seed {options.seed}; {os.cpu_count()} CPUs, {platform.system()}"
        f" {platform.release()}, Python {platform.python_version()}, gevent {gevent.__version__},"
        f" greenlet {greenlet.__version__}, {gevent.config.loop.__module__}\n"
        f"allowed growth after the warm-up: RSS {GROWTH >> 20} MiB, green threads 0, descriptors 0",
        flush=True,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the servers must not outlive it
    soak = Soak(60 * options.minutes, options.seed)
    try:
        soak.run()
    except KeyboardInterrupt:
        print("stopped before its end; so far:")
        print("\n".join(summary(soak.tally, soak.samples)))
        return 130
    print("\n".join(["", *summary(soak.tally, soak.samples)]))
    return 1 if soak.tally.findings else 0


if __name__ == "__main__":
    sys.exit(main())
