"""Simulated worlds for the supervisor: the real master and policy over a system in memory, where a seed decides all.

    script      what a world is made of: settings, and adversities with the moment of each; made from a seed, or read
    kernel      clock, descriptors, signals and processes as the master's system calls find them
    process     what a simulated worker does from its fork on
    calls       the kernel under the names that the master's modules use (os, signal, select.poll, ...)
    world       loads the code, puts the calls into it, runs one script to its end
    model       what must hold, from what is seen at the system calls and in the log; imports nothing of the supervisor
    shrink      a shorter script that fails alike
    faults      faults to put back, to prove that they are found

    python -m tests.supervisor.worlds --seed 7 --trace      README.md tells more
"""
