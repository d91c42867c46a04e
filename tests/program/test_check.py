"""program/check.py, program/boot.py: certificates before anything serves, and paths after a change of directory."""

import os
import signal
import subprocess
import sys

import pytest

from greenhttp.errors import ConfigError
from greenhttp.program.boot import _placed
from greenhttp.program.check import check_certificates, check_settings
from greenhttp.server import Server
from greenhttp.settings.values import Settings
from greenhttp.tls.described import describe
from greenhttp.tls.files import Unreadable
from tests.system.process import Command
from tests.tls import certificates


def test_without_a_certificate_nothing_is_said():
    assert check_certificates(Settings()) == []


def test_each_certificate_is_named(tmp_path):
    leaves = {
        "a": certificates.leaf("a.example", "*.a.example"),
        "b": certificates.expired("b.example"),
        "c": certificates.of_rsa_bits(2048),
    }
    paths = [leaf.write(tmp_path, name)[0] for name, leaf in leaves.items()]
    issuer = describe(certificates.authority().authorities()).subject
    end, past, own = (describe(leaf.chain).end() for leaf in leaves.values())
    assert check_certificates(Settings(certfile=paths)) == [
        (f"certificate {paths[0]}: for a.example, *.a.example, issued by {issuer}, valid until {end}", False),
        (f"certificate {paths[1]}: for b.example, issued by {issuer}, expired 1 day ago, on {past}", True),
        (f"certificate {paths[2]}: for weak.example, issued by itself, valid until {own}, has no"
         " subjectAltName: browsers and Go refuse it", True),
    ]


def test_a_certificate_for_nobody(tmp_path):
    path, _ = certificates.authority().leaf(key="ed25519", common="Alice A").write(tmp_path)
    assert "for nobody (Alice A), issued by" in check_certificates(Settings(certfile=path))[0][0]


def test_what_only_the_user_of_the_start_may_read_is_no_error_afterwards(tmp_path, monkeypatch):
    path, key = certificates.leaf().write(tmp_path)
    opened = os.open

    def refused(path, *rest, **more):
        if path == key:
            raise PermissionError(13, "Permission denied")
        return opened(path, *rest, **more)

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(Unreadable, match=f"^keyfile: {key}: cannot read it"):
        check_certificates(Settings(certfile=path))
    ((line, doubtful),) = check_certificates(Settings(certfile=path), started=True)
    assert line.startswith(f"keyfile: {key}: cannot read it") and doubtful


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"https_redirect": True}, "https_redirect: there is no https without a certificate; give certfile too"),
        ({"cert_reqs": "required"}, "cert_reqs: no client would be asked, since there is no certificate; serve TLS"),
        (
            {"cert_reqs": "required", "certfile": "c", "bind": ["http://h:1", "http://h:2"]},
            "cert_reqs: no client would be asked, since every address of bind begins with http://; serve TLS, or leave",
        ),
    ],
)
def test_no_plain_http_where_tls_was_asked_for(settings, why):
    with pytest.raises(ConfigError) as failure:
        check_settings(Settings(**settings))
    assert str(failure.value).startswith(why)
    if "certfile" not in settings:
        with pytest.raises(ConfigError) as failure:
            Server(lambda request: "", bind="127.0.0.1:0", **settings).start()
        assert str(failure.value).startswith(why)


@pytest.mark.parametrize(
    ("bind", "refused"),
    [(["http://h:1", "https://h:1"], True), (["http://unix:/s", "unix:/s"], True), (["http://h:0", "h:0"], False)],
)
def test_one_port_for_http_and_https(bind, refused):
    settings = Settings(bind=bind, certfile="c")
    if refused:
        said = f"^{bind[1]}: {bind[0]} in the same bind takes it already; leave one of them out$"
        with pytest.raises(ConfigError, match=said):
            check_settings(settings)
    else:
        check_settings(settings)


def test_https_without_a_certificate():
    check_settings(Settings(bind=["https://h:1", "http://h:2"], certfile="c"))
    check_settings(Settings(bind="http://h:2"))
    with pytest.raises(ConfigError, match="^bind: https://h:1 needs a certificate; give --certfile"):
        check_settings(Settings(bind=["h:2", "https://h:1"]))


def test_paths_stay_where_they_were_when_the_application_changes_the_directory():
    settings = Settings(
        bind=["https://unix:s", "h:1"], certfile=["a.pem", "/b.pem"], keyfile=["a.key", "b.key"], ca_certs="ca.pem",
        keyfile_password="file:p",
    )  # fmt: skip
    placed = _placed(settings, "/srv")
    assert placed.bind == ("https://unix:/srv/s", "h:1")
    assert (placed.certfile, placed.keyfile) == (("/srv/a.pem", "/b.pem"), ("/srv/a.key", "/srv/b.key"))
    assert (placed.ca_certs, placed.keyfile_password) == ("/srv/ca.pem", "file:/srv/p")
    assert _placed(Settings(keyfile_password="p"), "/srv").keyfile_password == "p"
    assert _placed(Settings(), "/srv") == Settings()


@pytest.fixture
def check(tmp_path):
    (tmp_path / "web.py").write_text("def app(request):\n    return 'open'\n")

    def check(*arguments, **environ):
        command = [sys.executable, "-m", "greenhttp", "--check", *arguments, "web:app"]
        env = {**os.environ, **environ}
        done = subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()

    return check


def test_the_command_names_certificates_and_what_is_wrong(tmp_path, check):
    certificates.leaf("a.example").write(tmp_path, "good")
    certificates.expired("b.example").write(tmp_path, "old")
    certificates.leaf().encrypted().write(tmp_path, "secret")
    certificates.mismatched(tmp_path, "wrong")
    code, out, err = check("--certfile", "good.pem", "--certfile", "old.pem", "-b", ":0")
    assert code == 0 and [line.split(":")[0] for line in out] == ["certificate good.pem", "ok"]
    assert [line.split(", ")[-2] for line in err] == ["expired 1 day ago"]
    code, out, err = check("--certfile", "wrong.pem", "-b", ":0")
    assert (code, out) == (2, []) and err[0].startswith("greenhttp: keyfile: wrong.key is not the key of the f")
    code, out, err = check("--certfile", "secret.pem", GREENHTTP_KEYFILE_PASSWORD="sesame", GREENHTTP_BIND=":0")
    assert code == 0 and err == []
    code, out, err = check("--certfile", "secret.pem", "-b", ":0", GREENHTTP_KEYFILE_PASSWORD="Sesame")
    said = "greenhttp: keyfile: secret.key: keyfile_password does not decrypt this key; correct the password"
    assert (code, out, err) == (2, [], [said])


@pytest.mark.parametrize("options", [[], ["-w", "1"], ["-w", "1", "--preload"]], ids=["alone", "worker", "preload"])
def test_an_application_does_not_find_the_password_in_its_environment(tmp_path, options):
    certfile, _ = certificates.leaf("localhost").encrypted().write(tmp_path)
    (tmp_path / "web.py").write_text(
        "import os, sys\n"
        "print('loaded', os.environ.get('GREENHTTP_KEYFILE_PASSWORD'), file=sys.stderr)\n"
        "def warm(): print('warm', os.environ.get('GREENHTTP_KEYFILE_PASSWORD'), file=sys.stderr)\n"
        "def app(request): return ''\n"
    )
    options = [*options, "-b", "127.0.0.1:0", "--warm-up", "web:warm", "--certfile", certfile, "web:app"]
    with Command(tmp_path, *options, GREENHTTP_KEYFILE_PASSWORD="sesame") as process:
        said = process.until("Ctrl-C")
        assert "loaded None\n" in said and "warm None\n" in said
        if "-w" in options:  # the supervisor reads the settings again
            process.send_signal(signal.SIGHUP)
            said = process.until("warm ")
            assert "loaded None\n" in said and "warm None\n" in said and "ERROR" not in said


@pytest.mark.parametrize(("body", "said"), [
    ("1 / 0", "gunicorn.conf.py: ssl_context failed; see the traceback above"),
    ("return None", "gunicorn.conf.py: ssl_context returned NoneType; an ssl.SSLContext is needed"),
    ("return factory()", ""),
])  # fmt: skip
def test_the_hook_that_makes_the_contexts_is_tried(tmp_path, check, body, said):
    certificates.leaf("a.example").write(tmp_path)
    (tmp_path / "gunicorn.conf.py").write_text(f"def ssl_context(conf, factory):\n    {body}\n")
    code, out, err = check("-c", "gunicorn.conf.py", "--certfile", "server.pem", "-b", ":0")
    assert (code, err[-1:]) == (3, [f"greenhttp: {said}"]) if said else (code, err) == (0, [])
    assert any(line.startswith("ok: ") for line in out) is not bool(said)


def test_certificates_are_named_from_the_directory_that_is_changed_to(tmp_path, check):
    (tmp_path / "inner").mkdir()
    (tmp_path / "web.py").rename(tmp_path / "inner" / "web.py")
    certificates.leaf("a.example").write(tmp_path / "inner", "good")
    code, out, err = check("--chdir", "inner", "--certfile", "good.pem", "-b", ":0")
    assert (code, err) == (0, []) and out[0].startswith("certificate good.pem: for a.example, ")
