"""settings/table.py, kinds.py, values.py: how values are read, what is refused and with which words."""

import ast
import math
import re
import ssl
from pathlib import Path

import pytest

from greenhttp.errors import ConfigError
from greenhttp.settings import kinds, shown, table, values
from greenhttp.settings.kinds import KINDS, LARGEST
from greenhttp.settings.table import BY_NAME, SETTINGS
from greenhttp.settings.values import Settings, connections_for

CONTRACT = {  # the tables of limits and times
    "limit_request_line": 8192,
    "limit_request_head": 65536,
    "limit_request_fields": 100,
    "limit_request_body": 1 << 30,
    "limit_chunk_extensions": 4096,
    "limit_trailers": 8192,
    "limit_pipeline": 65536,
    "limit_buffers": 256 << 20,
    "connections": None,
    "concurrency": 1000,
    "queue": None,
    "queue_timeout": 10.0,
    "header_timeout": 10.0,
    "keepalive_timeout": 75.0,
    "body_timeout": 30.0,
    "body_min_rate": 500,
    "write_timeout": 60.0,
    "write_min_rate": 500,
    "min_rate_after": 10.0,
    "request_timeout": 0.0,
    "linger_timeout": 30.0,
    "graceful_timeout": 30.0,
}


def test_defaults_are_those_of_the_contract():
    settings = Settings()
    assert {name: getattr(settings, name) for name in CONTRACT} == CONTRACT
    assert settings.bind == ("127.0.0.1:8000",)
    assert (settings.backlog, settings.workers, settings.interface, settings.patch) == (2048, 0, "auto", True)
    assert (settings.loop, settings.chdir, settings.pythonpath, settings.env) == ("auto", ".", (), ())
    assert (settings.access_logfile, settings.access_log_format) == (None, "combined")
    assert (settings.error_logfile, settings.log_level) == ("-", "info")
    assert (settings.server_header, settings.allow_headers, settings.allow_methods) == ("greenhttp", (), ())
    assert settings.health_path is None
    assert settings.context == "request"
    assert (settings.preload, settings.max_requests, settings.max_requests_jitter) == (False, 0, 0)
    assert (settings.max_rss, settings.max_age, settings.timeout, settings.boot_timeout) == (0, 0.0, 30.0, 300.0)
    assert (settings.pid, settings.user, settings.group, settings.umask) == (None, None, None, None)
    assert (settings.socket_mode, settings.drain_linger, settings.hub_warn) == (None, 2.0, 0.5)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (90, 90.0),
        (1.5, 1.5),
        (0, 0.0),
        ("0", 0.0),
        ("90", 90.0),
        ("1.5", 1.5),
        ("90s", 90.0),
        ("1m30s", 90.0),
        ("250ms", 0.25),
        ("1s250ms", 1.25),
        ("1m", 60.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        ("1.5m", 90.0),
        (" 90S ", 90.0),
    ],
)
def test_durations(given, seconds):
    value = Settings(header_timeout=given).header_timeout
    assert value == seconds
    assert type(value) is float


@pytest.mark.parametrize(
    "given",
    ["", " ", "s", "abc", "-1", -1, -0.5, math.nan, math.inf, -math.inf, True, False, None, [1], "1e3", "nan", "inf",
     "1s1m", "1 m", "+5", "5x", "٣", "1_000", "9" * 400, 10**400, "400d", b"5"],
)  # fmt: skip
def test_what_is_not_a_duration(given):
    with pytest.raises(ConfigError, match=r"^header_timeout: .*; give "):
        Settings(header_timeout=given)


@pytest.mark.parametrize(
    ("given", "size"),
    [
        (65536, 65536),
        ("65536", 65536),
        ("64k", 65536),
        ("64K", 65536),
        ("64kb", 65536),
        ("64KiB", 65536),
        ("64 k", 65536),
        ("1m", 1 << 20),
        ("1GiB", 1 << 30),
        ("1.5k", 1536),
        ("2t", 2 << 40),
        ("100b", 100),
        (0, 0),
        (LARGEST, LARGEST),
    ],
)
def test_sizes(given, size):
    value = Settings(limit_request_body=given).limit_request_body
    assert value == size
    assert type(value) is int


@pytest.mark.parametrize(
    "given",
    ["", "k", "-1", -1, 1.5, math.nan, math.inf, True, False, None, "1.0001k", "1e3", "0x10", "1_000", "٣", "1ib",
     LARGEST + 1, "9" * 5000, "1p"],
)  # fmt: skip
def test_what_is_not_a_size(given):
    with pytest.raises(ConfigError, match=r"^limit_request_body: "):
        Settings(limit_request_body=given)


@pytest.mark.parametrize("given", [True, False, -1, 1.0, math.nan, math.inf, "-1", "1.0", "", "x", "٣", None, 1 << 31])
def test_what_is_not_a_count(given):
    with pytest.raises(ConfigError, match=r"^backlog: "):
        Settings(backlog=given)


def test_every_number_refuses_bools_and_negatives_and_what_is_no_number():
    for setting in SETTINGS:
        if setting.kind in ("duration", "size", "rate", "count"):
            for wrong in (True, False, -1, "-1", math.nan, math.inf, "", "nan"):
                with pytest.raises(ValueError, match="give|too"):
                    setting.parse(wrong)


def test_rates_may_say_per_second():
    assert Settings(body_min_rate="2k/s").body_min_rate == 2048
    assert Settings(body_min_rate=0).body_min_rate == 0
    with pytest.raises(ConfigError, match="body_min_rate: 'fast' is not a rate"):
        Settings(body_min_rate="fast")


@pytest.mark.parametrize(
    ("given", "kept"),
    [(True, True), ("yes", True), ("On", True), ("1", True), (1, True), ("off", False), ("FALSE", False), (0, False)],
)
def test_bools(given, kept):
    assert Settings(patch=given).patch is kept


@pytest.mark.parametrize("given", ["", "perhaps", 2, None, 1.0])
def test_what_is_no_bool(given):
    with pytest.raises(ConfigError, match="patch: .*give yes or no"):
        Settings(patch=given)


def test_unknown_name_names_the_nearest():
    with pytest.raises(ConfigError, match=r"^keepalive_timout: there is no such.*mean keepalive_timeout\?$"):
        Settings(keepalive_timout=3)
    with pytest.raises(ConfigError, match=r"^script_name: there is no such setting; did you mean root_path\?$"):
        Settings(script_name="/below")
    with pytest.raises(ConfigError, match=r"^zzz: there is no such setting$"):
        Settings(zzz=3)


def test_addresses():
    assert Settings(bind="a:1, unix:/x").bind == ("a:1", "unix:/x")
    assert Settings(bind=["a:1", " unix:/x,y", "", "a:1"]).bind == ("a:1", "unix:/x,y")
    assert Settings(bind=["unix:/x,y"]).resolved(1024).bind == ("unix:/x,y",)
    for wrong in ([], "", ",", [1], 8000, None):
        with pytest.raises(ConfigError, match="^bind: "):
            Settings(bind=wrong)


@pytest.mark.parametrize(
    ("given", "kept"), [(0, 0), (4, 4), ("1", 1), (" 4 ", 4), (1000, 1000), ("auto", "auto"), (" AUTO ", "auto")]
)
def test_workers(given, kept):
    value = Settings(workers=given).workers
    assert value == kept
    assert type(value) is type(kept)


@pytest.mark.parametrize("given", [True, False, None, -1, "-1", 1.0, math.nan, "", "x", "off", "٣", "1_0", [1], b"1"])
def test_what_is_no_number_of_workers(given):
    with pytest.raises(ConfigError, match=r"^workers: .*; give 0 or more, or auto$"):
        Settings(workers=given)


@pytest.mark.parametrize(
    ("given", "line"),
    [(1001, "1001 is too large; give 1000 or less"), (1 << 31, "2147483648 is too large; the most is 2147483647")],
)
def test_more_workers_than_anybody_means(given, line):
    with pytest.raises(ConfigError, match=f"^workers: {line}$"):
        Settings(workers=given)


@pytest.mark.parametrize("name", ["umask", "socket_mode"])
@pytest.mark.parametrize(
    ("given", "kept"),
    [("660", 0o660), ("0660", 0o660), ("0o660", 0o660), (" 0O27 ", 0o27), ("0", 0), (0o660, 0o660), (0, 0),
     ("7777", 0o7777), ("off", None), ("No", None), ("none", None), (False, None), (None, None)],
)  # fmt: skip
def test_modes(name, given, kept):
    assert getattr(Settings(**{name: given}), name) == kept


@pytest.mark.parametrize("given", [True, -1, 0o10000, "8", "668", "-1", "77777", "0x1ff", "rw", 1.0, [6], b"660", "٦"])
def test_what_is_no_mode(given):
    with pytest.raises(ConfigError, match="^umask: .* is not a mode; give octal digits like 660$"):
        Settings(umask=given)


@pytest.mark.parametrize("name", ["pid", "user", "group"])
@pytest.mark.parametrize(
    ("given", "kept"),
    [("www-data", "www-data"), (" x ", "x"), (33, "33"), (0, "0"), ("0", "0"), ("off", None), ("NO", None),
     ("none", None), ("", None), (False, None), (None, None)],
)  # fmt: skip
def test_what_may_be_off(name, given, kept):
    assert getattr(Settings(**{name: given}), name) == kept


@pytest.mark.parametrize("given", [True, 1.5, ["a"], b"a"])
def test_what_is_neither_a_text_nor_off(given):
    with pytest.raises(ConfigError, match="^user: .* is not a text; give one that is not empty$"):
        Settings(user=given)


def test_interface():
    for name in ("auto", "wsgi", "native", "stream"):
        assert Settings(interface=name.upper()).interface == name
    with pytest.raises(ConfigError, match="interface: 'asgi' is not known; give auto, wsgi, native or stream"):
        Settings(interface="asgi")


def test_context():
    for name in ("request", "thread"):
        assert Settings(context=name.upper()).context == name
    with pytest.raises(ConfigError, match="context: 'connection' is not known; give request or thread"):
        Settings(context="connection")


@pytest.mark.parametrize(
    ("given", "kept"), [("-", "-"), (True, "-"), ("a.log", "a.log"), ("off", None), (None, None), (False, None)]
)
def test_a_log_is_a_file_or_the_standard_stream_or_off(given, kept):
    assert Settings(access_logfile=given).access_logfile == kept


@pytest.mark.parametrize("given", ["", " ", 7, ["a"]])
def test_what_is_not_a_file(given):
    with pytest.raises(ConfigError, match="access_logfile: .* is not a text" if given != "" else "access_logfile: "):
        Settings(access_logfile=given)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("A=1,2", ("A=1,2",)), (["A=1", "B=", "A=x=y"], ("A=x=y", "B=")), ({"A": 1}, ("A=1",)), ([], ())],
)
def test_variables(given, kept):
    assert Settings(env=given).env == kept


NUL_KINDS = ("text", "path", "file", "optional", "names", "addresses", "paths")


@pytest.mark.parametrize("name", [s.name for s in SETTINGS if s.kind in NUL_KINDS])
@pytest.mark.parametrize("given", ["a\0b", "\0", "a\0"])
def test_nul_is_refused(name, given):
    with pytest.raises(ConfigError, match=rf"^{name}: '[^\0]*' has a NUL character in it; leave it out$"):
        Settings(**{name: given})


@pytest.mark.parametrize("given", ["A", "=1", "", ["A=1", 2], 3, "A=\0"])
def test_what_is_no_variable(given):
    with pytest.raises(ConfigError, match="^env: .*; give "):
        Settings(env=given)


@pytest.mark.parametrize("name", ["certfile", "keyfile"])
@pytest.mark.parametrize(
    ("given", "kept"),
    [("a.pem", ("a.pem",)), ("b.pem , a.pem,b.pem", ("b.pem", "a.pem", "b.pem")), (["b,c.pem"], ("b,c.pem",)),
     (("a.pem", ""), ("a.pem",)), ([], ()), ("off", ()), (False, ()), (None, ())],
)  # fmt: skip
def test_files_of_certificates(name, given, kept):
    settings = Settings(**{"certfile": "x", name: given}) if name == "keyfile" else Settings(certfile=given)
    assert getattr(settings, name) == kept
    assert BY_NAME[name].parse(BY_NAME[name].typed(kept)) == kept


@pytest.mark.parametrize("given", ["", " ", ",", [""]])
def test_an_empty_name_of_a_certificate_is_not_none(given):
    with pytest.raises(ConfigError, match="^certfile: empty; give a file, or leave it out$"):
        Settings(certfile=given)


@pytest.mark.parametrize("given", [True, 7, [7], {"a": "b"}])
def test_what_names_no_file_of_a_certificate(given):
    with pytest.raises(ConfigError, match="^certfile: .*; give "):
        Settings(certfile=given)


PEM = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize("name", ["certfile", "keyfile", "ca_certs"])
@pytest.mark.parametrize(
    "given", [PEM, [PEM], PEM.encode(), [PEM.encode()], PEM.replace("\n", " "), "Subject: a, b\n" + PEM, "c2Vj\ncmV0"]
)
def test_the_text_of_a_file_in_the_place_of_its_name_is_not_shown(name, given):
    if name == "ca_certs" and isinstance(given, (bytes, list)):
        return
    with pytest.raises(ConfigError) as failure:
        Settings(**{"certfile": "c.pem", name: given})
    assert str(failure.value) == f"{name}: this is the text of a PEM file; write it to a file and give its path"


def test_a_key_needs_its_certificate():
    with pytest.raises(ConfigError, match="^keyfile: a key needs its certificate; give certfile too$"):
        Settings(keyfile="k.pem")


@pytest.mark.parametrize(
    ("given", "kept"),
    [(0, "none"), (1, "optional"), (2, "required"), ("2", "required"), (ssl.CERT_NONE, "none"),
     (ssl.CERT_OPTIONAL, "optional"), (ssl.CERT_REQUIRED, "required"), ("CERT_REQUIRED", "required"),
     ("VerifyMode.CERT_OPTIONAL", "optional"), ("Required", "required"), ("off", "none")],
)  # fmt: skip
def test_how_clients_are_verified(given, kept):
    assert Settings(cert_reqs=given).cert_reqs == kept


@pytest.mark.parametrize("given", [3, "3", "", "yes", True, None, 1.0, [2]])
def test_ways_to_verify_clients_that_are_none(given):
    with pytest.raises(ConfigError, match="^cert_reqs: .*give "):
        Settings(cert_reqs=given)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("1.2", "1.2"), (1.3, "1.3"), ("TLSv1.2", "1.2"), ("tls1.3", "1.3"), ("TLSv1_2", "1.2"), ("tlsv1.3", "1.3")],
)
def test_oldest_versions_of_tls(given, kept):
    assert Settings(tls_min=given).tls_min == kept


@pytest.mark.parametrize("given", ["1.1", "TLSv1.1", 1.0, "tls1", "1.4", "SSLv3", "", 12, None])
def test_versions_of_tls_that_are_not_accepted(given):
    with pytest.raises(ConfigError, match="^tls_min: .*give (1.2 or 1.3|one)"):
        Settings(tls_min=given)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("off", None), (None, None), (False, None), ("", None), (" a b ", " a b "), ("--x", "--x"), ("file:k", "file:k")],
)
def test_secrets(given, kept):
    assert Settings(keyfile_password=given).keyfile_password == kept


@pytest.mark.parametrize("given", [True, 1234567, b"sesame", ["sesame"], "ses\0ame"])
def test_what_is_no_secret_is_not_quoted(given):
    with pytest.raises(ConfigError, match=r"^keyfile_password: it \(not shown\) is not a text") as failure:
        Settings(keyfile_password=given)
    assert "sesame" not in str(failure.value) and "1234567" not in str(failure.value)


def test_a_secret_is_not_shown():
    settings = Settings(keyfile_password="sesame", certfile="c")
    assert repr(settings) == "Settings(certfile=('c',), keyfile_password=***)"
    assert "sesame" not in shown.as_toml(settings, {}, False) and "sesame" not in shown.changed(settings)
    assert '# keyfile_password = "***"' in re.sub(" +", " ", shown.as_toml(settings, {}, False))
    assert "sesame" not in shown.changed(Settings(keyfile_password="file:a\nsesame"))
    named = Settings(keyfile_password="file:/run/key")
    assert 'keyfile_password = "file:/run/key"' in shown.changed(named)


@pytest.mark.parametrize(
    ("name", "kept", "typed"),
    [
        ("header_timeout", 0.0, "0"),
        ("cert_reqs", "none", "none"),
        ("certfile", (), []),
        ("keyfile_password", None, "off"),
        ("header_timeout", 0.25, "250ms"),
        ("header_timeout", 0.0001, "0.0001s"),
        ("header_timeout", 90.0, "90s"),
        ("header_timeout", 1234567.5, "1234567.5s"),
        ("limit_request_body", 0, "0"),
        ("limit_request_body", 1 << 50, "1024t"),
        ("limit_request_body", 65537, "65537"),
        ("body_min_rate", 2048, 2048),
        ("queue", None, "auto"),
        ("server_header", None, "off"),
        ("access_logfile", None, "off"),
        ("bind", ("a:1", "b:2"), ["a:1", "b:2"]),
        ("patch", False, False),
        ("workers", 0, 0),
        ("workers", 4, 4),
        ("workers", "auto", "auto"),
        ("umask", 0o27, "027"),
        ("umask", 0, "000"),
        ("umask", None, "off"),
        ("socket_mode", 0o1770, "1770"),
        ("pid", None, "off"),
        ("user", "33", "33"),
        ("max_rss", 300 << 20, "300m"),
        ("max_age", 0.0, "0"),
        ("hub_warn", 0.5, "500ms"),
    ],
)
def test_a_value_is_shown_as_it_would_be_typed(name, kept, typed):
    assert BY_NAME[name].typed(kept) == typed
    assert BY_NAME[name].parse(typed) == kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [("greenhttp", "greenhttp"), (True, "greenhttp"), ("on", "greenhttp"), (False, None), (None, None), ("off", None),
     ("nginx/1", "nginx/1")],
)  # fmt: skip
def test_server_header(given, kept):
    assert Settings(server_header=given).server_header == kept


@pytest.mark.parametrize("given", ["", "a\r\nb", "a\nb", "a\0b", "caf\u00e9", 7])
def test_a_server_header_that_cannot_be_sent(given):
    with pytest.raises(ConfigError, match="server_header: .* is not a field value; give printable ASCII, or off"):
        Settings(server_header=given)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("/healthz", "/healthz"), (" /a%20b ", "/a%20b"), ("/", "/"), ("off", None), (False, None), (None, None)],
)
def test_health_path(given, kept):
    settings = Settings(health_path=given)
    assert settings.health_path == kept
    assert BY_NAME["health_path"].parse(BY_NAME["health_path"].typed(kept)) == kept


@pytest.mark.parametrize("given", ["", "healthz", "/a?b", "/a#b", "/a b", "/\u20ac", "/\x7f", True, 7])
def test_a_health_path_that_is_none(given):
    with pytest.raises(ConfigError, match="health_path: .* is not a path; give one like /healthz"):
        Settings(health_path=given)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("/below", "/below"), (" /below/ ", "/below"), ("/a/b-c.d_e~", "/a/b-c.d_e~"), ("/...", "/..."), ("/", None),
        ("", None), ("off", None), (False, None), (None, None),
    ],
)  # fmt: skip
def test_root_path(given, kept):
    settings = Settings(root_path=given)
    assert settings.root_path == kept
    assert BY_NAME["root_path"].parse(BY_NAME["root_path"].typed(kept)) == kept


@pytest.mark.parametrize(
    "given",
    [
        "below", "//", "//a", "/a//b", "/a//", "/.", "/..", "/a/../b", "/./a", "/a%20b", "/a b", "/a\\b", "/\u20ac",
        "/a?b", "/a#b", '/a"b', "/<b>", "/\x7f", True, 7,
    ],
)  # fmt: skip
def test_a_root_path_that_is_none(given):
    with pytest.raises(ConfigError, match="root_path: .* is not a path prefix; give one like /below, without escapes"):
        Settings(root_path=given)


def test_allowed_headers_are_lower_case_tokens():
    assert Settings(allow_headers="X_Real_IP, Proxy,x_real_ip").allow_headers == ("x_real_ip", "proxy")
    with pytest.raises(ConfigError, match="allow_headers: 'a b' is not a field name"):
        Settings(allow_headers="a b")


def test_only_connect_and_trace_need_to_be_allowed():
    assert Settings(allow_methods="CONNECT,TRACE").allow_methods == ("CONNECT", "TRACE")
    with pytest.raises(ConfigError, match="allow_methods: 'GET' is not a method to allow here"):
        Settings(allow_methods=["GET"])


@pytest.mark.parametrize("name", ["limit_request_line", "limit_request_head", "limit_request_fields", "limit_pipeline"])
def test_limits_without_which_nothing_could_be_served_refuse_zero(name):
    with pytest.raises(ConfigError, match=f"{name}: 0 is too small"):
        Settings(**{name: 0})


@pytest.mark.parametrize("name", ["limit_request_line", "limit_request_head", "limit_request_fields"])
def test_a_head_is_at_most_what_32_bits_can_point_into(name):
    assert getattr(Settings(**{name: 1 << 30}, limit_buffers="4g"), name) == 1 << 30
    with pytest.raises(ConfigError, match=f"{name}: 1073741825 is too large; give 1073741824 or less"):
        Settings(**{name: (1 << 30) + 1}, limit_buffers="4g")


def test_one_head_must_fit_into_the_buffers():
    with pytest.raises(ConfigError, match="limit_buffers: 65536 bytes cannot hold one request head"):
        Settings(limit_buffers="64k")
    assert Settings(limit_buffers="72k").limit_buffers == 72 << 10


def test_line_and_fields_are_limited_apart():
    assert Settings(limit_request_line="16k", limit_request_head="1k").limit_request_line == 16384


def test_resolved_fills_in_what_is_derived():
    settings = Settings(concurrency=7).resolved(1024)
    assert (settings.queue, settings.connections) == (7, 896)
    settings = Settings(queue=0, connections=5).resolved(1024)
    assert (settings.queue, settings.connections) == (0, 5)
    assert Settings(connections="auto").connections is None


@pytest.mark.parametrize(("limit", "connections"), [(1024, 896), (128, 64), (0, 64), (-1, 10**6), (1 << 30, 10**6)])
def test_connections_from_the_file_limit(limit, connections):
    assert connections_for(limit) == connections


def test_settings_are_values():
    settings = Settings(queue=3)
    with pytest.raises(AttributeError, match="replace"):
        settings.queue = 4
    with pytest.raises(AttributeError):
        del settings.queue
    assert settings.replace(queue=4) == Settings(queue=4) != settings
    assert hash(settings) == hash(Settings(queue="3"))
    assert Settings(**settings.as_dict()) == settings
    assert repr(Settings(queue=3, server_header=False)) == "Settings(queue=3, server_header=None)"


def test_the_table_is_complete_and_names_are_unique():
    flags = [flag for setting in SETTINGS for flag in (*setting.flags, *(flag for flag, _ in setting.switches))]
    assert len(flags) == len(set(flags))
    assert len(BY_NAME) == len(SETTINGS)
    for setting in SETTINGS:
        assert setting.kind in KINDS
        assert setting.help.endswith(".")
        assert setting.flags[-1].startswith("--")
        assert setting.flag in setting.flags
        if setting.kind in ("duration", "size", "rate"):
            assert setting.unit in ("seconds", "bytes", "bytes/s")


@pytest.mark.parametrize("module", [kinds, table, values])
def test_a_table_of_settings_needs_nothing_but_its_room_and_errors(module):
    tree = ast.parse(Path(module.__file__).read_text())
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    rooms = {".".join(name.split(".")[:2]) for name in names if name and name.startswith("greenhttp")}
    assert rooms <= {"greenhttp.errors", "greenhttp.settings"}
    assert not names & {"os", "socket", "gevent", "resource", "io", "pathlib"}


@pytest.mark.parametrize(
    ("given", "kept"),
    [(True, "any"), (False, "off"), ("auto", "any"), ("V1", "v1"), ("v2", "v2"), ("yes", "any"), ("no", "off")],
)
def test_proxy_protocol_takes_what_gunicorns_files_have(given, kept):
    assert Settings(proxy_protocol=given).proxy_protocol == kept


def test_a_choice_that_was_never_a_switch_is_none():
    with pytest.raises(ConfigError, match="interface: 'true' is not known; give"):
        Settings(interface=True)


@pytest.mark.parametrize("name", ["Content-Type", "host", "Cookie", "Authorization", "X-Forwarded-For", "Sec-GPC"])
@pytest.mark.parametrize("setting", ["root_path_header", "request_id_header"])
def test_a_field_that_means_something_else_is_none_of_ours(setting, name):
    with pytest.raises(ConfigError, match=f"{setting}: {name} has a meaning of its own; give a name like X-"):
        Settings(**{setting: name})


@pytest.mark.parametrize("name", ["X-Correlation-Id", "CF-Ray", "X-Amzn-Trace-Id", "Request-Id", "X_Id", "hosted"])
def test_a_field_for_ids_may_be_any_other(name):
    assert Settings(request_id_header=name, root_path_header=name).request_id_header == name


@pytest.mark.parametrize(("setting", "like"), [
    ("root_path_header", "X-Forwarded-Prefix"), ("request_id_header", "X-Request-Id"),
])  # fmt: skip
def test_the_hint_names_a_field_of_that_kind(setting, like):
    with pytest.raises(ConfigError, match=f"{setting}: 'a b' is not a field name; give a name like {like}, or off"):
        Settings(**{setting: "a b"})


@pytest.mark.parametrize("given", ["off", ["off"], "", [], None])
def test_no_field_tells_the_scheme(given):
    assert Settings(secure_scheme_headers=given).secure_scheme_headers == ()


@pytest.mark.parametrize("name", ["request_id_header", "root_path_header"])
@pytest.mark.parametrize("given", [True, "true", "Yes", 1])
def test_the_name_of_a_field_is_not_yes(name, given):
    said = f"^{name}: {given!r} is not a field name; give a name like X-Request-Id, or off$"
    with pytest.raises(ConfigError, match=said):
        Settings(**{name: given})
