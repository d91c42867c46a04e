"""`python -m perf models`: the architectures of perf/models beside each other, under the loads that they argue about.

    loads     what is asked, and when a model's answer to it is void; slow clients are those of perf/tools/crowd.py
    holding   how many idle connections a model holds, and what they weigh
    rows      medians, multiples of greenhttp's, cells of tables
    published what is printed, written and drawn

Rounds are interleaved (A, B, C, A, B, C ...), each window has a fresh process; what is shown are medians.
"""

import argparse
import functools
import sys
from pathlib import Path

from perf.model_runs import published, rows
from perf.model_runs.loads import LOADS
from perf.tools import machine, results, servers, wrk
from perf.tools.progress import Progress
from perf.tools.rounds import count, interleaved, pick, taking_part
from perf.tools.servers import Server


def _model(name: str, missing) -> Server:
    return Server(name, lambda port, workload: [sys.executable, "-m", f"perf.models.{name}", str(port)], missing)


MODELS = [
    *(_model(name, lambda: None) for name in ("threads", "pool", "multiplexer", "states", "coroutines")),
    _model("greenlets", servers.BY_NAME["pywsgi"].missing),
    _model("greenhttp", servers.BY_NAME["greenhttp"].missing),
]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m perf models", description="The architectures beside each other.")
    parser.add_argument("--only", metavar="LOAD,...", help=", ".join(each.name for each in LOADS))
    parser.add_argument("--models", metavar="NAME,...", help=", ".join(each.name for each in MODELS))
    parser.add_argument("--rounds", type=count, default=3)
    parser.add_argument("--seconds", type=count, default=2, help="length of a window")
    results.add_out(parser, "models")
    options = parser.parse_args(arguments)
    if not wrk.available():
        print(wrk.MISSING, file=sys.stderr)
        return 2
    if options.out != "-":
        results.prepare(Path(options.out))
    loads = pick(options.only, LOADS, "load")
    models = taking_part(pick(options.models, MODELS, "model"))
    facts = machine.facts()  # before the run: the day on which it began, the sources that were loaded
    each = len(models) * options.rounds
    progress = Progress(each * len(loads), each * sum(load.guess(options.seconds) for load in loads))
    found, raw = {}, {}
    for load in loads:
        raw[load.name] = interleaved(
            load.name, models, options.rounds, load.guess(options.seconds),
            functools.partial(load.measure, seconds=options.seconds), progress,
        )  # fmt: skip
        group = [rows.row(name, outcomes, load.figures) for name, outcomes in raw[load.name].items()]
        found[load] = rows.with_ratios(group, load.figures)
        progress.finished(load.name)
        print(published.as_text(load, found[load]), flush=True)
    if options.out != "-":
        how = {"machine": facts, "rounds": options.rounds, "seconds": options.seconds}
        for path in published.write(found, raw, how, Path(options.out)):
            print(path)
    return 0
