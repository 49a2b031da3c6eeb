"""``openrlb show``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from openrlb.cli import options as flag
from openrlb.cli.app import app
from openrlb.cli.render import chosen_format, emit_json, emit_rows, emit_text, shown

if TYPE_CHECKING:
    from openrlb.api.show import RunDetails

BARS = "▁▂▃▄▅▆▇█"


@app.command(epilog="Example: openrlb show 4f1c2a9d03be")
def show(
    run: Annotated[str, typer.Argument(help="A run's id, the beginning of it, or its name (openrlb list).")],
    as_json: flag.Json = False,
    format_: flag.As = None,
    output: flag.Output = None,
) -> None:
    """Show one run: where it came from, what it logged, its configuration."""
    from openrlb.api.show import show as find

    details = find(run)
    chosen = chosen_format(as_json, format_, output)
    if chosen is flag.Format.json:
        emit_json(_as_json(details), output)
    elif chosen is flag.Format.table:
        emit_text(_as_text(details), output)
    else:
        emit_rows(_as_rows(details), ("key", "value"), chosen, output)


def _facts(details: RunDetails) -> dict[str, Any]:
    """The record's facts that are known."""
    record, columns = details.row.record, details.row.columns
    names = (
        "source",
        "project",
        "name",
        "algo",
        "impl",
        "variant",
        "env",
        "seed",
        "role",
        "state",
        "steps",
        "step_unit",
        "created",
    )
    facts = {name: columns[name] for name in names}
    others = ("frames_per_step", "wrappers", "normalized", "git_commit", "requirements", "tags", "location", "attempt")
    facts |= {name: getattr(record, name) for name in others}
    facts["fetched"] = details.row.fetched
    facts["same variant"] = [f"{run} (seed {seed})" for run, seed in details.companions]
    return {name: value for name, value in facts.items() if value not in (None, "", (), [], 0) or name == "seed"}


def _as_json(details: RunDetails) -> dict[str, Any]:
    """The details with the columns of ``list --json`` first."""
    metrics = [
        {
            "name": item.metric.name,
            "kind": item.metric.kind,
            "canonical": item.metric.canonical,
            "n": item.n,
            "first_step": item.first_step,
            "last_step": item.last_step,
            "last_value": item.last_value,
        }
        for item in details.metrics
    ]
    record = {name: value for name, value in details.row.record.to_json().items() if name not in details.row.columns}
    companions = [{"run": run, "seed": seed} for run, seed in details.companions]
    return {**details.row.columns, **record, "fetched": details.row.fetched, "logged": metrics, "companions": companions}


def _as_rows(details: RunDetails) -> list[dict[str, Any]]:
    """The details as key and value lines."""
    from openrlb.store.variant import flat_config

    rows = [{"key": name, "value": value} for name, value in {"run": details.row.record.run, **_facts(details)}.items()]
    rows += [{"key": f"config.{key}", "value": value} for key, value in flat_config(details.row.record.config).items()]
    rows += [{"key": f"last.{item.metric.name}", "value": item.last_value} for item in details.metrics]
    return rows + [{"key": "note", "value": note} for note in details.row.record.notes]


def _as_text(details: RunDetails) -> str:
    """The details for eyes."""
    from openrlb.store.variant import flat_config

    lines = [f"run {details.row.record.run}"]
    lines += [f"  {name:<16}{shown(value)}" for name, value in _facts(details).items()]
    lines += ["", "logged"]
    for item in details.metrics:
        lines.append(f"  {item.metric.name:<28}{item.metric.kind:<14}{item.n:>9,} values  last {shown(item.last_value):>12}")
        lines += [f"  {sparkline(item.bins)}"] if item.metric.canonical and item.bins else []
    leaves = list(flat_config(details.row.record.config).items())
    lines += ["", "configuration", *(f"  {key:<28}{shown(value)}" for key, value in leaves)] if leaves else []
    return "\n".join([*lines, *(f"note: {note}" for note in details.row.record.notes)])


def sparkline(bins: tuple[float | None, ...], width: int = 50) -> str:
    """Bin means as a line of bars; a bin without a value is a space.

    >>> sparkline((0.0, None, 1.0), width=3)
    '▁ █'
    """
    import math

    cells = min(width, len(bins))
    means: list[float | None] = []
    for cell in range(cells):
        part = [value for value in bins[cell * len(bins) // cells : (cell + 1) * len(bins) // cells] if value is not None]
        finite = [value for value in part if math.isfinite(value)]
        means.append(sum(finite) / len(finite) if finite else None)
    known = [value for value in means if value is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    span = (high - low) or 1.0
    return "".join(" " if value is None else BARS[int((value - low) / span * (len(BARS) - 1))] for value in means)
