"""Micro benchmarks: each module here has `run() -> list[tuple[str, float]]`, pairs of a label and ns per operation."""

import importlib
import pkgutil
import sys
from collections.abc import Callable
from time import perf_counter_ns

from perf.tools.report import columns


def best_of(operation: Callable[[int], object], times: int, repeats: int = 7) -> float:
    """ns per operation: the fastest of some runs of `operation(times)`, since what disturbs a run only lengthens it."""
    fastest = None
    for _ in range(repeats):
        began = perf_counter_ns()
        operation(times)
        took = perf_counter_ns() - began
        fastest = took if fastest is None else min(fastest, took)
    return fastest / times


def main(arguments: list[str]) -> int:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    if unknown := [name for name in arguments if name not in names]:
        print(f"no micro benchmark {', '.join(unknown)}; there are {', '.join(names)}", file=sys.stderr)
        return 2
    lines, failed = [], 0
    for name in arguments or names:
        try:
            module = importlib.import_module(f"{__name__}.{name}")
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            failed = 1
            continue
        lines += [(f"{name}: {label}", f"{ns:,.1f}") for label, ns in module.run()]
    print(columns(("operation", "ns"), lines))
    return failed
