"""rooms: two servers as if on two machines, a real Redis between them, and pages in two browsers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.apps.conftest import started
from tests.apps.services import Redis
from tests.browser import Browser, Page, needs_browser
from tests.examples.example import TIMEOUT, Example
from tests.reload import children

websocket = pytest.importorskip("websocket")

ANN, BEN = "a" * 16, "b" * 16


@pytest.fixture(scope="module")
def memory() -> Iterator[Redis]:
    yield from started(Redis)


@pytest.fixture
def redis_server(memory: Redis) -> Redis:
    """Without what was said before."""
    if memory.process is None:
        memory.start()
    memory.connect().flushall()
    return memory


class Machine(Example):
    """A server of the rooms."""

    def __init__(self, redis: Redis, *options: str) -> None:
        super().__init__(
            "-m", "greenhttp", "-b", "127.0.0.1:0", "--chdir", "rooms", "--websocket-max-message", "16k",
            "--drain-linger", "100ms", *options, "rooms:app", REDIS_URL=redis.url,
        )  # fmt: skip

    def member(self, name: str = "Ann", page: str = ANN, room: str = "tea") -> Member:
        return Member(f"ws{self.url[4:]}/room/{room}?name={quote(name)}&page={page}")


class Member:
    """What a page is, by hand: a connection, and what it says."""

    def __init__(self, url: str) -> None:
        self.socket = websocket.create_connection(url, timeout=TIMEOUT, http_no_proxy=["*"])

    def tell(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def say(self, text: str, number: int) -> None:
        self.tell(text=text, id=f"{number:016x}")

    def hear(self, key: str) -> Any:
        """The next message that has it; those about who is here come at any time."""
        while key not in (message := json.loads(self.socket.recv())):
            pass
        return message

    def until_here(self, *names: str) -> None:
        while self.hear("here")["here"] != list(names):
            pass

    def lines(self, after: str = "") -> list[dict[str, str]]:
        self.tell(after=after)
        return self.hear("lines")["lines"]

    def code(self) -> int:
        """With which the server closes; everything before is passed over."""
        while True:
            opcode, data = self.socket.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return int.from_bytes(data[:2], "big")

    def __enter__(self) -> Member:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        self.socket.shutdown()  # which closes the socket whoever has closed the WebSocket


@pytest.fixture
def start(redis_server: Redis) -> Iterator[Callable[..., Machine]]:
    with contextlib.ExitStack() as stack:
        yield lambda *options: stack.enter_context(Machine(redis_server, *options))


@pytest.fixture
def machine(start: Callable[..., Machine]) -> Machine:
    return start()


# ---- the protocol


def test_what_is_said_on_one_machine_is_heard_on_the_other(start: Callable[..., Machine]) -> None:
    one, two = start(), start()
    with one.member("Ann", ANN) as ann, two.member("Ben", BEN) as ben, two.member("Eve", "e" * 16, "other") as eve:
        ann.until_here("Ann", "Ben")
        ben.until_here("Ann", "Ben")
        ann.say("grüß dich", 1)
        line = ben.hear("text")
        assert line == ann.hear("text")
        assert (line["name"], line["text"], line["id"]) == ("Ann", "grüß dich", f"{1:016x}")
        assert re.fullmatch("[0-9]+-[0-9]+", line["number"])
        ben.say("\0<b>😀 ", 2)
        assert ann.hear("text")["text"] == "\0<b>😀 "
        assert eve.lines() == []  # another room
        ben.socket.close()
        ann.until_here("Ann")


def test_who_comes_later_gets_what_was_said_and_a_line_that_comes_again_is_said_once(machine: Machine) -> None:
    with machine.member("Ann", ANN) as ann, machine.member("Ben", BEN) as ben:
        ann.lines()
        ben.lines()
        ann.say("one", 1)
        ann.say("two", 2)
        first, second = ben.hear("text"), ben.hear("text")
        assert [first["text"], second["text"]] == ["one", "two"]
        assert [ann.hear("text"), ann.hear("text")] == [first, second]
        ann.say("one", 1)  # as a page whose connection broke before it came back
        assert ann.hear("text") == first
        ben.say("one", 1)  # another page's ids are its own
        assert ben.hear("text")["name"] == "Ben"
        with machine.member("Eve", "e" * 16) as eve:
            assert [(line["name"], line["text"]) for line in eve.lines()] == [
                ("Ann", "one"), ("Ann", "two"), ("Ben", "one"),
            ]  # fmt: skip
            assert [line["name"] for line in eve.lines(second["number"])] == ["Ben"]


def test_redis_keeps_so_many_lines_of_a_room(machine: Machine) -> None:
    with machine.member() as ann:
        ann.lines()
        for number in range(110):
            ann.say(f"line {number}", number)
        while ann.hear("text")["text"] != "line 109":
            pass
        assert [line["text"] for line in ann.lines()] == [f"line {number}" for number in range(10, 110)]


@pytest.mark.parametrize(
    "message",
    [
        "no JSON", "[" * 10_000, "1", "null", '"after"', "[]", "{}", '{"after": 1}', '{"text": "x"}',
        '{"id": "0000000000000001", "text": ""}', '{"id": "0000000000000001", "text": "  "}',
        '{"id": "0000000000000001", "text": ["x"]}', '{"id": "1", "text": "x"}', '{"id": 1, "text": "x"}',
        json.dumps({"id": "0000000000000001", "text": "x" * 1001}),
    ],
)  # fmt: skip
def test_what_is_not_the_protocol_closes_with_a_code(machine: Machine, message: str) -> None:
    with machine.member() as ann, machine.member("Ben", BEN) as ben:
        ann.socket.send(message)
        assert ann.code() == 1008
        assert ben.lines() == []


def test_a_message_has_a_size(machine: Machine) -> None:
    with machine.member() as ann:
        ann.socket.send("x" * 16_385)
        assert ann.code() == 1009


@pytest.mark.parametrize(
    ("name", "page"), [("", ANN), ("x" * 31, ANN), (" x", ANN), ("a\u202eb", ANN), ("a\nb", ANN), ("Ann", "A" * 16)]
)
def test_names_that_cannot_be(machine: Machine, name: str, page: str) -> None:
    with machine.member(name, page) as ann:
        assert ann.code() == 1008


def test_what_else_there_is(machine: Machine) -> None:
    status, content = machine.fetch("/")
    assert (status, content) == (200, (Path(__file__).parents[2] / "examples/rooms/page.html").read_bytes())
    assert machine.fetch("/page.js")[0] == machine.fetch("/page.css")[0] == 200
    assert machine.fetch("/rooms.py")[0] == machine.fetch("/../rooms.py")[0] == 404
    assert machine.fetch("/room/tea")[0] == 426
    assert machine.fetch("/room/a/b")[0] == 404


def test_redis_goes_and_comes_back(start: Callable[..., Machine], redis_server: Redis) -> None:
    one, two = start(), start()
    with one.member("Ann", ANN) as ann, two.member("Ben", BEN) as ben:
        ann.lines()
        ben.lines()
        redis_server.stop()
        for each in (ann, ben):
            while not each.hear("away")["away"]:  # that it is here is said when the process begins to listen
                pass
        ann.say("lost?", 1)
        while ann.hear("away")["away"]:  # its own answer is one of these
            ann.say("lost?", 1)
            if redis_server.process is None:
                redis_server.start()
        while ben.hear("away")["away"]:
            pass
        ann.say("lost?", 1)
        assert ann.hear("text")["text"] == "lost?"
        assert [line["text"] for line in ann.lines()] == [line["text"] for line in ben.lines()] == ["lost?"]


# ---- pages


def enter(browser: Browser, machine: Machine, name: str, **size: Any) -> Page:
    page = browser.open(machine.url, **size)
    page.run("window.codes = []")
    page.run(f"$('name').value = {json.dumps(name)}; $('door').requestSubmit()")
    page.until("$('state').textContent === 'connected'")
    return page


def watch(page: Page) -> None:
    """Its present socket's close code is noted."""
    page.run("window.before = socket, socket.addEventListener('close', event => codes.push(event.code)), 0")


def say(page: Page, text: str) -> None:
    page.run("$('text').focus()")
    page.type(text)
    page.enter()


SHOWN = "[...document.querySelectorAll('#lines li')].map(line => line.childNodes[1]?.textContent ?? line.textContent)"


def crossed(*pages: Page, said: list[str]) -> None:
    """All of them show all that was said, once, in one order."""
    for page in pages:
        page.until(f"!document.querySelector('.unsaid') && $('lines').children.length >= {len(said)}")
    shown = [page.run(SHOWN) for page in pages]
    assert sorted(shown[0]) == sorted(said)
    assert all(each == shown[0] for each in shown)


@needs_browser
def test_two_browsers_whose_workers_are_killed_and_drained(start: Callable[..., Machine], tmp_path: Path) -> None:
    one, two = start("--workers", "2"), start("--workers", "2")
    with Browser() as first, Browser() as second:
        ann = enter(first, one, "Ann")
        ben = enter(second, two, "Björn", width=390, height=700, phone=True)
        said = []

        def both(*lines: str) -> None:
            for line in lines:
                for page, name in ((ann, "Ann"), (ben, "Björn")):
                    said.append(f"{line}, says {name}")
                    say(page, said[-1])

        for page in (ann, ben):
            page.until("$('here').textContent === 'AnnBjörn'")
        both("hello", "<b>&amp;</b> <img src=x onerror=alert(1)>")
        crossed(ann, ben, said=said)
        assert ann.run("document.querySelector('#lines b + b, #lines img')") is None

        watch(ann)
        watch(ben)
        workers = children(one.pid)
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        both("said while it dies", "and after")
        ann.until("socket && socket !== before && $('state').textContent === 'connected'")
        crossed(ann, ben, said=said)
        assert (ann.run("codes"), ben.run("codes")) == ([1006], [])
        assert not set(workers) & set(children(one.pid))

        watch(ann)
        two.send_signal(signal.SIGHUP)
        both("said while it drains", "and once more")
        ben.until("socket && socket !== before && $('state').textContent === 'connected'")
        crossed(ann, ben, said=said)
        assert (ann.run("codes"), ben.run("codes")) == ([1006], [1012])

        say(ann, "and\nseveral lines " * 3)
        ben.run("$('text').focus()")
        ben.type("a draft, which outlives a reload of the page")
        ben.reload()
        ben.until(f"$('state').textContent === 'connected' && $('lines').children.length === {len(said) + 1}")
        assert ben.run("$('text').value") == "a draft, which outlives a reload of the page"
        for page in (ann, ben):
            page.until("$('here').textContent === 'AnnBjörn'")
        ann.screenshot(tmp_path / "ann.png")
        ben.screenshot(tmp_path / "ben.png")
        # The refused connections while no worker listens are the browser's own errors; a page has none.
        assert [each for each in ann.errors + ben.errors if "WebSocket connection to" not in each] == []


@needs_browser
def test_a_page_keeps_what_it_cannot_say(machine: Machine, redis_server: Redis) -> None:
    with Browser() as browser:
        page = enter(browser, machine, "Ann")
        page.until("$('here').textContent === 'Ann'")
        redis_server.stop()
        page.until("$('state').textContent.includes('Redis is away')")
        say(page, "while Redis is away")
        machine.send_signal(signal.SIGSTOP)  # and now there is no network either, as far as the page can see
        page.run("socket.close()")
        say(page, "without a connection")
        machine.send_signal(signal.SIGCONT)
        assert page.run("[...document.querySelectorAll('.unsaid')].map(line => line.textContent)") == [
            "while Redis is away", "without a connection",
        ]  # fmt: skip
        page.reload()  # loses nothing
        page.until("document.querySelectorAll('.unsaid').length === 2")
        redis_server.start()
        crossed(page, said=["while Redis is away", "without a connection"])
        assert page.errors == []


@needs_browser
def test_a_page_that_is_refused_says_why_and_does_not_try_again(machine: Machine) -> None:
    with Browser() as browser:
        page = browser.open(machine.url)
        page.run("$('name').value = '\\u202e'; $('door').requestSubmit()")
        assert page.until("$('refused').textContent") == "a name has 1 to 30 characters"
        assert page.run("[$('door').hidden, $('inside').hidden, socket, next]") == [False, True, None, 0]
