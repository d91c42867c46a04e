"""A chat over the long poll: rooms in a browser or with curl, through any proxy, without a protocol of its own.

    python poll_chat.py [ADDRESS]                    and http://127.0.0.1:8000/ in two browsers, or

    curl -d '{"name": "you", "text": "hello"}' http://127.0.0.1:8000/room/tea
    curl 'http://127.0.0.1:8000/room/tea?after=0'    what was said after that number; waits until there is something

Who listens asks again with the number of the last line seen, so nothing is lost between two polls but what is older
than the last 100 lines. Each listener is a green thread that sleeps. One process keeps all rooms: with several workers,
they would have to be in Redis.
"""

import greenhttp.patch  # first

import re
import sys
import time
from collections import deque

from gevent.event import Event

PATIENCE = 25  # seconds until an answer without news; many proxies give up after 30 or 60
LOOK = 1  # seconds until it is noticed that a listener has gone
MOST_ROOMS = 1000
LONGEST = 1000  # characters of a line
ROOM = re.compile(r"/room/(\w{1,30})")
PAGE = """<!doctype html><meta charset=utf-8><title>chat</title><ul id=list></ul>
<form id=form><input id=name placeholder=name required> <input id=text placeholder=text required> <button>say</button>
</form><script>
const room = "/room/tea", sleep = ms => new Promise(done => setTimeout(done, ms))
form.onsubmit = event => {
    event.preventDefault()
    fetch(room, {method: "POST", body: JSON.stringify({name: form.name.value, text: text.value})})
    text.value = ""
}
async function listen() {
    for (let after = 0; ;) try {
        for (const line of await (await fetch(room + "?after=" + after)).json()) {
            after = line.number
            list.appendChild(document.createElement("li")).textContent = line.name + ": " + line.text
        }
    } catch { await sleep(2000) }
}
listen()
</script>"""


class Room:
    def __init__(self):
        self.lines = deque(maxlen=100)
        self.last = 0
        self.said = Event()

    def say(self, name, text):
        self.last += 1
        self.lines.append({"number": self.last, "name": name, "text": text})
        self.said.set()  # wakes all who listen
        self.said = Event()  # for the next line
        return self.last

    def after(self, number, request):
        """The lines after that number; [] when there are none for PATIENCE seconds, or when the listener has gone."""
        until = time.monotonic() + PATIENCE
        while self.last <= number and not request.gone and (left := until - time.monotonic()) > 0:
            self.said.wait(min(left, LOOK))
        return [line for line in self.lines if line["number"] > number]


rooms = {}


def room_of(name):
    if name not in rooms and len(rooms) >= MOST_ROOMS:
        raise greenhttp.HTTPError(503, "no more rooms")
    return rooms.setdefault(name, Room())


def app(request):
    if request.path == "/":
        return greenhttp.Response(PAGE, headers={"Content-Type": "text/html; charset=utf-8"})
    place = ROOM.fullmatch(request.path)
    if not place:
        raise greenhttp.HTTPError(404, "there are / and /room/NAME")
    if request.method == "POST":
        line = request.json()
        name, text = (line.get("name"), line.get("text")) if isinstance(line, dict) else (None, None)
        if not all(isinstance(each, str) and 0 < len(each) <= LONGEST for each in (name, text)):
            raise greenhttp.HTTPError(400, f'give {{"name": "...", "text": "..."}}, up to {LONGEST} characters each')
        return said(room_of(place[1]).say(name, text))
    number = request.query.get("after", "")
    if not re.fullmatch("[0-9]{1,15}", number):
        raise greenhttp.HTTPError(400, "after: give the number of the last line seen, 0 for none")
    return said(room_of(place[1]).after(int(number), request))


def said(value):
    return greenhttp.Response.json(value, headers={"Cache-Control": "no-store"})


if __name__ == "__main__":
    # Those who listen never finish by themselves: when told to stop, the server waits a second, not half a minute.
    greenhttp.serve(app, bind=sys.argv[1:] or "127.0.0.1:8000", graceful_timeout="1s")
