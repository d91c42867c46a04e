"""The files that the settings name -> Material: all that who serves needs of them, as bytes.

    read(settings)                    Material; raises ConfigError, one line for the first thing that is wrong
    material.to_bytes(), from_bytes   for a pipe to another process

A master reads, and its workers need no permission to. Each pair of certificate and key is tried by OpenSSL here, so
that what is wrong is known before anybody serves with it. What has only expired is no error: `described` tells.
"""

import base64
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from greenhttp.errors import ConfigError
from greenhttp.settings.checks import cert_reqs as checked_reqs
from greenhttp.settings.checks import tls_min as checked_minimum
from greenhttp.settings.kinds import parse_word
from greenhttp.settings.values import Settings
from greenhttp.tls.described import Described, describe
from greenhttp.tls.files import beside, content, found, places, within
from greenhttp.tls.pem import CERTIFICATE, ENCRYPTED, KEY, Encrypted, Pair
from greenhttp.tls.tickets import new_key

# Mozilla's intermediate configuration without those that need Diffie-Hellman parameters: forward secrecy, and
# encryption that authenticates (AEAD). TLS 1.3 has no others.
CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
    ":ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)


@dataclass(frozen=True)
class Material:
    """Certificates and what goes with them, checked. The repr shows no secret.

    Attributes:
        pairs: certificates with their keys; the first is the default.
        authorities: PEM of those that clients' certificates must come from; b"" for none.
        cert_reqs: "none", "optional" or "required".
        ciphers: suites of TLS 1.2, in OpenSSL's format.
        minimum: the oldest version, "1.2" or "1.3".
        ticket_keys: 80 bytes each, the newest first, with which session tickets are sealed.
    """

    pairs: tuple[Pair, ...]
    authorities: bytes = field(default=b"", repr=False)
    cert_reqs: str = "none"
    ciphers: str = CIPHERS
    minimum: str = "1.2"
    ticket_keys: tuple[bytes, ...] = field(default=(), repr=False)

    def to_bytes(self) -> bytes:
        """All of it; secrets among it are not encrypted."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return json.dumps(values, default=_packed).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Material":
        """What `to_bytes` was called on."""
        values = {name: _unpacked(value) for name, value in json.loads(data).items()}
        return cls(**{**values, "pairs": tuple(Pair(*pair) for pair in values["pairs"])})

    def described(self, known: Iterable[tuple[Pair, Described]] = ()) -> list[tuple[Pair, Described]]:
        """Each pair with what its certificate says; `known` is this of other material, to be used again."""
        before = dict(known)
        return [(pair, before.get(pair) or describe(pair.chain)) for pair in self.pairs]


def _packed(value: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(value).decode()}


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict):
        return base64.b64decode(value["base64"])
    return tuple(map(_unpacked, value)) if isinstance(value, list) else value


# ---- from settings


def read(settings: Settings, ticket_keys: Sequence[bytes] = (), hooked: bool = False) -> Material:
    """What `certfile` and the other settings of TLS name.

    Arguments:
        ticket_keys: those in use; without any, one is made.
        hooked: a hook makes the contexts, and may know the password of an encrypted key.

    Raises:
        ConfigError: a file is missing, cannot be read, is no PEM; a key is encrypted and there is no password, or a
            wrong one; certificate and key do not belong together; there is no `certfile`; other settings do not fit.
    """
    if not settings.certfile:
        raise ConfigError("certfile: there is no certificate; give certfile")
    password = _password(settings)
    pairs = tuple(_pair(certfile, keyfile, password, hooked) for certfile, keyfile in places(settings))
    return _checked(
        pairs, settings.ca_certs, settings.cert_reqs, settings.ciphers, settings.tls_min,
        tuple(ticket_keys) or (new_key(),),
    )  # fmt: skip


def none_missing(settings: Settings, pairs: Sequence[Pair], used: Sequence[Pair]) -> None:
    """That no pair in use has been passed over in a directory because its file is empty, or its key away: it may be
    for a moment only. One whose file has gone is not missing.

    Arguments:
        pairs: what has just been read.
        used: what is in use.

    Raises:
        ConfigError: one is.
    """
    there = {pair.certfile for pair in pairs}
    for pair in used:
        path = pair.certfile
        if path in there or not within(settings, path) or not os.path.lexists(path):
            continue
        _pair(path, next((key for one, key in found(path, None) if one == path), None), _password(settings))
        if any(one == path for one, _ in places(settings)):
            raise ConfigError(f"certfile: {path}: it has changed while it was read")


def read_one(
    certfile: str | os.PathLike[str],
    keyfile: str | os.PathLike[str] | None = None,
    password: str | bytes | None = None,
    ca_certs: str | os.PathLike[str] | None = None,
    cert_reqs: int | str = "none",
    ciphers: str | None = None,
    minimum: str = "1.2",
) -> Material:
    """The same of one certificate, by what `greenhttp.tls.server` takes. Raises ConfigError."""
    try:
        cert_reqs = checked_reqs(parse_word(cert_reqs))
    except ValueError as error:
        raise ConfigError(f"cert_reqs: {error}") from None
    try:
        minimum = checked_minimum(parse_word(minimum))
    except ValueError as error:
        raise ConfigError(f"minimum: {error}") from None
    pairs = list(found(os.fsdecode(certfile), None if keyfile is None else os.fsdecode(keyfile)))
    if len(pairs) > 1:
        raise ConfigError(f"certfile: {certfile}: there are {len(pairs)} certificates in it; give the file of one")
    secret = password.encode() if isinstance(password, str) else password
    pair = _pair(*pairs[0], secret)
    return _checked((pair,), None if ca_certs is None else os.fsdecode(ca_certs), cert_reqs, ciphers, minimum, ())


# ---- what is in them


def _password(settings: Settings) -> bytes | None:
    """Of the keys. Raises ConfigError."""
    given = settings.keyfile_password
    if given is None or not given.startswith("file:"):
        return None if given is None else given.encode("utf-8", "surrogateescape")
    if given == "file:":
        raise ConfigError("keyfile_password: file: has no path behind it; give file:/path")
    lines = content("keyfile_password", given[5:]).splitlines()
    if not lines or not lines[0]:
        raise ConfigError(f"keyfile_password: {given[5:]}: its first line is empty; write the password there")
    return lines[0]


def _pair(certfile: str, keyfile: str | None, password: bytes | None, hooked: bool = False) -> Pair:
    """Certificate and key, if they belong together. Raises ConfigError.

    Arguments:
        hooked: an encrypted key needs no password; nobody knows then whether they do.
    """
    chain = content("certfile", certfile)
    if not CERTIFICATE.search(chain):
        what = _not_pem(chain, "a PEM certificate")
        if KEY.search(chain):
            what = "a private key without a certificate; give it as keyfile, and its certificate as certfile"
        raise ConfigError(f"certfile: {certfile}: it is {what}")
    if keyfile is None and not KEY.search(chain):
        names = ", ".join(os.path.basename(place) for place in beside(certfile))
        raise ConfigError(f"certfile: {certfile}: its key is not in it, nor beside it ({names}); give keyfile")
    key = chain if keyfile is None else content("keyfile", keyfile)
    setting, place = ("certfile", certfile) if keyfile is None else ("keyfile", keyfile)
    if not KEY.search(key):
        what = "a certificate, not a key" if CERTIFICATE.search(key) else _not_pem(key, "a private key in PEM")
        raise ConfigError(f"{setting}: {place}: it is {what}")
    pair = Pair(chain, key, password if ENCRYPTED.search(key) else None, certfile, place)
    import _ssl

    try:
        describe(chain)
    except (OSError, ValueError, KeyError) as error:
        said = f"OpenSSL cannot read this certificate{_because(error)}; {_damaged(chain)}"
        raise ConfigError(f"certfile: {certfile}: {said}") from None
    try:
        pair.load(_context())
    except Encrypted:
        if hooked:
            return pair
        raise ConfigError(f"{setting}: {place}: the key is encrypted; give keyfile_password") from None
    except (_ssl.SSLError, ValueError) as error:
        raise ConfigError(_why_not(pair, setting, error)) from None
    return pair


def _context() -> Any:
    """One to try things with. The class below `ssl`'s, which comes after the patch."""
    import _ssl

    return _ssl._SSLContext(_ssl.PROTOCOL_TLS_SERVER)


def _why_not(pair: Pair, setting: str, refused: Exception) -> str:
    """What to say of a pair that OpenSSL refuses. Its reason tells little, and other things in other versions."""
    import _ssl

    reason = _reason(refused)
    if "mismatch" in reason or reason == "no certificate assigned":  # the latter: a key of another kind
        return (
            f"keyfile: {pair.keyfile} is not the key of the first certificate in {pair.certfile}; give the key it was"
            " made with, or put the server's own certificate first"
        )
    if reason.endswith(("too small", "too weak")):
        return f"certfile: {pair.certfile}: OpenSSL refuses it ({reason}); have one made with a longer key, or SHA-256"
    try:
        add_authorities(_context(), pair.chain)
    except (_ssl.SSLError, ValueError) as error:
        return f"certfile: {pair.certfile}: OpenSSL cannot read all its certificates{_because(error)}"
    if pair.password is not None:
        return f"{setting}: {pair.keyfile}: keyfile_password does not decrypt this key; {_corrected(pair.password)}"
    return f"{setting}: {pair.keyfile}: OpenSSL cannot read this key{_because(refused)}; it may be damaged"


def _corrected(password: bytes) -> str:
    """What to do about a wrong password. It is not quoted."""
    if b"/" in password and b"\0" not in password and os.path.isfile(password):
        return "it is the name of a file: write file: before it to have the password read from there"
    return "correct the password"


def _reason(error: Exception) -> str:
    """OpenSSL's own word, in small letters, if there is one. The text of an error names a line of CPython's."""
    return str(getattr(error, "reason", None) or "").replace("_", " ").lower()


def _because(error: Exception) -> str:
    reason = _reason(error)
    return f" ({reason})" if reason else ""


def _damaged(data: bytes) -> str:
    if data.startswith(b"\xef\xbb\xbf"):
        return "it may be damaged, or save it without the byte order mark"  # newer ones than 1.1.1 pass over that
    return "it may be damaged, or cut off"


def _not_pem(data: bytes, wanted: str) -> str:
    if not data.strip():
        return "empty"
    if data[:1] == b"\x30" and (data[1:2] in (b"\x81", b"\x82") or data[1:2] == bytes([len(data) - 2 & 255])):
        return (
            f"not {wanted} but in binary form (DER or PKCS #12); convert it with openssl x509 -inform der, openssl pkey"
            " -inform der, or openssl pkcs12 -nodes"
        )
    return f"not {wanted}"


def authorities(path: str) -> bytes:
    """The PEM text of those in a file. Raises ConfigError."""
    import _ssl

    data = content("ca_certs", path)
    if not CERTIFICATE.search(data):
        raise ConfigError(f"ca_certs: {path}: it is {_not_pem(data, 'a PEM file of certificates')}")
    try:
        add_authorities(_context(), data)
    except (_ssl.SSLError, ValueError) as error:
        raise ConfigError(f"ca_certs: {path}: OpenSSL cannot read this file{_because(error)}") from None
    return data


def add_authorities(context: Any, data: bytes) -> None:
    """Have a context trust these. Raises `ssl.SSLError`."""
    context.load_verify_locations(None, None, data.decode("ascii", "ignore"))


def _checked(
    pairs: tuple[Pair, ...],
    ca_certs: str | None,
    cert_reqs: str,
    ciphers: str | None,
    minimum: str,
    ticket_keys: tuple[bytes, ...],
) -> Material:
    known = b"" if ca_certs is None else authorities(ca_certs)
    return _with(Material(pairs, known, ticket_keys=ticket_keys), cert_reqs, ciphers, minimum)


def adapted(material: Material, settings: Settings) -> Material:
    """The same certificates and authorities, with what else these settings say. Raises ConfigError."""
    return _with(material, settings.cert_reqs, settings.ciphers, settings.tls_min)


def _with(material: Material, cert_reqs: str, ciphers: str | None, minimum: str) -> Material:
    import _ssl

    if cert_reqs != "none" and not material.authorities:
        raise ConfigError(
            f"cert_reqs: {cert_reqs} needs the authorities that clients' certificates come from; give ca_certs"
        )
    try:
        _context().set_ciphers(ciphers or CIPHERS)
    except _ssl.SSLError:
        hint = "; those of TLS 1.3 cannot be set" if str(ciphers).startswith("TLS_") else ""
        raise ConfigError(
            f"ciphers: {ciphers!r} has none that OpenSSL knows{hint}; give some like ECDHE+AESGCM, or leave it out"
        ) from None
    return replace(material, cert_reqs=cert_reqs, ciphers=ciphers or CIPHERS, minimum=minimum)
