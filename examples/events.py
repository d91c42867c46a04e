"""News as they come: server-sent events, and the long poll for clients that have no such thing.

    python events.py [ADDRESS]                       and http://127.0.0.1:8000/ in a browser, or

    curl -N http://127.0.0.1:8000/events             every message from now on
    curl 'http://127.0.0.1:8000/next?after=0'        the messages after that number; waits until there is one
    curl -d 'something happened' http://127.0.0.1:8000/

A client that waits costs one green thread, which sleeps, and looks once a second whether anybody still listens.
"""

import greenhttp.patch  # first

import json
import sys
import time
from collections import deque

from gevent.event import Event

PATIENCE = 15  # seconds; a proxy between may close a connection on which nothing moves for longer
LOOK = 1  # seconds until it is noticed that a client has gone
PAGE = """<!doctype html><title>news</title><ol id=list></ol><script>
new EventSource("/events").onmessage = event =>
    list.appendChild(document.createElement("li")).textContent = JSON.parse(event.data)
</script>"""


class News:
    """Messages with their numbers, and those who wait for the next."""

    def __init__(self):
        self.messages = deque(maxlen=1000)
        self.last = 0
        self.came = Event()
        self.readers = 0

    def publish(self, text):
        self.last += 1
        self.messages.append((self.last, text))
        self.came.set()  # wakes all who wait
        self.came = Event()  # for the next message

    def after(self, number, request):
        """The messages after that number, if need be the next to come; [] when PATIENCE is over or the client gone."""
        until = time.monotonic() + PATIENCE
        while self.last <= number and not request.gone and (left := until - time.monotonic()) > 0:
            self.came.wait(min(left, LOOK))
        return [message for message in self.messages if message[0] > number]


news = News()


def events(number, request):
    """The event stream (https://html.spec.whatwg.org/multipage/server-sent-events.html) from that number on."""
    news.readers += 1
    try:
        yield b"retry: 1000\n\n"
        while not request.gone:
            messages = news.after(number, request)
            for number, text in messages:
                yield f"id: {number}\ndata: {json.dumps(text)}\n\n".encode()
            if not messages:  # a comment, so that proxies see something move, and whoever has vanished is noticed
                yield b":\n\n"
    finally:  # that is when the server closes this generator
        news.readers -= 1


def app(request):
    if request.method == "POST":
        news.publish(request.body.read(10_000).decode("utf-8", "replace"))
        return f"{news.last} {news.readers}\n"
    if request.path == "/events":
        seen = request.headers.get("Last-Event-ID", "")  # a browser that lost its connection says where it was
        return greenhttp.Response(
            events(int(seen) if seen.isdecimal() else news.last, request),
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"},
        )
    if request.path == "/next":
        number = request.query.get("after", "")
        return json.dumps(news.after(int(number) if number.isdecimal() else news.last, request)) + "\n"
    return greenhttp.Response(PAGE, headers={"Content-Type": "text/html"})


if __name__ == "__main__":
    # An event stream never ends by itself: when the server is told to stop, it waits a second instead of half a minute.
    greenhttp.serve(app, bind=sys.argv[1:] or "127.0.0.1:8000", graceful_timeout="1s")
