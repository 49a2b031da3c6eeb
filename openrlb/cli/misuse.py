"""typer's own complaints about a command's words, as openrlb's three lines: what, why, fix."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from openrlb.errors import UsageError

GLOBAL_FIRST = "it is a flag of openrlb itself, which goes before the verb"


def misuse(error: Any) -> UsageError | None:  # noqa: ANN401 - typer vendors click and exports no types for it
    """What typer says of unknown flags and verbs, missing arguments and values that do not fit; None for anything else.

    Args:
        error: What typer raised.
    """
    context: Any = getattr(error, "ctx", None)
    message = str(getattr(error, "message", ""))
    if getattr(error, "exit_code", 1) != 2 or type(error).__name__ == "NoArgsIsHelpError":
        return None
    path = _path(context)
    if hasattr(error, "possibilities"):
        return _unknown_flag(error.option_name, context, path)
    if found := re.match(r"No such command '(.*?)'", message):
        known = list(context.command.commands) if context else []
        return UsageError(
            f"there is no verb {found[1]!r}",
            f"{path} has: {', '.join(known)}",
            _meant(found[1], known, f"{path} -h lists what there is"),
        )
    if type(error).__name__ == "MissingParameter":
        return _missing(error.param, path)
    if getattr(error, "param", None) is not None:
        return _unfit(error, message, context, path)
    if hasattr(error, "option_name"):
        needs = "takes no value" if "not take" in message else "needs a value"
        fix = (
            f"write {error.option_name} alone" if "no" in needs else f"write {error.option_name} VALUE (the verb's -h says which)"
        )
        return UsageError(f"{error.option_name} {needs}", f"it was given {'one' if 'no' in needs else 'none'}", fix)
    if found := re.match(r"Got unexpected extra argument\(?s?\)? \((.*)\)", message):
        takes = [_called(one) for one in context.command.params if one.param_type_name == "argument"]
        why = f"{path} takes {' '.join(takes) if takes else 'flags only'}, and this is more"
        return UsageError(f"{found[1]} was not understood", why, f"leave it out, or put its flag before it ({path} -h)")
    return UsageError(f"{path} was not understood", message.rstrip("."), f"{path} -h")


def _path(context: Any) -> str:  # noqa: ANN401
    """The program and the verb, however the program was started."""
    names: list[str] = []
    while context is not None and context.parent is not None:
        names.insert(0, context.info_name)
        context = context.parent
    return " ".join(["openrlb", *names])


def _unknown_flag(name: str, context: Any, path: str) -> UsageError:  # noqa: ANN401
    """A flag that a verb does not take; one of openrlb itself is told to go before the verb."""
    from openrlb.store.environments import nearest

    if context and context.parent and name in _flags(context.find_root()):
        typed = f"{name} {value}" if (value := _value_of(name, context.find_root())) else name
        return UsageError(f"{name} stands behind the verb", GLOBAL_FIRST, f"{path.replace('openrlb', f'openrlb {typed}', 1)} ...")
    known = {flag.lstrip("-"): flag for flag in _flags(context)} if context else {}  # equal dashes make no likeness
    close = [known[one] for one in nearest(name.lstrip("-"), known, 2)]
    fix = f"did you mean {' or '.join(close)}?" if close else f"{path} -h lists its flags"
    return UsageError(f"there is no flag {name}", f"{path} takes no such flag", fix)


def _flags(context: Any) -> Iterator[str]:  # noqa: ANN401
    """Every flag of a verb."""
    for one in context.command.params:
        yield from (flag for flag in (*one.opts, *one.secondary_opts) if flag.startswith("-"))


def _value_of(name: str, context: Any) -> str:  # noqa: ANN401
    """What help texts call the value of a verb's flag; empty where it takes none."""
    found = next(one for one in context.command.params if name in (*one.opts, *one.secondary_opts))
    return "" if found.is_flag or found.count else str(found.metavar or "VALUE")


def _missing(parameter: Any, path: str) -> UsageError:  # noqa: ANN401
    """An argument or flag that is needed and was not given."""
    name = _called(parameter)
    about = (parameter.help or "").split(". ")[0].rstrip(".")
    needed = f"{path} needs {name}" + (f": {about[:1].lower()}{about[1:]}" if about else "")
    return UsageError(f"{name} is missing", needed, f"write: {path} {f'{name} VALUE' if name.startswith('-') else name}")


def _called(parameter: Any) -> str:  # noqa: ANN401
    """What a parameter is called in help texts: its long flag, or an argument's name."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper())
    return next((str(flag) for flag in parameter.opts if flag.startswith("--")), str(parameter.opts[0]))


def _unfit(error: Any, message: str, context: Any, path: str) -> UsageError:  # noqa: ANN401
    """A value that a flag or argument does not take: what it takes instead."""
    parameter = error.param
    name = _called(parameter)
    cause = error.__cause__
    given = cause.errors()[0]["input"] if hasattr(cause, "errors") else None
    source = getattr(context.get_parameter_source(parameter.name), "name", "") if context else ""
    place = _place(source, parameter, context, path)
    what = f"{name} does not take {given!r}" if given is not None else f"{name} was not understood"
    why = message.removeprefix("Value error, ").rstrip(".")
    for told, plain in (("a valid number", "it is no number"), ("a valid integer", "it is no whole number")):
        why = plain if told in why else why
    why = re.sub(r"^Input should be (greater|less) than", r"it has to be \1 than", why)
    choices = re.findall(r"'([^']*)'", why.partition(" is not one of ")[2])
    if choices:
        why = f"it is none of {', '.join(choices)}"
    fix = _meant(str(given), choices, "use one of these") if choices else f"{path} -h says what {name} takes"
    if name == "--seeds" and context and "--seed" in _flags(context):
        fix = f"--seeds N is seeds 1 to N; for others {_seed_flags(str(given))}"
    return UsageError(what, why + (f" (it comes from {place})" if place else ""), fix)


def _seed_flags(given: str) -> str:
    """How seeds are written that somebody gave as a range or a list to the flag that takes how many there are."""
    span = re.fullmatch(r"([0-9]{1,19})(?:-|:|\.\.)([0-9]{1,19})", given)
    if span:
        return f"--seed {span[1]}-{span[2]}"
    several = re.fullmatch(r"[0-9]{1,19}([, ]+[0-9]{1,19}){1,4}", given)
    return " ".join(f"--seed {one}" for one in re.findall("[0-9]+", given)) if several else "--seed 3-8"


def _place(source: str, parameter: Any, context: Any, path: str) -> str:  # noqa: ANN401
    """Where a value comes from that was not typed: a variable, or a settings file."""
    if source == "ENVIRONMENT":
        return f"the environment variable {parameter.envvar or f'{context.auto_envvar_prefix}_{parameter.name}'.upper()}"
    if source == "DEFAULT_MAP":
        from openrlb.config import setting_file

        return str(setting_file(".".join(path.split()[1:]), aliases(parameter)))
    return ""


def aliases(parameter: Any) -> list[str]:  # noqa: ANN401
    """What a parameter may be called in a settings file: its long flag, and the name it has in Python."""
    return [parameter.name, *(flag.lstrip("-").replace("-", "_") for flag in parameter.opts if flag.startswith("--"))]


def _meant(word: str, known: list[str], otherwise: str) -> str:
    """The names that a word looks like, as a question, or what else helps."""
    from openrlb.store.environments import nearest

    close = nearest(word, known, 2)
    return f"did you mean {' or '.join(close)}?" if close else otherwise
