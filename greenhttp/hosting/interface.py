"""Which interface an application speaks, told from its signature.

A native handler takes one argument, a WSGI application two. Native only if exactly one positional parameter has no
default and there is no `*args`; everything else is WSGI, which is what nearly everything is. Wrappers are taken by
their own signature, not by that of what they wrap: many adapt the one interface to the other.
"""

import inspect
from collections.abc import Callable
from typing import Any

from greenhttp.errors import ConfigError
from greenhttp.hosting.handler import Handler
from greenhttp.hosting.wsgi import WSGI
from greenhttp.settings.values import Settings

NATIVE, STREAM = "native", "stream"

Hooks = Callable[[dict[str, Any]], Callable[[int, int, bytes], object]]


def interface_of(app: Callable[..., Any]) -> str:
    """`"native"` or `"wsgi"`, by the rule above; `"wsgi"` for what has no signature (some of what is written in C)."""
    try:
        parameters = inspect.signature(app, follow_wrapped=False).parameters.values()
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
    return Handler(app, settings) if interface == NATIVE else WSGI(app, settings, hooks, keeps_environ)


def doubt(app: Callable[..., Any]) -> str | None:
    """Why the answer of `interface_of` may not be what its author meant, in a line, or None."""
    if interface_of(app) == "wsgi" and not _takes(app, 2):
        return _misfit(app)
    wrapped = inspect.unwrap(app) if hasattr(app, "__wrapped__") else app
    if wrapped is app or interface_of(app) == interface_of(wrapped):
        return None
    if interface_of(app) == "wsgi":
        return "the application wraps a handler of one argument; if it is a native handler, give --interface native"
    return "the application wraps a WSGI application; if it is one, give --interface wsgi"


def _misfit(app: Callable[..., Any]) -> str:
    """What is wrong with one that takes neither one argument nor two."""
    name = getattr(app, "__name__", type(app).__name__)
    if not _takes(app, 0):
        return f"{name} takes neither one argument (request) nor two (environ, start_response); every request will fail"
    reachable = (inspect.isfunction(app) or inspect.isclass(app)) and app.__qualname__.isidentifier()
    call = f"{app.__module__}:{name}()" if reachable else "a call of it, like module:create()"
    return f"{name} {'needs' if _takes(app, 1) else 'takes'} no arguments; if it is a factory, give {call}"


def _takes(app: Callable[..., Any], count: int) -> bool:
    """Whether it can be called with so many arguments."""
    try:
        signature = inspect.signature(app, follow_wrapped=False)
    except (TypeError, ValueError):
        return True  # nobody knows
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True
