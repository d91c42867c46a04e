"""A chat whose rooms span workers and machines: what is said goes through Redis, and each process tells its own pages.

    redis-server &                                     or REDIS_URL=redis://host:6379/0
    greenhttp rooms:app --workers 2                    and http://127.0.0.1:8000/ in two browsers
    python rooms.py [ADDRESS]                          the same in one process

A page sends {"after": number} for what it has missed, and {"id": id, "text": text} to say something. It gets lines, who
is here, and {"away": true} while Redis does not answer. README.md says why things are as they are.
"""

import greenhttp.patch  # first: this makes redis cooperative

import contextlib
import itertools
import json
import logging
import os
import random
import re
import sys
import time
import unicodedata
from collections import Counter
from pathlib import Path

import gevent
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

KEPT = 100  # lines of a room that Redis keeps, for a day after the last
DAY = 86_400  # seconds
LONGEST = 1000  # characters of a line
LISTED = 100  # names that pages are told
BEAT = 20  # seconds; so often each process repeats who is here, and pages that hear nothing for longer connect again
PATIENCE = 5  # seconds for an answer of Redis
ROOM = re.compile(r"/room/([\w-]{1,30})")
ID = re.compile("[0-9a-f]{16}")
NUMBER = re.compile("[0-9]{1,20}-[0-9]{1,20}")
AWAY, BACK = '{"away": true}', '{"away": false}'
FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
FIELDS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:",
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
}

# One step in Redis, so that all see the same order. The number, which Redis makes, goes in front of what the line has.
# A page whose connection broke says its lines again: a line that is known is given back and told to nobody else.
SAY = """
local before = redis.call('GET', KEYS[2])
if before then return before end
local number = redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[2], '*', 'line', ARGV[1])
local line = '{"number": "' .. number .. '", ' .. string.sub(ARGV[1], 2)
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('SET', KEYS[2], line, 'EX', 600)
redis.call('PUBLISH', KEYS[1], line)
"""

# For all green threads of this process ten connections, and one more on which it listens. What fails is tried a second
# time, for Redis may have closed the connection while nobody used it; every command here may come twice.
memory = redis.Redis(
    connection_pool=redis.BlockingConnectionPool.from_url(
        os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"), max_connections=11, timeout=PATIENCE,
        socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, retry=Retry(NoBackoff(), 1), protocol=2,
    )
)  # fmt: skip
say = memory.register_script(SAY)

here = {}  # room -> the members whose pages are connected to this process, counted: a page may have two for a moment
stirred = set()  # rooms in which somebody has come or gone
forgotten = set()  # rooms whose members Redis may no longer know
threads = []  # started by the first page: then this is a worker, and no supervisor that is to fork


def app(request):
    if ROOM.fullmatch(request.path):
        return room(request)
    if request.path not in FILES:
        raise greenhttp.HTTPError(404, "there is a page at /\n")
    name, kind = FILES[request.path]
    return greenhttp.Response((Path(__file__).parent / name).read_bytes(), headers={"Content-Type": kind, **FIELDS})


@greenhttp.websocket
def room(ws):
    place = "rooms:" + ROOM.fullmatch(ws.request.path)[1].lower()
    page = ws.request.query.get("page", "")
    name = unicodedata.normalize("NFC", ws.request.query.get("name", ""))
    if not (0 < len(name) <= 30 and name.isprintable() and name == name.strip() and ID.fullmatch(page)):
        return ws.close(1008, "a name has 1 to 30 characters")
    if not threads:
        threads.extend([gevent.spawn(listen), gevent.spawn(keep)])
    ws.join(place)  # before the page asks for what it has missed: nothing is said between the two
    member = page + name  # nobody else is told the page's id, so two may have one name, and nobody can be thrown out
    come(place, member)
    try:
        for message in ws:
            try:
                answer(ws, place, page, name, json.loads(message))
            except redis.RedisError:
                ws.send(AWAY)  # the page keeps what it has not seen come back
            except (ValueError, TypeError, LookupError, RecursionError):
                return ws.close(1008, "that was not understood")
    finally:
        go(place, member)


def answer(ws, place, page, name, asked):
    if "after" in asked:
        start = f"({asked['after']}" if NUMBER.fullmatch(asked["after"]) else "-"
        kept = memory.xrange(place, start, count=KEPT)
        lines = [f'{{"number": "{number.decode()}", {fields[b"line"].decode()[1:]}' for number, fields in kept]
        ws.send(f'{{"lines": [{", ".join(lines)}]}}')
        return
    text, known = asked["text"], asked["id"]
    if not (isinstance(text, str) and 0 < len(text) <= LONGEST and text.strip() and ID.fullmatch(known)):
        raise ValueError("no line")
    line = json.dumps({"id": known, "name": name, "text": text})
    if before := say(keys=[place, f"{place}:{page}:{known}"], args=[line, KEPT, DAY]):
        ws.send(before.decode())


def listen():
    """Tell the pages of this process what all processes say in the rooms, for as long as the process lives."""
    pause = 0.1
    while True:
        try:
            with memory.pubsub() as ear:
                ear.psubscribe("rooms:*")
                asked = False
                while True:
                    heard = ear.get_message(timeout=BEAT)
                    if heard is None and asked:
                        raise redis.ConnectionError("no answer to a ping")
                    asked = heard is None
                    if asked:  # nobody said anything, or Redis has vanished without a word
                        ear.ping()
                    elif heard["type"] == "psubscribe":  # pages ask for what was said while nobody listened
                        pause = 0.1
                        to_all(BACK)
                        forgotten.update(here)
                    elif heard["type"] == "pmessage":
                        hear(heard["channel"].decode(), heard["data"].decode())
        except redis.RedisError as error:
            to_all(AWAY)
            logging.warning("rooms: Redis is away, the next attempt is in about %.1f s: %s", pause, error)
            gevent.sleep(pause * random.uniform(0.5, 1.5))  # the processes do not all come back in the same moment
            pause = min(2 * pause, 5)


def hear(place, data):
    if data == "stirred":
        stirred.add(place)
    else:
        to_pages(place, data)


def to_pages(place, message):
    """A page that does not keep up is closed: it asks for what it missed when it is back."""
    greenhttp.broadcast(place, message, slow="close")


def to_all(message):
    for place in list(here):
        to_pages(place, message)


# ---- who is here: in Redis by the time until which it is believed, so that those of a killed worker go by themselves


def come(place, member):
    here.setdefault(place, Counter())[member] += 1
    with contextlib.suppress(redis.RedisError):  # `keep` says it again
        believe(place, [member])
        memory.publish(place, "stirred")


def go(place, member):
    here[place][member] -= 1
    here[place] += Counter()  # drops who is here no more
    if member not in here[place]:
        if not here[place]:
            del here[place]
        with contextlib.suppress(redis.RedisError):
            memory.zrem(f"{place}:here", member)
            memory.publish(place, "stirred")


def believe(place, members):
    with memory.pipeline() as pipe:
        pipe.zadd(f"{place}:here", dict.fromkeys(members, time.time() + 3 * BEAT))
        pipe.expire(f"{place}:here", 3 * BEAT)
        pipe.execute()


def keep():
    """Tell the rooms who is here: at most once a second, however many come and go, and at least at each BEAT."""
    for second in itertools.count(1):
        gevent.sleep(1)
        if second % BEAT == 0:
            forgotten.update(here)
        renewed, told = forgotten.copy(), (stirred | forgotten) & here.keys()
        stirred.clear()
        forgotten.clear()
        for place in told:
            try:
                if place in renewed and place in here:
                    believe(place, list(here[place]))
                tell(place)
            except redis.RedisError:
                to_pages(place, AWAY)


def tell(place):
    with memory.pipeline() as pipe:
        pipe.zremrangebyscore(f"{place}:here", 0, time.time())
        pipe.zcard(f"{place}:here")
        pipe.zrange(f"{place}:here", 0, LISTED - 1)
        _, count, members = pipe.execute()
    names = sorted(member.decode()[16:] for member in members)
    to_pages(place, json.dumps({"count": count, "here": names}))


if __name__ == "__main__":
    greenhttp.serve(app, bind=sys.argv[1:] or "127.0.0.1:8000", websocket_max_message="16k")
