"""Other servers' options that are no settings here: read, so that each is answered by one clear line.

A command line written for gunicorn's gevent worker should run when its first word is changed. What changes nothing here
is accepted, and named as ignored where somebody could miss it; what would be missed badly is refused, with what to do.
In a file of settings the same names are known, without dashes and with `_` for `-`; a value of False, None
or 0 is what the other server does by itself, and is passed over.
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from greenhttp.errors import ConfigError

REFUSED, IGNORED, ONLY = "refused", "ignored", "only"


@dataclass(frozen=True)
class Foreign:
    """One option of other servers.

    Attributes:
        flags: its names on their command lines; the last is the one that stands for all.
        verdict: REFUSED, IGNORED, or ONLY: accepted with one of `values`, refused with others.
        why: what is said, after the option's name.
        argument: whether a value follows the flag.
        values: for ONLY.
        usual: the values that are passed over, as texts in small letters; by default what is false, and 0.
    """

    flags: tuple[str, ...]
    verdict: str
    why: str
    argument: bool = True
    values: tuple[str, ...] = ()
    usual: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As a Python name: its last flag."""
        return self.flags[-1][2:].replace("-", "_")

    def typed(self, arguments: Sequence[str]) -> str:
        """The flag by which a command line has it; a short one is called by its long name."""
        given = {argument.partition("=")[0] for argument in arguments if argument.startswith("--")}
        return next((flag for flag in self.flags if flag in given), self.flags[-1])

    def judge(self, source: str, value: object) -> str:
        """What to say of it as ignored, or "" for nothing. Raises ConfigError if it cannot be served with that."""
        text = ",".join(map(str, value)).lower() if isinstance(value, (list, tuple)) else str(value).lower()
        if value is None or (text in self.usual if self.usual else not value or text == "0"):
            return ""
        if self.verdict == IGNORED:
            return f"{source} ({self.why})"
        if self.verdict == ONLY and text in self.values:
            return ""
        why = self.why.replace(PASTE, instead_of_paste(str(value)))
        raise ConfigError(f"{source}{f' {value}' if self.verdict == ONLY else ''}: {why}")


PASTE = "(paste)"  # stands in `why` for what to write instead of a file of Paste's


def instead_of_paste(name: str) -> str:
    """What is said of a file of Paste's, `production.ini` or `config:production.ini#name`: three lines."""
    path, sharp, part = name.removeprefix("config:").partition("#")
    uri = f"config:{os.path.abspath(path)}{sharp}{part}".replace("\\", r"\\").replace('"', r"\"")
    return (
        "Paste files are not read; write these two lines into wsgi.py, and give wsgi:app as APP:\n"
        "    from paste.deploy import loadapp\n"
        f'    app = loadapp("{uri}")'
    )


def ini_line(path: str) -> str:
    """What is said of an .ini file in the place of a file of settings; "" if it is none that is known."""
    if not path.partition("#")[0].endswith(".ini"):
        return ""
    try:
        with open(path.partition("#")[0], encoding="utf-8", errors="replace") as file:
            text = file.read(1 << 20)
    except OSError:
        return ""
    if re.search(r"^\[uwsgi\]", text, re.MULTILINE):
        return _INI
    if re.search(r"^\[(app|application|composite?|pipeline|server)\b", text, re.MULTILINE):
        return instead_of_paste(path)
    return ""


def judged(given: Iterable[tuple[Foreign, str, object]]) -> list[str]:
    """What all these say, each with its source and value, as `ignored` has it.

    Raises ConfigError with a line for each that is refused: whoever moves is told once.
    """
    words, refused = [], []
    for entry, source, value in given:
        try:
            words.append(entry.judge(source, value))
        except ConfigError as error:
            refused.append(str(error))
    if refused:
        raise ConfigError("\n".join(refused))
    return ignored(words)


def ignored(words: Iterable[str]) -> list[str]:
    """All that `judge` has said, as one line; [] if it has said nothing."""
    said = [word for word in words if word]
    return [f"ignored (no effect): {', '.join(said)}"] if said else []


_BACKGROUND = "greenhttp runs in the foreground; use systemd, a container or another process manager"
_FORWARDED = "fields of the proxies in --forwarded-allow-ips are believed; --forwarded-field says which"
_FACTORY = "factories are called by their name; give APP as module:create()"
_LOGGING = "logger classes are not supported; use --log-config, or configure logging in the application"
_SENDFILE = "sendfile is used for regular files wherever possible"
_SYSLOG = "syslog is not supported"
_UNDERSCORES = "fields with _ in their names are dropped; give those to accept with --allow-headers"
_DIRTY = "dirty workers are not supported; leave it out"
_HTTP2 = "HTTP/2 is not supported yet; leave it out"

# What is a setting here, and in a file of gunicorn's something else; judged as all of FOREIGN.
GUNICORNS = {
    "root_path": Foreign(("--root-path",), IGNORED, "gunicorn gives it to ASGI applications alone; use script_name"),
}  # fmt: skip
TRUSTING = ("forwarded_allow_ips", "proxy_allow_from")  # with who connects over a UNIX socket, in a file of gunicorn's

FOREIGN: tuple[Foreign, ...] = (
    Foreign(
        ("-k", "--worker-class"), ONLY, "the only worker class is gevent; give gevent, or leave it out",
        values=(
            "gevent", "greenhttp", "greenhttp.gunicorn.worker", "greenhttp.doors.worker.worker",
            "gunicorn.workers.ggevent.geventworker",
        ),
    ),
    Foreign(("--blocking-threads", "--threads"), IGNORED, "requests run in green threads; see --concurrency"),
    Foreign(("-n", "--process-name", "--proc-name", "--name"), IGNORED, "the process name is not changed"),
    Foreign(("--worker-tmp-dir",), IGNORED, "worker heartbeats use no file"),
    Foreign(("--no-control-socket",), IGNORED, "there is no control socket", argument=False),
    Foreign(("--workers-max-rss",), REFUSED, "use --max-rss with a unit, like 512m; granian counts in MiB"),
    Foreign(("--http-protocols",), ONLY, _HTTP2, values=("h1",)),
    Foreign(("-D", "--daemon"), REFUSED, _BACKGROUND, argument=False),
    Foreign(("--proxy-headers",), IGNORED, _FORWARDED, argument=False),
    Foreign(("--call", "--factory"), REFUSED, _FACTORY, argument=False),
    Foreign(("--env-files", "--env-file"), REFUSED, "environment files are not supported; give -e NAME=VALUE"),
    Foreign(("--capture-output",), REFUSED, "output is not redirected; redirect it in the shell", argument=False),
    Foreign(("--statsd-host",), REFUSED, "statsd is not supported yet; leave it out"),
    Foreign(
        ("--limit-request-field-size", "--limit-request-field_size"), IGNORED,
        "only the size of all fields together is limited; see --limit-request-head",
    ),
    # gunicorn's, in the order of its documentation
    Foreign(("--tmp-upload-dir",), IGNORED, "content is streamed to the application"),
    Foreign(("--reload-engine",), IGNORED, "there is only one reload engine"),
    Foreign(("--spew",), REFUSED, "tracing is not supported; use python -m trace", argument=False),
    Foreign(("--no-sendfile",), IGNORED, _SENDFILE, argument=False),
    Foreign(("--sendfile",), IGNORED, _SENDFILE, usual=("true",)),
    Foreign(("--initgroups",), IGNORED, "--user always sets the groups of that user", argument=False),
    Foreign(("--disable-redirect-access-to-syslog",), IGNORED, _SYSLOG, argument=False),
    Foreign(("--logger-class",), ONLY, _LOGGING, values=("gunicorn.glogging.logger",)),
    Foreign(("--syslog", "--log-syslog"), REFUSED, f"{_SYSLOG}; forward stderr with systemd or the shell", False),
    Foreign(("--syslog-addr", "--log-syslog-to"), IGNORED, _SYSLOG),
    Foreign(("--syslog-prefix", "--log-syslog-prefix"), IGNORED, _SYSLOG),
    Foreign(("--syslog-facility", "--log-syslog-facility"), IGNORED, _SYSLOG),
    Foreign(("-R", "--enable-stdio-inheritance"), IGNORED, "output is always inherited", argument=False),
    Foreign(("--dogstatsd-tags",), IGNORED, "statsd is not supported"),
    Foreign(("--statsd-prefix",), IGNORED, "statsd is not supported"),
    Foreign(("--enable-backlog-metric",), IGNORED, "statsd is not supported", argument=False),
    Foreign(("--default-proc-name",), IGNORED, "the process name is not changed"),
    Foreign(("--paster", "--paste"), REFUSED, PASTE),
    Foreign(
        ("--raw-paste-global-conf", "--paste-global"), REFUSED,
        "Paste files are not read; give it to loadapp as global_conf",
    ),
    Foreign(("--protocol",), ONLY, "only HTTP is supported; leave it out", values=("http",)),
    Foreign(("--uwsgi-allow-ips", "--uwsgi-allow-from"), IGNORED, "the uWSGI protocol is not supported"),
    Foreign(("--ssl-version",), IGNORED, "--tls-min says which versions are accepted"),
    Foreign(
        ("--suppress-ragged-eofs",), IGNORED, "connections may end without a TLS close where nothing can be lost",
        argument=False, usual=("true",),
    ),
    Foreign(("--do-handshake-on-connect",), IGNORED, "handshakes begin at once and hold up nobody", argument=False),
    Foreign(("--http2-cleartext",), ONLY, _HTTP2, values=("off",)),
    Foreign(("--http2-max-concurrent-streams",), IGNORED, "HTTP/2 is not supported"),
    Foreign(("--http2-initial-window-size",), IGNORED, "HTTP/2 is not supported"),
    Foreign(("--http2-max-frame-size",), IGNORED, "HTTP/2 is not supported"),
    Foreign(("--http2-max-header-list-size",), IGNORED, "HTTP/2 is not supported"),
    Foreign(("--permit-obsolete-folding",), REFUSED, "folded fields are always refused; leave it out", False),
    Foreign(("--strip-header-spaces",), REFUSED, "a space after a field name is always refused; leave it out", False),
    Foreign(("--permit-unconventional-http-method",), IGNORED, "any method is accepted", argument=False),
    Foreign(("--permit-unconventional-http-version",), REFUSED, "HTTP is 1.0 or 1.1 here; leave it out", False),
    Foreign(("--casefold-http-method",), REFUSED, "methods are passed on as they are sent; leave it out", False),
    Foreign(("--forwarder-headers",), REFUSED, _UNDERSCORES),
    Foreign(("--header-map",), ONLY, _UNDERSCORES, values=("drop",)),
    Foreign(("--asgi-loop",), IGNORED, "ASGI is not supported"),
    Foreign(("--asgi-lifespan",), IGNORED, "ASGI is not supported"),
    Foreign(("--asgi-disconnect-grace-period",), IGNORED, "ASGI is not supported"),
    Foreign(("--websocket-max-message-size",), IGNORED, "WebSocket is not supported"),
    Foreign(("--http-parser",), IGNORED, "there is only one parser"),
    Foreign(("--dirty-apps", "--dirty-app"), REFUSED, _DIRTY),
    Foreign(("--dirty-workers",), REFUSED, _DIRTY),
    Foreign(("--dirty-timeout",), IGNORED, "dirty workers are not supported"),
    Foreign(("--dirty-threads",), IGNORED, "dirty workers are not supported"),
    Foreign(("--dirty-graceful-timeout",), IGNORED, "dirty workers are not supported"),
    Foreign(("--control-socket",), IGNORED, "there is no control socket"),
    Foreign(("--control-socket-mode",), IGNORED, "there is no control socket"),
    Foreign(("--control-socket-disable",), IGNORED, "there is no control socket", argument=False),
)  # fmt: skip

_ADDRESS = "give addresses with --bind"
_GREEN = "requests run in green threads; see --concurrency"
_BUFFERS = "buffers are bounded; see --limit-buffers"
_WS = "WebSocket is not supported"
_METRICS = "metrics are not supported yet; leave it out"
_STATIC = "there is no static-file server; use a proxy in front for it"
_INI = "uWSGI's files are not read; give the settings as options, or in a .toml file"
_WATCHING = "--reload watches what --reload-dirs names"

# Of uvicorn, granian, hypercorn, waitress, uWSGI and flask. In a file of gunicorn's such a name is its author's own.
OF_COMMAND_LINES: tuple[Foreign, ...] = (
    Foreign(
        ("--http",), ONLY, f"only HTTP/1 is spoken; leave it out, and {_ADDRESS}",
        values=("auto", "1", "h11", "httptools"),
    ),
    Foreign(("--http2",), REFUSED, _HTTP2, argument=False),
    Foreign(("--ws",), ONLY, f"{_WS} yet; leave it out", values=("none",)),
    Foreign(("--no-ws",), IGNORED, _WS, argument=False),
    Foreign(("--ws-max-size",), IGNORED, _WS),
    Foreign(("--ws-max-queue",), IGNORED, _WS),
    Foreign(("--websocket-ping-interval", "--ws-ping-interval"), IGNORED, _WS),
    Foreign(("--ws-ping-timeout",), IGNORED, _WS),
    Foreign(("--ws-per-message-deflate",), IGNORED, _WS),
    Foreign(("--lifespan",), IGNORED, "ASGI is not supported"),
    Foreign(("--no-factory",), IGNORED, _FACTORY, argument=False),
    Foreign(("--no-proxy-headers",), REFUSED, "use --forwarded-field none", argument=False),
    Foreign(("--header",), REFUSED, "fields are not added; do it in the application, or in a proxy in front"),
    Foreign(("--date-header",), IGNORED, "the Date field is always sent", argument=False),
    Foreign(("--no-date-header",), REFUSED, "the Date field is always sent; leave it out", argument=False),
    Foreign(("--use-colors",), IGNORED, "colors are used at a terminal", argument=False),
    Foreign(("--no-use-colors",), REFUSED, "set the variable NO_COLOR instead", argument=False),
    Foreign(("--reset-contextvars",), IGNORED, "see --context", argument=False),
    Foreign(("--reload-delay", "--reload-tick"), IGNORED, _WATCHING),
    Foreign(("--reload-include",), IGNORED, _WATCHING),
    Foreign(("--reload-exclude",), IGNORED, _WATCHING),
    Foreign(("--reload-ignore-dirs",), IGNORED, _WATCHING),
    Foreign(("--reload-ignore-patterns",), IGNORED, _WATCHING),
    Foreign(("--reload-ignore-paths",), IGNORED, _WATCHING),
    Foreign(("--reload-ignore-worker-failure",), IGNORED, "the old workers keep serving", argument=False),
    Foreign(("--ssl-crl",), REFUSED, "lists of revoked certificates are not read; leave it out"),
    Foreign(("--insecure-bind",), REFUSED, "use --bind http://host:port beside --bind https://host:port"),
    Foreign(("--quic-bind",), REFUSED, f"HTTP/3 is not supported; {_ADDRESS}"),
    # granian's
    Foreign(("--blocking-threads-idle-timeout",), IGNORED, _GREEN),
    Foreign(("--runtime-threads",), IGNORED, _GREEN),
    Foreign(("--runtime-blocking-threads",), IGNORED, _GREEN),
    Foreign(("--runtime-mode",), IGNORED, _GREEN),
    Foreign(("--task-impl",), IGNORED, _GREEN),
    Foreign(("--http1-buffer-size",), IGNORED, _BUFFERS),
    Foreign(
        ("--http1-header-read-timeout",), REFUSED, "use --header-timeout with a unit, like 10s; granian counts in ms"
    ),
    Foreign(("--http1-keep-alive",), IGNORED, "see --keepalive-timeout", argument=False),
    Foreign(("--no-http1-keep-alive",), REFUSED, "use a short --keepalive-timeout, like 1ms", argument=False),
    Foreign(("--http1-pipeline-flush",), IGNORED, "answers that are ready leave together", argument=False),
    Foreign(("--no-http1-pipeline-flush",), IGNORED, "answers that are ready leave together", argument=False),
    Foreign(("--http2-adaptive-window",), IGNORED, "HTTP/2 is not supported", argument=False),
    Foreign(("--no-http2-adaptive-window",), IGNORED, "HTTP/2 is not supported", argument=False),
    Foreign(("--http2-initial-connection-window-size",), IGNORED, "HTTP/2 is not supported"),
    Foreign(("--http2-initial-stream-window-size",), IGNORED, "HTTP/2 is not supported"),
    Foreign(("--http2-keep-alive-interval",), IGNORED, "HTTP/2 is not supported"),
    Foreign(("--http2-keep-alive-timeout",), IGNORED, "HTTP/2 is not supported"),
    Foreign(("--http2-max-headers-size",), IGNORED, "HTTP/2 is not supported"),
    Foreign(("--http2-max-send-buffer-size",), IGNORED, "HTTP/2 is not supported"),
    Foreign(("--log",), IGNORED, "the error log is always written", argument=False),
    Foreign(("--no-log",), REFUSED, "give --error-logfile /dev/null", argument=False),
    Foreign(("--respawn-failed-workers",), IGNORED, "workers that die are always replaced", argument=False),
    Foreign(("--no-respawn-failed-workers",), REFUSED, "workers that die are always replaced; leave it out", False),
    Foreign(("--respawn-interval",), IGNORED, "the first restart is at once, later ones come more slowly"),
    Foreign(("--rss-sample-interval",), IGNORED, "see --max-rss"),
    Foreign(("--rss-samples",), IGNORED, "see --max-rss"),
    Foreign(("--static-path-route",), REFUSED, _STATIC),
    Foreign(("--static-path-mount",), REFUSED, _STATIC),
    Foreign(("--static-path-dir-to-file",), REFUSED, _STATIC),
    Foreign(("--static-path-expires",), REFUSED, _STATIC),
    Foreign(("--metrics",), REFUSED, _METRICS, argument=False),
    Foreign(("--no-metrics",), IGNORED, "metrics are not supported", argument=False),
    Foreign(("--metrics-scrape-interval",), REFUSED, _METRICS),
    Foreign(("--metrics-address",), REFUSED, _METRICS),
    Foreign(("--metrics-port",), REFUSED, _METRICS),
    # waitress's
    Foreign(("--no-ipv4",), REFUSED, _ADDRESS, argument=False),
    Foreign(("--no-ipv6",), REFUSED, _ADDRESS, argument=False),
    Foreign(("--url-scheme",), REFUSED, _FORWARDED),
    Foreign(("--trusted-proxy",), REFUSED, _FORWARDED),
    Foreign(("--ident",), REFUSED, "use --server-header"),
    Foreign(("--expose-tracebacks",), REFUSED, "use --debug", argument=False),
    Foreign(("--recv-bytes",), IGNORED, _BUFFERS),
    Foreign(("--send-bytes",), IGNORED, _BUFFERS),
    Foreign(("--outbuf-overflow",), IGNORED, _BUFFERS),
    Foreign(("--outbuf-high-watermark",), IGNORED, _BUFFERS),
    Foreign(("--inbuf-overflow",), IGNORED, _BUFFERS),
    Foreign(("--cleanup-interval",), IGNORED, "connections are looked after all the time"),
    Foreign(("--asyncore-loop-timeout",), IGNORED, "the loop is gevent's"),
    Foreign(("--asyncore-use-poll",), IGNORED, "the loop is gevent's", argument=False),
    Foreign(("--channel-request-lookahead",), IGNORED, "see --limit-pipeline"),
    # uWSGI's
    Foreign(("--http-socket",), REFUSED, _ADDRESS),
    Foreign(("--socket",), REFUSED, f"the uWSGI protocol is not supported; {_ADDRESS}"),
    Foreign(("--wsgi-file",), REFUSED, "give the module as APP, like module:application"),
    Foreign(("--module",), REFUSED, "give APP without an option, like module:application"),
    Foreign(("--callable",), REFUSED, "give the name with the module as APP, like module:application"),
    Foreign(("--processes",), REFUSED, "use --workers"),
    Foreign(("--harakiri",), REFUSED, "use --request-timeout, and --timeout for workers that hang"),
    Foreign(("--ini",), REFUSED, _INI),
    Foreign(("--master",), IGNORED, "workers always have a supervisor", argument=False),
    Foreign(("--enable-threads",), IGNORED, "threads are always enabled", argument=False),
    Foreign(("--gevent",), IGNORED, _GREEN),
    Foreign(("--lazy-apps",), IGNORED, "each worker loads the application, unless there is --preload", argument=False),
    Foreign(("--need-app",), IGNORED, "there is always an application", argument=False),
    Foreign(("--vacuum",), IGNORED, "the files of sockets are always removed", argument=False),
    Foreign(("--die-on-term",), IGNORED, "TERM always stops", argument=False),
    Foreign(("--buffer-size",), IGNORED, "see --limit-request-head"),
    Foreign(("--virtualenv",), REFUSED, "run the greenhttp of that environment"),
    Foreign(("--static-map",), REFUSED, _STATIC),
    Foreign(("--py-autoreload",), REFUSED, "use --reload"),
    Foreign(("--emperor",), REFUSED, "start a greenhttp for each application, with systemd say"),
    Foreign(("--stats",), REFUSED, _METRICS),
    Foreign(("--daemonize",), REFUSED, f"{_BACKGROUND}, and --error-logfile for the log"),
    # flask's, and of others
    Foreign(("--run",), IGNORED, "serving needs no option", argument=False),
    Foreign(("--app",), REFUSED, "give APP without an option, like module:name"),
)  # fmt: skip

BY_FOREIGN_NAME = {flag[2:].replace("-", "_"): entry for entry in FOREIGN for flag in entry.flags if flag[:2] == "--"}

# gunicorn's hooks, functions in a Python file of settings, and what each is given; see program/hooks.py
HOOKS_OF_MASTER: dict[str, tuple[str, ...]] = {
    "on_starting": ("server",),
    "on_reload": ("server",),
    "when_ready": ("server",),
    "pre_fork": ("server", "worker"),
    "child_exit": ("server", "worker"),
    "nworkers_changed": ("server", "new_value", "old_value"),
    "pre_exec": ("server",),
    "on_exit": ("server",),
}
HOOKS_OF_MANY = ("on_reload", "pre_fork", "child_exit", "nworkers_changed", "pre_exec")  # no process alone has these
HOOKS_OF_WORKER: dict[str, tuple[str, ...]] = {
    "post_fork": ("server", "worker"),
    "post_worker_init": ("worker",),
    "worker_int": ("worker",),
    "worker_abort": ("worker",),
    "pre_request": ("worker", "req"),
    "post_request": ("worker", "req", "environ", "resp"),
    "worker_exit": ("server", "worker"),
}
HOOKS_OF_TLS: dict[str, tuple[str, ...]] = {"ssl_context": ("config", "default_ssl_context_factory")}  # a worker's too
HOOKS_OF_NOBODY = ("on_dirty_starting", "dirty_post_fork", "dirty_worker_init", "dirty_worker_exit")
