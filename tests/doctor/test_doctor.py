"""`greenhttp doctor`: small applications, each with one problem on purpose, examined by the command in a process."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from greenhttp.doctor.table import PACKAGES

TOP = Path(__file__).parent.parent.parent
APP = """
from flask import Flask
app = Flask(__name__)

@app.get("/")
def index():
    return "fine"
"""


@pytest.fixture
def doctor(tmp_path):
    """doctor(code, *options, name=code of another module) -> exit code, findings by kind (with --json), stderr"""

    def visit(code, *options, environ=(), app="shop:app", **others):
        for name, text in {"shop": code, **others}.items():
            (tmp_path / f"{name}.py").write_text(text)
        clean = {key: value for key, value in os.environ.items() if not key.startswith("GREENHTTP_")}
        clean |= {"PYTHONPATH": str(TOP), "PYTHON_COLORS": "0", **dict(environ)}
        command = [sys.executable, "-m", "greenhttp", "doctor", app, *options]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, env=clean, timeout=120, check=False
        )
        return done.returncode, done.stdout, done.stderr

    return visit


def findings(text, kind):
    return [each for each in json.loads(text)["findings"] if each["kind"] == kind]


def test_a_clean_application_is_healthy(doctor):
    code, out, err = doctor(APP)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith("shop:app: blocking: nothing, notes: ")
    assert out.endswith(" (tried: GET /)\n")
    assert "blocks  " not in out


def test_it_asks_below_the_root_path_for_whichever_host(doctor):
    code, out, err = doctor(APP, "--root-path", "/below", "--allowed-hosts", "example.com")
    assert (code, err) == (0, "")
    assert "was answered with" not in out
    assert out.endswith(" (tried: GET /below/)\n")


def test_it_asks_without_the_proxy_protocol(doctor):
    code, out, err = doctor(APP, "--proxy-protocol=any", "--proxy-allow-from", "192.0.2.1")
    assert (code, err) == (0, "")
    assert "was answered with" not in out


BLOCKS = APP + """
from gevent import monkey
plain_sleep = monkey.get_original("time", "sleep")

@app.get("/slow")
def slow():
    plain_sleep(0.5)  # this line
    return "late"
"""


def test_a_request_that_holds_the_hub_is_found_with_its_line(doctor, tmp_path):
    code, out, _ = doctor(BLOCKS, "--json", "--request", "GET /", "--request", "/slow")
    line = 1 + next(number for number, text in enumerate(BLOCKS.splitlines()) if "this line" in text)
    (found,) = findings(out, "blocked")
    assert code == 1 and json.loads(out)["requests"] == ["GET /", "GET /slow"]
    said = re.search(rf"GET /slow blocked the hub for (\S+) s at .*shop\.py:{line} in slow\(\)", found["what"])
    assert float(said[1]) >= 0.5
    assert found["blocks"]


ENDLESS = """
import greenhttp.patch
from greenhttp.doctor import probe
from greenhttp import Server

def app(request):
    while True:
        pass

probe.PATIENCE = 0.3
probe.probe(Server(app), [("GET", "/")])
"""


def test_a_request_that_holds_the_hub_for_ever_is_given_up(tmp_path):
    (tmp_path / "endless.py").write_text(ENDLESS)
    done = subprocess.run(
        [sys.executable, "endless.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(TOP)},
    )  # fmt: skip
    assert done.returncode == 1
    said = r"greenhttp: GET / blocks the hub for more than 0\.3 s at .*endless\.py:\d+ in app"
    assert re.match(said, done.stderr), done.stderr


def test_the_report_for_people_says_what_to_do(doctor):
    code, out, _ = doctor(BLOCKS, "--request", "/slow")
    assert code == 1
    assert re.search(r"^blocks  GET /slow blocked the hub.*\n +make that call cooperative.*offload", out, re.MULTILINE)


def test_what_waits_cooperatively_is_no_finding(doctor):
    code, out, _ = doctor(BLOCKS.replace("plain_sleep(0.5)", "__import__('time').sleep(0.5)"), "--request", "/slow")
    assert code == 0, out


def test_what_the_servers_own_limits_would_refuse_is_no_finding(doctor):
    code = "import time\n\ndef app(request):\n    time.sleep(0.02)\n    return 'fine'\n"
    status, out, err = doctor(code, "--concurrency", "1", "--queue", "0")
    assert (status, err) == (0, "")
    assert ": blocking: nothing, " in out


def test_an_offloaded_call_is_no_finding(doctor):
    patient = BLOCKS.replace("plain_sleep(0.5)", "__import__('greenhttp').offload(plain_sleep, 0.5)")
    assert doctor(patient, "--request", "/slow")[0] == 0


def test_what_sitecustomize_takes_too_early_is_named_with_its_file(doctor, tmp_path):
    environ = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{TOP}"}
    code, out, _ = doctor(APP, "--json", environ=environ, sitecustomize="import early_bird",
                          early_bird="from time import sleep")  # fmt: skip
    (found,) = findings(out, "early")
    assert (code, found["subject"], found["blocks"]) == (1, "early_bird", True)
    assert str(tmp_path / "early_bird.py") in found["what"]


WITH_GEVENT = """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "gevent":
            import companion
sys.meta_path.insert(0, Finder())
"""


def test_what_gevent_itself_imports_is_not_too_early(doctor, tmp_path):
    environ = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{TOP}"}
    code, out, err = doctor(APP, "--json", environ=environ, sitecustomize=WITH_GEVENT,
                            companion="from time import sleep")  # fmt: skip
    assert (code, findings(out, "early"), err) == (0, [], "")


def test_an_unpatched_process_is_found(doctor):
    code, out, _ = doctor(APP, "--json", "--no-patch", app="other:app", other=APP)
    # What examines must not patch what was not to be patched.
    (found,) = findings(out, "unpatched")
    assert code == 1 and "socket" in found["subject"]


def test_an_imported_driver_blocks_and_one_that_is_only_there_is_a_note(doctor):
    fake = {"MySQLdb": "", "ibm_db": ""}
    code, out, _ = doctor("import MySQLdb\n" + APP, "--json", **fake)
    found = {each["subject"]: each for each in findings(out, "package")}
    assert code == 1
    assert (found["MySQLdb"]["blocks"], found["ibm_db"]["blocks"]) == (True, False)
    assert "PyMySQL" in found["MySQLdb"]["advice"]


def test_a_driver_that_a_request_imports_is_found(doctor):
    late = APP.replace('    return "fine"', '    import MySQLdb\n    return "fine"')
    code, out, _ = doctor(late, "--json", MySQLdb="")
    assert code == 1
    assert [each["subject"] for each in findings(out, "package") if each["blocks"]] == ["MySQLdb"]


@pytest.mark.parametrize("name", ["psycopg2", "grpc", "pymssql", "zmq"])
def test_real_drivers(doctor, name):
    pytest.importorskip(name)
    code, out, _ = doctor(f"import {name}\n{APP}", "--json")
    assert code == 1
    assert [each["subject"] for each in findings(out, "package") if each["blocks"]] == [name]


def test_psycopg2_that_waits_cooperatively_is_no_finding(doctor):
    pytest.importorskip("psycopg2")
    cure = "import psycopg2.extensions\npsycopg2.extensions.set_wait_callback(lambda connection: None)\n"
    code, out, _ = doctor(cure + APP, "--json")
    assert (code, [each for each in findings(out, "package") if each["subject"] == "psycopg2"]) == (0, [])


DRIVER = """
import MySQLdb
from greenhttp import offload

def read():
    return MySQLdb.connect()

def app(environ, start_response):
    offload(read)
    start_response("200 OK", [("Content-Length", "0")])
    return []
"""


def test_a_driver_that_requests_call_offloaded_does_not_count(doctor):
    driver = "def connect():\n    return None\n"
    code, out, _ = doctor(DRIVER, "--json", MySQLdb=driver)
    (found,) = [each for each in findings(out, "package") if each["subject"] == "MySQLdb"]
    assert (code, found["blocks"]) == (0, False)
    code, out, _ = doctor(DRIVER.replace("offload(read)", "read(), offload(read)"), "--json", MySQLdb=driver)
    assert code == 1


SHARED = """
import gevent.event
busy, second = [], gevent.event.Event()

def app(environ, start_response):
    busy.append(1)
    if len(busy) > 1:
        second.set()
    alone = not asked or not second.wait(30)
    asked.append(1)
    start_response("200 OK" if alone else "500 Broken", [("Content-Length", "0")])
    busy.pop()
    return []

asked = []
"""


def test_what_fails_only_beside_other_requests_is_found(doctor):
    code, out, _ = doctor(SHARED, "--json")
    (found,) = findings(out, "together")
    assert (code, found["blocks"], findings(out, "answer")) == (1, True, [])
    assert found["what"] == "GET / was answered with 200 alone; beside others, 6 of 6 with 500"


def test_what_is_accepted_does_not_count(doctor):
    code, out, _ = doctor("import MySQLdb\n" + APP, "--json", "--accept", "MySQLdb", MySQLdb="")
    (found,) = [each for each in findings(out, "package") if each["subject"] == "MySQLdb"]
    assert (code, found["blocks"]) == (0, False)
    code, out, err = doctor("import MySQLdb\n" + APP, "--accept", "package", "--accept", "pymssgl", MySQLdb="")
    assert code == 0
    assert "MySQLdb (imported by the application): mysqlclient waits for the server in C (accepted)\n" in out
    assert err == "greenhttp: --accept: nothing was found of pymssgl\n"


ENDS = [
    ("import os; os._exit(0)", 3, "shop:app ended the process (exit code 0) while it was loaded"),
    ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", 3, "shop:app crashed (SIGSEGV) while it was loaded"),
    ("import time; time.sleep(1e6)", 1, "shop:app is not loaded after 2 s: it is at {path}:1 in <module>()"),
    (APP.replace('return "fine"', "import os; os._exit(7)"), 3,
     "shop:app ended the process (exit code 7) while it answered GET /"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "status", "line"), ENDS, ids=["exits", "crashes", "blocks", "exits in a request"])
def test_an_application_that_does_not_come_to_an_end_is_said(doctor, tmp_path, code, status, line):
    done = doctor(code, "--boot-timeout", "2s")
    assert (done[0], done[1]) == (status, "")
    assert done[2].startswith(f"greenhttp: {line.format(path=tmp_path / 'shop.py')}")
    assert len(done[2].splitlines()) == 1


def test_nothing_that_the_application_leaves_running_is_heard_in_the_end(doctor):
    left = "import atexit, threading, time\natexit.register(lambda: 1 / 0)\n"
    left += "threading.Thread(target=time.sleep, args=(1e6,)).start()\nimport sys; sys.stdout = sys.stderr = None\n"
    code, out, err = doctor(left + APP)
    assert (code, err) == (0, "")
    assert out.endswith(" (tried: GET /)\n")


def test_what_serves_websocket_is_named(doctor):
    code, out, _ = doctor("import simple_websocket\n" + APP, "--json", simple_websocket="")
    (found,) = [each for each in findings(out, "package") if each["subject"] == "simple_websocket"]
    assert (code, found["blocks"]) == (0, False)
    assert "WebSocket" in found["advice"]


def test_async_views_of_flask_are_named(doctor):
    code, out, _ = doctor(APP + "\n@app.get('/late')\nasync def late():\n    return 'late'\n", "--json")
    assert (code, [each["subject"] for each in findings(out, "async")]) == (0, ["shop.late"])


DJANGO = """
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x")

def index(request):
    return HttpResponse("fine")

async def late(request):
    return HttpResponse("late")

urlpatterns = [path("", index), path("late", late)]
app = get_wsgi_application()
"""


def test_what_django_does_not_see_is_named(doctor):
    pytest.importorskip("django")
    code, out, _ = doctor(DJANGO, "--json")
    assert (code, [each["subject"] for each in findings(out, "async")]) == (0, ["shop.late"])
    (found,) = findings(out, "chunked")
    assert "--gather-chunked SIZE" in found["advice"]


NOTES = [
    ("import asyncio\nloop = asyncio.new_event_loop()", "asyncio"),
    ("import multiprocessing", "fork"),
    ("from gevent import monkey\nreal = monkey.get_original('_thread', 'start_new_thread')", "real"),
    ("import signal\nsignal.signal(signal.SIGTERM, lambda *_: None)", "signal"),
]


@pytest.mark.parametrize(("code", "kind"), NOTES)
def test_what_is_worth_knowing_is_a_note(doctor, code, kind):
    status, out, _ = doctor(f"{code}\n{APP}", "--json")
    (found,) = findings(out, kind)
    assert (status, found["blocks"]) == (0, False)


def test_asyncio_itself_is_no_finding(doctor):
    status, out, _ = doctor(f"import asyncio\n{APP}", "--json")
    assert (status, findings(out, "asyncio")) == (0, [])


def test_an_answer_that_is_an_error_is_said(doctor):
    status, out, _ = doctor(APP.replace('"fine"', "1 / 0"), "--json")
    assert status == 0
    assert [each["what"] for each in findings(out, "answer")] == ["GET / was answered with 500"]


def test_an_answer_that_refuses_the_request_is_said(doctor):
    refusing = APP + "\n@app.before_request\ndef refuse():\n    return 'who are you?', 403\n"
    status, out, _ = doctor(refusing, "--json")
    assert status == 0
    assert [each["what"] for each in findings(out, "answer")] == ["GET / was answered with 403"]


@pytest.mark.parametrize("asked", ["nonsense", "GET /caf\u00e9", "GET /a\tb"])
def test_what_is_no_request_is_refused_in_a_line(doctor, asked):
    code, out, err = doctor(APP, "--request", asked)
    assert (code, out, len(err.splitlines())) == (2, "", 1)


def test_exit_codes_of_mistakes(doctor):
    assert doctor("1 / 0")[0] == 3
    assert doctor(APP, app="absent:app")[0] == 3


def test_the_options_are_the_doctors_alone(tmp_path):
    command = [sys.executable, "-m", "greenhttp", "--json", "shop:app"]
    environ = {**os.environ, "PYTHONPATH": str(TOP)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 2
    assert "--request, --accept and --json work only with greenhttp doctor APP" in done.stderr


def test_an_application_named_doctor_is_still_served(tmp_path):
    (tmp_path / "doctor.py").write_text(APP)
    for words in (["doctor:app"], ["serve", "doctor"]):
        command = [sys.executable, "-m", "greenhttp", "--check", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": str(TOP)}, check=False)  # fmt: skip
        assert (done.returncode, done.stdout[:10]) == (0, "ok: doctor"), done.stderr


def test_each_package_is_listed_once_with_what_to_do():
    names = [package.module for package in PACKAGES]
    assert len(names) == len(set(names))
    assert all(package.why and package.advice for package in PACKAGES)
