"""`import greenhttp.patch` as the first line of a script: blocking calls of the standard library become cooperative.

It is `gevent.monkey.patch_all()`, a `time.sleep` of our own, an asyncio loop for each green thread that wants one
(`green/running_loop.pyx`), and a look at what came too early: a module that had taken `time.sleep`, `ssl.SSLContext` or
`threading.Lock` out of the standard library before still blocks the whole process with it. Such modules are named in
one line on stderr, and in `early`. In a process that is patched already only asyncio and libuv are seen to.
"""

import os
import signal
import sys
import time
import warnings
from contextlib import suppress
from types import ModuleType

_LOADED = frozenset(sys.modules)

from gevent import monkey  # noqa: E402

from greenhttp.green.loop import BROUGHT, mend  # noqa: E402

# Where blocking calls live, and what gevent replaces there although it makes nobody wait.
_WAITING = ("_thread", "os", "queue", "select", "selectors", "socket", "ssl", "subprocess", "threading", "time")
_HARMLESS = frozenset(("CompletedProcess", "_local", "close", "exit", "get_ident", "local", "stack_size"))
# gunicorn: in its workers what it holds is its master's, which makes no green thread wait
_OURS = frozenset(("gevent", "greenlet", "greenhttp", "gunicorn")) | sys.stdlib_module_names


def _patch() -> tuple[str, ...]:
    """Patch, and return the packages that hold on to what was replaced."""
    if all(monkey.is_module_patched(name) for name in ("socket", "threading", "time", "select", "ssl")):
        return ()
    before = [(module, dict(vars(module))) for name in _WAITING if (module := sys.modules.get(name))]
    # Ctrl-C in the middle would leave `threading` half replaced, and the process waiting at its end for ever.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with warnings.catch_warnings():
            # gevent's own word on the same: only about ssl, and many lines
            warnings.filterwarnings("ignore", "Monkey-patching ssl", monkey.MonkeyPatchWarning)
            monkey.patch_all()
        from greenhttp.green.nap import sleep

        time.sleep = sleep  # gevent's does the same for three times the work
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    replaced = {
        id(value): value  # kept, so that no other object gets its id
        for module, names in before
        for name, value in names.items()
        if callable(value) and name not in _HARMLESS and vars(module).get(name) is not value
    }
    holders = (_holder(name) for name in sorted(_LOADED - BROUGHT) if _holds(sys.modules.get(name), replaced))
    return tuple(dict.fromkeys(holders))


def _holds(module: ModuleType | None, replaced: dict[int, object]) -> bool:
    if not isinstance(module, ModuleType) or module.__name__.partition(".")[0] in _OURS:
        return False
    return any(_is_one(value, replaced) for value in list(vars(module).values()))


def _is_one(value: object, replaced: dict[int, object]) -> bool:
    """Whether it was replaced, is of a type that was, or is a class derived from one."""
    kind = type(value)  # not isinstance, which would wake lazy proxies
    bases = value.__mro__ if issubclass(kind, type) else ()  # type: ignore[attr-defined]
    return id(value) in replaced or id(kind) in replaced or any(id(base) in replaced for base in bases)


def _holder(name: str) -> str:
    """The name a person would look for: the package's, or the script's."""
    if name == "__main__":
        return sys.argv[0] or "__main__"
    return name.partition(".")[0]


def _warn() -> None:
    from greenhttp.settings.console import keep, say_as_it_is

    what = f"imported before the patch: {', '.join(early)}; their calls block."
    # The command patches before it loads anything: only what runs before any program can be earlier then. With
    # --no-patch it is the application that imports this, and the first line is its own again.
    if "greenhttp.cli" in sys.modules and "greenhttp.program.loading" not in sys.modules:
        keep(f"{what} A sitecustomize or .pth file imports them")
    elif getattr(sys.modules.get("greenhttp.supervisor.hooked"), "has_run", False):
        why = "The supervisor runs the settings file for its hooks: import them inside the hooks"
        keep(f"{what} {why}")
    else:
        say_as_it_is(f'greenhttp.patch: {what} Make "import greenhttp.patch" the first line\n')


early = _patch()
if early:
    _warn()

from greenhttp.green import running_loop  # noqa: E402

running_loop.install()
if "libuv" in os.environ.get("GEVENT_LOOP", ""):  # else a server will; to ask gevent would fix its choice already now
    with suppress(ImportError):  # there is none: whoever makes the hub is told
        mend()
