"""One world from its script to its end: `run(script)` says what was wrong, or nothing."""

import types
from dataclasses import dataclass
from importlib import import_module

from greenhttp.errors import ConfigError
from greenhttp.settings.values import Settings
from greenhttp.supervisor.hooked import Hooked
from tests.supervisor.worlds.calls import install
from tests.supervisor.worlds.faults import source
from tests.supervisor.worlds.kernel import Gone, Kernel
from tests.supervisor.worlds.model import Judge

MODULES = ("policy", "takeover", "watch", "journal", "master")


@dataclass(frozen=True)
class Code:
    """Copies of the supervisor's modules, in which names can be replaced without anybody else's seeing it."""

    policy: types.ModuleType
    takeover: types.ModuleType
    watch: types.ModuleType
    journal: types.ModuleType
    master: types.ModuleType
    hooked: type = Hooked


def load(fault=None):
    """The modules as they are, or with one fault put back."""
    made = {}
    for name in MODULES:
        real = import_module(f"greenhttp.supervisor.{name}")
        made[name] = module = types.ModuleType(real.__name__)
        module.__file__ = real.__file__
        exec(compile(source(name, fault), real.__file__, "exec"), vars(module))
    for name in ("Exit", "Limits", "Order", "Policy", "Say", "Settled", "Start", "State", "Tell"):
        setattr(made["master"], name, getattr(made["policy"], name))
    order = made["policy"].Order
    made["master"].ORDERS = {getattr(order, o.name): number for o, number in made["master"].ORDERS.items()}
    made["master"].takeover, made["master"].watch = made["takeover"], made["watch"]
    return Code(**made)


@dataclass(frozen=True)
class Outcome:
    """Attributes:
    wrong: rule and text, or None.
    seconds: of the world.
    calls: system calls of the master.
    events: how often what has happened.
    """

    wrong: tuple[str, str] | None
    seconds: float
    calls: int
    events: dict


def run(script, code, trace=None):
    """Arguments:
    code: from `load`.
    trace: called with each line about what happens.
    """
    ways = script.ways
    judge = Judge(ways)
    kernel = Kernel(script, judge, trace)
    kernel.settings = Settings().replace(
        workers=ways["workers"], boot_timeout=ways["boot"], graceful_timeout=ways["graceful"], timeout=ways["timeout"],
        bind=("127.0.0.1:8000",), reload=ways["reload"],
    )  # fmt: skip
    judge.begin(kernel)
    kernel.at(ways["horizon"], lambda: _peace(kernel, judge))
    code.master.LOOK = 1e9 if ways["blind"] else 1.0
    try:
        _live(kernel, judge, code)
    except Gone:
        pass
    except (Exception, SystemExit) as error:
        where = error.__traceback__
        while where.tb_next is not None:
            where = where.tb_next
        judge.failure = judge.failure or ("crash", f"{error!r} in {where.tb_frame.f_code.co_name}:{where.tb_lineno}")
    return Outcome(judge.failure, kernel.now, kernel.calls, judge.events)


def _live(kernel, judge, code):
    while True:
        install(kernel, code)
        plan = code.master.Plan("shop:app", kernel.settings, reread=lambda: _reread(kernel), where="/srv")
        programs = kernel.execs
        try:
            status = code.master.Master(plan).run()
        except Gone:
            if judge.failure is not None or kernel.execs == programs:
                return  # found, or ended by force
            kernel.over = False
            continue
        judge.ended(status)
        return


def _reread(kernel):
    settings = kernel.reread()
    if settings is None:
        raise ConfigError("shop.toml: cannot be read")
    return "shop:app", settings, frozenset()


def _peace(kernel, judge):
    """Adversity ends; then there is time to recover, a reload, and a stop."""
    kernel.rest()
    slow = 8 * max(judge.wanted, kernel.settings.workers)  # each may have to wait for the one before
    slow *= 5 if any(seen.vain for seen in judge.workers.values()) else 1  # or for the longest pause

    def reload():
        judge.recovered(False)
        kernel.act_signal("HUP")
        kernel.at(kernel.now + 20 + slow, stop)

    def stop():
        judge.recovered(True)
        kernel.act_signal("TERM")

    kernel.at(kernel.now + 100 + slow, reload)  # a start that takes too long, the longest pause, a check, a hang
