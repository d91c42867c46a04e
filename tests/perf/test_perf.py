"""The harness's own logic, on canned text: no server, no clock, no load."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from perf import micro, peers
from perf.reach import fairness, figure
from perf.tools import clients, honest, idle, procfs, report, rounds, servers, strace, workloads, wrk
from perf.tools.progress import Progress
from perf.tools.servers import Server
from perf.tools.window import Window, judge
from perf.tools.workloads import BY_NAME, Workload
from tests.system.process import needs

WRK = """Running 3s test @ http://127.0.0.1:8000/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   331.09us  726.55us  13.52ms   64.52%
  300000 requests in 3.00s, 45.78MB read
PERF requests=300000 duration_us=3000000 bytes=48000000 connect=0 read=0 write=0 status=0 timeout=0 \
p50_us=640 p99_us=1250 max_us=9000
"""
STAT = (
    "4242 (a (b) c) S 4200 4242 4242 0 -1 4194304 900 0 0 0 150 50 0 0 20 0 1 0 5 1000 200 "
    "18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0\n"
)
STATUS = "Name:\tpython\nVmHWM:\t   13524 kB\nVmRSS:\t   12000 kB\nThreads:\t3\n"
HELLO = BY_NAME["hello-64"]


def load(**changes) -> wrk.Load:
    figures = dict.fromkeys(wrk.Load.__dataclass_fields__, 0)
    return wrk.Load(
        **(figures | {"requests": 1000, "duration_us": 1_000_000, "p50_us": 1500, "p99_us": 2500} | changes)
    )


def window(cpu_us: float, **changes) -> Window:
    return Window(
        **(
            {"cpu_us": cpu_us, "per_second": 100.0, "p50_ms": 0.5, "p99_ms": 1.0, "rss_mb": 20.0, "requests": 10}
            | changes
        )
    )


# wrk


def test_report_line_is_read_from_wrks_output():
    parsed = wrk.parse(WRK)
    assert (parsed.requests, parsed.p99_us, parsed.errors) == (300000, 1250, 0)
    assert parsed.per_second == 100_000
    assert parsed.fault() is None


def test_output_without_a_report_line_is_an_error_that_shows_its_end():
    with pytest.raises(ValueError, match="unable to connect"):
        wrk.parse("unable to connect to 127.0.0.1:1 Connection refused\n")


@pytest.mark.parametrize("kind", ["status", "connect", "read", "write", "timeout"])
def test_each_kind_of_error_is_a_fault(kind):
    assert load(**{kind: 3}).fault() == f"3 {kind} errors"


def test_no_answer_at_all_is_a_fault():
    assert load(requests=0).fault() == "not one request was answered"


# windows


def test_figures_of_a_clean_run():
    judged = judge(load(), HELLO, cpu_ns=6_350_000, peak_bytes=20_000_000)
    assert judged == Window(cpu_us=6.35, per_second=1000.0, p50_ms=1.5, p99_ms=2.5, rss_mb=20.0, requests=1000)


def test_one_bad_status_voids_a_window():
    judged = judge(load(status=1), HELLO, 1, 1)
    assert (judged.void, judged.errors, judged.cpu_us) == ("1 status errors", 1, 0.0)


def test_connections_left_in_the_backlog_void_a_window():
    assert (
        judge(load(), HELLO, 1, 1, missing_connections=500).void == "500 connections were not accepted before the end"
    )


def test_a_server_that_answers_only_the_first_of_a_pipeline_is_void():
    judged = judge(load(requests=64), BY_NAME["pipeline-64"], 1, 1)
    assert judged.void.startswith("64 answers in all")


def test_wrk_s_latency_of_pipelined_requests_is_not_shown():
    judged = judge(load(requests=5000), BY_NAME["pipeline-64"], 1, 1)
    assert (judged.p50_ms, judged.p99_ms) == (0.0, 0.0)
    assert report.cells(report.row("pipeline-64", "a", [judged]))[6:8] == ("–", "–")


# rows


def test_medians_and_spread():
    row = report.row("hello-64", "a", [window(6.0), window(10.0), window(8.0, p99_ms=5.0)])
    assert (row.cpu_us, row.spread, row.p99_ms, row.rounds) == (8.0, 0.5, 1.0, 3)


def test_one_void_window_voids_the_row():
    row = report.row("hello-64", "a", [window(6.0), Window(void="2 read errors", errors=2)])
    assert (row.void, row.errors, row.cpu_us) == ("2 read errors", 2, 0.0)


def test_ratio_is_to_the_floor_of_the_same_workload():
    rows = [
        report.row("hello-64", "floor", [window(4.0)]),
        report.row("hello-64", "a", [window(6.0)]),
        report.row("big-16", "a", [window(100.0)]),
    ]
    assert [row.ratio for row in report.with_ratios(rows)] == [1.0, 1.5, None]


def test_rows_over_tls_are_compared_with_nginx():
    rows = [
        report.row("tls-64", "nginx", [window(4.0)]),
        report.row("tls-64", "greenhttp", [window(5.0)]),
        report.row("hello-64", "greenhttp", [window(6.0)]),
    ]
    over_tls, plain = report.tables(report.with_ratios(rows))
    assert (over_tls.head[3], [line[3] for line in over_tls.lines]) == ("x nginx", ["1.00", "1.25"])
    assert (plain.head[3], [line[3] for line in plain.lines]) == ("x floor", ["–"])


def test_the_other_ratio_is_to_greenhttp():
    rows = [
        report.row("hello-64", "greenhttp", [window(4.0)]),
        report.row("hello-64", "a", [window(6.0)]),
        report.row("hello-64", "b", [Window(void="x")]),
    ]
    assert [row.ratio_ours for row in report.with_ratios(rows)] == [1.0, 1.5, None]


def test_rows_of_idle_connections_are_of_bytes_and_have_columns_of_their_own():
    ours = report.row(
        "idle-10000", "greenhttp", [Window(idle_bytes=each, rss_mb=43.0) for each in (600.0, 660.0, 630.0)]
    )
    other = report.row("idle-10000", "a", [Window(idle_bytes=12600.0, rss_mb=160.0)])
    void = report.row("idle-10000", "b", [Window(void="10 connections without a first answer", errors=10)])
    table = report.tables(report.with_ratios([ours, other, void]))[0]
    assert table.head == report.IDLE_HEAD
    assert report.tables([report.row("tls-idle", "a", [Window(void="x")])])[0].head == report.IDLE_HEAD
    assert table.lines[0] == ("greenhttp", "630", "10%", "1.00", "43", "0")
    assert table.lines[1] == ("a", "12,600", "0%", "20.00", "160", "0")
    assert table.lines[2] == ("b", "void: 10 connections without a first answer", "", "", "", "10")


def test_every_line_of_a_table_is_as_long_as_its_head():
    rows = [
        report.row(name, "a", [each])
        for name in ("hello-64", "idle-10000")
        for each in (window(6.0), Window(void="x"), Window(idle_bytes=3.0))
        if name.startswith("idle") == (each.idle_bytes is not None) or each.void
    ]
    for table in report.tables(rows):
        assert {len(line) for line in table.lines} == {len(table.head)}


def test_a_void_floor_gives_no_ratio():
    rows = [report.row("hello-64", "floor", [Window(void="x")]), report.row("hello-64", "a", [window(6.0)])]
    assert [row.ratio for row in report.with_ratios(rows)] == [None, None]


def test_a_void_row_shows_its_reason_and_no_figures():
    rows = [report.row("hello-64", "good", [window(6.0)]), report.row("hello-64", "bad", [Window(void="status 500")])]
    assert "bad     void: status 500" in report.as_text(rows)
    assert report.tables(rows)[0].lines[1][:3] == ("bad", "void: status 500", "")


def test_columns_align_figures_to_the_right():
    assert report.columns(("name", "ns"), [("a", "5.0"), ("bcdef", "10.0")]) == "\n".join(
        ["name     ns", "a       5.0", "bcdef  10.0"]
    )


# /proc


def test_stat_with_spaces_and_brackets_in_the_name():
    assert procfs.parse_stat(STAT) == (4200, "S")


def test_status_sizes_are_bytes():
    assert procfs.parse_status(STATUS) == {"VmHWM": 13524 * 1024, "VmRSS": 12000 * 1024}


def test_cpu_is_the_sum_over_processes_new_ones_included():
    assert procfs.cpu_ns({1: 100, 2: 50}, {1: 400, 2: 50, 3: 25}) == 325


def test_a_process_that_ended_inside_the_window_is_an_error():
    with pytest.raises(procfs.ProcessGone, match="process 2"):
        procfs.cpu_ns({1: 7, 2: 7}, {1: 9})


linux = pytest.mark.skipif(sys.platform != "linux", reason="clocks of other processes are Linux's")


@linux
def test_cpu_of_threads_that_have_ended_is_counted():
    def compute() -> None:
        began = time.thread_time_ns()
        while time.thread_time_ns() < began + 5_000_000:
            pass

    before = procfs.cpu([os.getpid()])
    thread = threading.Thread(target=compute)
    thread.start()
    thread.join()
    assert procfs.cpu_ns(before, procfs.cpu([os.getpid()])) >= 5_000_000


@linux
def test_a_process_that_is_gone_has_no_clock():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert procfs.cpu([process.pid]) == {}


# servers


def absent(package: str) -> Server:
    return Server("absent", lambda port, workload: [], lambda: f"pip install {package}")


def test_a_missing_server_is_one_line_that_says_what_to_install():
    assert servers.missing_line(absent("absent-server")) == "absent is not here, left out: pip install absent-server"
    assert servers.missing_line(Server("here", lambda port, workload: [], lambda: None)) is None


def test_a_missing_server_is_left_out_and_told_on_stderr(capsys):
    assert rounds.taking_part([absent("x")]) == []
    assert capsys.readouterr().err == "absent is not here, left out: pip install x\n"


def test_a_missing_module_is_found_missing_without_importing_anything():
    assert servers._needs("no_such_module_at_all", "a-package")() == "pip install a-package"
    assert servers._needs("json", "json")() is None


def test_a_missing_wrk_is_one_line_that_names_the_package(monkeypatch, capsys):
    monkeypatch.setattr(wrk.shutil, "which", lambda name: None)
    assert peers.main([]) == 2
    assert capsys.readouterr().err == "wrk is missing: install the Debian package `wrk` (apt-get install wrk)\n"


def test_an_unknown_workload_names_the_known_ones():
    with pytest.raises(SystemExit, match="no workload x; there are hello-64"):
        rounds.pick("x", list(BY_NAME.values()), "workload")


def test_what_a_server_cannot_do_names_existing_workloads():
    for server in servers.SERVERS:
        assert server.cannot.keys() <= BY_NAME.keys()


def test_a_void_server_is_not_asked_again_and_rounds_are_interleaved(monkeypatch):
    asked = []

    def measure(server: Server, workload: Workload, seconds: int) -> Window:
        asked.append(server.name)
        return Window(void="broken") if server.name == "b" else window(1.0)

    monkeypatch.setattr(peers, "measure", measure)
    chosen = [Server(name, lambda port, workload: [], lambda: None) for name in "abc"]
    windows = peers.run_rounds(HELLO, chosen, rounds=2, seconds=1, progress=Progress(6))
    assert asked == ["a", "b", "c", "a", "c"]
    assert {name: len(each) for name, each in windows.items()} == {"a": 2, "b": 1, "c": 2}


def test_every_server_is_told_its_port_and_a_wsgi_server_the_application(monkeypatch):
    monkeypatch.setattr(servers.build, "floor", lambda: "floor")
    monkeypatch.setattr(servers.build, "go_hello", lambda: "go")
    monkeypatch.setattr(servers.build, "certificate", lambda: servers.build.Pair("a certificate", "a key"))
    monkeypatch.setattr(servers.build, "nginx_configuration", lambda port: f"{port} a certificate a key")
    for server in servers.SERVERS:
        for workload in workloads.WORKLOADS:
            if workload.name not in server.cannot and server.takes(workload):
                command = server.command(12345, workload.name)
                assert any("12345" in part for part in command), server.name
                assert any("a certificate" in part for part in command) is workload.tls, server.name
                assert any("a key" in part for part in command) is workload.tls, server.name
                if server.name not in ("floor", "go", "greenhttp-native", "uvicorn", "nginx"):
                    assert workload.application in command, server.name
        assert server.command(12345, "")  # a scenario that is no workload


def test_servers_are_asked_what_they_speak():
    asked = {
        name: [each.name for each in servers.SERVERS if each.takes(BY_NAME[name])] for name in ("hello-64", "tls-64")
    }
    both = ["greenhttp", "greenhttp-native", "gunicorn-gevent", "granian", "go"]
    over_tls_alone = ["greenhttp-simple", "uvicorn", "nginx"]
    assert sorted(asked["tls-64"]) == sorted([*both, *over_tls_alone])
    assert set(asked["hello-64"]) == {each.name for each in servers.SERVERS} - {*over_tls_alone}


def test_a_workload_over_tls_needs_openssl_for_its_certificate_and_cc_for_full_handshakes(monkeypatch):
    monkeypatch.setattr(workloads.shutil, "which", lambda program: None if program == "cc" else program)
    assert BY_NAME["tls-64"].missing() is None
    assert BY_NAME["tls-new"].missing() == "tls-new is left out: install the Debian package `gcc`"
    monkeypatch.setattr(workloads.shutil, "which", lambda program: None)
    assert BY_NAME["tls-64"].missing() == "tls-64 is left out: install the Debian package `openssl`"
    assert HELLO.missing() is None


def test_new_connections_over_tls_are_left_out_where_wrk_resumes_sessions(monkeypatch, capsys):
    monkeypatch.setattr(workloads.shutil, "which", lambda program: program)
    monkeypatch.setattr(peers.wrk, "resumes", lambda script, fresh: True)
    assert peers._possible([HELLO, BY_NAME["tls-new"]]) == [HELLO]
    assert capsys.readouterr().err.startswith("tls-new is left out: wrk resumes sessions")


@linux
@needs("cc")
@needs("openssl")
@needs("wrk")
def test_wrk_resumes_sessions_unless_it_is_kept_from_it(monkeypatch, tmp_path):
    monkeypatch.setattr(wrk.build, "BUILD", tmp_path)
    wrk.build.certificate.cache_clear()
    try:
        assert wrk.resumes("close", fresh=False)
        assert not wrk.resumes("close", fresh=True)
    finally:
        wrk.build.certificate.cache_clear()


@pytest.mark.parametrize(
    ("name", "ordinary", "waiting"),
    [
        ("greenhttp", None, "11000"),
        ("gunicorn-gthread", "16", "10000"),
        ("uwsgi-gevent", "3000", "11000"),
        ("waitress", "4", "10000"),
        ("cheroot", "10", "10000"),
        ("granian", None, "10000"),
    ],
)
def test_waiting_handlers_get_the_concurrency_that_they_need(name, ordinary, waiting):
    command = servers.BY_NAME[name].command
    assert ordinary is None or ordinary in command(1, "hello-64")
    assert waiting in command(1, "wait-10000")
    assert waiting not in command(1, "hello-64")


def test_a_workload_whose_package_is_missing_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(workloads.importlib.util, "find_spec", lambda name: None)
    assert peers._possible([HELLO, BY_NAME["flask-64"]]) == [HELLO]
    assert capsys.readouterr().err == "flask-64 is left out: pip install flask\n"


def test_the_flask_page_is_what_is_checked_for():
    pytest.importorskip("flask")
    from perf.tools.flask_app import app

    answer = app.test_client().get("/table")
    assert (answer.status_code, answer.data) == (200, workloads.page())


def canned_run(monkeypatch):
    """All but the measuring: two servers, of which one is void."""
    monkeypatch.setattr(peers.wrk, "available", lambda: True)
    monkeypatch.setattr(
        peers, "measure", lambda server, *_: Window(void="broken") if server.name == "b" else window(7.0)
    )
    chosen = [Server(name, lambda port, workload: [], lambda: None, {"new-64": "cannot"}) for name in "ab"]
    monkeypatch.setattr(peers.servers, "SERVERS", chosen)


def test_a_run_is_kept_as_json_and_markdown(monkeypatch, tmp_path, capsys):
    canned_run(monkeypatch)
    assert peers.main(["--only", "hello-64,new-64", "--rounds", "2", "--out", str(tmp_path)]) == 0
    document = json.loads((tmp_path / "peers.json").read_text())
    assert [(row["server"], row["cpu_us"], row["void"]) for row in document["rows"]] == [
        ("a", 7.0, None),
        ("b", 0.0, "broken"),
    ]
    assert len(document["windows"]["hello-64"]["a"]) == 2
    assert document["notes"] == ["new-64: a not asked: cannot", "new-64: b not asked: cannot"]
    shown = next(line for line in (tmp_path / "peers.md").read_text().splitlines() if line.startswith("| b "))
    assert [cell.strip() for cell in shown.split("|")[1:4]] == ["b", "void: broken", ""]


def test_hello_is_the_same_under_a_name_of_its_own(monkeypatch, tmp_path, capsys):
    canned_run(monkeypatch)
    assert peers.hello(["--rounds", "1", "--out", str(tmp_path)]) == 0
    document = json.loads((tmp_path / "hello.json").read_text())
    assert list(document["windows"]) == ["hello-64", "hello-1000", "hello-10000"]


@pytest.mark.parametrize("out", ["-", "made"])
def test_nothing_is_written_where_none_is_wanted_or_the_run_was_interrupted(monkeypatch, tmp_path, capsys, out):
    canned_run(monkeypatch)
    monkeypatch.chdir(tmp_path)
    if out == "-":
        assert peers.main(["--only", "hello-64", "--rounds", "1", "--out", out]) == 0
    else:

        def interrupted(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(peers, "measure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            peers.main(["--only", "hello-64", "--rounds", "1", "--out", out])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# idle connections


def test_bytes_per_connection_are_of_all_that_were_wanted():
    assert idle.Held(10_000, before=30_000_000, after=36_300_000, unanswered=0, silent=0).each == 630.0


class Held:
    """A server whose connections answer, or do not, as told."""

    port = 1

    def __init__(self, monkeypatch, answers):
        self.opened, self.closed = 0, 0
        monkeypatch.setattr(idle.clients, "connect", self.connect)
        monkeypatch.setattr(idle.clients, "ask", answers)
        monkeypatch.setattr(idle.procfs, "rss", lambda pids: 1000)
        monkeypatch.setattr(idle.time, "sleep", lambda seconds: None)

    def pids(self):
        return []

    def connect(self, port, tls):
        self.opened += 1
        self.tls = tls
        return self

    def close(self):
        self.closed += 1


def test_every_idle_connection_is_asked_twice_and_closed(monkeypatch):
    asked = []
    server = Held(monkeypatch, lambda client: asked.append(client) or (200, b""))
    held = idle.hold(server, 50, lambda text: None)
    assert (held.unanswered, held.silent, held.each) == (0, 0, 0.0)
    assert (len(asked), server.opened, server.closed) == (200 + 2 * 50, 250, 250)


def test_idle_connections_are_over_tls_where_the_workload_is(monkeypatch):
    server = Held(monkeypatch, lambda client: (200, b""))
    idle.hold(server, 1, lambda text: None, tls=True)
    assert server.tls


def test_idle_connections_are_no_more_than_a_process_has_descriptors_for(monkeypatch):
    limits = iter([(1024, 4096), (20_000, 20_000), (idle.resource.RLIM_INFINITY,) * 2])
    monkeypatch.setattr(idle.resource, "getrlimit", lambda what: next(limits))
    assert [idle.affordable(10_000) for _ in range(3)] == [524, 10_000, 10_000]


def test_idle_connections_are_given_up_after_ten_without_an_answer(monkeypatch):
    answers = iter([(200, b"")] * 205 + [(503, b"")] * 100)
    server = Held(monkeypatch, lambda client: next(answers))
    held = idle.hold(server, 50, lambda text: None)
    assert (held.unanswered, held.silent, server.opened, server.closed) == (10, 0, 215, 215)


def test_idle_connections_that_take_too_long_to_open_are_counted_as_unanswered(monkeypatch):
    now = iter([0.0, 0.0, 1.0, idle.OPENING + 1.0])
    monkeypatch.setattr(idle.time, "monotonic", lambda: next(now))
    server = Held(monkeypatch, lambda client: (200, b""))
    assert idle.hold(server, 50, lambda text: None).unanswered == 48


# scenarios


def test_answers_are_found_in_pieces_and_in_a_row():
    answers, one = clients.Answers(), b"HTTP/1.1 200 OK\r\nCONTENT-LENGTH: 2\r\n\r\nok"
    assert answers.feed(one[:-1]) == []
    assert answers.feed(one[-1:] + one + one[:10]) == [(200, b"ok"), (200, b"ok")]
    assert answers.feed(one[10:]) == [(200, b"ok")]


def test_percentile_is_the_nearest_rank():
    values = [float(value) for value in range(1, 101)]
    assert [honest.percentile(values, percent) for percent in (50, 99, 100)] == [50.0, 99.0, 100.0]
    assert honest.percentile([7.0], 99) == 7.0
    assert honest.percentile([], 99) == float("inf")


def test_strace_table_with_and_without_errors():
    table = """% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.010000          10      1000           sendto
 30.00    0.005000           5      2000      1000 recvfrom
 10.00    0.001000           1        12           getpid
  0.00    0.000000           0         1         1 restart_syscall
------ ----------- ----------- --------- --------- ----------------
100.00    0.016000          16      3013      1001 total
"""
    counts = strace.parse_counts(table)
    assert counts == {"sendto": 1000, "recvfrom": 2000, "getpid": 12, "restart_syscall": 1}
    kinds, others = strace.by_kind(counts)
    assert kinds == {"receive": 2000, "send": 1000, "epoll_ctl": 0, "wait": 0, "other": 12}
    assert others == {"getpid": 12}


@pytest.mark.parametrize(
    ("made", "passed", "text"),
    [
        (figure.Figure("a", 49.9, "ms", below=50), True, "pass  a: 49.90 ms  (bound < 50)"),
        (figure.Figure("a", 50, "ms", below=50), False, "FAIL  a: 50 ms  (bound < 50)"),
        (figure.Figure("a", 16, at_most=16), True, "pass  a: 16  (bound <= 16)"),
        (figure.Figure("a", 12345.6, "KB"), None, "      a: 12,346 KB"),
        (figure.Figure("a", float("inf"), "ms", below=50), False, "FAIL  a: inf ms  (bound < 50)"),
    ],
)
def test_figures_and_their_bounds(made, passed, text):
    assert made.passed is passed
    assert str(made) == text


def test_fairness_counts_only_what_was_served_while_both_waited(monkeypatch):
    class Here:
        def pids(self):
            return []

    class Idle:
        def run(self, seconds):
            pass

        def pump(self):
            pass

    class Polite:
        def send(self, data):
            pass

    numbers = iter([118, 111])
    monkeypatch.setattr(fairness, "_count", lambda counter: 100)
    monkeypatch.setattr(fairness, "_number", lambda polite, greedy: next(numbers))
    assert fairness.trial(Here(), None, Idle(), [Polite(), Polite()]) == (10, 6)


# micro


def test_an_unknown_micro_benchmark_names_the_known_ones(capsys):
    assert micro.main(["nothing"]) == 2
    assert "hub_switch" in capsys.readouterr().err


def test_a_micro_benchmark_prints_its_labels(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "perf.micro.hub_switch", type(sys)("perf.micro.hub_switch"))
    sys.modules["perf.micro.hub_switch"].run = lambda: [("a thing", 12.34)]
    assert micro.main(["hub_switch"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["hub_switch:", "a", "thing", "12.3"]
