"""Which files the settings of TLS name, and what is in them.

A directory stands for the pairs in it, by name: fullchain.pem with privkey.pem, as certbot has them in live/NAME; else
NAME.crt, NAME.pem or NAME.cert with NAME.key or NAME-key.pem, or with the key in it. A certificate without a key, like
that of an authority, is passed over; so is what begins with a dot. Directories in it are looked into too, no deeper.
"""

import os
import stat
from collections.abc import Iterator

from greenhttp.errors import ConfigError
from greenhttp.settings.kinds import refuse_pem
from greenhttp.settings.values import Settings
from greenhttp.tls.pem import CERTIFICATE, KEY

LARGEST = 1 << 20  # bytes of a file. A bundle of all public authorities has a quarter of that

_ENDINGS = (".crt", ".pem", ".cert", ".cer")
_CHAIN, _KEY = "fullchain.pem", "privkey.pem"  # certbot's; cert.pem and chain.pem beside them are parts of the first
_CERTBOTS = (_CHAIN, "cert.pem", "chain.pem", _KEY)
_OTHERS = {_CHAIN: (_KEY,), "cert.pem": (_KEY, "key.pem")}  # keys that are not called like their certificates


class Unreadable(ConfigError):
    """This user may not read a file; the one that has started the server could, perhaps."""


def looked_at(settings: Settings) -> tuple[tuple[object, ...], ...]:
    """Each file and directory that the settings name, links followed: name, time of change, size, number.

    It differs when what `material.read` depends on has changed.
    """
    paths: list[str] = []
    for path in settings.certfile:
        paths.append(path)
        inside = _inside(path)
        paths.extend(inside)
        for directory in inside:
            paths.extend(_inside(directory))
        if not inside:
            paths.extend(beside(path))
    paths.extend(settings.keyfile)
    if settings.ca_certs is not None:
        paths.append(settings.ca_certs)
    if settings.keyfile_password is not None and settings.keyfile_password.startswith("file:"):
        paths.append(settings.keyfile_password[5:])
    return tuple(_state(path) for path in paths)


def _state(path: str) -> tuple[object, ...]:
    try:
        status = os.stat(path)
    except OSError as error:
        return path, error.errno
    return path, status.st_mtime_ns, status.st_size, status.st_ino


def places(settings: Settings) -> list[tuple[str, str | None]]:
    """The files of each pair; None: the key is in the certificate's file."""
    files = [path for path in settings.certfile if not os.path.isdir(path)]
    keys = settings.keyfile
    if keys and settings.certfile and not files:
        raise ConfigError(_no_key_for(settings.certfile[0]))
    if keys and len(keys) != len(files):
        raise ConfigError(
            f"keyfile: {len(keys)} for {len(files)} of certfile; give one for each file, in the same order, or none if"
            " they are beside them"
        )
    given = iter(keys)
    return [
        place for path in settings.certfile for place in found(path, None if os.path.isdir(path) else next(given, None))
    ]


def within(settings: Settings, path: str) -> bool:
    """Whether the file of a certificate is one that the settings name, or in a directory that they do."""
    return any(path == given or path.startswith(os.path.join(given, "")) for given in settings.certfile)


def found(path: str, keyfile: str | None) -> Iterator[tuple[str, str | None]]:
    """The files of the pairs that a certfile stands for."""
    if not os.path.isdir(path):
        yield path, keyfile if keyfile is not None else _key_of(path)
        return
    if keyfile is not None:
        raise ConfigError(_no_key_for(path))
    pairs = list(_in_directory(path, deeper=True))
    if not pairs:
        raise ConfigError(
            f"certfile: {path}: there is no certificate with a key in this directory; it needs NAME.crt or NAME.pem"
            f" with NAME.key, or {_CHAIN} with {_KEY}"
        )
    yield from pairs


def _no_key_for(directory: str) -> str:
    return f"keyfile: {directory} is a directory, whose keys are beside the certificates; leave out keyfile"


def _in_directory(directory: str, deeper: bool) -> Iterator[tuple[str, str | None]]:
    names = [os.path.basename(path) for path in _inside(directory, strict=True)]
    if _CHAIN in names:
        path = os.path.join(directory, _CHAIN)
        if _KEY not in names and not _has_key(path):
            raise ConfigError(f"certfile: {path}: its key is missing; {_KEY} must be beside it")
        yield path, os.path.join(directory, _KEY) if _KEY in names else None
        names = [name for name in names if name not in _CERTBOTS]
    for name in names:
        path = os.path.join(directory, name)
        if os.path.isdir(path):
            if deeper:
                yield from _in_directory(path, deeper=False)
        elif name.endswith(_ENDINGS) and _is_certificate(path):
            key = _key_of(path)
            if key is not None or _has_key(path):
                yield path, key


def _inside(directory: str, strict: bool = False) -> list[str]:
    """Sorted paths of what is in a directory, hidden files left out; [] if it is none."""
    try:
        names = os.listdir(directory)
    except NotADirectoryError:
        return []
    except OSError as error:
        if strict:
            said = f"certfile: {directory}: cannot read this directory ({error.strerror})"
            if isinstance(error, PermissionError):
                raise Unreadable(f"{said}; {_allowed()}") from None
            raise ConfigError(said) from None
        return []
    return [os.path.join(directory, name) for name in sorted(names) if not name.startswith(".")]


def _key_of(path: str) -> str | None:
    """The file of the key of this certificate's file; None: it is in it, or nowhere."""
    if _has_key(path):
        return None
    return next((place for place in beside(path) if os.path.exists(place)), None)


def beside(path: str) -> list[str]:
    """Where a key may be, beside the certificate's file."""
    directory, name = os.path.split(path)
    stem = os.path.splitext(name)[0]
    names = [*_OTHERS.get(name, ()), f"{stem}.key", f"{stem}-key.pem", f"{name}.key"]
    return [os.path.join(directory, name) for name in names]


def _has_key(path: str) -> bool:
    try:
        return KEY.search(content("certfile", path)) is not None
    except ConfigError:
        return False


def _is_certificate(path: str) -> bool:
    """Whether there is one in it; what cannot be read counts, so that it is told."""
    try:
        return CERTIFICATE.search(content("certfile", path)) is not None
    except ConfigError:
        return True


def content(setting: str, path: str) -> bytes:
    """Of a file. Raises ConfigError in the name of the setting."""
    try:
        refuse_pem(path.replace(",", ""))
    except ValueError as error:
        raise ConfigError(f"{setting}: {error}") from None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigError(f"{setting}: {path} is not a file")
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(LARGEST + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise ConfigError(f"{setting}: {path}: there is no such file{_stale(path)}") from None
    except PermissionError as error:
        raise Unreadable(f"{setting}: {path}: cannot read it ({error.strerror}); {_allowed()}") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{setting}: {path}: cannot read it ({why})") from None
    if len(data) > LARGEST:
        raise ConfigError(f"{setting}: {path} is larger than 1 MiB; it should be a PEM file")
    return data


def _allowed() -> str:
    return f"let user {os.geteuid()} read it, or start as root with --user and --workers"


def _stale(path: str) -> str:
    return ", but a link to one that is gone" if os.path.islink(path) else ""


