"""The certificate that a peer has shown, as applications see it. What they do not ask for is not decoded.

Names are written as Apache's mod_ssl writes them (SSL_CLIENT_S_DN), so that what was compared there can be compared
here: RFC 4514, the most specific part first, all but printable ASCII escaped.
"""

from datetime import datetime, timezone
from functools import lru_cache
from typing import Any

from greenhttp.tls.pem import as_file

_SPECIAL = frozenset(',+"\\<>;')  # RFC 4514 2.4
_DECODED = 64  # certificates whose decoded form is remembered: a client shows its own on each connection


class PeerCertificate:
    """A certificate. Two are equal if their bytes are, and both or neither were verified.

    Arguments:
        der: the certificate in DER.
        verified: see below.

    Attributes:
        der: the certificate in DER.
        verified: whether it was verified against `ca_certs`; if not, whatever it says may be invented.

    All but these raise ValueError if OpenSSL cannot read the certificate.
    """

    __slots__ = ("der", "verified")

    def __init__(self, der: bytes, verified: bool) -> None:
        self.der = der
        self.verified = verified

    def __repr__(self) -> str:
        return f"<PeerCertificate {self.subject!r}{'' if self.verified else ' not verified'}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PeerCertificate):
            return NotImplemented
        return self.der == other.der and self.verified == other.verified

    def __hash__(self) -> int:
        return hash((self.der, self.verified))

    @property
    def pem(self) -> str:
        """The certificate in PEM."""
        import ssl

        return ssl.DER_cert_to_PEM_cert(self.der)

    @property
    def subject(self) -> str:
        """Whose it is, like `CN=alice,O=Example,C=DE` (RFC 4514)."""
        return _written(self._told("subject"))

    @property
    def issuer(self) -> str:
        """Who has issued it, in the same form."""
        return _written(self._told("issuer"))

    @property
    def common_name(self) -> str | None:
        """The last common name in its subject; None without one."""
        found = [text for part in self._told("subject") for key, text in part if key == "commonName"]
        return found[-1] if found else None

    @property
    def serial(self) -> str:
        """Its serial number in hexadecimal digits, `0A1B`; unique for an issuer."""
        return str(_decoded(self.der)["serialNumber"])

    @property
    def not_before(self) -> datetime:
        """Since when it is valid, in UTC."""
        return _moment(self.validity[0])

    @property
    def not_after(self) -> datetime:
        """Until when it is valid, in UTC."""
        return _moment(self.validity[1])

    @property
    def validity(self) -> tuple[str, str]:
        """Since when and until when it is valid, as OpenSSL writes it: `Jan  5 09:34:43 2026 GMT`."""
        told = _decoded(self.der)
        return told["notBefore"], told["notAfter"]

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        """Its alternative names, each with its kind, like ("DNS", "a.example"), ("email", "a@b.example"), ("URI",
        "spiffe://b.example/a"); as `ssl` has them in subjectAltName."""
        return tuple((kind, text) for kind, text in self._told("subjectAltName") if isinstance(text, str))

    def _told(self, key: str) -> Any:
        return _decoded(self.der).get(key, ())


@lru_cache(maxsize=_DECODED)
def _decoded(der: bytes) -> dict[str, Any]:
    """What a certificate says, in the form of `ssl`'s getpeercert."""
    import _ssl
    import ssl

    with as_file(ssl.DER_cert_to_PEM_cert(der).encode("ascii")) as path:
        try:
            told: dict[str, Any] = _ssl._test_decode_cert(path)  # type: ignore[attr-defined]
        except (ssl.SSLError, ValueError) as error:
            raise ValueError(f"OpenSSL cannot read this certificate ({error})") from None
    return told


def _moment(text: str) -> datetime:
    import ssl

    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), timezone.utc)


def _written(name: Any) -> str:
    return ",".join(
        "+".join(f"{_short(key)}={_escaped(text)}" for key, text in reversed(part)) for part in reversed(name)
    )


@lru_cache(maxsize=256)
def _short(key: str) -> str:
    """OpenSSL's short name for an attribute: CN, O, C; a number where it knows none."""
    import _ssl

    try:
        return str(_ssl.txt2obj(key, True)[1])
    except ValueError:
        return key


def _escaped(text: str) -> str:
    last = len(text) - 1
    return "".join(
        f"\\{letter}"
        if letter in _SPECIAL or (letter == " " and at in (0, last)) or (letter == "#" and at == 0)
        else letter
        if " " <= letter <= "~"
        else "".join(f"\\{byte:02X}" for byte in letter.encode("utf-8", "surrogateescape"))
        for at, letter in enumerate(text)
    )
