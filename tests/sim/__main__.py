"""Worlds, from the command line.

python -m tests.sim                     a minute of new seeds
python -m tests.sim --minutes 60        more of them; --jobs 2 beside each other
python -m tests.sim --seed 7 --trace    one world once more, and what happened in it
python -m tests.sim --seed 7 --shrink   the least of it that fails in the same way
python -m tests.sim --proof             each known fault put back: how many worlds find it
"""

import argparse
import shutil
import signal
import sys
import time

from tests.sim import native
from tests.sim.faults import prove
from tests.sim.plan import ADVERSITIES, QUIRKS, STREAM_QUIRKS
from tests.sim.report import Summary, in_jobs
from tests.sim.runner import Worlds
from tests.sim.shrink import script, shrunk


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.sim", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seed", type=int, help="the first seed; by default the time")
    parser.add_argument("--count", type=int, help="so many worlds, one seed after the other")
    parser.add_argument("--minutes", type=float, help="as many worlds as there is time for")
    parser.add_argument("--jobs", type=int, default=1, help="so many worlds beside each other")
    parser.add_argument(
        "--trace", type=int, nargs="?", const=100000, default=0, metavar="LINES", help="print what happened in a world"
    )
    parser.add_argument("--only", default="", help="names of what happens in the world, with commas")
    parser.add_argument("--without", default="", help="quirks and adversities that do not happen, with commas")
    parser.add_argument("--shrink", action="store_true", help="find the smallest part that still fails in the same way")
    parser.add_argument("--proof", nargs="*", metavar="FAULT", help="put faults back, all or these, and find them")
    parser.add_argument("--real", default="", choices=("libev", "libuv"), help="gevent's own loop and real sockets")
    parser.add_argument("--quiet", action="store_true", help="failures by kind and seed alone")
    parser.add_argument("--python", default=sys.executable, help="the interpreter for the worlds")
    options = parser.parse_args()
    for name in ("count", "minutes", "jobs"):
        if (number := getattr(options, name)) is not None and number <= 0:
            parser.error(f"--{name}: more than 0, not {number:g}")
    if (options.trace or options.only) and (options.seed is None or options.count or options.minutes):
        parser.error("--trace and --only are about one world: give its --seed, neither --count nor --minutes")
    if shutil.which(options.python) is None:
        parser.error(f"--python: there is no program {options.python}")
    if not native.supported():
        print("tests.sim: worlds need Linux; skipped")
        return 0
    without = options.without.split(",") if options.without else []
    if unknown := set(without) - {*QUIRKS, *STREAM_QUIRKS, *ADVERSITIES}:
        parser.error(f"--without: nothing is called {', '.join(sorted(unknown))}; see plan.py")
    if options.proof is not None:
        return prove(options.python, options.jobs, options.proof)
    if options.seed is not None and not (options.count or options.minutes):
        return replay(options, without)
    summary = Summary(options.quiet)
    seed = options.seed if options.seed is not None else int(time.time()) * 1000
    minutes = options.minutes if options.minutes or options.count else 1.0
    print(f"seeds from {seed}", flush=True)
    try:
        for verdict in in_jobs(options.jobs, seed, options.count, minutes, without, options.python, loop=options.real):
            summary.add(verdict)
    finally:  # also when it is interrupted
        summary.end()
    for failing in summary.to_shrink() if options.shrink else ():
        with Worlds(options.python, loop=options.real) as worlds:
            least(worlds, failing["seed"], None, without, failing["failure"])
    return 1 if summary.failures else 0


def least(worlds: Worlds, seed: int, only: list[str] | None, without: list[str], kind: str) -> list[str]:
    """Find and print the least of a world that fails in that way."""
    names = shrunk(lambda fewer: worlds.run(seed, fewer, without), seed, kind, only)
    left_out = f" --without {','.join(without)}" if without else ""
    print(f"\n{script(seed, names)}\npython -m tests.sim --seed {seed} --only {','.join(names)}{left_out} --trace\n")
    return names


def replay(options: argparse.Namespace, without: list[str]) -> int:
    only = options.only.split(",") if options.only else None
    with Worlds(options.python, loop=options.real) as worlds:
        if options.shrink:
            kind = worlds.run(options.seed, only, without)["failure"]
            if kind is None:
                print("nothing fails")
                return 0
            only = least(worlds, options.seed, only, without, kind)
        verdict = worlds.run(options.seed, only, without, options.trace)
    for line in verdict.pop("trace", ()):
        print(line)
    for line in verdict.pop("messages", ()):
        print(line)
    for name, value in verdict.items():
        if name not in ("failure", "story"):
            print(f"{name}: {value}")
    print(f"{verdict['failure']}: {verdict['story']}" if verdict["failure"] else "all that must hold holds")
    return 1 if verdict["failure"] else 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, lambda *_: sys.exit("\ninterrupted"))
    raise SystemExit(main())
