"""redis_server.py with redis-cli, and byte by byte."""

import signal

import pytest

from tests.examples.example import Example, run
from tests.system.process import needs


@pytest.fixture(scope="module")
def example():
    with Example("redis_server.py", "127.0.0.1:0") as example:
        yield example


@pytest.fixture
def cli(example):
    """cli("GET", "key"): what redis-cli prints, or with `data` on its input."""

    def call(*arguments, data=None):
        return run("redis-cli", "-p", str(example.address[1]), *arguments, input=data)

    yield call
    for key in call("KEYS", "*").split():
        call("DEL", key)


@pytest.fixture
def peer(example):
    with example.connect() as peer:
        yield peer


def pack(*words):
    """A command as clients send it."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


# ---- redis-cli


@needs("redis-cli")
def test_ping_and_echo(cli):
    assert cli("PING") == b"PONG\n"
    assert cli("PING", "hello there") == b"hello there\n"
    assert cli("echo", "x") == b"x\n"


@needs("redis-cli")
def test_values(cli):
    assert cli("SET", "a", "one word") == b"OK\n"
    assert cli("GET", "a") == b"one word\n"
    assert cli("--no-raw", "GET", "nothing") == b"(nil)\n"
    assert cli("--no-raw", "DEL", "a", "nothing") == b"(integer) 1\n"
    assert cli("--no-raw", "GET", "a") == b"(nil)\n"


@needs("redis-cli")
def test_values_are_bytes(cli):
    value = bytes(range(256)) + b"\r\n$5\r\n*1\r\n"
    assert cli("-x", "SET", "binary", data=value) == b"OK\n"
    assert cli("GET", "binary") == value + b"\n"


@needs("redis-cli")
def test_counting(cli):
    assert [cli("INCR", "n") for _ in range(3)] == [b"1\n", b"2\n", b"3\n"]
    cli("SET", "n", "x")
    assert cli("INCR", "n").rstrip() == b"ERR value is not an integer or out of range"


@needs("redis-cli")
def test_keys(cli):
    for key in ("user:1", "user:2", "other"):
        cli("SET", key, "x")
    assert sorted(cli("KEYS", "user:*").split()) == [b"user:1", b"user:2"]
    assert sorted(cli("KEYS", "*").split()) == [b"other", b"user:1", b"user:2"]
    assert cli("KEYS", "none*").strip() == b""


@needs("redis-cli")
def test_expiry(cli):
    assert cli("TTL", "k") == b"-2\n"
    assert cli("EXPIRE", "k", "100") == b"0\n"
    cli("SET", "k", "v")
    assert cli("TTL", "k") == b"-1\n"
    assert cli("EXPIRE", "k", "100000") == b"1\n"
    assert 99_000 < int(cli("TTL", "k")) <= 100_000
    cli("INCR", "n")
    cli("EXPIRE", "n", "100000")
    cli("INCR", "n")
    assert int(cli("TTL", "n")) > 0  # counting goes on with the same end
    assert cli("EXPIRE", "k", "0") == b"1\n"
    assert cli("--no-raw", "GET", "k") == b"(nil)\n"
    assert cli("KEYS", "k").strip() == b""


@needs("redis-cli")
def test_a_key_expires_while_nobody_does_anything_to_it(cli):
    cli("SET", "k", "v", "PX", "1")
    for _ in range(1000):
        if cli("--no-raw", "GET", "k") == b"(nil)\n":
            return
    pytest.fail("still there")


@needs("redis-cli")
def test_errors(cli):
    assert cli("NOSUCH", "x").rstrip() == b"ERR unknown command 'NOSUCH'"
    assert cli("GET").rstrip() == b"ERR wrong number of arguments for 'get' command"
    assert cli("SET", "k", "v", "KEEP").rstrip() == b"ERR syntax error"
    assert cli("SET", "k", "v", "EX").rstrip() == b"ERR syntax error"
    assert cli("EXPIRE", "k", "soon").rstrip() == b"ERR value is not an integer or out of range"


@needs("redis-cli")
def test_a_session_of_many_commands(cli):
    script = b"SET a 1\nINCR a\nGET a\nNOSUCH\nPING\n"
    assert [line for line in cli(data=script).splitlines() if line] == [
        b"OK", b"2", b"2", b"ERR unknown command 'NOSUCH'", b"PONG",
    ]  # fmt: skip


@needs("redis-cli")
def test_mass_insertion(cli):
    count = 20_000
    commands = b"".join(pack(b"SET", b"key%d" % n, b"\r\n%d\0" % n) for n in range(count))
    told = cli("--pipe", data=commands)
    assert b"errors: 0, replies: %d" % count in told
    assert cli("GET", "key777") == b"\r\n777\0\n"
    assert len(cli("KEYS", "*").split()) == count
    told = cli("--pipe", data=b"".join(pack(b"DEL", b"key%d" % n) for n in range(count)))
    assert b"errors: 0, replies: %d" % count in told
    assert cli("KEYS", "*").strip() == b""


# ---- byte by byte


def test_a_batch_is_answered_in_order(peer):
    peer.send(pack(b"SET", b"a", b"1") + pack(b"NOSUCH") + pack(b"GET", b"a") + b"\r\nping\n" + pack(b"DEL", b"a"))
    assert [peer.line() for _ in range(6)] == ["+OK", "-ERR unknown command 'NOSUCH'", "$1", "1", "+PONG", ":1"]


def test_a_command_may_come_in_any_pieces(peer):
    for byte in pack(b"ECHO", b"a\r\nb"):
        peer.send(bytes([byte]))
    assert [peer.line() for _ in range(3)] == ["$4", "a", "b"]


def test_commands_typed_by_a_person(peer):
    peer.send(b"set a  hello\nget a\ndel a\n")
    assert [peer.line() for _ in range(4)] == ["+OK", "$5", "hello", ":1"]


def test_quit_ends_the_connection_after_the_replies(peer):
    peer.send(pack(b"PING") + pack(b"QUIT") + pack(b"PING"))
    assert peer.file.read() == b"+PONG\r\n+OK\r\n"


@pytest.mark.parametrize(
    "data", [b"*x\r\n", b"*-2\r\n", b"*9999999999\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$99999999\r\n", b"*1\r\n:1\r\n"]
)
def test_what_is_not_the_protocol_ends_the_connection(peer, data):
    peer.send(pack(b"PING") + data)
    assert peer.line() == "+PONG"
    assert peer.line().startswith("-ERR Protocol error: ")
    assert peer.line() == ""


def test_a_client_that_leaves_in_the_middle_of_a_command_disturbs_nobody(example, peer):
    with example.connect() as other:
        other.send(b"*2\r\n$4\r\nECHO\r\n$100\r\nabc")
        other.end_sending()
        with pytest.raises(ConnectionResetError):  # a dialogue that breaks off does not look finished
            other.line()
    peer.send(pack(b"PING"))
    assert peer.line() == "+PONG"


def test_ctrl_c_ends_it_with_clients_connected():
    with Example("redis_server.py", "127.0.0.1:0") as example, example.connect() as peer:
        peer.send(pack(b"PING"))
        assert peer.line() == "+PONG"
        example.stop(signal.SIGINT)
