"""The harness's own logic, on canned text: no server, no clock, no load."""

import sys

import pytest

from perf import clients, hello, honest, micro, procfs, report, servers, strace, wrk
from perf.progress import Progress
from perf.reach import fairness, figure
from perf.servers import Server
from perf.window import Window, judge
from perf.workloads import BY_NAME, Workload

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
    return wrk.Load(**(figures | {"requests": 1000, "duration_us": 1_000_000, "p99_us": 2500} | changes))


def window(cpu_us: float, **changes) -> Window:
    return Window(**({"cpu_us": cpu_us, "per_second": 100.0, "p99_ms": 1.0, "rss_mb": 20.0, "requests": 10} | changes))


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
    assert judged == Window(cpu_us=6.35, per_second=1000.0, p99_ms=2.5, rss_mb=20.0, requests=1000)


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
    assert judged.p99_ms == 0.0
    assert report.cells(report.row("pipeline-64", "a", [judged]))[5] == "–"


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


def test_a_void_floor_gives_no_ratio():
    rows = [report.row("hello-64", "floor", [Window(void="x")]), report.row("hello-64", "a", [window(6.0)])]
    assert [row.ratio for row in report.with_ratios(rows)] == [None, None]


def test_a_void_row_shows_its_reason_and_no_figures():
    rows = [report.row("hello-64", "good", [window(6.0)]), report.row("hello-64", "bad", [Window(void="status 500")])]
    text = report.as_text(rows, ["a note"])
    assert "bad     void: status 500" in text
    assert "a note" in text
    assert "| bad | void: status 500 |" in report.as_markdown(rows, [], {"linux": "6"})


def test_columns_align_figures_to_the_right():
    assert report.columns(("name", "ns"), [("a", "5.0"), ("bcdef", "10.0")]) == "\n".join(
        ["name     ns", "a       5.0", "bcdef  10.0"]
    )


# /proc


def test_stat_with_spaces_and_brackets_in_the_name():
    assert procfs.parse_stat(STAT) == (4200, 200, "S")


def test_schedstat_is_nanoseconds_on_the_cpu():
    assert procfs.parse_schedstat("791333939 455145 51\n") == 791333939


def test_status_sizes_are_bytes():
    assert procfs.parse_status(STATUS) == {"VmHWM": 13524 * 1024, "VmRSS": 12000 * 1024}


def test_cpu_is_the_sum_over_threads_new_ones_included():
    before = procfs.Cpu({(1, 1): 100, (1, 2): 50}, {1: 7})
    after = procfs.Cpu({(1, 1): 400, (1, 2): 50, (1, 3): 25}, {1: 7})
    assert procfs.cpu_ns(before, after) == 325


def test_cpu_falls_back_to_ticks_when_a_thread_has_ended():
    before = procfs.Cpu({(1, 1): 100, (1, 2): 50}, {1: 7})
    assert procfs.cpu_ns(before, procfs.Cpu({(1, 1): 400}, {1: 10})) == 3 * procfs.TICK_NS


def test_cpu_falls_back_to_ticks_without_schedstat():
    assert procfs.cpu_ns(procfs.Cpu({}, {1: 7}), procfs.Cpu({}, {1: 9, 2: 1})) == 3 * procfs.TICK_NS


def test_a_process_that_ended_inside_the_window_is_an_error():
    with pytest.raises(procfs.ProcessGone, match="process 2"):
        procfs.cpu_ns(procfs.Cpu({}, {1: 7, 2: 7}), procfs.Cpu({}, {1: 9}))


# servers


def absent(package: str) -> Server:
    return Server("absent", lambda port, workload: [], lambda: f"pip install {package}")


def test_a_missing_server_is_one_line_that_says_what_to_install():
    assert servers.missing_line(absent("absent-server")) == "absent is not here, left out: pip install absent-server"
    assert servers.missing_line(Server("here", lambda port, workload: [], lambda: None)) is None


def test_a_missing_server_is_left_out_and_told_on_stderr(capsys):
    assert hello._present([absent("x")]) == []
    assert capsys.readouterr().err == "absent is not here, left out: pip install x\n"


def test_a_missing_module_is_found_missing_without_importing_anything():
    assert servers._needs("no_such_module_at_all", "a-package")() == "pip install a-package"
    assert servers._needs("json", "json")() is None


def test_a_missing_wrk_is_one_line_that_names_the_package(monkeypatch, capsys):
    monkeypatch.setattr(wrk.shutil, "which", lambda name: None)
    assert hello.main([]) == 2
    assert capsys.readouterr().err == "wrk is missing: install the Debian package `wrk` (apt-get install wrk)\n"


def test_an_unknown_workload_names_the_known_ones():
    with pytest.raises(SystemExit, match="no workload x; there are hello-64"):
        hello._pick("x", list(BY_NAME.values()), "workload")


def test_what_a_server_cannot_do_names_existing_workloads():
    for server in servers.SERVERS:
        assert server.cannot.keys() <= BY_NAME.keys()


def test_a_void_server_is_not_asked_again_and_rounds_are_interleaved(monkeypatch):
    asked = []

    def measure(server: Server, workload: Workload, seconds: int) -> Window:
        asked.append(server.name)
        return Window(void="broken") if server.name == "b" else window(1.0)

    monkeypatch.setattr(hello, "measure", measure)
    chosen = [Server(name, lambda port, workload: [], lambda: None) for name in "abc"]
    windows = hello.run_rounds(HELLO, chosen, rounds=2, seconds=1, progress=Progress(6))
    assert asked == ["a", "b", "c", "a", "c"]
    assert {name: len(each) for name, each in windows.items()} == {"a": 2, "b": 1, "c": 2}


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
