"""TLS: certificates are found, checked, described and renewed here; the records are `green.tls`'s.

    server, client   an ssl.SSLContext as this server makes them, for scripts and stream handlers
    files            which files the settings name
    material         those files -> Material: bytes, which a master can hand to its workers
    described        what a certificate says: names, issuer, expiry
    pem              PEM bytes that OpenSSL reads, without secrets on the disk
    contexts         Material -> contexts, of which the name that a client asks for chooses (green.tls.Certificates)
    agreed           what both ends have agreed on: request.tls, stream.tls; peer: the certificate shown there
    tickets          the keys of session tickets
    renewal          files that change, certificates that expire

A master imports material, described and renewal, and must stay without `ssl`, which comes after the patch: they use the
C module below it. `contexts` is for who serves. The order: files -> Material -> (a pipe) -> contexts -> Certificates.
"""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

__all__ = ["client", "server"]


def server(
    certfile: str | os.PathLike[str],
    keyfile: str | os.PathLike[str] | None = None,
    *,
    password: str | bytes | None = None,
    ca_certs: str | os.PathLike[str] | None = None,
    cert_reqs: int = 0,
    ciphers: str | None = None,
    minimum: str = "1.2",
    alpn: Iterable[str] = ("http/1.1",),
) -> "ssl.SSLContext":
    """A context for the server's side, as `--certfile` makes it: forward secrecy, no renegotiation, no compression.

    Arguments:
        certfile: a PEM file: the certificate, then the intermediate ones.
        keyfile: a PEM file with its private key; None: it is in `certfile`, or beside it (NAME.key, privkey.pem).
        password: of the key, if it is encrypted.
        ca_certs: a PEM file with the authorities that clients' certificates must come from.
        cert_reqs: ssl.CERT_NONE, ssl.CERT_OPTIONAL or ssl.CERT_REQUIRED: whether clients need a certificate.
        ciphers: cipher suites of TLS 1.2 in OpenSSL's format; None: those of Mozilla's intermediate configuration.
        minimum: the oldest version of TLS, "1.2" or "1.3".
        alpn: protocols to agree on, the preferred one first; empty: none.

    Raises:
        ConfigError: a file is missing, cannot be read, is no PEM, or certificate and key do not belong together; a
            directory with several certificates; other values that cannot be.
    """
    from greenhttp.tls import contexts, material

    return contexts.context(
        material.read_one(certfile, keyfile, password, ca_certs, cert_reqs, ciphers, minimum), alpn=tuple(alpn)
    )


def client(
    ca_certs: str | os.PathLike[str] | None = None,
    *,
    certfile: str | os.PathLike[str] | None = None,
    keyfile: str | os.PathLike[str] | None = None,
    password: str | bytes | None = None,
) -> "ssl.SSLContext":
    """A context for the client's side, which verifies the server's certificate and its name.

    Arguments:
        ca_certs: a PEM file with the authorities to trust; None: those of the system.
        certfile: a PEM file: the client's own certificate, then the intermediate ones; None: it has none.
        keyfile, password: as for `server`.

    Raises:
        ConfigError: as for `server`.
    """
    from greenhttp.tls import contexts, material

    return contexts.client(
        None if ca_certs is None else material.authorities(os.fsdecode(ca_certs)),
        None if certfile is None else material.read_one(certfile, keyfile, password).pairs[0],
    )
