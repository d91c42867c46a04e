"""For all tests the loop is chosen, and Ctrl-C handled, as at an ordinary start of the command."""

import signal

from greenhttp.green.loop import choose

# As every way to start greenhttp does it: GEVENT_LOOP, or what is best where this runs.
choose("auto")

# A shell's background jobs and nohup ignore Ctrl-C, and what they start inherits that: many tests are about Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
