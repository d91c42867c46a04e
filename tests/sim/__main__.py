"""python -m tests.sim --seed N [--trace] | --minutes M [--jobs J]"""

import argparse
import time

from tests.sim.runner import Zygote


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--trace", type=int, nargs="?", const=400, default=0)
    parser.add_argument("--only")
    parser.add_argument("--minutes", type=float)
    options = parser.parse_args()
    failures = {}
    with Zygote() as zygote:
        began = time.monotonic()
        seed = options.seed if options.seed is not None else int(time.time()) * 1000
        total = connections = used = 0
        while (time.monotonic() - began < options.minutes * 60) if options.minutes else total < options.count:
            verdict = zygote.run(seed, options.only.split(",") if options.only else None, options.trace)
            total += 1
            connections += verdict["connections"]
            used += verdict["milliseconds"]
            if verdict["failure"]:
                failures.setdefault(verdict["failure"], []).append(seed)
                if len(failures[verdict["failure"]]) <= 2:
                    print(f"seed {seed}: {verdict['failure']}: {verdict['story']}")
                    if options.count == 1:
                        print("\n".join(verdict.get("messages", ())))
            if options.count == 1 and not options.minutes:
                print("\n".join(verdict.pop("trace", ())))
                print(verdict)
            seed += 1
    print(f"{total} worlds, {connections} connections, {used} ms")
    for kind, seeds in failures.items():
        print(f"{len(seeds):5} {kind}: {seeds[:8]}")
    return bool(failures)


if __name__ == "__main__":
    raise SystemExit(main())
