"""What simulated processes do: workers as supervisor/worker.py has them, or as bad as the script says."""

import json
import math
import signal

from tests.supervisor.worlds.script import WORKER

ENDING = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT}  # by default, in a worker that only starts
BEAT = 0.25


class Process:
    """A child of the supervisor. `held_until`: it does not run before."""

    def __init__(self, kernel, kind):
        self.kernel, self.kind, self.begun = kernel, kind, kernel.awake()
        self.pid = self.status = 0
        self.dead, self.died, self.held_until, self.pipe = False, 0.0, -1.0, None
        self.put_off = []  # what would have been due while it is held for ever

    def die(self, status):
        """It ends, with this status of waitpid(2)."""
        if self.dead:
            return
        self.kernel.say(f"  {self.kind} {self.pid} ends, status {status}")
        if self.pipe is not None:
            self.pipe.flood_until = -1.0
        self.dead, self.died, self.status = True, (self.kernel.now, next(self.kernel.order)), status
        if self.pipe is not None and not (self.kind == "worker" and self.ways["kept"]):
            self.shut()
        self.kernel.deliver(signal.SIGCHLD)

    def shut(self):
        self.pipe.writers -= 1
        if self.kind == "worker":
            self.ways = self.ways | {"kept": True}

    def signal(self, number):
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.die(int(number))


class Worker(Process):
    """One worker. `state`: deaf (signals are blocked), born, armed (it accepts), serving (it has said so), draining."""

    def __init__(self, kernel, birth, pipe, board):
        super().__init__(kernel, "worker")
        self.birth, self.pipe, self.board = birth, pipe, board
        self.ways = WORKER | {"pause": kernel.ways["halves"]} | kernel.decided("birth", birth, {})[0]
        self.graceful, self.patience = kernel.settings.graceful_timeout, kernel.settings.timeout
        self.state, self.waiting, self.held_by, self.held_since = "deaf", [], "", 0.0
        self.beats_from, self.said_ready, self.said_at, self.busy_until = None, False, -1.0, -1.0

    def begin(self):
        ways = self.ways
        self.after(0.005, self.listen)
        boot, way = ways["boot"], ways["way"]
        if way == "ready":
            self.after(max(0.005, boot - 0.02), self.arm)
            self.after(max(0.01, boot), self.ready)
        elif way == "failed":
            self.after(boot, self.fail, adverse=False)
        elif way == "dies":
            self.after(boot, lambda: self.die(ways["status"]), adverse=False)
        elif way == "eof":
            self.after(boot, self.shut)
        if ways["life"] is not None:
            self.after(boot + ways["life"], lambda: self.die(ways["status"]), adverse=True)
        if ways["wish"] is not None:
            self.after(boot + ways["wish"], self.leave, adverse=True)

    def after(self, seconds, call, adverse=False):
        self.kernel.at(self.kernel.now + seconds, call, self, adverse)

    # ---- what it does

    def listen(self):
        self.state = "born"
        waiting, self.waiting = self.waiting, []
        for number in waiting:
            self.signal(number)

    def arm(self):
        self.state, self.beats_from = "armed", self.kernel.now
        self.kernel.queued = False

    def ready(self):
        if self.said_ready:
            return
        self.said_ready = True
        if self.ways["garbage"]:
            self.pipe.data += [b"Traceback\n", b"[" * 100_000 + b"\n", b'{"ready": 3}\n\xff\xfe\n'][self.birth % 3]
        self.write({"ready": [f"worker of birth {self.birth}"]}, self.said)
        if self.state == "armed":
            self.state = "serving"

    def said(self):
        """The last byte of it is in the pipe, which may be long after the first if the process was held."""
        self.said_at = self.kernel.now

    def fail(self):
        self.write({"failed": f"birth {self.birth} has failed\n" + "x" * 5000, "trace": "", "code": self.ways["code"]})
        self.after(self.ways["pause"] + 0.001, lambda: self.die(self.ways["code"] << 8))

    def write(self, word, then=lambda: None):
        """At once, or half of it now and the rest after a pause; one word after the other. Then `then`."""
        if self.busy_until > self.kernel.now:
            self.kernel.at(self.busy_until, lambda: self.write(word, then), self)
            return
        data = json.dumps(word).encode() + b"\n"
        half = len(data) // 2 if self.ways["pause"] else len(data)
        self.pipe.data += data[:half]
        if half < len(data):
            self.busy_until = self.kernel.now + self.ways["pause"]
            self.after(self.ways["pause"], lambda: (self.pipe.data.extend(data[half:]), then()))
        else:
            then()

    def drain(self):
        self.state = "draining"
        seconds = self.ways["drain"]
        if seconds is not None:
            self.after(min(seconds, self.graceful + 0.1), lambda: self.die(0))

    def last_beat(self, before=math.inf):
        """When it beat last, on the world's time; None: never. If it was held later than `before`: until it was."""
        if self.beats_from is None:
            return None
        if self.held_until > before:
            return self.held_since
        until = min(self.kernel.now, self.held_since) if self.kernel.now < self.held_until else self.kernel.now
        return max(self.beats_from, self.beats_from + math.floor((until - self.beats_from) / BEAT) * BEAT)

    # ---- what happens to it

    def leave(self):
        if self.state == "serving":
            vain = {"vain": "as before"} if self.ways["vain"] else {}
            self.write({"leaving": f"birth {self.birth} has done enough", **vain})

    def outsider(self):
        """Somebody else sends TERM."""
        if self.state in ("serving", "armed") and self.kernel.now >= self.held_until:
            self.write({"drains": f"birth {self.birth} was sent SIGTERM"})
            self.drain()

    def hold(self, seconds, by):
        """It does not run for so long: by C code that keeps the interpreter, by a loop in Python, or stopped."""
        if self.kernel.now >= self.held_until:
            self.held_since, self.held_until, self.held_by = self.kernel.now, self.kernel.now + seconds, by
            if seconds < math.inf:
                self.after(seconds, self.resume)

    @property
    def stopped(self):
        """Whether it has been sent SIGSTOP."""
        return self.held_by == "stopped" and self.kernel.now < self.held_until

    @property
    def spoken(self):
        """Whether its watchdog, a thread of its own, has said where it is."""
        held = self.held_by == "python" and self.kernel.now < self.held_until
        return held and self.kernel.awake() - self.kernel.awake_at(self.held_since) >= self.patience > 0

    def resume(self):
        if self.beats_from is not None:
            self.beats_from = self.kernel.now
        waiting, self.waiting = self.waiting, []
        for number in waiting:
            self.signal(number)

    def flood(self, seconds):
        self.pipe.flood_until = self.kernel.now + seconds

    def babble(self):
        self.pipe.data += b"this is no word\n"

    def signal(self, number):
        if self.dead:
            return
        held = self.kernel.now < self.held_until
        if number == signal.SIGKILL:
            self.kernel.at(self.kernel.now + self.kernel.ways["slow_death"], lambda: self.die(int(number)))
        elif self.state == "deaf" or held and (
            self.held_by == "stopped" or number != signal.SIGABRT and self.state != "born"
        ):
            self.waiting.append(number)
        elif self.state == "born" or number == signal.SIGABRT:
            if number in ENDING:
                self.die(int(number))
        elif number == signal.SIGTERM and self.state != "draining":
            self.ready()  # it says that first
            self.drain()
        elif number == signal.SIGQUIT:
            status = 1 << 8 if self.state == "draining" else 0
            self.state = "draining"
            self.after(0.02, lambda: self.die(status))
