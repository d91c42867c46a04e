"""What the two ends of an encrypted connection have agreed on, as a value: `stream.tls`. That of requests has the same
names, and a certificate that is decoded when it is asked (tls.agreed).

A layer has the same attributes, and ends with its connection; a value stays.
"""

from typing import Any, NamedTuple


class TLS(NamedTuple):
    """How a connection is encrypted.

    Attributes:
        version: "TLSv1.3" or "TLSv1.2".
        cipher: name of the cipher suite.
        bits: of its key.
        server_name: the host that the client has asked for (SNI, RFC 6066 3), or None.
        alpn: the protocol that was agreed on (RFC 7301), or None.
        resumed: whether an earlier session was resumed, without certificates being shown anew.
        certificate: the peer's certificate in DER, or None. `ssl.DER_cert_to_PEM_cert` makes PEM of it.
        verified: whether that certificate was verified.
    """

    version: str
    cipher: str
    bits: int
    server_name: str | None
    alpn: str | None
    resumed: bool
    certificate: bytes | None
    verified: bool

    def __repr__(self) -> str:
        named = "" if self.server_name is None else f" for {self.server_name}"
        return f"<TLS {self.version} {self.cipher}{named}>"


def agreed(layer: Any) -> TLS:
    """What a layer whose handshake is over has agreed on."""
    cipher, bits = layer.cipher or ("", 0)
    return TLS(
        layer.version, cipher, bits, layer.server_name, layer.alpn, bool(layer.resumed), layer.certificate,
        bool(layer.verified),
    )  # fmt: skip
