"""More than there is room for: requests beyond `concurrency`, and the health check that passes by them.

The queue itself, its time-out and who makes way beyond `connections` are in tests/http/test_limits.py; descriptors are
in test_process.py.
"""

from __future__ import annotations

from typing import Any

import gevent
import pytest
from gevent.event import Event

from greenhttp.testing import exchange
from tests.answers import only
from tests.http.apps import post, request
from tests.http.test_limits import Gate, get

RESERVE = 8  # of http/service.pyx
HEALTH = {"health_path": "/wait/health"}


@pytest.fixture
def full(serve: Any) -> Any:
    """full(**settings) -> (serving, gate): every place is taken, and so is the queue."""

    def make(**settings: Any) -> Any:
        gate = Gate()
        serving = serve(gate, concurrency=2, queue=1, queue_timeout=3600, **settings)
        for n in range(3):
            serving.connect().send(get(f"/wait/{n}"))
            serving.until(lambda n=n: serving.count("running") + serving.count("queued") == n + 1)
        return serving, gate

    return make


def test_the_health_check_is_answered_although_every_place_is_taken(full: Any) -> None:
    serving, gate = full(health_path="/healthz")
    for client in (serving.connect(), serving.connect()):
        for target in ("/healthz", "/healthz?deep=yes", "/healthz"):
            assert client.ask(get(target)).content == b"GET /healthz "
    assert serving.connect().ask(request(b"HEAD /healthz HTTP/1.0"), "HEAD").status == 200
    assert serving.connect().ask(request(b"GET http://example.com/healthz HTTP/1.1")).status == 200
    assert (serving.count("running"), serving.count("queued")) == (2, 1)
    assert gate.paths[:2] == ["/wait/0", "/wait/1"] and "/wait/2" not in gate.paths


@pytest.mark.parametrize(
    "data",
    [
        get("/"),
        get("/healthz/"),
        get("/healthz2"),
        get("/health"),
        get("/HEALTHZ"),
        get("/%68ealthz"),
        get("//healthz"),
        get("/x?/healthz"),
        request(b"OPTIONS * HTTP/1.1"),
        post(b"x", path=b"/healthz"),
        post(b"x" * 100, path=b"/healthz")[:-100],  # it would hold a green thread of the reserve until the time is up
        request(b"GET /healthz HTTP/1.1", b"Transfer-Encoding: chunked"),
    ],
)
def test_nothing_else_passes_by_the_queue(full: Any, data: bytes) -> None:
    serving, _ = full(health_path="/healthz")
    answer = serving.connect().ask(data)
    assert (answer.status, answer.closes, answer.get("Retry-After")) == (503, True, "3600")


def test_without_the_setting_no_path_passes_by_the_queue(full: Any) -> None:
    serving, _ = full()
    assert serving.connect().ask(get("/healthz")).status == 503


def test_what_is_sent_behind_a_health_check_does_not_pass_with_it(full: Any) -> None:
    serving, gate = full(health_path="/healthz")
    client = serving.connect().send(get("/healthz") + get("/healthz") + get("/sneaked") + get("/healthz"))
    assert [client.answer().status for _ in range(3)] == [200, 200, 503]
    assert client.rest() == b""
    assert "/sneaked" not in gate.paths


def test_the_reserve_is_bounded_and_what_is_beyond_it_waits_without_a_503(full: Any) -> None:
    serving, gate = full(**HEALTH)
    checks = [serving.connect().send(get("/wait/health")) for _ in range(RESERVE + 5)]
    serving.until(lambda: serving.count("pool_waiting") == 1 + 5)
    assert gate.paths.count("/wait/health") == RESERVE
    assert serving.connect().ask(get("/other")).status == 503  # the reserve is for nobody else
    gate.opened.set()
    assert [client.answer().status for client in checks] == [200] * (RESERVE + 5)
    serving.until(lambda: not serving.count("running"))
    assert serving.count("pool_waiting") == 0


def test_health_checks_do_not_take_the_turn_of_those_in_the_queue(full: Any) -> None:
    serving, gate = full(**HEALTH)
    checks = [serving.connect().send(get("/wait/health")) for _ in range(RESERVE + 5)]
    serving.until(lambda: serving.count("pool_waiting") == 1 + 5)
    gate.opened.set()
    for client in checks:
        client.answer()
    # Of those that waited, the one in the queue came first: the reserve served the others.
    assert "/wait/2" in gate.paths[2 + RESERVE : 2 + RESERVE + 3]


def test_the_reserve_does_not_run_what_waits_in_the_queue(full: Any) -> None:
    serving, gate = full(health_path="/healthz")
    client = serving.connect()
    for _ in range(50):
        assert client.ask(get("/healthz")).status == 200
    assert (serving.count("running"), serving.count("queued")) == (2, 1)
    assert serving.count("pool_started") == 3


def test_concurrency_is_what_it_was_once_the_reserve_has_been_used(serve: Any) -> None:
    gate = Gate()
    serving = serve(gate, concurrency=2, queue=100, queue_timeout=3600, **HEALTH)
    busy = [serving.connect().send(get(f"/wait/{n}")) for n in range(2)]
    serving.until(lambda: serving.count("running") == 2)
    checks = [serving.connect().send(get("/wait/health")) for _ in range(RESERVE)]
    serving.until(lambda: gate.paths.count("/wait/health") == RESERVE)
    gate.opened.set()
    for client in (*busy, *checks):
        assert client.answer().status == 200
    gate.opened = Event()
    more = [serving.connect().send(get(f"/wait/more{n}")) for n in range(10)]
    serving.until(lambda: serving.count("queued") == 8)
    assert sum("more" in path for path in gate.paths) == 2  # though ten green threads are there
    gate.opened.set()
    assert [client.answer().status for client in more] == [200] * 10


def test_a_health_check_that_waits_for_the_reserve_ends_with_its_client(full: Any) -> None:
    serving, gate = full(**HEALTH)
    checks = [serving.connect().send(get("/wait/health")) for _ in range(RESERVE)]
    serving.until(lambda: gate.paths.count("/wait/health") == RESERVE)
    gone = serving.connect().send(get("/wait/health"))
    serving.until(lambda: serving.count("pool_waiting") == 2)
    gone.reset()
    before = serving.count("connections")
    gate.opened.set()
    for client in checks:
        assert client.answer().status == 200
    serving.until(lambda: serving.count("connections") < before)
    assert gate.paths.count("/wait/health") == RESERVE


def test_a_health_check_that_waits_does_not_keep_the_loop_busy(full: Any) -> None:
    serving, gate = full(**HEALTH)
    for _ in range(RESERVE):
        serving.connect().send(get("/wait/health"))
    waits = serving.connect().send(get("/wait/health"))
    serving.until(lambda: serving.count("pool_waiting") == 2)
    waits.send(get("/next")).finish()  # readable from now on, and nobody may read it yet
    turns = 0

    def count() -> None:
        nonlocal turns
        turns += 1

    check = gevent.get_hub().loop.check()
    check.start(count)
    gevent.sleep(0.2)
    check.stop()
    check.close()
    # Whoever is called for each readable descriptor again and again turns the loop thousands of times.
    assert turns < 100
    gate.opened.set()
    assert [waits.answer().content for _ in range(2)] == [b"GET /wait/health ", b"GET /next "]


def test_a_server_that_stops_answers_health_checks_that_wait(full: Any) -> None:
    serving, gate = full(**HEALTH)
    checks = [serving.connect().send(get("/wait/health")) for _ in range(RESERVE + 2)]
    serving.until(lambda: serving.count("pool_waiting") == 3)
    stop = gevent.spawn(serving.server.stop, 30)
    gevent.idle()
    gate.opened.set()
    assert [client.answer().status for client in checks] == [200] * (RESERVE + 2)
    assert stop.get() is True


def test_with_places_free_the_health_check_is_a_request_like_any_other(serve: Any) -> None:
    serving = serve(Gate(), concurrency=2, health_path="/healthz")
    client = serving.connect()
    assert [client.ask(get("/healthz")).status for _ in range(3)] == [200] * 3
    assert serving.count("pool_started") == 1
    assert only(exchange(Gate(), [get("/healthz")], health_path="/healthz").sent).status == 200
