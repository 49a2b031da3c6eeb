"""The program: global flags, and errors turned into three lines and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException
from typer.main import get_command_from_info, get_command_name, get_group_from_info

from openrlb.cells import printable
from openrlb.cli.coercion import HELP, lighten
from openrlb.cli.misuse import aliases, misuse
from openrlb.cli.settings import unfit_default, unread_variables
from openrlb.errors import OpenrlbError, SelectionError, UsageError
from openrlb.words import counted

EXIT_CODES = """\
Exit codes: 0 ok, 1 failed, 2 usage, 3 nothing matched, 4 cannot be reproduced, 5 network or credentials, 130 interrupted."""

READING = frozenset("compare export list plot power query report show".split())
"""Verbs that change nothing of a store: those for --store."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says where a disk, a quota or a file has reached its end."""

VERBS = {
    "compare": "compare",
    "doctor": "doctor",
    "export": "export",
    "fetch": "fetch",
    "list": "list",
    "plot": "plot",
    "power": "power",
    "query": "query",
    "report": "report",
    "reproduce": "reproduce",
    "run": "run",
    "show": "show",
    "status": "status",
    "cancel": "status",
    "tune": "tune",
    "worker": "worker",
    "runner": "runner",
    "study": "study",
}
"""Every verb, and the module that registers it."""


@dataclass(slots=True)
class Talk:
    """How much is said on standard error, and how.

    Attributes:
        quiet: Say nothing but errors.
        verbose: Say everything, however long.
        debug: Show tracebacks.
        progress: Draw progress bars where standard error is a terminal.
        misread: Why the settings files do not hold, where the verb goes on without them.
    """

    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    progress: bool = True
    misread: OpenrlbError | None = None

    def say(self, text: str) -> None:
        """One line of talk on standard error."""
        if not self.quiet:
            typer.echo(printable(text), err=True)

    def warn(self, text: str) -> None:
        """A warning: said even when quiet, because something was lost or left out."""
        typer.echo(printable(f"warning: {text}"), err=True)


def _show_warning(plain: Callable[..., None], message: Warning | str, category: type[Warning], *where: Any) -> None:  # noqa: ANN401
    """Openrlb's own warnings as lines of talk, without the place in the code; everybody else's as Python shows them."""
    if category.__module__.startswith("openrlb"):
        Talk().warn(str(message))
    else:
        plain(message, category, *where)


class Verbs(Mapping[str, Any]):
    """The verbs by name, each imported and built when it is asked for: all of them take longer than most have to do."""

    def __init__(self) -> None:
        self._built: dict[str, Any] = {}

    def __iter__(self) -> Iterator[str]:
        """Their names, as the help lists them."""
        return iter(VERBS)

    def __len__(self) -> int:
        """How many there are."""
        return len(VERBS)

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - typer vendors click and exports no types for it
        """One verb, or a group of verbs."""
        if name not in self._built:
            import_module(f"openrlb.cli.{VERBS[name]}")
            how: dict[str, Any] = {"pretty_exceptions_short": False, "rich_markup_mode": None}
            for group in app.registered_groups:
                if group.name == name:
                    self._built[name] = lighten(get_group_from_info(group, suggest_commands=True, **how))
            for verb in app.registered_commands:
                if verb.callback and (verb.name or get_command_name(verb.callback.__name__)) == name:
                    self._built[name] = lighten(get_command_from_info(verb, **how))
        return self._built[name]


class OpenrlbGroup(TyperGroup):
    """Turns openrlb's errors, and typer's about the command's words, into three lines on standard error and an exit code."""

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401
        super().__init__(**attributes)
        self.commands: Any = Verbs()

    def make_context(self, *words: Any, **more: Any) -> Any:  # noqa: ANN401 - typer vendors click and exports no types for it
        """Reads the flags of openrlb itself."""
        lighten(self)
        try:
            return super().make_context(*words, **more)
        except TyperException as error:
            if (told := misuse(error)) is None:
                raise
            _say_error(told)
            raise typer.Exit(told.exit_code) from error

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer vendors click and exports no types for it
        """Runs the chosen verb."""
        try:
            with warnings.catch_warnings():
                warnings.showwarning = partial(_show_warning, warnings.showwarning)
                warnings.filterwarnings("always", category=UserWarning, module=r"openrlb\.")
                return super().invoke(ctx)
        except BrokenPipeError:  # the reader (head, less) has seen enough; typer would end with 1
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except KeyboardInterrupt:
            typer.echo("interrupted; what was complete is kept, and the same command again goes on", err=True)
            raise typer.Exit(130) from None
        except OpenrlbError as error:
            if isinstance(ctx.obj, Talk) and ctx.obj.debug:
                import traceback

                from openrlb.scrubbing import scrubbed

                typer.echo(scrubbed(traceback.format_exc()), err=True)
            _say_error(error)
            raise typer.Exit(error.exit_code) from error
        except TyperException as error:
            if (told := misuse(error)) is None:
                raise
            _say_error(told)
            raise typer.Exit(told.exit_code) from error


def _say_error(error: OpenrlbError) -> None:
    """An error's three lines."""
    lines = (f"error: {error.what}", f"  why: {error.why}", f"  fix: {error.fix}")
    if isinstance(error, SelectionError):  # groups are named by their settings
        from openrlb.scrubbing import scrubbed

        lines = scrubbed(lines)
    for line in lines:
        typer.echo(printable(line), err=True)


app = typer.Typer(
    cls=OpenrlbGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": list(HELP), "max_content_width": 110, "auto_envvar_prefix": "OPENRLB"},
    epilog=EXIT_CODES,
)


def _version(wanted: bool) -> None:
    """Prints the version and ends."""
    if wanted:
        from openrlb import __version__

        typer.echo(f"openrlb {__version__}")
        raise typer.Exit


@app.callback()
def globals_(
    ctx: typer.Context,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on standard error but warnings and errors.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Name every note, skipped file and excluded run on standard error.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", envvar="OPENRLB_DEBUG", help="Show tracebacks.")] = False,
    no_progress: Annotated[bool, typer.Option("--no-progress", envvar="OPENRLB_NO_PROGRESS", help="No progress bars.")] = False,
    store: Annotated[
        str | None, typer.Option("--store", metavar="https://...", help="Read a store on a web server, instead of your own.")
    ] = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """What did others get, what do I get, how good can it get honestly, and which is better."""
    from openrlb.config import checked_defaults, merged

    ctx.obj = Talk(quiet, verbose, debug, progress=not no_progress and not quiet and sys.stderr.isatty())
    group: Any = ctx.command
    for told in unread_variables(group, verbs(group), os.environ):
        ctx.obj.warn(told)
    try:
        ctx.default_map = checked_defaults(_options(group)) if merged() else {}
    except OpenrlbError as error:
        if ctx.invoked_subcommand != "doctor":
            raise
        ctx.obj.misread = error  # doctor tells it among everything else that it looks at
    if ctx.invoked_subcommand == "doctor" and ctx.obj.misread is None:
        ctx.obj.misread = unfit_default(ctx, verbs(group))
    if store is not None:
        ctx.with_resource(_reading(store, str(ctx.invoked_subcommand), ctx.obj))


@contextmanager
def _reading(address: str, verb: str, said: Talk) -> Iterator[None]:
    """Has a verb read a store on a web server; says at the end how much was taken.

    Raises:
        UsageError: The verb changes a store, or the address is none.
    """
    from openrlb.api.opened import CHOSEN
    from openrlb.sources.web_store import WebStore

    if verb not in READING:
        fix = "leave --store (OPENRLB_STORE) out; for a folder of your own set OPENRLB_HOME"
        raise UsageError(f"{verb} does not read a store on a web server", f"--store is for {', '.join(sorted(READING))}", fix)
    store = WebStore(address)
    before = CHOSEN.set(store)
    try:
        yield
    finally:
        CHOSEN.reset(before)
        if store.folder.received:
            requests = counted(store.folder.requests, "request")
            said.say(f"{store.place}: {store.folder.received / 1e6:,.1f} MB in {requests}")


def verbs(group: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - typer vendors click and exports no types for it
    """Every verb of a group by name; one of a group inside it is ``runner.install``."""
    for name, verb in group.commands.items():
        yield from ((f"{name}.{word}", one) for word, one in verbs(verb)) if hasattr(verb, "commands") else [(name, verb)]


def _options(group: Any) -> dict[str, dict[str, str]]:  # noqa: ANN401
    """What each verb's options may be called in a settings file, and the parameter that is meant."""
    return {name: {alias: one.name for one in verb.params for alias in aliases(one)} for name, verb in verbs(group)}


def talk(ctx: typer.Context) -> Talk:
    """The talk settings of this call."""
    return ctx.obj if isinstance(ctx.obj, Talk) else Talk()


def _whole_output() -> None:
    """Has standard output write all of a text or fail: without a buffer (``PYTHONUNBUFFERED``) Python drops what did not fit."""
    import io

    plain = getattr(sys.stdout, "buffer", None)
    if isinstance(plain, io.RawIOBase):
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(plain), sys.stdout.encoding, sys.stdout.errors, line_buffering=True)


def main() -> None:
    """The console script: :data:`app`, with unforeseen errors handled."""
    _whole_output()
    try:
        app()
    except Exception as error:
        if "--debug" in sys.argv or os.environ.get("OPENRLB_DEBUG"):
            raise
        if isinstance(error, OSError) and error.errno in FULL:
            why = f"{error.strerror}: {error.filename or 'the output, or a file'}"
            _say_error(OpenrlbError("not everything could be written", why, "free some space there, or write to another place"))
            with suppress(AttributeError, OSError, ValueError):  # else Python tries again at its end
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        from openrlb.scrubbing import scrubbed

        # a bug of ours: still three lines, a traceback on demand
        why = scrubbed(" ".join(f"{type(error).__name__}: {error}".split()))[:400]
        fix = "run it again with: openrlb --debug ..., and report the traceback"
        sys.stderr.write(f"error: openrlb itself failed\n  why: {why}\n  fix: {fix}\n")
        sys.exit(1)
