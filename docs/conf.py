"""How the guide is built: `make docs`, or `sphinx-build -W -b html docs build/docs`.

The lists in `settings` and `reference` are made from the code by `python docs/generated.py`, and kept in the pages.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from greenhttp import __version__  # noqa: E402

project = "greenhttp"
author = copyright = "the greenhttp authors"
version = release = __version__

extensions = ["myst_parser"]
html_theme = "furo"
html_title = f"greenhttp {__version__}"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"top_of_page_buttons": []}
myst_heading_anchors = 3  # links may name a heading, and are checked
myst_links_external_new_tab = False
nitpicky = True
smartquotes = False  # texts of the code have quotes that are meant
