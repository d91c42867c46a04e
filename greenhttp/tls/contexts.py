"""Material -> an `ssl.SSLContext` for each certificate, which make the Certificates of a server (green.tls).

For who serves: `ssl` must come after the patch, so a master leaves this module alone.
"""

import _ssl
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias, cast

from greenhttp.errors import ConfigError
from greenhttp.tls.described import describe
from greenhttp.tls.material import Material, add_authorities
from greenhttp.tls.pem import Pair

ContextHook: TypeAlias = Callable[[Callable[[], ssl.SSLContext]], ssl.SSLContext]

PRIORITIZE_CHACHA = 1 << 21  # SSL_OP_PRIORITIZE_CHACHA: a client that prefers it has no instructions for AES
HTTP = ("http/1.1",)  # for ALPN

_VERIFY = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
_MINIMUM = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class Kept:
    """What was made for the last material. A context takes a millisecond: of many pairs one is renewed, as a rule."""

    def __init__(self) -> None:
        self.names: dict[bytes, tuple[str, ...]] = {}  # of a chain
        self.contexts: dict[object, ssl.SSLContext] = {}  # of all that a context is made of


def named_contexts(
    material: Material,
    context_hook: ContextHook | None = None,
    alpn: Sequence[str] = HTTP,
    kept: Kept | None = None,
    pause: Callable[[], object] | None = None,
) -> Iterator[tuple[tuple[str, ...], ssl.SSLContext]]:
    """Each context with the names it is for; the one of the first pair is the default. Certificates for the same names
    share one.

    Arguments:
        context_hook: gunicorn's `ssl_context(config, default_factory)` with its config in place, so that it takes the
            factory alone; its context is used instead of that of the factory.
        alpn: protocols to agree on, the preferred one first; empty: none.
        kept: contexts to use again where nothing of them has changed, and how they are remembered. A hook is asked for
            each all the same: who knows what else it goes by.
        pause: called after each piece of work that takes a while.

    Raises ConfigError if the hook returns no context for a server.

    Of one name there may be an RSA and an ECDSA certificate: OpenSSL then gives each client what it can verify.
    """
    last, fresh = kept or Kept(), Kept()
    groups: dict[tuple[str, ...], list[Pair]] = {}
    for pair in material.pairs:
        names = last.names.get(pair.chain)
        if names is None:
            names = tuple(sorted(describe(pair.chain).names))
            if pause is not None:
                pause()
        fresh.names[pair.chain] = names
        groups.setdefault(names, []).append(pair)
    rest = replace(material, pairs=(), ticket_keys=())  # keys of tickets are no part of a context here
    for names, pairs in groups.items():
        key = (tuple((pair.chain, pair.key, pair.password) for pair in pairs), rest, tuple(alpn))
        found = last.contexts.get(key) if context_hook is None else None
        if found is None:
            found = _hooked(material, pairs, context_hook, alpn)
            if pause is not None:
                pause()
        if context_hook is None:
            fresh.contexts[key] = found
        yield names, found
    if kept is not None:
        kept.names, kept.contexts = fresh.names, fresh.contexts


def _hooked(
    material: Material, pairs: Sequence[Pair], hook: ContextHook | None, alpn: Sequence[str]
) -> ssl.SSLContext:
    def factory() -> ssl.SSLContext:
        return context(material, pairs, alpn)

    if hook is None:
        return factory()
    return checked(hook(factory), "ssl_context returned {}")


def checked(made: object, said: str) -> ssl.SSLContext:
    """A context that a server can use, which somebody else has made. Raises ConfigError.

    Arguments:
        said: for messages, with a place for what it is.
    """
    if not isinstance(made, _ssl._SSLContext):  # what ssl has may have been patched since
        raise ConfigError(f"{said.format(type(made).__name__)}; an ssl.SSLContext is needed")
    if made.protocol == ssl.PROTOCOL_TLS_CLIENT:
        raise ConfigError(f"{said.format('a context for clients')}; make it with ssl.PROTOCOL_TLS_SERVER")
    return cast("ssl.SSLContext", made)


def context(material: Material, pairs: Sequence[Pair] = (), alpn: Sequence[str] = HTTP) -> ssl.SSLContext:
    """A context for the server's side.

    Arguments:
        pairs: certificates of this context; empty: all of the material's.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # it compresses nothing, and its own order of suites counts
    made.minimum_version = _MINIMUM[material.minimum]
    made.options |= ssl.OP_NO_RENEGOTIATION | PRIORITIZE_CHACHA
    made.set_ciphers(material.ciphers)
    if alpn:
        made.set_alpn_protocols(list(alpn))
    for pair in reversed(pairs or material.pairs):  # the last of a kind of key counts, and it is the first that shall
        pair.load(made)
    if material.authorities:
        add_authorities(made, material.authorities)
    made.verify_mode = _VERIFY[material.cert_reqs]
    return made


def client(authorities: bytes | None, pair: Pair | None) -> ssl.SSLContext:
    """A context for the client's side; without authorities it trusts those of the system."""
    made = ssl.create_default_context(cadata=None if authorities is None else authorities.decode("ascii", "ignore"))
    made.options |= ssl.OP_NO_RENEGOTIATION
    if pair is not None:
        pair.load(made)
    return made
