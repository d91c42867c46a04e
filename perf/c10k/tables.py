"""From the readings of a run to figures, tables and notes. Pure: no clock, no process."""

from dataclasses import asdict

from perf.c10k.paper import ASSUMPTIONS, EPHEMERAL_PORTS, Measured, Paper, extrapolate
from perf.tools.results import Table

MILLION = 1_000_000
RAISED = 250_000
"""Connections of a process whose limit has been raised, the other line of the extrapolation."""


def kernel_growth(run: dict) -> dict[str, int]:
    before, after = run["before"]["kernel"], run["after"]["kernel"]
    return {kind: after[kind] - before[kind] for kind in before}


def figures(run: dict) -> dict[str, float]:
    """What is said of a connection, in bytes; a pair is a connection with both ends."""
    before, after, held = run["before"], run["after"], max(1, run["held"])
    server = after["rss"] - before["rss"]
    clients = after["clients_rss"] - before["clients_rss"]
    return {
        "process_bytes": before["rss"] / run["workers"],
        "connection_bytes": server / held,
        "pair_bytes": sum(kernel_growth(run).values()) / held,
        "pair_buffer_bytes": (after["buffers"] - before["buffers"]) / held,
        # The same from the other side: what is no longer available, less what the processes have taken.
        "pair_bytes_by_available": (before["available"] - after["available"] - server - clients) / held,
        "per_second": run["per_second"],
        "cpu_us": run["cpu_us"],
    }


def measured(run: dict) -> Measured:
    found = figures(run)
    return Measured(**{name: found[name] for name in Measured.__dataclass_fields__})


def _papers(run: dict) -> list[Paper]:
    per_process = run["wanted"] // run["workers"]
    return [extrapolate(measured(run), MILLION, most) for most in dict.fromkeys((per_process, RAISED))]


def paper(run: dict) -> list[dict]:
    return [asdict(each) for each in _papers(run)]


def faults(run: dict) -> list[str]:
    """What must not be: connections that failed, were not held, or did not close."""
    found = []
    if missing := run["wanted"] - run["opened"]["answered"]:
        reasons = ", ".join(sorted(set(run["opened"]["faults"])))
        found.append(f"{missing:,} connections without a first answer: {reasons or 'no reason told'}")
    if (held := run["held"]) < run["wanted"]:
        found.append(f"{held:,} of {run['wanted']:,} connections held")
    if reasons := run["asked"]["faults"]:
        found.append(f"{len(reasons)} held connections without a second answer: {', '.join(sorted(set(reasons)))}")
    for when, each in run["honest"].items():
        if each["failures"]:
            found.append(f"{each['failures']} requests of honest clients failed, {when}")
    if run["left"] > 0:
        found.append(f"{run['left']:,} descriptors of the servers were not closed")
    return found


def _connections(run: dict) -> Table:
    found = figures(run)
    lines = [
        ("connections held", f"{run['held']:,} of {run['wanted']:,}"),
        ("server processes, client processes", f"{run['workers']}, {run['workers']}"),
        ("seconds to open them, a request each", f"{run['seconds']:.1f}"),
        ("connections opened per second", f"{found['per_second']:,.0f}"),
        ("servers' CPU µs to open one, its request included", f"{found['cpu_us']:.1f}"),
        ("held ones asked again", f"{run['asked']['answered']:,}"),
        ("descriptors left open by the servers at the end", f"{max(0, run['left']):,}"),
    ]
    return Table("Connections", ("", "measured"), lines)


def _memory(run: dict) -> Table:
    found, held = figures(run), max(1, run["held"])
    lines = [
        ("server processes (RSS)", f"{found['connection_bytes']:,.0f}"),
        ("kernel, both ends", f"{found['pair_bytes']:,.0f}"),
        *((f"  of it {kind}", f"{grown / held:,.0f}") for kind, grown in kernel_growth(run).items()),
        ("kernel, half of it: a server's own", f"{found['pair_bytes'] / 2:,.0f}"),
        ("kernel, both ends, by MemAvailable", f"{found['pair_bytes_by_available']:,.0f}"),
        ("socket buffers in use, both ends", f"{found['pair_buffer_bytes']:,.0f}"),
    ]
    return Table("Memory per connection", ("", "bytes"), lines)


def _latency(run: dict) -> Table:
    names = ("p50", "p99", "max")
    rows = {f"honest clients, {when}": each for when, each in run["honest"].items()}
    rows = {title: (each["answered"], each["failures"], each) for title, each in rows.items()}
    for title, key in (("connect and first answer", "opened"), ("held ones asked again", "asked")):
        rows[title] = (run[key]["answered"], len(run[key]["faults"]), run[key])
    lines = [
        (title, f"{answered:,}", str(failed), *(f"{each[name]:.2f}" for name in names))
        for title, (answered, failed, each) in rows.items()
    ]
    return Table("Latency in ms", ("", "answers", "failed", *names), lines)


def _on_paper(run: dict) -> Table:
    papers = _papers(run)
    rows = {
        "connections per process": [f"{each.per_process:,}" for each in papers],
        "server processes": [f"{each.processes:,}" for each in papers],
        "memory of the servers, GB": [f"{each.server_bytes / 1e9:.2f}" for each in papers],
        "kernel memory of the server's machine, GB": [f"{each.kernel_bytes / 1e9:.2f}" for each in papers],
        "both, GB": [f"{(each.server_bytes + each.kernel_bytes) / 1e9:.2f}" for each in papers],
        "seconds to open them": [f"{each.seconds:,.0f}" for each in papers],
        "servers' CPU seconds to open them": [f"{each.cpu_seconds:,.0f}" for each in papers],
        "client addresses, with one listening port": [f"{each.addresses:,}" for each in papers],
    }
    head = ("", "limit as it is", "limit raised")[: len(papers) + 1]
    return Table(f"{MILLION:,} connections, on paper", head, [(title, *cells) for title, cells in rows.items()])


def all_of(run: dict) -> list[Table]:
    return [_connections(run), _memory(run), _latency(run), _on_paper(run)]


def notes(run: dict) -> list[str]:
    return [
        "all servers share one core, all clients another; honest clients are a process of their own, 20 requests a "
        "second on 4 kept connections for each server, spread over all servers",
        "latencies of the connections that are held: those of the worst client process, one request at a time in each",
        "MemAvailable counts a part of the slab as available, the reclaimable one, where the inodes of sockets are: it "
        "is a check of the order, not of the figure",
        *(f"assumed on paper: {each}" for each in ASSUMPTIONS),
        f"assumed on paper: a client address has {EPHEMERAL_PORTS:,} ephemeral ports",
    ]
