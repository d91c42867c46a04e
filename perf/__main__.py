"""The command: `python -m perf COMMAND`, from the project's top directory."""

import os
import signal
import sys

from perf import CLIENT_CORE, budget, c10k, micro, model_runs, offload, peers, profile, reach

USAGE = """usage: python -m perf COMMAND [OPTION ...]

  micro [NAME ...]    ns per operation, one operation at a time (perf/micro/*.py)
  peers [--only WORKLOAD,...] [--servers NAME,...] [--rounds 5] [--seconds 3] [--out perf/results]
                      CPU per request, rate, latency and memory beside other servers: tables, JSON and plots
  hello [the same]    peers --only hello-64,hello-1000,hello-10000
  tls [the same]      peers --only tls-64,tls-new,tls-idle
  models [--only LOAD,...] [--models NAME,...] [--rounds 3] [--seconds 2] [--out perf/results]
                      ways to build a server beside each other: threads, pools, state machines, coroutines, greenlets
  reach [NAME ...] [--server greenhttp]
                      scenarios with a bound each (perf/reach/*.py)
  offload [--rounds 3] [--seconds 4] [--out perf/results]
                      latency of fast requests while heavy ones run, with and without greenhttp.offload
  profile WORKLOAD [--server greenhttp] [--seconds 3] [--callgrind] [--lines MODULE]
                      where the microseconds go: perf stat, perf record, strace; callgrind; lines of a .pyx
  budget [WORKLOAD ...] [--record NAME]
                      instructions per request against perf/results/budget.json; ends with 1 beyond a limit
  c10k [--workers 3] [--connections N] [--seconds 5] [--server greenhttp] [--results DIRECTORY] [--no-results]
                      connections up to the descriptor limit, in many processes; and a million on paper
"""
COMMANDS = {
    "micro": micro.main,
    "peers": peers.main,
    "hello": peers.hello,
    "tls": peers.tls,
    "models": model_runs.main,
    "reach": reach.main,
    "budget": budget.main,
    "c10k": c10k.main,
    "offload": offload.main,
    "profile": profile.main,
}


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        print(USAGE, end="", file=sys.stderr)
        return 2
    if (os.cpu_count() or 1) < 2 and sys.argv[1] != "micro":
        print("two cores are needed: one for the server, one for those who ask", file=sys.stderr)
        return 2
    if sys.argv[1] != "micro":
        os.sched_setaffinity(0, {CLIENT_CORE})  # the driver must not run where the server is measured
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that servers and clients are stopped
    try:
        return COMMANDS[sys.argv[1]](sys.argv[2:])
    except KeyboardInterrupt:
        print("\ninterrupted; nothing was written", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
