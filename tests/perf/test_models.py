"""The models over real sockets, each in a process of its own as when it is measured; and what is made of figures."""

import contextlib
import json
import shutil
import socket
import threading
import time

import pytest

from perf import model_runs
from perf.model_runs import holding, loads, published, rows
from perf.model_runs.rows import Figure, Outcome, Row
from perf.models import tiny
from perf.tools import clients, crowd
from perf.tools.servers import Running, Server
from perf.tools.window import Window

MODELS = {model.name: model for model in model_runs.MODELS}
RATE, P99 = Figure("per_second", "requests/s", compared=True), Figure("p99_ms", "p99 ms", digits=1)


pinned = pytest.mark.skipif(not shutil.which("taskset"), reason="servers are pinned to a core, with taskset")


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pinned) for name in MODELS])
def running(request):
    with Running(MODELS[request.param]) as server:
        yield server


@pytest.fixture
def client(running):
    with clients.connect(running.port) as connected:
        yield connected


def answers(client: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """The next so many answers; what comes beyond them is an error."""
    reader, found = clients.Answers(), []
    while len(found) < count:
        data = client.recv(65536)
        assert data, f"closed after {len(found)} answers of {count}"
        found += reader.feed(data)
    assert len(found) == count
    return found


def rest(client: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionResetError):  # a server that closes with input unread resets
        while data := client.recv(65536):
            received += data
    return received


# ---- every model, every route


@pytest.mark.parametrize(("path", "body"), [(path.decode(), body) for path, body in tiny.BODIES.items()])
def test_every_route_is_answered_and_the_connection_kept(client, path, body):
    assert clients.ask(client, path) == (200, body)
    assert clients.ask(client, path) == (200, body)


def test_an_unknown_path_is_404_and_the_connection_kept(client):
    assert clients.ask(client, "/nowhere")[0] == 404
    assert clients.ask(client) == (200, tiny.HELLO)


def test_the_handler_that_waits_does_wait(client):
    began = time.monotonic()
    assert clients.ask(client, "/wait") == (200, tiny.HELLO)
    assert time.monotonic() - began >= tiny.WAIT / 2  # a loop's clock may be old by some milliseconds


def test_a_head_that_comes_byte_by_byte_is_answered(client):
    for byte in clients.get("/"):
        client.sendall(bytes([byte]))
    assert answers(client, 1) == [(200, tiny.HELLO)]


def test_a_pipeline_is_answered_in_its_order(client):
    paths = ["/", "/nowhere", "/wait", "/big", "/", "/wait", "/nowhere", "/"]
    client.sendall(b"".join(map(clients.get, paths)))
    assert [status for status, _ in answers(client, len(paths))] == [200, 404, 200, 200, 200, 200, 404, 200]


def test_what_is_sent_while_the_handler_waits_is_answered_after_it(client):
    client.sendall(clients.get("/wait"))
    for byte in clients.get("/nowhere") * 2:  # in many pieces, most of them while the first one waits
        client.sendall(bytes([byte]))
    assert [status for status, _ in answers(client, 3)] == [200, 404, 404]


def test_more_than_a_client_takes_at_once_is_sent_whole(running):
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.settimeout(10)
        client.connect(("127.0.0.1", running.port))
        client.sendall(clients.get("/big") * 16)
        with clients.connect(running.port) as other:  # whoever does not read holds nobody else up
            assert clients.ask(other) == (200, tiny.HELLO)
        assert answers(client, 16) == [(200, tiny.BIG)] * 16


def test_close_is_done_when_asked_for(client):
    client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    assert rest(client).endswith(b"\r\n\r\n" + tiny.HELLO)


def test_what_is_no_request_is_refused_and_the_server_goes_on(running, client):
    client.sendall(b"what is this\r\n\r\n")
    assert rest(client)[:12] in (b"HTTP/1.1 400", b"")
    with clients.connect(running.port) as other:
        assert clients.ask(other) == (200, tiny.HELLO)


def test_a_client_that_leaves_in_the_middle_is_forgotten(running):
    for sent in (b"", clients.get()[:10], clients.get("/wait"), clients.get("/big") * 16):
        with clients.connect(running.port) as leaving:
            leaving.sendall(sent)
    with clients.connect(running.port) as other:
        assert clients.ask(other, "/wait") == (200, tiny.HELLO)
    assert "Traceback" not in running.log()


def test_waits_are_side_by_side(running):
    """480 waits of 50 ms, 60 of them at a time: one after the other they take 24 s, whatever the machine."""
    together = [clients.connect(running.port) for _ in range(60)]
    try:
        began = time.monotonic()
        for each in together:
            each.sendall(clients.get("/wait") * 8)
        assert [answers(each, 8) for each in together] == [[(200, tiny.HELLO)] * 8] * 60
        assert time.monotonic() - began < 60 * 8 * tiny.WAIT
    finally:
        for each in together:
            each.close()


@pinned
def test_the_pool_makes_its_next_client_wait_for_a_free_thread():
    with Running(MODELS["pool"]) as server:
        held = [clients.connect(server.port) for _ in range(64)]
        try:
            for each in held:
                assert clients.ask(each) == (200, tiny.HELLO)
            with clients.connect(server.port) as next_one:
                next_one.sendall(clients.get())
                next_one.settimeout(0.1)
                with pytest.raises(TimeoutError):
                    next_one.recv(1)
                held.pop().close()
                next_one.settimeout(10)
                assert answers(next_one, 1) == [(200, tiny.HELLO)]
        finally:
            for each in held:
                each.close()


# ---- the tiny HTTP


def test_a_request_is_taken_once_it_is_whole():
    buffer = bytearray()
    for byte in b"GET /wait HTTP/1.1\r\nHost: a\r\n\r":
        buffer.append(byte)
        assert tiny.take(buffer) is None
    buffer += b"\nGET "
    assert tiny.take(buffer) == (b"/wait", True)
    assert buffer == b"GET "


def test_close_is_read_in_any_case():
    assert tiny.take(bytearray(b"GET / HTTP/1.1\r\nCONNECTION: Close\r\n\r\n")) == (b"/", False)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello\r\n\r\n", "400"),
        (b"GET / HTTP/1.0\r\n\r\n", "400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", "501"),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * tiny.HEAD, "431"),
    ],
)
def test_what_is_not_understood_is_refused(sent, status):
    with pytest.raises(tiny.BadRequest, match=status) as refused:
        tiny.take(bytearray(sent))
    assert b"Connection: close" in refused.value.answer


# ---- slow clients


def test_a_slow_client_spreads_its_head_and_sips_the_answer():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        slow = crowd.SlowClient(listener.getsockname()[1])
        server, _ = listener.accept()
        with server:
            server.settimeout(10)
            received, turns = b"", 0
            while received != crowd.HEAD:
                slow.turn()
                turns += 1
                piece = server.recv(65536)
                assert 0 < len(piece) <= -(-len(crowd.HEAD) // crowd.PIECES)
                received += piece
            assert turns == crowd.PIECES + 1
            server.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            sending = threading.Thread(target=lambda: (server.sendall(tiny.BIG), server.shutdown(socket.SHUT_WR)))
            sending.start()
            while not slow.over:
                before = slow.received
                slow.turn()
                assert slow.received - before <= crowd.SIP
            sending.join()
            assert slow.received == len(tiny.BIG) + 19
            assert slow.took > 0


def test_an_answer_cut_short_is_not_completed():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        slow = crowd.SlowClient(listener.getsockname()[1])
        server, _ = listener.accept()
        while slow.sent < len(crowd.HEAD):
            slow.turn()
        server.recv(65536)
        server.sendall(b"HTTP/1.1 200 OK\r\n\r\nnot all")
        server.close()
        while not slow.over:
            slow.turn()
        assert crowd.fate([slow]) == crowd.Fate(completed=0, cut_off=1, waiting=0, longest=0.0)


def test_what_became_of_a_crowd():
    class Client:
        def __init__(self, over, took=None):
            self.over, self.took = over, took

    assert crowd.fate([Client(True, 31.0), Client(True, 33.5), Client(True), Client(False)]) == crowd.Fate(
        completed=2, cut_off=1, waiting=1, longest=33.5
    )


# ---- void or not


FAST = Window(cpu_us=10.0, per_second=1000.0, p99_ms=2.0, rss_mb=20.0, requests=5000)


def test_slow_clients_that_are_not_served_void_the_load():
    assert loads.beside_slow(FAST, crowd.Fate(500, 0, 0, 33.0)).figures["longest_s"] == 33.0
    assert loads.beside_slow(FAST, crowd.Fate(490, 7, 3, 33.0)).void == (
        "490 of 500 slow clients got their answer within 45 s (7 were cut off)"
    )
    assert loads.beside_slow(Window(void="not one request was answered"), crowd.Fate(64, 0, 436, 33.0)).void == (
        "beside slow clients: not one request was answered; 64 of 500 slow clients got their answer"
    )


def test_hello_clients_beside_computing_handlers():
    good = {"answered": 100, "failures": 0, "p50": 40.0, "p99": 80.0, "max": 81.0}
    assert loads.computing(FAST, good).figures["hello_p99_ms"] == 80.0
    assert loads.computing(FAST, good | {"failures": 2}).void == "2 of the others' requests failed, 100 did not"
    assert loads.computing(FAST, good | {"answered": 0}).void == "0 of the others' requests failed, 0 did not"
    assert loads.computing(Window(void="3 timeout errors"), good).void == "3 timeout errors"


def test_memory_is_that_of_the_connections_held():
    assert loads.memory(holding.Held(1_000_000, 11_000_000, 10_000, 0)) == Outcome(
        {"bytes": 1000.0, "held": 10_000, "rss_mb": 11.0}
    )
    assert loads.memory(holding.Held(1_000_000, 3_000_000, 2000, 0)).figures["bytes"] == 1000.0
    assert loads.memory(holding.Held(1_000_000, 1_100_000, 64, 0)).void == "held 64 of 10,000 connections"
    assert loads.memory(holding.Held(1_000_000, 11_000_000, 10_000, 1000)).void == "held 9,000 of 10,000 connections"


# ---- holding connections


class Answering:
    """A server that keeps to a script: the connections that it answers, by number."""

    def __init__(self, monkeypatch, answered):
        class Client:
            def __init__(self, number):
                self.number = number

            def settimeout(self, seconds):
                pass

            def close(self):
                pass

        self.asked, numbers = [], iter(range(100))
        monkeypatch.setattr(holding.clients, "connect", lambda port: Client(next(numbers)))
        monkeypatch.setattr(holding, "_answered", self.ask)
        self.answered = answered

    def ask(self, client) -> bool:
        self.asked.append(client.number)
        return self.answered(client.number)


def test_opening_ends_after_three_failures_in_a_row(monkeypatch):
    server = Answering(monkeypatch, lambda number: number not in (1, 2, 5, 6, 7))
    opened = holding._open(1, 50, 1.0)
    assert [client.number for client in opened] == [0, 3, 4]
    assert server.asked == list(range(8))


def test_those_that_are_not_asked_again_count_as_silent(monkeypatch):
    server = Answering(monkeypatch, lambda number: number not in (1, 4, 5, 6))
    opened = [holding.clients.connect(1) for _ in range(10)]
    assert holding._silent(opened) == 1 + 3 + 3
    assert server.asked == list(range(7))


# ---- rows


def outcome(per_second: float, p99_ms: float = 1.0) -> Outcome:
    return Outcome({"per_second": per_second, "p99_ms": p99_ms})


def test_medians_and_spread_of_the_first_figure():
    row = rows.row("a", [outcome(100.0, 3.0), outcome(300.0, 1.0), outcome(200.0, 9.0)], (RATE, P99))
    assert row == Row("a", {"per_second": 200.0, "p99_ms": 3.0}, spread=1.0, rounds=3)


def test_one_void_round_voids_the_row():
    row = rows.row("a", [outcome(100.0), Outcome(void="3 timeout errors")], (RATE, P99))
    assert (row.void, row.figures, row.rounds) == ("3 timeout errors", {}, 2)


def test_ratios_are_to_greenhttp_for_figures_that_are_compared():
    group = [rows.row("a", [outcome(50.0)], (RATE, P99)), rows.row("greenhttp", [outcome(200.0)], (RATE, P99))]
    assert [row.ratios for row in rows.with_ratios(group, (RATE, P99))] == [{"per_second": 0.25}, {"per_second": 1.0}]


@pytest.mark.parametrize("ours", [[], [Row("greenhttp", void="x")], [Row("greenhttp", {"per_second": 0.0})]])
def test_without_greenhttp_there_is_no_ratio(ours):
    first = rows.with_ratios([rows.row("a", [outcome(50.0)], (RATE,)), *ours], (RATE,))[0]
    assert first.ratios == {}
    assert rows.cells(first, (RATE,)) == ("a", "50", "–", "0%")


def test_cells_stand_under_their_heads():
    row = Row("a", {"per_second": 12345.6, "p99_ms": 2.25}, {"per_second": 0.5}, 0.1, 3)
    assert rows.head((RATE, P99)) == ("model", "requests/s", "x greenhttp", "p99 ms", "spread")
    assert rows.cells(row, (RATE, P99)) == ("a", "12,346", "0.50", "2.2", "10%")
    assert rows.cells(Row("b", void="starves"), (RATE, P99)) == ("b", "void: starves", "", "", "")


# ---- the run


def load(name: str, measure) -> loads.Load:
    return loads.Load(name, "a load", (RATE, P99), measure, lambda seconds: 1.0)


@pytest.fixture
def measured(monkeypatch):
    """A run whose every figure is known, of two models and a load."""
    monkeypatch.setattr(model_runs.wrk, "available", lambda: True)
    monkeypatch.setattr(
        model_runs, "MODELS", [Server(name, lambda port, workload: [], lambda: None) for name in ("a", "greenhttp")]
    )
    figures = {"a": outcome(50.0), "greenhttp": outcome(100.0)}
    monkeypatch.setattr(model_runs, "LOADS", [load("fast-50", lambda model, seconds: figures[model.name])])


def test_a_run_is_printed_and_written(measured, tmp_path, capsys):
    assert model_runs.main(["--rounds", "2", "--out", str(tmp_path)]) == 0
    assert "a                  50         0.50" in capsys.readouterr().out
    document = json.loads((tmp_path / "models.json").read_text())
    assert (document["rounds"], document["seconds"]) == (2, 2)
    assert document["outcomes"]["fast-50"]["a"] == [{"figures": {"per_second": 50.0, "p99_ms": 1.0}, "void": None}] * 2
    assert "| a         |         50 |        0.50 |" in (tmp_path / "models.md").read_text()


def test_a_try_is_not_written(measured, monkeypatch):
    monkeypatch.setattr(published, "write", None)
    assert model_runs.main(["--models", "a", "--out", "-"]) == 0


def test_an_unknown_model_or_load_names_the_known_ones(measured):
    with pytest.raises(SystemExit, match="no model x; there are a, greenhttp"):
        model_runs.main(["--models", "x"])
    with pytest.raises(SystemExit, match="no load x; there are fast-50"):
        model_runs.main(["--only", "x"])


def test_a_line_has_no_point_where_the_model_was_void():
    found = {
        "fast-50": [Row("a", {"per_second": 1.0}), Row("b", {"per_second": 2.0})],
        "fast-1000": [Row("a", {"per_second": 3.0}), Row("b", void="starves")],
    }
    assert published.rates(found) == {"a": [(50, 1.0), (1000, 3.0)], "b": [(50, 2.0)]}


def test_a_bar_says_that_there_is_none():
    group = [Row("a", {"bytes": 1.0}), Row("b", void="held 64")]
    assert published.values(group, "bytes", "does not hold them") == {"a": 1.0, "b": "does not hold them"}


def test_every_load_has_an_end_and_figures_of_its_own():
    assert len({each.name for each in loads.LOADS}) == len(loads.LOADS)
    for each in loads.LOADS:
        assert 0 < each.guess(1) < 60
        assert any(figure.compared for figure in each.figures)
    assert set(published.FAST.values()) <= {each.name for each in loads.LOADS}
