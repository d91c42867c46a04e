"""Honest and hostile clients against real server processes, for as long as you like: `python -m tests.soak MINUTES`.

    __main__      the command
    course        warm up, settle, go on, settle, stop; then the verdict
    servers       a server process: settings, samples of it, its logs afterwards
    apps          what it serves: one application, as a native handler and by WSGI
    honest        clients whose every answer is compared byte for byte
    attacks       clients that behave badly, and how the server may end each of them
    wire          a connection of either
    report        counts, progress, tables
"""
