"""supervisor/certificates.py and reader.py: who reads, who is told, what is left for the next program."""

from __future__ import annotations

import os
import signal
from dataclasses import asdict, replace
from select import POLLOUT, poll
from types import SimpleNamespace

import gevent
import pytest

from greenhttp.errors import ConfigError
from greenhttp.settings.values import Settings
from greenhttp.supervisor import certificates as module
from greenhttp.supervisor import reader, worker
from greenhttp.supervisor.certificates import Certificates, Left
from greenhttp.supervisor.mail import Inbox
from greenhttp.tls import renewal, tickets
from greenhttp.tls.material import Material
from greenhttp.tls.renewal import Sight, sight
from tests.tls import certificates
from tests.tls.certificates import put

OLD = certificates.leaf("a.example")
NEW = certificates.leaf("a.example", "b.example")
EVERY = renewal.EVERY


@pytest.fixture
def aged(monkeypatch):
    """A key of tickets is never too young for a reload to make another."""
    monkeypatch.setattr(tickets, "YOUNG", float("-inf"))


@pytest.fixture
def settings(tmp_path):
    OLD.write(tmp_path)
    return Settings(certfile=str(tmp_path / "server.pem"))


@pytest.fixture
def made():
    """made(settings, left): Certificates that have begun at time 0; ended at the end."""
    all_of_them = []

    def begin(settings: Settings, left: Left | None = None) -> Certificates:
        one = Certificates(poll())
        all_of_them.append(one)
        one.begin(settings, left, 0.0)
        return one

    yield begin
    for one in all_of_them:
        one.end()


def arrived(inbox: Inbox) -> list[Material]:
    return [Material.from_bytes(message) for message in inbox.read()]


def test_without_a_certificate_there_is_nothing(made):
    one = made(Settings())
    assert one.material is None and one.mail(1) == -1 and one.lines() == []
    one.look(10 * EVERY)
    one.follow(Settings(), one.first(Settings()))
    one.gone(1)


def test_every_worker_is_told_of_new_files_once_a_minute(made, settings, tmp_path):
    one = made(settings)
    inboxes = [Inbox(one.mail(number)) for number in (1, 2)]
    NEW.write(tmp_path)
    one.look(EVERY - 1)
    assert [arrived(inbox) for inbox in inboxes] == [[], []]
    one.look(EVERY)
    for inbox in inboxes:
        (material,) = arrived(inbox)
        assert material == one.material and material.pairs[0].chain == NEW.chain
    one.look(2 * EVERY)
    assert [arrived(inbox) for inbox in inboxes] == [[], []]


def test_a_reload_gives_old_workers_the_key_of_the_new_ones_first(made, settings, aged):
    one = made(settings)
    inbox = Inbox(one.mail(1))
    before = one.material.ticket_keys
    one.follow(settings, one.first(settings))
    (material,) = arrived(inbox)
    assert material.ticket_keys == one.material.ticket_keys and material.ticket_keys[1:] == before


def test_a_reload_with_broken_files_leaves_what_there_was_and_says_so_once(made, settings, tmp_path, caplog):
    one = made(settings)
    before = one.material
    put(tmp_path / "server.pem", NEW.chain)
    one.follow(settings, one.first(settings))
    assert one.material is before
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "those from before stay in use: keyfile: " in caplog.text
    assert OLD.key.decode() not in caplog.text


def test_a_reload_can_begin_and_end_tls(made, settings, tmp_path):
    one = made(Settings())
    (tmp_path / "server.key").unlink()
    with pytest.raises(ConfigError, match="its key"):
        one.first(settings)
    assert one.material is None
    OLD.write(tmp_path)
    one.follow(settings, one.first(settings))
    assert one.material.pairs[0].chain == OLD.chain and one.mail(3) >= 0
    one.follow(Settings(), one.first(Settings()))
    assert one.material is None and one.mail(4) == -1


def test_a_worker_that_does_not_read_gets_the_newest_when_it_does(made, settings, tmp_path):
    one = made(settings)
    inbox = Inbox(one.mail(1))
    waiting = None
    for number in range(1, 200):
        put(tmp_path / "server.pem", (OLD if number % 2 else NEW).chain)
        put(tmp_path / "server.key", (OLD if number % 2 else NEW).key)
        one.follow(settings, None)
        if waiting is None and (ready := dict(one.poll.poll(0))):
            assert POLLOUT in ready.values()
        waiting = bool(one._waiting)
        if waiting:
            break
    assert waiting and one.poll.poll(0) == []  # its pipe is full, so nobody is woken
    assert list(one.left().pipes) == []
    got = []
    while one._waiting:
        got += arrived(inbox)
        for fd, _ in one.poll.poll(0):
            assert one.heard(fd)
    got += arrived(inbox)
    assert got[-1] == one.material
    assert one.poll.poll(0) == []


def test_a_worker_that_has_gone_is_not_waited_for(made, settings):
    one = made(settings)
    os.close(one.mail(1))
    one.follow(settings, None)
    one.gone(1)
    one.gone(1)
    one.follow(settings, None)


def test_the_next_program_has_it_all_and_nothing_of_it_can_be_seen(made, settings, tmp_path, aged):
    before = made(settings)
    inbox = Inbox(before.mail(7))
    before.follow(settings, None)
    arrived(inbox)
    left = before.left()
    told = str(asdict(left))
    for secret in (OLD.key.decode(), *map(repr, before.material.ticket_keys)):
        assert secret not in told
    (tmp_path / "server.key").unlink()  # nobody can read it any more
    number = os.dup(left.pipes[7])
    after = made(settings, Left.of({**asdict(left), "pipes": {"7": number}}))
    assert after.material == before.material
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(left.memory)
    OLD.write(tmp_path)
    after.follow(settings, None)
    assert arrived(inbox)[-1].ticket_keys[1:] == before.material.ticket_keys


def test_a_program_without_tls_leaves_nothing_and_a_failure_ends_nobody(made, settings, tmp_path, caplog):
    before = made(Settings())
    left = before.left()
    (tmp_path / "server.key").unlink()
    after = made(settings, left)
    assert after.material is None and "there is no TLS: certfile: " in caplog.text


# ---- who may still read


@pytest.fixture
def stays(settings, monkeypatch):
    """A reader, as where rights are given up."""
    monkeypatch.setattr(module.system, "drops", lambda *_: True)
    monkeypatch.setattr(renewal, "EVERY", 3600.0)  # it looks when it is asked


def heard(one: Certificates) -> None:
    ((fd, _),) = one.poll.poll(30_000)
    assert fd == one.reader.fd and one.heard(fd)


def test_the_reader_tells_what_it_sees(made, settings, tmp_path, stays, caplog):
    one = made(settings)
    one.stay(settings)
    inbox = Inbox(one.mail(1))
    NEW.write(tmp_path)
    one.look(1e9)  # the master itself does not look
    assert one.material.pairs[0].chain == OLD.chain
    one.reader.ask()
    heard(one)
    assert one.material.pairs[0].chain == NEW.chain == arrived(inbox)[-1].pairs[0].chain
    put(tmp_path / "server.pem", OLD.chain)
    one.follow(settings, None)  # asks
    heard(one)
    assert one.material.pairs[0].chain == NEW.chain and "cannot be read again" in caplog.text


def started(one: Certificates, settings: Settings, monkeypatch) -> int:
    """Have it keep a reader; the number of that process."""
    pids = []

    def fork() -> int:
        pids.append(os.fork())
        return pids[0]

    with monkeypatch.context() as patched:
        patched.setattr(reader, "fork", fork)
        one.stay(settings)
    return pids[0]


def test_the_reader_ends_with_the_master(made, settings, stays, monkeypatch):
    one = made(settings)
    pid = started(one, settings, monkeypatch)
    one.end()
    assert os.waitpid(pid, 0) == (pid, 0)


def test_a_reader_that_stops_in_the_middle_of_a_message_holds_up_no_upgrade(
    made, settings, stays, monkeypatch, caplog
):
    one = made(settings)
    pid = started(one, settings, monkeypatch)
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    one.reader.inbox._data += b"half"
    left = one.left()
    os.close(left.memory)
    assert left.reader == -1 and one.reader is None and "does not go on" in caplog.text
    assert os.waitpid(pid, 0) == (pid, 0)


def test_the_end_of_the_reader_is_told(made, settings, stays, monkeypatch, caplog):
    one = made(settings)
    pid = started(one, settings, monkeypatch)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    heard(one)
    assert one.reader is None and "has ended; to renew them, restart greenhttp" in caplog.text
    assert one.poll.poll(0) == [] and one.material.pairs[0].chain == OLD.chain


def test_the_reader_misses_a_file_in_use_that_is_there_without_its_key(made, settings, tmp_path, stays, caplog):
    """The master may not be able to look whether it is there."""
    (tmp_path / "both").mkdir()
    for name in "ab":
        certificates.leaf(f"{name}.example").write(tmp_path / "both", name)
    settings = settings.replace(certfile=str(tmp_path / "both"))
    one = made(settings)
    one.stay(settings)
    before, key = one.material, (tmp_path / "both" / "b.key").read_bytes()
    (tmp_path / "both" / "b.key").unlink()
    for _ in range(2):  # that it could not be used does not make it forget what is in use
        one.reader.ask()
        heard(one)
    assert one.material == before and "both/b.pem: its key is not in it" in caplog.text
    (tmp_path / "both" / "b.pem").unlink()
    put(tmp_path / "both" / "b.key", key)
    one.reader.ask()
    heard(one)
    assert [pair.certfile for pair in one.material.pairs] == [str(tmp_path / "both" / "a.pem")]


def test_other_settings_about_the_same_files_need_no_reading(made, settings, tmp_path, stays):
    one = made(settings)
    one.stay(settings)
    (tmp_path / "server.key").unlink()
    one.follow(settings.replace(tls_min="1.3"), None)
    assert one.material.minimum == "1.3"


def test_other_files_are_not_the_reader_s_business(made, settings, tmp_path, stays, caplog, monkeypatch):
    one = made(settings)
    one.stay(settings)
    other = settings.replace(certfile=NEW.write(tmp_path, "other")[0])

    def unreadable(*_, **__):
        raise module.Unreadable("certfile: cannot read it (Permission denied)")

    with monkeypatch.context() as patched:
        patched.setattr(renewal, "read", unreadable)
        one.follow(other, None)
    assert one.material.pairs[0].chain == OLD.chain
    assert "(Permission denied); or restart greenhttp" in caplog.text
    one.follow(other, None)  # this process may read them after all
    assert one.material.pairs[0].chain == NEW.chain
    put(tmp_path / "server.pem", NEW.chain)
    one.reader.ask()
    heard(one)
    assert one.material.pairs[0].chain == NEW.chain


def test_the_reader_outlives_an_upgrade(made, settings, tmp_path, stays):
    before = made(settings)
    before.stay(settings)
    left = before.left()
    NEW.write(tmp_path)
    after = made(settings, replace(left, reader=os.dup(left.reader)))  # which asks it to look
    assert after.material == before.material
    after.stay(settings)  # there is one
    while after.material.pairs[0].chain != NEW.chain:  # it may have looked at a half of the files first
        heard(after)


def test_a_sight_passes_the_socket_unchanged(settings):
    seen = sight(settings, Sight())
    assert reader._sight(reader._message(seen)) == seen
    broken = Sight((("/a", 2),), None, ConfigError("no"))
    back = reader._sight(reader._message(broken))
    assert back.state == broken.state and back.material is None and str(back.error) == "no"


# ---- in a worker


class FakeServer:
    """As much of a Server as certificates need.

    Attributes:
        asked: the materials that Certificates were made of.
        keys: those that were given to the last.
        shares: what `set_ticket_keys` says.
    """

    def __init__(self, shares: bool = True) -> None:
        self.asked, self.shares, self.keys, self.fails = [], shares, (), None
        self.certificates = None

    def certificates_of(self, material):
        if self.fails is not None:
            raise self.fails
        self.asked.append(material)
        return self

    def set_ticket_keys(self, keys):
        self.keys = tuple(keys)
        return self.shares

    def renew(self, certificates):
        self.certificates = certificates


def in_worker(one: Certificates, server: FakeServer) -> worker._Mail:
    birth = SimpleNamespace(number=1, material=one.material, mail=one.mail(1))
    return worker._Mail(birth, server)


def test_a_worker_makes_contexts_anew_for_new_certificates_alone(made, settings, tmp_path, aged):
    one, server = made(settings), FakeServer()
    mail = in_worker(one, server)
    assert server.asked == [one.material] and server.keys == one.material.ticket_keys
    one.follow(settings, None)  # another key
    mail._read()
    gevent.sleep()
    assert len(server.asked) == 1 and server.keys == one.material.ticket_keys and len(server.keys) == 2
    NEW.write(tmp_path)
    one.look(EVERY)
    mail._read()
    gevent.sleep()
    assert server.asked[1:] == [one.material] and server.certificates is server
    mail.stop()
    os.close(mail.inbox.fd)


def test_a_worker_keeps_what_it_has_where_the_new_cannot_be_used(made, settings, tmp_path, caplog):
    one, server = made(settings), FakeServer()
    mail = in_worker(one, server)
    server.fails = ConfigError("ssl_context returned int; return an ssl.SSLContext")
    for leaf in (NEW, OLD):
        leaf.write(tmp_path)
        one.follow(settings, None)
        mail._read()
        gevent.sleep()
    assert len(server.asked) == 1 and mail.material.pairs[0].chain == OLD.chain
    assert caplog.text.count("worker 1: the new certificates cannot be used, the old ones stay: ssl_context") == 1
    server.fails = None
    NEW.write(tmp_path)
    one.follow(settings, None)
    mail._read()
    gevent.sleep()
    assert server.asked[-1].pairs[0].chain == NEW.chain
    mail.stop()
    os.close(mail.inbox.fd)


def test_a_worker_without_descriptors_tries_again(made, settings, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(worker, "AGAIN", 0.01)
    one, server = made(settings), FakeServer()
    mail = in_worker(one, server)
    server.fails = OSError(24, "Too many open files")
    NEW.write(tmp_path)
    one.follow(settings, None)
    mail._read()
    gevent.sleep()
    assert mail.material.pairs[0].chain == OLD.chain and "cannot be used yet" in caplog.text
    server.fails = None
    gevent.sleep(0.1)
    assert mail.material.pairs[0].chain == NEW.chain and not mail.busy
    mail.stop()
    os.close(mail.inbox.fd)


@pytest.mark.parametrize("shares", [True, False])
def test_where_keys_cannot_be_shared_the_start_says_so(made, settings, shares):
    one = made(settings)
    mail = in_worker(one, FakeServer(shares))
    lines = mail.lines()
    assert (lines == []) is shares and all("resume only at the worker that began them" in line for line in lines)
    mail.stop()
    os.close(mail.inbox.fd)
