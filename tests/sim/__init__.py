"""The whole server in worlds where a seed decides everything: what is ready, how many bytes move, who breaks what.

    __main__    the command; runner, report: worlds are ordered, counted, told about; shrink: the least that fails
    zygote      the process that worlds are forked from, so that all begin with the same memory
    world       one world: its course, and what must hold at the end
    plan        what a seed means: settings, clients, requests, what is odd about each
    clients     those who ask; judge: what they got, compared with what they may get
    apps        what answers: WSGI, native and stream; foreign: all that befalls them
    loop        gevent's loop, in Python; native, world.c: sockets and clocks, by LD_PRELOAD

Begin with world.py. README.md tells how to replay a world, and what the worlds do not reach.
"""
