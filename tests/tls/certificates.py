"""Certificates for tests, made when they are asked for: an authority, and what it has issued.

    pair = certificates.leaf("shop.example")            P-256; .certfile() and .keyfile() write it, .both() together
    certificates.leaf("*.shop.example", key="rsa")      "rsa", "ed25519"
    certificates.expired("shop.example"), client("alice")
    certificates.CA.authorities()                       PEM of the authority, which a client is to trust

Nothing is written unless a file is asked for; keys are made once for each call, P-256 in less than a millisecond.
"""

import datetime
import functools
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

trustme = pytest.importorskip("trustme")

from cryptography import x509  # noqa: E402  trustme depends on it
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: E402

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Leaf:
    """A certificate with its key, as PEM.

    Attributes:
        chain: the certificate, then the intermediate ones.
        key: its private key.
        authority: PEM of the authority that has issued it.
    """

    chain: bytes
    key: bytes
    authority: bytes

    def write(self, directory: Path, name: str = "server") -> tuple[str, str]:
        """Its files NAME.pem and NAME.key."""
        return put(directory / f"{name}.pem", self.chain), put(directory / f"{name}.key", self.key)

    def both(self, path: Path) -> str:
        """One file with both."""
        return put(path, self.key + self.chain)

    def encrypted(self, password: bytes = b"sesame") -> "Leaf":
        """The same with an encrypted key."""
        key = serialization.load_pem_private_key(self.key, None)
        return Leaf(self.chain, _pem_of(key, serialization.BestAvailableEncryption(password)), self.authority)


def put(path: Path, data: bytes) -> str:
    """Write a file that others may not read, in the place of what is there already: no reader sees a half."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.touch(mode=0o600)
    fresh.write_bytes(data)
    fresh.replace(path)
    return str(path)


class Authority:
    """One that issues certificates; with a parent it is an intermediate one."""

    def __init__(self, parent: "Authority | None" = None) -> None:
        self.ca = trustme.CA() if parent is None else parent.ca.create_child_ca()
        self.root = self if parent is None else parent.root

    def authorities(self) -> bytes:
        """PEM for who is to trust it."""
        return bytes(self.root.ca.cert_pem.bytes())

    def leaf(
        self, *names: str, key: str = "p256", days: float = 90, began: float = 1, common: str | None = None
    ) -> Leaf:
        """A certificate for these host names and IP addresses.

        Arguments:
            key: "p256", "p384", "rsa" or "ed25519".
            days: how long it is valid from now on; negative: since when it no longer is.
            began: how many days ago it began; negative: it begins so many days from now.
        """
        now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
        begins, ends = now - began * DAY, now + days * DAY
        if key in ("p256", "rsa"):
            kind = trustme.KeyType.ECDSA if key == "p256" else trustme.KeyType.RSA
            made = self.ca.issue_cert(
                *names, common_name=common, not_before=begins, not_after=ends, key_type=kind
            )
            chain = b"".join(blob.bytes() for blob in made.cert_chain_pems)
            return Leaf(chain, made.private_key_pem.bytes(), self.authorities())
        private = ed25519.Ed25519PrivateKey.generate() if key == "ed25519" else ec.generate_private_key(ec.SECP384R1())
        return Leaf(self._signed(private, names, begins, ends, common), _pem_of(private), self.authorities())

    def _signed(self, private: Any, names: Any, begins: Any, ends: Any, common: str | None) -> bytes:
        """By hand, for kinds of keys that trustme has not."""
        parent = x509.load_pem_x509_certificate(self.ca.cert_pem.bytes())
        signer: Any = serialization.load_pem_private_key(self.ca.private_key_pem.bytes(), None)
        subject = [x509.NameAttribute(x509.NameOID.COMMON_NAME, common)] if common else []
        builder = (
            x509.CertificateBuilder().subject_name(x509.Name(subject)).issuer_name(parent.subject)
            .public_key(private.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(begins).not_valid_after(ends)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(parent.public_key()), critical=False)
        )  # fmt: skip
        if names:
            alternatives = x509.SubjectAlternativeName([_general(name) for name in names])
            builder = builder.add_extension(alternatives, critical=not common)
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem_of(key: Any, encryption: Any = None) -> bytes:
    return bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            encryption or serialization.NoEncryption(),
        )
    )


@functools.cache
def authority() -> Authority:
    """The one that has issued all of these; made once in a process."""
    return Authority()


@functools.cache
def other_authority() -> Authority:
    """Another, whom nobody trusts who trusts the first."""
    return Authority()


@functools.cache
def leaf(*names: str, key: str = "p256", days: float = 90) -> Leaf:
    """A server's certificate; the same one for the same arguments. Without names it is for localhost."""
    return authority().leaf(*(names or ("localhost", "127.0.0.1", "::1")), key=key, days=days)


@functools.cache
def intermediate(*names: str) -> Leaf:
    """One that an intermediate authority has issued; its chain has both."""
    return Authority(authority()).leaf(*(names or ("localhost",)))


@functools.cache
def client(name: str = "alice") -> Leaf:
    """A client's certificate, with that as its common name."""
    return authority().leaf(f"{name}@example.com", common=name)


@functools.cache
def expired(*names: str) -> Leaf:
    """A certificate that ended yesterday."""
    return authority().leaf(*(names or ("localhost",)), days=-1, began=30)


def mismatched(directory: Path, name: str = "server", key: str = "p256") -> tuple[str, str]:
    """Files of a certificate and of another one's key."""
    other = authority().leaf("other.example", key=key)
    return Leaf(leaf().chain, other.key, leaf().authority).write(directory, name)


def of_rsa_bits(bits: int) -> Leaf:
    """A self-signed certificate with an RSA key of that size; OpenSSL refuses 512."""
    private = rsa.generate_private_key(65537, bits)
    now = datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "weak.example")])
    chain = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key())
        .serial_number(1).not_valid_before(now - DAY).not_valid_after(now + 90 * DAY).sign(private, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )  # fmt: skip
    return Leaf(chain, _pem_of(private), chain)
