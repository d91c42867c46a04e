"""gevent's own tests of pywsgi, run against greenhttp.pywsgi: what differs on purpose, and why.

All others must pass, and these must fail: so the table stays true. Nothing in it needs the network.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent.parent
TIMEOUT = 120  # seconds; only a hang takes as long

HOST = "HTTP/1.1 without Host is refused with 400 (RFC 9112 3.2)"
LENGTHS = "both lengths at once are refused with 400, and HTTP/1.1 without Host too: ambiguous (RFC 9112 6.1)"
TEXT = "it is a ValueError, but with greenhttp's text, which names the field"
ERRORS = "what an application raises is written to error_log; gevent gives it to the hub"
UPGRADE = "there are no upgrades yet: wsgi.input is the content of the request, never the bare connection"

DIFFERENT = {
    "ChunkedInputTests.test_chunked_readline": LENGTHS,
    "ChunkedInputTests.test_close_before_finished": HOST,
    "ChunkedInputTests.test_dirt": HOST,
    "ChunkedInputTests.test_short_read": HOST,
    "ChunkedInputTests.test_short_read_with_content_length": LENGTHS,
    "ChunkedInputTests.test_short_read_with_zero_content_length": LENGTHS,
    "Expect100ContinueTests.test_continue": "closes after a final answer to a client that was not told to continue:"
    " whether its content still comes, nobody knows",
    "MultipleCookieHeadersTest.test": "only Cookie is joined with `; `; Cookie2 is a field like others (RFC 6265)",
    "TestBody304.test_err": "content of a 304 is dropped, not an error: frameworks make it for HEAD and GET alike",
    "TestConnectionUpgrades.test_connection_upgrade": UPGRADE,
    "TestConnectionUpgrades.test_upgrade_websocket": "a WebSocket is refused with 501 until there are some",
    "TestContentLength304.test_err": "a 304 may say the length that a 200 would have (RFC 9110 8.6)",
    "TestEmptyYield.test_err": "content of which no byte came is said to have length 0, not sent in no chunks",
    "TestErrorAfterChunk.test": "a truncated answer ends with a reset, so that nothing takes it for a whole one",
    "TestErrorInApplication.test": ERRORS,
    "TestError_after_start_response.test": ERRORS,
    "TestHTTPResponseSplitting.test_newline_in_header_name": TEXT,
    "TestHTTPResponseSplitting.test_newline_in_header_value": TEXT,
    "TestHTTPResponseSplitting.test_newline_in_status": TEXT,
    "TestHandlerSubclass.test": "greenhttp reads and answers requests itself: a handler_class would never be called",
    "TestMultiLineHeader.test_multiline_116": "a folded line is refused with 400, never guessed at (RFC 9112 5.2)",
    "TestNonLatin1HeaderFromApplication.test": HOST,
    "TestNonLatin1UnicodeHeaderFromApplication.test": HOST,
    "TestWrite304.test_err": "write takes bytes and says so, by a TypeError; of a 304 it drops them",
}


def outcomes(*arguments, **environ):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.doors.gevent_tests", *arguments],
        cwd=HOUSE, env={**os.environ, **environ}, capture_output=True, text=True, timeout=TIMEOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module", params=["libev-cext", "libuv-cffi"])
def found(request):
    if find_spec("gevent.tests") is None:
        pytest.skip("this gevent came without its tests")
    return outcomes(GEVENT_LOOP=request.param)


def test_all_others_pass(found):
    wrong = {name: what for name, what in found.items() if what not in ("passed", "skipped") and name not in DIFFERENT}
    assert wrong == {}


def test_what_is_in_the_table_fails(found):
    assert {name: found.get(name) for name in DIFFERENT if found.get(name) in (None, "passed", "skipped")} == {}


def test_skipped_is_only_what_gevent_skips_itself(found):
    skipped = {name.partition(".")[2] for name, what in found.items() if what == "skipped"}
    assert skipped == {"test_006_reject_long_urls"}  # "Not sure", says gevent; Test414 is about the same


def test_most_of_them_ran(found):
    passed = [name for name, what in found.items() if what == "passed"]
    assert len(passed) > 2 * len(DIFFERENT)
