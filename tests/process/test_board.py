"""process/board.pyx: what one process writes another reads, whatever state the first is in; and who has how many."""

import errno
import gc
import mmap
import os
import signal
import socket
import tempfile

import gevent
import gevent.event
import gevent.socket
import pytest

from greenhttp.process.board import Board, Loads, now
from greenhttp.server import Server
from tests.green.green import until


@pytest.fixture
def board():
    one = Board(8)
    yield one
    one.close()


def test_a_board_that_cannot_be_keeps_no_descriptor(monkeypatch):
    """Its memory takes one descriptor, and a second one to be seen."""
    made = []

    def none_left(fd, size):
        made.append(fd)
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr("mmap.mmap", none_left)
    with pytest.raises(OSError, match="too many"):
        Board(8)
    with pytest.raises(OSError) as error:
        os.fstat(made[0])
    assert error.value.errno == errno.EBADF


class Child:
    """`body(say)` in a forked process, which lives until it is killed; `heard()` waits for what it says."""

    def __init__(self, body) -> None:
        self.pipe, theirs = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                body(lambda text: os.write(theirs, text.encode()))
                while True:
                    signal.pause()
            finally:
                os._exit(1)
        os.close(theirs)

    def heard(self) -> str:
        return os.read(self.pipe, 65536).decode()

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.pipe)


# ---- the head


def test_a_new_board_says_that_nothing_has_begun(board):
    assert board.last_beat == 0.0
    assert board.counts() == (0, 0, 0)
    assert board.spoken is False
    assert board.listed() == []
    assert board.entries == 8


def test_a_beat_is_a_time_on_the_clock_of_now_and_counts(board):
    before = now()
    board.beat(3, 2, 1)
    first = board.last_beat
    assert before <= first <= now()
    assert board.counts() == (3, 2, 1)
    board.beat((1 << 32) - 1, 0, (1 << 64) - 1)
    assert board.last_beat >= first
    assert board.counts() == ((1 << 32) - 1, 0, (1 << 64) - 1)


def test_having_spoken_is_for_this_silence(board):
    board.speak()
    assert board.spoken is True
    board.beat(0, 0, 0)
    assert board.spoken is False


# ---- descriptors


def test_a_second_board_of_the_same_memory_sees_the_same(board):
    other = Board(8, board.fd)
    board.beat(1, 2, 3)
    board.speak()
    assert other.fd == board.fd
    assert (other.counts(), other.last_beat, other.spoken) == ((1, 2, 3), board.last_beat, True)


def test_boards_of_their_own_have_memory_of_their_own(board):
    other = Board(8)
    other.beat(1, 2, 3)
    assert board.counts() == (0, 0, 0)
    other.close()


def test_the_descriptor_is_not_inherited_by_other_programs(board):
    assert not os.get_inheritable(board.fd)


def test_closing_gives_the_descriptor_back_once_and_leaves_the_memory(board):
    one = Board(8)
    fd = one.fd
    one.beat(1, 2, 3)
    one.close()
    assert one.fd == -1
    with pytest.raises(OSError):
        os.fstat(fd)
    one.close()
    one.beat(4, 5, 6)
    assert one.counts() == (4, 5, 6)


def test_ten_thousand_boards_leave_no_descriptor():
    def free() -> int:
        fd = os.dup(0)
        os.close(fd)
        return fd

    gc.collect()
    before = free()
    for _ in range(10_000):
        one = Board(1)
        one.close()
        del one
    assert free() == before


def test_a_descriptor_that_is_none_or_too_small_is_an_error():
    with pytest.raises(OSError):
        Board(8, 1 << 20)
    with tempfile.TemporaryFile() as file:
        file.truncate(16)
        with pytest.raises(ValueError):
            Board(8, file.fileno())


# ---- across processes


def test_what_a_child_writes_is_read_while_it_lives_and_after_it_was_killed(board):
    def body(say) -> None:
        board.own()
        board.beat(7, 8, 9)
        board.speak()
        say("written")

    child = Child(body)
    assert child.heard() == "written"
    assert board.counts() == (7, 8, 9)
    beat = board.last_beat
    assert 0.0 < beat <= now()  # one clock for all processes
    child.kill()
    assert (board.counts(), board.last_beat, board.spoken) == ((7, 8, 9), beat, True)


def test_a_child_that_maps_the_descriptor_anew_sees_what_was_written_before(board):
    board.beat(1, 2, 3)

    def body(say) -> None:
        other = Board(8, board.fd)
        say(repr((other.counts(), other.last_beat)))

    child = Child(body)
    assert child.heard() == repr(((1, 2, 3), board.last_beat))
    child.kill()


def test_the_descriptor_may_be_closed_in_the_child_as_its_master_s_other_boards_are(board):
    def body(say) -> None:
        board.close()
        board.beat(4, 5, 6)
        say("written")

    child = Child(body)
    assert child.heard() == "written"
    assert board.counts() == (4, 5, 6)
    assert os.fstat(board.fd).st_size > 0
    child.kill()


# ---- the table


class Served:
    """A server whose requests wait for `go`, with its board."""

    def __init__(self, entries: int, **settings) -> None:
        self.board = Board(entries)
        self.board.own()
        self.go = gevent.event.Event()
        self.server = Server(self.app, bind="127.0.0.1:0", **settings)
        self.server.start(board=self.board)
        self.clients = []

    def app(self, environ, start_response):
        self.go.wait()
        start_response("204 No Content", [])
        return []

    def ask(self, target: bytes, method: bytes = b"GET") -> gevent.socket.socket:
        before = now()
        until(lambda: now() > before)  # the clock is a coarse one: each is to have a time of its own
        client = gevent.socket.create_connection(self.server.address)
        client.sendall(method + b" " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n")
        self.clients.append(client)
        return client

    def running(self, count: int) -> None:
        until(lambda: self.server.statistics()["running"] == count)

    def texts(self) -> list[str]:
        return [text for _, text in self.board.listed()]


@pytest.fixture
def served():
    """served(entries) -> Served"""
    made = []

    def make(entries: int, **settings) -> Served:
        made.append(Served(entries, **settings))
        return made[-1]

    yield make
    for one in made:
        one.go.set()
        for client in one.clients:
            client.close()
        one.server.stop(0)
        assert one.board.listed() == []
        one.board.close()


def test_each_request_is_listed_from_its_head_to_its_answer_the_oldest_first(served):
    one = served(8)
    for number, target in enumerate((b"/first", b"/second", b"/third"), 1):
        one.ask(target)
        one.running(number)
    assert one.texts() == ["GET /first", "GET /second", "GET /third"]
    ages = [age for age, _ in one.board.listed()]
    assert ages == sorted(ages, reverse=True)
    assert 0.0 <= ages[-1] <= ages[0] < 30
    one.go.set()
    for client in one.clients:
        assert client.recv(100).startswith(b"HTTP/1.1 204 ")
    until(lambda: one.board.listed() == [])


def test_the_query_is_not_shown(served):
    one = served(8)
    one.ask(b"/login?password=secret", b"DELETE")
    one.running(1)
    one.ask(b"/empty?")
    one.running(2)
    assert one.texts() == ["DELETE /login", "GET /empty"]


def test_a_long_target_is_cut(served):
    one = served(8)
    one.ask(b"/" + b"x" * 4000)
    one.running(1)
    assert one.texts() == ["GET /" + "x" * 111]


def test_more_than_fit_are_served_and_not_listed_and_places_are_used_again(served):
    one = served(2)
    for number in range(5):
        one.ask(b"/%d" % number)
        one.running(number + 1)
    assert one.texts() == ["GET /0", "GET /1"]
    one.go.set()
    for client in one.clients:
        assert client.recv(100).startswith(b"HTTP/1.1 204 ")
    one.running(0)
    one.go.clear()
    one.ask(b"/again")
    one.running(1)
    assert one.texts() == ["GET /again"]
    assert sorted(one.board.entry(place)[1] for place in (0, 1)) == ["", "GET /again"]


def test_a_request_whose_application_raises_is_struck_off_as_well(served):
    one = served(2)

    def bad(environ, start_response):
        raise LookupError

    one.server.stop(0)
    one.server = Server(bad, bind="127.0.0.1:0")
    one.server.start(board=one.board)
    for _ in range(3):  # more than there are places
        assert one.ask(b"/bad").recv(100).startswith(b"HTTP/1.1 500 ")
        until(lambda: one.board.listed() == [])


def test_places_that_are_not_there_have_nothing(board):
    for place in (-1, -2, 8, 1 << 30, 0, 7):
        assert board.entry(place) == (0.0, "")


def test_a_board_that_nobody_owns_lists_nothing_and_nothing_goes_wrong(served):
    one = served(4)
    one.server.stop(0)
    one.server.start(board=Board(4))
    one.ask(b"/x")
    one.running(1)
    assert one.texts() == []


def test_a_board_is_bigger_than_a_page_of_memory():
    """The last place of a great table is memory as well."""
    one = Board(100_000)
    assert one.entry(99_999) == (0.0, "")
    assert os.fstat(one.fd).st_size > 100_000 * 100 > mmap.PAGESIZE
    one.close()


def test_what_another_process_is_at_is_read_after_it_was_killed(board):
    def body(say) -> None:
        gevent.reinit()
        hub = gevent.get_hub()
        board.own()

        def app(environ, start_response):
            say("asked")
            while True:
                signal.pause()  # the hub does not turn any more

        server = Server(app, bind="127.0.0.1:0")
        server.start(board=board)
        say(str(server.address[1]))
        hub.join()
        gevent.sleep(1000)

    child = Child(body)
    try:
        with socket.create_connection(("127.0.0.1", int(child.heard()))) as client:
            client.sendall(b"GET /hangs?a=b HTTP/1.1\r\nHost: h\r\n\r\n")
            assert child.heard() == "asked"
            ((age, text),) = board.listed()
    finally:
        child.kill()
    assert text == "GET /hangs"
    assert board.listed()[0][1] == "GET /hangs"
    assert board.listed()[0][0] >= age >= 0.0


# ---- Loads


@pytest.fixture
def loads():
    return Loads()


def test_a_place_that_was_taken_counts_as_a_worker_without_connections(loads):
    assert loads.values() == []
    assert [loads.take() for _ in range(3)] == [0, 1, 2]
    assert loads.values() == [0, 0, 0]


def test_a_place_that_was_given_back_is_taken_again(loads):
    for _ in range(3):
        loads.take()
    loads.give_back(1)
    assert loads.values() == [0, 0]
    assert loads.take() == 1
    assert loads.take() == 3


def test_a_worker_says_how_many_it_has_at_its_own_place_alone(loads):
    for _ in range(3):
        loads.take()
    loads.own(1)
    loads.publish(17)
    assert loads.values() == [0, 17, 0]
    loads.publish(0)
    assert loads.values() == [0, 0, 0]


def test_who_has_left_is_looked_at_no_more_and_its_place_is_free_when_it_is_given_back(loads):
    assert [loads.take(), loads.take()] == [0, 1]
    loads.own(0)
    loads.publish(5)
    loads.leave()
    loads.publish(9)  # what it still has is nobody's business
    loads.leave()
    assert loads.values() == [0]
    assert loads.take() == 2  # it is still there
    loads.give_back(0)
    assert loads.take() == 0
    assert loads.values() == [0, 0, 0]


def test_nobody_waits_for_one_that_is_silenced_until_it_publishes_again(loads):
    assert [loads.take(), loads.take()] == [0, 1]
    loads.silence(0)
    assert loads.values() == [0]
    assert loads.take() == 2  # it is still there
    loads.own(0)
    loads.publish(3)
    assert loads.values() == [3, 0, 0]
    loads.silence(-1)
    loads.silence(7)  # nobody is there
    assert loads.take() == 3


def test_without_a_place_nothing_is_said(loads):
    loads.publish(3)
    loads.leave()
    loads.give_back(-1)
    assert loads.values() == []
    loads.take()
    loads.own(-1)
    loads.publish(3)
    assert loads.values() == [0]


def test_more_than_256_workers_are_too_many_to_look_at(loads):
    assert [loads.take() for _ in range(256)] == list(range(256))
    assert [loads.take(), loads.take()] == [-1, -1]
    assert len(loads.values()) == 256
    loads.own(loads.take())
    loads.publish(3)  # the 257th works without
    loads.give_back(-1)
    assert loads.values() == [0] * 256
    loads.give_back(255)
    assert loads.take() == 255


@pytest.mark.parametrize("place", [256, 1_000_000_000])
def test_a_place_beyond_the_memory_is_an_error(loads, place):
    with pytest.raises(IndexError):
        loads.own(place)
    with pytest.raises(IndexError):
        loads.give_back(place)
    with pytest.raises(IndexError):
        loads.silence(place)


def test_all_processes_see_each_other(loads):
    children = []
    for number in (4, 5):
        place = loads.take()

        def body(say, place=place, number=number) -> None:
            loads.own(place)
            loads.publish(number)
            say("said")

        children.append(Child(body))
    for child in children:
        assert child.heard() == "said"
    last = Child(lambda say: say(repr(loads.values())))
    assert last.heard() == "[4, 5]"
    for child in (*children, last):
        child.kill()
    assert loads.values() == [4, 5]  # until somebody gives the places back
