"""Every setting once: its name, kind, default, unit, meaning and check.

The command line, the environment, the file of settings, the help and the server derive from `SETTINGS`; nothing is said
twice. Data only: nothing here opens a file or reads the environment.
"""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from greenhttp.settings import checks
from greenhttp.settings.kinds import KINDS, LARGEST_HEAD, LISTS, MOST_RUNNING

DESCRIPTORS_KEPT = 128  # descriptors left to the application, its databases and logs when `connections` is derived

# ---- the table


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        name: the Python name, also the attribute of `Settings`; `GREENHTTP_<NAME>` in the environment.
        kind: a key of `KINDS`: how a value is read.
        default: the value as kept, or as a person would type it; None where it is derived from others.
        unit: what a number counts, for people: "seconds", "bytes", "bytes/s"; "" where there is none.
        help: one or two sentences: what it bounds, and what happens beyond it.
        group: the heading it stands under in the help.
        flags: command line names, its own among them; other servers' names where they mean the same. The long ones,
            with `_` for `-`, are also names in a file of settings.
        check: called with the value of the right kind; returns the one to keep or raises ValueError.
        switches: flags that take no value, each with the value it stands for.
        bare: what its own flags stand for without a value, "" where they need one.
    """

    name: str
    kind: str
    default: Any
    unit: str
    help: str
    group: str
    flags: tuple[str, ...]
    check: Callable[[Any], Any] | None = None
    switches: tuple[tuple[str, str], ...] = ()
    bare: str = ""

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"GREENHTTP_{self.name.upper()}"

    @property
    def flag(self) -> str:
        """Its own long name on the command line; the other flags are short for it, or other servers' names."""
        return "--" + self.name.replace("_", "-")

    def parse(self, value: object) -> Any:
        """The value to keep.

        Raises:
            ValueError: "what is wrong; what to do", without the setting's name.
        """
        if self.default is None and (value is None or str(value).strip().lower() == "auto"):
            return None
        kept = KINDS[self.kind](value)
        return kept if self.check is None else self.check(kept)

    def typed(self, value: Any) -> str | int | bool | list[str]:
        """A kept value as a person would type it; `parse` makes the same of it again."""
        if value is None:
            return "auto" if self.default is None else "off"
        if self.kind == "mode":
            return f"{value:03o}"
        if self.kind == "duration":
            return _typed_duration(value)
        if self.kind == "size":
            return _typed_size(value)
        return list(value) if self.kind in LISTS else value


def _typed_duration(seconds: float) -> str:
    if 0 < seconds < 1 and (seconds * 1000).is_integer():
        return f"{seconds * 1000:.0f}ms"
    return f"{Decimal(repr(seconds)):f}".removesuffix(".0") + "s" if seconds else "0"


def _typed_size(size: int) -> str:
    unit = 0
    while size and size % 1024 == 0 and unit < 4:
        size, unit = size // 1024, unit + 1
    return f"{size}{' kmgt'[unit]}".strip()


def alias(name: str) -> str:
    """The setting that has this as another name, as a Python name; or nothing."""
    flag = "--" + name.replace("_", "-")
    return next((setting.name for setting in SETTINGS if flag in setting.flags and name != setting.name), "")


def nearest(name: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """`; did you mean NAME?` for the most similar of the names, or nothing."""
    near = difflib.get_close_matches(name, list(names), 1, cutoff)
    return f"; did you mean {near[0]}?" if near else ""


_SERVE, _APP, _WORK, _LIMITS, _TIME = "Serving", "The application", "Work", "Limits", "Time"
_PROCESSES = "Processes"
_ANSWERS, _TLS, _PROXY, _LOGS = "Requests and answers", "TLS", "Behind a proxy", "Logs"

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "bind", "addresses", "127.0.0.1:8000", "",
        "Where to listen: host:port, :port (every IPv4 address), [::]:port (every address), unix:/path or fd://N. May"
        " be repeated. With --certfile: https://host:port or host:port is TLS, http://host:port is not.",
        _SERVE, ("-b", "--bind", "--listen"),
    ),
    Setting(
        "socket_mode", "mode", "off", "",
        "Permissions of the UNIX socket file, like 660. off: the umask decides.",
        _SERVE, ("--socket-mode", "--uds-permissions", "--unix-socket-perms"),
    ),
    Setting(
        "socket_owner", "optional", "off", "",
        "Owner of the UNIX socket file: user:group, user or :group. off: the values of --user and --group.",
        _SERVE, ("--socket-owner", "--chown-socket"),
    ),
    Setting(
        "reuse_port", "bool", False, "",
        "Set SO_REUSEPORT, so that other programs with the same option can listen on the same port. Workers share one"
        " queue in any case.",
        _SERVE, ("--reuse-port",),
    ),
    Setting(
        "backlog", "count", 2048, "connections",
        "Connections that wait in the kernel until they are accepted, per address. The kernel may limit it further.",
        _SERVE, ("--backlog",), checks.at_least(1),
    ),
    Setting(
        "loop", "choice", "auto", "",
        "The event loop: auto, libev or libuv.",
        _SERVE, ("--loop",), checks.one_of("auto", "libev", "libuv"),
    ),
    Setting(
        "interface", "choice", "auto", "",
        "Type of the application: wsgi, native, stream, or auto: wsgi or native, detected from its signature.",
        _APP, ("--interface",), checks.one_of("auto", "wsgi", "native", "stream"),
    ),
    Setting(
        "patch", "bool", True, "",
        "Make the standard library's sockets, sleeps and locks cooperative (gevent) before the application is loaded.",
        _APP, ("--patch",),
    ),
    Setting(
        "chdir", "path", ".", "",
        "Change to this directory before the application is loaded.",
        _APP, ("--chdir", "--working-dir"),
    ),
    Setting(
        "pythonpath", "names", (), "",
        "Directories to search for modules, before the current one. Separated by commas.",
        _APP, ("--pythonpath", "--app-dir"),
    ),
    Setting(
        "env", "pairs", (), "",
        "Environment variable NAME=VALUE for the application. May be repeated.",
        _APP, ("-e", "--env", "--raw-env"),
    ),
    Setting(
        "warm_up", "optional", "off", "",
        "module:function to call in each process after the application is loaded and before requests are accepted.",
        _APP, ("--warm-up",),
    ),
    Setting(
        "concurrency", "count", 1000, "requests",
        "Maximum number of requests that run at the same time; more wait in the queue. Idle connections do not count.",
        _WORK, ("--concurrency", "--limit-concurrency", "--backpressure"), checks.at_least(1, "", MOST_RUNNING),
    ),
    Setting(
        "queue", "count", None, "requests",
        "Maximum number of requests in the queue; more get 503 at once. 0: no queue. Default: --concurrency.",
        _WORK, ("--queue",),
    ),
    Setting(
        "queue_timeout", "duration", 10.0, "seconds",
        "Maximum time in the queue; then 503.",
        _WORK, ("--queue-timeout",),
    ),
    Setting(
        "offload_threads", "count", 16, "threads",
        "Maximum number of `greenhttp.offload` calls on threads at a time; more wait.",
        _WORK, ("--offload-threads",), checks.at_least(1),
    ),
    Setting(
        "offload_processes", "count", 0, "processes",
        "The same for calls with `process=True`, in processes of each worker. 0: one per CPU.",
        _WORK, ("--offload-processes",),
    ),
    Setting(
        "health_path", "target", "off", "",
        "Requests for exactly this path, such as /healthz, skip the queue if they have no content: they run even at"
        " full --concurrency. off: none.",
        _WORK, ("--health-path",),
    ),
    Setting(
        "context", "choice", "request", "",
        "Context variables. request: each request starts with an empty context. thread: variables leak between"
        " requests, possibly between users.",
        _WORK, ("--context",), checks.one_of("request", "thread"),
    ),
    Setting(
        "connections", "count", None, "connections",
        "Maximum number of open connections, idle ones included; then the longest idle one is closed."
        f" Default: the open-file limit minus {DESCRIPTORS_KEPT}.",
        _WORK, ("--connections", "--worker-connections", "--connection-limit"), checks.at_least(1),
    ),
    Setting(
        "workers", "workers", 0, "processes",
        "Worker processes; a supervisor replaces those that end. auto: one per CPU. 0: a single process (options such"
        " as --max-requests start a supervisor).",
        _PROCESSES, ("-w", "--workers"), checks.not_too_many,
    ),
    Setting(
        "preload", "bool", False, "",
        "Load the application once, before the workers are forked, so that they share its memory.",
        _PROCESSES, ("--preload", "--preload-app"),
    ),
    Setting(
        "max_requests", "count", 0, "requests",
        "Replace a worker after this number of requests. 0: never.",
        _PROCESSES, ("--max-requests", "--limit-max-requests"),
    ),
    Setting(
        "max_requests_jitter", "count", 0, "requests",
        "Add a random number up to N to --max-requests, so that workers are not all replaced together.",
        _PROCESSES, ("--max-requests-jitter", "--limit-max-requests-jitter"),
    ),
    Setting(
        "max_rss", "size", 0, "bytes",
        "Replace a worker when its resident memory reaches this size. 0: never.",
        _PROCESSES, ("--max-rss",),
    ),
    Setting(
        "max_age", "duration", 0.0, "seconds",
        "Replace a worker after this time, shortened at random by up to 10 %. 0: never.",
        _PROCESSES, ("--max-age", "--workers-lifetime"),
    ),
    Setting(
        "timeout", "duration", 30.0, "seconds",
        "A worker whose event loop is blocked for this long logs its stack, is killed and replaced. 0: never.",
        _PROCESSES, ("-t", "--timeout", "--timeout-worker-healthcheck"),
    ),
    Setting(
        "boot_timeout", "duration", 300.0, "seconds",
        "A worker that is not ready after this time is killed. 0: no limit.",
        _PROCESSES, ("--boot-timeout",),
    ),
    Setting(
        "reload", "bool", False, "",
        "Restart the workers when source files change. For development.",
        _PROCESSES, ("--reload",),
    ),
    Setting(
        "reload_dirs", "names", ".", "",
        "Directories (with subdirectories) and files to watch for --reload.",
        _PROCESSES, ("--reload-dirs", "--reload-dir", "--reload-paths", "--reload-extra-file"),
    ),
    Setting(
        "pid", "optional", "off", "",
        "Write the process ID of the supervisor to this file.",
        _PROCESSES, ("-p", "--pid", "--pidfile", "--pid-file"),
    ),
    Setting(
        "user", "optional", "off", "",
        "User to switch to after the addresses are bound.",
        _PROCESSES, ("-u", "--user"),
    ),
    Setting(
        "group", "optional", "off", "",
        "Group to switch to. With --user, the default is the group of that user.",
        _PROCESSES, ("-g", "--group"),
    ),
    Setting(
        "umask", "mode", "off", "",
        "Umask of the workers, like 027. off: unchanged.",
        _PROCESSES, ("-m", "--umask"),
    ),
    Setting(
        "limit_request_line", "size", 8 << 10, "bytes",
        "Maximum size of the request line; more gets 414.",
        _LIMITS, ("--limit-request-line",), checks.at_least(64, "a line like GET / HTTP/1.1 must fit", LARGEST_HEAD),
    ),
    Setting(
        "limit_request_head", "size", 64 << 10, "bytes",
        "Maximum size of all request fields together, without the request line; more gets 431.",
        _LIMITS, ("--limit-request-head", "--max-request-header-size"),
        checks.at_least(256, "a Host field must fit", LARGEST_HEAD),
    ),
    Setting(
        "limit_request_fields", "count", 100, "fields",
        "Maximum number of request fields; more get 431.",
        _LIMITS, ("--limit-request-fields",), checks.at_least(1, "HTTP/1.1 requires Host", LARGEST_HEAD),
    ),
    Setting(
        "limit_request_body", "size", 1 << 30, "bytes",
        "Maximum size of the request content; more gets 413, without reading it if its length is announced. 0: no"
        " content allowed.",
        _LIMITS, ("--limit-request-body", "--max-request-body-size"),
    ),
    Setting(
        "limit_linger", "size", 1 << 30, "bytes",
        "Maximum data of a connection that is read and dropped after the last answer, while the client still sends.",
        _LIMITS, ("--limit-linger",),
    ),
    Setting(
        "limit_chunk_extensions", "size", 4 << 10, "bytes",
        "Maximum size of all chunk extensions of a request together; more gets 400.",
        _LIMITS, ("--limit-chunk-extensions",),
    ),
    Setting(
        "limit_trailers", "size", 8 << 10, "bytes",
        "Maximum size of all trailer fields of a request together; more gets 431, and so do more than 100 of them.",
        _LIMITS, ("--limit-trailers",),
    ),
    Setting(
        "limit_pipeline", "size", 64 << 10, "bytes",
        "Maximum data read ahead on a connection while a request runs; then reading pauses until there is room.",
        _LIMITS, ("--limit-pipeline",), checks.at_least(16 << 10, "that much is received at once"),
    ),
    Setting(
        "limit_buffers", "size", 256 << 20, "bytes",
        "Maximum size of unfinished heads and read-ahead of all connections together; then the largest gets 431 or"
        " is closed.",
        _LIMITS, ("--limit-buffers",),
    ),
    Setting(
        "header_timeout", "duration", 10.0, "seconds",
        "Maximum time to receive a request head; then 408. It starts when the connection is accepted; for later"
        " requests, with the first byte of the head.",
        _TIME, ("--header-timeout", "--read-timeout"),
    ),
    Setting(
        "keepalive_timeout", "duration", 75.0, "seconds",
        "Maximum idle time between two requests; then close. Make it longer than the load balancer's (often 60 s).",
        _TIME, ("--keepalive-timeout", "--keep-alive", "--keepalive", "--timeout-keep-alive", "--channel-timeout"),
    ),
    Setting(
        "body_timeout", "duration", 30.0, "seconds",
        "Maximum silence of the client while the application waits for content; then its read raises BodyTimeout, 408.",
        _TIME, ("--body-timeout",),
    ),
    Setting(
        "body_min_rate", "rate", 500, "bytes/s",
        "Minimum average rate of received content, checked after --min-rate-after. 0: any.",
        _TIME, ("--body-min-rate",),
    ),
    Setting(
        "write_timeout", "duration", 60.0, "seconds",
        "Maximum time in which the client reads nothing while data waits for it; then the connection is aborted.",
        _TIME, ("--write-timeout",),
    ),
    Setting(
        "write_min_rate", "rate", 500, "bytes/s",
        "Minimum average rate at which the client reads waiting data, checked after --min-rate-after. 0: any.",
        _TIME, ("--write-min-rate",),
    ),
    Setting(
        "min_rate_after", "duration", 10.0, "seconds",
        "Time that a transfer runs before its rate is checked. 0: from the start.",
        _TIME, ("--min-rate-after",),
    ),
    Setting(
        "request_timeout", "duration", 0.0, "seconds",
        "Maximum time of a request in the application; then RequestTimeout is raised in it, 503. 0: no limit.",
        _TIME, ("--request-timeout",),
    ),
    Setting(
        "linger_timeout", "duration", 30.0, "seconds",
        "How long to read on after the last answer, while the client still sends, so that it gets the answer and not a"
        " reset. After 5 s of silence the connection is closed in any case. 0: close at once.",
        _TIME, ("--linger-timeout",),
    ),
    Setting(
        "graceful_timeout", "duration", 30.0, "seconds",
        "Maximum time for running requests to finish after TERM, or when a worker is replaced; then they are cut. 0:"
        " cut at once.",
        _TIME, ("--graceful-timeout", "--timeout-graceful-shutdown", "--workers-kill-timeout"),
    ),
    Setting(
        "drain_linger", "duration", 2.0, "seconds",
        "When a process stops, its idle connections are closed over this time, the longest idle first. Requests that"
        " still arrive on them are answered. 0: close all at once.",
        _TIME, ("--drain-linger",),
    ),
    Setting(
        "hub_warn", "duration", 0.5, "seconds",
        "Log a call that blocks the whole process for longer than this, with its stack. 0: never.",
        _TIME, ("--hub-warn",),
    ),
    Setting(
        "debug", "bool", False, "",
        "Answer an application error with its traceback. Not for production: every client sees it.",
        _ANSWERS, ("--debug",),
    ),
    Setting(
        "server_header", "header", "greenhttp", "",
        "Value of the Server field in answers, or off.",
        _ANSWERS, ("--server-header",), None, (("--no-server-header", "off"),),
    ),
    Setting(
        "allow_headers", "names", (), "",
        "Request fields to accept that are dropped by default: names with _ in them, and Proxy. Separated by commas.",
        _ANSWERS, ("--allow-headers",), checks.field_names,
    ),
    Setting(
        "gather_chunked", "size", 0, "bytes",
        "Receive chunked request content completely before the application is called, and give it CONTENT_LENGTH: for"
        " applications that read no content without it, such as Django and Bottle. Up to 1 MiB in memory, more in a"
        " temporary file; more than this size gets 413. 0: off.",
        _ANSWERS, ("--gather-chunked",),
    ),
    Setting(
        "allow_methods", "names", (), "",
        "Methods to accept that are answered with 501 by default: CONNECT, TRACE.",
        _ANSWERS, ("--allow-methods",), checks.methods,
    ),
    Setting(
        "certfile", "paths", (), "",
        "Serve TLS (https) with the certificate in this PEM file, intermediate ones after it. May be repeated: the name"
        " that the client asks for decides; the first is the default. A directory stands for all pairs of certificate"
        " and key in it. Changed files are read again within a minute.",
        _TLS, ("--certfile", "--ssl-certfile", "--ssl-certificate", "--cert"),
    ),
    Setting(
        "keyfile", "paths", (), "",
        "PEM file with the private key. May be repeated, in the order of --certfile. Default: the key in the"
        " certificate's file, or beside it: NAME.key, NAME-key.pem, NAME.pem.key, privkey.pem for fullchain.pem and"
        " cert.pem, or key.pem for cert.pem.",
        _TLS, ("--keyfile", "--ssl-keyfile", "--key"),
    ),
    Setting(
        "keyfile_password", "secret", "off", "",
        "Password of encrypted keys, or file:/path for a file with it in the first line. On the command line other"
        " users can see it.",
        _TLS, ("--keyfile-password", "--ssl-keyfile-password"),
    ),
    Setting(
        "ca_certs", "optional", "off", "",
        "PEM file with the authorities that clients' certificates must come from, for --cert-reqs.",
        _TLS, ("--ca-certs", "--ssl-ca-certs", "--ssl-ca"), checks.pem_file,
    ),
    Setting(
        "cert_reqs", "word", "none", "",
        "Certificates of clients: none, optional (verified if there is one) or required; also as 0, 1, 2.",
        _TLS, ("--cert-reqs", "--ssl-cert-reqs", "--verify-mode"), checks.cert_reqs,
        (("--ssl-client-verify", "required"), ("--no-ssl-client-verify", "none")),
    ),
    Setting(
        "tls_min", "word", "1.2", "",
        "Oldest version of TLS to accept: 1.2 or 1.3.",
        _TLS, ("--tls-min", "--ssl-protocol-min"), checks.tls_min,
    ),
    Setting(
        "ciphers", "optional", "off", "",
        "Cipher suites of TLS 1.2, in OpenSSL's format. off: those with forward secrecy and authenticated encryption,"
        " ECDHE with AES-GCM or ChaCha20, as Mozilla recommends. Those of TLS 1.3 are OpenSSL's.",
        _TLS, ("--ciphers", "--ssl-ciphers"),
    ),
    Setting(
        "tls_timeout", "duration", 10.0, "seconds",
        "Maximum time for a TLS handshake; then the connection is closed. 0: no limit.",
        _TLS, ("--tls-timeout",),
    ),
    Setting(
        "https_redirect", "bool", False, "",
        "Answer requests that came over http with a redirect (308) to https, on the port of the first TLS address,"
        " unless a trusted proxy says that its client used https. --health-path is answered. HSTS is left to the"
        " application.",
        _TLS, ("--https-redirect",),
    ),
    Setting(
        "forwarded_allow_ips", "names", "127.0.0.1,::1,unix", "",
        "Trusted proxies: addresses, networks, unix (peers over UNIX sockets), separated by commas. Empty: nobody."
        " *: trust every peer; then a client that connects directly can forge its address.",
        _PROXY, ("--forwarded-allow-ips",), checks.networks,
    ),
    Setting(
        "forwarded_field", "choice", "x-forwarded", "",
        "Which fields of trusted proxies to believe: x-forwarded (X-Forwarded-For and -Proto), forwarded (RFC 7239), or"
        " none. The others are ignored, because a proxy that sets one kind forwards the client's fields of the other.",
        _PROXY, ("--forwarded-field",), checks.one_of("x-forwarded", "forwarded", "none"),
    ),
    Setting(
        "forwarded_host", "bool", False, "",
        "Believe X-Forwarded-Host and -Port of trusted proxies as well. Only for proxies that set or remove both: nginx"
        " passes on those of a client.",
        _PROXY, ("--forwarded-host",),
    ),
    Setting(
        "forwarded_strip", "bool", False, "",
        "Remove fields in which proxies tell address, scheme, host, target or ID, if they are not believed, so that the"
        " application does not see them. no: they stay among the other fields.",
        _PROXY, ("--forwarded-strip",),
    ),
    Setting(
        "secure_scheme_headers", "fields",
        ("x-forwarded-protocol=ssl", "x-forwarded-proto=https", "x-forwarded-ssl=on"), "",
        "Fields of trusted proxies that mean https, each with its value, with --forwarded-field x-forwarded. If they"
        " contradict each other: 400. off: none.",
        _PROXY, ("--secure-scheme-headers",),
    ),
    Setting(
        "proxy_protocol", "choice", "off", "",
        "Expect the PROXY protocol at the beginning of each connection: v1, v2, any, or off. A connection without it is"
        " closed.",
        _PROXY, ("--proxy-protocol",), checks.proxy_protocol, bare="any",
    ),
    Setting(
        "proxy_allow_from", "names", "127.0.0.1,::1", "",
        "With --proxy-protocol: peers that may connect, in the format of --forwarded-allow-ips. Connections of others"
        " are closed.",
        _PROXY, ("--proxy-allow-from", "--proxy-allow-ips"), checks.networks,
    ),
    Setting(
        "proxy_timeout", "duration", 10.0, "seconds",
        "Maximum time for the whole PROXY header; then the connection is closed. 0: no limit.",
        _PROXY, ("--proxy-timeout",),
    ),
    Setting(
        "root_path", "prefix", "off", "",
        "Path prefix of the application, like /below (SCRIPT_NAME). It is cut from the paths of requests; others get"
        " 404.",
        _PROXY, ("--root-path", "--script-name", "--url-prefix", "--url-path-prefix"),
    ),
    Setting(
        "root_path_header", "field", "off", "",
        "Field with the path prefix that a trusted proxy has removed, like X-Forwarded-Prefix. It goes in front of"
        " --root-path. off: none.",
        _PROXY, ("--root-path-header",), checks.root_path_header,
    ),
    Setting(
        "allowed_hosts", "names", "*", "",
        "Hosts to answer for, like example.com, .example.com (with all below it) or [::1], without ports; others get"
        " 421. Separated by commas. * or off: any.",
        _PROXY, ("--allowed-hosts",), checks.hosts,
    ),
    Setting(
        "request_id_header", "field", "off", "",
        "Field for the request ID, like X-Request-Id: sent in every answer, and read from trusted proxies. off: IDs are"
        " read from X-Request-Id and not sent.",
        _PROXY, ("--request-id-header",), checks.request_id_header,
    ),
    Setting(
        "access_logfile", "file", "off", "",
        "Write a line for each request to this file; - is stdout.",
        _LOGS, ("--access-logfile", "--accesslog"), None, (("--access-log", "-"), ("--no-access-log", "off")),
    ),
    Setting(
        "access_log_format", "text", "combined", "",
        "Format of the access log: common, combined, json, or a text with atoms like %(h)s %(r)s %(s)s.",
        _LOGS, ("--access-log-format", "--access-logformat", "--access-log-fmt"),
    ),
    Setting(
        "error_logfile", "path", "-", "",
        "File for all other log lines; - is stderr.",
        _LOGS, ("--error-logfile", "--errorlog", "--log-file"),
    ),
    Setting(
        "log_level", "choice", "info", "",
        "Lowest level that is logged: debug, info, warning, error or critical.",
        _LOGS, ("--log-level", "--loglevel"), checks.one_of("debug", "info", "warning", "error", "critical"),
    ),
    Setting(
        "log_format", "choice", "text", "",
        "Format of these lines: text, or json with an object in each line.",
        _LOGS, ("--log-format",), checks.one_of("text", "json"),
    ),
    Setting(
        "log_config", "file", "off", "",
        "Set up Python's logging by this file: JSON or TOML for logging.config.dictConfig, else INI for fileConfig.",
        _LOGS, ("--log-config", "--logconfig", "--log-config-json", "--logconfig-json"),
    ),
    Setting(
        "log_config_dict", "json", "", "",
        "The same without a file: an object for logging.config.dictConfig. Use this or --log-config.",
        _LOGS, ("--log-config-dict", "--logconfig-dict"),
    ),
)  # fmt: skip

SUPERVISED = tuple(setting.name for setting in SETTINGS if setting.group == _PROCESSES)  # ask for a supervisor
# What a Server cannot do; `workers` and `timeout` are facts about it too.
OF_THE_COMMAND = frozenset(SUPERVISED) - {"workers", "timeout"} | {"chdir", "env", "pythonpath", "warm_up"}

BY_NAME: dict[str, Setting] = {setting.name: setting for setting in SETTINGS}
