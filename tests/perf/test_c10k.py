"""`perf c10k`: what it reads from /proc, its arithmetic, and one small run of real processes."""

import json
import shutil
import sys

import pytest

from perf import c10k
from perf.c10k import paper, tables
from perf.tools import holder, procfs

REAL = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("taskset"), reason="needs /proc, taskset and all of 127.0.0.0/8"
)
MEMINFO = """MemTotal:       24683656 kB
MemAvailable:   24152708 kB
Slab:             184596 kB
KernelStack:        1604 kB
HugePages_Total:       0
"""
SOCKSTAT = """sockets: used 12
TCP: inuse 114014 orphan 2 tw 151 alloc 114020 mem 136
UDP: inuse 3 mem 1
"""


def reading(**changes) -> dict:
    kernel = {"Slab": 200_000_000, "KernelStack": 1_000_000}
    figures = {"rss": 60_000_000, "clients_rss": 40_000_000, "kernel": kernel, "available": 10**10, "buffers": 8192}
    return figures | changes


def latencies(answered: int, failures: int = 0, faults: tuple = ()) -> dict:
    return {"answered": answered, "failures": failures, "faults": list(faults), "p50": 0.1, "p99": 2.0, "max": 3.5}


def run(**changes) -> dict:
    kernel = {"Slab": 209_000_000, "KernelStack": 1_000_000}
    after = reading(rss=60_700_000, clients_rss=42_000_000, kernel=kernel, available=10**10 - 10_700_000, buffers=12288)
    return {
        "workers": 2,
        "wanted": 1000,
        "opened": latencies(1000),
        "held": 1000,
        "left": 0,
        "seconds": 0.5,
        "per_second": 2000.0,
        "cpu_us": 80.0,
        "before": reading(),
        "after": after,
        "honest": {"alone": latencies(100), "while opening": latencies(10), "while held": latencies(100)},
        "asked": latencies(500),
    } | changes


# /proc


def test_meminfo_is_bytes_and_counts_of_pages_are_left_out():
    sizes = procfs.parse_status(MEMINFO)
    assert sizes["Slab"] == 184596 * 1024
    assert "HugePages_Total" not in sizes


def test_sockstat_is_that_of_tcp():
    found = procfs.parse_sockstat(SOCKSTAT)
    assert found == {"inuse": 114014, "orphan": 2, "tw": 151, "alloc": 114020, "mem": 136}


# arithmetic


def test_growth_is_divided_by_the_connections_held():
    found = tables.figures(run())
    assert found["process_bytes"] == 30_000_000
    assert found["connection_bytes"] == 700
    assert found["pair_bytes"] == 9000
    assert found["pair_bytes_by_available"] == 8000
    assert found["pair_buffer_bytes"] == 4.096


def test_a_million_on_paper():
    measured = paper.Measured(process_bytes=30e6, connection_bytes=700, pair_bytes=9000, per_second=5000, cpu_us=80)
    found = paper.extrapolate(measured, 1_000_000, 19_000)
    assert (found.processes, found.addresses) == (53, 36)
    assert found.server_bytes == 53 * 30e6 + 700e6
    assert found.kernel_bytes == 4.5e9
    assert (found.seconds, found.cpu_seconds) == (200, 80)


def test_one_more_than_fits_takes_another_process():
    measured = tables.measured(run())
    assert [paper.extrapolate(measured, many, 10).processes for many in (10, 11)] == [1, 2]


def test_a_clean_run_has_no_faults():
    assert tables.faults(run()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"opened": latencies(990, faults=["timed out"])}, "10 connections without a first answer: timed out"),
        ({"held": 999}, "999 of 1,000 connections held"),
        ({"asked": latencies(499, faults=["closed"])}, "1 held connections without a second answer: closed"),
        ({"honest": {"alone": latencies(9, failures=2)}}, "2 requests of honest clients failed, alone"),
        ({"left": 3}, "3 descriptors of the servers were not closed"),
    ],
)
def test_each_kind_of_fault_is_told(changes, said):
    assert tables.faults(run(**changes)) == [said]


def test_tables_have_a_cell_for_each_column():
    for table in tables.all_of(run()):
        assert {len(line) for line in table.lines} == {len(table.head)}


def test_a_run_that_fills_memory_or_the_table_of_files_is_refused():
    assert c10k.too_much(3, 19_000, 20 * 10**9, 1_000_000) is None
    assert "more than half of the 2.0 GB" in c10k.too_much(3, 19_000, 2 * 10**9, 1_000_000)
    assert "fs.file-max leaves 100,000" in c10k.too_much(3, 19_000, 20 * 10**9, 100_000)


def test_no_two_holders_come_from_one_address():
    addresses = [holder.source(number, at) for number in range(6) for at in range(0, 19_000, holder.PER_SOURCE)]
    assert addresses[:5] == ["127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.1.4", "127.0.2.1"]
    assert len(set(addresses)) == len(addresses)


@pytest.mark.parametrize("asked", [["--connections", "19001"], ["--connections", "0"], ["--workers", "0"]])
def test_more_connections_than_descriptors_and_none_are_refused(asked, monkeypatch, capsys):
    monkeypatch.setattr(c10k, "raise_limit", lambda wanted: 20_000)
    with pytest.raises(SystemExit):
        c10k.main(asked)
    assert "1 to 19,000 connections each: RLIMIT_NOFILE is 20,000" in capsys.readouterr().err


# real processes


@REAL
def test_a_client_process_that_ends_is_told():
    with holder.Holder(0, 1, 1) as one:
        list(holder.answers([one], 30))
        one.process.kill()
        with pytest.raises(holder.Fault, match="client process 1 ended with status -9"):
            list(holder.answers([one], 30))


@REAL
def test_a_port_where_nobody_listens_is_a_fault_and_not_a_latency():
    with holder.Holder(0, 1, 1) as one:
        list(holder.answers([one], 30))
        one.tell("open")
        (found,) = holder.answers([one], 30)
    assert found["answered"] == 0
    assert "refused" in found["faults"][0]
    assert "p50" not in found


@REAL
def test_two_processes_hold_fifty_connections_each(tmp_path, capsys):
    """All opened, all held, a sample asked again, nothing left; figures of memory and time are not judged."""
    asked = ["--workers", "2", "--connections", "50", "--seconds", "1", "--results", str(tmp_path)]
    assert c10k.main(asked) == 0, capsys.readouterr()
    told = json.loads((tmp_path / "c10k.json").read_text())["run"]
    assert (told["wanted"], told["opened"]["answered"], told["held"], told["left"]) == (100, 100, 100, 0)
    assert told["asked"]["answered"] == 100
    assert [each["failures"] for each in told["honest"].values()] == [0, 0, 0]
    assert told["honest"]["alone"]["answered"] > 0
    assert "connections held" in (tmp_path / "c10k.md").read_text()
