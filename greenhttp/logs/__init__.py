"""The error log: how a line of it is made, and how it leaves without anybody's waiting for it.

    setup       where the logger "greenhttp" writes, for as long as a server runs; what is said at a terminal
    lines       from a log record to text or JSON
    pipe        the pipe by which lines leave a process that serves: never waits, loses and counts instead
    scribe      whoever reads that pipe and writes: may wait as long as it likes
    config      --log-config: logging set up by a file

Imports settings, errors and traces; nothing of gevent, for the supervisor imports this.
"""
