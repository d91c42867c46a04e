"""supervisor/recycle.py: when a worker has done enough, and that not all have at the same moment."""

import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenhttp.settings.values import Settings
from greenhttp.supervisor.recycle import Bounds, bounds_for

MIB = 1 << 20
counts = st.integers(0, 1 << 40)
ages = st.floats(0, 1e9)


# ---- Bounds


@given(counts, counts, ages)
def test_without_bounds_nothing_is_ever_enough(requests, rss, age):
    assert not Bounds().any
    assert Bounds().reason(requests, rss, age) == ""


@pytest.mark.parametrize("bounds", [Bounds(requests=1), Bounds(rss=1), Bounds(age=0.5)])
def test_one_bound_is_a_bound(bounds):
    assert bounds.any
    assert bounds.reason(0, 0, 0.0) == ""


def test_a_bound_is_reached_by_what_equals_it_and_the_reason_names_the_setting():
    bounds = Bounds(requests=100, rss=300 * MIB, age=60.0)
    assert bounds.reason(99, 300 * MIB - 1, 59.99) == ""
    assert bounds.reason(100, 0, 0.0) == "100 requests of 100 (max_requests)"
    assert bounds.reason(0, 300 * MIB, 0.0) == "300 MiB of 300 MiB (max_rss)"
    assert bounds.reason(0, 0, 60.0) == "60 s of 60 s (max_age)"
    assert bounds.reason(150, 400 * MIB, 70.0) == "150 requests of 100 (max_requests)"  # one reason is enough


@given(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 4), st.integers(0, 4), st.integers(0, 4))
def test_there_is_a_reason_exactly_if_one_bound_is_reached(a, b, c, requests, rss, age):
    reached = any(bound and value >= bound for bound, value in [(a, requests), (b, rss), (c, age)])
    assert bool(Bounds(a, b, float(c)).reason(requests, rss, float(age))) == reached


def test_it_is_in_vain_where_the_next_one_will_have_as_much_as_soon():
    bounds = Bounds(rss=100 * MIB)
    said = "it had 120 MiB when it had only loaded the application, so raise max_rss"
    assert bounds.why_in_vain(120 * MIB, 121 * MIB, 1.0) == said
    assert bounds.why_in_vain(95 * MIB, 101 * MIB, 1.0)
    assert bounds.why_in_vain(120 * MIB, 121 * MIB, 31.0) == ""
    assert bounds.why_in_vain(50 * MIB, 101 * MIB, 1.0) == ""
    assert bounds.why_in_vain(95 * MIB, 99 * MIB, 1.0) == ""
    assert Bounds(requests=5).why_in_vain(120 * MIB, 121 * MIB, 1.0) == ""


# ---- bounds_for


def test_settings_without_bounds_give_none():
    assert bounds_for(Settings(), random.Random(1)) == Bounds(0, 0, 0.0)


@given(st.integers())
def test_jitter_alone_is_no_bound(seed):
    assert not bounds_for(Settings(max_requests_jitter=50), random.Random(seed)).any


@given(st.integers(), st.integers(1, 10_000), st.integers(0, 1000), st.floats(1, 1e6))
def test_the_share_of_chance_stays_within_what_is_said(seed, requests, jitter, age):
    settings = Settings(max_requests=requests, max_requests_jitter=jitter, max_rss=64 * MIB, max_age=age)
    bounds = bounds_for(settings, random.Random(seed))
    assert requests <= bounds.requests <= requests + jitter
    assert bounds.rss == 64 * MIB  # memory does not grow in step
    assert age * 0.9 <= bounds.age <= age


def test_each_worker_has_a_share_of_its_own():
    settings = Settings(max_requests=1000, max_requests_jitter=1000, max_age=3600)
    chance = random.Random(7)
    found = [bounds_for(settings, chance) for _ in range(50)]
    assert len({bounds.requests for bounds in found}) > 25
    assert len({bounds.age for bounds in found}) > 45
    assert max(bounds.requests for bounds in found) > 1800
    assert min(bounds.age for bounds in found) < 3600 * 0.92


# ---- resident


def test_resident_memory_grows_with_what_is_written_to():
    """In a process of its own: here, something else might give memory back meanwhile."""
    code = (
        "from greenhttp.supervisor.recycle import resident\n"
        "before = resident()\n"
        "kept = b'x' * (64 << 20)\n"
        "print(before > 1 << 20, 60 << 20 <= resident() - before < 80 << 20)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("True True\n", "")
