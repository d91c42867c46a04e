"""process/ids.pyx: IDs that no other process makes."""

import ctypes
import os
import re
import subprocess
import sys
import threading

import pytest

from greenhttp.process.ids import new_id

HALF = 16  # digits of an ID that are those of its process


def test_an_id_is_32_hex_digits_and_its_second_half_is_no_zero():
    for _ in range(1000):
        made = new_id()
        assert type(made) is str and re.fullmatch("[0-9a-f]{32}", made)
        assert made[HALF:] != "0" * HALF


def test_no_two_ids_of_a_process_are_equal_and_neighbours_do_not_look_alike():
    made = [new_id() for _ in range(100_000)]
    assert len(set(made)) == len(made)
    assert len({each[:HALF] for each in made}) == 1
    assert len({each[HALF : HALF + 8] for each in made}) > 99_000, "the first digits already tell them apart"


def test_threads_make_no_id_twice():
    made: list[list[str]] = [[] for _ in range(4)]

    def make(into: list[str]) -> None:
        into += [new_id() for _ in range(5_000)]

    threads = [threading.Thread(target=make, args=(into,)) for into in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({each for into in made for each in into}) == 20_000


def told_by(fork) -> str:
    """What a child that is forked so makes, while this process has made some."""
    reading, writing = os.pipe()
    if fork() == 0:
        try:
            os.write(writing, new_id().encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as told:
        text = told.read()
    os.wait()
    return text


@pytest.mark.skipif(sys.platform == "darwin", reason="system libraries of macOS do not survive a fork")
@pytest.mark.parametrize("fork", [os.fork, ctypes.PyDLL(None).fork], ids=["Python's", "a library's"])
def test_a_forked_child_has_ids_of_its_own(fork):
    before = new_id()
    children = [told_by(fork) for _ in range(3)]
    halves = {each[:HALF] for each in (before, *children)}
    assert len(halves) == 4 and all(len(half) == HALF for half in halves)
    assert new_id()[:HALF] == before[:HALF], "the parent keeps its own"


def test_a_process_that_starts_anew_has_ids_of_its_own():
    script = "from greenhttp.process.ids import new_id; print(new_id())"
    made = {subprocess.check_output([sys.executable, "-c", script], text=True).strip()[:HALF] for _ in range(2)}
    assert len(made | {new_id()[:HALF]}) == 3
