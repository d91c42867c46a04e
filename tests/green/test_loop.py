"""green/loop.py: which loop, for every system and whatever is installed."""

import os
import subprocess
import sys

import pytest

from greenhttp.errors import ConfigError
from greenhttp.green.loop import LIBEV, LIBUV, Choice, Facts, choose, decide

LINUX = Facts("linux", frozenset({"epoll", "poll", "select"}), libuv=True)
MAC = Facts("darwin", frozenset({"kqueue", "select"}), libuv=True)


def but(facts, **changes):
    return Facts(**{**vars(facts), **changes})


@pytest.mark.parametrize(
    ("name", "facts", "choice"),
    [
        ("auto", LINUX, Choice()),
        ("auto", but(LINUX, libuv=False), Choice()),
        ("auto", but(LINUX, backends=frozenset()), Choice()),
        ("libev", LINUX, Choice(LIBEV)),
        ("libuv", LINUX, Choice(LIBUV)),
        ("auto", MAC, Choice(backend="kqueue")),
        ("auto", but(MAC, libuv=False), Choice(backend="kqueue")),
        ("auto", but(MAC, backends=frozenset({"select"})), Choice(LIBUV)),
        ("auto", but(MAC, backends=frozenset()), Choice(LIBUV)),
        ("auto", but(MAC, backends=frozenset({"select"}), libuv=False), Choice()),
        ("libev", MAC, Choice(LIBEV, "kqueue")),
        ("libev", but(MAC, backends=frozenset({"select"})), Choice(LIBEV)),
        ("libuv", MAC, Choice(LIBUV)),
    ],
)
def test_the_choice(name, facts, choice):
    assert decide(name, facts) == choice


@pytest.mark.parametrize("facts", [LINUX, MAC])
@pytest.mark.parametrize("told", [{"named": "libuv-cffi"}, {"named": "libev-cext"}, {"configured": True}])
def test_auto_leaves_alone_what_gevent_was_told(facts, told):
    assert decide("auto", but(facts, **told)) == Choice()


def test_a_backend_that_gevent_was_told_stays_though_the_loop_is_named():
    assert decide("libev", but(MAC, configured=True)) == Choice(LIBEV)
    assert decide("libuv", but(MAC, named="libev-cext")) == Choice(LIBUV)


@pytest.mark.parametrize("facts", [LINUX, MAC])
@pytest.mark.parametrize("running", ["libev", "libuv"])
def test_a_loop_that_runs_already_cannot_be_changed(facts, running):
    facts = but(facts, running=running)
    assert decide("auto", facts) == decide(running, facts) == Choice()
    other = {"libev": "libuv", "libuv": "libev"}[running]
    with pytest.raises(ConfigError, match=f"^loop: {other} cannot be used, {running} runs already"):
        decide(other, facts)


@pytest.mark.parametrize(
    ("name", "facts", "message"),
    [
        ("libuv", but(LINUX, libuv=False), "loop: libuv needs cffi; pip install greenhttp[libuv]"),
        ("libuv", but(MAC, libuv=False), "loop: libuv needs cffi; pip install greenhttp[libuv]"),
        ("libev", but(LINUX, backends=frozenset()), "loop: this gevent was built without libev; give libuv or auto"),
        ("asyncio", LINUX, "loop: 'asyncio' is not an event loop; give auto, libev or libuv"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(name, facts, message):
    with pytest.raises(ConfigError) as caught:
        decide(name, facts)
    assert str(caught.value) == message


# ---- applied, each in a process of its own: a hub cannot be changed

APPLIED = """
import sys
from greenhttp.errors import ConfigError
from greenhttp.green.loop import choose
{before}
try:
    choose({name!r})
    choose({name!r})
except ConfigError as error:
    sys.exit(str(error))
from gevent._hub_local import get_hub_if_exists
print("hub" if get_hub_if_exists() else "no hub")
import gevent
print(type(gevent.get_hub().loop).__module__, gevent.get_hub().loop.backend)
"""

WITHOUT_CFFI = "sys.modules['_cffi_backend'] = None"


def applied(name, before="", **environ):
    """Exit status, what was printed, what was complained about."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GEVENT_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", APPLIED.format(name=name, before=before)],
        env={**kept, **environ}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout.split("\n"), done.stderr.strip()


@pytest.mark.parametrize("name", ["auto", "libev"])
@pytest.mark.parametrize("before", ["", WITHOUT_CFFI])
def test_libev_is_what_there_is_without_further_installing(name, before):
    status, printed, complaint = applied(name, before)
    assert (status, complaint) == (0, "")
    wait = "kqueue" if sys.platform == "darwin" else "epoll"
    assert printed[:2] == ["no hub", f"gevent.libev.corecext {wait}"]


def test_libuv():
    pytest.importorskip("cffi")
    assert applied("libuv") == (0, ["no hub", "gevent.libuv.loop default", ""], "")
    assert applied("auto", GEVENT_LOOP="libuv-cffi") == (0, ["no hub", "gevent.libuv.loop default", ""], "")


CARELESS = """
import gevent
from greenhttp.green.loop import choose
choose("libuv")
loop = gevent.get_hub().loop
before = len(loop.debug())  # what libuv has in its list
for _ in range(10):
    gevent.Timeout.start_new(5).cancel()
gevent.sleep(0.001)
gevent.sleep(0.001)
print(len(loop.debug()) - before)  # but for the timer of the last sleep, which is being closed
"""


def test_timeouts_that_an_application_only_cancels_do_not_break_libuv():
    pytest.importorskip("cffi")
    done = subprocess.run([sys.executable, "-W", "error", "-c", CARELESS], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


LATE = """
import os
import gevent
from gevent.os import fork_and_watch, waitpid
from greenhttp.green.loop import choose
choose("libuv")
loop = gevent.get_hub().loop
collect = loop._sigchld_callback
for early in (True, False):  # whether they come before those who are noted are told, or just after that

    def collect_meanwhile():
        late = [gevent.spawn(waitpid, pid, 0) for _ in range(2)] if early else []
        collect()
        waiting.extend(late or [gevent.spawn(waitpid, pid, 0) for _ in range(2)])

    waiting = []
    loop._sigchld_callback = collect_meanwhile
    goes_on, tell = os.pipe()
    pid = fork_and_watch()
    if not pid:
        os.read(goes_on, 1)
        os._exit(7)
    waiting.append(gevent.spawn(waitpid, pid, 0))
    gevent.sleep(0)
    os.write(tell, b"!")
    gevent.sleep(0.5)
    gevent.joinall(waiting, timeout=5)
    print(len(waiting), {each.value == (pid, 7 << 8) for each in waiting}, dict(loop._child_watchers))
"""


def test_who_waits_for_a_child_that_has_just_been_collected_is_told_on_libuv():
    pytest.importorskip("cffi")
    quiet = "-W", "ignore:This process:DeprecationWarning"
    program = [sys.executable, "-W", "error", *quiet, "-c", LATE]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 {True} {}\n" * 2, "")


def test_a_backend_from_the_environment():
    assert applied("auto", GEVENT_BACKEND="select")[1][1] == "gevent.libev.corecext select"
    assert applied("libev", GEVENT_BACKEND="select")[1][1] == "gevent.libev.corecext select"


def test_libuv_without_cffi():
    needs = "libuv needs cffi; pip install greenhttp[libuv]"
    assert applied("libuv", WITHOUT_CFFI) == (1, [""], f"loop: {needs}")
    assert applied("auto", WITHOUT_CFFI, GEVENT_LOOP="libuv-cffi") == (1, [""], f"GEVENT_LOOP=libuv-cffi: {needs}")


def test_a_loop_in_the_environment_that_gevent_does_not_know():
    status, _, complaint = applied("auto", GEVENT_LOOP="asyncio")
    assert status == 1
    assert complaint.startswith("GEVENT_LOOP=asyncio: Cannot import 'asyncio'")
    assert "\n" not in complaint


def test_a_hub_that_is_there_already():
    made = "import gevent; gevent.get_hub()"
    assert applied("libev", made)[:2] == applied("auto", made)[:2]
    status, _, complaint = applied("libuv", made)
    assert (status, complaint) == (
        1, "loop: libuv cannot be used, libev runs already; set it before gevent is used",
    )  # fmt: skip


def test_choosing_what_this_process_has_is_nothing():
    choose("auto")
