"""A soak of seconds; and that the long one can fail: each of its checks is shown what it must find."""

import io
import json
import random
import subprocess
import sys

import pytest
from gevent.pywsgi import WSGIServer

from tests.soak import apps
from tests.soak.attacks import ATTACKS, EVERYWHERE
from tests.soak.course import GROWTH, Soak, grown
from tests.soak.honest import KINDS, Honest, Wrong, chunks
from tests.soak.report import Tally, pivot, summary
from tests.soak.servers import LIMITS, ROOT, Sample, miscounted, unordered

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="samples are read from /proc")


@linux
def test_a_few_seconds_of_it_find_nothing():
    command = [sys.executable, "-m", "tests.soak", "0.05", "--seed", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0 and done.stdout.endswith("\nnothing was wrong\n"), done.stdout + done.stderr
    for kind in KINDS:
        assert f"\n{kind} " in done.stdout
    assert "\nsmuggled " in done.stdout and "warming up" in done.stderr


# ---- honest clients


class Elsewhere:
    """A target that is not started by the soak: a server of the test, with an application of its own."""

    name = "test"
    limits = LIMITS

    def __init__(self, port):
        self.port, self.answered, self.unserved, self.number = port, [], [], 0

    def next_number(self):
        self.number += 1
        return self.number


@pytest.fixture
def client():
    """A function: a client of that application, one request of that kind made, its tally and target."""
    servers = []

    def asking(app, kind="get"):
        servers.append(WSGIServer(("127.0.0.1", 0), app, log=None, error_log=None))
        servers[-1].start()
        honest = Honest(Elsewhere(servers[-1].server_port), Tally(), random.Random(1))
        honest.one_of_many(honest.make((kind,)))
        return honest

    yield asking
    for server in servers:
        server.stop()


def called(change=lambda status, fields, made: (status, fields, made)):
    """The soak's application, its answers changed."""

    def app(environ, start_response):
        seen = {}
        body = apps.wsgi(environ, lambda status, fields: seen.update(status=status, fields=fields))
        status, fields, made = change(seen["status"], seen["fields"], b"".join(body))
        start_response(status, fields)
        return [made]

    return app


@pytest.mark.parametrize("kind", ["get", "head", "stream", "wait", "post", "chunked", "form", "slow upload"])
def test_right_answers_are_right_also_those_of_another_server(client, kind):
    honest = client(called(), kind)
    assert (honest.tally.findings, honest.tally.requests[kind, "right"]) == ([], 1)
    assert honest.target.answered == [1]


def fields_of(number):
    return [("X-Id", str(number))]


@pytest.mark.parametrize("change", [
    lambda status, fields, made: (status, fields_of(2), made),
    lambda status, fields, made: (status, fields, made + b"x"),
    lambda status, fields, made: (status, fields, apps.content(2, len(made))),
    lambda status, fields, made: ("206 Partial Content", fields, made),
    lambda status, fields, made: ("500 Internal Server Error", [], made),
    lambda status, fields, made: ("408 Request Timeout", [], b""),
    lambda status, fields, made: ("503 Service Unavailable", [], b""),
], ids=["of another", "longer", "content of another", "status", "500", "time-out at once", "503 without Retry-After"])
def test_a_wrong_answer_is_found(client, change):
    honest = client(called(change), "slow upload")
    assert len(honest.tally.findings) == 1 and honest.tally.requests["slow upload", "WRONG"] == 1
    assert honest.target.answered == []


def test_what_was_refused_for_want_of_room_must_not_have_been_seen(client):
    honest = client(called(lambda *_: ("503 Service Unavailable", [("Retry-After", "1")], b"")))
    assert (honest.tally.findings, honest.target.unserved) == ([], [1])


def test_requests_behind_a_wrong_answer_are_not_taken_for_unserved(client):
    honest = client(called(lambda *_: ("500 Internal Server Error", [], b"")))
    with pytest.raises(Wrong):
        honest.pipelined()
    assert len(honest.tally.findings) == 2 and honest.target.unserved == []


def test_chunks_join_to_the_body():
    rng = random.Random(2)
    data = rng.randbytes(123_456)
    framed, content = b"".join(chunks(data, rng)), b""
    while framed:
        line, _, framed = framed.partition(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        if not size:
            break
        content, framed = content + framed[:size], framed[size + 2 :]
    assert content == data


def test_numbers_are_remembered_and_repetition_is_counted():
    seen = apps.Seen()
    seen.add(5)
    seen.add(6)
    assert [number in seen for number in (4, 5, 6, 7)] == [False, True, True, False] and seen.twice == 0
    seen.add(5)
    assert seen.twice == 1


def test_no_attack_may_be_answered_like_an_honest_request_unless_it_is_meant_to():
    harmless = {"hidden", "stubborn", "deaf"}
    for attack, (ends, _) in ATTACKS.items():
        assert attack.__name__ in harmless or not ends & {"200", "204"}
        assert "outlived" not in ends | EVERYWHERE


def test_the_application_tells_which_requests_it_has_seen(monkeypatch):
    class Server:
        def statistics(self):
            return {"connections": 1}

    monkeypatch.setattr(apps, "servers", [Server()])
    monkeypatch.setattr(apps, "seen", apps.Seen())
    apps.answer(apps.Asked("/get", "id=7", "", io.BytesIO()))
    apps.answer(apps.Asked("/smuggled", "", "", io.BytesIO()))
    told = json.loads(apps.answer(apps.Asked("/statistics", "", "", io.BytesIO(b"[6, 7, 8]")))[2])
    assert (told["seen"], told["twice"], told["smuggled"], told["connections"]) == ([7], 0, 1, 1)


# ---- logs


ORDERED = """\
2026-01-01 12:00:00,000 ERROR 127.0.0.1:4711: GET /fail: Ordered in the application
Traceback (most recent call last):
  File "apps.py", line 1, in fail
    raise Ordered
tests.soak.apps.Ordered
2026-01-01 12:00:00,000 INFO 127.0.0.1:4711: refused with 400: bad line
"""


def test_a_traceback_that_was_ordered_is_none_of_the_findings():
    assert unordered(ORDERED) == []
    assert unordered(ORDERED + ORDERED) == []


OTHER = "2026-01-01 12:00:00,000 ERROR 127.0.0.1:4711: GET /get: KeyError in the application\n"


@pytest.mark.parametrize("before", ["", OTHER])
def test_any_other_traceback_is_a_finding(before):
    log = ORDERED + before + 'Traceback (most recent call last):\n  File "x.py", line 1, in x\nKeyError: 1\n'
    assert len(unordered(log)) == 1


def test_each_right_answer_has_one_entry_in_the_access_log():
    log = "200 GET /get?id=1&size=5 HTTP/1.1\n200 POST /post?id=2 HTTP/1.1\n200 POST /post?id=2 HTTP/1.1\n400 -\n"
    assert miscounted(log, [1]) == []
    assert miscounted(log, [1, 2, 3]) == [(2, ["200", "200"]), (3, None)]


# ---- growth, tables


def samples(**last):
    warm = Sample(rss=50 << 20, greenlets=18, descriptors=9, connections=1)
    return {"native": {"first": warm, "warm": warm, "last": Sample(**{**vars(warm), **last})}}


@pytest.mark.parametrize("last", [{"rss": (50 << 20) + GROWTH + 1}, {"greenlets": 19}, {"descriptors": 10}])
def test_growth_after_the_warm_up_is_found(last):
    assert len(grown(samples(**last), True)) == 1


def test_what_is_within_bounds_is_not():
    assert grown(samples(rss=(50 << 20) + GROWTH, greenlets=17, descriptors=8), True) == []


def test_a_short_soak_says_nothing_about_memory_but_about_descriptors():
    assert grown(samples(rss=500 << 20, greenlets=60), False) == []
    assert len(grown(samples(descriptors=10, greenlets=61), False)) == 2


def test_the_tables_say_what_was_counted():
    tally = Tally()
    for end in ("right", "right", "503"):
        tally.honest("get", end)
    assert pivot("honest requests", tally.requests)[1] == "get                       3  right 2, 503 1"
    assert summary(tally, samples())[-1] == "nothing was wrong"
    for _ in range(25):
        tally.wrong("this")
    assert summary(tally, samples())[-2:] == ["and 5 more", "25 findings"]


def test_a_soak_without_a_single_right_answer_has_failed():
    soak = Soak(1, 1)
    soak.samples = samples()
    soak._judge()
    assert soak.tally.findings == ["not one right answer"]


def test_the_seed_decides_what_clients_ask():
    def made(seed):
        honest = Honest(Elsewhere(0), Tally(), random.Random(f"{seed} running native Honest 0"))
        return [honest.make() for _ in range(20)]

    assert made(1) == made(1)
    assert made(1) != made(2)
