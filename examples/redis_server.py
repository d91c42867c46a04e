"""A small Redis: a real protocol (RESP2, https://redis.io/docs/latest/develop/reference/protocol-spec/) in plain code.

    python redis_server.py [ADDRESS]

    redis-cli -p 6380 set greeting hello EX 60
    redis-cli -p 6380                                          then type: get greeting, ttl greeting, keys *
    seq 100000 | sed 's/.*/SET key& &/' | redis-cli -p 6380 --pipe

Every client has a green thread, which waits only for its client. So each command is atomic, without a lock.
"""

import greenhttp.patch  # first

import fnmatch
import inspect
import math
import sys
import time

MOST_ARGUMENTS = 100_000
LONGEST = 16 << 20  # bytes of an argument

data = {}  # keys to (value, when it expires); one that has expired goes when somebody looks for it


class Refused(Exception):
    """The reply is an error; the connection goes on."""


class Unreadable(Exception):
    """What the client sends is not the protocol: where the next command begins is unknown."""


# ---- commands: functions of bytes. str becomes a simple string, bytes a bulk string, int, list and None what they are.


def ping(message=None):
    return "PONG" if message is None else message


def echo(message):
    return message


def get(key):
    value, expires = data.get(key, (None, math.inf))
    if expires > time.monotonic():
        return value
    del data[key]
    return None


def set_(key, value, *options):
    expires = math.inf
    if options:
        unit = {b"EX": 1, b"PX": 1000}.get(options[0].upper())
        if unit is None or len(options) != 2:
            raise Refused("ERR syntax error")
        expires = time.monotonic() + integer(options[1]) / unit
    data[key] = value, expires
    return "OK"


def delete(*keys):
    return sum(get(key) is not None and data.pop(key) is not None for key in keys)


def incr(key):
    value = integer(get(key) or b"0") + 1
    data[key] = b"%d" % value, data.get(key, (None, math.inf))[1]
    return value


def expire(key, seconds):
    value, expires = get(key), time.monotonic() + integer(seconds)
    if value is None:
        return 0
    data[key] = value, expires
    return 1


def ttl(key):
    if get(key) is None:
        return -2
    expires = data[key][1]
    return -1 if expires == math.inf else math.ceil(expires - time.monotonic())


def keys(pattern):
    return [key for key in list(data) if get(key) is not None and fnmatch.fnmatchcase(key, pattern)]


def command(*_):
    return []  # redis-cli asks what there is, for its help


def integer(text):
    if not text.removeprefix(b"-").isdigit() or len(text) > 18:
        raise Refused("ERR value is not an integer or out of range")
    return int(text)


FUNCTIONS = (ping, echo, get, set_, incr, expire, ttl, keys, command)
COMMANDS = {function.__name__.strip("_").upper().encode(): function for function in FUNCTIONS} | {b"DEL": delete}
SIGNATURES = {name: inspect.signature(function) for name, function in COMMANDS.items()}


def execute(name, *arguments):
    name = name.upper()
    if name not in COMMANDS:
        raise Refused(f"ERR unknown command {name[:64].decode('latin-1')!a}")
    try:
        SIGNATURES[name].bind(*arguments)
    except TypeError:
        raise Refused(f"ERR wrong number of arguments for {name.decode().lower()!r} command") from None
    return COMMANDS[name](*arguments)


# ---- the protocol


def read_command(stream):
    """Name and arguments; [] for an empty line, None at the end."""
    line = stream.readline()
    if not line.startswith(b"*"):
        return line.split() if line else None  # typed by a person, say with nc
    return [read_argument(stream) for _ in range(count(line, MOST_ARGUMENTS))]


def read_argument(stream):
    line = stream.readline()
    if not line.startswith(b"$"):
        raise Unreadable("expected '$'")
    return stream.readexactly(count(line, LONGEST) + 2)[:-2]  # EOFError, if the client goes in the middle of it


def count(line, most):
    digits = line[1:].strip()
    if not digits.isdigit() or len(digits) > 9 or int(digits) > most:
        raise Unreadable("invalid length")
    return int(digits)


def encode(reply):
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, bytes):
        return b"$%d\r\n%s\r\n" % (len(reply), reply)
    if isinstance(reply, list):
        return b"*%d\r\n%s" % (len(reply), b"".join(map(encode, reply)))
    return f"{':' if isinstance(reply, int) else '+'}{reply}\r\n".encode()


def serve_client(stream):
    """Pipelining comes by itself: commands are taken from what has arrived, and replies leave before a read waits."""
    try:
        while (words := read_command(stream)) is not None:
            if words and words[0].upper() == b"QUIT":
                stream.write(b"+OK\r\n")
                return
            try:
                stream.write(encode(execute(*words)) if words else b"")
            except Refused as error:
                stream.write(f"-{error}\r\n".encode())
    except (Unreadable, greenhttp.LineTooLong) as error:
        stream.write(f"-ERR Protocol error: {error}\r\n".encode())


if __name__ == "__main__":
    greenhttp.serve_stream(serve_client, bind=sys.argv[1:] or "127.0.0.1:6380", graceful_timeout="1s")
