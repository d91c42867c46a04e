"""As the command does before anything else: the loop that GEVENT_LOOP names, with its precautions."""

from greenhttp.green.loop import choose

choose("auto")
