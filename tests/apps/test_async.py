"""`async def` views, and asyncio in ordinary ones: six requests at once run side by side in green threads.

No view goes on before all six are in it (async_views.py), so that an answer says that they ran side by side.
"""

import sys

import pytest

from tests.apps.served import OURS, Crowd, Served

TOGETHER = 6
ANSWERS = {
    "async/sleep": "slept",
    "async/blocking": "waited",
    "async/thread": "free free",
    "async/fetch": "plain plain",
    "async/sqlite": "42 42",
    "async/child": "SAID 3",
    "async/back_and_forth": "inner",
    "run/sleep": "slept",
    "run/blocking": "waited",
}
if sys.version_info >= (3, 11):
    ANSWERS["runner/sleep"] = "slept slept"
SERVERS = {
    "alone": (OURS, ()),
    "one worker": (OURS, ("-w", "1")),
    "gunicorn": (("-m", "gunicorn", "-c", "async_gunicorn.py"), ()),
    "pywsgi": (("async_pywsgi.py",), ()),
}
SERVED = [("flask", server) for server in SERVERS] + [("django", "alone"), ("django", "one worker")]


def together(url, target):
    with Crowd(url, TOGETHER) as crowd:
        return {(status, content.decode()) for status, content in crowd.ask(f"/{target}")}


@pytest.mark.parametrize(("framework", "server"), SERVED)
def test_six_requests_with_coroutines_run_side_by_side(framework, server, tmp_path):
    program, options = SERVERS[server]
    served = Served(*options, f"async_{framework}_app:app", server=program, DATABASE=str(tmp_path / "sqlite"))
    served.clean = 0  # all of these end cleanly at TERM
    answers = ANSWERS | ({"async/orm": "True"} if framework == "django" else {})
    with served as url:
        assert {target: together(url, target) for target in answers} == {
            target: {(200, answer)} for target, answer in answers.items()
        }


@pytest.mark.parametrize("framework", ["flask", "django"])
def test_queries_of_an_asynchronous_driver_run_side_by_side(framework, postgresql, tmp_path):
    environ = {"SERVICE": postgresql.url, "DATABASE": str(tmp_path / "sqlite")}
    with Served(f"async_{framework}_app:app", **environ) as url:
        assert together(url, "async/postgresql") == {(200, "42")}
