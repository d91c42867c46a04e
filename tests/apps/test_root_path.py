"""Flask and Django below a prefix build their links right: directly, and behind a real nginx that removes it."""

from __future__ import annotations

import contextlib
import json
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from tests.apps.served import TIMEOUT, Served
from tests.fronts.front import Nginx
from tests.system.process import needs

EVIL = "/evil"


class Removing(Nginx):
    """Passes on what is below /below, without that prefix, and says so; all else as it is."""

    site = """
    server {{
        listen 127.0.0.1:{port};
        location /below/ {{
            proxy_pass http://{upstream}/;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-Prefix /below;
        }}
        location / {{
            proxy_pass http://{upstream};
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-Prefix "";
        }}
    }}
"""

    def configuration(self, upstream: str, changes: dict[str, str]) -> str:
        site = self.site.format(port=self.port, upstream=upstream)
        return self.around.format(where=self.where, config=site)


def ask(place: str, target: str, **fields: str) -> tuple[int, str | None, str]:
    """Status, Location and content."""
    with contextlib.closing(HTTPConnection(place, timeout=TIMEOUT)) as client:
        client.request("GET", target, headers={name.replace("_", "-"): value for name, value in fields.items()})
        answer = client.getresponse()
        return answer.status, answer.getheader("Location"), answer.read().decode()


@pytest.fixture(params=["flask", "django"])
def served(request: pytest.FixtureRequest, tmp_path):
    """served(*options, **environ): greenhttp with that framework's application -> host:port."""
    (tmp_path / "data.bin").touch()
    (tmp_path / "no.sqlite").touch()  # nothing here asks for it
    with contextlib.ExitStack() as stack:

        def serve(*options: str, **environ: str) -> str:
            environ |= {"FILE": str(tmp_path / "data.bin"), "DATABASE": str(tmp_path / "no.sqlite")}
            url = stack.enter_context(Served(f"{request.param}_app:app", *options, **environ))
            return urlsplit(url).netloc

        serve.framework = request.param  # type: ignore[attr-defined]
        yield serve


def judge(framework: str, place: str, prefix: str, first: str | None = None) -> None:
    """Whoever asks at that place for what is below the prefix gets links that lead there.

    Arguments:
        first: the prefix of the first request of all, which Django keeps for static files.
    """
    assets = prefix if first is None else first
    status, _, content = ask(place, f"{prefix}/links?a=b", X_Forwarded_Prefix=EVIL, SCRIPT_NAME=EVIL)
    assert status == 200
    assert json.loads(content) == {
        "here": f"http://{place}{prefix}/links?a=b",
        "prefix": prefix if framework == "flask" else f"{prefix}/",
        "path": "/links",
        "me": f"{prefix}/me",
        "static": f"{prefix}/static/a.css" if framework == "flask" else f"{assets}/assets/a.css",
        "outside": f"http://{place}{prefix}/me",
    }
    status, location, _ = ask(place, f"{prefix}/to-me")
    assert (status, location) == (302, f"{prefix}/me")
    assert ask(place, location)[0] == 200
    if framework == "django":
        status, location, _ = ask(place, f"{prefix}/admin/")
        assert (status, location) == (302, f"{prefix}/admin/login/?next={prefix}/admin/")


@pytest.mark.parametrize("way", ["option", "variable", "env"])
def test_directly(served, way):
    options = {"option": ["--root-path", "/below"], "variable": [], "env": ["-e", "SCRIPT_NAME=/below"]}[way]
    place = served(*options, **({"SCRIPT_NAME": "/below"} if way == "variable" else {}))
    judge(served.framework, place, "/below")
    for outside in ("/links", "/belowX/links", "/"):
        assert ask(place, outside) == (404, None, "Not Found\n")


@needs("nginx")
def test_behind_nginx_that_removes_the_prefix(served):
    upstream = served("--root-path-header", "X-Forwarded-Prefix")
    front = Removing(upstream)
    try:
        front.start()
        judge(served.framework, f"127.0.0.1:{front.port}", "/below")
        judge(served.framework, f"127.0.0.1:{front.port}", "", "/below")  # a field that nginx leaves out
    finally:
        front.close()


@needs("nginx")
def test_behind_nginx_that_leaves_the_prefix_and_below_both(served):
    upstream = served("--root-path-header", "X-Forwarded-Prefix", "--root-path", "/whole")
    front = Removing(upstream)
    try:
        front.start()
        judge(served.framework, f"127.0.0.1:{front.port}", "/whole")
        judge(served.framework, f"127.0.0.1:{front.port}", "/below/whole", "/whole")
    finally:
        front.close()
