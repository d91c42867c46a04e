"""The Mercurial repository REPOSITORY, by Mercurial's own WSGI application."""

import os

from mercurial.hgweb import hgweb

app = hgweb(os.fsencode(os.environ["REPOSITORY"]))
