"""tls/described.py: names, issuer and time of a certificate, whatever kind of key it has."""

import time
from datetime import datetime, timezone

import pytest

from greenhttp.tls.described import DAY, Described, describe
from tests.tls import certificates


@pytest.mark.parametrize("key", ["p256", "p384", "rsa", "ed25519"])
def test_names_are_those_of_the_certificate(key):
    leaf = certificates.leaf("Shop.example", "*.shop.example", "192.0.2.7", "2001:db8::1", key=key)
    told = describe(leaf.chain)
    assert told.names == ("shop.example", "*.shop.example", "192.0.2.7", "2001:db8::1")
    assert told.issuer.startswith("trustme") and not told.self_signed


def test_it_is_the_first_of_a_chain_that_is_told():
    leaf = certificates.intermediate("shop.example")
    assert leaf.chain.count(b"BEGIN CERTIFICATE") == 2
    assert describe(leaf.chain).names == ("shop.example",)
    assert describe(leaf.key + leaf.chain).names == ("shop.example",)


@pytest.mark.parametrize(
    ("names", "common", "told"),
    [
        ((), "old.example", ("old.example",)),
        ((), "192.0.2.7", ("192.0.2.7",)),
        ((), "Shop & Söhne", ()),
        (("a.example",), "b.example", ("a.example",)),
        (("shop@a.example",), "b.example", ()),
    ],
)
def test_a_common_name_counts_where_no_other_name_is_given(names, common, told):
    key = "p256" if names else "ed25519"
    assert describe(certificates.authority().leaf(*names, common=common, key=key).chain).names == told


def test_times_are_read_in_utc_whatever_the_locale(monkeypatch):
    leaf = certificates.authority().leaf("a.example", days=3)
    told = describe(leaf.chain)
    end = datetime.fromtimestamp(told.ends, timezone.utc)
    monkeypatch.setattr(time, "strptime", None)  # it knows the months by their names in the user's language
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        assert describe(leaf.chain) == told
    finally:
        monkeypatch.undo()
        time.tzset()
    assert told.end() == end.strftime("%Y-%m-%d %H:%M UTC")
    assert told.ends - told.begins == 4 * DAY


def test_an_authority_has_signed_itself():
    told = describe(certificates.authority().authorities())
    assert told.self_signed and told.names == ()
    assert told.called() == told.subject == told.issuer


def test_called_by_the_first_name():
    told = Described(("a.example", "b.example", "c.example"), "s", "i", 0.0, 1.0, False)
    assert told.called() == "a.example and 2 more"
    assert told._replace(names=("a.example",)).called() == "a.example"


@pytest.mark.parametrize(
    ("now", "doubt"),
    [
        (-1.0, "is not valid before 1970-01-01 00:00 UTC; look at this machine's clock"),
        (0.0, ""),
        (86 * DAY - 1, ""),
        (86 * DAY, "expires in 14 days, on 1970-04-11 00:00 UTC"),
        (98.5 * DAY, "expires in 1 day, on 1970-04-11 00:00 UTC"),
        (99.5 * DAY, "expires in 12 hours, on 1970-04-11 00:00 UTC"),
        (100 * DAY - 1, "expires in less than an hour, on 1970-04-11 00:00 UTC"),
        (100 * DAY, "expired less than an hour ago, on 1970-04-11 00:00 UTC"),
        (102 * DAY, "expired 2 days ago, on 1970-04-11 00:00 UTC"),
    ],
)
def test_doubts_about_its_time(now, doubt):
    assert Described((), "s", "i", 0.0, 100 * DAY, False).doubt(now) == doubt


def test_a_certificate_without_the_list_of_names_that_browsers_look_at():
    told = describe(certificates.authority().leaf(common="a.example").chain)
    assert told.names == ("a.example",) and told.unlisted
    line = f"valid until {told.end()}, has no subjectAltName: browsers and Go refuse it"
    assert told.told("c.pem", told.begins).endswith(line)
    assert told.told("c.pem").endswith(told.end())
    assert told.doubt(told.begins) == "has no subjectAltName: browsers and Go refuse it"
    assert not describe(certificates.leaf("a.example").chain).doubt(told.begins)


@pytest.mark.parametrize("text", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\xff" * 9])
def test_what_is_no_certificate(text):
    with pytest.raises((OSError, ValueError)):
        describe(text)
