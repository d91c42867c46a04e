"""The values of a WebSocket's opening handshake: RFC 6455 section 4, and permessage-deflate's parameters, RFC 7692.

A field that does not follow its grammar raises WireError(400). An offer of permessage-deflate with a parameter that is
unknown, comes twice or has a bad value is only passed over: the next one counts (RFC 7692 7.1).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from greenhttp.errors import WireError

__all__ = [
    "VERSION", "Deflate", "accept_key", "agreed", "choose_protocol", "extensions", "negotiate", "tokens", "valid_key",
]  # fmt: skip

VERSION = "13"
WIDEST = 15  # bits of deflate's window; 8 is the least that can be agreed upon, zlib compresses with 9 at least
TAKEOVER_WINDOW = 12  # bits where each socket has windows of its own: see wire/deflate.pyx for what they cost

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PART = re.compile(rf'[ \t]*(?:({_TOKEN})|"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*)"|([,;=]))')
_BITS = re.compile("[89]|1[0-5]")


class Deflate(NamedTuple):
    """What is agreed upon for permessage-deflate, as one end sees it.

    Attributes:
        out_bits, in_bits: the windows, of what is sent and of what comes: 8 to 15.
        out_takeover, in_takeover: whether a message may refer to those before it.
    """

    out_bits: int = WIDEST
    in_bits: int = WIDEST
    out_takeover: bool = False
    in_takeover: bool = False


def accept_key(key: str) -> str:
    """The value of Sec-WebSocket-Accept for a Sec-WebSocket-Key (4.2.2)."""
    digest = hashlib.sha1(key.encode("ascii") + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode("ascii")


def valid_key(key: str) -> bool:
    """Whether a Sec-WebSocket-Key is 16 bytes in base64 (4.2.1)."""
    return _KEY.fullmatch(key) is not None


def tokens(value: str) -> list[str]:
    """The elements of Sec-WebSocket-Protocol (4.1, 11.3.4): tokens, each once. Empty elements do not count."""
    found = [token for part in value.split(",") if (token := part.strip(" \t"))]
    if not all(re.fullmatch(_TOKEN, token) for token in found):
        raise WireError(400, "a sub-protocol that is no token")
    if len(set(found)) < len(found):
        raise WireError(400, "a sub-protocol that is offered twice")
    return found


def choose_protocol(offered: Iterable[str], supported: Sequence[str]) -> str | None:
    """The first sub-protocol that the application supports and the client has offered; None: there is none."""
    offered = set(offered)
    return next((name for name in supported if name in offered), None)


def extensions(value: str) -> list[tuple[str, list[tuple[str, str | None]]]]:
    """The elements of Sec-WebSocket-Extensions (9.1): a name and its parameters each, in order.

    A quoted value is the token that is quoted; it may be nothing else.
    """
    found: list[tuple[str, list[tuple[str, str | None]]]] = []
    wanted = "extension or end"  # what may come next
    at, end = 0, len(value.rstrip(" \t"))
    while at < end:
        part = _PART.match(value, at, end)
        if part is None:
            raise _malformed()
        at = part.end()
        token, quoted, mark = part.groups()
        if mark == "," and wanted in ("extension or end", "mark", "mark or value"):
            wanted = "extension or end"
        elif mark == ";" and wanted in ("mark", "mark or value"):
            wanted = "parameter"
        elif mark == "=" and wanted == "mark or value":
            wanted = "value"
        elif token is not None and wanted == "extension or end":
            found.append((token, []))
            wanted = "mark"
        elif token is not None and wanted == "parameter":
            found[-1][1].append((token, None))
            wanted = "mark or value"
        elif wanted == "value" and mark is None:
            if token is None:
                token = re.sub(r"\\(.)", r"\1", quoted)
                if not re.fullmatch(_TOKEN, token):
                    raise _malformed()
            found[-1][1][-1] = (found[-1][1][-1][0], token)
            wanted = "mark"
        else:
            raise _malformed()
    if wanted not in ("extension or end", "mark", "mark or value"):
        raise _malformed()
    return found


def _malformed() -> WireError:
    return WireError(400, "a malformed Sec-WebSocket-Extensions")


def negotiate(value: str, mode: str) -> tuple[str | None, Deflate | None]:
    """The first offer of permessage-deflate that can be accepted.

    Arguments:
        value: Sec-WebSocket-Extensions of the request; "" without one.
        mode: "off", "shared" (no message refers to another one) or "takeover".

    Returns the value of Sec-WebSocket-Extensions to answer with, and what is agreed upon as the server sees it; or
    None twice. Raises WireError for a malformed field.
    """
    for name, parameters in extensions(value):
        if mode == "off" or name != "permessage-deflate":
            continue
        offer = _parameters(parameters, no_value_for="client_max_window_bits")
        if offer is None or offer.get("server_max_window_bits") == 8:  # zlib has no raw deflate with 8
            continue
        answer = ["permessage-deflate"]
        own = WIDEST if mode == "shared" else TAKEOVER_WINDOW
        out_bits, in_bits = min(offer.get("server_max_window_bits", WIDEST), own), WIDEST
        out_takeover = mode == "takeover" and "server_no_context_takeover" not in offer
        in_takeover = mode == "takeover" and "client_no_context_takeover" not in offer
        if not out_takeover:
            answer.append("server_no_context_takeover")
        if not in_takeover:
            answer.append("client_no_context_takeover")
        if "server_max_window_bits" in offer:
            answer.append(f"server_max_window_bits={out_bits}")
        if in_takeover and "client_max_window_bits" in offer:
            in_bits = min(offer["client_max_window_bits"], own)
            answer.append(f"client_max_window_bits={in_bits}")
        return "; ".join(answer), Deflate(out_bits, in_bits, out_takeover, in_takeover)
    return None, None


def agreed(value: str) -> Deflate | None:
    """What a server's answer agrees to, as the client sees it that has offered all four parameters; "": nothing.

    Raises WireError for an answer that such a client has to refuse (7.1).
    """
    found = extensions(value)
    if not found:
        return None
    (name, parameters), *others = found
    answer = _parameters(parameters, no_value_for="") if name == "permessage-deflate" and not others else None
    if answer is None or answer.get("client_max_window_bits") == 8:
        raise WireError(400, "an extension that was not offered")
    return Deflate(
        answer.get("client_max_window_bits", WIDEST), answer.get("server_max_window_bits", WIDEST),
        "client_no_context_takeover" not in answer, "server_no_context_takeover" not in answer,
    )  # fmt: skip


def _parameters(parameters: list[tuple[str, str | None]], no_value_for: str) -> dict[str, int] | None:
    """The parameters of an offer or an answer; None: it has to be declined."""
    found: dict[str, int] = {}
    for name, value in parameters:
        if name in found:
            return None
        if name in ("server_no_context_takeover", "client_no_context_takeover") and value is None:
            found[name] = 1
        elif name == no_value_for and value is None:
            found[name] = WIDEST
        elif name in ("server_max_window_bits", "client_max_window_bits") and value and _BITS.fullmatch(value):
            found[name] = int(value)
        else:
            return None
    return found
