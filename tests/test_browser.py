"""The browser of the tests, with pages that need no server."""

import pytest

from tests.browser import Browser, needs_browser

pytestmark = needs_browser


def test_pages_of_a_browser(tmp_path):
    with Browser() as browser:
        page = browser.open("data:text/html,<title>one</title><input id=field><p id=said>nothing")
        assert page.run("document.title") == "one"
        assert page.run("new Promise(done => setTimeout(done, 1, {a: [1, null]}))") == {"a": [1, None]}
        page.run("field.onkeydown = event => { if (event.key == 'Enter') said.textContent = field.value }")
        page.run("field.focus()")
        page.type("grüß dich")
        page.enter()
        assert page.until("said.textContent != 'nothing' && said.textContent") == "grüß dich"
        other = browser.open("data:text/html,<title>two</title>")
        other.run("setTimeout(() => nothing.of.that.name)")
        other.until("true")
        other.run("new Promise(done => setTimeout(done))")
        assert "ReferenceError" in other.errors[0] and not page.errors
        page.screenshot(tmp_path / "page.png")
        assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
        with pytest.raises(AssertionError, match=r"(?s)longer than 0.1 s.*the page:.*grüß"):
            page.until("false", 0.1)
        with pytest.raises(AssertionError, match="TypeError"):
            page.run("null.x")
    assert browser.process.returncode is not None


def test_two_browsers_share_nothing():
    with Browser() as one, Browser() as two:
        assert one.directory != two.directory
        assert one.open("data:text/html,1").run("document.body.innerText") == "1"
        assert two.open("data:text/html,2").run("document.body.innerText") == "2"
