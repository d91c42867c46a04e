"""settings/signatures.py: what a function can be called with, whatever its annotations are."""

import sys
from pathlib import Path

import pytest

import greenhttp
from greenhttp.hosting.interface import doubt, interface_of, unfit
from greenhttp.settings.signatures import signature

UNQUOTED = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from greenhttp import Request, Stream
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
def native(request: Request) -> str: ...
def wsgi(environ: WSGIEnvironment, start_response: StartResponse): ...
def streamed(peer: Stream) -> None: ...
"""


def test_arguments_are_known_also_of_what_another_function_stands_for():
    def plain(one, two=2): ...
    def other(*args): ...
    other.__wrapped__ = plain
    assert str(signature(other)) == "(one, two=2)"
    assert str(signature(other, follow_wrapped=False)) == "(*args)"


@pytest.mark.skipif(sys.version_info < (3, 14), reason="annotations are evaluated with the function")
def test_annotations_with_names_for_type_checkers_alone_are_no_error():
    names = {}
    exec(compile(UNQUOTED, "unquoted.py", "exec", dont_inherit=True), names)
    native, wsgi, streamed = (names[name] for name in ("native", "wsgi", "streamed"))
    assert [interface_of(app) for app in (native, wsgi, streamed)] == ["native", "wsgi", "native"]
    assert [unfit(app, "auto", "") for app in (native, wsgi, streamed)] == ["", "", ""]
    assert [doubt(app) for app in (native, wsgi)] == [None, None]
    assert "looks like a stream" in doubt(streamed)


def test_nothing_asks_for_signatures_in_another_way():
    house = Path(greenhttp.__file__).parent
    asking = {str(path.relative_to(house)) for path in house.rglob("*.py*") if path.suffix in (".py", ".pyx")
              and "inspect.signature(" in path.read_text()}  # fmt: skip
    assert asking == {"settings/signatures.py"}
