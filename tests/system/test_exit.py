"""sys.exit() in a green thread that the application has started: named, and running requests are answered first."""

import os
import re
import sys

import pytest

from tests.system.test_fork import Served

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the tests look at processes through /proc")

APP = '''
import os, sys, time
import gevent

def wait_for(name):
    while not os.path.exists(name) and not os.path.exists("over"):
        time.sleep(0.005)

def leaves(code):
    gevent.sleep(0)
    sys.exit(code)

def again():
    wait_for("again")
    try:
        leaves(5)
    finally:
        open("left-again", "w").close()

def raises():
    raise KeyboardInterrupt

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/held":
        open("held", "w").close()
        wait_for("go")
    if path.startswith("/exit/"):
        gevent.spawn(leaves, eval(path[6:]))
        gevent.spawn(again)
    if path == "/raise":
        gevent.spawn(raises)
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
'''

NAMED = "sys.exit(7) in a green thread of the application"


@pytest.mark.parametrize("server", ["alone", "supervised", "worker class"])
def test_it_is_named_with_its_stack_and_running_requests_are_answered_first(tmp_path, server):
    with Served(tmp_path, server, APP) as served:
        own = served.ask("/pid")
        with served.connect() as held:
            served.send(held, "/held")
            served.eventually(lambda: (tmp_path / "held").exists())
            assert served.ask("/exit/7") == own
            served.eventually(lambda: f"{NAMED}; the process finishes" in served.log())
            served.touch("again")  # a second one, while it drains
            served.eventually(lambda: "sys.exit(5) in a green thread" in served.log())
            served.touch("go")
            assert served.answer(held) == own
        if server == "alone":
            assert served.wait(30) == 7
        elif server == "supervised":
            served.eventually(lambda: "worker 1 finished its requests and ended: exit code 7" in served.log())
            assert f"worker 1 drains: {NAMED}" in served.log()
        else:
            served.eventually(lambda: re.search(rf"pid:{own}\) exited with code 7", served.log()))
        if server != "alone":
            assert served.eventually(lambda: served.ask("/pid")) != own  # another worker serves
            served.terminate()
            assert served.wait(30) == 0
        text = served.log()
        assert "in leaves" in text and "running.py" not in text.partition(NAMED)[2].partition("SystemExit")[0]
        assert "could not be loaded" not in text and "died while" not in text and " cut: " not in text


@pytest.mark.parametrize(("path", "code"), [("/exit/0", 0), ("/exit/None", 0), ("/exit/'bye'", 1), ("/raise", 1)])
def test_the_exit_code_is_kept(tmp_path, path, code):
    with Served(tmp_path, "alone", APP) as served:
        served.ask(path)
        assert served.wait(30) == code
        assert "in a green thread of the application; the process finishes running requests and ends" in served.log()


@pytest.mark.parametrize("code", [3, 4])
def test_it_does_not_stop_gunicorn_which_takes_these_codes_for_a_failed_start(tmp_path, code):
    with Served(tmp_path, "worker class", APP) as served:
        own = served.ask("/pid")
        served.ask(f"/exit/{code}")
        served.eventually(lambda: not os.path.exists(f"/proc/{own}"))
        assert served.eventually(lambda: served.ask("/pid")) != own
        served.terminate()
        assert served.wait(30) == 0
