"""Measuring greenhttp. `python -m perf` runs from the project's top directory; perf/README.md says what figures mean.

    micro     one operation at a time, ns each          micro/*.py
    peers     the tables against other servers          peers.py
    models    architectures beside each other           models/ the programs, model_runs/ what is asked of them
    reach     scenarios with a bound each, pass or fail reach/*.py
    c10k      connections up to the descriptor limit    c10k/*.py
    offload   fast requests while heavy ones run        offload/*.py
    profile   where the microseconds go                 profile/*.py: perf, strace, callgrind, lines of a .pyx
    budget    whether a request takes more instructions than before, against results/budget.json
    tools     what they share: workloads, servers, windows, clients, results; start/ start scripts of other servers

The server runs on one core, everything that asks on another.
"""

SERVER_CORE = 0
CLIENT_CORE = 1
