"""Which interface an application speaks, told from its signature.

A native handler takes one argument, a WSGI application two. Native only if exactly one positional parameter has no
default and there is no `*args`; everything else is WSGI, which is what nearly everything is. Wrappers are taken by
their own signature, not by that of what they wrap: many adapt the one interface to the other.
"""

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

from greenhttp.errors import ConfigError
from greenhttp.hosting.handler import Handler
from greenhttp.hosting.wsgi import WSGI
from greenhttp.settings.signatures import signature
from greenhttp.settings.values import Settings

NATIVE, STREAM = "native", "stream"

ARGUMENTS = {  # what each interface calls an application with, for people
    "wsgi": "the two arguments of a WSGI application (environ, start_response)",
    NATIVE: "the one argument of a handler (request)",
    STREAM: "the one argument of a stream handler (stream)",
}

_Cached = type(functools.lru_cache(lambda: None))

Hooks = Callable[[dict[str, Any]], Callable[[int, int, bytes], object]]


def interface_of(app: Callable[..., Any]) -> str:
    """`"native"` or `"wsgi"`, by the rule above; `"wsgi"` for what has no signature (some of what is written in C)."""
    try:
        parameters = signature(app, follow_wrapped=False).parameters.values()
    except (TypeError, ValueError):
        return "wsgi"
    kinds = [parameter.kind for parameter in parameters]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return "wsgi"
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in parameters if p.kind in positional and p.default is inspect.Parameter.empty]
    return NATIVE if len(required) == 1 else "wsgi"


def hosted(
    app: Callable[..., Any],
    settings: Settings,
    hooks: Hooks | None = None,
    keeps_environ: bool = False,
) -> Handler | WSGI:
    """The application as something that a connection hands requests to, by the setting `interface`.

    Arguments:
        hooks, keeps_environ: see wsgi.WSGI; a native handler has no environ.

    Raises ConfigError for a stream handler, which is handed none.
    """
    interface = interface_of(app) if settings.interface == "auto" else settings.interface
    if interface == STREAM:
        raise ConfigError("interface: a stream handler gets connections, not requests; give wsgi, native or auto")
    return Handler(app) if interface == NATIVE else WSGI(app, settings, hooks, keeps_environ)


def doubt(app: Callable[..., Any]) -> str | None:
    """Why the answer of `interface_of` may not be what its author meant, in a line, or None."""
    if interface_of(app) == "wsgi" and not _takes(app, 2):
        return _misfit(app, "auto", _call_of(app))
    if line := unfit(app, "auto", _call_of(app)):
        return line
    if interface_of(app) == NATIVE and _is_for_streams(app):
        return "the handler's argument looks like a stream; if it is a stream handler, give --interface stream"
    wrapped = inspect.unwrap(app) if hasattr(app, "__wrapped__") else app
    if wrapped is app or interface_of(app) == interface_of(wrapped):
        return None
    if interface_of(app) == "wsgi":
        return "the application wraps a handler of one argument; if it is a native handler, give --interface native"
    return "the application wraps a WSGI application; if it is one, give --interface wsgi"


def _is_for_streams(app: Callable[..., Any]) -> bool:
    """Whether a native handler's argument has the name or the annotation that those of stream handlers have."""
    first = next(iter(signature(app, follow_wrapped=False).parameters.values()))
    kind = getattr(first.annotation, "__name__", first.annotation)
    return first.name == "stream" or isinstance(kind, str) and kind.rpartition(".")[2] == "Stream"


def unfit(app: Callable[..., Any], interface: str, call: str) -> str:
    """Why no request could be answered by calling it, in a line; "" where one could be, or where nobody can know.

    What is refused for this is not served at all, so only what is certain counts: functions, methods and classes
    written in Python, by the signatures of their code. Anything else, like what is written in C, may adapt what it is
    called with.

    Arguments:
        interface: as the setting.
        call: what to give if it is a factory, like `module:create()`; "" if it is what a factory has returned.
    """
    kind = interface_of(app) if interface == "auto" else interface  # as it is served: what is cached has no signature
    cached = False
    if type(app) is _Cached:
        cached, app = True, app.__wrapped__  # it is called with the same arguments
    if not _is_plain(app):
        return ""
    if not _takes(app, 2 if kind == "wsgi" else 1):
        hidden = cached and interface == "auto" and _takes(app, 1) and not _takes(app, 0)
        line = _misfit(app, kind if hidden else interface, call)
        return f"{line}; lru_cache hides its signature: give --interface native" if hidden else line
    if not inspect.isclass(app) or kind == STREAM or _may_answer(app, kind):
        return ""
    what = "iterable" if kind == "wsgi" else "what a handler may return"
    if kind == NATIVE and _is_for_streams(app):
        hint = "; if it is a stream handler, give --interface stream"
    else:
        hint = f"; give {call}" if call and _takes(app, 0) else "; give an instance of it" if call else ""
    return f"{app.__name__} is a class, and its instances are not {what}; every request will fail{hint}"


def _is_plain(app: Any) -> bool:
    """Whether its signature is certainly what it can be called with."""
    try:
        if app.__class__ is not type(app):
            return False  # a proxy
    except Exception:
        return False
    if inspect.getattr_static(app, "__signature__", None) is not None:
        return False  # one that was set, and may be another
    if type(app) is types.FunctionType:
        return True
    if type(app) is types.MethodType:
        return _is_plain(app.__func__)
    if type(app) is functools.partial:
        return _is_plain(app.func)
    if not isinstance(app, type):
        call = inspect.getattr_static(type(app), "__call__", None)
        return type(call) is types.FunctionType and _is_plain(call)
    if type(app).__call__ is not type.__call__ or _has_own(app, "__new__"):
        return False  # calling it may make anything
    return not _has_own(app, "__init__") or _is_plain(getattr(app, "__init__"))  # noqa: B009  mypy: unsound


def _has_own(app: type, name: str) -> bool:
    """Whether a class has another method of that name than every object."""
    return getattr(app, name) is not getattr(object, name)


def _may_answer(app: type, kind: str) -> bool:
    """Whether what the class makes could be an answer, as far as can be told without making it."""
    if hasattr(app, "__getattr__") or _has_own(app, "__getattribute__"):
        return True
    return any(hasattr(app, name) for name in ("__iter__", "__getitem__" if kind == "wsgi" else "read"))


def _call_of(app: Callable[..., Any]) -> str:
    """How a factory that can be reached by its name is called on a command line."""
    reachable = (inspect.isfunction(app) or inspect.isclass(app)) and app.__qualname__.isidentifier()
    return f"{app.__module__}:{app.__name__}()" if reachable else "a call of it, like module:create()"


def _misfit(app: Callable[..., Any], interface: str, call: str) -> str:
    """What is wrong with one that cannot be called."""
    name = getattr(app, "__name__", type(app).__name__)
    if _takes(app, 0):
        hint = f"if it is a factory, give {call}" if call else "the factory must return an application"
        return f"{name} {'needs' if _takes(app, 1) else 'takes'} no arguments; {hint}"
    if interface == "auto":
        return f"{name} takes neither one argument (request) nor two (environ, start_response); every request will fail"
    return f"{name} does not take {ARGUMENTS[interface]}; every request will fail"


def _takes(app: Callable[..., Any], count: int) -> bool:
    """Whether it can be called with so many arguments."""
    try:
        known = signature(app, follow_wrapped=False)
    except (TypeError, ValueError):
        return True  # nobody knows
    try:
        known.bind(*[None] * count)
    except TypeError:
        return False
    return True
