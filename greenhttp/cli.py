"""The command: `greenhttp [serve | doctor] [OPTIONS] APP`.

The order of work is the point of this file: read the settings, patch the standard library, and only then import
anything that could keep an unpatched socket or lock: the application first of all. So this module imports click, the
settings and the errors; everything else is imported inside functions.

    main -> _parse -> _settled (settings.sources, .file) -> _run: boot.patch, boot.load, running.run
                                                     -> _supervise: supervisor.master, and boot.* in each worker

A user's mistake is one line on stderr, never a traceback. The exit codes stand in the help text below.
"""

import atexit
import contextlib
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from greenhttp import __version__
from greenhttp.errors import AppError, ConfigError
from greenhttp.program import boot, endings
from greenhttp.program.check import check_certificates, check_settings
from greenhttp.settings import console
from greenhttp.settings.console import colourful, keep, kept, paint, say, say_as_it_is
from greenhttp.settings.file import is_python, read_python, read_toml
from greenhttp.settings.foreign import FOREIGN, HOOKS_OF_MANY, OF_COMMAND_LINES, judged
from greenhttp.settings.kinds import LISTS
from greenhttp.settings.remarks import remarks
from greenhttp.settings.shown import as_toml
from greenhttp.settings.sources import (
    APP,
    HOOKS,
    PLACES,
    Given,
    Source,
    from_environment,
    from_platform,
    misspelt,
    settled,
)
from greenhttp.settings.table import BY_NAME, SETTINGS, SUPERVISED, Setting, nearest
from greenhttp.settings.values import Settings

if TYPE_CHECKING:
    from greenhttp.program.hooks import Life

STOPPED, BROKEN, MISUSED, APP_FAILED = 0, 1, 2, 3
INTERRUPTED = 130  # as a shell has it
GRACE = 2  # seconds that functions registered for the exit have at the end of a check

ABOUT = """\
Serve the application APP: module, module:name, module:create() or module:create("production", workers=2). The current
directory is searched first.

greenhttp serve APP does the same. greenhttp doctor APP reports which calls would block the server. APP may also be
given in the settings file, as app.
"""

AFTERWORD = """\
Durations: 90, 1.5, 90s, 1m30s, 250ms; 0 turns a time-out off. Sizes: 65536, 64k, 1m, 2g; k is 1024.

If a setting is given several times, the command line wins, then the environment (GREENHTTP_<NAME>, like
GREENHTTP_HEADER_TIMEOUT=5s), then the settings file (header_timeout = "5s"), then PORT=n (as --bind 0.0.0.0:n),
WEB_CONCURRENCY=n (as --workers n), FORWARDED_ALLOW_IPS and SCRIPT_NAME=/below (as --root-path /below).

TERM stops gracefully: no new connections, running requests finish. INT (Ctrl-C) and QUIT stop at once. A repeated TERM
is ignored. INT or QUIT after another signal forces the exit. USR1 reopens the log files.

With workers, HUP reads the settings again and replaces all workers, one at a time. USR2 replaces the program itself, in
the same process. TTIN and TTOU add and remove a worker. WINCH drains all workers; HUP starts them again. Without
workers and with --certfile, HUP reads the certificates again; else, or if the terminal has gone, it ends the process.

Exit codes: 0 stopped by TERM, INT or QUIT; 1 an address or a log file cannot be used, or the exit was forced; 2 wrong
usage or settings; 3 the application cannot be found or imported, or it could answer no request, or the workers keep
failing; 130 --check was interrupted. If a green thread of the application calls sys.exit(), running requests finish,
and the process ends with that code. Exit codes of doctor: 0 nothing blocks; 1 something blocks; 2 and 3 as above.
"""

METAVARS = {
    "duration": "TIME", "size": "SIZE", "rate": "RATE", "count": "N", "text": "TEXT", "header": "TEXT",
    "target": "PATH", "prefix": "PATH", "choice": "NAME", "file": "FILE", "path": "PATH", "names": "NAMES",
    "addresses": "ADDRESS", "pairs": "NAME=VALUE", "optional": "NAME", "field": "NAME", "workers": "N", "mode": "OCTAL",
    "fields": "NAME=VALUE", "json": "JSON", "word": "NAME", "paths": "FILE", "secret": "TEXT",
}  # fmt: skip

FREE = ("text", "header", "pairs", "json", "secret")  # kinds whose values may begin as an option does

ARGUMENTS = "arguments"  # beside the options: the command line as it was typed

THEIRS = (*FOREIGN, *OF_COMMAND_LINES)  # options of other servers

COMMANDS = ("serve", "doctor")  # a word before APP; without one it is the first
OTHER_COMMANDS = ("run", "runserver", "start")  # other programs' names for serve

SWITCHES = {  # option of click's -> the setting, the flag, the value it stands for
    flag[2:].replace("-", "_"): (setting.name, flag, value) for setting in SETTINGS for flag, value in setting.switches
}

# ---- what the command line looks like


_HYPHEN = "\u2011"  # the one at which no line is broken; a plain one again once the lines stand


def _unbroken(text: str) -> str:
    """The text with options that stay in one piece."""
    return re.sub(r"--?[a-z][a-z-]*", lambda option: option[0].replace("-", _HYPHEN), text)


class _Command(click.Command):
    """A command whose help lists the options under headings."""

    def get_help(self, ctx: click.Context) -> str:
        return super().get_help(ctx).replace(_HYPHEN, "-")

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "[serve | doctor] [OPTIONS] APP")

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_paragraphs(formatter, ABOUT)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows: dict[str, list[tuple[str, str]]] = {setting.group: [] for setting in SETTINGS}
        for setting in SETTINGS:
            rows[setting.group].append(_help_row(setting))
        rows["Serving"].append(("--host, --port, --uds, --fd", "Addresses in the style of other servers."))
        rows["Other"] = [row for option in self.get_params(ctx) if (row := _own_row(option, ctx))]
        on = bool(ctx.color)
        for group, entries in rows.items():
            formatter.write(f"\n{paint(group + ':', 'bold', on=on)}\n")
            with formatter.indentation():
                padded = [(paint(f"{name:31}", "cyan", on=on), _unbroken(text)) for name, text in entries]
                formatter.write_dl(padded, col_max=36)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_paragraphs(formatter, AFTERWORD)


def _write_paragraphs(formatter: click.HelpFormatter, text: str) -> None:
    for paragraph in text.split("\n\n"):
        formatter.write_paragraph()
        formatter.write_text(_unbroken(paragraph))


def _own_row(option: click.Parameter, ctx: click.Context) -> tuple[str, str] | None:
    """Of an option that is no setting: those have a help text of click's."""
    return option.get_help_record(ctx) if isinstance(option, click.Option) and option.help else None


def _help_row(setting: Setting) -> tuple[str, str]:
    """Left: the setting's own names. Right: its help, its default, and other servers' names for it."""
    aliases = [flag for flag in setting.flags if flag != setting.flag and flag.startswith("--")]
    if setting.kind == "bool":
        also = f" Also {', '.join(aliases)}." if aliases else ""
        usual = "yes" if setting.default else "no"
        return f"{setting.flag} / --no-{setting.flag[2:]}", f"{setting.help} [{usual}]{also}"
    own = ", ".join(flag for flag in setting.flags if flag not in aliases)
    words = [setting.help]
    if setting.default not in (None, ()):
        default = setting.typed(setting.parse(setting.default))
        words.append(f"[{', '.join(default) if isinstance(default, list) else default}]")
    if setting.bare:
        words.append(f"Without a value: {setting.bare}.")
    if setting.switches:
        words.append(f"{', '.join(f'{flag}: {value}' for flag, value in setting.switches)}.")
    if aliases:
        words.append(f"Also {', '.join(aliases)}.")
    return f"{own} {METAVARS[setting.kind]}", " ".join(words)


def _options() -> list[click.Parameter]:
    options: list[click.Parameter] = []
    for setting in SETTINGS:
        if setting.kind == "bool":
            names = [f"{setting.flag}/--no-{setting.flag[2:]}", *(f for f in setting.flags if f != setting.flag)]
            options.append(click.Option([setting.name, *names], default=None))
        else:
            many = setting.kind in LISTS
            bare: dict[str, Any] = {"is_flag": False, "flag_value": setting.bare} if setting.bare else {}
            options.append(click.Option([setting.name, *setting.flags], type=str, multiple=many, default=None, **bare))
        for flag, _ in setting.switches:
            options.append(click.Option([flag], is_flag=True))
    options.extend(click.Option([f"--{name}", *(["--unix-socket"] if name == "uds" else [])]) for name in PLACES)
    for entry in THEIRS:
        options.append(click.Option([entry.name, *entry.flags], is_flag=not entry.argument, default=None))
    return options


def _version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(f"greenhttp {__version__}")
        ctx.exit()


command = _Command(
    "greenhttp",
    params=[
        click.Argument(["words"], metavar="APP", nargs=-1),
        *_options(),
        click.Option(["config", "-c", "--config"], metavar="FILE", help="Read settings from a .toml or .py file."),
        click.Option(
            ["check", "--check", "--check-config"], is_flag=True,
            help="Read the settings, import the application, print what would be served, and exit.",
        ),
        click.Option(
            ["--request"], multiple=True, metavar="'GET /'", help="doctor: request to make. May be repeated."
        ),
        click.Option(
            ["--accept"], multiple=True, metavar="NAME",
            help="doctor: a finding that does not count, by its subject or kind. May be repeated.",
        ),
        click.Option(["as_json", "--json"], is_flag=True, help="doctor: print the findings as JSON."),
        click.Option(
            ["--print-config"], is_flag=True, help="Print every setting, its value and its origin as TOML, and exit."
        ),
        click.Option(
            ["--version"], is_flag=True, is_eager=True, expose_value=False, help="Print the version and exit.",
            callback=_version,
        ),
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)  # fmt: skip

# ---- from the command line to settings


def _parse(arguments: Sequence[str]) -> dict[str, Any]:
    """Options by name, those given last and in the order of the command line; ARGUMENTS. Raises click's exceptions."""
    typed, arguments = tuple(arguments), list(arguments)  # the parser empties the latter
    with command.make_context("greenhttp", [*arguments], color=colourful(sys.stdout)) as context:
        options = context.params
        for given in command.make_parser(context).parse_args(arguments)[2]:
            if given.name in options:  # --version, which is not exposed, has ended it before
                options[given.name] = options.pop(given.name)
        options[ARGUMENTS] = typed
        return options


def _from_options(options: Mapping[str, Any]) -> tuple[Source, list[str]]:
    """What the command line gives, and lines to say about it. Raises ConfigError."""
    source: Source = {}
    for name, value in options.items():
        if name in SWITCHES and value:
            setting, flag, meant = SWITCHES[name]
            source[setting] = Given(meant, flag)
        elif name in BY_NAME and value not in (None, ()):
            flag = _typed(BY_NAME[name], options[ARGUMENTS])
            if BY_NAME[name].kind not in FREE:
                _refuse_options(flag, value)
            source[name] = Given(_joined(BY_NAME[name], value), flag)
    for place in PLACES:
        if options[place] is not None:
            _refuse_options(f"--{place}", options[place])
            source[place] = Given(options[place], f"--{place}")
    words = options["words"]
    if words and words[0] in COMMANDS:
        words = words[1:]
    elif len(words) > 1:
        raise ConfigError(_too_many(words))
    if len(words) > 1:
        raise ConfigError(f"unexpected argument {words[1]!r}; give one application")
    if words:
        source[APP] = Given(words[0], "command line")
    arguments = options[ARGUMENTS]
    return source, judged((entry, entry.typed(arguments), options[entry.name]) for entry in THEIRS)


def _too_many(words: Sequence[str]) -> str:
    """What is wrong with more than one word where the application should be: other programs have other commands."""
    first, second = words[:2]
    if first == "check":
        return f"{first}: there is no such command; did you mean greenhttp --check {second}?"
    if first.isidentifier() and (":" in second or first in OTHER_COMMANDS or nearest(first, COMMANDS)):
        command = "doctor" if "doctor" in nearest(first, COMMANDS) else "serve"
        return f"{first}: there is no such command; did you mean greenhttp {command} {second}?"
    return f"unexpected argument {second!r}; give one application"


def _typed(setting: Setting, arguments: Sequence[str]) -> str:
    """The last of its flags that was typed; a short one is called by its long name."""
    given = [argument.partition("=")[0] for argument in arguments]
    return next((flag for flag in reversed(given) if flag in setting.flags and flag.startswith("--")), setting.flag)


def _refuse_options(flag: str, value: Any) -> None:
    """Raise ConfigError if an option was taken as the value of the one before."""
    for text in value if isinstance(value, tuple) else (value,):
        if option := re.match(r"--[a-z][a-z0-9_-]*(?=[=\s]|\Z)", str(text), re.IGNORECASE):  # a key begins with -----
            raise ConfigError(f"{flag} needs a value; {option[0]} is an option")


def _joined(setting: Setting, given: Any) -> Any:
    """What was typed, perhaps several times; addresses typed may have commas between, also where they are repeated."""
    if setting.kind in ("addresses", "paths"):
        return ",".join(given)
    return list(given) if isinstance(given, tuple) else given


def _file(options: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """The file of settings, or ""."""
    return str(options["config"] or environ.get("GREENHTTP_CONFIG") or "").removeprefix("file:")


def _settled(options: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[Settings, Source]:
    """All sources together. Raises ConfigError.

    A Python file decides nothing about patching, and runs after it: in a process of its own for the settings, and in
    each that serves for whatever else it does. So a supervisor keeps nothing of it.
    """
    given, notices = _from_options(options)
    platform, environment = from_platform(environ), from_environment(environ)
    file: Source = {}
    if path := _file(options, environ):
        if is_python(path):
            early = settled({n: g for n, g in {**environment, **given}.items() if n in ("patch", "loop")})[0]
            boot.check_directory()  # before the patch: CPython 3.13.0 fails in getattr() of a module without one
            file, said = read_python(path, lambda: boot.configure(early))
        else:
            file, said = read_toml(path)
        notices += said
    elif os.path.exists("gunicorn.conf.py"):
        notices.append("gunicorn.conf.py exists but is not read; to use it, give -c gunicorn.conf.py")
    if environ.get("GUNICORN_CMD_ARGS"):
        notices.append("GUNICORN_CMD_ARGS is set but is not read; give its options on the command line")
    settings, origins = settled(platform, file, environment, given)
    for line in [*misspelt(environ), *notices, *remarks(settings, origins)]:
        keep(line)
    return settings, origins


# ---- running


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script. Returns the exit code."""
    _have_streams()
    endings.prepare()
    options: dict[str, Any] = {}
    try:
        code = _main(sys.argv[1:] if arguments is None else arguments, options)
    except BrokenPipeError:  # what reads the output, like `head`, has seen enough
        code = STOPPED
    except KeyboardInterrupt:  # before the server runs; afterwards signals are handled
        code = INTERRUPTED if options.get("check") else STOPPED  # nothing was found to be in order
    finally:
        _say_kept()
        _give_up_streams()
        console.release()
    if options.get("check") and arguments is None:
        _end_at_once(code)
    return code


def _end_at_once(code: int) -> None:
    """End the process of a check, which threads that the application has started would keep alive for ever.

    What is registered for the exit still runs, since it may end processes of the application, but not for long.
    """
    signal.signal(signal.SIGALRM, lambda *_: os._exit(code))
    signal.alarm(GRACE)
    try:
        atexit._run_exitfuncs()
        _give_up_streams()
    finally:
        os._exit(code)


def _say_kept() -> None:
    """What was to be said when there is a log; there will be none."""
    for line in kept():
        say(line, "yellow")


def _give_up_streams() -> None:
    """Have nothing left to say that nobody hears: Python would end with 120 instead of the exit code."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        try:
            stream = getattr(sys, name, None)
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        except Exception:  # something of the application's
            setattr(sys, name, None)


def _have_streams() -> None:
    """Have descriptors 0 to 2, and stderr."""
    console.fill()
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


def _main(arguments: Sequence[str], options: dict[str, Any]) -> int:
    """Returns the exit code.

    Arguments:
        options: empty; filled with those on the command line, for whoever calls.
    """
    try:
        options.update(_parse(arguments))
        try:
            settings, origins = _settled(options, os.environ)
            app = str(origins[APP].value) if APP in origins else ""
            if options["check"] and "GREENHTTP_HELD" in os.environ:  # supervisor.takeover: the new program logs them
                kept()
            if options["check"] or options["print_config"] or _is_doctor(options):
                _say_kept()
            if options["print_config"]:
                print(as_toml(settings, origins, colourful(sys.stdout)), flush=True)
                return STOPPED
            if not app:
                raise ConfigError("no application; give APP, like module:name (see greenhttp --help)")
            doctor = _is_doctor(options)
            where = _here()
            supervised = _is_supervised(settings, origins)
            boot.enter(settings)
            check_settings(settings)
            # Behind supervisor.takeover nothing may end the process for them, and who serves has those from before
            trusted = doctor or "GREENHTTP_TAKEOVER" in os.environ
            certificates = [] if trusted else check_certificates(settings, "GREENHTTP_HELD" in os.environ)
        except ConfigError as error:
            for line in str(error).splitlines():
                if line.startswith(" "):  # to be copied
                    say_as_it_is(f"{line}\n")
                else:
                    say(line, "red")
            return MISUSED
        console.hold()
        file = os.path.join(where, path) if (path := _file(options, os.environ)).endswith(".py") else ""
        if doctor:
            return _examine(app, settings, options, file)
        if options["check"]:
            return _check(app, settings, file, certificates)
        if supervised:
            return _supervise(app, settings, options, where, file, _hooks(origins))
        return _run(app, settings, file)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.NoSuchOption as error:
        known = [flag for setting in SETTINGS for flag in setting.flags] + [f"--{place}" for place in PLACES]
        known += ["--config", "--check", "--print-config", "--version", "--help", "--no-patch"]
        known += ["--request", "--accept", "--json"]
        say(f"{error.option_name}: there is no such option{nearest(error.option_name, known)}", "red")
        return MISUSED
    except click.UsageError as error:
        say(f"{error.format_message()} (see greenhttp --help)", "red")
        return MISUSED
    except AppError as error:
        return _app_failed(app, error)
    except ConfigError as error:
        say(str(error), "red")
        return BROKEN


def _is_doctor(options: Mapping[str, Any]) -> bool:
    """Whether the application is to be examined. Raises ConfigError for options that only make sense then."""
    if options["words"] and options["words"][0] == "doctor":
        from greenhttp.doctor.report import parse_request

        for text in options["request"]:
            parse_request(text)
        return True
    if options["request"] or options["as_json"] or options["accept"]:
        raise ConfigError("--request, --accept and --json work only with greenhttp doctor APP")
    return False


def _here() -> str:
    """The current directory, or "." where it was removed: --chdir may lead out of it."""
    try:
        return os.getcwd()
    except OSError:
        return "."


def _is_supervised(settings: Settings, origins: Source) -> bool:
    """Whether there is to be a supervisor. Raises ConfigError where the settings contradict each other."""
    asking = [name for name in SUPERVISED if name in origins and name != "workers" and not _is_off(settings, name)]
    systemd = os.environ.get("LISTEN_PID") == str(os.getpid())
    if "workers" not in origins:  # one that systemd waits for, or opens sockets for, is told of by a supervisor
        hooks = not _hooks(origins).isdisjoint(HOOKS_OF_MANY)
        upgraded = "GREENHTTP_TAKEOVER" in os.environ  # supervisor.takeover: sockets and workers are handed over
        return bool(asking) or hooks or systemd or upgraded or "NOTIFY_SOCKET" in os.environ
    if settings.workers == 0 and systemd:
        raise ConfigError("sockets opened by systemd (LISTEN_FDS) need a supervisor, but workers is 0; give 1 or more")
    if settings.workers == 0 and asking:
        name = asking[0]
        raise ConfigError(f"{name} needs a supervisor ({origins[name].origin}), but workers is 0; give 1 or more")
    return bool(settings.workers != 0)


def _is_off(settings: Settings, name: str) -> bool:
    """Whether a setting that is off by default is off."""
    setting = BY_NAME[name]
    default = setting.parse(setting.default)
    return not default and bool(getattr(settings, name) == default)


def _run(name: str, settings: Settings, file: str) -> int:
    """Serve in this process."""
    functions = boot.run_file(settings, file)
    from greenhttp.logs.setup import set_up
    from greenhttp.program.hooks import Arbiter, Hooks, Life, Worker

    arbiter = Arbiter(settings, 1)
    life = Life(Hooks(os.path.basename(file), functions), arbiter, Worker(1, arbiter), settings, alone=True)
    if unused := [hook for hook in HOOKS_OF_MANY if hook in functions]:
        keep(f"these hooks run only with workers: {', '.join(unused)}; give -w 1 or more")
    with set_up(settings):
        return _live(name, settings, life)


def _live(name: str, settings: Settings, life: "Life") -> int:
    """All that happens in this process, with its log; what goes wrong stands there too. Returns the exit code."""
    from greenhttp.logs import setup as logs

    try:
        life.fork()
        server = boot.load(name, settings)
        life.load(server)
        boot.warm_up(settings)
        life.ready()
        boot.tune_collector()
        from greenhttp.program.running import run

        return run(server, name, life)
    except AppError as error:
        return _app_failed(name, error)
    except ConfigError as error:
        logs.told("", str(error))
        return BROKEN
    finally:
        life.over()


def _check(name: str, settings: Settings, file: str, certificates: Sequence[tuple[str, bool]]) -> int:
    """Say what would be served."""
    functions = boot.run_file(settings, file)
    server = boot.load(name, settings)
    boot.warm_up(settings, call=False)
    if settings.certfile and "ssl_context" in functions:
        _try_context(server, settings, os.path.basename(file), functions)
    from greenhttp.program.check import check_addresses, check_files
    from greenhttp.program.running import described, doubts
    from greenhttp.supervisor import system, takeover, watch

    check_files(server)
    check_addresses(settings, takeover.needed(settings.bind, os.environ))
    system.check_pid(settings.pid)
    system.check_drop(settings.user, settings.group)
    if settings.reload:
        watch.check(settings.reload_dirs)
        watch.check_import()
    for line in doubts(server):
        say(line, "yellow")
    for line, doubtful in certificates:
        if doubtful:
            say(line, "yellow")
        else:
            console.show(f"{line}\n")
    console.show(f"ok: {name} at {', '.join(settings.bind)}, interface: {described(server)}\n")
    return STOPPED


def _try_context(server: Any, settings: Settings, file: str, functions: Mapping[str, Any]) -> None:
    """Have the hook ssl_context make the contexts, as a worker does. Raises HookError; ConfigError."""
    from greenhttp.program.hooks import Arbiter, Hooks, Life, Worker
    from greenhttp.tls.files import Unreadable
    from greenhttp.tls.material import read

    arbiter = Arbiter(settings, 1)
    Life(Hooks(file, functions), arbiter, Worker(1, arbiter), settings, alone=True).load(server)
    with contextlib.suppress(Unreadable):  # behind an upgrade: who serves has them
        server.certificates_of(read(settings))


def _app_failed(name: str, error: AppError) -> int:
    """Say why: one line, or the traceback of what the application itself raised. Returns the exit code."""
    from greenhttp.logs import setup as logs
    from greenhttp.program.hooks import told

    logs.told(*told(error, name))
    return APP_FAILED


def _examine(name: str, settings: Settings, options: Mapping[str, Any], file: str) -> int:
    """Tell what would bite in the application."""
    from greenhttp.doctor.report import run
    from greenhttp.traces import trace

    def failed(error: Exception) -> int:
        if isinstance(error, AppError):
            return _app_failed(name, error)
        if isinstance(error, ConfigError):  # BROKEN has another meaning here
            say(str(error), "red")
            return MISUSED
        console.say_as_it_is(trace(error))
        return APP_FAILED

    try:
        return run(name, settings, file, options["request"], options["as_json"], options["accept"], failed)
    except ConfigError as error:
        return failed(error)


def _hooks(origins: Source) -> frozenset[str]:
    """The names of the hooks in the file of settings."""
    return frozenset(origins[HOOKS].value) if HOOKS in origins else frozenset()


def _supervise(
    name: str, settings: Settings, options: Mapping[str, Any], where: str, file: str, hooks: frozenset[str]
) -> int:
    """Have workers serve."""
    from greenhttp.supervisor.master import Plan, supervise

    def reread() -> tuple[str, Settings, frozenset[str]]:
        try:
            os.chdir(where)
        except OSError as error:  # an old release, which a deployment has removed
            raise ConfigError(f"{where}: {error.strerror}; a reload needs the directory of the start") from None
        try:
            fresh, origins = _settled(options, os.environ)
            if APP not in origins:
                raise ConfigError("no application; give APP, like module:name")
            boot.enter(fresh)
            check_settings(fresh)
        except ConfigError:
            with contextlib.suppress(OSError):
                os.chdir(where)
            boot.enter(settings)
            raise
        return str(origins[APP].value), fresh, _hooks(origins)

    return supervise(Plan(name, settings, file, reread, where, hooks))
