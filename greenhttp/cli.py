"""The command: `greenhttp [OPTIONS] APP`.

The order of work is the point of this file: read the command line, patch the standard library, and only then import
anything that could keep an unpatched socket or lock: the application first of all. So this module imports click, the
settings and the errors; everything else is imported inside functions.

    main -> _parse -> _settings -> _run: patch -> loading.load -> server.Server -> running.run

A user's mistake is one line on stderr, never a traceback. The exit codes stand in the help text below.
"""

import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from greenhttp import __version__
from greenhttp.config import BY_NAME, SETTINGS, Setting, Settings
from greenhttp.errors import AppError, ConfigError

STOPPED, BROKEN, MISUSED, APP_FAILED = 0, 1, 2, 3

ABOUT = "Serves the WSGI application APP: module, module:name or module:create(), looked for here first."

AFTERWORD = """\
Durations: 90, 1.5, 90s, 1m30s, 250ms; 0 turns a time-out off. Sizes: 65536, 64k, 1m, 2g (of 1024).

Each option is also read from the environment as GREENHTTP_<NAME>, like GREENHTTP_HEADER_TIMEOUT=5s; the command line
wins. PORT=n means --bind 0.0.0.0:n, and WEB_CONCURRENCY=n means --workers n, where neither says otherwise.

TERM stops gracefully: no new connections, running requests finish. INT (Ctrl-C) and QUIT stop at once. A second signal
ends the process by force.

Exit codes: 0 stopped by TERM, INT or QUIT; 1 the address cannot be used, or stopped by force; 2 wrong usage;
3 the application could not be found or imported.
"""

# Other servers' options for it; by spelling alone --port would be taken for --patch.
ADDRESS_HINT = "host and port are one option: --bind 127.0.0.1:8000, or --bind :8000 for every address"

METAVARS = {
    "duration": "TIME", "size": "SIZE", "rate": "RATE", "count": "N", "text": "TEXT", "header": "TEXT",
    "names": "NAMES", "addresses": "ADDRESS",
}  # fmt: skip

# ---- reading the command line and the environment


class _Command(click.Command):
    """A command whose help lists the options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows: dict[str, list[tuple[str, str]]] = {setting.group: [] for setting in SETTINGS}
        for setting in SETTINGS:
            rows[setting.group].append(_help_row(setting))
        own = (p for p in self.get_params(ctx) if isinstance(p, click.Option) and p.name not in BY_NAME)
        rows["Also"] = [row for option in own if (row := option.get_help_record(ctx))]
        for group, entries in rows.items():
            with formatter.section(group):
                formatter.write_dl([(name.ljust(31), text) for name, text in entries], col_max=36)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for paragraph in AFTERWORD.split("\n\n"):
            formatter.write_paragraph()
            formatter.write_text(paragraph)


def _option(setting: Setting) -> click.Option:
    if setting.kind == "bool":
        return click.Option([setting.name, f"{setting.flag}/--no-{setting.flag[2:]}"], default=None)
    many = setting.kind == "addresses"
    return click.Option([setting.name, *setting.flags], type=str, multiple=many, default=None)


def _help_row(setting: Setting) -> tuple[str, str]:
    """Left: the setting's own names. Right: its help, its default, and other servers' names for it."""
    if setting.kind == "bool":
        return f"{setting.flag} / --no-{setting.flag[2:]}", f"{setting.help} [{'yes' if setting.default else 'no'}]"
    aliases = [flag for flag in setting.flags if flag != setting.flag and flag.startswith("--")]
    own = ", ".join(flag for flag in setting.flags if flag not in aliases)
    words = [setting.help]
    if setting.default not in (None, ()):
        words.append(f"[{_typed(setting)}]")
    if aliases:
        words.append(f"Also {', '.join(aliases)}.")
    return f"{own} {METAVARS[setting.kind]}", " ".join(words)


def _typed(setting: Setting) -> str:
    """The default as a person would type it."""
    value = setting.default
    if setting.kind == "duration":
        return f"{value:g}s" if value else "off"
    if setting.kind == "size":
        units = 0
        while value and value % 1024 == 0:
            value, units = value // 1024, units + 1
        return f"{value}{' kmgt'[units]}".strip()
    return str(value)


def _version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(f"greenhttp {__version__}")
        ctx.exit()


command = _Command(
    "greenhttp",
    params=[
        click.Argument(["app"], metavar="APP"),
        *map(_option, SETTINGS),
        click.Option(["chdir", "--chdir", "--working-dir"], metavar="DIR", help="Go there first."),
        click.Option(
            ["--version"], is_flag=True, is_eager=True, expose_value=False, help="Show the version and exit.",
            callback=_version,
        ),
    ],
    help=ABOUT,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)  # fmt: skip


def _settings(options: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Command line before environment before PORT and WEB_CONCURRENCY. Raises click.UsageError, naming the source."""
    values: dict[str, Any] = {}

    def take(name: str, source: str, given: object) -> None:
        try:
            values[name] = BY_NAME[name].parse(given)
        except ValueError as error:
            raise click.UsageError(f"{source}: {error}") from None

    for setting in SETTINGS:
        if options.get(setting.name) not in (None, ()):
            take(setting.name, setting.flag, options[setting.name])
        elif environ.get(setting.variable):
            take(setting.name, setting.variable, environ[setting.variable])
    if "bind" not in values and (port := environ.get("PORT")):
        if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
            raise click.UsageError(f"PORT: {port!r} is not a port; give 0 to 65535, or use --bind")
        values["bind"] = (f"0.0.0.0:{port}",)
    if "workers" not in values and (workers := environ.get("WEB_CONCURRENCY")):
        take("workers", "WEB_CONCURRENCY", workers)
    try:
        return Settings(**values)
    except ConfigError as error:  # values that are right one by one, but not together
        raise click.UsageError(str(error)) from None


def _misspelt(environ: Mapping[str, str]) -> list[str]:
    """A line for each variable that was probably meant for us. Others, like those Kubernetes makes up, are not ours."""
    known = [setting.variable for setting in SETTINGS] + ["GREENHTTP_CHDIR"]
    lines: list[str] = []
    for name in sorted(environ):
        if name.startswith("GREENHTTP_") and name not in known:
            near = difflib.get_close_matches(name, known, 1, cutoff=0.9)
            lines.extend(f"{name} is ignored; did you mean {nearest}?" for nearest in near)
    return lines


# ---- running


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script. Returns the exit code."""
    try:
        with command.make_context("greenhttp", list(sys.argv[1:] if arguments is None else arguments)) as context:
            options = context.params
        settings = _settings(options, os.environ)
        for line in _misspelt(os.environ):
            _say(line)
        return _run(options["app"], settings, options["chdir"] or os.environ.get("GREENHTTP_CHDIR"))
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.NoSuchOption as error:
        hint = ADDRESS_HINT if error.option_name in ("-p", "--port", "--host") else error.format_message()
        _say(f"{hint} (see greenhttp --help)")
        return MISUSED
    except click.UsageError as error:
        _say(f"{error.format_message()} (see greenhttp --help)")
        return MISUSED
    except AppError as error:
        _say(str(error))
        return APP_FAILED
    except ConfigError as error:
        _say(str(error))
        return BROKEN
    except KeyboardInterrupt:  # before the server runs; afterwards signals are handled
        return STOPPED


def _say(line: str) -> None:
    print(f"greenhttp: {line}", file=sys.stderr, flush=True)


def _run(name: str, settings: Settings, chdir: str | None) -> int:
    if chdir:
        try:
            os.chdir(chdir)
        except OSError as error:
            raise click.UsageError(f"--chdir: {chdir}: {error.strerror}") from None
    if settings.patch:
        import greenhttp.patch  # noqa: F401  before all that follows
    from greenhttp.green.listener import parse_address

    try:
        for text in settings.bind:
            parse_address(text)  # a misspelt address is said before a long import
    except ConfigError as error:
        raise click.UsageError(str(error)) from None

    from greenhttp.loading import AppImportError, load

    try:
        app = load(name)
    except AppImportError as error:
        import traceback

        traceback.print_exception(error.__cause__)
        _say(f"{name} could not be loaded; the traceback above is its own")
        return APP_FAILED

    from greenhttp.running import run
    from greenhttp.server import Server

    _tune_collector()
    return run(Server(app, settings), name)


def _tune_collector() -> None:
    """Keep the cyclic garbage collector from walking what cannot be garbage.

    What has been imported stays; and each of some thousand waiting requests keeps a few containers alive, which at the
    interpreter's own threshold of 700 new ones makes it look through all of them every hundred requests (`wait-2000` of
    `python -m perf hello` shows it). A threshold that the application has set is left alone.
    """
    import gc

    gc.collect()
    gc.freeze()
    if gc.get_threshold()[0] in (700, 2000):  # the defaults of CPython 3.10 to 3.14
        gc.set_threshold(50_000, *gc.get_threshold()[1:])
