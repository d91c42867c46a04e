"""Links lead to files and headings that exist. Those of README.md are absolute, because PyPI shows that page too."""

import re
from urllib.parse import urlsplit

import pytest

from tests.docs.session import ROOT

README = ROOT / "README.md"
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "examples" / "README.md"]
OURS = re.compile(r"https://(?:github\.com/greenhttp/greenhttp/(?:blob|tree)|raw\.githubusercontent\.com/greenhttp/greenhttp)/main/")
LINK = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$|(?:src|href)=\"([^\"]+)\"", re.MULTILINE)


def links(text):
    """The targets of links and pictures, fenced blocks left out."""
    text = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return ["".join(found) for found in LINK.findall(text)]


def anchors(page):
    """Those of a page's headings, as GitHub and the built guide make them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def dead(target, page):
    """What is wrong with a link into the repository, or None."""
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.is_relative_to(ROOT) or not file.exists():
        return f"{page.name}: {target} is not there"
    if anchor and anchor not in anchors(file):
        return f"{page.name}: {target}: {file.name} has no such heading"
    return None


def test_every_link_of_the_readme_is_absolute():
    found = links(README.read_text())
    assert len(found) > 15
    assert [link for link in found if urlsplit(link).scheme != "https"] == []


def test_every_link_of_the_readme_into_the_repository_leads_to_a_file():
    ours = [link for link in links(README.read_text()) if OURS.match(link)]
    assert len(ours) > 15
    assert [wrong for link in ours if (wrong := dead(OURS.sub("", link), README))] == []


def test_pictures_of_the_readme_are_raw_files():
    pictures = re.findall(r"!\[[^\]]*\]\((\S+)\)", README.read_text())
    assert pictures and all(picture.startswith("https://raw.githubusercontent.com/") for picture in pictures)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_links_of_a_page_lead_to_files(page):
    found = links(page.read_text())
    assert [wrong for link in found if not urlsplit(link).scheme and (wrong := dead(link, page))] == []
    ours = [OURS.sub("", link) for link in found if OURS.match(link)]
    assert [wrong for link in ours if (wrong := dead(link, README))] == []


def test_a_dead_link_is_found():
    assert dead("docs/no-such-page.md", README) == "README.md: docs/no-such-page.md is not there"
    assert dead("docs/handlers.md#no-such-heading", README).endswith("handlers.md has no such heading")
    assert dead("../../etc/passwd", README)
    assert dead("docs/handlers.md#errors", README) is None
    assert links("[a](b.md)\n```text\n[c](d.md)\n```\n") == ["b.md"]
