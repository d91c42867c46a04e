"""The architectures of an old argument: how should a high-level language serve thousands of connections?

Each is a small program, `python -m perf.models.NAME PORT`, and a fair example of its kind. They say the same HTTP:

    tiny           take one request from the bytes that came; the answers; the handler; and, for those architectures in
                   which a connection's life can be told in plain code, that life: `converse`

    threads        a thread per connection
    pool           a pool of threads, each of which accepts a connection and serves it to its end
    multiplexer    workers fed by one multiplexer: it reads and writes, they run requests
    states         one thread, a state machine written by hand
    coroutines     one thread, generators and a scheduler of their own
    greenlets      a greenlet per connection on gevent's sockets
    greenhttp      this project: `python -m greenhttp`, a native handler

`perf/model_runs` measures them.
"""
