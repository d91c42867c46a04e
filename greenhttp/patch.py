"""`import greenhttp.patch` as the first line of a script: blocking calls of the standard library become cooperative.

It is `gevent.monkey.patch_all()` and nothing else. A process that is patched already is left as it is. Keep it first:
what other modules took from `socket`, `threading` or `ssl` before cannot be replaced afterwards.
"""

from gevent import monkey

if not all(monkey.is_module_patched(name) for name in ("socket", "threading", "time", "select", "ssl")):
    monkey.patch_all()
