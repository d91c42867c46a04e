"""cli.py: from a command line and an environment to a running server and an exit code. The server is a stand-in."""

import os
import re
import signal
import subprocess
import sys

import pytest

from greenhttp import __version__
from greenhttp.cli import THEIRS, _is_supervised, _parse, _settled, command, main
from greenhttp.errors import ConfigError
from greenhttp.settings.console import kept, say
from greenhttp.settings.table import BY_NAME, SETTINGS
from greenhttp.settings.values import Settings
from tests.lines import plain


def read(*arguments, **environ):
    settings = _settled(_parse([*arguments, "web:app"]), environ)[0]
    for line in kept():
        say(line)
    return settings


def served(*arguments):
    """The application's name, as the command line gives it."""
    origins = _settled(_parse(arguments), {})[1]
    return origins["app"].value if "app" in origins else None


def test_nothing_given_is_the_defaults():
    assert read() == Settings()


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        (["-b", "a:1", "--bind", "unix:/x"], {"bind": ["a:1", "unix:/x"]}),
        (["-b", "a:1,b:2"], {"bind": ["a:1", "b:2"]}),
        (["-w", "0"], {}),
        (["-w", "1"], {"workers": 1}),
        (["--workers", "AUTO"], {"workers": "auto"}),
        (["--preload-app"], {"preload": True}),
        (["--preload", "--no-preload"], {}),
        (["--max-requests", "9", "--max-requests-jitter", "2"], {"max_requests": 9, "max_requests_jitter": 2}),
        (["--limit-max-requests", "9"], {"max_requests": 9}),
        (["--limit-max-requests-jitter", "2"], {"max_requests_jitter": 2}),
        (["--max-rss", "300m", "--workers-lifetime", "1h"], {"max_rss": 300 << 20, "max_age": 3600}),
        (["-t", "9", "--boot-timeout", "1m"], {"timeout": 9, "boot_timeout": 60}),
        (["--timeout-worker-healthcheck", "9"], {"timeout": 9}),
        (["-p", "81"], {"pid": "81"}),  # gunicorn: not a port
        (["--pidfile", "off"], {}),
        (["-u", "www-data", "-g", "33", "-m", "027"], {"user": "www-data", "group": "33", "umask": 0o27}),
        (["--socket-mode", "660"], {"socket_mode": 0o660}),
        (["--drain-linger", "0", "--hub-warn", "100ms"], {"drain_linger": 0, "hub_warn": 0.1}),
        (["--worker-connections", "7"], {"connections": 7}),  # gunicorn: clients at the same time, idle ones included
        (["--keep-alive", "5"], {"keepalive_timeout": 5}),
        (["--timeout-keep-alive", "5"], {"keepalive_timeout": 5}),
        (["--graceful-timeout", "1m"], {"graceful_timeout": 60}),
        (["--limit-request-line", "4094"], {"limit_request_line": 4094}),
        (["--limit-request-body", "1m"], {"limit_request_body": 1 << 20}),
        (["--server-header", "off"], {"server_header": None}),
        (["--no-patch"], {"patch": False}),
        (["--patch"], {}),
        (["--allow-headers", "X_A,Proxy"], {"allow_headers": ["x_a", "proxy"]}),
        (["--queue", "0"], {"queue": 0}),
        (["--listen", "a:1"], {"bind": ["a:1"]}),
        (["--host", "0.0.0.0", "--port", "80"], {"bind": ["0.0.0.0:80"]}),
        (["--host", "::"], {"bind": ["[::]:8000"]}),
        (["--port", "0"], {"bind": ["127.0.0.1:0"]}),
        (["-b", "a:1", "--uds", "/x", "--fd", "3"], {"bind": ["a:1", "unix:/x", "fd://3"]}),
        (["--uds", "/tmp/x,y"], {"bind": ["unix:/tmp/x,y"]}),
        (["-b", "a:1,b:2", "--uds", "x,y", "-b", "c:3"], {"bind": ["a:1", "b:2", "c:3", "unix:x,y"]}),
        (["--interface", "WSGI"], {"interface": "wsgi"}),
        (["--access-logfile", "-"], {"access_logfile": "-"}),
        (["--access-log"], {"access_logfile": "-"}),
        (["--no-access-log"], {}),
        (["--no-access-log", "--access-log"], {"access_logfile": "-"}),
        (["--access-log", "--no-access-log"], {}),
        (["--access-log", "--no-access-log", "--access-log"], {"access_logfile": "-"}),
        (["--access-logfile", "f", "--no-access-log"], {}),
        (["--no-access-log", "--accesslog", "f"], {"access_logfile": "f"}),
        (["--server-header", "x", "--no-server-header"], {"server_header": None}),
        (["--no-server-header", "--server-header", "x"], {"server_header": "x"}),
        (["--patch", "--no-patch"], {"patch": False}),
        (["--no-patch", "--patch"], {}),
        (["--access-logformat", "json"], {"access_log_format": "json"}),
        (["--log-file", "e.log", "--log-level", "DEBUG"], {"error_logfile": "e.log", "log_level": "debug"}),
        (["-e", "A=1,2", "--env", "B=x=y", "--raw-env", "A=3"], {"env": ["A=3", "B=x=y"]}),
        (["--app-dir", "a", "--pythonpath", "b,c"], {"pythonpath": ["a", "b", "c"]}),
        (["--chdir", "x"], {"chdir": "x"}),
        (["--no-server-header"], {"server_header": None}),
        (["--timeout-graceful-shutdown", "3"], {"graceful_timeout": 3}),
        (["--limit-concurrency", "3"], {"concurrency": 3}),
        (["-k", "gevent"], {}),
        (["--loop", "libuv"], {"loop": "libuv"}),
        (["--context", "thread"], {"context": "thread"}),
        (["--proxy-protocol", "-w", "0"], {"proxy_protocol": "any"}),
        (["--proxy-protocol", "--proxy-timeout", "3"], {"proxy_protocol": "any", "proxy_timeout": 3}),
        (["--proxy-protocol", "v1"], {"proxy_protocol": "v1"}),
        (["--proxy-protocol=AUTO"], {"proxy_protocol": "any"}),
    ],
)
def test_options(arguments, values):
    assert read(*arguments) == Settings(**values)


def test_every_setting_has_an_option_and_a_variable():
    flags = {flag for parameter in command.params for flag in parameter.opts}
    assert {flag for setting in SETTINGS for flag in setting.flags} <= flags
    examples = {"duration": "3s", "size": "1m", "rate": "9", "count": "1", "bool": "no", "addresses": "a:1",
                "names": "x", "pairs": "A=1", "file": "x", "path": "x", "text": "x", "header": "x",
                "target": "/x", "prefix": "/x", "optional": "x", "field": "X-A", "workers": "3", "mode": "027",
                "fields": "X-A=1", "json": '{"a": 1}', "paths": "x", "secret": "x"}  # fmt: skip
    named = {"interface": "native", "allow_methods": "TRACE", "limit_buffers": "300m", "loop": "libev",
             "log_level": "error", "log_format": "json", "context": "thread",
             "forwarded_allow_ips": "10.0.0.0/8", "proxy_allow_from": "unix", "forwarded_field": "none",
             "proxy_protocol": "v2", "cert_reqs": "2", "tls_min": "1.3"}  # fmt: skip
    beside = {"keyfile": {"certfile": "c"}}  # what a setting needs
    for setting in SETTINGS:
        text, more = named.get(setting.name) or examples[setting.kind], beside.get(setting.name, {})
        variables = {BY_NAME[name].variable: value for name, value in more.items()}
        assert read(**{setting.variable: text}, **variables) == Settings(**{setting.name: text}, **more), setting.name
        assert setting.variable == "GREENHTTP_" + setting.name.upper()


def test_the_command_line_wins_over_the_environment():
    assert read("--backlog", "5", GREENHTTP_BACKLOG="6").backlog == 5
    assert read("--patch", GREENHTTP_PATCH="0").patch is True
    assert read("-b", "a:1", GREENHTTP_BIND="b:2").bind == ("a:1",)
    assert read(GREENHTTP_BACKLOG="").backlog == 2048


def test_port_is_the_last_word_on_where_to_listen():
    assert read(PORT="5000").bind == ("0.0.0.0:5000",)
    assert read("-b", "a:1", PORT="5000").bind == ("a:1",)
    assert read(PORT="5000", GREENHTTP_BIND="b:2").bind == ("b:2",)
    assert read(PORT="").bind == ("127.0.0.1:8000",)
    assert read("--host", "::1", PORT="5000").bind == ("[::1]:5000",)
    assert read("--port", "80", PORT="5000").bind == ("127.0.0.1:80",)


@pytest.mark.parametrize(
    ("arguments", "environ", "line"),
    [
        (["--backlog", "x"], {}, r"^--backlog: 'x' is not a whole number; give 0 or more$"),
        (["--keep-alive", "x"], {}, r"^--keep-alive: 'x' is not a duration"),
        ([], {"GREENHTTP_BACKLOG": "x"}, r"^GREENHTTP_BACKLOG: 'x' is not a whole number"),
        ([], {"GREENHTTP_PATCH": "maybe"}, r"^GREENHTTP_PATCH: 'maybe' is neither yes nor no"),
        ([], {"PORT": "http"}, r"^PORT: 'http' is not a port"),
        ([], {"PORT": "65536"}, r"^PORT: '65536' is not a port"),
        (["-w", "x"], {}, r"^--workers: 'x' is not a whole number; give 0 or more, or auto$"),
        (["-w", "1001"], {}, r"^--workers: 1001 is too large; give 1000 or less$"),
        ([], {"WEB_CONCURRENCY": "many"}, r"^WEB_CONCURRENCY: 'many' is not a whole number"),
        (["-m", "9"], {}, r"^--umask: '9' is not a mode; give octal digits like 660$"),
        (["--limit-buffers", "1k"], {}, r"^limit_buffers: 1024 bytes cannot hold"),
        (["--port", "x"], {}, r"^--port: 'x' is not a port; give 0 to 65535"),
        (["--host", "a"], {"PORT": "x"}, r"^PORT: 'x' is not a port"),
        (["--host", "a,b:1"], {}, r"^--host: 'a,b:1' is not a host; give one name or IP address, or use --bind$"),
        (["--host", "a:1"], {}, r"^--host: 'a:1' is not a host"),
        (["--host", ""], {}, r"^--host: '' is not a host"),
        (["-e", "A"], {}, r"^--env: an entry \(not shown, it may be secret\) is not NAME=VALUE; give NAME=VALUE$"),
        (["--log-level", "loud"], {}, r"^--log-level: 'loud' is not known; give debug, info, warning, error or crit"),
        (["--loop", "uvloop"], {}, r"^--loop: 'uvloop' is not known; give auto, libev or libuv$"),
        (["-k", "sync"], {}, r"^--worker-class sync: the only worker class is gevent"),
        (["--verify-mode", "x"], {}, r"^--verify-mode: 'x' is not known; give none, optional or required$"),
        (["--ssl-protocol-min", "tls1.1"], {}, r"^--ssl-protocol-min: tls1.1 is not safe any more"),
        (["--certfile", ""], {}, r"^--certfile: empty; give a file, or leave it out$"),
        (["--certfile", "c", "--keyfile", " "], {}, r"^--keyfile: empty; give a file, or leave it out$"),
        ([], {"GREENHTTP_CERTFILE": ""}, r"^GREENHTTP_CERTFILE: empty; give a file, or leave it out$"),
        (["--keyfile", "k"], {}, r"^keyfile: a key needs its certificate; give certfile too$"),
        (["--max-requests", "x"], {}, r"^--max-requests: 'x' is not a whole number"),
        (["--workers-max-rss", "300"], {}, r"^--workers-max-rss( 300)?: use --max-rss with a unit"),
    ],
)
def test_a_wrong_value_names_where_it_came_from(arguments, environ, line):
    with pytest.raises(ConfigError, match=line):
        read(*arguments, **environ)


@pytest.mark.parametrize(
    ("arguments", "variable", "workers"),
    [([], "4", 4), ([], "auto", "auto"), ([], "1", 1), ([], "", 0), (["-w", "1"], "4", 1), (["-w", "1"], "many", 1)],
)
def test_web_concurrency_is_the_last_word_on_workers(capsys, arguments, variable, workers):
    assert read(*arguments, WEB_CONCURRENCY=variable).workers == workers
    assert read(*arguments, WEB_CONCURRENCY=variable, GREENHTTP_WORKERS="7").workers == (workers if arguments else 7)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "environ", "supervised"),
    [
        ([], {}, False),
        (["-w", "0"], {}, False),
        (["-w", "1"], {}, True),
        (["-w", "auto"], {}, True),
        (["--preload"], {}, True),
        (["-p", "x"], {}, True),
        (["--socket-mode", "660", "--drain-linger", "1", "--hub-warn", "1"], {}, False),
        ([], {"WEB_CONCURRENCY": "2"}, True),
        (["-w", "0"], {"WEB_CONCURRENCY": "2"}, False),
        ([], {"GREENHTTP_MAX_REQUESTS": "9"}, True),
    ],
)
def test_there_is_a_supervisor_where_a_setting_asks_for_one(arguments, environ, supervised):
    assert _is_supervised(*_settled(_parse([*arguments, "web"]), environ)) is supervised


def test_what_an_upgrade_starts_is_a_supervisor_too(monkeypatch):
    """Of systemd's sockets, which had asked for one, the variables are gone by then."""
    monkeypatch.setenv("GREENHTTP_TAKEOVER", "{}")
    assert _is_supervised(*_settled(_parse(["web"]), {})) is True
    assert _is_supervised(*_settled(_parse(["-w", "0", "web"]), {})) is False


def test_a_port_that_does_not_count_is_not_read(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text('port = "x"')
    assert read("-b", "a:1", PORT="abc").bind == ("a:1",)
    assert read("--port", "1", PORT="abc").bind == ("127.0.0.1:1",)
    assert read("-c", str(path), "--uds", "/x", PORT="abc").bind == ("unix:/x",)
    with pytest.raises(ConfigError, match=r"s\.toml:1: port: 'x' is not a port"):
        read("-c", str(path))
    with pytest.raises(ConfigError, match=r"s\.toml:1: port: 'x' is not a port"):
        read("-c", str(path), "--host", "a")


def test_a_host_takes_the_port_of_the_file(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text("port = 9000")
    settings, origins = _settled(_parse(["-c", str(path), "--host", "127.0.0.2"]), {"PORT": "5000"})
    assert settings.bind == ("127.0.0.2:9000",)
    assert origins["bind"].origin == f"--host, {path}:1"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--bnd", "x", "web"], "--bnd: there is no such option; did you mean --bind\\?$"),
        (["--keepalive-tiemout=3", "web"], "no such option; did you mean --keepalive-timeout"),
        (["doctor", "--reqest", "/", "web"], r"--reqest: there is no such option; did you mean --request\?$"),
        (["doctor", "--acept", "x", "web"], r"--acept: there is no such option; did you mean --accept\?$"),
        (["-Z", "web"], "-Z: there is no such option$"),
        (["-w", "0", "-p", "81", "web"], r"pid needs a supervisor \(--pid\), but workers is 0; give 1 or more$"),
        ([], "no application; give APP"),
        (["serve"], "no application; give APP"),
        (["serve", "--backlog", "5"], "no application; give APP"),
        (["a", "b"], "unexpected argument 'b'; give one application"),
        (["serve", "a", "b"], "unexpected argument 'b'; give one application"),
        (["web", "--backlog"], "requires an argument"),
        (["web", "--request-id-header", "--check"], "--request-id-header needs a value; --check is an option$"),
        (["--root-path-header", "--check", "web"], "--root-path-header needs a value; --check is an option$"),
        (["--pidfile", "--check", "web"], "--pidfile needs a value; --check is an option$"),
        (["--allow-headers", "X_A", "--allow-headers", "--no-patch", "web"], "--allow-headers needs a value; --no-pat"),
        (["--uds", "--check", "web"], "--uds needs a value; --check is an option$"),
        (["-b", "--reuse-port", "web"], "--bind needs a value; --reuse-port is an option$"),
        (["--proxy-protocol", "who:app"], "--proxy-protocol: 'who:app' is not known; give off, v1, v2 or any;"
                                          " before the application, write --proxy-protocol=any$"),
        (["--proxy-protocol", "", "web"], "--proxy-protocol: '' is not known; give off, v1, v2 or any"),
        (["--forwarded-field", "", "web"], "--forwarded-field: '' is not known; give x-forwarded, forwarded or none$"),
        (["--url-prefix", "/\u00e9", "web"], "--url-prefix: '/\u00e9' is .+ without escapes, in ASCII, or off$"),
        (["--proxy-allow-ips", "10.0.0.5/8", "web"], "--proxy-allow-ips: '10.0.0.5/8' is not a network; give 10"),
        (["-b", "8000", "web"], "bind: '8000' is only a number; give :8000 to listen on that port"),
        (["-b", "80000", "web"], "bind: '80000' is only a number; ports go from 0 to 65535; give host:port, :port, "),
        (["-b", "123456", "web"], "bind: '123456' is only a number; ports go from 0 to 65535; give host:port, :port, "),
        (["run", "shop:app"], r"run: there is no such command; did you mean greenhttp serve shop:app\?$"),
        (["run", "shop"], r"run: there is no such command; did you mean greenhttp serve shop\?$"),
        (["sevre", "shop"], r"sevre: there is no such command; did you mean greenhttp serve shop\?$"),
        (["check", "shop:app"], r"check: there is no such command; did you mean greenhttp --check shop:app\?$"),
        (["check", "shop"], r"check: there is no such command; did you mean greenhttp --check shop\?$"),
        (["docter", "shop"], r"docter: there is no such command; did you mean greenhttp doctor shop\?$"),
        (["--chdir", "/no/such/place", "web"], "chdir: /no/such/place: No such file"),
        (["-c", "/no/such/place.toml", "web"], "/no/such/place.toml: No such file"),
        (["-c", "settings.ini", "web"], "settings.ini: the name of a settings file must end in .toml or .py"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(capsys, arguments, line):
    assert main(["--no-patch", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert re.search(line, err)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ([], None),
        (["web"], "web"),
        (["serve", "web"], "web"),
        (["serve", "--backlog", "5", "web", "--queue", "0"], "web"),
        (["--backlog", "5", "serve", "web"], "web"),
        (["serve"], None),
        (["serve", "serve"], "serve"),
        (["serve:app"], "serve:app"),
    ],
)
def test_serve_is_a_word_that_may_be_left_out(arguments, name):
    assert served(*arguments) == name


def test_a_command_line_of_gunicorn_runs_and_what_means_nothing_here_is_said_once(capsys):
    line = "-k gevent -w 1 --worker-connections 500 -b 0.0.0.0:80 -t 20 --threads 4 -n shop --access-logfile -"
    given = {"workers": 1, "connections": 500, "bind": "0.0.0.0:80", "timeout": 20, "access_logfile": "-"}
    assert read(*line.split()) == Settings(**given)
    assert capsys.readouterr().err.splitlines() == [
        "greenhttp: ignored (no effect): --threads (requests run in green threads; see --concurrency),"
        " --name (the process name is not changed)"
    ]


@pytest.mark.parametrize(
    ("arguments", "variables", "root_path", "origin"),
    [
        ([], {"SCRIPT_NAME": "/below"}, "/below", "SCRIPT_NAME"),
        ([], {"SCRIPT_NAME": "/below/"}, "/below", "SCRIPT_NAME"),
        ([], {"SCRIPT_NAME": "/"}, "off", "SCRIPT_NAME"),
        ([], {"SCRIPT_NAME": ""}, "off", "default"),
        (["-e", "SCRIPT_NAME=/below"], {}, "/below", "--env SCRIPT_NAME"),
        (["-e", "SCRIPT_NAME=/below"], {"SCRIPT_NAME": "/outside"}, "/below", "--env SCRIPT_NAME"),
        (["-e", "SCRIPT_NAME="], {"SCRIPT_NAME": "/outside"}, "off", "default"),
        (["-e", "SCRIPT=/x", "-e", "MY_SCRIPT_NAME=/y"], {}, "off", "default"),
        ([], {"GREENHTTP_ENV": "SCRIPT_NAME=/below"}, "/below", "GREENHTTP_ENV SCRIPT_NAME"),
        (["-c", "s.toml"], {"SCRIPT_NAME": "/outside"}, "/of-the-file", "s.toml:1: env: SCRIPT_NAME"),
        (["-c", "s.py"], {}, "/of-python", "s.py:1: env: SCRIPT_NAME"),
        (["-c", "s.toml", "-e", "A=1"], {"SCRIPT_NAME": "/outside"}, "/outside", "SCRIPT_NAME"),
        (["-c", "own.toml"], {"SCRIPT_NAME": "not a prefix"}, "/own", "own.toml:1"),
        ([], {"SCRIPT_NAME": "/x", "GREENHTTP_ROOT_PATH": "/own"}, "/own", "GREENHTTP_ROOT_PATH"),
        (["--root-path", "off", "-e", "SCRIPT_NAME=/x"], {"SCRIPT_NAME": "run.sh"}, "off", "--root-path"),
        (["--script-name", "/own"], {"SCRIPT_NAME": "/x"}, "/own", "--script-name"),
        (["--url-prefix", "/own"], {}, "/own", "--url-prefix"),
    ],
)
def test_script_name_is_the_root_path_where_that_is_not_given(
    capsys, monkeypatch, tmp_path, arguments, variables, root_path, origin
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text('env = ["SCRIPT_NAME=/of-the-file"]\n')
    (tmp_path / "s.py").write_text('env = ["SCRIPT_NAME=/of-python"]\n')
    (tmp_path / "own.toml").write_text('root_path = "/own"\nenv = ["SCRIPT_NAME=/x"]\n')
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main(["--print-config", *arguments]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    (line,) = [line for line in said.out.splitlines() if line.startswith("root_path ")]
    assert [part.strip() for part in line.replace("=", "#").split("#", 2)] == ["root_path", f'"{root_path}"', origin]


@pytest.mark.parametrize(
    ("arguments", "value", "line"),
    [
        ([], "run.sh", "SCRIPT_NAME: 'run.sh' is not a path prefix; give one like /below"),
        ([], "off", "SCRIPT_NAME: 'off' is not a path prefix; give one like /below"),
        ([], "/a/../x", "SCRIPT_NAME: '/a/../x' is not a path prefix; give one like /below, without escapes"),
        ([], "//x", "SCRIPT_NAME: '//x' is not a path prefix; give one like /below, without escapes"),
        ([], "/a?b", "SCRIPT_NAME: '/a?b' is not a path prefix; give one like /below, without escapes"),
        (
            ["-e", "SCRIPT_NAME=/a%20b"], "",
            "--env SCRIPT_NAME: '/a%20b' is not a path prefix; give one like /below, without escapes",
        ),
        (["-c", "s.toml"], "", "s.toml:1: env: SCRIPT_NAME: 'x' is not a path prefix; give one like /below"),
    ],
)  # fmt: skip
def test_a_script_name_that_is_no_prefix_is_refused_by_its_place(
    capsys, monkeypatch, tmp_path, arguments, value, line
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text('env = ["SCRIPT_NAME=x"]\n')
    monkeypatch.setenv("SCRIPT_NAME", value)
    assert main(["--print-config", *arguments]) == 2
    assert capsys.readouterr().err.splitlines() == [f"greenhttp: {line}; or give --root-path, which wins"]


def test_what_gunicorn_would_have_read_by_itself_is_named(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gunicorn.conf.py").touch()
    assert read(GUNICORN_CMD_ARGS="-w 4") == Settings()
    assert capsys.readouterr().err.splitlines() == [
        "greenhttp: gunicorn.conf.py exists but is not read; to use it, give -c gunicorn.conf.py",
        "greenhttp: GUNICORN_CMD_ARGS is set but is not read; give its options on the command line",
    ]
    read("-c", "gunicorn.conf.py")
    assert capsys.readouterr().err == ""


FORGED = "lets any client forge its address and scheme; name the proxies instead"
OVER_UNIX = "a proxy that connects to unix:/run/s is not trusted; add unix to the list"


@pytest.mark.parametrize(("line", "environ", "said"), [
    ("", {}, []),
    ("-b unix:/run/s", {}, []),
    ("--forwarded-allow-ips 10.0.0.0/8,::1", {}, []),
    ("--forwarded-allow-ips *", {}, [f"--forwarded-allow-ips: * {FORGED}"]),
    ("--forwarded-allow-ips *", {"FORWARDED_ALLOW_IPS": ""}, [f"--forwarded-allow-ips: * {FORGED}"]),
    ("--forwarded-allow-ips *,10.0.0.1 -b unix:/run/s", {}, [f"--forwarded-allow-ips: * {FORGED}"]),
    ("--forwarded-allow-ips 10.0.0.1", {"FORWARDED_ALLOW_IPS": "*"}, []),
    ("", {"FORWARDED_ALLOW_IPS": "*"}, [f"FORWARDED_ALLOW_IPS: * {FORGED}"]),
    ("", {"GREENHTTP_FORWARDED_ALLOW_IPS": "*"}, [f"GREENHTTP_FORWARDED_ALLOW_IPS: * {FORGED}"]),
    ("--forwarded-allow-ips ::/0,10.0.0.1,0.0.0.0/0", {}, [
        f"--forwarded-allow-ips: ::/0 {FORGED}", f"--forwarded-allow-ips: 0.0.0.0/0 {FORGED}",
    ]),
    ("-b :8000,unix:/run/s --forwarded-allow-ips 10.0.0.1", {}, [f"--forwarded-allow-ips: {OVER_UNIX}"]),
    ("-b unix:/run/s --forwarded-allow-ips unix", {}, []),
    ("-b unix:/run/s", {"FORWARDED_ALLOW_IPS": "127.0.0.1"}, [f"FORWARDED_ALLOW_IPS: {OVER_UNIX}"]),
    ("-b unix:/run/s", {"FORWARDED_ALLOW_IPS": ""}, []),            # nobody is trusted, and that is said
])  # fmt: skip
def test_a_list_of_trusted_proxies_that_may_not_be_meant_is_named(capsys, line, environ, said):
    read(*line.split(), **environ)
    assert capsys.readouterr().err.splitlines() == [f"greenhttp: {text}" for text in said]


BY_HEADER = "lets any client forge its address by a PROXY header; name the proxies instead"
DROPPED = "is dropped, as names with _ are; write - or give --allow-headers"


@pytest.mark.parametrize(("line", "said"), [
    ("--forwarded-allow-ips * --forwarded-field none", []),
    ("--proxy-protocol --proxy-allow-from *,10.0.0.1", [f"--proxy-allow-from: * {BY_HEADER}"]),
    ("--proxy-protocol v2 --proxy-allow-from ::/0", [f"--proxy-allow-from: ::/0 {BY_HEADER}"]),
    ("--proxy-protocol any -b :8000,unix:/run/s", [
        "--proxy-protocol: nobody can connect to unix:/run/s; add unix to --proxy-allow-from",
    ]),
    ("--proxy-protocol any -b unix:/run/s --proxy-allow-from 10.0.0.1", [
        "--proxy-allow-from: nobody can connect to unix:/run/s; add unix to --proxy-allow-from",
    ]),
    ("--proxy-protocol any -b unix:/run/s --proxy-allow-from unix", []),
    ("--proxy-allow-from *", ["--proxy-allow-from: no effect without --proxy-protocol"]),
    ("--proxy-timeout 10s --proxy-allow-from ::1,127.0.0.1 --forwarded-allow-ips=", [
        "--proxy-allow-from: no effect without --proxy-protocol",
    ]),
    ("--proxy-timeout 5 --proxy-protocol off", ["--proxy-timeout: no effect without --proxy-protocol"]),
    ("--forwarded-field forwarded --forwarded-host", ["--forwarded-host: no effect with --forwarded-field forwarded"]),
    ("--forwarded-field none --secure-scheme-headers x-my-scheme=https", [
        "--secure-scheme-headers: no effect with --forwarded-field none",
    ]),
    ("--forwarded-field none --secure-scheme-headers off", []),
    ("--forwarded-allow-ips= --root-path-header X-Forwarded-Prefix", [
        "--root-path-header: no effect, since --forwarded-allow-ips is empty",
    ]),
    ("--forwarded-allow-ips= --forwarded-field forwarded", [
        "--forwarded-field: no effect, since --forwarded-allow-ips is empty",
    ]),
    ("--forwarded-allow-ips= --forwarded-field none --root-path-header off", []),
    ("--root-path-header X_Prefix", [f"--root-path-header: X_Prefix {DROPPED} X_Prefix"]),
    ("--request-id-header X_Id", [f"--request-id-header: X_Id {DROPPED} X_Id"]),
    ("--secure-scheme-headers x_scheme=https --secure-scheme-headers x-s=on", [
        f"--secure-scheme-headers: x_scheme {DROPPED} x_scheme",
    ]),
    ("--request-id-header X_Id --allow-headers x_id", []),
    ("--forwarded-allow-ips fe80::1%no-such,fe80::2%lo,127.0.0.1", [
        "--forwarded-allow-ips: fe80::1%no-such: there is no interface no-such on this machine",
    ]),
    ("--proxy-protocol --proxy-allow-from fe80::1%4000000000", [
        "--proxy-allow-from: fe80::1%4000000000: there is no interface 4000000000 on this machine",
    ]),
])  # fmt: skip
def test_settings_of_proxies_that_do_nothing_or_too_much_are_named(capsys, line, said):
    read(*(line.replace("%lo,", "%lo0,") if sys.platform == "darwin" else line).split())
    assert capsys.readouterr().err.splitlines() == [f"greenhttp: {text}" for text in said]


SEEN = "other users can see it on the command line; give file:/path, or GREENHTTP_KEYFILE_PASSWORD"
OPENSSLS = "no effect with --tls-min 1.3, whose cipher suites are OpenSSL's"


@pytest.mark.parametrize(("line", "said"), [
    ("--certfile c --keyfile k -b :443 -b http://:80 --https-redirect --tls-timeout 5", []),
    ("--certfile c --cert-reqs 2 --ca-certs a --ciphers ECDHE --tls-min 1.2 -b https://:443", []),
    ("--cert-reqs none --tls-min 1.2 --tls-timeout 10 --ciphers off --ca-certs off --no-https-redirect", []),
    ("--ssl-ca a --cert-reqs 1 --ciphers x", [f"{flag}: no effect without --certfile" for flag in (
        "--ssl-ca", "--cert-reqs", "--ciphers",
    )]),
    ("--https-redirect --cert-reqs 2 -b http://:80", []),  # refused, see program/check.py
    ("--certfile c --https-redirect -b :443,https://:444", [
        "--https-redirect: no effect without an address like http://:80 in --bind",
    ]),
    ("--ssl-certfile c -b http://:80,http://unix:/x", [
        "--ssl-certfile: no effect, since every address of --bind begins with http://",
    ]),
    ("--certfile c --ca-certs a", ["--ca-certs: no effect without --cert-reqs optional or required"]),
    ("--certfile c --ciphers ECDHE --tls-min 1.3", [f"--ciphers: {OPENSSLS}"]),
    ("--certfile c --keyfile-password sesame", [f"--keyfile-password: {SEEN}"]),
    ("--certfile c --keyfile-password file:sesame", []),
    ("--certfile c -b http://unix:/run/s --forwarded-allow-ips 10.0.0.1 -b :443", [
        "--forwarded-allow-ips: a proxy that connects to http://unix:/run/s is not trusted; add unix to the list",
    ]),
])  # fmt: skip
def test_settings_of_tls_that_do_nothing_are_named(capsys, line, said):
    read(*line.split())
    assert capsys.readouterr().err.splitlines() == [f"greenhttp: {text}" for text in said]


@pytest.mark.parametrize("protocol", ["True", "False", "'v2'"])
def test_a_file_of_gunicorn_s_is_not_told_what_it_has_not_said(capsys, tmp_path, protocol):
    file = tmp_path / "gunicorn.conf.py"
    file.write_text(f"proxy_protocol = {protocol}\nbind = 'unix:/run/s'\n")
    read("-c", str(file))
    assert capsys.readouterr().err == ""


def test_a_list_of_trusted_proxies_in_a_file_is_named_with_its_place(capsys, tmp_path):
    file = tmp_path / "a.toml"
    file.write_text('app = "web:app"\nforwarded_allow_ips = ["*"]\n')
    read("-c", str(file))
    assert capsys.readouterr().err == f"greenhttp: {file}:2: forwarded_allow_ips: * {FORGED}\n"


def test_each_option_of_other_servers_gets_one_line():
    ours = {flag for parameter in command.params for flag in [*parameter.opts, *parameter.secondary_opts]}
    theirs = [flag for entry in THEIRS for flag in entry.flags]
    assert len(theirs) == len(set(theirs))
    assert set(theirs) <= ours
    assert not set(theirs) & {flag for setting in SETTINGS for flag in setting.flags}
    for entry in THEIRS:
        flag, value = entry.flags[0], ["x"] if entry.argument else []
        if entry.verdict == "ignored":
            assert read(flag, *value) == Settings()
        else:
            called = flag if flag.startswith("--") else entry.flags[-1]
            with pytest.raises(ConfigError, match=f"^{called}( x)?: [^\n]+(\n    .+\n    .+)?$"):
                read(flag, *value)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--http h2", "--http h2: only HTTP/1 is spoken; leave it out, and give addresses with --bind"),
        ("--http :8000", "--http :8000: only HTTP/1 is spoken; leave it out, and give addresses with --bind"),
        ("--ws auto", "--ws auto: WebSocket is not supported yet; leave it out"),
        ("--ssl-crl revoked.pem", "--ssl-crl: lists of revoked certificates are not read; leave it out"),
        ("--insecure-bind :80", "--insecure-bind: use --bind http://host:port beside --bind https://host:port"),
        ("--wsgi-file web.py", "--wsgi-file: give the module as APP, like module:application"),
        ("--processes 4", "--processes: use --workers"),
        ("--py-autoreload 1", "--py-autoreload: use --reload"),
        ("--stats :1717", "--stats: metrics are not supported yet; leave it out"),
        ("--emperor .", "--emperor: start a greenhttp for each application, with systemd say"),
        (
            "--daemonize x.log",
            "--daemonize: greenhttp runs in the foreground; use systemd, a container or another process manager,"
            " and --error-logfile for the log",
        ),
        (
            "--trusted-proxy 10.0.0.1",
            "--trusted-proxy: fields of the proxies in --forwarded-allow-ips are believed; --forwarded-field says"
            " which",
        ),
    ],
)
def test_options_of_other_servers_are_recognised(capsys, option, said):
    assert main([*option.split(), "web"]) == 2
    assert capsys.readouterr().err == f"greenhttp: {said}\n"


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        ("--certfile c.pem --keyfile k.pem --ca-certs ca.pem --cert-reqs 2 --ciphers ECDHE+AESGCM", "gunicorn"),
        ("--ssl-certfile c.pem --ssl-keyfile k.pem --ssl-ca-certs ca.pem --ssl-cert-reqs 2 --ssl-ciphers ECDHE+AESGCM",
         "uvicorn"),
        ("--ssl-certificate c.pem --ssl-keyfile k.pem --ssl-ca ca.pem --ssl-client-verify --ciphers ECDHE+AESGCM"
         " --ssl-protocol-min tls1.2", "granian"),
        ("--certfile c.pem --keyfile k.pem --ca-certs ca.pem --verify-mode CERT_REQUIRED --ciphers ECDHE+AESGCM",
         "hypercorn"),
    ],
    ids=lambda value: value if value.isalpha() else "",
)  # fmt: skip
def test_each_servers_names_for_tls(command, settings):
    expected = Settings(
        certfile="c.pem", keyfile="k.pem", ca_certs="ca.pem", cert_reqs="required", ciphers="ECDHE+AESGCM"
    )
    assert read(*command.split()) == expected


def test_certificates_may_be_repeated():
    given = read("--certfile", "a.pem", "--keyfile", "a.key", "--ssl-certfile", "b.pem", "--keyfile=b.key")
    assert (given.certfile, given.keyfile) == (("a.pem", "b.pem"), ("a.key", "b.key"))
    assert read(GREENHTTP_CERTFILE="a.pem,b.pem").certfile == ("a.pem", "b.pem")


def test_a_password_is_never_printed(capsys):
    assert main(["--print-config", "--certfile", "c", "--keyfile-password", "--sesame", "web"]) == 0
    said = capsys.readouterr()
    assert '"***"' in said.out and "sesame" not in said.out + said.err


@pytest.mark.parametrize("flag", ["--keyfile", "--certfile", "--ca-certs"])
@pytest.mark.parametrize("way", ["option", "equals", "variable"])
def test_the_text_of_a_key_in_the_place_of_its_file_is_never_printed(flag, way, capsys, monkeypatch):
    text = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----"
    options = {"option": [flag, text], "equals": [f"{flag}={text}"], "variable": []}[way]
    variable = f"GREENHTTP_{flag[2:].replace('-', '_').upper()}"
    if way == "variable":
        monkeypatch.setenv(variable, text)
    beside = [] if flag == "--certfile" else ["--certfile", "c"]
    assert main(["--print-config", *beside, *options, "web"]) == 2
    said = capsys.readouterr()
    name = variable if way == "variable" else flag
    assert said.err == f"greenhttp: {name}: this is the text of a PEM file; write it to a file and give its path\n"
    assert "c2VjcmV0" not in said.out


def test_options_that_change_nothing_are_accepted(capsys):
    given = "--http h11 --ws none --lifespan off --no-ws --runtime-mode mt --master --die-on-term"
    assert read(*given.split()) == Settings()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("greenhttp: ignored (no effect): --no-ws (WebSocket is not supported), --lifespan (")


def test_a_name_of_other_servers_in_gunicorns_file_is_its_authors_own(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gunicorn.conf.py").write_text("processes = 3\nsocket = '/x'\nhttp = 'h2'\nworkers = processes\n")
    assert read("--no-patch", "-c", "gunicorn.conf.py").workers == 3
    assert capsys.readouterr().err.endswith(": names that are not settings: processes, socket, http\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", "shop.ini", "web"], ["shop.ini"], ["config:shop.ini"], ["./shop.ini"], ["--paste", "shop.ini"],
        ["-c", "g.py"],
    ],
)  # fmt: skip
def test_a_file_of_paste_is_refused_with_the_two_lines_that_replace_it(capfd, monkeypatch, tmp_path, arguments):
    pytest.importorskip("paste.deploy")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "shop.ini").write_text("[app:main]\npaste.app_factory = paste_shop:make\nname = from the file\n")
    (tmp_path / "paste_shop.py").write_text("def make(global_conf, name):\n    return name\n")
    (tmp_path / "g.py").write_text('paste = "shop.ini"')
    assert main(["--no-patch", "--check", *arguments]) in (2, 3)
    first, *lines = capfd.readouterr().err.splitlines()
    assert first.endswith(": Paste files are not read; write these two lines into wsgi.py, and give wsgi:app as APP:")
    assert len(lines) == 2
    names = {}
    exec("\n".join(line.strip() for line in lines), names)
    assert names["app"] == "from the file"


def test_a_file_of_uwsgi_is_refused_by_name(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "uwsgi.ini").write_text("[uwsgi]\nmodule = web\n")
    assert main(["-c", "uwsgi.ini", "web"]) == 2
    said = "uWSGI's files are not read; give the settings as options, or in a .toml file"
    assert capsys.readouterr().err == f"greenhttp: uwsgi.ini: {said}\n"


def test_all_that_is_refused_is_told_in_one_run(capsys):
    assert main(["--ssl-crl", "a", "--threads", "2", "--statsd-host", "b", "-D", "web"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "greenhttp: --daemon: greenhttp runs in the foreground; use systemd, a container or another process manager",
        "greenhttp: --statsd-host: statsd is not supported yet; leave it out",
        "greenhttp: --ssl-crl: lists of revoked certificates are not read; leave it out",
    ]
    assert main(["--backlog", "x", "--queue", "y", "web"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "greenhttp: --backlog: 'x' is not a whole number; give 0 or more",
        "greenhttp: --queue: 'y' is not a whole number; give 0 or more",
    ]


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"greenhttp {__version__}\n"


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_says_everything(capsys, monkeypatch, flag):
    monkeypatch.setenv("COLUMNS", "200")
    assert main([flag]) == 0
    text = capsys.readouterr().out
    words = " ".join(text.split()).replace("- ", "-")
    for setting in SETTINGS:
        assert setting.flag in words
        assert f"\n{setting.group}:\n" in text
    assert "A repeated TERM is ignored. INT or QUIT after another signal forces the exit." in words
    for word in ("GREENHTTP_", "PORT", "WEB_CONCURRENCY", "TERM", "Exit codes", "[75s]", "[64k]", "--keep-alive"):
        assert word in words
    assert max(map(len, text.splitlines())) <= 110
    assert "\033" not in text and "\u2011" not in text


def test_help_is_short_enough_for_a_narrow_terminal_and_breaks_no_option(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(["-h"]) == 0
    text = capsys.readouterr().out
    assert "\033[" in text
    lines = re.sub(r"\033\[[0-9;]*m", "", text).splitlines()
    assert len(lines) < 400
    assert not [line for line in lines if len(line) > 80 or re.search(r"--?[a-z-]*-$", line)]


def printed(capsys, *arguments):
    assert main(["--print-config", *arguments]) == 0
    out, err = capsys.readouterr()
    return out, err


def test_print_config_says_every_setting_its_value_and_where_from(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text('app = "web"\n\nbacklog = 7\nqueue = 9\n')
    monkeypatch.setenv("GREENHTTP_QUEUE", "8")
    out, err = printed(capsys, "-c", "s.toml", "--keep-alive", "5", "--port", "81", "--access-log")
    assert err == ""
    rows = dict(re.findall(r"^(\w+) +(= .+)$", out, re.MULTILINE))
    assert set(rows) == {"app", *BY_NAME}
    words = {name: row.split() for name, row in rows.items()}
    assert words["app"] == ["=", '"web"', "#", "s.toml:1"]
    assert words["backlog"] == ["=", "7", "#", "s.toml:3"]
    assert words["queue"] == ["=", "8", "#", "GREENHTTP_QUEUE"]
    assert words["keepalive_timeout"] == ["=", '"5s"', "#", "--keep-alive"]
    assert words["bind"] == ["=", '["127.0.0.1:81"]', "#", "--port"]
    assert words["access_logfile"] == ["=", '"-"', "#", "--access-log"]
    assert words["patch"] == ["=", "true", "#", "default"]
    starts = {line.index(" # ") for line in out.splitlines() if " # " in line}
    assert len(starts) == 2  # all but the longest, secure_scheme_headers


def test_print_config_can_be_read_again(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    wild = ["--access-log-format", '%(h)s "\\ \u00e9\t\U000e0001', "--no-server-header", "--header-timeout", "1.25s",
            "--queue", "0", "--request-timeout", "1h", "--limit-request-body", "1000001", "--no-patch",
            "--allow-headers", "x_a,proxy", "web:app"]  # fmt: skip
    first, _ = printed(capsys, *wild)
    (tmp_path / "again.toml").write_text(first)
    assert _settled(_parse(["-c", "again.toml"]), {})[0] == _settled(_parse(wild), {})[0]
    assert re.findall(r"= (.*?) +# again", printed(capsys, "-c", "again.toml")[0]) == re.findall(r"= (.*?) +# ", first)


def test_print_config_hides_the_values_of_variables_and_does_not_read_them_back(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    out, err = printed(capsys, "-e", "SECRET_KEY=hunter2", "-e", "EMPTY=")
    assert "hunter2" not in out + err
    (line,) = [line for line in out.splitlines() if "SECRET_KEY" in line]
    assert re.fullmatch(r'# env += \["SECRET_KEY=\*\*\*", "EMPTY=\*\*\*"\]  # values are not shown +# --env', line)
    (tmp_path / "again.toml").write_text(out)
    assert _settled(_parse(["-c", "again.toml"]), {})[0].env == ()


@pytest.mark.parametrize("wrong", [["-e", "hunter2"], ["-e", "=hunter2"], ["-e", "A=1", "-e", "hunter2"]])
def test_a_variable_that_is_none_is_not_quoted(capsys, wrong):
    assert main(["--print-config", *wrong]) == 2
    out, err = capsys.readouterr()
    assert "hunter2" not in out + err and err.count("\n") == 1


def test_a_command_line_and_the_environment_win_over_the_file(monkeypatch, tmp_path):
    path = tmp_path / "s.toml"
    path.write_text('workers = "x"\nbacklog = 1\nqueue = 1\nbind = "a:1"\n')
    found = read("-w", "1", "--queue", "3", GREENHTTP_CONFIG=str(path), GREENHTTP_BACKLOG="2", GREENHTTP_QUEUE="2",
                 PORT="80")  # fmt: skip
    assert (found.workers, found.backlog, found.queue, found.bind) == (1, 2, 3, ("a:1",))
    with pytest.raises(ConfigError, match=r"s\.toml:1: workers: 'x' is not a whole number"):
        read("-c", str(path))
    path.write_text("greenhttp.workers = -4")
    with pytest.raises(ConfigError, match=r"s\.toml: workers: -4 is negative"):
        read("-c", str(path))


def test_serve_alone_is_the_command_where_the_file_names_the_application(tmp_path):
    (tmp_path / "s.toml").write_text('wsgi_app = "web:app"')
    assert served("serve", "-c", str(tmp_path / "s.toml")) == "web:app"
    assert served("serve", "other", "-c", str(tmp_path / "s.toml")) == "other"


# ---- real processes, a stand-in for the server

PROGRAM = """
import sys, types
module = types.ModuleType("greenhttp.server")

class Server:
    addresses = ["http://0.0.0.0:8000", "unix:/x"]
    families = ["IPv4", "unix"]
    interface = "wsgi"

    def __init__(self, app, settings):
        self.app, self.settings = app, settings

    def start(self, board):
        import gevent
        from greenhttp.errors import ConfigError
        if self.settings.backlog == 1:
            raise ConfigError("127.0.0.1:1: the port is in use by process 7 (other)")
        self.timer = gevent.get_hub().loop.timer(3600)  # what keeps a loop going, as a listener does
        self.timer.start(lambda: None)
        if hasattr(self.app, "started"):
            self.app.started()

    def reopen(self):
        pass

    def in_progress(self):
        return []

    def stop(self, timeout, linger=0.0):
        print(f"stop({timeout}, {linger})", flush=True)
        if hasattr(self.app, "stopping"):
            self.app.stopping()

module.Server = Server
sys.modules["greenhttp.server"] = module
from greenhttp.cli import main
sys.exit(main(sys.argv[1:]))
"""

APP = "def app(environ, start_response): pass\n"


class Process(subprocess.Popen):
    """The command on an application in `directory`; killed at the end of the with block if it still runs."""

    def __init__(self, directory, *arguments, before="", **environ):
        super().__init__(
            [sys.executable, "-W", "error", "-c", before + PROGRAM, *arguments],
            cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "FORCE_COLOR": "", **environ},
        )  # fmt: skip

    def lines_until(self, word):
        lines = []
        for line in self.stderr:
            lines.append(line)
            if word in line:
                return lines
        raise AssertionError(f"no {word!r} in {lines}")

    def rest(self):
        """Exit code, output, and what was said besides who sent the signal, which is looked at here."""
        out, err = self.communicate(timeout=30)
        err = plain(err)
        sent = [line for line in err.splitlines(True) if " sent by " in line]
        assert all(f", sent by process {os.getpid()} (" in line for line in sent)
        return self.returncode, out, "".join(line for line in err.splitlines(True) if line not in sent)

    def __exit__(self, *exc):
        self.kill()
        super().__exit__(*exc)


@pytest.mark.parametrize(
    ("number", "options", "stop", "words"),
    [
        (signal.SIGTERM, (), "stop(30.0, 2.0)\n", "INFO stopping; running requests have 30 s to finish\n"),
        (signal.SIGTERM, ("--graceful-timeout", "0"), "stop(0, 0.0)\n", ""),
        (signal.SIGINT, (), "stop(0, 0.0)\n", ""),
        (signal.SIGQUIT, (), "stop(0, 0.0)\n", ""),
    ],
)
def test_a_signal_stops_the_server_and_exits_0(tmp_path, number, options, stop, words):
    (tmp_path / "web.py").write_text(APP)
    with Process(tmp_path, *options, "web:app") as process:
        process.lines_until("Ctrl-C")
        process.send_signal(number)
        assert process.rest() == (0, stop, f"{words}INFO stopped\n")


def test_a_second_signal_ends_it_by_force(tmp_path):
    (tmp_path / "web.py").write_text(
        APP + "import gevent, sys\n"
        "def stopping():\n  print('waiting', file=sys.stderr, flush=True)\n  gevent.sleep(3600)\n"
        "app.stopping = stopping\n"
    )
    with Process(tmp_path, "web:app") as process:
        process.lines_until("Ctrl-C")
        process.send_signal(signal.SIGTERM)
        process.lines_until("waiting")
        process.send_signal(signal.SIGINT)
        code, out, err = process.rest()
        assert (code, out, err.splitlines()[-1]) == (1, "stop(30.0, 2.0)\n", "WARNING stopped by force")


@pytest.mark.parametrize("numbers", [(signal.SIGTERM, signal.SIGTERM, signal.SIGQUIT), (signal.SIGINT, signal.SIGINT)])
def test_a_repeated_term_is_ignored_and_int_or_quit_after_another_signal_forces(tmp_path, numbers):
    (tmp_path / "web.py").write_text(
        APP + "import gevent, os, signal\n"
        "def say(): os.write(2, b'heard\\n')\n"  # not print: a signal may come in the middle of another
        "def stopping():\n  say()\n  gevent.sleep(3600)\n"
        "def started():\n"
        "  ours = signal.getsignal(signal.SIGTERM)\n"
        "  def spied(*signal):\n    again = hasattr(app, 'once'); app.once = True; ours(*signal)\n    again and say()\n"
        "  for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT): signal.signal(number, spied)\n"
        "app.stopping, app.started = stopping, started\n"
    )
    with Process(tmp_path, "web:app") as process:
        process.lines_until("Ctrl-C")
        for number in numbers[:-1]:
            process.send_signal(number)
            process.lines_until("heard")
        process.send_signal(numbers[-1])
        code, _, err = process.rest()
    assert (code, err.splitlines()[-1]) == (1, "WARNING stopped by force")  # the log may be behind what is heard


def test_a_second_signal_gets_through_while_the_application_holds_the_loop(tmp_path):
    (tmp_path / "web.py").write_text(
        APP + "import gevent, os, signal, sys\n"
        "def spin():\n  print('spinning', file=sys.stderr, flush=True)\n  while True: pass\n"
        "def started(): gevent.spawn(spin)\napp.started = started\n"
    )
    with Process(tmp_path, "web:app") as process:
        process.lines_until("spinning")
        process.send_signal(signal.SIGTERM)  # two kinds, for equal pending signals are one
        process.send_signal(signal.SIGINT)
        code, out, err = process.rest()
    assert (code, out, err.splitlines()[-1]) == (1, "", "WARNING stopped by force")


def test_what_the_start_says(tmp_path):
    (tmp_path / "web.py").write_text(APP)
    with Process(tmp_path, "--connections", "50", "--queue", "0", "web:app") as process:
        text = "".join(process.lines_until("Ctrl-C"))
        process.send_signal(signal.SIGINT)
        process.rest()
    assert "serving web:app at http://127.0.0.1:8000 (and every other IPv4 address of this machine), unix:/x" in text
    assert "interface: WSGI (detected)\n" in text
    assert f"version {__version__}, process {process.pid}, loop lib" in text
    assert "standard library patched" in text
    assert "up to 1000 requests at once, no queue; up to 50 connections; bodies up to 1g\n" in text
    assert "time-outs: head 10s, body 30s, write 60s, keep-alive 75s, request unlimited\n" in text
    assert all(line.startswith("INFO ") for line in plain(text).splitlines())


def test_the_start_is_in_colour_where_that_is_wanted(tmp_path):
    (tmp_path / "web.py").write_text(APP)
    with Process(tmp_path, "--no-patch", "web", FORCE_COLOR="1") as process:
        text = "".join(process.lines_until("Ctrl-C"))
    assert text.startswith("\033[1;32mgreenhttp:\033[0m serving \033[1mweb\033[0m at \033[1;36mhttp://127.0.0.1:8000\033[0m")
    assert "\033[33mNOT patched" in text


def test_the_library_is_patched_before_the_application_is_imported(tmp_path):
    (tmp_path / "web.py").write_text(
        APP + "import socket, threading, ssl, time\nfrom gevent import monkey\n"
        "assert all(map(monkey.is_module_patched, ['socket', 'threading', 'ssl', 'time', 'select', 'subprocess']))\n"
        "assert socket.socket.__module__.startswith('gevent')\n"
    )
    with Process(tmp_path, "web:app") as process:  # -W error: gevent's complaint of a late patch would be a failure
        process.lines_until("Ctrl-C")


def test_without_the_patch_it_is_not_and_the_start_says_what_that_means(tmp_path):
    (tmp_path / "web.py").write_text(
        APP + "import socket\nfrom gevent import monkey\nassert not monkey.is_anything_patched()\n"
    )
    with Process(tmp_path, "--no-patch", "web:app") as process:
        lines = process.lines_until("Ctrl-C")
    text = "".join(lines)
    assert "standard library NOT patched\n" in text
    assert text.count("a call that blocks") == text.count("make `import greenhttp.patch` the first line") == 1


IMPORTS = """
import sys
before = set(sys.modules)
import greenhttp.cli
early = set(sys.modules) - before
late = {"gevent", "greenlet", "ssl", "socket", "logging"}
assert not {m for m in early if m.split(".")[0] in late}, early
known = {"greenhttp", *(f"greenhttp.{room}" for room in ("cli", "errors", "program", "settings", "traces"))}
rooms = {".".join(m.split(".")[:2]) for m in early if m.startswith("greenhttp")}
assert rooms == known, rooms
ours = {f"greenhttp.program.{module}" for module in ("boot", "check", "endings")}
assert {m for m in early if m.startswith("greenhttp.program.")} == ours
import gevent.monkey
gevent.monkey.patch_all()
"""


def test_the_command_imports_nothing_that_the_patch_would_come_too_late_for():
    subprocess.run([sys.executable, "-W", "error", "-c", IMPORTS], check=True)


def test_chdir_comes_before_the_import_and_the_environment_may_say_it(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "web.py").write_text(APP)
    with Process(tmp_path, "--chdir", "inner", "web") as process:
        process.lines_until("Ctrl-C")
    with Process(tmp_path, "web", GREENHTTP_CHDIR="inner") as process:
        process.lines_until("Ctrl-C")


def test_an_address_that_cannot_be_used_is_one_line_and_exit_code_1(tmp_path):
    (tmp_path / "web.py").write_text(APP)
    with Process(tmp_path, "--backlog", "1", "web:app") as process:
        assert process.rest() == (1, "", "greenhttp: 127.0.0.1:1: the port is in use by process 7 (other)\n")


def test_a_module_that_is_not_there_is_one_line_and_exit_code_3(tmp_path):
    (tmp_path / "web.py").write_text(APP)
    with Process(tmp_path, "wbe:app") as process:
        code, out, err = process.rest()
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert err.startswith("greenhttp: wbe:app: there is no module wbe in ")
    assert err.endswith("; did you mean web?\n")


def test_an_application_that_fails_shows_its_traceback_once_and_exit_code_3(tmp_path):
    (tmp_path / "web.py").write_text("def boot():\n    raise RuntimeError('no database')\n\nboot()\n")
    with Process(tmp_path, "web:app") as process:
        code, out, err = process.rest()
    assert (code, out) == (3, "")
    assert err.count("Traceback") == err.count("RuntimeError: no database") == 1
    assert "importlib" not in err
    assert "greenhttp/" not in err
    assert err.splitlines()[1].lstrip().startswith('File "') and "web.py" in err.splitlines()[1]
    assert err.endswith("greenhttp: web:app could not be loaded; see the traceback above\n")


def test_descriptors_that_were_closed_are_not_given_to_sockets(tmp_path):
    (tmp_path / "web.py").write_text(
        "import os, sys\nprint(*[os.path.samestat(os.fstat(fd), os.stat(os.devnull)) for fd in (0, 1, 2)],"
        " sys.stderr is None, file=open('said', 'w'), flush=True)\n" + APP
    )
    command = [sys.executable, "-m", "greenhttp", "--check", "web:app"]
    closed = ["sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh", *command]
    where = os.path.dirname(os.path.dirname(__file__))
    subprocess.run(closed, cwd=tmp_path, env={**os.environ, "PYTHONPATH": where}, timeout=60, check=True)
    assert (tmp_path / "said").read_text() == "True True True False\n"


@pytest.mark.parametrize("name", ["http", "resource", "mimetypes", "contextvars"])
def test_a_file_beside_the_application_that_is_called_like_a_module_that_serves(tmp_path, name):
    (tmp_path / f"{name}.py").write_text("mine = True\n")
    (tmp_path / "web.py").write_text(APP)
    # Not with -m, where Python itself puts the current directory first
    run = [sys.executable, "-c", "import sys; sys.path.remove(''); from greenhttp.cli import main; sys.exit(main())"]
    where = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(__file__))}
    ended = subprocess.run(
        [*run, "--check", "web:app"], cwd=tmp_path, env=where, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("ok: web:app at ")


def test_an_interrupt_during_the_import_is_quiet(tmp_path):
    (tmp_path / "web.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nwhile True: pass\n")
    with Process(tmp_path, "web:app") as process:
        assert process.rest() == (0, "", "")


@pytest.mark.parametrize("code", ["os.kill(os.getpid(), signal.SIGINT)\nwhile True: pass", "raise KeyboardInterrupt"])
def test_a_check_that_is_interrupted_has_found_nothing_to_be_in_order(tmp_path, code):
    (tmp_path / "web.py").write_text(f"import os, signal\n{code}\n")
    with Process(tmp_path, "--check", "web:app") as process:
        assert process.rest() == (130, "", "")


def test_a_misspelt_variable_is_pointed_out_and_those_of_others_are_not(tmp_path):
    (tmp_path / "web.py").write_text(APP)
    theirs = {"GREENHTTP_SERVICE_HOST": "10.0.0.1", "GREENHTTP_PORT": "tcp://10.0.0.1:80"}
    with Process(tmp_path, "web", GREENHTTP_HEDER_TIMEOUT="5", **theirs) as process:
        lines = process.lines_until("serving")
    said = "WARNING GREENHTTP_HEDER_TIMEOUT is ignored; did you mean GREENHTTP_HEADER_TIMEOUT?\n"
    assert [*map(plain, lines[:-1])] == [said]


@pytest.mark.parametrize(("variable", "meant"), [
    ("SCRIPT_NAME", "ROOT_PATH"), ("URL_PREFIX", "ROOT_PATH"), ("PROXY_ALLOW_IPS", "PROXY_ALLOW_FROM"),
    ("KEEPALIVE", "KEEPALIVE_TIMEOUT"),
])  # fmt: skip
def test_another_name_of_a_setting_as_a_variable_is_pointed_out(capsys, variable, meant):
    read(**{f"GREENHTTP_{variable}": "x"})
    said = f"greenhttp: GREENHTTP_{variable} is ignored; did you mean GREENHTTP_{meant}?"
    assert capsys.readouterr().err.splitlines() == [said]


EARLY = """
import sys, types
early = types.ModuleType("early_bird")
exec("from time import sleep", vars(early))
sys.modules["early_bird"] = early
"""


def test_what_was_imported_before_the_command_is_named_and_click_is_not(tmp_path):
    (tmp_path / "web.py").write_text(
        APP + "import click.globals, gevent.local\nassert issubclass(gevent.local.local, type(click.globals._local))\n"
    )
    with Process(tmp_path, "web", before=EARLY) as process:
        lines = process.lines_until("serving")
    said = "imported before the patch: early_bird; their calls block. A sitecustomize or .pth file imports them"
    assert [*map(plain, lines[:-1])] == [f"WARNING {said}\n"]


def test_the_environment_and_the_places_to_look_in_are_there_for_the_application(tmp_path):
    (tmp_path / "inner" / "lib").mkdir(parents=True)
    (tmp_path / "inner" / "web.py").write_text("")
    (tmp_path / "inner" / "lib" / "web.py").write_text(APP + "import os\nassert os.environ['WORD'] == 'a,b'\n")
    with Process(tmp_path, "--chdir", "inner", "--pythonpath", "lib", "-e", "WORD=a,b", "web", WORD="c") as process:
        process.lines_until("Ctrl-C")


def test_python_m_is_the_same_command():
    done = subprocess.run([sys.executable, "-m", "greenhttp", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"greenhttp {__version__}\n"


def test_help_groups_are_in_the_order_of_the_table():
    assert list(dict.fromkeys(setting.group for setting in BY_NAME.values()))[0] == "Serving"
