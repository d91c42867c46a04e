"""Every block of the guide and of README.md runs and says what it is said to say."""

import pytest

from tests.docs.blocks import blocks_of, needs_of
from tests.docs.session import ROOT, Session

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

# Blocks that are not run, by name; each page says why. Another one is a decision: it is added here.
NOT_RUN = {
    "moving-from-uwsgi.md": ["nginx"],
    "patching.md": ["ruff"],
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of(page, tmp_path):
    with Session(tmp_path) as session:
        session.require(needs_of(page))
        session.run(blocks_of(page))


def test_what_is_not_run_is_listed_here():
    found = {page.name: [block.not_run for block in blocks_of(page) if block.not_run] for page in PAGES}
    assert {name: blocks for name, blocks in found.items() if blocks} == NOT_RUN


def test_what_is_tested_elsewhere_is_tested_there():
    for page in PAGES:
        for block in blocks_of(page):
            if block.elsewhere:
                assert page.name in (ROOT / block.elsewhere).read_text(), block.place
