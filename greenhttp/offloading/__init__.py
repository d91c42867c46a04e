"""Calls that block or compute, on real threads or in other processes.

    offload     offload() and offloaded(), and who waits for them
    helper      such a process

Not called `offload`, which is the function that `greenhttp` gives: a package of that name would take its place.
"""
