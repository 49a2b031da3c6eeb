"""The command-line reference, made from the program itself: ``python -m openrlb.cli.reference > docs/cli.md``."""

from __future__ import annotations

from typing import Any

import typer

from openrlb.cli.app import EXIT_CODES, app, verbs

HEAD = """# Command-line reference
Made by `just docs` from the program's own help; a test holds the two together.
"""


def reference() -> str:
    """All verbs with their arguments and flags, as Markdown."""
    group: Any = typer.main.get_command(app)
    parts = [HEAD, EXIT_CODES, "", "Flags before the verb:", *_flags(group.params)]
    for name, verb in sorted(verbs(group)):
        parts += ["", f"## openrlb {name.replace('.', ' ')}", " ".join((verb.help or "").split()), "", *_flags(verb.params)]
        parts += ["", " ".join((verb.epilog or "").split())]
    return "\n".join(parts) + "\n"


def _flags(parameters: list[Any]) -> list[str]:
    """A table of parameters."""
    rows = ["", "| | default | |", "|---|---|---|"]
    for parameter in parameters:
        names = (
            ", ".join(f"`{name}`" for name in parameter.opts)
            if parameter.param_type_name == "option"
            else f"`{(parameter.metavar or parameter.name).upper()}`"
        )
        default = (
            "" if parameter.default in (None, False, (), []) or callable(parameter.default) else f"`{_plain(parameter.default)}`"
        )
        text = " ".join((getattr(parameter, "help", "") or "").split()).replace("|", "\\|")
        rows.append(f"| {names} | {default} | {text} |")
    return rows


def _plain(default: Any) -> str:  # noqa: ANN401 - whatever typer holds
    """A default as it is typed."""
    return str(getattr(default, "value", default))


if __name__ == "__main__":
    typer.echo(reference(), nl=False)
