"""starttls.py with its own client, smtplib, openssl s_client and a client that cheats."""

import contextlib
import smtplib
import ssl
import subprocess
import sys
import threading
from socket import create_server

import pytest

from tests.examples.certificate import made_as_it_says
from tests.examples.example import EXAMPLES, TIMEOUT, Example
from tests.system.process import needs

pytestmark = needs("openssl")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return made_as_it_says("starttls", tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def example(files):
    with Example("starttls.py", *files, "127.0.0.1:0") as example:
        yield example


def say(words, certificate, port):
    """The example's client: exit code, stdout, stderr."""
    done = subprocess.run(
        [sys.executable, "starttls.py", "--say", words, certificate, f"127.0.0.1:{port}"],
        cwd=EXAMPLES, capture_output=True, text=True, timeout=TIMEOUT, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_its_own_client(example, files):
    assert say("good morning", files[0], example.address[1]) == (0, "GOOD MORNING\n", "")


def test_a_client_that_does_not_know_the_certificate_says_nothing(example, files, tmp_path):
    other, _ = made_as_it_says("starttls", tmp_path)
    code, out, err = say("good morning", other, example.address[1])
    assert (code, out) == (1, "")
    assert err.startswith("no encryption, so nothing was said: ") and err.count("\n") == 1


def test_smtplib(example, files):
    context = ssl.create_default_context(cafile=files[0])
    with smtplib.SMTP(*example.address, local_hostname="me", timeout=TIMEOUT) as client:
        client._host = "localhost"  # the name that the certificate is for; the address is 127.0.0.1
        client.ehlo()
        assert client.has_extn("starttls")
        assert client.docmd("SAY", "hello") == (530, b"STARTTLS first")
        client.starttls(context=context)
        client.ehlo()
        assert not client.has_extn("starttls")
        assert client.docmd("SAY", "hello") == (250, b"HELLO")


def test_openssl(example, files):
    command = ["openssl", "s_client", "-quiet", "-starttls", "smtp", "-verify_return_error", "-CAfile", files[0]]
    done = subprocess.run(
        [*command, "-connect", "{}:{}".format(*example.address)], input=b"SAY hello\r\nQUIT\r\n", capture_output=True,
        timeout=TIMEOUT, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-2:] == [b"250 HELLO", b"221 bye"]


def test_what_is_sent_before_the_handshake_is_not_taken_for_encrypted(example):
    """As in CVE-2011-0411: somebody between adds a command behind STARTTLS."""
    with example.connect() as peer:
        assert peer.line() == "220 here"
        peer.send(b"STARTTLS\r\nSAY injected\r\n")
        assert peer.line() == "220 go ahead"
        assert peer.file.read().count(b"INJECTED") == 0


def test_the_client_says_nothing_where_the_offer_was_removed(files):
    heard = []

    def serve():
        peer, _ = listener.accept()
        with peer, peer.makefile("rb") as lines:
            peer.sendall(b"220 here\r\n")
            heard.append(lines.readline())
            peer.sendall(b"250 here\r\n")
            with contextlib.suppress(ConnectionResetError):
                heard.append(lines.read())

    with create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT)
        server = threading.Thread(target=serve)
        server.start()
        code, out, err = say("good morning", files[0], listener.getsockname()[1])
        server.join()
    assert (code, out, err) == (1, "", "no encryption, so nothing was said: the server does not offer it\n")
    assert b"".join(heard) == b"EHLO me\r\n"
