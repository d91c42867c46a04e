"""What the measurements share.

asked     workloads.py what is asked, servers.py of whom, apps.py the one WSGI application, flask_app.py one with a
          template, served.py a server as it runs, build.py the floor, Go's and certificates, simple.py the command
          with TLS in its slower way
measured  window.py one measurement, rounds.py many of them, idle.py that of idle connections, procfs.py CPU and
          memory of a process tree, strace.py system calls
clients   wrk.py the load generator, clients.py; honest.py well-behaved ones, crowd.py slow ones, holder.py idle
          ones, each in a process of its own
told      report.py rows, results.py JSON and Markdown, plots.py and pictures.py, machine.py says where,
          progress.py how far it is
"""
