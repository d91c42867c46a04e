"""sources.py: which value wins, which are read at all, and under which name a wrong one is reported."""

import pytest

from greenhttp.errors import ConfigError
from greenhttp.sources import Given, from_environment, from_platform, gather_addresses, misspelt, settled


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
        "bind": Given("0.0.0.0:80", "PORT"), "workers": Given("2", "WEB_CONCURRENCY"),
    }  # fmt: skip
    assert misspelt({"GREENHTTP_CONFIG": "", "GREENHTTP_CONFG": "", "GREENHTTP_PORT": ""}) == [
        "GREENHTTP_CONFG is ignored; did you mean GREENHTTP_CONFIG?"
    ]


@pytest.mark.parametrize(
    ("parts", "environ", "addresses", "origin"),
    [
        ({"host": "[::1]"}, {}, ["[::1]:8000"], "host"),
        ({"host": "a"}, {"PORT": "5"}, ["a:5"], "host"),
        ({"host": "a", "port": 0}, {"PORT": "5"}, ["a:0"], "host, port"),
        ({"port": "81", "bind": "x:1"}, {}, ["x:1", "127.0.0.1:81"], "bind, port"),
        ({"uds": "/x", "fd": 3, "bind": ["x:1"]}, {}, ["x:1", "unix:/x", "fd://3"], "bind, uds, fd"),
    ],
)
def test_parts_of_an_address_become_addresses(parts, environ, addresses, origin):
    source = {name: Given(value, name) for name, value in parts.items()}
    gather_addresses(source, environ)
    assert source == {"bind": Given(addresses, origin)}
