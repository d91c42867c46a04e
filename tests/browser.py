"""A headless Chromium and its pages, through the DevTools protocol over a pipe: no port, no driver, no package.

    with Browser() as browser:
        page = browser.open("http://127.0.0.1:8000/")
        page.until("document.title == 'rooms'")
        assert page.run("1 + 1") == 2

The browser ends when the pipe is closed, so none outlives the tests. Mark what needs it with `needs_browser`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

from tests.system.process import needs

TIMEOUT = 60.0  # seconds; only a hang takes as long
CALM = (  # nothing goes out but what the pages ask for, and a page in the background runs as fast as one in front
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic",
    "--disable-extensions", "--disable-background-timer-throttling", "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows", "--disable-features=Translate,MediaRouter,OptimizationHints",
    "--no-first-run", "--no-default-browser-check", "--no-proxy-server", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-sandbox",  # which a superuser cannot have; the pages are ours
)  # fmt: skip
# Checked at every change of the page, and now and then for what is no part of it.
UNTIL = """new Promise(done => {
    const look = () => { const value = (() => (%s))(); if (value) { stop(); done(value) } }
    const watcher = new MutationObserver(look), clock = setInterval(look, 50)
    const stop = () => { watcher.disconnect(); clearInterval(clock) }
    watcher.observe(document, {subtree: true, childList: true, attributes: true, characterData: true})
    look()
})"""

needs_browser = needs("chromium")


class Browser:
    """`with Browser() as browser:`; one with a profile of its own.

    Arguments:
        options: more options of the command.
    """

    def __init__(self, *options: str) -> None:
        self.directory = tempfile.mkdtemp(prefix="greenhttp-browser-")
        self.log = Path(self.directory, "log")
        self._options = options
        self._changed = threading.Condition()
        self._answers: dict[int, dict[str, Any]] = {}
        self._number = 0
        self._ended = False
        self._pages: dict[str, Page] = {}

    def __enter__(self) -> Browser:
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
            theirs_in, ours_out = os.pipe()
            ours_in, theirs_out = os.pipe()
            self._out, self._in = os.fdopen(ours_out, "wb", 0), os.fdopen(ours_in, "rb")
            # It reads commands from descriptor 3 and writes to descriptor 4, whatever else has these numbers here.
            command = f'exec {{i}}<&{theirs_in} {{o}}>&{theirs_out} 3<&$i 4>&$o; exec chromium "$@"'
            arguments = [f"--user-data-dir={self.directory}", "--headless", "--remote-debugging-pipe", *CALM]
            with self.log.open("w") as log:
                self.process = subprocess.Popen(
                    ["bash", "-c", command, "chromium", *arguments, *self._options, "about:blank"],
                    pass_fds=(theirs_in, theirs_out), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                )  # fmt: skip
            os.close(theirs_in)
            os.close(theirs_out)
            stack.callback(self._end)
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
            self.ask("Browser.getVersion")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _end(self) -> None:
        self._out.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(10)
        self._in.close()

    def _read(self) -> None:
        """Messages end with a zero byte."""
        rest = b""
        while piece := os.read(self._in.fileno(), 1 << 16):
            *whole, rest = (rest + piece).split(b"\0")
            for message in map(json.loads, whole):
                with self._changed:
                    if "id" in message:
                        self._answers[message["id"]] = message
                    elif page := self._pages.get(message.get("sessionId")):
                        page._heard(message["method"], message["params"])
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def ask(self, method: str, session: str | None = None, seconds: float = TIMEOUT, **parameters: Any) -> Any:
        """The result of that command of the protocol."""
        with self._changed:
            self._number += 1
            number = self._number
            message = {"id": number, "method": method, "params": parameters}
            if session is not None:
                message["sessionId"] = session
            self._out.write(json.dumps(message).encode() + b"\0")
            there = self._changed.wait_for(lambda: number in self._answers or self._ended, seconds)
            assert not self._ended, f"the browser has ended: {self.log.read_text()[-2000:]}"
            assert there, f"{method} takes longer than {seconds} s: {parameters}"
            answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def open(self, url: str, width: int = 900, height: int = 700, phone: bool = False) -> Page:
        """A page of that size in CSS pixels; it has loaded."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        page.ask("Runtime.enable")
        page.ask("Log.enable")
        page.ask("Page.enable")
        scale = 2 if phone else 1
        page.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )
        page.go(url)
        return page


class Page:
    """Attributes:
        errors: uncaught errors of its scripts, and what the browser itself has to say about it (a refused
            connection, a forbidden address).
    """

    def __init__(self, browser: Browser, session: str) -> None:
        self.browser, self.session = browser, session
        self.errors: list[str] = []
        self.loads = 0

    def _heard(self, method: str, parameters: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(parameters["entry"]["text"])
        elif method == "Page.loadEventFired":
            self.loads += 1

    def ask(self, method: str, seconds: float = TIMEOUT, **parameters: Any) -> Any:
        return self.browser.ask(method, self.session, seconds, **parameters)

    def go(self, url: str) -> None:
        """To another address; a page whose address differs behind the # alone would not load again."""
        before = self.loads
        failed = self.ask("Page.navigate", url=url).get("errorText")
        assert failed is None, f"{url}: {failed}"
        self._loaded(before)

    def reload(self) -> None:
        before = self.loads
        self.ask("Page.reload")
        self._loaded(before)

    def _loaded(self, before: int) -> None:
        with self.browser._changed:
            assert self.browser._changed.wait_for(lambda: self.loads > before, TIMEOUT), "the page does not load"

    def run(self, expression: str, seconds: float = TIMEOUT) -> Any:
        """Its value, which must have a form in JSON; of a promise, what becomes of it."""
        done = self.ask(
            "Runtime.evaluate", seconds, expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"].get("exception", {}).get("description", done)
        return done["result"].get("value")

    def until(self, expression: str, seconds: float = TIMEOUT) -> Any:
        """Wait until it is true; its value."""
        try:
            return self.run(UNTIL % expression, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\nthe page: {self.run('document.body.innerText')}") from None

    def type(self, text: str) -> None:
        """Into whatever has the focus, as if it had been pasted."""
        self.ask("Input.insertText", text=text)

    def enter(self) -> None:
        """Press that key."""
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
        self.ask("Input.dispatchKeyEvent", type="keyDown", text="\r", **key)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **key)

    def screenshot(self, path: Path) -> None:
        """PNG of what is in sight."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))
