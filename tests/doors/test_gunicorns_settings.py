"""Every setting that gunicorn knows is taken, ignored by name, or refused: none is lost."""

import inspect

import pytest

from greenhttp.errors import ConfigError
from greenhttp.settings.file import read_toml, run_hooks, run_python
from greenhttp.settings.foreign import FOREIGN, HOOKS_OF_MASTER, HOOKS_OF_NOBODY, HOOKS_OF_TLS, HOOKS_OF_WORKER
from greenhttp.settings.sources import Given, settled

config = pytest.importorskip("gunicorn.config")

TAKEN = {
    "wsgi_app": "app:app", "bind": ["127.0.0.1:1"], "backlog": 7, "workers": 3, "worker_connections": 7,
    "max_requests": 7, "max_requests_jitter": 7, "timeout": 7, "graceful_timeout": 7, "keepalive": 7,
    "limit_request_line": 777, "limit_request_fields": 7, "reload": True, "reload_extra_files": ["x"],
    "reuse_port": True, "certfile": "x", "keyfile": "x", "cert_reqs": 2, "ca_certs": "x", "ciphers": "x",
    "preload_app": True, "chdir": "/", "raw_env": ["A=1"], "pidfile": "x", "user": "x", "group": "x", "umask": 0o27,
    "secure_scheme_headers": {"X-A": "on"}, "forwarded_allow_ips": "10.0.0.1", "accesslog": "-",
    "access_log_format": "%(h)s", "errorlog": "x", "loglevel": "debug", "pythonpath": "x",
    "proxy_allow_ips": "10.0.0.1", "logconfig": "x", "logconfig_json": "x", "logconfig_dict": {"version": 1},
}  # fmt: skip
IGNORED = {
    "threads": 4, "limit_request_field_size": 9000, "reload_engine": "poll", "sendfile": False, "worker_tmp_dir": "x",
    "initgroups": True, "tmp_upload_dir": "x", "disable_redirect_access_to_syslog": True, "syslog_addr": "x",
    "syslog_prefix": "x", "syslog_facility": "user", "enable_stdio_inheritance": True, "dogstatsd_tags": "x",
    "statsd_prefix": "x", "enable_backlog_metric": True, "proc_name": "x", "default_proc_name": "x",
    "root_path": "/x", "uwsgi_allow_ips": "*", "suppress_ragged_eofs": False, "do_handshake_on_connect": True,
    "ssl_version": 2,
    "http2_max_concurrent_streams": 7, "http2_initial_window_size": 7, "http2_max_frame_size": 7,
    "http2_max_header_list_size": 7, "permit_unconventional_http_method": True, "asgi_loop": "auto",
    "asgi_lifespan": "on", "asgi_disconnect_grace_period": 7, "websocket_max_message_size": 7, "http_parser": "fast",
    "dirty_timeout": 7, "dirty_threads": 7, "dirty_graceful_timeout": 7, "control_socket": "x",
    "control_socket_mode": 0o660, "control_socket_disable": True,
}  # fmt: skip
REFUSED = {
    "config": "x", "check_config": True, "print_config": True, "worker_class": "sync", "spew": True, "daemon": True,
    "capture_output": True, "logger_class": "x",
    "syslog": True, "statsd_host": "x:1", "paste": "x", "raw_paste_global_conf": ["a=1"],
    "protocol": "uwsgi", "http_protocols": ["h2", "h1"], "http2_cleartext": "on",
    "permit_obsolete_folding": True, "strip_header_spaces": True, "permit_unconventional_http_version": True,
    "casefold_http_method": True, "forwarder_headers": "X_A", "header_map": "dangerous",
    "dirty_apps": ["x"], "dirty_workers": 1,
}  # fmt: skip
HOOKS = {s.name for s in config.KNOWN_SETTINGS if s.section in ("Server Hooks", "Dirty Arbiter Hooks")}


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read(text):
        (tmp_path / "gunicorn.conf.py").write_text(text)
        source, said = run_python("gunicorn.conf.py")
        settled(source)
        return source, said

    return read


def test_the_lists_are_all_that_gunicorn_knows():
    named = [*TAKEN, "proxy_protocol", *IGNORED, *REFUSED, *HOOKS]
    assert len(named) == len(set(named))
    assert set(named) == {setting.name for setting in config.KNOWN_SETTINGS}


@pytest.mark.parametrize("name", TAKEN)
def test_it_is_taken(read, name):
    source, said = read("certfile = 'x'\n" * (name == "keyfile") + f"{name} = {TAKEN[name]!r}")
    assert len(source) == 1 + (name == "keyfile") and said == []


@pytest.mark.parametrize(
    ("value", "meant"),
    [(False, "off"), ("off", "off"), (True, "any"), ("auto", "any"), ("v1", "v1"), ("v2", "v2"), (None, None)],
)
def test_the_proxy_protocol_is_taken_with_each_of_gunicorns_values(read, value, meant):
    """Its versions before 24.1 know yes and no alone."""
    settings = settled(read(f"proxy_protocol = {value!r}")[0])[0]
    assert settings.proxy_protocol == (meant or "off")
    assert settings.proxy_allow_from == (("127.0.0.1", "::1", "unix") if meant else ("127.0.0.1", "::1"))


@pytest.mark.parametrize(
    "value", ["'10.0.0.1, ::1'", "['10.0.0.1', '::1']", "('10.0.0.1', '::1')", "'10.0.0.1,::1,unix'"]
)
@pytest.mark.parametrize(
    ("theirs", "ours"), [("forwarded_allow_ips", "forwarded_allow_ips"), ("proxy_allow_ips", "proxy_allow_from")]
)
def test_who_connects_over_a_unix_socket_is_trusted_whatever_the_lists_say(read, theirs, ours, value):
    settings = settled(read(f"{theirs} = {value}")[0])[0]
    assert getattr(settings, ours) == ("10.0.0.1", "::1", "unix")


@pytest.mark.parametrize("name", ["greenhttp.py", "settings.toml"])
def test_in_a_file_of_ones_own_the_lists_are_meant_literally(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("forwarded_allow_ips = '10.0.0.1'\nproxy_protocol = 'v1'\nroot_path = '/x'\n")
    source, said = run_python(name) if name.endswith(".py") else read_toml(name)
    settings = settled(source)[0]
    assert (settings.forwarded_allow_ips, settings.proxy_allow_from) == (("10.0.0.1",), ("127.0.0.1", "::1"))
    assert (settings.root_path, said) == ("/x", [])


def test_a_prefix_is_given_to_gunicorn_by_script_name(read):
    assert settled(read("script_name = '/below'")[0])[0].root_path == "/below"
    source, said = read("root_path = '/x'\nscript_name = '/below'")
    assert settled(source)[0].root_path == "/below" and "use script_name)" in said[0]


@pytest.mark.parametrize("name", IGNORED)
def test_it_is_ignored_and_named(read, name):
    source, said = read(f"{name} = {IGNORED[name]!r}")
    assert source == {} and len(said) == 1
    assert said[0].startswith(f"ignored (no effect): gunicorn.conf.py:1: {name} (")


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(read, name):
    with pytest.raises(ConfigError, match=rf"^gunicorn\.conf\.py:1: {name}[ :][^\n]+(\n    .+\n    .+)?$"):
        read(f"{name} = {REFUSED[name]!r}")


RUN = {**HOOKS_OF_MASTER, **HOOKS_OF_WORKER, **HOOKS_OF_TLS}


def test_each_hook_runs_or_is_named():
    named = [*RUN, *HOOKS_OF_NOBODY]
    assert len(named) == len(set(named)) and set(named) == HOOKS


@pytest.mark.parametrize("name", RUN)
def test_a_hook_is_taken_with_gunicorns_arguments(read, name):
    default = next(s.default for s in config.KNOWN_SETTINGS if s.name == name)
    many = len(inspect.signature(default).parameters)
    words = ", ".join("abcd"[:many])
    assert read(f"def {name}({words}): pass") == ({"hooks": Given((name,), "gunicorn.conf.py")}, [])
    with pytest.raises(ConfigError, match=rf"^gunicorn\.conf\.py: {name}: the hook must take the arguments [a-z_, ]+$"):
        read(f"def {name}(): pass")
    with pytest.raises(ConfigError, match=rf"^gunicorn\.conf\.py: {name}: give the function itself"):
        read(f"{name} = 'module.hook'")


@pytest.mark.parametrize("words", ["worker, req", "worker, req, environ", "worker, req, environ, resp"])
def test_post_request_may_leave_out_what_it_does_not_use(tmp_path, words):
    path = tmp_path / "gunicorn.conf.py"
    path.write_text(f"said = []\ndef post_request({words}): said.append(({words}))\n")
    hook = run_hooks(str(path))["post_request"]
    assert hook(1, 2, 3, 4) is None
    inner = hook if words.endswith("resp") else hook.__closure__[0].cell_contents
    assert inner.__globals__["said"] == [(1, 2, 3, 4)[: words.count(",") + 1]]


@pytest.mark.parametrize("name", HOOKS_OF_NOBODY)
def test_a_hook_of_workers_that_are_not_there_is_named(read, name):
    said = [f"gunicorn.conf.py: these hooks never run, dirty workers are not supported: {name}"]
    assert read(f"def {name}(*words): pass") == ({}, said)


def test_all_that_is_ignored_is_one_line(read):
    _, said = read("threads = 4\nproc_name = 'x'\n")
    assert len(said) == 1 and "threads (" in said[0] and "proc_name (" in said[0]


def test_an_option_takes_a_value_where_it_takes_one_in_gunicorn():
    """Else it swallows what stands behind it: the application, say."""
    bare = {flag: setting.action in ("store_true", "store_const") for setting in config.KNOWN_SETTINGS
            for flag in setting.cli or ()}  # fmt: skip
    known = {flag: entry for entry in FOREIGN for flag in entry.flags if flag in bare}
    assert len(known) > 30
    assert [flag for flag, entry in known.items() if entry.argument is bare[flag]] == []


HARMLESS = [s for s in config.KNOWN_SETTINGS if s.name not in {*HOOKS, *IGNORED, "config", "chdir"}]


@pytest.mark.parametrize("setting", HARMLESS, ids=lambda setting: setting.name)
def test_gunicorns_own_default_refuses_nothing(read, setting):
    """Files that spell defaults out are common."""
    value = "'gevent'" if setting.name == "worker_class" else repr(setting.default)
    if setting.name in ("ssl_version", "cert_reqs"):
        value = "None"  # the numbers of Python's ssl mean something with certificates alone
    if setting.name in ("user", "group"):
        value = "0"
    if setting.name == "forwarder_headers":
        value = "None"
    _, said = read(f"{setting.name} = {value}")
    assert said == []


def test_names_of_the_files_own_are_named_and_left_alone(read):
    source, said = read("import os\ncores = 2\nworkers = cores * 2 + 1\n_mine = 1\n")
    assert source["workers"].value == 5
    assert said == ["gunicorn.conf.py: names that are not settings: cores"]


def test_no_keep_alive_is_not_taken_for_no_time_out(read):
    with pytest.raises(ConfigError, match=r":1: keepalive: 0 turns the time-out off here; give a short time like '2s'"):
        read("keepalive = 0")


def test_extra_files_are_watched_beside_the_others(read):
    assert read("reload_extra_files = ['a.yml']")[0]["reload_dirs"].value == [".", "a.yml"]


@pytest.mark.parametrize("value", ["'gevent'", "'greenhttp.gunicorn.Worker'", "Worker"])
def test_our_worker_class_may_stay_in_the_file(read, value):
    assert read(f"from greenhttp.gunicorn import Worker\nworker_class = {value}") == ({}, [])


def test_another_worker_class_is_refused(read):
    with pytest.raises(ConfigError, match="worker_class builtins.dict: the only worker class is gevent"):
        read("worker_class = dict")
