"""What is to be seen once the application is loaded: no request is needed.

Imported after the patch, like all that loads gevent.
"""


import asyncio
import importlib.util
import inspect
import signal
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from gevent import config, monkey

from greenhttp.doctor.table import PACKAGES, Package
from greenhttp.process.places import own
from greenhttp.server import Server

# Signals that the command needs for itself: an application's handlers are replaced while it serves.
_SERVERS = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGHUP", "SIGUSR2")
_WAITING = ("socket", "ssl", "select", "threading", "time", "queue", "subprocess")
_fork = monkey.get_original("os", "fork")
_start_thread = monkey.get_original("_thread", "start_new_thread")


@dataclass(frozen=True)
class Finding:
    """One thing that would bite.

    Attributes:
        kind: of which sort, for machines.
        subject: the module, signal or request it is about.
        what: one sentence.
        advice: what to do.
        blocks: whether it stops other requests.
    """

    kind: str
    subject: str
    what: str
    advice: str
    blocks: bool

    def as_dict(self) -> dict[str, str | bool]:
        """Of plain values, for JSON."""
        return asdict(self)


def look(before: dict[int, object], server: Server) -> list[Finding]:
    """Everything that is found without a request.

    Arguments:
        before: `signals()` as it was when nothing was loaded.
        server: of the application, not started.
    """
    looks: tuple[Callable[[], Iterator[Finding]], ...] = (_unpatched, _early, _packages, _originals, _loops, _resolver)
    found = [*(finding for each in looks for finding in each()), *_handlers(before)]
    return [*found, *_asynchronous(server), *_chunked(server)]


def signals() -> dict[int, object]:
    """Signal number to its handler."""
    return {number: signal.getsignal(number) for number in signal.valid_signals()}


def _unpatched() -> Iterator[Finding]:
    missing = [name for name in _WAITING if not monkey.is_module_patched(name)]
    if missing:
        yield Finding("unpatched", ", ".join(missing), "not patched, so their calls block the whole process: "
                      + ", ".join(missing),
                      "leave out --no-patch, or make `import greenhttp.patch` the first line", True)  # fmt: skip


def _early() -> Iterator[Finding]:
    patch = sys.modules.get("greenhttp.patch")  # not imported here: that would patch, against --no-patch
    for name in patch.early if patch is not None else ():
        file = getattr(sys.modules.get(name), "__file__", None) or "no file"
        yield Finding("early", name, f"{name} ({file}) was imported before the patch; its calls block",
                      "import it in the application, not in a sitecustomize or .pth file", True)  # fmt: skip


def _packages() -> Iterator[Finding]:
    for package in PACKAGES:
        imported = package.module in sys.modules
        if not imported and not (package.blocks and _installed(package.module)):
            continue
        if _cured(package):
            continue
        where = "imported by the application" if imported else "installed, not imported yet"
        yield Finding("package", package.module, f"{package.module} ({where}): {package.why}", package.advice,
                      package.blocks and imported)  # fmt: skip


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _cured(package: Package) -> bool:
    """Whether the application has done what is to be done about it, as far as that can be seen: of grpc only that the
    module was imported which does it."""
    if package.module == "psycopg2":
        extensions = sys.modules.get("psycopg2.extensions")
        return extensions is not None and extensions.get_wait_callback() is not None
    if package.module == "grpc":
        return "grpc.experimental.gevent" in sys.modules
    if package.module == "zmq":
        return "zmq.green" in sys.modules
    return False


def _own() -> list[types.ModuleType]:
    """Modules that are neither the standard library's nor installed: the application."""
    files = ((module, getattr(module, "__file__", None)) for module in list(sys.modules.values()))
    return [module for module, file in files if isinstance(file, str) and own(file)]


def _originals() -> Iterator[Finding]:
    """What the application has fetched past the patch, and how it makes processes."""
    for module in _own():
        for name, value in list(vars(module).items()):
            if value is _start_thread or value is _fork:
                yield Finding("real", module.__name__, f"{module.__name__}.{name} is the unpatched function",
                              "use threading and os directly, or greenhttp.offload", False)  # fmt: skip
            if isinstance(value, types.ModuleType) and value.__name__.partition(".")[0] == "multiprocessing":
                yield Finding("fork", module.__name__, f"{module.__name__} imports multiprocessing: its queues and"
                              " locks block this process",
                              "use greenhttp.offload(..., process=True)", False)  # fmt: skip


def _loops() -> Iterator[Finding]:
    for module in _own():
        for name, value in list(vars(module).items()):
            if isinstance(value, asyncio.AbstractEventLoop):
                yield Finding("asyncio", module.__name__, f"{module.__name__}.{name}: an asyncio loop that all requests"
                              " share runs for one of them at a time; a second one gets RuntimeError",
                              "give each its own: asyncio.run(...)", False)  # fmt: skip


def _asynchronous(server: Server) -> Iterator[Finding]:
    for name in sorted({*_flask_views(server.app), *_django_views()}):
        yield Finding("async", name, f"{name} is an async view: each request has an asyncio loop of its own, so what"
                      " belongs to that cannot be kept for the next",
                      "make clients of asyncio in the view, or make it a plain function", False)  # fmt: skip


def _flask_views(app: Any) -> Iterator[str]:
    views = getattr(app, "view_functions", None)
    for view in list(views.values()) if isinstance(views, dict) else ():
        if inspect.iscoroutinefunction(inspect.unwrap(view)):
            yield f"{view.__module__}.{view.__qualname__}"


def _django_views() -> Iterator[str]:
    """Views of all patterns, as far as Django is set up."""
    urls = sys.modules.get("django.urls")
    if urls is None:
        return
    try:
        left = list(urls.get_resolver().url_patterns)
    except Exception:  # of an URLconf that cannot be imported: a request says so
        return
    while left:
        pattern = left.pop()
        left += getattr(pattern, "url_patterns", ())
        view = getattr(pattern, "callback", None)
        kind: Any = getattr(view, "view_class", view)
        if getattr(kind, "view_is_async", False) or inspect.iscoroutinefunction(view):
            yield f"{kind.__module__}.{kind.__qualname__}"


def _chunked(server: Server) -> Iterator[Finding]:
    handlers = sys.modules.get("django.core.handlers.wsgi")
    if handlers is None or not isinstance(server.app, handlers.WSGIHandler):
        return
    if not getattr(server.settings, "gather_chunked", None):
        yield Finding("chunked", "django", "Django sees no content in requests without Content-Length (chunked)",
                      "give --gather-chunked SIZE if clients send such requests", False)  # fmt: skip


def _resolver() -> Iterator[Finding]:
    kinds = config.resolver
    name = f"{kinds.__module__}.{kinds.__name__}" if isinstance(kinds, type) else str(kinds)
    if "blocking" in name:
        yield Finding("resolver", name, "host name look-ups block the hub", "unset GEVENT_RESOLVER", True)


def _handlers(before: dict[int, object]) -> Iterator[Finding]:
    for number, handler in signals().items():
        name = signal.Signals(number).name if number in list(signal.Signals) else str(number)
        if handler != before.get(number) and name in _SERVERS:
            yield Finding("signal", name, f"the application handles {name}; the server replaces its handler",
                          "use atexit, or code that runs after serve()", False)  # fmt: skip
