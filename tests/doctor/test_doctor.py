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
    assert re.match(r"GET / blocks the hub for more than 0\.3 s at .*endless\.py:\d+ in app", done.stderr), done.stderr


def test_the_report_for_people_says_what_to_do(doctor):
    code, out, _ = doctor(BLOCKS, "--request", "/slow")
    assert code == 1
    assert re.search(r"^blocks  GET /slow blocked the hub.*\n +make that call cooperative.*offload", out, re.MULTILINE)


def test_what_waits_cooperatively_is_no_finding(doctor):
    code, out, _ = doctor(BLOCKS.replace("plain_sleep(0.5)", "__import__('time').sleep(0.5)"), "--request", "/slow")
    assert code == 0, out


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


NOTES = [
    ("import asyncio", "asyncio"),
    ("import multiprocessing", "fork"),
    ("from gevent import monkey\nreal = monkey.get_original('_thread', 'start_new_thread')", "real"),
    ("import signal\nsignal.signal(signal.SIGTERM, lambda *_: None)", "signal"),
]


@pytest.mark.parametrize(("code", "kind"), NOTES)
def test_what_is_worth_knowing_is_a_note(doctor, code, kind):
    status, out, _ = doctor(f"{code}\n{APP}", "--json")
    (found,) = findings(out, kind)
    assert (status, found["blocks"]) == (0, False)


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
    assert "--request and --json work only with greenhttp doctor APP" in done.stderr


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
