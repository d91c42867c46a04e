"""A server inside a program that does other things: here one that reads a sensor and shows the last reading.

    python embedded.py [ADDRESS]

    curl http://127.0.0.1:8000/                      the last reading
    curl http://127.0.0.1:8000/statistics            what the server is doing
    curl -X POST http://127.0.0.1:8000/stop          ends the program, as Ctrl-C does

`serve` would own the process: its signals, its main green thread, its terminal. A Server owns nothing but its sockets.
"""

import greenhttp.patch  # first

import json
import signal
import sys
import time

import gevent
from gevent.event import Event


class Program:
    def __init__(self, bind):
        self.server = greenhttp.Server(self.answer, bind=bind)
        self.readings = 0
        self.done = Event()

    def answer(self, request):
        if request.path == "/statistics":
            return json.dumps(self.server.statistics()) + "\n"
        if request.path == "/stop" and request.method == "POST":
            self.done.set()  # not server.stop(): that would wait for this very request to be answered
            return "stopping\n"
        return f"{self.readings}\n"

    def read_sensor(self):
        """What the program is for. It waits beside the requests, in the same thread, so no lock is needed."""
        while True:
            self.readings += 1
            time.sleep(0.01)

    def run(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            gevent.signal_handler(number, self.done.set)
        sensor = gevent.spawn(self.read_sensor)
        self.server.start()  # listens, and returns
        print(f"serving at {self.server.addresses[0]}", file=sys.stderr, flush=True)
        self.done.wait()
        served = self.server.statistics()["requests"]
        finished = self.server.stop(timeout=5)  # requests that have arrived are answered
        sensor.kill()
        print(f"{served} requests, {'all finished' if finished else 'not all finished'}")


if __name__ == "__main__":
    Program(sys.argv[1:] or "127.0.0.1:8000").run()
