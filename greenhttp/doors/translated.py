"""gunicorn's configuration as settings of a worker: what it means for connections and requests.

What guards something that is not there refuses to start; what only gunicorn's own workers know changes nothing, as
`root_path`, which it gives to ASGI applications alone. Who connects over a UNIX socket is trusted, as there.
"""

import os
from typing import Any

from greenhttp.errors import ConfigError
from greenhttp.settings.kinds import parse_prefix
from greenhttp.settings.peers import UNIX
from greenhttp.settings.table import BY_NAME
from greenhttp.settings.values import Settings

SCRIPT_NAME = "SCRIPT_NAME"  # the variable by which gunicorn is told a path prefix
PASSWORD = BY_NAME["keyfile_password"].variable  # gunicorn has no setting for it
LARGEST_LINE = 8190  # bytes: what a limit of 0 means in gunicorn
AT_ONCE = 0.001  # seconds of keep-alive for gunicorn's 0: here that would be no time-out

# names whose values other than these ask for what is not there
REFUSED = {
    "protocol": (("http",), "only HTTP is supported"),
    "http2_cleartext": (("off", False), "HTTP/2 is not supported yet"),
    "header_map": (("drop",), "fields with _ in their names are always dropped"),
    "forwarder_headers": (
        (["SCRIPT_NAME", "PATH_INFO"], []),  # its default, which nobody has asked for
        "fields with _ in their names are always dropped",
    ),
    "permit_obsolete_folding": ((False,), "folded fields are always refused"),
    "strip_header_spaces": ((False,), "field names with a space after them are always refused"),
    "permit_unconventional_http_version": ((False,), "only HTTP/1.0 and 1.1 are supported"),
    "casefold_http_method": ((False,), "methods are passed on as they are sent"),
}


def settings_of(cfg: Any) -> Settings:
    """The settings for a worker under gunicorn.

    Arguments:
        cfg: a gunicorn.config.Config.

    Raises ConfigError, in one line, for what cannot be served like that.
    """
    if cfg.keyfile and not cfg.certfile:
        raise ConfigError("keyfile: there is no certificate; give certfile too")
    for name, (usual, why) in REFUSED.items():
        value = getattr(cfg, name, usual[0])
        if value not in usual:
            raise ConfigError(f"{name} {value}: {why}; leave it out")
    if "h2" in (getattr(cfg, "http_protocols", None) or ()):
        raise ConfigError("http_protocols: HTTP/2 is not supported yet; leave it out")
    head = BY_NAME["limit_request_head"]
    return Settings(
        concurrency=cfg.worker_connections,
        connections=cfg.worker_connections,
        workers=cfg.workers,  # says whether there are several, nothing else
        timeout=cfg.timeout,
        graceful_timeout=cfg.graceful_timeout,
        keepalive_timeout=cfg.keepalive or AT_ONCE,
        limit_request_line=cfg.limit_request_line or LARGEST_LINE,
        limit_request_fields=cfg.limit_request_fields or 32768,
        limit_request_head=max(head.parse(head.default), cfg.limit_request_field_size),
        forwarded_allow_ips=[*cfg.forwarded_allow_ips, UNIX],
        secure_scheme_headers=cfg.secure_scheme_headers,
        proxy_protocol={True: "any", False: "off"}.get(cfg.proxy_protocol, cfg.proxy_protocol),
        proxy_allow_from=[*cfg.proxy_allow_ips, UNIX],
        root_path=_script_name(cfg.env.get(SCRIPT_NAME, os.environ.get(SCRIPT_NAME, ""))),
        certfile=[] if cfg.certfile is None else [cfg.certfile],
        keyfile=[cfg.keyfile] if cfg.keyfile else [],
        keyfile_password=os.environ.get(PASSWORD),
        ca_certs=cfg.ca_certs or "off",
        cert_reqs=int(cfg.cert_reqs),
        ciphers=cfg.ciphers or "off",
        access_logfile=cfg.accesslog or "off",
        access_log_format=cfg.access_log_format,
        interface="wsgi",
    )


def _script_name(text: str) -> str | None:
    """The prefix in that variable as `root_path`. Raises ConfigError."""
    try:
        if text.startswith("/"):
            return parse_prefix(text)
    except ValueError:
        pass
    if text:
        raise ConfigError(f"{SCRIPT_NAME}: {text!r} is not a path prefix; give one like /below, without escapes")
    return None
