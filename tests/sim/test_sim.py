"""New worlds on every run, replay, and that what the worlds are made of works: the system, the judge, the shrinker."""

import ctypes
import errno
import shutil
import socket
import time
from pathlib import Path

import pytest

from tests.sim import native, prefaces, tls
from tests.sim.judge import LEFT, Answers, Frames, Wrong, content, judge
from tests.sim.plan import Plan
from tests.sim.report import Summary, in_jobs
from tests.sim.runner import Worlds
from tests.sim.shrink import script, shrunk

pytestmark = pytest.mark.skipif(not native.supported(), reason="worlds need Linux")

MINUTES = 0.8
POSTPONED = 0x8000  # MSG_MORE


# ---- worlds


def test_new_worlds_hold(capsys):
    summary = Summary(quiet=True)
    seed = int(time.time()) * 1000
    for verdict in in_jobs(1, seed, None, MINUTES, [], None):
        summary.add(verdict)
    with capsys.disabled():
        print(f"\n  worlds from seed {seed}: {summary.line().strip()}")
    assert not summary.failures, "".join(
        f"\n{kind}: python -m tests.sim --seed {failed[0]['seed']} --shrink\n{failed[0]['story'][:2000]}"
        for kind, failed in summary.failures.items()
    )


def test_a_world_is_the_same_alone_in_a_row_and_with_its_trace():
    seeds = (3, 14, 15)
    with Worlds() as worlds:
        in_a_row = [worlds.run(seed) for seed in seeds]
        again = worlds.run(seeds[0])
    for verdict in in_a_row:
        with Worlds() as worlds:
            alone = worlds.run(verdict["seed"], lines=10)
        assert len(alone.pop("trace")) == 10
        assert alone["digest"] == verdict["digest"] and alone["turns"] == verdict["turns"]
    assert again["digest"] == in_a_row[0]["digest"]
    assert len({verdict["digest"] for verdict in in_a_row}) == len(seeds)


@pytest.mark.parametrize("loop", ["libev", "libuv"])
def test_the_worlds_hold_on_the_loops_of_gevent_too(loop):
    seed = int(time.time()) * 1000
    with Worlds(loop=loop) as worlds:
        verdict = worlds.run(seed)
    assert verdict["failure"] is None, f"--real {loop} --seed {seed}: {verdict['failure']}\n{verdict['story']}"
    assert verdict["connections"]


def test_a_stop_that_cuts_tells_some_clients_so():
    """That they may be told is not enough: it happens, and the judge looks at it."""
    with Worlds() as worlds:
        for seed in range(1, 500):
            verdict = worlds.run(seed)
            assert verdict["failure"] is None, f"--seed {seed}: {verdict['failure']}"
            if verdict["cut"] and verdict["told"]:
                assert any(" cut: " in message for message in verdict["messages"])
                break
        else:
            raise AssertionError("no client was told in any world")


def test_a_changed_byte_is_found():
    with Worlds() as worlds:
        found = [worlds.run(seed, spoil=5000 * (1 + seed % 3))["failure"] for seed in range(8)]
    assert found.count(None) < 4  # it may be in an answer that nobody reads, or in a date


def test_a_world_without_its_adversities_has_the_same_clients():
    whole, part = Plan(5), Plan(5, [name for name in Plan(5).items() if not name.startswith("a")])
    assert whole.adversities and not part.adversities
    assert [row[0::2] for row in whole.clients] == [row[0::2] for row in part.clients]


def test_honest_clients_shake_hands_in_time():
    """A header that has come with its last piece may be followed by its own pause, and that by the hello's."""
    pieces = 60 * 0.005
    assert max(prefaces.LATE) + max(tls.LATE) + pieces < tls.TIMEOUT - 0.1


def test_the_least_that_fails_is_found():
    needed = {"c1", "a0"}

    def run(only):
        return {"failure": "it" if needed <= set(only) else "something else" if "c2" in only else None}

    names = shrunk(run, 5, "it")
    assert needed <= set(names) and len(names) < 6
    assert script(5, names).startswith("seed 5: ")


# ---- the system


@pytest.fixture
def system(tmp_path: Path):
    """A world of its own, not preloaded: its functions are called by name."""
    path = tmp_path / "world.so"
    shutil.copy(native.library(), path)
    c = ctypes.CDLL(str(path), use_errno=True)
    native.declare(c)
    for name in ("recv", "send"):
        getattr(c, name).restype = ctypes.c_ssize_t
    c.begin(1, 10**12, 0, 1, 1_000_000)
    c.listener = c.listen()
    return c


def connected(c, most=100, lazy=0):
    number = c.connect(socket.AF_INET, most, lazy)
    peer, size = ctypes.create_string_buffer(128), ctypes.c_int(128)
    fd = c.accept4(c.listener, peer, ctypes.byref(size), 0)
    return number, fd


def taken(c, number, most=1000):
    into = ctypes.create_string_buffer(most)
    n = c.client_take(number, into, most)
    return into.raw[:n] if n > 0 else n


def test_bytes_pass_in_order_both_ways_and_the_buffer_is_bounded(system):
    number, fd = connected(system)
    assert fd >= native.BASE
    assert system.client_send(number, b"hello", 5) == 0
    into = ctypes.create_string_buffer(10)
    assert system.recv(fd, into, 10, socket.MSG_PEEK) == 5
    assert system.recv(fd, into, 3, 0) == 3 and into.raw[:3] == b"hel"
    assert system.recv(fd, into, 10, 0) == 2 and into.raw[:2] == b"lo"
    assert system.recv(fd, into, 10, 0) == -1 and ctypes.get_errno() == errno.EAGAIN
    assert system.send(fd, b"x" * 150, 150, 0) == 100
    assert system.send(fd, b"y", 1, 0) == -1 and ctypes.get_errno() == errno.EAGAIN
    left = ctypes.c_int()
    assert system.ioctl(fd, 0x5411, ctypes.byref(left)) == 0 and left.value == 100  # SIOCOUTQ
    assert taken(system, number) == b"x" * 100 and taken(system, number) == 0


def test_an_end_and_a_reset_look_different(system):
    number, fd = connected(system)
    system.send(fd, b"bye", 3, 0)
    system.close(fd)
    assert taken(system, number) == b"bye" and taken(system, number) == native.END
    number, fd = connected(system)
    system.client_send(number, b"unread", 6)
    system.close(fd)
    assert taken(system, number) == native.RESET


def test_bytes_wait_for_more_and_leave_with_the_end(system):
    number, fd = connected(system)
    system.send(fd, b"last", 4, POSTPONED)
    assert taken(system, number) == 0 and system.next_cork() > 0
    system.close(fd)
    assert taken(system, number) == b"last"
    number, fd = connected(system)
    system.send(fd, b"late", 4, POSTPONED)
    system.advance(10**9)
    assert system.next_cork() == 0 and taken(system, number) == b"late"


def test_what_is_closed_is_found_when_it_is_used(system):
    _, fd = connected(system)
    system.watch(fd, native.READ)
    system.close(fd)
    system.close(fd)
    system.send(fd, b"x", 1, 0)
    system.watch(fd, native.READ)
    fds, events = (ctypes.c_int * 10)(), (ctypes.c_int * 10)()
    assert system.ready(fds, events, 10) == 0
    assert [system.finding(at) for at in range(4)] == [1, 1, 1, 1]
    assert connected(system)[1] == fd  # the number is used again


def test_the_clock_stands_still(system):
    first, second = (ctypes.c_int64 * 2)(), (ctypes.c_int64 * 2)()
    system.clock_gettime(time.CLOCK_MONOTONIC, first)
    system.clock_gettime(time.CLOCK_MONOTONIC, second)
    assert list(first) == list(second) == [1000, 0]
    system.advance(1_700_000)
    system.clock_gettime(6, second)  # CLOCK_MONOTONIC_COARSE
    assert list(second) == [1000, 1_000_000]


# ---- the judge


class Asked:
    """A request as the judge sees it."""

    def __init__(self, rid, size, method="GET"):
        self.rid, self.size, self.method, self.name = rid, size, method, f"r{rid}"
        self.runs, self.sent, self.may = 1, True, set()
        self.may_cut = self.may_close = self.may_end_early = self.mixed = False

    def story(self):
        return self.name


class Client:
    """A client whose connection has ended."""

    def __init__(self, asked, data, ended="eof", answers=Answers):
        self.name, self.manner, self.number, self.ended = "c0", "honest", 0, ended
        self.asked, self.may, self.may_cut, self.overtook = asked, set(), False, False
        self.answers = answers(asked)
        self.answers.feed(data)

    def cut_excuse(self):
        return False

    def may_end_before(self, at):
        return False


def answer(rid, body, fields=""):
    return f"HTTP/1.1 200 OK\r\nX-Id: {rid}\r\nContent-Length: {len(body)}\r\n{fields}\r\n".encode() + body


def chunked(rid, *pieces, last=b"0\r\n\r\n"):
    head = f"HTTP/1.1 200 OK\r\nX-Id: {rid}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + last


def test_right_answers_are_right():
    asked = [Asked(1, 100), Asked(2, 30), Asked(3, 9, "HEAD")]
    data = answer(1, content(1, 100)) + chunked(2, content(2, 30)[:10], content(2, 30)[10:])
    data += b"HTTP/1.1 200 OK\r\nX-Id: 3\r\nContent-Length: 9\r\n\r\n"
    judge(Client(asked, data))
    client = Client(asked, b"")
    for at in range(len(data)):  # however it is split
        client.answers.feed(data[at : at + 1])
    judge(client)


@pytest.mark.parametrize(
    "kind, asked, data",
    [
        ("a wrong byte", [Asked(1, 50)], answer(1, content(1, 49) + b"!")),
        ("a wrong byte", [Asked(1, 50)], answer(1, content(2, 50))),
        ("the answer of another request", [Asked(1, 5)], answer(2, content(2, 5))),
        ("an answer that looks whole and is not", [Asked(1, 50)], answer(1, content(1, 49))),
        ("an answer was cut", [Asked(1, 50)], answer(1, content(1, 50))[:-1]),
        ("an answer was cut", [Asked(1, 50)], chunked(1, content(1, 50), last=b"")),
        ("an answer that nobody asked for", [Asked(1, 5)], answer(1, content(1, 5)) * 2),
        ("no answer", [Asked(1, 5), Asked(2, 5)], answer(1, content(1, 5))),
        ("half an answer's head", [Asked(1, 5)], b"HTTP/1.1 200 O"),
        ("an unexpected 500", [Asked(1, 5)], b"HTTP/1.1 500 Error\r\nContent-Length: 1\r\n\r\nx"),
    ],
)
def test_wrong_answers_are_wrong(kind, asked, data):
    with pytest.raises(Wrong, match=f"^\\('{kind}|^\\(\"{kind}"):
        judge(Client(asked, data))


@pytest.mark.parametrize(
    "data",
    [
        chunked(1, content(1, 5)) + b"4\r\nevil\r\n",
        answer(1, content(1, 5)) + b"x" + answer(2, b""),
        answer(1, content(1, 5), "Connection: close\r\n") + answer(2, b""),
        chunked(1, content(1, 5), last=b"zz\r\n"),
    ],
)
def test_bytes_between_answers_are_wrong(data):
    with pytest.raises(Wrong):
        Client([Asked(1, 5), Asked(2, 0)], data)


def test_pieces_of_two_green_threads_are_whole_and_in_order():
    asked = Asked(1, 20)
    asked.mixed = True
    own, left = content(1, 20), content(1, 20, LEFT)
    judge(Client([asked], chunked(1, own[:10], left[:5], own[10:], left[5:])))
    with pytest.raises(Wrong):
        judge(Client([asked], chunked(1, own[:10], left[5:], own[10:])))


def test_frames_of_a_stream_handler():
    asked = [Asked(1, 20)]
    own, left = content(1, 20), content(1, 6, LEFT)
    judge(Client(asked, b"0 1 20\n" + own + b"2 1 6\n" + left + b"9 1 0\n", answers=Frames))
    with pytest.raises(Wrong):
        judge(Client(asked, b"0 1 20\n" + own[:19] + b"9 1 0\n9 1 0\n", answers=Frames))
