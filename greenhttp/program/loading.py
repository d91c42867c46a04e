"""Finds the application that a text like `shop.web:app` names.

    module                          its `application`, else its `app`
    module:name                     that attribute; the name may be dotted
    module:create("a", debug=True)  a factory, called with these arguments: literals, as gunicorn takes them

Two failures are kept apart, for they have different authors. The name leads nowhere: AppError, one line, with the
nearest name. The application's own code failed: AppImportError, and its `__cause__` carries a traceback that begins in
the application's files.
"""

import ast
import contextlib
import difflib
import importlib
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable, Iterable
from types import ModuleType, TracebackType
from typing import Any, NamedTuple

from greenhttp.errors import AppError
from greenhttp.settings.foreign import ini_line, instead_of_paste
from greenhttp.settings.signatures import signature
from greenhttp.traces import last_line

DEFAULT_NAMES = ("application", "app")
CALL = 'give a call with literals, like module:create("production", workers=2)'
FACTORY_NAMES = (
    "create_app", "make_app", "create_application", "app_factory", "get_app", "factory", "create", "make",
)  # fmt: skip


class AppImportError(AppError):
    """The application's own code raised; `__cause__` is what it raised."""


def look_in(directories: Iterable[str] = ()) -> None:
    """Put these directories, and after them the current one, first on `sys.path`."""
    first = list(dict.fromkeys([*map(os.path.abspath, directories), os.getcwd()]))
    if sys.path[: len(first)] != first:
        sys.path[:0] = first


def load(spec: str, directories: Iterable[str] = ()) -> Callable[..., Any]:
    """The application a text names, looked for in these directories, the current one, and where Python looks.

    Raises:
        AppError: there is no such module or attribute, or it cannot serve; one line.
        AppImportError: importing the module, or the factory, raised.
    """
    if _is_ini(spec):
        raise AppError(f"{spec}: {_instead_of_ini(spec)}")
    module_name, _, attribute = spec.partition(":")
    _check_module_name(spec, module_name)
    name, bracket, _ = attribute.strip().partition("(")
    name = name.rstrip()
    if name and not all(part.isidentifier() for part in name.split(".")):
        raise AppError(f"{spec}: {attribute!r} is not a name; give module:name")
    if ":" in spec and not name:
        raise AppError(f"{spec}: no name after the colon; give module:name, or the module alone")
    given = _arguments(spec, attribute.strip(), name) if bracket else None

    look_in(directories)
    module = _import(spec, module_name)
    found = _attribute(spec, module, name) if name else _default(spec, module)
    if given is not None:
        found = _create(spec, found, name, given)
    return _servable(spec, found)


def as_call(spec: str) -> str:
    """What to give instead if what `spec` names, and `load` has found, is a factory; "" if that has been called."""
    if ":" in spec:
        return "" if "(" in spec else f"{spec.strip()}()"
    return next((f"{spec}:{name}()" for name in DEFAULT_NAMES if hasattr(sys.modules.get(spec), name)), "")


def warm_up(spec: str, call: bool = True) -> None:
    """Find the function `module:name`, and call it without arguments; `load` has said where to look. Raises as that."""
    module_name, _, name = spec.partition(":")
    name = name.strip().removesuffix("()")
    if not name or not all(part.isidentifier() for part in name.split(".")):
        raise AppError(f"warm_up: {spec}: give module:function")
    _check_module_name(spec, module_name)
    found = _attribute(spec, _import(spec, module_name), name)
    if not callable(found):
        raise AppError(f"warm_up: {spec}: {name} is {_a(found)} and cannot be called")
    if call:
        _create(spec, found, name, Given([], {}))


# ---- the module


def _is_ini(spec: str) -> bool:
    """Whether it is the name of an .ini file; a module may be called ini too."""
    path = spec.removeprefix("config:").partition("#")[0]
    return path.endswith(".ini") and (path != spec or os.sep in path or os.path.isfile(path))


def _instead_of_ini(spec: str) -> str:
    """What to do instead, by what is in the file: Paste's where nobody can know."""
    path = spec.removeprefix("config:")
    if said := ini_line(path):
        return said
    if path == spec and os.path.isfile(path):
        return f"{path} is a file name; give module or module:name"
    return instead_of_paste(spec)


def _check_module_name(spec: str, name: str) -> None:
    if not name:
        raise AppError(f"{spec or repr(spec)}: no module; give module or module:name")
    if name.endswith(".toml"):
        raise AppError(f"{spec}: {name} is a file name; give module or module:name, and settings with -c {name}")
    if name.endswith(".py") or "/" in name or os.sep in name:
        directory, file = os.path.split(name)
        module = file.removesuffix(".py")
        chdir = f"--chdir {directory} " if directory else ""
        settings = f"; settings are given with -c {name}" if spec == name and name.endswith(".py") else ""
        call = f"{chdir}{module}{spec[len(name):]}"
        raise AppError(f"{spec}: {name} is a file name; give the module: {call}{settings}")
    if not all(part.isidentifier() for part in name.split(".")):
        raise AppError(f"{spec}: {name!r} is not a module name; give module or module:name")


def _import(spec: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if (name + ".").startswith(missing + ".") and not _own(error.__traceback__):
            raise AppError(f"{spec}: {_not_found(name, missing)}") from None
        raise _failed(spec, f"importing {name} failed", error) from _trimmed(error)
    except SystemExit as error:
        raise AppError(f"{spec}: {name} called sys.exit({error.code!r}) while it was imported") from None
    except Exception as error:
        raise _failed(spec, f"importing {name} failed", error) from _trimmed(error)


def _not_found(name: str, missing: str) -> str:
    parent = missing.rpartition(".")[0]
    if parent and not hasattr(sys.modules.get(parent), "__path__"):
        return f"there is no module {name}: {parent} is a module, not a package; for its attribute give {parent}:name"
    where = list(sys.modules[parent].__path__) if parent else [os.getcwd()]
    siblings: list[str] = []
    with contextlib.suppress(OSError, ImportError):
        siblings = [entry.name for entry in pkgutil.iter_modules(where)]
    place = f"in {parent}" if parent else f"in {os.getcwd()} or where Python looks"
    return f"there is no module {missing} {place}" + _near(missing.rpartition(".")[2], siblings, parent)


def _near(name: str, names: Iterable[str], parent: str = "") -> str:
    near = difflib.get_close_matches(name, [n for n in names if not n.startswith("__")], 1)
    return f"; did you mean {parent + '.' if parent else ''}{near[0]}?" if near else ""


# ---- the attribute


def _attribute(spec: str, module: ModuleType, name: str) -> Any:
    found: Any = module
    path = module.__name__
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise AppError(f"{spec}: {path} has no attribute {part}" + _near(part, dir(found))) from None
        path = f"{path}.{part}"
    return found


def _default(spec: str, module: ModuleType) -> Any:
    for name in DEFAULT_NAMES:
        if hasattr(module, name):
            return getattr(module, name)
    for name in FACTORY_NAMES:
        if callable(getattr(module, name, None)):
            raise AppError(f"{spec}: {module.__name__} has a factory; give {module.__name__}:{name}()")
    raise AppError(
        f"{spec}: {module.__name__} has neither application nor app; give the name: {module.__name__}:NAME"
    )


class Given(NamedTuple):
    """What a factory is called with."""

    positional: list[Any]
    named: dict[str, Any]


def _arguments(spec: str, call: str, name: str) -> Given:
    """The arguments of a call of that name, as it is written in Python."""
    try:
        tree = ast.parse(call, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        why = error.msg if isinstance(error, SyntaxError) else "it is too deep, or has a NUL character"
        raise AppError(f"{spec}: {call} is not a call ({why}); {CALL}") from None
    if not isinstance(tree, ast.Call) or ast.get_source_segment(call, tree.func) != name:
        raise AppError(f"{spec}: {call} is not one call; {CALL}")
    given = Given([], {})
    for argument in (*tree.args, *tree.keywords):
        value = argument.value if isinstance(argument, ast.keyword) else argument
        try:
            literal = ast.literal_eval(value)
        except (ValueError, TypeError, RecursionError, MemoryError):
            written = ast.get_source_segment(call, value)
            raise AppError(f"{spec}: the argument {written} is not a literal; {CALL}") from None
        if not isinstance(argument, ast.keyword):
            given.positional.append(literal)
        elif argument.arg is None or argument.arg in given.named:
            why = f"{argument.arg} is given twice" if argument.arg else "** cannot be used"
            raise AppError(f"{spec}: {why}; {CALL}")
        else:
            given.named[argument.arg] = literal
    return given


def _create(spec: str, factory: Any, name: str, given: Given) -> Any:
    if not callable(factory):
        raise AppError(f"{spec}: {name} is {_a(factory)} and cannot be called")
    try:
        signature(factory).bind(*given.positional, **given.named)
    except TypeError as error:
        raise AppError(f"{spec}: {name} cannot be called like that ({error}); {CALL}") from None
    except ValueError:  # a signature that cannot be known
        pass
    try:
        return factory(*given.positional, **given.named)
    except SystemExit as error:
        raise AppError(f"{spec}: {name}() called sys.exit({error.code!r})") from None
    except Exception as error:
        raise _failed(spec, f"{name}() failed", error) from _trimmed(error)


def _servable(spec: str, found: Any) -> Callable[..., Any]:
    if isinstance(found, ModuleType):
        raise AppError(f"{spec}: {found.__name__} is a module; name the application in it")
    if not callable(found):
        raise AppError(f"{spec}: {_a(found)} cannot be called; give an application")
    call = found if inspect.isroutine(found) or inspect.isclass(found) else type(found).__call__
    if inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call):
        raise AppError(f"{spec}: it is a coroutine function (ASGI?); give a WSGI application or a plain function")
    return found  # type: ignore[no-any-return]


def _a(thing: object) -> str:
    return "None" if thing is None else f"of type {type(thing).__name__}"


# ---- tracebacks


def _failed(spec: str, what: str, error: BaseException) -> AppImportError:
    return AppImportError(f"{spec}: {what}: {last_line(error)}")


def _trimmed(error: BaseException) -> BaseException:
    """The same exception, its traceback without the frames of this module and of the import system."""
    kept = [entry for entry in _walk(error.__traceback__) if not _is_machinery(entry)]
    first = None
    for entry in reversed(kept):
        entry.tb_next, first = first, entry
    return error.with_traceback(first)


def _own(tb: TracebackType | None) -> bool:
    """Whether any frame is the application's."""
    return any(not _is_machinery(entry) for entry in _walk(tb))


def _walk(tb: TracebackType | None) -> list[TracebackType]:
    entries = []
    while tb is not None:
        entries.append(tb)
        tb = tb.tb_next
    return entries


def _is_machinery(entry: TracebackType) -> bool:
    file = entry.tb_frame.f_code.co_filename
    return file == __file__ or file.startswith("<frozen importlib") or file == importlib.__file__
