"""TLS in an environ, by the names that Apache's mod_ssl has for it, which applications and frameworks know."""

from typing import Any

from greenhttp.tls.agreed import TLSInfo
from greenhttp.tls.peer import PeerCertificate


def variables(info: TLSInfo, told: Any = None) -> dict[str, Any]:
    """What an environ says of TLS.

    Arguments:
        told: where `info` is from a proxy: what that says, a wire.proxy.ProxiedTLS.

    Each value is a str as PEP 3333 wants it, but for `greenhttp.tls`: `info` itself.
    """
    resumed = None if info.resumed is None else "Resumed" if info.resumed else "Initial"
    known = {
        "HTTPS": "on",
        "SSL_PROTOCOL": info.version,
        "SSL_CIPHER": info.cipher,
        "SSL_CIPHER_USEKEYSIZE": None if info.bits is None else str(info.bits),
        "SSL_SESSION_RESUMED": resumed,
        "SSL_TLS_SNI": info.server_name,
        "SSL_CLIENT_VERIFY": "NONE",
    }
    if info.certificate is not None:
        known["SSL_CLIENT_VERIFY"] = "SUCCESS" if info.certificate.verified else "GENEROUS"
        known["SSL_CLIENT_CERT"] = info.certificate.pem
        known.update(_said(info.certificate))
    elif info.proxied and told is not None:
        if told.verified:
            known["SSL_CLIENT_VERIFY"] = "SUCCESS"
            known["SSL_CLIENT_S_DN_CN"] = _native(told.common_name)
        elif told.common_name is not None:
            known["SSL_CLIENT_VERIFY"] = f"FAILED:{told.verify}"
    return {"greenhttp.tls": info, **{name: value for name, value in known.items() if value is not None}}


def _said(certificate: PeerCertificate) -> dict[str, str | None]:
    try:
        begins, ends = certificate.validity
        return {
            "SSL_CLIENT_S_DN": certificate.subject,
            "SSL_CLIENT_S_DN_CN": _native(certificate.common_name),
            "SSL_CLIENT_I_DN": certificate.issuer,
            "SSL_CLIENT_M_SERIAL": certificate.serial,
            "SSL_CLIENT_V_START": begins,
            "SSL_CLIENT_V_END": ends,
        }
    except (KeyError, ValueError):
        return {}


def _native(text: str | None) -> str | None:
    """Its bytes in UTF-8, each one character (PEP 3333)."""
    return None if text is None else text.encode("utf-8", "surrogateescape").decode("latin-1")
