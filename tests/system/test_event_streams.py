"""Event streams of a supervised command: a browser whose worker is killed, and one whose worker is replaced."""

import os
import signal

import pytest

from tests.browser import Browser, needs_browser
from tests.system.process import Command

APP = """
import os, time
import greenhttp

def numbers(last_event_id):
    number = int(last_event_id or 0)
    while True:
        number += 1
        yield greenhttp.Event({"number": number, "worker": os.getpid()}, id=str(number))
        time.sleep(0.02)

PAGE = '''<!doctype html><title>numbers</title><p id=said></p><script>
const seen = [], lost = []
const events = new EventSource("/events")
events.onerror = () => { lost.push(events.readyState); said.textContent = lost.length }
events.onmessage = event => { seen.push(JSON.parse(event.data)); said.textContent = event.data }
</script>'''

def app(request):
    if request.path == "/events":
        return greenhttp.EventStream(numbers, retry=0.1)
    return greenhttp.Response(PAGE, headers={"Content-Type": "text/html"})
"""


@needs_browser
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_browser_goes_on_where_it_was_when_its_worker_goes(tmp_path, number):
    (tmp_path / "numbers_app.py").write_text(APP)
    arguments = ["numbers_app:app", "-b", "127.0.0.1:0", "-w", "2", "--drain-linger", "100ms"]
    with Command(tmp_path, *arguments) as command, Browser() as browser:
        page = browser.open(f"{command.url()}/")
        first = page.until("seen.length > 3 && seen[0].worker")
        os.kill(first, number)
        # The connection was lost (0: it connects again), and another worker goes on with the number behind the last.
        page.until(f"lost.length > 0 && seen.filter(each => each.worker != {first}).length > 3")
        seen = page.run("seen")
        assert [each["number"] for each in seen] == list(range(1, len(seen) + 1))
        assert page.run("lost.every(state => state == EventSource.CONNECTING)")
