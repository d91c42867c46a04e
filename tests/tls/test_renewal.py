"""tls/renewal.py: files that change while they are served."""

import logging

import pytest

from greenhttp.errors import ConfigError
from greenhttp.settings.values import Settings
from greenhttp.tls.described import DAY, describe
from greenhttp.tls.renewal import Renewal, Sight, sight
from greenhttp.tls.tickets import FRESH, MOST, YOUNG
from tests.tls import certificates
from tests.tls.certificates import put


class Clock:
    """A time that tests move."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def said(caplog):
    """The lines since the last call."""
    caplog.set_level(logging.INFO, "greenhttp")

    def said():
        lines = [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
        caplog.clear()
        return lines

    return said


OLD = certificates.leaf("a.example")
NEW = certificates.leaf("a.example", "b.example")


@pytest.fixture
def renewal(tmp_path):
    OLD.write(tmp_path)
    return Renewal(Settings(certfile=str(tmp_path / "server.pem")))


def test_where_nothing_changes_nothing_happens(renewal, said):
    before = renewal.material
    for _ in range(3):
        assert renewal.look() is None
    assert renewal.material is before and said() == []


def test_new_files_are_read(renewal, said, tmp_path):
    NEW.write(tmp_path)
    material = renewal.look()
    assert material is renewal.material and material.pairs[0].chain == NEW.chain
    assert said() == [f"INFO new certificates: a.example and 1 more until {describe(NEW.chain).end()}"]
    assert renewal.look() is None and said() == []


def test_of_several_only_the_new_one_is_looked_into(tmp_path, said, monkeypatch):
    """By who serves: another thread or process has read them."""
    from greenhttp.tls import material

    files = [certificates.leaf(f"{name}.example").write(tmp_path, name)[0] for name in "abc"]
    renewal, looked = Renewal(Settings(certfile=files)), []
    NEW.write(tmp_path, "b")
    seen = sight(renewal.settings, renewal.seen)
    monkeypatch.setattr(material, "describe", lambda chain: looked.append(chain) or describe(chain))
    assert len(renewal.take(seen).pairs) == 3 and looked == [NEW.chain]
    assert len(renewal.lines()) == 3 and len(said()) == 1


def test_files_that_are_only_touched_are_no_news(renewal, said, tmp_path):
    before = renewal.material
    OLD.write(tmp_path)
    assert renewal.look() is None
    assert renewal.material == before and said() == []


def test_a_half_is_refused_once_and_the_old_pair_stays(renewal, said, tmp_path):
    before = renewal.material
    put(tmp_path / "server.pem", NEW.chain)
    assert renewal.look() is None and renewal.material is before
    (line,) = said()
    assert line.startswith("ERROR the certificates cannot be read again, those from before stay in use: keyfile: ")
    assert renewal.look() is None and said() == []  # the same is not said again
    put(tmp_path / "server.pem", b"")
    assert renewal.look() is None
    assert said()[0].endswith(": it is empty")
    NEW.write(tmp_path)
    assert renewal.look().pairs[0].key == NEW.key
    again, new = said()
    assert again == "INFO the certificates can be read again" and new.startswith("INFO new certificates: ")


def test_the_old_pair_again_is_no_news(renewal, said, tmp_path):
    put(tmp_path / "server.pem", NEW.chain)
    assert renewal.look() is None and len(said()) == 1
    put(tmp_path / "server.pem", OLD.chain)
    assert renewal.look() is None and said() == ["INFO the certificates can be read again"]
    assert renewal.look() is None and said() == []
    put(tmp_path / "server.pem", NEW.chain)
    assert renewal.look() is None and len(said()) == 1  # that is another time


def test_files_that_could_not_be_opened_for_a_while_are_tried_again(renewal, said, tmp_path, monkeypatch):
    """Without a change of theirs that could be seen."""
    from greenhttp.tls import renewal as module

    NEW.write(tmp_path)

    def refused(*_, **__):
        raise ConfigError("certfile: cannot read it (Too many open files)")

    with monkeypatch.context() as patched:
        patched.setattr(module, "read", refused)
        assert renewal.look() is None
    assert renewal.look().pairs[0].chain == NEW.chain


def test_where_descriptors_are_lacking_for_the_try_the_old_pair_stays_until_there_are_some(
    renewal, said, tmp_path, monkeypatch
):
    from greenhttp.tls import material, pem

    def refused(*_):
        raise OSError(24, "Too many open files")

    NEW.write(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(pem.Pair, "load", refused)
        assert renewal.look() is None and renewal.look() is None
    told = "certfile: cannot try them (Too many open files)"
    assert said() == [f"ERROR the certificates cannot be read again, those from before stay in use: {told}"]
    seen = sight(renewal.settings, renewal.seen)
    with monkeypatch.context() as patched:  # another process has tried them, and tells once
        patched.setattr(material, "describe", refused)
        assert renewal.take(seen) is renewal.take(seen) is None and len(said()) == 1
        with pytest.raises(ConfigError):
            renewal.follow(renewal.settings)
    assert renewal.take(renewal.seen).pairs[0].chain == NEW.chain


@pytest.fixture
def directory(tmp_path):
    """Of three certificates, each with its key."""
    for name in "abc":
        certificates.leaf(f"{name}.example").write(tmp_path, name)
    return tmp_path


@pytest.mark.parametrize("name", ["a.pem", "b.pem", "b.key"])
@pytest.mark.parametrize("content", [b"", b"-----BEGIN", None])
def test_a_file_in_use_that_is_empty_or_without_its_key_takes_no_name_out_of_service(directory, said, name, content):
    """In a directory it would be passed over like what was never a certificate with a key."""
    renewal = Renewal(Settings(certfile=str(directory)))
    before, path = renewal.material, directory / name
    whole = path.read_bytes()
    path.unlink() if content is None else put(path, content)
    if name.endswith(".pem") and content is None:  # it has been taken away
        assert [pair.chain for pair in renewal.look().pairs] == [
            pair.chain for pair in before.pairs if pair.certfile != str(path)
        ]
        assert [line.split(" until")[0] for line in said()] == [
            f"INFO certificates no longer in use: {name[0]}.example",
            f"INFO new certificates: {'b' if name[0] == 'a' else 'a'}.example",
        ]
    else:
        assert renewal.look() is None is renewal.look() and renewal.material is before
        (line,) = said()
        assert line.startswith("ERROR the certificates cannot be read again, those from before stay in use: ")
        assert str(path) in line or "b.pem: its key is not in it" in line
        with pytest.raises(ConfigError):
            renewal.follow(renewal.settings)
    put(path, whole)
    renewal.look()
    assert renewal.material.pairs == before.pairs


def test_what_other_settings_do_not_name_or_another_file_takes_the_place_of_is_not_missed(directory, said):
    renewal = Renewal(Settings(certfile=str(directory)))
    assert len(renewal.follow(Settings(certfile=str(directory / "b.pem"))).pairs) == 1
    assert said()[0] == "INFO certificates no longer in use: a.example, c.example"
    assert len(renewal.follow(Settings(certfile=f"{directory}/")).pairs) == 3
    put(directory / "privkey.pem", NEW.key)
    put(directory / "fullchain.pem", NEW.chain)  # from now on it is a directory of certbot's
    assert NEW.chain in [pair.chain for pair in renewal.look().pairs]


def test_a_file_that_is_whole_again_by_the_time_it_is_missed_is_read_at_the_next_look(directory, said, monkeypatch):
    from greenhttp.tls import renewal as module

    renewal = Renewal(Settings(certfile=str(directory)))
    before, read = renewal.material, module.read
    whole = (directory / "b.pem").read_bytes()

    def in_the_middle(*args, **options):
        put(directory / "b.pem", b"")
        found = read(*args, **options)
        put(directory / "b.pem", whole)
        return found

    NEW.write(directory, "a")
    with monkeypatch.context() as patched:
        patched.setattr(module, "read", in_the_middle)
        assert renewal.look() is None and renewal.material is before
    (line,) = said()
    assert line.endswith(f"{directory}/b.pem: it has changed while it was read")
    assert len(renewal.look().pairs) == 3 and renewal.look() is None


def test_what_the_program_before_served_is_missed_too(directory, said):
    settings = Settings(certfile=str(directory))
    held = Renewal(settings).material
    put(directory / "b.pem", b"")
    assert Renewal(settings, held=held).material.pairs == held.pairs
    (line,) = said()
    assert line.endswith("b.pem: it is empty")


def test_links_are_followed_as_certbot_has_them(tmp_path, said):
    live, archive = tmp_path / "live" / "a.example", tmp_path / "archive"
    live.mkdir(parents=True)
    archive.mkdir()

    def issue(number, leaf):
        for name, data in (("fullchain", leaf.chain), ("privkey", leaf.key)):
            put(archive / f"{name}{number}.pem", data)
            (live / "new").symlink_to(archive / f"{name}{number}.pem")
            (live / "new").rename(live / f"{name}.pem")

    issue(1, OLD)
    renewal = Renewal(Settings(certfile=str(live.parent)))
    assert renewal.look() is None
    issue(2, NEW)
    assert renewal.look().pairs[0].chain == NEW.chain
    live.with_name("b.example").mkdir()
    live = live.with_name("b.example")
    issue(3, certificates.leaf("b.example"))
    assert len(renewal.look().pairs) == 2
    assert len(said()) == 2


def test_ticket_keys_grow_old(tmp_path):
    clock = Clock(1e9)
    OLD.write(tmp_path)
    renewal = Renewal(Settings(certfile=str(tmp_path / "server.pem")), now=clock)
    (first,) = renewal.material.ticket_keys
    clock.now += FRESH - 1
    assert renewal.look() is None
    clock.now += 1
    second, kept = renewal.look().ticket_keys
    assert kept == first != second
    assert renewal.look() is None
    NEW.write(tmp_path)
    assert renewal.look().ticket_keys == (second, first)  # another certificate, the same keys


def test_a_reload_makes_a_ticket_key_where_the_last_is_not_young(tmp_path):
    """As many in a row as there may be keys would drop those that clients have tickets of."""
    clock = Clock(1e9)
    OLD.write(tmp_path)
    renewal = Renewal(Settings(certfile=str(tmp_path / "server.pem")), now=clock)
    before = renewal.material.ticket_keys
    for _ in range(MOST + 1):
        clock.now += 1
        assert renewal.follow(renewal.settings).ticket_keys == before
        renewal.adopt(renewal.settings)
        assert renewal.material.ticket_keys == before
    clock.now += YOUNG
    assert renewal.follow(renewal.settings).ticket_keys[1:] == before
    clock.now += YOUNG
    renewal.adopt(renewal.settings)
    assert len(renewal.material.ticket_keys) == 3 and renewal.material.ticket_keys[2:] == before


def test_what_the_program_before_has_left(tmp_path, said):
    OLD.write(tmp_path)
    settings = Settings(certfile=str(tmp_path / "server.pem"))
    clock = Clock(1e9)
    keys = [(b"k" * 80, 1e9 - 60), (b"j" * 80, 1e9 - 120)]
    renewal = Renewal(settings, keys, now=clock)
    assert renewal.material.ticket_keys == (b"k" * 80, b"j" * 80)
    held = renewal.material
    put(tmp_path / "server.pem", NEW.chain)
    renewal = Renewal(settings, keys, held, now=clock)
    assert renewal.material == held
    (line,) = said()
    assert line.startswith("ERROR the certificates cannot be read again, those from before stay in use: keyfile: ")
    NEW.write(tmp_path)
    assert renewal.look().pairs[0].chain == NEW.chain


def test_another_process_reads_the_files(tmp_path, said):
    """It tells what it sees; this one does not look, and what else the settings say is applied here."""
    OLD.write(tmp_path)
    settings = Settings(certfile=str(tmp_path / "server.pem"))
    first = sight(settings, Sight())
    (tmp_path / "server.pem").unlink()
    renewal = Renewal(settings, held=first.material, elsewhere=True)
    assert said() == [] and renewal.material.pairs == first.material.pairs
    renewal.adopt(settings.replace(tls_min="1.3"))
    assert renewal.material.minimum == "1.3"
    NEW.write(tmp_path)
    seen = sight(settings, first)
    assert seen.material.minimum == "1.2"
    assert renewal.take(seen).minimum == "1.3" and renewal.material.pairs[0].chain == NEW.chain
    assert renewal.take(renewal.seen) is None
    with pytest.raises(ConfigError, match="nonsense"):
        renewal.adopt(settings.replace(ciphers="nonsense"))
    assert renewal.settings.tls_min == "1.3"


def test_a_sight_is_the_same_until_something_changes(tmp_path):
    OLD.write(tmp_path)
    settings = Settings(certfile=str(tmp_path / "server.pem"))
    first = sight(settings, Sight())
    assert sight(settings, first) is first
    put(tmp_path / "server.pem", b"")
    broken = sight(settings, first)
    assert broken.material is None and "is empty" in str(broken.error)
    assert sight(settings, broken) is not broken  # tried again


def test_other_settings(renewal, tmp_path):
    before = renewal.material
    other, _ = NEW.write(tmp_path, "other")
    material = renewal.follow(Settings(certfile=other))
    assert material is renewal.material and material.pairs[0].chain == NEW.chain
    assert material.ticket_keys == before.ticket_keys
    put(tmp_path / "other.key", OLD.key)
    with pytest.raises(ConfigError, match="is not the key"):
        renewal.follow(Settings(certfile=other, tls_min="1.3"))
    assert renewal.material is material
    OLD.write(tmp_path, "other")
    assert renewal.look().pairs[0].chain == OLD.chain


def test_what_expires_soon_is_told_once_a_day(tmp_path, said):
    leaf = certificates.authority().leaf("a.example", days=30)
    clock = Clock(describe(leaf.chain).ends - 15 * DAY)
    leaf.write(tmp_path)
    renewal = Renewal(Settings(certfile=str(tmp_path / "server.pem")), now=clock)

    def looked(after):
        clock.now += after
        renewal.look()
        return said()

    end = describe(leaf.chain).end()
    assert looked(0) == []
    start = "WARNING the certificate for a.example (server.pem) expires in"
    assert looked(DAY + 60) == [f"{start} 13 days, on {end}; renew it"]
    assert looked(60) == looked(DAY - 120) == []
    assert looked(60) == [f"{start} 12 days, on {end}; renew it"]
    past = start.replace("expires in", "expired")
    assert looked(13 * DAY) == [f"{past} less than an hour ago, on {end}; renew it"]
    fresh = certificates.authority().leaf("a.example", days=90)
    fresh.write(tmp_path)
    assert looked(0) == [f"INFO new certificates: a.example until {describe(fresh.chain).end()}"]
    assert looked(DAY) == []


def test_what_a_new_certificate_of_the_same_kind_does_not_help_is_told_without_that(tmp_path, said):
    leaf = certificates.authority().leaf(common="a.example", days=30)
    clock = Clock(describe(leaf.chain).ends - 20 * DAY)
    leaf.write(tmp_path)
    renewal = Renewal(Settings(certfile=str(tmp_path / "server.pem")), now=clock)
    renewal.warn()
    start = "WARNING the certificate for a.example (server.pem)"
    assert said() == [f"{start} has no subjectAltName: browsers and Go refuse it"]
    clock.now = describe(leaf.chain).begins - 1
    Renewal(renewal.settings, now=clock).warn()
    (line,) = said()
    assert line.startswith(f"{start} is not valid before ") and line.endswith("; look at this machine's clock")


def test_a_clock_that_is_set_back_silences_no_warning(tmp_path, said):
    leaf = certificates.authority().leaf("a.example", days=30)
    clock = Clock(describe(leaf.chain).ends - DAY)
    leaf.write(tmp_path)
    renewal = Renewal(Settings(certfile=str(tmp_path / "server.pem")), now=clock)
    renewal.look()
    assert len(said()) == 1
    clock.now -= 7 * DAY
    renewal.look()
    assert said() == []
    clock.now += DAY
    renewal.look()
    assert len(said()) == 1


def test_each_certificate_is_told_of(tmp_path, said):
    one = certificates.expired("a.example").write(tmp_path, "one")[0]
    two = certificates.expired("b.example").write(tmp_path, "two")[0]
    renewal = Renewal(Settings(certfile=[one, two]))
    assert renewal.look() is None
    assert [line.split("(")[0] for line in said()] == [
        "WARNING the certificate for a.example ", "WARNING the certificate for b.example ",
    ]  # fmt: skip
    assert renewal.look() is None and said() == []


def test_a_start_with_broken_files_fails(tmp_path):
    with pytest.raises(ConfigError, match="is not the key"):
        Renewal(Settings(certfile=certificates.mismatched(tmp_path)[0]))
