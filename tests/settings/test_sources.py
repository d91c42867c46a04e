"""settings/sources.py: which value wins, which are read at all, and under which name a wrong one is reported."""

import pytest

from greenhttp.errors import ConfigError
from greenhttp.settings.sources import Given, from_environment, from_platform, misspelt, settled


def test_a_later_source_wins_and_only_the_winner_is_read():
    settings, origins = settled({"queue": Given("wrong", "a"), "backlog": Given(1, "a")}, {"queue": Given("5", "b")})
    assert (settings.queue, settings.backlog) == (5, 1)
    assert {name: given.origin for name, given in origins.items()} == {"queue": "b", "backlog": "a"}


def test_the_application_travels_along():
    assert settled({"app": Given("web", "s.toml:1")})[1]["app"].value == "web"


@pytest.mark.parametrize(
    ("origin", "line"),
    [
        ("--queue", "--queue: 'x' is"),
        ("GREENHTTP_QUEUE", "GREENHTTP_QUEUE: 'x' is"),
        ("s.py:3", "s.py:3: queue: 'x' is"),
        ("s.toml", "s.toml: queue: 'x' is"),
        ("WEB_CONCURRENCY", "WEB_CONCURRENCY: 'x' is"),
    ],
)
def test_a_wrong_value_is_reported_with_its_place_and_name(origin, line):
    with pytest.raises(ConfigError, match=f"^{line}"):
        settled({"queue": Given("x", origin)})


def test_variables():
    assert from_environment({"GREENHTTP_QUEUE": "5", "GREENHTTP_BACKLOG": "", "QUEUE": "6"}) == {
        "queue": Given("5", "GREENHTTP_QUEUE")
    }
    assert from_platform({"PORT": "80", "WEB_CONCURRENCY": "2"}) == {
        "port": Given("80", "PORT"),
        "workers": Given("2", "WEB_CONCURRENCY"),
    }
    assert from_platform({"PORT": "", "WEB_CONCURRENCY": " "}) == {}
    assert misspelt({"GREENHTTP_CONFIG": "", "GREENHTTP_CONFG": "", "GREENHTTP_PORT": ""}) == [
        "GREENHTTP_CONFG is ignored; did you mean GREENHTTP_CONFIG?"
    ]


@pytest.mark.parametrize(
    ("sources", "addresses", "origin"),
    [
        (["host=[::1]"], ["[::1]:8000"], "host0"),
        (["PORT=5"], ["0.0.0.0:5"], "PORT"),
        (["PORT=5", "host=a"], ["a:5"], "host1, PORT"),
        (["PORT=5", "host=a port=0"], ["a:0"], "host1, port1"),
        (["PORT=5", "port=0"], ["127.0.0.1:0"], "port1"),
        (["port=81 bind=x:1"], ["x:1", "127.0.0.1:81"], "bind0, port0"),
        (["uds=/x fd=3 bind=x:1,y:2"], ["x:1", "y:2", "unix:/x", "fd://3"], "bind0, uds0, fd0"),
        (["port=9", "host=a"], ["a:9"], "host1, port0"),
        (["host=a", "port=9"], ["a:9"], "host0, port1"),
        (["host=a port=9", "port=8"], ["a:8"], "host0, port1"),
        (["host=a", "bind=x:1"], ["x:1"], "bind1"),
        (["host=a", "uds=/x"], ["unix:/x"], "uds1"),
        (["bind=x:1 uds=/x", "port=8"], ["127.0.0.1:8"], "port1"),
        (["port=9", "", "host=a"], ["a:9"], "host2, port0"),
    ],
)
def test_where_to_listen_is_said_by_the_last_source_and_half_an_address_completed(sources, addresses, origin):
    """Each source as a line `name=value ...`; the origins are the name and the source's number."""
    given = []
    for number, source in enumerate(sources):
        pairs = [pair.split("=") for pair in source.split()]
        given.append({n.lower(): Given(value, "PORT" if n == "PORT" else f"{n}{number}") for n, value in pairs})
    settings, origins = settled(*given)
    assert settings.bind == tuple(addresses)
    assert origins["bind"].origin == origin


def test_an_address_that_is_none_is_one_line_also_beside_others():
    with pytest.raises(ConfigError, match=r"^s\.toml:1: bind: 8000 is only a number; give ':8000'"):
        settled({"bind": Given(8000, "s.toml:1"), "uds": Given("/x", "s.toml:2")})
    with pytest.raises(ConfigError, match=r"^s\.toml:1: bind: 80000 is only a number; ports go from 0 to 65535; "):
        settled({"bind": Given(80000, "s.toml:1")})
