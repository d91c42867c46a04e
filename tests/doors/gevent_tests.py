"""gevent's own tests of pywsgi, as its wheel ships them, run against greenhttp.pywsgi: a program, one JSON object out.

    python -m tests.doors.gevent_tests [gevent]

prints {"TestClass.test_name": outcome}, where outcome is "passed", "skipped", or the last line of what went wrong. With
`gevent` nothing is replaced: how the tests fare with gevent's own server.

Their handler class is a subclass of gevent's that renames an exception; greenhttp takes none but gevent's own, so it is
taken off, except where a test is about the class itself.
"""

import gevent.monkey

gevent.monkey.patch_all()

import json  # noqa: E402  # patched first, as a program has to
import sys  # noqa: E402
import unittest  # noqa: E402

from gevent import pywsgi  # noqa: E402

import greenhttp.pywsgi  # noqa: E402

ABOUT_THE_CLASS = ("TestHandlerSubclass",)


class Outcomes(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.of = {}

    def addSuccess(self, test):
        self.of.setdefault(name(test), "passed")

    def addSkip(self, test, reason):
        self.of[name(test)] = "skipped"

    def addError(self, test, error):
        self.of[name(test)] = f"{error[0].__name__}: {error[1]}".splitlines()[0]

    addFailure = addError


def name(test):
    return ".".join(test.id().split(".")[-2:])


def main():
    if sys.argv[1:] != ["gevent"]:
        greenhttp.pywsgi.install()
    from gevent.tests import test__pywsgi as tests

    if sys.argv[1:] != ["gevent"]:
        for kind in vars(tests).values():
            if isinstance(kind, type) and "handler_class" in vars(kind) and kind.__name__ not in ABOUT_THE_CLASS:
                kind.handler_class = pywsgi.WSGIHandler
    outcomes = Outcomes()
    suite = unittest.defaultTestLoader.loadTestsFromModule(tests)
    stdout, sys.stdout = sys.stdout, sys.stderr
    suite.run(outcomes)
    json.dump(outcomes.of, stdout, indent=1, sort_keys=True)


if __name__ == "__main__":
    main()
