"""The guide is built without a warning, and has in it what is taken from the code."""

import re
import subprocess
import sys

import pytest

import greenhttp
from greenhttp.settings.table import SETTINGS
from tests.docs.session import ROOT

pytest.importorskip("sphinx")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("guide")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d", out / "doctrees"]
    done = subprocess.run([*command, ROOT / "docs", out / "html"], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    return out / "html"


def headings(page):
    return re.findall(r"<h[23]>(?:<[^>]+>)*([\w ]+)<", page.read_text())


def test_every_setting_has_an_entry(built):
    assert [name for name in headings(built / "settings.html") if name in {s.name for s in SETTINGS}] == [
        setting.name for setting in SETTINGS
    ]


def test_every_public_name_has_an_entry(built):
    names = [name for name in greenhttp.__all__ if name != "__version__"]
    assert [name for name in headings(built / "reference.html") if name in names] == names


def test_every_page_is_reached_from_the_first(built):
    index = (built / "index.html").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert f'href="{page.stem}.html' in index or page.stem == "index", page
