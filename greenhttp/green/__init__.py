"""Green threads over sockets. Never says HTTP: what it runs is a job.

    loop        which loop gevent uses, before there is one
    listener    addresses -> listening sockets
    acceptor    listening socket -> connected descriptors with their peers' addresses
    arrival     what comes before the protocol of a connection: a PROXY header, the handshake of TLS (hello)
    hello       whether the first message of a handshake is here
    peers       a list of trusted peers, compared with an address
    chunks      the memory of streams
    waiting     where a stream waits; a green thread alone is suspended
    reading     a stream's input
    stream      Stream: its output and its end; read, readline, readuntil, readexactly, write, sendfile, close
    layer       what may lie between a stream and its socket
    tls         TLS there, and which certificate a client is shown; by OpenSSL's functions (openssl), or sslobject
    transport   what lies below a stream: a socket and its watchers, or memory; connect()
    pool        ready connections -> waiting green threads; a connection with nothing to do is parked and holds none
    spawn       stream handlers: a green thread per connection, handler(stream)
    nap         time.sleep of a patched process: one heap and one timer for all that sleep
    running_loop  asyncio's running loop in a patched process: one for each green thread
    lingering   reading on after the last answer, while the client still sends
    deadline    one list per phase of a connection, one sweep for all
    switch      greenlet's C interface

Imports gevent, process, settings and errors; knows nothing of wire, which http joins with it. Begin with stream.
"""
