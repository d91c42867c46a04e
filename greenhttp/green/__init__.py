"""Green threads over sockets. Never says HTTP: what it runs is a job.

    loop        which loop gevent uses, before there is one
    listener    address texts -> listening sockets
    acceptor    listening socket -> connected descriptors with their peers' addresses
    stream      Stream: read, readline, readuntil, readexactly, write, sendfile, close; suspends its green thread alone
    transport   what lies below a stream: a socket and its watchers, or memory; connect()
    pool        ready connections -> waiting green threads; a connection with nothing to do is parked and holds none
    spawn       stream handlers: a green thread per connection, handler(stream)
    board       what this process does at this moment, in memory that its supervisor can read
    watchdog    a thread that says what holds the hub up
    offload     calls that block or compute, on real threads or in processes; helper: such a process
    nap         time.sleep of a patched process: one heap and one timer for all that sleep
    deadline    one list per phase of a connection, one sweep for all
    switch      greenlet's C interface

Imports gevent, config and errors; knows nothing of wire, which http joins with it. Begin with stream.
"""
