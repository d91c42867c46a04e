"""News as they come: server-sent events, and the long poll for clients that have no such thing.

    python events.py [ADDRESS]                       and http://127.0.0.1:8000/ in a browser, or

    curl -N http://127.0.0.1:8000/events             every message from now on
    curl 'http://127.0.0.1:8000/next?after=0'        the messages after that number; waits until there is one
    curl -d 'something happened' http://127.0.0.1:8000/

A client that waits costs one green thread, which sleeps. Clients of the event stream that have gone are found by the
server: it sends a comment after PATIENCE seconds without news, and closes the generator when that fails. The long poll
looks by itself, once a second.
"""

import greenhttp.patch  # first

import json
import sys
import time
from collections import deque

from gevent.event import Event as Flag

PATIENCE = 15  # seconds; a proxy between may close a connection on which nothing moves for longer
LOOK = 1  # seconds until a long poll notices that its client has gone
PAGE = """<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">
<title>News</title>
<style>
  body { font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
  li { white-space: pre-wrap; border-bottom: 1px solid #ddd; padding: .25rem 0 }
  form { display: flex; gap: .5rem } input { flex: 1; font: inherit; padding: .4rem } button { font: inherit }
  #state::before { content: "\\25cf  "; color: #b00 } #state.open::before { color: #080 }
</style>
<h1>News</h1><p id=state>connecting</p>
<form><input name=text placeholder="What happened?" aria-label="What happened?" required><button>Publish</button></form>
<ol id=list></ol>
<script>
const events = new EventSource("/events"), state = document.getElementById("state")
function show(text, open) { state.textContent = text; state.className = open ? "open" : "" }
events.onopen = () => show("connected", true)
events.onerror = () => show("connection lost; the browser connects again", false)
events.onmessage = event => {
    const item = document.createElement("li")
    item.value = event.lastEventId
    item.textContent = event.data
    document.getElementById("list").append(item)
}
document.forms[0].onsubmit = event => {
    event.preventDefault()
    fetch("/", {method: "POST", body: event.target.text.value}).then(() => event.target.reset())
}
</script></html>"""


class News:
    """Messages with their numbers, and those who wait for the next."""

    def __init__(self):
        self.messages = deque(maxlen=1000)
        self.last = 0
        self.came = Flag()
        self.readers = 0

    def publish(self, text):
        self.last += 1
        self.messages.append((self.last, text))
        self.came.set()  # wakes all who wait
        self.came = Flag()  # for the next message

    def after(self, number):
        """The messages after that number, if need be the next to come."""
        while self.last <= number:
            self.came.wait()
        return [message for message in self.messages if message[0] > number]

    def poll(self, number, request):
        """The same; [] when PATIENCE is over or the client gone."""
        until = time.monotonic() + PATIENCE
        while self.last <= number and not request.gone and (left := until - time.monotonic()) > 0:
            self.came.wait(min(left, LOOK))
        return self.after(number) if self.last > number else []


news = News()


def events(last_event_id):
    """The events from there on. A browser that lost its connection says which one it has seen last."""
    number = int(last_event_id) if (last_event_id or "").isdecimal() else news.last
    news.readers += 1
    try:
        while True:
            for each, text in news.after(number):
                yield greenhttp.Event(text, id=str(each))
                number = each
    finally:  # also when the client has gone, and when the server stops: it closes this generator
        news.readers -= 1


def app(request):
    if request.method == "POST":
        news.publish(request.body.read(10_000).decode("utf-8", "replace"))
        return f"{news.last} {news.readers}\n"
    if request.path == "/events":
        return greenhttp.EventStream(events, retry=1, heartbeat=PATIENCE)
    if request.path == "/next":
        number = request.query.get("after", "")
        return json.dumps(news.poll(int(number) if number.isdecimal() else news.last, request)) + "\n"
    return greenhttp.Response(PAGE, headers={"Content-Type": "text/html; charset=utf-8"})


if __name__ == "__main__":
    # Event streams end when the server is told to stop; a long poll need not be waited for either.
    greenhttp.serve(app, bind=sys.argv[1:] or "127.0.0.1:8000", graceful_timeout="1s")
