"""What was agreed on in TLS for one connection, as applications see it: `request.tls` and `stream.tls`.

A copy, which holds neither the connection nor OpenSSL's objects. It is the same whether TLS ends here, or at a proxy
that tells of it with the PROXY protocol.
"""

from typing import Any, NamedTuple

from greenhttp.tls.peer import PeerCertificate


class TLSInfo(NamedTuple):
    """TLS of one connection.

    Attributes:
        version: "TLSv1.3" or "TLSv1.2".
        cipher: the cipher suite, like "TLS_AES_256_GCM_SHA384".
        bits: of its key; None: not known.
        server_name: the host that the client asked for (SNI, RFC 6066 3), or None. The client's word.
        alpn: the protocol that was agreed on (RFC 7301), "http/1.1"; None: the client has not asked, or offers others.
        resumed: whether an earlier session was resumed; None: not known.
        certificate: the peer's, a PeerCertificate; None: it has shown none, or a proxy has it.
        proxied: whether TLS ends at a proxy, which has told all of this (`proxy_protocol`). What it does not tell is
            None.
    """

    version: str | None
    cipher: str | None
    bits: int | None
    server_name: str | None
    alpn: str | None
    resumed: bool | None
    certificate: PeerCertificate | None
    proxied: bool = False

    @property
    def verified(self) -> bool:
        """Whether the peer has shown a certificate, and it was verified here."""
        return self.certificate is not None and self.certificate.verified


def agreed(layer: Any, proxied: Any = None) -> TLSInfo | None:
    """Of a connection; None: it is a plain one.

    Arguments:
        layer: TLS that ends here, a green.layer.Layer after its handshake; None without. It counts, whatever a proxy
            has told.
        proxied: a wire.proxy.Proxied, or None.
    """
    if layer is not None:
        cipher, bits = layer.cipher or (None, None)
        der = layer.certificate
        certificate = None if der is None else PeerCertificate(der, bool(layer.verified))
        return TLSInfo(layer.version, cipher, bits, _name(layer.server_name), layer.alpn, layer.resumed, certificate)
    if proxied is None or proxied.tls is None:
        return None
    told = proxied.tls
    alpn = None if proxied.alpn is None else proxied.alpn.decode("latin-1")
    return TLSInfo(told.version, told.cipher, None, _name(proxied.authority), alpn, None, None, True)


def _name(text: str | None) -> str | None:
    """A name without what no host's name has: it may go into a log, or an environ."""
    return text if text and all("!" <= letter <= "~" for letter in text) else None
