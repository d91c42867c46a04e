"""A chat: everybody who connects reads what the others write, line by line.

    python chat.py [ADDRESS]

    nc 127.0.0.1 8008                         in two terminals; type a name first

Nobody waits for anybody. A line for a member goes into the output of that member's stream, where up to 64 KiB wait
for the network without holding up whoever writes them. A member with half of that unsent does not read, and is dropped.
"""

import greenhttp.patch  # first

import sys
from contextlib import suppress

import gevent

LONGEST_LINE = 1000  # bytes
MOST_UNSENT = 32768  # bytes

members = {}  # names to streams


def tell(stream, text):
    """Never waits."""
    if stream.unsent > MOST_UNSENT:
        stream.abort()  # its own green thread, which waits for a line, gets an exception and says goodbye
        return
    with suppress(ConnectionError):  # it has just gone; its own green thread finds out by itself
        stream.write(f"{text}\n".encode())


def tell_others(name, text):
    for member, stream in list(members.items()):
        if member != name:
            tell(stream, text)


def read_text(stream):
    """A line without what could play tricks on a terminal, or None at the end."""
    line = stream.readline(LONGEST_LINE)
    return "".join(filter(str.isprintable, line.decode("utf-8", "replace"))).strip() if line else None


def join(stream):
    """The name of a new member, or None if there is none."""
    tell(stream, "your name?")
    while (name := read_text(stream)) is not None:
        if name and name not in members:
            members[name] = stream  # no lock: nothing has waited since the look, so nobody else has run
            return name
        tell(stream, "another name, please: that one is taken" if name else "your name?")
    return None


def chat(stream):
    name = None
    try:
        if name := join(stream):
            tell(stream, f"* here: {', '.join(members)}")
            tell_others(name, f"* {name} has come")
            while (text := read_text(stream)) is not None:
                tell_others(name, f"{name}: {text}")
                gevent.sleep(0)  # this line leaves before the next is read: who sends many at once floods nobody
    except greenhttp.LineTooLong:
        tell(stream, f"* no more than {LONGEST_LINE} bytes a line")
    finally:
        if name:
            del members[name]
            tell_others(name, f"* {name} has gone")


if __name__ == "__main__":
    # A chat never finishes by itself: when the server is told to stop, it waits a second instead of half a minute.
    greenhttp.serve_stream(chat, bind=sys.argv[1:] or "127.0.0.1:8008", graceful_timeout="1s")
