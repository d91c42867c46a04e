"""How the guide is built: `make docs`, or `sphinx-build -W -b html docs build/docs`.

Two pages are completed while they are read, so that they cannot be older than the code: `settings` from
`greenhttp.settings.table`, `reference` from the docstrings and stubs of the public names.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import generated  # noqa: E402

from greenhttp import __version__  # noqa: E402

project = "greenhttp"
author = copyright = "the greenhttp authors"
version = release = __version__

extensions = ["myst_parser"]
myst_enable_extensions = ["deflist"]  # the members of classes
html_theme = "furo"
html_title = f"greenhttp {__version__}"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"top_of_page_buttons": []}
myst_heading_anchors = 3  # links may name a heading, and are checked
myst_links_external_new_tab = False
nitpicky = True
smartquotes = False  # texts of the code have quotes that are meant


def complete(app: object, page: str, text: list[str]) -> None:
    """Put what is generated into the place of the marker."""
    if page in generated.PAGES:
        marker = f"<!-- generated: {page} -->"
        if text[0].count(marker) != 1:
            raise ValueError(f"{page}.md must have {marker} once")
        text[0] = text[0].replace(marker, generated.PAGES[page]())


def setup(app: object) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", complete)  # type: ignore[attr-defined]
    return {"parallel_read_safe": True, "parallel_write_safe": True}
