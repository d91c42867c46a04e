"""Many processes: a supervisor forks workers, learns when each is ready, and replaces them without losing a request.

    policy      what to do: events and the time in, actions out; touches nothing
    master      how: forks, pipes, signals, shared memory; one thread, one poll, and neither gevent nor the application
    worker      what a forked process does: patch, load, serve, beat, drain
    recycle     when a worker has done enough
    death       why a worker has died, as far as it can be known
    takeover    the master becomes another program, its workers stay
    watch       a process that says which files have changed, for --reload
    system      pid file, user and group, systemd: what belongs to the process and not to its workers

Imports downward: `running`, `server` and all below only in `worker`, and only inside functions that run in a child.
"""
