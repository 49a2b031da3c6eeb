"""A page for each verb, made from the program itself: ``python -m openrlb.cli.reference docs/verbs``."""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import typer

from openrlb.cli.app import EXIT_CODES, app, verbs

INDEX = """# Verbs
Made by `just docs` from the program's own help; a test holds the two together. `openrlb VERB --help` says the same.

{exit_codes}

Data goes to standard output, talk and progress to standard error. Off a terminal a table is tab-separated, no cell cut.
Any flag can be set for good: `OPENRLB_PLOT_LEVEL=0.9`, or `level = 0.9` under `[plot]` in `openrlb.toml`; the few that have a
variable of their own name it below. What was typed goes before the variable, the variable before `./openrlb.toml`, that before
the user's own settings.

Flags before the verb:
"""


def pages() -> dict[str, str]:
    """Every page of the reference by file name, as Markdown: ``index.md``, and one for each verb with its sub-verbs.

    Returns:
        For instance ``{"index.md": "# Verbs ...", "study.md": "# openrlb study ..."}``.
    """
    group: Any = typer.main.get_command(app)
    found: dict[str, list[str]] = {}
    rows = ["| verb | what it does |", "|---|---|"]
    for name, verb in sorted(verbs(group)):
        first, _, inner = name.partition(".")
        rows.append(f"| [{name.replace('.', ' ')}]({first}.md{'#' + name.replace('.', '-') if inner else ''}) | {_first(verb)} |")
        if first not in found:
            found[first] = [f"# openrlb {first}"]
            if inner:
                found[first] += [_text(group.commands[first].help or "")]
        found[first] += ["", f"## {first} {inner}"] if inner else []
        found[first] += _verb(name, verb)
    head = INDEX.format(exit_codes=EXIT_CODES)
    made = {"index.md": "\n".join([head, *_table(group.params, "flag"), "", *rows]) + "\n"}
    return made | {f"{name}.md": "\n".join(parts) + "\n" for name, parts in found.items()}


def write(folder: Path) -> None:
    """Writes :func:`pages` into a folder, and takes away the pages of verbs that are no more."""
    folder.mkdir(parents=True, exist_ok=True)
    made = pages()
    for old in folder.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (folder / name).write_text(text)


def _first(verb: Any) -> str:  # noqa: ANN401 - typer vendors click and exports no types for it
    """The first sentence of a verb's help."""
    return _text((verb.help or "").split("\n\n")[0])


def _verb(name: str, verb: Any) -> list[str]:  # noqa: ANN401 - as above
    """What a verb does, its examples, its arguments and its flags."""
    lines = [_paragraphs(verb.help or "")]
    examples, rest = _examples(verb.epilog or "", f"openrlb {name.replace('.', ' ')}")
    if examples:
        lines += ["", "```sh", *examples, "```"]
    if rest:
        lines += ["", _text(rest)]
    for kind, heading in (("argument", "argument"), ("option", "flag")):
        chosen = [one for one in verb.params if one.param_type_name == kind]
        if chosen:
            lines += ["", *_table(chosen, heading)]
    return lines


def _examples(epilog: str, command: str) -> tuple[list[str], str]:
    """The commands of an epilog, whole (``...`` repeats the verb), and what else it says."""
    rest, _, commands = re.sub(r"\bExamples?: ", "\0", epilog).partition("\0")
    parts = [" ".join(part.split()) for part in re.split(r"\s\|\s", commands) if part]
    return [re.sub(r"^\.\.\.", command, part) for part in parts], rest


def _table(parameters: list[Any], heading: str) -> list[str]:
    """A table of arguments or flags."""
    rows = [f"| {heading} | default | |", "|---|---|---|"]
    for parameter in parameters:
        is_flag = parameter.param_type_name == "option"
        names = [*parameter.opts, *parameter.secondary_opts] if is_flag else [(parameter.metavar or parameter.name).upper()]
        unset = parameter.default in (None, False, (), []) or callable(parameter.default)
        default = "" if unset else f"`{getattr(parameter.default, 'value', parameter.default)}`"
        text = _text(getattr(parameter, "help", "") or "").replace("|", "\\|")
        text += f" (`{parameter.envvar}`)" if parameter.envvar else ""
        choices, limits = _takes(parameter)
        text += f" [{limits}]" if limits else ""
        rows.append(f"| {', '.join(f'`{one}`' for one in names)}{choices} | {default} | {text} |")
    return rows


@cache
def _context() -> Any:  # noqa: ANN401 - as above
    """A context to ask flags in; to make one builds every verb."""
    return typer.Context(typer.main.get_command(app))


def _takes(parameter: Any) -> tuple[str, str]:  # noqa: ANN401 - as above
    """The words that a flag chooses from and the range of its number, as ``--help`` writes them."""
    is_value = parameter.param_type_name == "argument" or not (parameter.is_flag or parameter.count)
    kind = parameter.display_type(_context()) or "" if is_value else ""
    choices = f" `{kind}`".replace("|", "\\|") if "|" in kind else ""
    return choices, _text(parameter._get_number_range_help_str() or "")


def _paragraphs(text: str) -> str:
    """Help as paragraphs."""
    return "\n\n".join(_text(part) for part in text.split("\n\n"))


def _text(text: str) -> str:
    """Plain words on one line, without what Markdown would read as emphasis or HTML."""
    return re.sub(r"([*_<\\])", r"\\\1", " ".join(text.split()))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write(Path(sys.argv[1]))
    else:  # one text of everything, for reading in a terminal
        typer.echo("\n".join(pages().values()), nl=False)
