"""What gunicorn's configuration means for our worker, where it is about proxies."""

import pytest

from greenhttp.errors import ConfigError

config = pytest.importorskip("gunicorn.config")
translated = pytest.importorskip("greenhttp.doors.translated")


@pytest.fixture
def settings_of(monkeypatch):
    """The settings for these of gunicorn's."""
    monkeypatch.delenv("SCRIPT_NAME", raising=False)

    def settings_of(**values):
        cfg = config.Config()
        for name, value in values.items():
            cfg.set(name, value)
        return translated.settings_of(cfg)

    return settings_of


@pytest.mark.parametrize(
    ("value", "meant"),
    [("off", "off"), (False, "off"), (True, "any"), ("auto", "any"), ("v1", "v1"), ("v2", "v2"), (None, "off")],
)
def test_the_proxy_protocol(settings_of, value, meant):
    assert settings_of(proxy_protocol=value).proxy_protocol == meant


def test_gunicorn_before_24_says_yes_or_no(settings_of):
    cfg = config.Config()
    cfg.settings["proxy_protocol"].value = True  # past the check of this version
    assert translated.settings_of(cfg).proxy_protocol == "any"


@pytest.mark.parametrize(
    ("value", "trusted"),
    [("10.0.0.1,10.1.0.0/16", ("10.0.0.1", "10.1.0.0/16", "unix")), ("*", ("*", "unix")), ("", ("unix",))],
)
@pytest.mark.parametrize(
    ("theirs", "ours"), [("forwarded_allow_ips", "forwarded_allow_ips"), ("proxy_allow_ips", "proxy_allow_from")]
)
def test_who_is_trusted_and_with_them_who_connects_over_a_unix_socket(settings_of, theirs, ours, value, trusted):
    assert getattr(settings_of(**{theirs: value}), ours) == trusted


def test_a_prefix_comes_from_the_variable_that_gunicorn_looks_at(settings_of, monkeypatch):
    assert settings_of().root_path is None
    monkeypatch.setenv("SCRIPT_NAME", "/outside/")
    assert settings_of().root_path == "/outside"
    assert settings_of(raw_env=["SCRIPT_NAME=/below"]).root_path == "/below"
    assert settings_of(raw_env=["SCRIPT_NAME="]).root_path is None
    with pytest.raises(ConfigError, match="^SCRIPT_NAME: 'below' is not a path prefix; give one like /below, w"):
        settings_of(raw_env=["SCRIPT_NAME=below"])


def test_what_gunicorn_gives_to_asgi_applications_alone_changes_nothing(settings_of):
    assert settings_of(root_path="/below") == settings_of()


def test_fields_with_underscores_are_not_let_through(settings_of):
    settings_of(forwarder_headers="SCRIPT_NAME,PATH_INFO")
    settings_of(forwarder_headers="")
    with pytest.raises(ConfigError, match=r"^forwarder_headers .*: fields with _ in their names are always dropped"):
        settings_of(forwarder_headers="REMOTE_USER")


# ---- TLS


def test_tls(settings_of):
    settings = settings_of(certfile="/c.pem", keyfile="/k.pem", ca_certs="/a.pem", cert_reqs=2, ciphers="ECDHE+AESGCM")
    assert (settings.certfile, settings.keyfile) == (("/c.pem",), ("/k.pem",))
    assert (settings.ca_certs, settings.cert_reqs, settings.ciphers) == ("/a.pem", "required", "ECDHE+AESGCM")


def test_without_a_certificate_there_is_no_tls(settings_of):
    settings = settings_of()
    assert settings.certfile == settings.keyfile == () and settings.cert_reqs == "none"
    assert settings.ca_certs is settings.ciphers is None
    with pytest.raises(ConfigError, match="^certfile: empty; give a file, or leave it out$"):
        settings_of(certfile="")
    with pytest.raises(ConfigError, match="^keyfile: there is no certificate; give certfile too$"):
        settings_of(keyfile="/k.pem")
