"""``openrlb reproduce``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openrlb.cli import options as flag
from openrlb.cli.app import app, talk
from openrlb.cli.render import chosen_format, emit_json, emit_lines, emit_rows, emit_text, shown, text

if TYPE_CHECKING:
    from openrlb.api.reproduce import Reproduction

GOOD = ("bit-exact", "equivalent")
"""The verdicts that end with exit code 0."""

SHOWN_CHANGES = 12
"""How many differences of the installed runner the text lists; JSON has them all."""


@app.command(epilog="Example: openrlb reproduce a5837593c4ea --steps 10000")
def reproduce(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(help="A run's id, the beginning of it, or its name (openrlb list).")],
    steps: Annotated[
        str | None, typer.Option("--steps", help="Compare only up to this step; the training is ended once it is beyond it.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", help="Train so many fresh seeds (5 or more) and test whether scores are equivalent.")
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option("--margin", help="With --seeds: what difference is none; default 10 % of the stored mean score."),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="With --seeds: how many runs to train at a time.")] = 1,
    torch_source: Annotated[
        str | None, typer.Option("--torch-source", help="A folder or address that has torch's CPU wheels.")
    ] = None,
    script: Annotated[
        bool, typer.Option("--script", help="Train nothing: print a shell script that does it without openrlb.")
    ] = False,
    as_json: flag.Json = False,
    format_: flag.As = None,
    output: flag.Output = None,
) -> None:
    """Train a stored run again from its own lock and source, and say whether the result is the same, bit for bit.

    Verdicts: bit-exact, equivalent (exit code 0); not-bit-exact, different (1); impossible (4).
    """
    from openrlb.api.reproduce import reproduce as again
    from openrlb.cli.run_progress import display

    if script:
        _script(run, output, steps is not None or seeds is not None or margin is not None or as_json)
        return
    chosen = chosen_format(as_json, format_, output)
    said = talk(ctx)
    with display(said) as view:
        found = again(
            run,
            steps=None if steps is None else flag.whole_number(steps),
            seeds=seeds,
            margin=margin,
            workers=workers,
            torch_source=torch_source,
            say=said.say,
            on_event=view,
        )
    if chosen is flag.Format.json:
        emit_json(_as_json(found), output)
    elif found.verdict == "impossible":
        pass
    elif chosen is flag.Format.table:
        emit_lines(_as_text(found).split("\n"), output)
    else:
        rows = [{"key": key, "value": value} for key, value in _as_json(found).items()]
        emit_rows(rows, ("key", "value"), chosen, output)
    if found.reason is not None:
        from openrlb.errors import CannotReproduce

        raise CannotReproduce(*found.reason)
    if found.verdict not in GOOD:
        raise typer.Exit(1)


def _script(run: str, output: Path | None, more: bool) -> None:
    """Prints the script, or writes it; every byte of it counts, so that nothing is made printable."""
    from openrlb.api.reproduce import reproduction_script
    from openrlb.errors import UsageError

    if more:
        why = "the script trains the whole run and compares all of it"
        raise UsageError("--script goes with no other flag but --output", why, "leave --steps, --seeds, --margin and --json out")
    emit_text(reproduction_script(run).removesuffix("\n"), output)


def _as_json(found: Reproduction) -> dict[str, Any]:
    """The verdict as DESIGN names its keys, and what is known beside it."""
    from dataclasses import asdict

    environment = found.environment
    first = found.first_difference
    return {
        "run": found.run,
        "verdict": found.verdict,
        "first_difference": None if first is None else asdict(first),
        "environment": None if environment is None else {"matches": environment.matches, "differences": environment.differences},
        "words": found.words,
        "reproduced": list(found.reproduced),
        "rows": dict(found.rows),
        "until": found.until,
        "changed": [asdict(one) for one in found.changed],
        "runner_today": [asdict(one) for one in found.runner_today],
        "equivalence": None if found.equivalence is None else asdict(found.equivalence),
        "score": found.score or None,
        "notes": list(found.notes),
        "reason": None if found.reason is None else dict(zip(("what", "why", "fix"), found.reason, strict=True)),
    }


def _as_text(found: Reproduction) -> str:
    """The verdict for eyes."""
    lines = [f"{found.verdict}: run {found.run}", f"  {found.words}"]
    if found.until is not None:
        lines.append(f"  compared up to step {shown(found.until)}")
    if found.equivalence is not None:
        lines += _groups(found)
    if found.environment is not None and found.environment.matches:
        lines.append("  environment: the same machine and packages as when it was trained")
    elif found.environment is not None:
        lines += ["  environment differs", *(_pair(name, *pair) for name, pair in found.environment.differences.items())]
    if found.changed:
        lines += ["  not what it was", *(_pair(one.name, one.stored, one.now) for one in found.changed)]
    if found.runner_today:
        lines.append("  the stored runner ran; the one installed today differs")
        lines += [_pair(one.name, one.stored, one.now) for one in found.runner_today[:SHOWN_CHANGES]]
        more = len(found.runner_today) - SHOWN_CHANGES
        lines += [f"    and {more} more (--json names them)"] if more > 0 else []
    lines.append(f"  stored as {', '.join(found.reproduced)} (role reproduction: in no selection)")
    return "\n".join([*lines, *(f"note: {note}" for note in found.notes)])


def _groups(found: Reproduction) -> list[str]:
    """Both groups of seeds."""
    numbers = found.equivalence
    assert numbers is not None  # noqa: S101 - the caller looked
    pairs = (("stored", numbers.stored), ("now", numbers.now))
    return [
        f"  score: {found.score}",
        *(f"    {name:<8}n {one.n:>3}  mean {shown(one.mean):>12}  std {shown(one.std):>10}" for name, one in pairs),
    ]


def _pair(name: str, stored: Any, now: Any) -> str:  # noqa: ANN401 - any JSON value
    """One difference."""
    before, after = ("-" if value is None else text(value) for value in (stored, now))
    return f"    {name}: stored {before}, now {after}"
