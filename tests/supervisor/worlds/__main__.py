"""Simulated worlds: one of a seed or from a file, as many as there is time for, or those that prove the tool.

The exit code is 1 if a world has failed, or if a fault put back was not found.
"""

import argparse
import random
import sys
import time
from collections import Counter

from tests.supervisor.worlds.faults import FAULTS
from tests.supervisor.worlds.script import Script, made
from tests.supervisor.worlds.shrink import shrunk
from tests.supervisor.worlds.world import load, run

STARTS = (0, 1_000_000, 2_000_000)  # first seeds of the proof's three attempts
MOST = 10_000  # worlds of an attempt


def failure(seed, script, outcome, code):
    """What people are told of a world that fails."""
    rule, text = outcome.wrong
    less = shrunk(script, code, rule)
    _, text = run(less, code).wrong or (rule, text)
    return (
        f"seed {seed}: {rule}: {text}\nshrunk, for --script FILE:\n{less.text()}"
        f"again: python -m tests.supervisor.worlds --seed {seed} --trace"
    )


def for_minutes(minutes, first):
    code, events, failed, worlds, calls, seconds = load(), Counter(), 0, 0, 0, 0.0
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        seed = first + worlds
        script = made(seed)
        outcome = run(script, code)
        worlds, calls, seconds = worlds + 1, calls + outcome.calls, seconds + outcome.seconds
        events.update(outcome.events)
        if outcome.wrong is not None:
            failed += 1
            print(failure(seed, script, outcome, code), flush=True)
    print(f"{worlds:,} worlds from seed {first}, {calls:,} system calls, {seconds / 3600:,.0f} hours of theirs,"
          f" {minutes:g} minutes of ours; {failed} failed")  # fmt: skip
    print(", ".join(f"{what} {count:,}" for what, count in sorted(events.items())))
    return failed


def proof():
    """Put back each fault; how many worlds it takes to find it, three times."""
    missed, sound = 0, load()
    print("| fault | worlds until it is found | by the rule |\n|---|---|---|")
    for fault in FAULTS:
        code, took, rules = load(fault), [], []
        for start in STARTS:
            for n in range(MOST):
                wrong = run(made(start + n), code).wrong
                if wrong is not None:
                    if run(made(start + n), sound).wrong is not None:
                        raise SystemExit(f"seed {start + n} fails without a fault")
                    took.append(f"{n + 1:,}")
                    rules.append(wrong[0])
                    break
            else:
                took.append("not found")
                missed += 1
        print(f"| {fault.name} | {', '.join(took)} | {', '.join(dict.fromkeys(rules))} |", flush=True)
    return missed


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.supervisor.worlds", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, help="one world, or the first of many")
    parser.add_argument("--script", help="a file with the script of one world")
    parser.add_argument("--minutes", type=float, help="as many worlds as there is time for")
    parser.add_argument("--proof", action="store_true", help="put faults back and find them")
    parser.add_argument("--trace", action="store_true", help="each system call: the world's time, the clock, the call")
    options = parser.parse_args()
    if options.proof:
        return proof()
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    if options.minutes:
        return for_minutes(options.minutes, seed)
    if options.script:
        with open(options.script, encoding="utf-8") as file:
            script = Script.parse(file.read())
    else:
        script = made(seed)
    print(script.text())
    outcome = run(script, load(), print if options.trace else None)
    print(outcome)
    return outcome.wrong is not None


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
