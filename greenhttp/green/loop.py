"""Which event loop gevent uses, and how it waits.

    choose("auto")     called before anything of gevent makes its hub, which fixes the loop for good

            Linux           macOS
    auto    libev, epoll    libev, kqueue; without it libuv; without that libev, select
    libev   libev, epoll    libev, kqueue; without it select
    libuv   libuv, epoll    libuv, kqueue

Left alone, libev takes select on macOS, which breaks beyond 1,024 descriptors; it says that kqueue was unreliable there
(its manual, under "EVBACKEND_KQUEUE"). libuv and Python's selectors use nothing else on macOS.

`decide` is a function of facts alone; `choose` finds the facts and does what was decided.
"""

import importlib
import importlib.util
import os
import sys
from dataclasses import dataclass
from typing import Any

_before = frozenset(sys.modules)

import gevent  # noqa: E402
from gevent._hub_local import get_hub_if_exists  # noqa: E402  gevent.get_hub() would make one

from greenhttp.errors import ConfigError  # noqa: E402

BROUGHT = frozenset(sys.modules) - _before  # by gevent: nobody has imported these too early

LIBEV, LIBUV = "libev-cext", "libuv-cffi"  # gevent's names
NO_LIBUV = "libuv needs cffi; pip install greenhttp[libuv]"


@dataclass(frozen=True)
class Facts:
    """What a choice depends on.

    Attributes:
        platform: sys.platform.
        backends: what this libev can wait with; empty without libev.
        libuv: whether gevent's libuv can be imported.
        running: the loop of the hub that there is already: "libev", "libuv", or "" for none.
        named: GEVENT_LOOP, gevent's own setting.
        configured: whether gevent was told what libev shall wait with: by GEVENT_BACKEND, or by the program.
    """

    platform: str
    backends: frozenset[str]
    libuv: bool
    running: str = ""
    named: str = ""
    configured: bool = False


@dataclass(frozen=True)
class Choice:
    """What to tell gevent; "" is: nothing.

    Attributes:
        loop: gevent's name of the loop.
        backend: what libev shall wait with.
    """

    loop: str = ""
    backend: str = ""


def decide(name: str, facts: Facts) -> Choice:
    """The loop for a setting. Raises ConfigError for one that cannot be."""
    if name not in ("auto", "libev", "libuv"):
        raise ConfigError(f"loop: {name!r} is not an event loop; give auto, libev or libuv")
    if name == "auto":
        if facts.running or facts.named or facts.configured or facts.platform != "darwin":
            return Choice()
        if "kqueue" in facts.backends:
            return Choice(backend="kqueue")
        return Choice(LIBUV if facts.libuv else "")
    if facts.running:
        if facts.running == name:
            return Choice()
        raise ConfigError(f"loop: {name} cannot be used, {facts.running} runs already; set it before gevent is used")
    if name == "libuv":
        if not facts.libuv:
            raise ConfigError(f"loop: {NO_LIBUV}")
        return Choice(LIBUV)
    if not facts.backends:
        raise ConfigError("loop: this gevent was built without libev; give libuv or auto")
    takes_select = facts.platform == "darwin" and not facts.configured
    return Choice(LIBEV, "kqueue" if takes_select and "kqueue" in facts.backends else "")


def choose(name: str = "auto") -> None:
    """Let gevent use the loop that the setting `loop` asks for. Makes no hub; may be repeated.

    Arguments:
        name: "auto", "libev" or "libuv". Under "auto" what the environment tells gevent (GEVENT_LOOP, GEVENT_BACKEND)
            and a hub that runs already are left alone.

    Raises ConfigError: there is no such loop here, or another one runs already.
    """
    choice = decide(name, _facts())
    if choice.loop:
        gevent.config.loop = choice.loop
    if choice.backend:
        gevent.config.libev_backend = choice.backend
    try:
        gevent.config.loop  # noqa: B018  read now: what GEVENT_LOOP names may not be there
    except ImportError as error:
        why = NO_LIBUV if isinstance(error, ModuleNotFoundError) else error
        raise ConfigError(f"GEVENT_LOOP={os.environ.get('GEVENT_LOOP', '')}: {why}") from None
    mend()


def mend() -> None:
    """Do what gevent's libuv leaves undone, where it is the loop. May be repeated. ImportError: there is none."""
    if gevent.config.loop.__module__ == "gevent.libuv.loop":
        _close_what_is_dropped()
        _tell_who_waits_late()


def _close_what_is_dropped() -> None:
    """Let a watcher of libuv close itself when the last reference to it goes.

    gevent frees its memory, but without close() libuv still has it in its lists: an application that only cancels its
    gevent.Timeout makes the process hang or crash. gevent itself does this only when GEVENT_DEBUG is set.
    """
    watcher = importlib.import_module("gevent._ffi.watcher").watcher
    if not hasattr(watcher, "__del__"):
        watcher.__del__ = lambda self: self.close()


def _tell_who_waits_late() -> None:
    """Let libuv's watchers of a child know that it has ended also when they are started just then.

    gevent notes who watches a child when it asks the system how it ended, and tells them a turn or two of the loop
    later. Whoever comes in between, `os.waitpid` in a green thread, was never told and waited for ever.
    """
    child = importlib.import_module("gevent.libuv.watcher").child
    if hasattr(child, "tells_who_waits_late"):
        return
    child.tells_who_waits_late = True
    watched = importlib.import_module("gevent.os")._watched_children
    register, tell = child._register_loop_callback, child._set_waitpid_status

    def _register_loop_callback(self: Any) -> None:
        register(self)
        first = watched.get(self.pid)  # started with the child; once it was called, a tuple
        if isinstance(first, child) and first.rpid is not None:
            self.loop.run_callback(self._set_waitpid_status, first.rpid, first.rstatus)

    def _set_waitpid_status(self: Any, pid: int, status: int) -> None:
        late = (each for each in self.loop._child_watchers.get(pid, ()) if each.rpid is None and each is not self)
        for each in (self, *late):
            if each._async is not None and each.callback is not None:  # else it was stopped meanwhile
                tell(each, pid, status)

    child._register_loop_callback, child._set_waitpid_status = _register_loop_callback, _set_waitpid_status


def _facts() -> Facts:
    named, configured = os.environ.get("GEVENT_LOOP", ""), bool(gevent.config.libev_backend)
    return Facts(sys.platform, _backends(), _has_libuv(), _running(), named, configured)


def _backends() -> frozenset[str]:
    try:
        return frozenset(importlib.import_module("gevent.libev.corecext").supported_backends())
    except ImportError:
        return frozenset()


def _has_libuv() -> bool:
    """Without importing it: a process on libev has no use for the megabyte."""
    names = ("_cffi_backend", "gevent.libuv._corecffi")
    return all(importlib.util.find_spec(name) for name in names)


def _running() -> str:
    hub = get_hub_if_exists()
    return "" if hub is None else type(hub.loop).__module__.split(".")[1]  # gevent.libev.corecext, gevent.libuv.loop
