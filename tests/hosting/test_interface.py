"""hosting/interface.py: native or WSGI, told from the signature of nearly anything that can be called."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wrappers import Request as WerkzeugRequest
from werkzeug.wrappers import Response as WerkzeugResponse

from greenhttp.green.stream import Stream
from greenhttp.hosting.handler import Handler
from greenhttp.hosting.interface import doubt, hosted, interface_of, unfit
from greenhttp.hosting.wsgi import WSGI
from greenhttp.program.loading import load
from greenhttp.server import Server
from greenhttp.settings.values import Settings
from greenhttp.testing import exchange
from tests.answers import only
from tests.http.apps import hello, request


def native(request: Any) -> str:
    return "native"


def wsgi(environ: Any, start_response: Any) -> Any:
    return hello(environ, start_response)


class Methods:
    def native(self, request: Any) -> str:
        return "native"

    def wsgi(self, environ: Any, start_response: Any) -> Any:
        return hello(environ, start_response)

    @classmethod
    def native_of_class(cls, request: Any) -> str:
        return "native"

    @staticmethod
    def native_static(request: Any) -> str:
        return "native"

    @staticmethod
    def wsgi_static(environ: Any, start_response: Any) -> Any:
        return hello(environ, start_response)


class NativeInstance:
    def __init__(self, one: Any = None, two: Any = None) -> None:
        pass

    def __call__(self, request: Any) -> str:
        return "native"


class Middleware:
    """Around a WSGI application, in the usual shape: making one takes one argument, calling it two."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return self.app(environ, start_response)


class Iterable:
    """An application that is a class (PEP 3333)."""

    def __init__(self, environ: Any, start_response: Any) -> None:
        self.content = hello(environ, start_response)

    def __iter__(self) -> Any:
        return iter(self.content)


class Django:
    """The shape of django.core.handlers.wsgi.WSGIHandler."""

    request_class = object

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return hello(environ, start_response)


def general(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def as_wsgi(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adapts a native handler to WSGI."""

    @functools.wraps(function)
    def wrapper(environ: Any, start_response: Any) -> Any:
        return hello(environ, start_response)

    return wrapper


def as_native(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adapts a WSGI application to a native handler."""

    @functools.wraps(function)
    def wrapper(request: Any) -> str:
        return "native"

    return wrapper


@WerkzeugRequest.application
def werkzeug_application(request: Any) -> Any:
    return WerkzeugResponse("from werkzeug")


def with_default(environ: Any, start_response: Any = None) -> Any:
    return "native"


def both_default(environ: Any = None, start_response: Any = None) -> Any:
    return "native"


def three(environ: Any, start_response: Any, more: Any) -> Any: ...
def nothing() -> Any: ...
def args(*args: Any) -> Any: ...
def one_and_args(request: Any, *args: Any) -> Any: ...
def keywords(**kwargs: Any) -> Any: ...
def one_and_keywords(request: Any, **kwargs: Any) -> str: ...  # type: ignore[empty-body]
def keyword_only(request: Any, *, db: Any = None) -> str: ...  # type: ignore[empty-body]
def wsgi_keyword_only(environ: Any, start_response: Any, *, db: Any = None) -> Any: ...
def only_keyword_only(*, request: Any) -> Any: ...
def positional_only(request: Any, /) -> str: ...  # type: ignore[empty-body]
def unknown_types(request: NoSuchType) -> NoSuchType: ...  # type: ignore[name-defined, empty-body]  # noqa: F821


FILLED = functools.partial(native, None)  # it takes nothing more

NATIVE = [
    native,
    lambda request: "native",
    lambda any_name: "native",
    Methods().native,
    Methods.native_of_class,
    Methods.native_static,
    types.MethodType(lambda self, request: "native", object()),
    NativeInstance(),
    with_default,
    one_and_keywords,
    keyword_only,
    positional_only,
    unknown_types,
    functools.partial(native),
    functools.partial(wsgi, {}),
    functools.partial(wsgi, start_response=None),
    functools.partial(lambda db, request: "native", None),
    as_native(wsgi),
    Middleware,
    len,
]

FOR_WSGI = [
    wsgi,
    lambda environ, start_response: [],
    Methods().wsgi,
    Methods.wsgi_static,
    Methods.native,  # unbound: it lacks its self
    Middleware(wsgi),
    Iterable,
    NativeInstance,
    Django(),
    Flask(__name__),
    Flask(__name__).wsgi_app,
    ProxyFix(wsgi),
    werkzeug_application,
    both_default,
    three,
    nothing,
    args,
    one_and_args,
    keywords,
    wsgi_keyword_only,
    only_keyword_only,
    functools.partial(wsgi),
    functools.partial(three, more=1),
    FILLED,
    general(native),
    general(wsgi),
    as_wsgi(native),
    print,
    dict,
    type,
]


@pytest.mark.parametrize("app", NATIVE, ids=repr)
def test_native(app: Any) -> None:
    assert interface_of(app) == "native"
    assert type(hosted(app, Settings())) is Handler
    assert Server(app).interface == "native"


@pytest.mark.parametrize("app", FOR_WSGI, ids=repr)
def test_wsgi(app: Any) -> None:
    assert interface_of(app) == "wsgi"
    assert type(hosted(app, Settings())) is WSGI
    assert Server(app).interface == "wsgi"


def test_a_signature_that_was_set_counts() -> None:
    import inspect

    def app(*args: Any) -> Any: ...

    app.__signature__ = inspect.signature(native)  # type: ignore[attr-defined]
    assert interface_of(app) == "native"


@pytest.mark.parametrize("app", [native, wsgi, general(native), werkzeug_application, print])
@pytest.mark.parametrize(("interface", "kind"), [("native", Handler), ("wsgi", WSGI)])
def test_the_setting_overrides(app: Any, interface: str, kind: type) -> None:
    assert type(hosted(app, Settings(interface=interface))) is kind
    assert Server(app, interface=interface).interface == interface


def test_what_an_application_is_called_with_is_what_was_told() -> None:
    get = [request(b"GET /x HTTP/1.1")]
    served = {
        app: only(exchange(app, get).sent).content
        for app in (native, wsgi, Methods().native, Middleware(wsgi), Iterable, with_default, werkzeug_application)
    }
    assert list(served.values()) == [b"native", b"/x", b"native", b"/x", b"/x", b"native", b"from werkzeug"]
    assert only(exchange(general(native), get, interface="native").sent).content == b"native"
    assert only(exchange(general(wsgi), get).sent).content == b"/x"


def test_a_wrapper_of_a_handler_that_takes_anything_is_doubted() -> None:
    assert [doubt(app) for app in (native, wsgi, general(wsgi), werkzeug_application.__wrapped__)] == [None] * 4
    for app in (general(native), as_wsgi(native), werkzeug_application):
        wraps = "the application wraps a handler of one argument"
        assert doubt(app) == f"{wraps}; if it is a native handler, give --interface native"
    assert doubt(as_native(wsgi)) == "the application wraps a WSGI application; if it is one, give --interface wsgi"


def annotated(peer: Stream) -> None: ...
def annotated_by_name(peer: greenhttp.Stream) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize("app", [lambda stream: None, annotated, annotated_by_name])
def test_a_handler_with_a_stream_for_its_argument_is_doubted(app: Any) -> None:
    said = "the handler's argument looks like a stream; if it is a stream handler, give --interface stream"
    assert doubt(app) == said
    assert unfit(app, "auto", "") == ""


def create_app() -> None:
    """A factory."""


def create_with(config: Any = None) -> None:
    """A factory that can be given something."""


TAKES_NO = "takes no arguments; if it is a factory, give"


@pytest.mark.parametrize(
    ("app", "line"),
    [
        (create_app, f"create_app {TAKES_NO} {__name__}:create_app()"),
        (create_with, f"create_with needs no arguments; if it is a factory, give {__name__}:create_with()"),
        (lambda: None, f"<lambda> {TAKES_NO} a call of it, like module:create()"),
        (functools.partial(create_app), f"partial {TAKES_NO} a call of it, like module:create()"),
        (
            lambda one, two, three: None,
            "<lambda> takes neither one argument (request) nor two (environ, start_response); every request will fail",
        ),
        (type("Empty", (), {"__module__": "shop"}), f"Empty {TAKES_NO} shop:Empty()"),
    ],
)
def test_what_no_call_can_fit_is_doubted(app: Any, line: str) -> None:
    assert doubt(app) == line
    assert [doubt(fits) for fits in (print, Methods().native, Middleware(wsgi), Iterable, with_default)] == [None] * 5


class Configured:
    """To be made once, and then called."""

    def __init__(self, config: Any) -> None: ...
    def __call__(self, environ: Any, start_response: Any) -> Any: ...


class AnyArguments(Configured):
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...


class Served:
    """A stream handler that is a class."""

    def __init__(self, stream: Any) -> None: ...


@functools.cache
def cached_factory() -> Any: ...


def needs_keyword(request: Any, *, db: Any) -> Any: ...


GIVE = "; if it is a factory, give shop:create()"
NEITHER = "takes neither one argument (request) nor two (environ, start_response); every request will fail"


@pytest.mark.parametrize(
    ("app", "interface", "line"),
    [
        (create_app, "auto", f"create_app takes no arguments{GIVE}"),
        (create_with, "auto", f"create_with needs no arguments{GIVE}"),
        (cached_factory, "auto", f"cached_factory takes no arguments{GIVE}"),
        (functools.partial(create_app), "auto", f"partial takes no arguments{GIVE}"),
        (create_app, "wsgi", f"create_app takes no arguments{GIVE}"),
        (three, "auto", f"three {NEITHER}"),
        (only_keyword_only, "auto", f"only_keyword_only {NEITHER}"),
        (needs_keyword, "auto", f"needs_keyword {NEITHER}"),
        (wsgi, "native", "wsgi does not take the one argument of a handler (request); every request will fail"),
        (wsgi, "stream", "wsgi does not take the one argument of a stream handler (stream); every request will fail"),
        (
            native, "wsgi",
            "native does not take the two arguments of a WSGI application (environ, start_response);"
            " every request will fail",
        ),
        (
            functools.cache(native), "auto",
            "native does not take the two arguments of a WSGI application (environ, start_response);"
            " every request will fail; lru_cache hides its signature: give --interface native",
        ),
        (
            Configured, "auto",
            "Configured is a class, and its instances are not what a handler may return; every request will fail;"
            " give an instance of it",
        ),
        (
            Served, "auto",
            "Served is a class, and its instances are not what a handler may return; every request will fail;"
            " if it is a stream handler, give --interface stream",
        ),
        (
            AnyArguments, "auto",
            "AnyArguments is a class, and its instances are not iterable; every request will fail;"
            " give shop:create()",
        ),
    ],
)  # fmt: skip
def test_what_cannot_answer_and_what_to_give(app: Any, interface: str, line: str) -> None:
    assert unfit(app, interface, "shop:create()") == line


class Proxy:
    """As werkzeug.local.LocalProxy and others: it says that it is what it stands for."""

    def __init__(self, app: Any) -> None:
        self.app = app

    @property
    def __class__(self) -> Any:
        return type(self.app)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.app, name)

    def __call__(self, *args: Any) -> Any: ...


class Meta(type):
    def __call__(cls, *args: Any) -> Any:
        return [b"made by the metaclass"]


class MadeByMeta(metaclass=Meta): ...


class MadeByNew:
    def __new__(cls, environ: Any, start_response: Any) -> Any:
        return [b"made by __new__"]


class Readable:
    def __init__(self, request: Any) -> None: ...
    def read(self, size: int = -1) -> bytes:
        return b""


class Sequence:
    def __init__(self, environ: Any, start_response: Any) -> None: ...
    def __getitem__(self, index: int) -> bytes:
        raise IndexError


class Delegating(Configured):
    def __getattr__(self, name: str) -> Any: ...


class StaticCall:
    __call__ = staticmethod(wsgi)


class CompiledCall:
    __call__ = len


def signed() -> Any: ...


signed.__signature__ = "not the one it has"  # type: ignore[attr-defined]

ACCEPTED = [
    *NATIVE,
    *FOR_WSGI,
    Proxy(create_app),
    MadeByMeta,
    MadeByNew,
    Readable,
    Sequence,
    Delegating,
    StaticCall(),
    CompiledCall(),
    signed,
    functools.cache(wsgi),
    functools.partial(print),
    functools.wraps(create_app)(lambda *args: None),
    functools.wraps(three)(lambda request: None),
]
REFUSED = (Middleware, NativeInstance, three, nothing, keywords, only_keyword_only, FILLED)


@pytest.mark.parametrize("app", [app for app in ACCEPTED if app not in REFUSED], ids=repr)
def test_what_can_answer_or_nobody_knows_is_accepted(app: Any) -> None:
    assert unfit(app, "auto", "shop:create()") == ""


@pytest.mark.parametrize("app", [lambda stream: None, Served, Configured, print, general(wsgi)], ids=repr)
def test_what_can_be_a_stream_handler(app: Any) -> None:
    assert unfit(app, "stream", "shop:create()") == ""


def test_what_a_name_on_the_command_line_leads_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "interfaces_told.py").write_text(
        """
def handler(request):
    return "native"

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"wsgi"]

def create(native=True):
    return handler if native else app

def make_wsgi():
    return app
"""
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    names = ["interfaces_told", "interfaces_told:handler", "interfaces_told:create()", "interfaces_told:make_wsgi()"]
    assert [interface_of(load(name)) for name in names] == ["wsgi", "native", "native", "wsgi"]
