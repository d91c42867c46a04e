"""Faults to put back: each replaces a text in a named function. Whoever moves the place moves the fault."""

import ast
from dataclasses import dataclass
from pathlib import Path

import greenhttp.supervisor

HOUSE = Path(greenhttp.supervisor.__file__).parent


@dataclass(frozen=True)
class Fault:
    """Attributes:
    name: in words.
    module, function: where, like "master" and "Master._hear".
    old, new: the text, which must be there exactly once, and what takes its place.
    """

    name: str
    module: str
    function: str
    old: str
    new: str


def source(module, fault=None):
    """The text of a module of the supervisor, with the fault in it if it is of there. Raises LookupError."""
    text = (HOUSE / f"{module}.py").read_text()
    if fault is None or fault.module != module:
        return text
    within = ast.parse(text).body
    for name in fault.function.split("."):
        found = [node for node in within if getattr(node, "name", "") == name]
        if not found:
            raise LookupError(f"{fault.name}: there is no {fault.function} in {module}.py")
        within = getattr(found[0], "body", [])
    lines = text.splitlines(keepends=True)
    start, end = found[0].lineno - 1, found[0].end_lineno
    body = "".join(lines[start:end])
    if body.count(fault.old) != 1:
        raise LookupError(f"{fault.name}: {fault.old!r} is {body.count(fault.old)} times in {fault.function}")
    return "".join([*lines[:start], body.replace(fault.old, fault.new), *lines[end:]])


FAULTS = [
    # ---- what could go wrong
    Fault("a worker is kept after it was reaped", "master", "Master._gone",
          "        del self.children[child.pid]\n", ""),
    Fault("half a line is dropped", "master", "Master._hear",
          "(child.unread + data).split", "data.split"),
    Fault("the last words of the dead are not read", "master", "Master._gone",
          "self._hear_all()", "pass"),
    Fault("a fork that fails counts as a worker", "master", "Master._fork",
          'self.policy.gone(number, f"no process for it: {why}", self._read_clock(), None)', "pass"),
    Fault("a fork that fails leaves signals blocked", "master", "Master._fork",
          "undo.callback(signal.pthread_sigmask, signal.SIG_SETMASK, mask)", "pass"),
    Fault("a fork that fails leaks a descriptor", "master", "Master._fork",
          "undo.callback(os.close, ours)", "pass"),
    Fault("one signal is handled a turn", "master", "Master._loop",
          "while self.arrived:", "if self.arrived:"),
    Fault("one of the dead is reaped a turn", "master", "Master._reap",
          "self._gone(child, status)", "return self._gone(child, status)"),
    Fault("the pipe that signals write to is not emptied", "master", "Master._loop",
          "os.read(self.wake, 4096)", "pass"),
    Fault("a program that fails its check is upgraded to", "takeover", "Check.over",
          "if os.waitstatus_to_exitcode(status) != 0:", "if False:"),
    Fault("a worker that draws breath after a sleep hangs", "master", "Master._read_clock",
          "self.awake = now()", "pass"),
    Fault("whoever drains has only the grace", "policy", "Policy._deadline",
          "worker.since + worker.graceful + self.limits.grace", "worker.since + self.limits.grace"),
    Fault("old workers leave before the new generation is proven", "policy", "Policy._reconcile",
          "if not outdated or self._proven >= self.generation or self.target == 0:", "if True:"),
    Fault("all old workers leave when one of the new serves", "policy", "Policy._reconcile",
          "surplus = len(fresh) + len(outdated) - self.target", "surplus = len(outdated) if fresh else 0"),
    Fault("no pause between failed starts", "policy", "Policy._failed",
          "pause = self._pause(self.limits.longest_pause, now)", "pause = 0.0"),
    Fault("it never gives up", "policy", "Policy._failed",
          "self._boots >= self.limits.give_up and not self.serving", "False"),
    Fault("who says that it is ready while it drains serves again", "policy", "Policy.ready",
          "if worker.state is State.STARTING:", "if worker.state is not State.KILLED:"),
    Fault("those that start are killed at a reload", "policy", "Policy._drain_starts",
          'self._drain(worker, "outdated", now)', 'self._kill(worker, "outdated", now)'),
    # ---- what has been wrong
    Fault("a leap of the clock is everybody's time", "master", "Master._read_clock",
          "self.policy.slept(away, when)", "pass"),
    Fault("what is decided is lost in an upgrade", "master", "Master._checked",
          "self.passed = True", "self._become()"),
    Fault("a signal is lost in an upgrade", "takeover", "become",
          "os.kill(os.getpid(), arrived.popleft())", "arrived.popleft()"),
    Fault("half a line is lost in an upgrade", "master", "Master._adopt",
          'left.unread.encode("latin-1")', 'b""'),
    Fault("who was told is forgotten in an upgrade", "master", "Master._adopt",
          'left.told.split(",")', '"".split(",")'),
    Fault("a wish is forgotten in an upgrade", "master", "Master._adopt",
          "left.leaving", '""'),
    Fault("who starts is told to leave before it is heard", "master", "Master._reload",
          "self._hear_all()", "pass"),
    Fault("who starts is told to leave before it is heard, when another has died", "master", "Master._gone",
          "self._hear_all()", "self._hear(child.pipe)"),
    Fault("a reload changes the time of who was started before", "policy", "Policy._deadline",
          "+ worker.graceful + self", "+ self.limits.graceful + self"),
    Fault("a reload changes the patience with who was started before", "master", "Master._look_at_beats",
          "child.timeout + (0", "self.settings.timeout + (0"),
    Fault("a failed generation takes with it who is needed", "policy", "Policy._failed",
          'other.leaving = other.leaving or "its generation failed"', 'self._drain(other, "outdated", now)'),
    Fault("a check that hangs is forgotten where no worker lives", "master", "Master._loop",
          "LOOK if self.children or self.check.pid else None", "LOOK if self.children else None"),
    Fault("a successor that has failed is due never", "policy", "Policy.due",
          "if not self._stopping and self._not_before:",
          "if not self._stopping and self._missing() > 0 and self._not_before:"),
    Fault("deep brackets end the supervisor", "master", "Master._hear",
          "(ValueError, RecursionError)", "ValueError"),
    Fault("a worker that never ends its line has all the attention", "master", "Master._hear",
          "for _ in range(READS):", "while True:"),
    Fault("the watcher is signalled after it was reaped", "master", "Master._reap",
          "self.watcher.pid = 0", "pass"),
    Fault("a first worker that ends with 0 ends all without a word", "master", "Master._gone",
          "elif self.policy.workers[child.number].state is State.STARTING and",
          "elif self.policy.workers[child.number].state is State.STARTING and (child.told or status) and"),
    Fault("who dies while another program starts is said to have never been ready", "master", "Master._gone",
          "elif self.policy.workers[child.number].state is State.STARTING and not self.introduced:",
          "elif not child.told and status and not self.introduced:"),
    Fault("who is told to leave before an upgrade that fails has failed", "policy", "Policy.hand_over",
          "self._drain_starts(now)",
          "self._actions += [Tell(worker.number, Order.DRAIN) for worker in self._in(State.STARTING)]"),
    Fault("who has been told to leave is introduced", "master", "Master._heard",
          "if self.policy.workers[child.number].state is State.STARTING:", "if True:"),
    Fault("who is not needed any more is started", "master", "Master._fork",
          "if self.policy.workers[number].state is not State.STARTING:", "if False:"),
    Fault("who waits for an upgrade that fails has no workers any more", "master", "Master._loop",
          "                self.policy.tick(self._read_clock())  #", "                #"),
    Fault("a second signal to end at once gives more time", "policy", "Policy.stop",
          "not graceful and not quick:", "not graceful:"),
    Fault("who starts leaves for a reload although nobody serves", "policy", "Policy.reload",
          "if self.serving:", "if True:"),
    Fault("one of the old generation that cannot start is a failed attempt", "policy", "Policy._failed",
          "if worker.generation < self.generation and not booted:", "if False:"),
    Fault("what waits at the end is forgotten", "master", "Master._on_signal",
          "waiting = wait > 0 and not self.policy.serving and self._are_waiting()", "waiting = False"),
    Fault("signals have their defaults while it goes down", "master", "Master._signals",
          "if os.getpid() != self.pid or number == signal.SIGCHLD:", "if True:"),
    Fault("a limit that is lowered ends the supervisor", "master", "Master._poll",
          "except OSError as error:", "except BlockingIOError as error:"),
    Fault("a reload without descriptors ends the supervisor", "master", "Master._reload",
          "except (ConfigError, OSError) as error:", "except ConfigError as error:"),
    Fault("a window whose terminal cannot be opened puts all to rest", "master", "_on_a_terminal",
          "return any(os.isatty(fd) for fd in range(3))", "return False"),
    Fault("those that ask in vain are replaced at once", "policy", "Policy._reconcile",
          "if in_vain and self._successor_at:", "if False:"),
    Fault("a sleep before the look at the beats is a worker's silence", "master", "Master._look_at_beats",
          "        for child in list(", "        when = now()\n        for child in list("),
    Fault("each worker that fails is an attempt", "policy", "Policy._is_first",
          "if worker.attempt < self._attempts:", "if False:"),
    Fault("a crash loop has no pauses", "policy", "Policy._crashed",
          "self._pause(self.limits.longest_crash_pause, now)", "0.0"),
    Fault("the first fork that fails ends all", "policy", "Policy._failed",
          "if not self._served and code is not None:", "if not self._served:"),
]  # fmt: skip
