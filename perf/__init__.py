"""Measuring greenhttp. `python -m perf` runs from the project's top directory; perf/README.md says what figures mean.

    micro     one operation at a time, ns each          micro.py runs perf/micro/*.py
    peers     the tables against other servers          workloads.py what is asked, servers.py of whom,
                                                        window.py one measurement, idle.py that of idle connections,
                                                        peers.py rounds, report.py rows, pictures.py its plots
    models    architectures beside each other           models/ the programs, argument/ what is asked of them
    reach     scenarios with a bound each, pass or fail reach/*.py
    c10k      connections up to the descriptor limit    c10k/*.py, clients in holder.py
    offload   fast requests while heavy ones run        offload/*.py
    profile   where the microseconds go                 profile/*.py: perf, strace, callgrind, lines of a .pyx
    budget    whether a request takes more instructions than before, against results/budget.json
    clients   clients.py; honest.py well-behaved ones, crowd.py slow ones, each in a process of its own
    below     procfs.py (CPU and memory of a process tree), wrk.py (the load generator), build.py (floor, Go)
    served    apps.py, the one WSGI application; flask_app.py one with a template; start/ start scripts of the others
    results   results.py writes JSON and Markdown, plots.py draws, machine.py says where; progress.py how far it is

The server runs on one core, everything that asks on another.
"""

SERVER_CORE = 0
CLIENT_CORE = 1
