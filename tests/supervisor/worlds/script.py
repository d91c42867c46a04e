"""What a world is made of: `ways`, settings of the whole, and `items`, its adversities. Made from a seed, or from text.

An item is (when, what, ...). `when` is a second of the world; or (call, n), right before the n-th such system call of
the master has its effect; or None for what is decided beforehand of the n-th birth, fork, check, exec or reread.
"""

import ast
import math
import random
from dataclasses import dataclass, field

DEFAULTS = {
    "workers": 2,  # wanted
    "boot": 10.0, "graceful": 3.0, "timeout": 5.0,  # settings of that name, seconds
    "horizon": 20.0,  # seconds until adversity ends
    "tick": 2e-5,  # seconds that a system call takes
    "reuse": False,  # whether a process gets the lowest number that is free, or always a new one
    "slow_death": 0.0,  # seconds from KILL to the end
    "terminal": False,  # whether WINCH comes from a window
    "watchdog": None,  # seconds between two signs of life that systemd wants
    "reload": False,  # whether files are watched
    "halves": 0.0,  # seconds between two halves of each word, whatever the worker
    "blind": False,  # the master does not look each second: nothing but the policy's own `due` wakes it in time
}  # fmt: skip
WORKER = {
    "way": "ready",  # or failed, dies, never, eof
    "boot": 0.3,  # seconds until that
    "status": 11, "code": 3,  # of an end
    "pause": 0.0,  # seconds between two halves of a word
    "garbage": False,  # whether something else comes before the word
    "drain": 0.1,  # seconds it drains; None: for ever
    "vain": False,  # whether it wishes that in vain
    "life": None, "wish": None,  # seconds after `boot` until it dies, or wants to be replaced
    "kept": False,  # whether somebody else holds its pipe open after its death
}  # fmt: skip
SIGNALS = ("TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "TTIN", "TTOU", "WINCH", "CHLD")
CALLS = ("poll", "read", "fork", "waitpid", "kill", "close", "pthread_sigmask", "memory", "register", "set_blocking",
         "reread", "execv")  # fmt: skip
KINDS = (
    "signal", "more", "reload", "upgrade", "leap", "stall", "clock", "tick", "spurious", "orphan", "death", "hold",
    "leave", "outsider", "connect", "flood", "babble", "watcher", "log", "birth", "loop", "fork", "check", "exec",
    "reread", "limit", "end",
)  # fmt: skip


@dataclass
class Script:
    """See the module."""

    ways: dict
    items: list
    decided: dict = field(init=False)

    def __post_init__(self):
        self.ways = DEFAULTS | self.ways
        self.decided = {(what, n): words for when, what, n, *words in
                        (item for item in self.items if item[0] is None)}  # fmt: skip

    def nth(self, what, n):
        """The words about the n-th of these, or None."""
        return self.decided.get((what, n))

    def text(self):
        """For people, and for `parse`."""
        ways = {name: value for name, value in self.ways.items() if value != DEFAULTS[name]}
        return "\n".join([repr(ways), *map(repr, self.items)]) + "\n"

    @classmethod
    def parse(cls, text):
        text = text.replace("inf)", "1e999)").replace("inf,", "1e999,")
        ways, *items = [ast.literal_eval(line) for line in map(str.strip, text.splitlines()) if line]
        return cls(ways, items)


def made(seed):
    """The script of that seed."""
    chance = random.Random(seed)
    blind = chance.random() < 0.15
    ways = {
        "workers": chance.choice((1, 2, 2, 3, 4)),
        "boot": chance.choice((10.0, 20.0)),
        "graceful": chance.choice((0.0, 3.0, 3.0, 8.0)),
        "timeout": 0.0 if blind else chance.choice((0.0, 5.0, 5.0, 8.0)),
        "horizon": chance.choice((3.0, 10.0, 30.0, 60.0)),
        "tick": chance.choice((2e-5, 2e-5, 2e-5, 0.001, 0.01)),
        "reuse": chance.random() < 0.5,
        "slow_death": chance.choice((0.0, 0.01, 0.5)),
        "terminal": chance.random() < 0.1,
        "watchdog": chance.choice((None, None, 0.5, 2.0)),
        "reload": chance.random() < 0.15,
        "halves": 0.2 if chance.random() < 0.15 else 0.0,
        "blind": blind,
    }
    kinds = [kind for kind in KINDS if chance.random() < 0.35] or ["signal"]
    if blind:
        looked_for = ("leap", "stall", "hold", "upgrade", "check", "exec")  # each second
        kinds = [kind for kind in kinds if kind not in looked_for] or ["reload"]
    made = Maker(chance, ways)
    for _ in range(int(min(40, 2 + chance.expovariate(1 / 8)))):
        made.one(chance.choice(kinds))
    return Script({name: value for name, value in ways.items() if value != DEFAULTS[name]}, made.items)


class Maker:
    """Adversities, one after the other; many happen close to an earlier one."""

    def __init__(self, chance, ways):
        self.chance, self.ways, self.items, self.times = chance, ways, [], [0.3]

    def when(self):
        chance = self.chance
        if chance.random() < 0.3:
            return chance.choice(CALLS), int(1.5 ** chance.uniform(0, 12))
        if chance.random() < 0.6:
            at = chance.choice(self.times) + chance.choice((0.0, 0.001, 0.02, 0.3, 1.0)) * chance.random()
        else:
            at = chance.uniform(0.05, self.ways["horizon"])
        self.times.append(at)
        return round(at, 4)

    def seconds(self, *choices):
        return round(self.chance.choice(choices) * self.chance.uniform(0.5, 1.0), 3)

    def add(self, *item):
        self.items.append(item)

    def one(self, kind):
        getattr(self, f"make_{kind}")()

    def make_signal(self):
        rare = self.chance.random() < 0.1
        self.add(self.when(), "signal", self.chance.choice(SIGNALS if rare else SIGNALS[3:]))

    def make_end(self):
        if self.chance.random() < 0.5:
            self.add(self.when(), "signal", self.chance.choice(SIGNALS[:3]))

    def make_more(self):
        self.add(self.when(), "signal", self.chance.choice(("TTIN", "TTOU")))

    def make_reload(self):
        self.add(self.when(), "signal", "HUP")

    def make_upgrade(self):
        when = self.when()
        self.add(when, "signal", "USR2")
        if isinstance(when, float) and self.chance.random() < 0.5:  # more, about when the one program becomes the other
            later = when + 0.5 + self.chance.uniform(0, 30) * self.ways["tick"]
            self.add(round(later, 5), "signal", self.chance.choice(SIGNALS[3:]))
            sooner = when + 0.5 - self.chance.uniform(0, 0.3)
            self.add(round(sooner, 4), "worker", self.which(), self.chance.choice(("leave", "outsider")))

    def make_leap(self):
        self.add(self.when(), "leap", self.seconds(1, 10, 100, 10000))

    def make_stall(self):
        self.add(self.when(), "stall", self.seconds(0.1, 1, 10, 60))

    def make_clock(self):
        self.add(self.when(), "clock", self.chance.choice((0.0, 0.1)), self.seconds(1, 10, 30))

    def make_tick(self):
        self.add(self.when(), "tick", self.chance.choice((0.0, 0.02, 0.1)), self.seconds(1, 10))

    def make_spurious(self):
        self.add(self.when(), "spurious", self.chance.choice((1, 3)))

    def make_limit(self):
        self.add(self.when(), "limit", self.seconds(0.1, 1, 10, 30))
        if self.chance.random() < 0.5:
            self.add(round(self.times[-1] + self.chance.random(), 4), "signal", self.chance.choice(SIGNALS[3:]))

    def make_orphan(self):
        self.add(self.when(), "orphan", self.chance.choice((0, 9)))

    def make_watcher(self):
        if self.ways["reload"]:
            self.add(self.when(), "watcher", self.chance.choice(("changes", "changes", "dies")))

    def make_log(self):
        self.add(self.when(), "log")
        n = 1 + self.nth()
        for following in range(n, n + self.chance.choice((1, 1, 3))):
            self.add(None, "log", following, self.chance.choice(("fork", "stuck")))

    def which(self):
        return self.chance.randrange(8)

    def make_death(self):
        self.add(self.when(), "worker", self.which(), "die", self.chance.choice((0, 9, 11, 15, 1 << 8, 3 << 8)))

    def make_hold(self):
        by = self.chance.choice(("c", "python", "stopped"))
        seconds = self.chance.choice((math.inf, self.seconds(1, 4, 10, 30)))
        self.add(self.when(), "worker", self.which(), "hold", seconds, by)

    def make_leave(self):
        self.add(self.when(), "worker", self.which(), "leave")

    def make_outsider(self):
        self.add(self.when(), "worker", self.which(), "outsider")

    def make_connect(self):
        self.add(self.when(), "connect")
        if self.chance.random() < 0.5:
            later = self.times[-1] + self.chance.choice((0.0, 0.01, 0.3)) * self.chance.random()
            before = self.times[-1] - self.chance.choice((0.3, 2.0)) * self.chance.random()
            self.add(round(max(0.0, before), 4), "signal", "WINCH")
            self.add(round(later, 4), "signal", "TERM")

    def make_flood(self):
        self.add(self.when(), "worker", self.which(), "flood", self.seconds(0.1, 10))

    def make_babble(self):
        self.add(self.when(), "worker", self.which(), "babble")

    def nth(self):
        return int(1.5 ** self.chance.uniform(0, 8))

    def make_birth(self):
        chance, ways = self.chance, {}
        n = self.nth() + (self.ways["workers"] if chance.random() < 0.85 else 0)  # or all would end before it begins
        for name, values in (
            ("way", ("failed", "dies", "never", "eof")), ("boot", (0.0, 0.02, 5.0, 9.9, 15.0)),
            ("pause", (0.001, 0.2, 3.0)),
            ("drain", (None, 0.0, 2.0, 6.0)), ("life", (0.0, 0.5, 1.0, 5.0)), ("wish", (0.0, 0.5, 5.0)),
            ("garbage", (True,)), ("kept", (True,)), ("status", (0, 9, 15, 3 << 8)), ("code", (1,)),
        ):  # fmt: skip
            if chance.random() < 0.25:
                ways[name] = chance.choice(values)
        for following in range(n, n + chance.choice((1, 1, 1, 2, 8))):
            self.add(None, "birth", following, ways)

    def make_loop(self):
        """Many in a row serve, but not for long; or each wants to be replaced at once; or none of them starts."""
        first = self.nth()
        if self.chance.random() < 0.2:
            first += self.ways["workers"]
            for birth in range(first, first + 6 * self.ways["workers"]):
                self.add(None, "birth", birth, {"way": "failed", "boot": 0.02})
            for _ in range(self.ways["workers"]):
                self.add(round(self.times[-1] + 2.0, 4), "worker", 0, "die", 9)
            return
        vain = self.chance.random() < 0.3
        for birth in range(first, first + self.chance.choice((4, 8, 16))):
            life = {"life": self.seconds(1.6, 3, 6, 20), "status": self.chance.choice((0, 11))}
            self.add(None, "birth", birth, {"wish": self.seconds(0.8, 2), "vain": True} if vain else life)

    def make_fork(self):
        n = self.nth() + (self.ways["workers"] if self.chance.random() < 0.85 else 0)
        where = self.chance.choice(("pipe", "memory", "fork"))
        for following in range(n, n + self.chance.choice((1, 1, 2, 6))):
            self.add(None, "fork", following, where)

    def make_check(self):
        how = self.chance.choice(("cannot", "fails", "late", "never"))
        status, seconds = {"fails": (1, 0.5), "late": (0, 8.0), "never": (0, math.inf)}.get(how, (None, 0.0))
        self.add(None, "check", self.nth(), status, seconds)

    def make_exec(self):
        self.add(None, "exec", self.nth(), "fails")

    def make_reread(self):
        change = self.chance.choice((
            None, {"bind": ("127.0.0.1:1",)}, {"workers": 1}, {"workers": 3}, {"workers": 5}, {"graceful_timeout": 1.0},
            {"graceful_timeout": 6.0}, {"timeout": 3.5}, {"boot_timeout": 5.0},
        ))  # fmt: skip
        if change and "timeout" in change and self.ways["blind"]:
            return  # beats are looked at each second
        self.add(None, "reread", self.nth(), change)
        self.make_reload()
        if change and "graceful_timeout" in change and self.chance.random() < 0.5:
            for birth in range(1, self.ways["workers"] + 1):
                self.add(None, "birth", birth, {"drain": 6.0})
        if change and "timeout" in change:
            self.make_hold()
