"""Other servers' options that are no settings here: read, so that each is answered by one clear line.

A command line written for gunicorn's gevent worker should run when its first word is changed. What changes nothing here
is accepted, and named as ignored where somebody could miss it; what would be missed badly is refused, with what to do.
In a file of settings the same names are known, without dashes and with `_` for `-`; a value of False, None
or 0 is what the other server does by itself, and is passed over.
"""

from dataclasses import dataclass

from greenhttp.errors import ConfigError

REFUSED, IGNORED, ONLY = "refused", "ignored", "only"


@dataclass(frozen=True)
class Foreign:
    """One option of other servers.

    Attributes:
        flags: its names on their command lines; the last is the one it is called by.
        verdict: REFUSED, IGNORED, or ONLY: accepted with one of `values`, refused with others.
        why: what is said, after the option's name.
        argument: whether a value follows the flag.
        values: for ONLY.
    """

    flags: tuple[str, ...]
    verdict: str
    why: str
    argument: bool = True
    values: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As a Python name: its last flag."""
        return self.flags[-1][2:].replace("-", "_")

    def judge(self, source: str, value: object) -> str:
        """The line to say, or "" for none. Raises ConfigError if it cannot be served with that."""
        if value is None or value is False or value in ("", "0", 0):
            return ""
        if self.verdict == IGNORED:
            return f"{source} is ignored: {self.why}"
        if self.verdict == ONLY and str(value).lower() in self.values:
            return ""
        raise ConfigError(f"{source}{f' {value}' if self.verdict == ONLY else ''}: {self.why}")


_TLS = "TLS is not there yet; let a proxy in front do it"
_BACKGROUND = "it stays in the foreground; let systemd, a container or a supervisor keep it"
_FORWARDED = "name the proxy's addresses, --forwarded-allow-ips; only the scheme is taken from its fields"
_FACTORY = "write the call into the name: module:create()"
_HTTP2 = "HTTP/2 is not there yet; leave it out"

FOREIGN: tuple[Foreign, ...] = (
    Foreign(
        ("-k", "--worker-class"), ONLY, "there is one kind of worker, green threads; leave the option out, or gevent",
        values=("gevent", "greenhttp"),
    ),
    Foreign(("--blocking-threads", "--threads"), IGNORED, "requests run in green threads; see --concurrency"),
    Foreign(("-n", "--process-name", "--proc-name", "--name"), IGNORED, "the process keeps its name"),
    Foreign(("--worker-tmp-dir",), IGNORED, "no files are used for that"),
    Foreign(("--no-control-socket",), IGNORED, "there is none", argument=False),
    Foreign(("--workers-max-rss",), REFUSED, "give --max-rss, with a unit: granian's number counts MiB"),
    Foreign(("--ssl-certfile", "--ssl-certificate", "--certfile"), REFUSED, _TLS),
    Foreign(("--ssl-keyfile", "--keyfile"), REFUSED, _TLS),
    Foreign(("--ssl-ca-certs", "--ssl-ca", "--ca-certs"), REFUSED, _TLS),
    Foreign(("--ssl-cert-reqs", "--cert-reqs"), REFUSED, _TLS),
    Foreign(("--ssl-ciphers", "--ciphers"), REFUSED, _TLS),
    Foreign(("--http-protocols",), REFUSED, _HTTP2),
    Foreign(("-D", "--daemon"), REFUSED, _BACKGROUND, argument=False),
    Foreign(("--proxy-headers",), REFUSED, _FORWARDED, argument=False),
    Foreign(("--proxy-protocol",), REFUSED, "the PROXY protocol is not there yet; leave it out"),
    Foreign(("--url-prefix", "--url-path-prefix", "--root-path"), REFUSED, "a prefix is not cut off yet; leave it out"),
    Foreign(("--call", "--factory"), REFUSED, _FACTORY, argument=False),
    Foreign(("--env-files", "--env-file"), REFUSED, "files of variables are not read; give -e NAME=VALUE"),
    Foreign(("--logconfig", "--log-config"), REFUSED, "set logging up in the application; its handlers are kept"),
    Foreign(("--capture-output",), REFUSED, "output is not redirected; redirect it in the shell", argument=False),
    Foreign(("--statsd-host",), REFUSED, "statistics are not sent yet; leave it out"),
    Foreign(
        ("--limit-request-field-size", "--limit-request-field_size"), REFUSED,
        "fields are limited together; give --limit-request-head",
    ),
)  # fmt: skip

BY_FOREIGN_NAME = {flag[2:].replace("-", "_"): entry for entry in FOREIGN for flag in entry.flags if flag[:2] == "--"}

# gunicorn's hooks: functions in its files of settings
HOOKS = frozenset((
    "on_starting", "on_reload", "when_ready", "pre_fork", "post_fork", "post_worker_init", "worker_int", "worker_abort",
    "pre_exec", "pre_request", "post_request", "child_exit", "worker_exit", "nworkers_changed", "on_exit",
    "ssl_context",
))  # fmt: skip
