"""What a process has beside its green threads. Knows no loop.

    clock       the clocks that all read
    board       what this process does at this moment, in memory that its supervisor can read
    sender      who has sent a signal
    ids         IDs that no other process makes
    handlers    what takes signals, kept against what an application does
    frames      of a stack that may go on while it is read
    places      where a thread or a green thread is
    watchdog    a thread that says what holds the hub up
    accounts    users and groups by name
"""
