"""The settings as types, for type checkers: which names serve, serve_stream and Server take, with what.

Generated from `table` by `python -m tests.settings.typed`; a test compares. What a value means is told by
`greenhttp --help`, and what is wrong with one by ConfigError: a text is a text here, whatever stands in it.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, TypedDict

Off: TypeAlias = Literal[False] | None
Texts: TypeAlias = str | list[str] | tuple[str, ...] | set[str] | frozenset[str]


class StreamSettings(TypedDict, total=False):
    """What serve_stream takes, beside `bind`."""

    socket_mode: str | int | None
    socket_owner: str | int | None
    reuse_port: bool | str
    backlog: int | str  # connections
    loop: str
    concurrency: int | str  # requests
    queue: int | str | None  # requests
    queue_timeout: float | str  # seconds
    offload_threads: int | str  # threads
    offload_processes: int | str  # processes
    health_path: str | Off
    context: str
    connections: int | str | None  # connections
    limit_request_line: int | str  # bytes
    limit_request_head: int | str  # bytes
    limit_request_fields: int | str  # fields
    limit_request_body: int | str  # bytes
    limit_linger: int | str  # bytes
    limit_chunk_extensions: int | str  # bytes
    limit_trailers: int | str  # bytes
    limit_pipeline: int | str  # bytes
    limit_buffers: int | str  # bytes
    header_timeout: float | str  # seconds
    keepalive_timeout: float | str  # seconds
    body_timeout: float | str  # seconds
    body_min_rate: int | str  # bytes/s
    write_timeout: float | str  # seconds
    write_min_rate: int | str  # bytes/s
    min_rate_after: float | str  # seconds
    request_timeout: float | str  # seconds
    linger_timeout: float | str  # seconds
    graceful_timeout: float | str  # seconds
    drain_linger: float | str  # seconds
    hub_warn: float | str  # seconds
    debug: bool | str
    server_header: str | bool | None
    allow_headers: Texts
    gather_chunked: int | str  # bytes
    allow_methods: Texts
    certfile: str | list[str] | tuple[str, ...] | Off
    keyfile: str | list[str] | tuple[str, ...] | Off
    keyfile_password: str | Off
    ca_certs: str | int | None
    cert_reqs: str | float
    tls_min: str | float
    ciphers: str | int | None
    tls_timeout: float | str  # seconds
    https_redirect: bool | str
    forwarded_allow_ips: Texts
    forwarded_field: str
    forwarded_host: bool | str
    forwarded_strip: bool | str
    secure_scheme_headers: Texts | Mapping[str, str] | Off
    proxy_protocol: str
    proxy_allow_from: Texts
    proxy_timeout: float | str  # seconds
    root_path: str | Off
    root_path_header: str | Off
    allowed_hosts: Texts
    request_id_header: str | Off
    access_logfile: str | bool | None
    access_log_format: str
    error_logfile: str
    log_level: str
    log_format: str
    log_config: str | bool | None
    log_config_dict: str | Mapping[str, Any]


class ServeSettings(StreamSettings, total=False):
    """What serve takes, beside `bind`."""

    interface: str


class ServerSettings(ServeSettings, total=False):
    """What Server takes, and what greenhttp.testing does."""

    bind: Texts
    patch: bool | str
    workers: int | str  # processes
    timeout: float | str  # seconds
