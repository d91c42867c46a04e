"""`perf profile`: reading what perf, strace, callgrind and addr2line write, on samples of it; whose code is whose."""

import os
from collections import Counter

import pytest

from perf import profile
from perf.profile import calls, counters, instructions, lines, samples, symbols, tool
from perf.reach.figure import Unable
from perf.tools import servers, wrk
from perf.tools.workloads import BY_NAME

STAT = """# started on Tue Nov 24 15:06:17 2026

500.00,msec,task-clock,500000000,100.00,0.412,CPUs utilized
9456,,context-switches,529521367,100.00,17.858,K/sec
<not supported>,,cycles:u,0,100.00,,
<not counted>,,branches,0,0.00,,
"""
KERNEL, PYTHON, LIBC = "[kernel.kallsyms]", "/usr/lib/libpython3.11.so.1.0", "/usr/lib/x86_64-linux-gnu/libc.so.6"
HEAD = "/work/greenhttp/greenhttp/wire/head.cpython-311-x86_64-linux-gnu.so"
RESET = "__pyx_f_9greenhttp_4wire_4head_4Head_reset"
SCRIPT = f"""    250000 cpu-clock:ppp:      7f739b9aee35 _PyObject_Free+0x1a ({PYTHON})
    250000 cpu-clock:ppp:  ffffffff820950ff tcp_v4_rcv+0xff ({KERNEL})
    500000 cpu-clock:ppp:      7f7399c69e55 {RESET} ({HEAD})
    250000 cpu-clock:ppp:      7f7399c69e60 {RESET}+0xb ({HEAD})
         1 cycles:      7f7399c69e60 std::pair<int, int>::get(void*)+0x2 (/lib/a.so)
         1 cycles:                 0 [unknown] ([unknown])
"""
CALLGRIND = """# callgrind format
positions: line
events: Ir
summary: 1160

ob=(1) /usr/lib/libpython3.11.so.1.0
fl=(1) ceval.c
fn=(7) _PyEval_EvalFrameDefault'2
5 100
cob=(2) /x/greenhttp/wire/head.so
cfi=(2) head.c
cfn=(8) parse
calls=10 5
6 1000
+3 20

ob=(2)
fl=(2)
fn=(8)
0 700
fi=(1)
-2 5
* 5
cob=(1)
cfn=(7)
calls=1 0
* 30

ob=(1)
fn=(7)
0 30
fn=(9) free
0 300

totals: 1160
"""
C = """static int __pyx_f_parse(void) {

  /* "greenhttp/wire/head.pyx":12
 *     x = 1
 *     y = 2             # <<<<<<<<<<<<<<
 */
  y = 2;
  z = __Pyx_Add(y);
}
static int __Pyx_Add(int y) {
  return y + 1;
}
"""


def test_perf_stat_and_what_the_machine_does_not_support():
    counts = counters.parse(STAT)
    assert counts == {"task-clock": 500.0, "context-switches": 9456.0, "cycles": None, "branches": None}
    assert counters.table(counts, 1000).lines == [
        ("task-clock, µs", "500.000", "500,000"),
        ("context-switches", "9.456", "9,456"),
        ("cycles", "not supported", ""),
        ("branches", "not supported", ""),
    ]


def test_instructions_per_cycle_where_both_are_counted():
    table = counters.table({"cycles": 1000.0, "instructions": 2500.0}, 10)
    assert table.lines[-1] == ("instructions per cycle", "2.50", "")


def test_samples_of_perf_script():
    found = list(samples.parse(SCRIPT))
    assert len(found) == 6
    assert found[0] == samples.Sample(250000, "cpu-clock", PYTHON, "_PyObject_Free", 0x1A)
    assert (found[2].offset, found[3].offset) == (0, 0xB)
    assert found[4].symbol == "std::pair<int, int>::get(void*)"
    assert samples.by_symbol(found[:4])[HEAD, RESET] == 750000


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        (KERNEL, "kernel"),
        ("[nf_conntrack]", "kernel"),
        ("[vdso]", "libc"),
        (LIBC, "libc"),
        ("/lib64/ld-linux-x86-64.so.2", "libc"),
        (PYTHON, "CPython"),
        ("/usr/bin/python3.12", "CPython"),
        ("/usr/lib/python3.11/lib-dynload/_socket.cpython-311-x86_64-linux-gnu.so", "CPython"),
        (HEAD, "greenhttp"),
        ("/home/greenhttp/.venv/lib/python3.11/site-packages/gevent/libev/corecext.so", "gevent, greenlet"),
        ("/home/greenhttp/.venv/lib/python3.11/site-packages/greenlet/_greenlet.so", "gevent, greenlet"),
        ("/usr/lib/libz.so.1", "other"),
        ("[unknown]", "other"),
        ("???", "other"),
    ],
)
def test_whose_code_it_is(path, owner):
    assert symbols.group(path) == owner


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        (RESET, "greenhttp.wire.head.Head.reset"),
        (
            "__pyx_pw_9greenhttp_4http_10connection_10Connection_3advance",
            "greenhttp.http.connection.Connection.advance",
        ),
        ("__pyx_f_9greenhttp_4wire_4head_field_line", "greenhttp.wire.head.field_line"),
        ("__Pyx_PyObject_Call", "__Pyx_PyObject_Call"),
        ("pthread_mutex_lock@@GLIBC_2.2.5", "pthread_mutex_lock"),
        ("tcp_ack", "tcp_ack"),
    ],
)
def test_cythons_names_as_they_stand_in_the_source(symbol, name):
    assert symbols.readable(symbol) == name


def test_costs_by_group_and_by_function_largest_first():
    costs = {(KERNEL, "a"): 60, (LIBC, "b"): 25, (KERNEL, "c"): 15}
    groups, functions = symbols.tables(costs, "µs", 10.0, "Samples")
    assert groups.lines == [("kernel", "75.0%", "7.50"), ("libc", "25.0%", "2.50")]
    assert functions.lines[1] == ("b", "libc", "25.0%", "2.50")
    assert symbols.tables(costs, "µs", None, "Samples")[0].head == ("", "share")
    assert symbols.tables({}, "µs", None, "Samples") == []


def test_system_calls_per_request_by_kind_and_by_name():
    table = calls.table({"recvfrom": 100, "sendto": 100, "getpid": 25}, 100)
    assert ("receive", "1.000", "100") in table.lines
    assert ("other", "0.250", "25") in table.lines
    assert table.lines[-1] == ("  getpid", "0.250", "25")


def test_callgrind_counts_a_function_itself_and_not_its_calls():
    python, head = "/usr/lib/libpython3.11.so.1.0", "/x/greenhttp/wire/head.so"
    assert instructions.parse(CALLGRIND) == {
        (python, "_PyEval_EvalFrameDefault"): 150,
        (head, "parse"): 710,
        (python, "free"): 300,
    }


def test_fields_are_asked_in_one_order_whatever_wrk_makes_of_it():
    asked = b"POST /echo HTTP/1.1\r\nHost: a\r\nAccept: x\r\nB: 1\r\n\r\nbody\r\nb\r\na"
    assert instructions.ordered(b"POST /echo HTTP/1.1\r\nB: 1\r\nHost: a\r\nAccept: x\r\n\r\nbody\r\nb\r\na") == asked
    pipelined = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 16
    assert instructions.ordered(pipelined) == pipelined


def test_lines_of_c_and_the_source_that_they_were_made_from():
    found = lines.marks(C)
    assert found[7] == found[8] == ("greenhttp/wire/head.pyx", 12)
    assert 1 not in found
    assert not found.keys() & {9, 10, 11}


def test_what_was_inlined_counts_for_the_line_that_calls_it():
    told = "0x00000010\n/x/head.c:11 (discriminator 2)\n/x/head.c:8\n0x00000020\n??:0\n"
    places = dict(zip((16, 32), lines.frames(told), strict=True))
    assert places == {16: [11, 8], 32: [0]}
    weights = Counter({16: 5, 32: 2, -1: 1})
    found = lines.weigh(weights, places, lines.marks(C))
    assert found == {("greenhttp/wire/head.pyx", 12): 5, None: 3}


def test_lines_are_shown_with_their_share_and_text():
    lines_of = {("greenhttp/wire/head.pyx", 2): 3, None: 1}
    table = lines.table("greenhttp.wire.head", Counter(lines_of), 16, {"greenhttp/wire/head.pyx": ["a", "  y = 2"]})
    assert table.lines[0] == ("y = 2", "wire/head.pyx:2", "75.0%", "18.75%")
    assert "25.0% of the samples" in table.title


def test_a_module_that_is_not_compiled_is_told():
    with pytest.raises(Unable, match="no compiled module greenhttp.server"):
        lines.build("greenhttp.server")


# the command


def test_an_unknown_workload_names_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        profile.main(["x"])
    assert "no workload x; there are hello-64" in capsys.readouterr().err


def test_what_a_server_is_not_asked_is_told(capsys):
    with pytest.raises(SystemExit):
        profile.main(["wait-2000", "--server", "bjoern"])
    assert "runs one handler at a time" in capsys.readouterr().err


def test_missing_tools_are_a_line_each_and_skipped(monkeypatch, capsys):
    monkeypatch.setattr(servers, "missing_line", lambda server: None)
    monkeypatch.setattr(wrk, "available", lambda: True)
    for module in (tool, instructions, profile.strace):
        monkeypatch.setattr(module, "available", lambda: False)
    assert profile.main(["hello-64"]) == 0
    assert profile.main(["hello-64", "--callgrind"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "perf is missing: install the Debian package `linux-perf`; left out",
        "strace is missing: install the Debian package `strace`; left out",
        "valgrind is missing: install the Debian package `valgrind`; left out",
    ]


def test_a_step_that_cannot_be_measured_is_a_line_and_fails(capsys):
    def step():
        raise Unable("perf: no permission")

    steps = profile.Steps()
    steps.do("perf stat", None, step)
    assert steps.failed
    assert capsys.readouterr().err == "perf stat: not measured: perf: no permission\n"


@pytest.mark.skipif(not wrk.available() or os.cpu_count() < 2, reason="needs wrk and a core for it")
def test_what_wrk_writes_at_once_is_what_its_script_says():
    assert wrk.first_write("/", "browser").count(b"\r\n") == 1 + 14 + 1
    assert wrk.first_write("/", "pipeline").count(b"GET / HTTP/1.1\r\n") == BY_NAME["pipeline-64"].pipeline
    assert wrk.first_write("/echo", "post").endswith(b"\r\n\r\n" + b"x" * 1024)


@pytest.mark.skipif(not tool.available() or os.cpu_count() < 2, reason="needs perf and a core for it")
def test_a_process_that_is_not_there_cannot_be_counted():
    with pytest.raises(Unable, match="perf: "), tool.Perf("stat", [4194304 - 1], "-x,", "-e", "task-clock"):
        pytest.fail("perf was attached to nothing")
