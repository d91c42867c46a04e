"""The process from which worlds are forked: `python -m tests.sim.zygote`, started by runner.py alone.

It imports everything, then runs no Python any more: world.c forks a child for each order, which therefore begins with
the same memory as any other child of any other zygote, and dies with its world.

Descriptors: 3 orders come in, 4 verdicts go out, 5 the file that a world writes its report to, 6 what it prints.
"""

import ctypes
import faulthandler
import gc
import json
import os
import signal
import sys
import warnings

from tests.sim import native, real, tls
from tests.sim.plan import Plan
from tests.sim.world import World

ROOM = 1 << 20


def main() -> None:
    c = native.load()
    loops = os.environ.get("GEVENT_LOOP")
    warnings.filterwarnings("ignore", "libuv only supports millisecond")
    os.dup2(6, 1)
    os.dup2(6, 2)
    faulthandler.enable()
    faulthandler.register(signal.SIGPROF, chain=True, all_threads=False)
    text = ctypes.create_string_buffer(ROOM)
    lines = ctypes.c_uint()
    if not loops:
        tls.draw_from(c.random())
    gc.collect()
    gc.freeze()
    size = c.zygote(3, 4, text, ROOM, ctypes.byref(lines))
    gc.collect()
    os.ftruncate(5, 0)
    os.ftruncate(6, 0)
    order = json.loads(text.raw[:size])

    def finish(verdict):
        if lines.value:
            verdict["trace"] = native.trace_lines(
                c, lines.value, {1: "request", 2: "finalizer", 3: "handler", 4: "hit"}
            )
        os.pwrite(5, json.dumps(verdict).encode(), 0)
        os._exit(0)

    without = order.get("without", ())
    if loops:
        c = real.System()
        without = [*without, "shrinks"]  # what sendfile has handed on is still the file's: it changes on its way
    c.spoil(order.get("spoil", -1))
    world = World(Plan(order["seed"], order.get("only"), without), c, finish)
    try:
        world.run()
    except BaseException as error:
        import traceback

        world.fail("the simulation itself broke", "".join(traceback.format_exception(error)))


if __name__ == "__main__":
    sys.setrecursionlimit(2000)
    main()
