"""heavy.py: both ways give the right answers, and others are answered while work is under way."""

import hashlib
import threading

import pytest

from tests.examples.example import Example


@pytest.fixture(scope="module")
def heavy():
    with Example("heavy.py", "127.0.0.1:0") as example:
        yield example


def test_a_thread_hashes(heavy):
    digest = hashlib.scrypt(b"x", salt=b"not for production", n=2**14, r=8, p=1).hex()
    assert heavy.fetch("/hash?password=x") == (200, digest.encode() + b"\n")


@pytest.mark.parametrize(("below", "count"), [(0, 0), (2, 0), (3, 1), (100, 25), (1_000_000, 78498)])
def test_a_process_counts(heavy, below, count):
    assert heavy.fetch(f"/primes?below={below}") == (200, b"%d\n" % count)


def test_others_are_answered_meanwhile(heavy):
    """While the sieve of some seconds is under way, not one but many are: it ends only after them."""
    ended = threading.Event()

    def count():
        heavy.fetch("/primes?below=30000000")
        ended.set()

    thread = threading.Thread(target=count)
    thread.start()
    before = 0
    while not ended.is_set():
        assert heavy.fetch("/") == (200, b"here\n")
        before += 1
    thread.join()
    assert before > 5


@pytest.mark.parametrize("below", ["x", "-1", "100000001", ""])
def test_what_is_no_number_is_refused(heavy, below):
    assert heavy.fetch(f"/primes?below={below}")[0] == 400
