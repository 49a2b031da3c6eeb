"""``openrlb show``."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openrlb.cells import printable
from openrlb.cli import options as flag
from openrlb.cli.app import app
from openrlb.cli.render import chosen_format, emit_json, emit_rows, emit_text, shown
from openrlb.cli.sparkline import binned, can_draw, chart, sparkline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openrlb.api.parameters import Departure, Parameters
    from openrlb.api.show import RunDetails
    from openrlb.store import MetricSummary

CHART_WIDTH, CHART_HEIGHT = 60, 6
ROLES = {
    "none": "a plain run",
    "tuning": "a study's search: in no result unless it is named",
    "confirm": "a study chose by it: in no result unless it is named",
    "test": "a study's result, on seeds that tuning never saw",
    "reproduction": "of another run: in no selection but --role reproduction",
}
LISTED = 12
"""So many parameters that differ are listed; --json names all of them."""


@app.command(epilog="Example: openrlb show a5837593c4ea")
def show(
    run: Annotated[str, typer.Argument(help="A run's id, the beginning of it, or its name (openrlb list).")],
    as_json: flag.Json = False,
    format_: flag.As = None,
    output: flag.Output = None,
) -> None:
    """Show one run: its curve, where it came from, the parameters that set it apart, what it logged, its configuration.

    Parameters are held against the implementation's defaults, where those are known, and against the runs beside it: those of
    the same project, algorithm, implementation and environment. Secrets, e-mail addresses, home folders, and names of people and
    machines are not printed; openrlb query prints them.
    """
    from openrlb.api.show import show as find

    details = find(run).cleaned()
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
    from openrlb.api.list import score_columns
    from openrlb.api.run_scores import RULE

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
    found = details.parameters
    apart = {
        "defaults": found.defaults,
        "from_default": None if found.from_default is None else [asdict(one) for one in found.from_default],
        "asked": found.asked,
        "from_others": [asdict(one) for one in found.from_others],
        "others": found.others,
    }
    score = {**score_columns(details.returns), "score_rule": RULE}
    known = {**details.row.columns, **record, "fetched": details.row.fetched}
    return {**known, **score, "tuning": asdict(details.tuning), "parameters": apart, "logged": metrics, "companions": companions}


def _as_rows(details: RunDetails) -> list[dict[str, Any]]:
    """The details as key and value lines."""
    from openrlb.store.variant import flat_config

    rows = [{"key": name, "value": value} for name, value in {"run": details.row.record.run, **_facts(details)}.items()]
    rows.append({"key": "score", "value": details.score})
    rows += [{"key": f"default.{one.key}", "value": one.other} for one in details.parameters.from_default or ()]
    rows += [{"key": f"config.{key}", "value": value} for key, value in flat_config(details.row.record.config).items()]
    rows += [{"key": f"last.{item.metric.name}", "value": item.last_value} for item in details.metrics]
    return rows + [{"key": "note", "value": note} for note in details.row.record.notes]


def _as_text(details: RunDetails) -> str:
    """The details for eyes."""
    from openrlb.store.variant import flat_config

    lines = [f"run {details.row.record.run}"]
    lines += [f"  {name:<16}{shown(value)}{_explained(name, value)}" for name, value in _facts(details).items()]
    if details.returns is not None:
        lines += ["", *_curve(details.returns, details.score)]
    lines += ["", "parameters that set it apart", *_apart(details)]
    lines += ["", "logged"]
    longest = max((len(item.metric.name) for item in details.metrics), default=0) + 2
    for item in details.metrics:
        lines.append(
            f"  {item.metric.name:<{longest}}{item.metric.kind:<14}{item.n:>9,} values  last {shown(item.last_value):>12}"
        )
        drawn = item.metric.canonical and item is not details.returns and item.bins and can_draw()
        lines += [f"  {sparkline(item.bins)}"] if drawn else []
    config, above = flat_config(details.row.record.config), _told(details.parameters)
    leaves = [(key, value) for key, value in config.items() if key not in above or above[key] != value]
    width = max((len(key) for key, _ in leaves), default=0) + 2
    heading = "configuration" if len(leaves) == len(config) else "the rest of the configuration"
    lines += ["", heading, *(f"  {key:<{width}}{shown(value)}" for key, value in leaves)] if leaves else []
    return "\n".join([*map(printable, lines), *(printable(f"note: {note}") for note in details.row.record.notes)])


def _explained(name: str, value: object) -> str:
    """What a fact means, where its word alone does not tell."""
    if name == "variant":
        return "  (its settings without the seed, in short: equal ones are one group)"
    return f"  ({ROLES[value]})" if name == "role" and isinstance(value, str) and value in ROLES else ""


def _told(found: Parameters) -> dict[str, Any]:
    """The parameters that are listed as setting a run apart, with its values: they need not be said twice."""
    asked = (found.asked or {}) if found.from_default is None else {}
    told = dict(list(asked.items())[:LISTED])
    for departures in (found.from_default or (), found.from_others):
        told |= {one.key: one.value for one in departures[:LISTED]}
    return told


def _curve(item: MetricSummary, score: float | None) -> list[str]:
    """The return as a chart with its ends, and the score."""
    from openrlb.api.run_scores import RULE

    lines = [f"{item.metric.name} ({item.metric.kind}), means of {CHART_WIDTH} equal parts of the steps"]
    known = [value for value in item.bins if value is not None and math.isfinite(value)]
    if known and can_draw():
        drawn = chart(item.bins, CHART_WIDTH, CHART_HEIGHT)
        parts = [value for value in binned(item.bins, CHART_WIDTH) if value is not None]
        ends = [shown(max(parts)), *[""] * (CHART_HEIGHT - 2), shown(min(parts))]
        side = max(map(len, ends))
        lines += [f"  {end:>{side}} {line}".rstrip() for end, line in zip(ends, drawn, strict=True)]
        last = f"{item.last_step:,}"
        lines.append(f"  {'':>{side}} 0{last:>{min(CHART_WIDTH, len(item.bins)) - 1}}")
    lines.append(f"  score {shown(score) or 'none: no value in the last tenth'}  ({RULE})")
    return lines


def _apart(details: RunDetails) -> list[str]:
    """The parameters that are not the defaults, and those that the runs beside it have otherwise."""
    found, run = details.parameters, details.row.record
    lines = [f"  tuning: {details.tuning.words}", f"  {found.defaults}"]
    if found.from_default is None and found.asked:
        lines += _listed([f"    {key:<26}{shown(value):>14}   asked for" for key, value in found.asked.items()])
    elif found.from_default:
        lines += _listed([f"    {_named(one)}   default {_word(one.other)}" for one in found.from_default])
    elif found.from_default is not None:
        lines.append("    every hyperparameter is the default")
    beside = f"{run.algo}{f' ({run.impl})' if run.impl else ''} on {run.env} in {run.project}"
    if not found.others:
        return [*lines, f"  there is no other run of {beside} to hold it against"]
    runs = f"the {found.others:,} other runs" if found.others > 1 else "the other run"
    if not found.from_others:
        return [*lines, f"  {runs} of {beside}: the same settings"]
    lines.append(f"  {runs} of {beside} differ from it in")
    return lines + _listed([f"    {_named(one)}   others {_counts(one.other)}" for one in found.from_others])


def _listed(lines: Sequence[str]) -> list[str]:
    """The first lines, and how many more there are."""
    more = len(lines) - LISTED
    return [*lines[:LISTED], *([f"    and {more} more: --json names all of them"] if more > 0 else [])]


def _named(one: Departure) -> str:
    """A parameter and this run's value."""
    return f"{one.key:<26}{_word(one.value):>14}"


def _word(value: object) -> str:
    """A value, or that there is none."""
    return "none" if value is None else shown(value)


def _counts(others: dict[str, int]) -> str:
    """The other values with how many runs have each.

    >>> _counts({"0.1": 3, "null": 1})
    '0.1 (3 runs), none (1 run)'
    """
    told = [f"{'none' if value == 'null' else value} ({count} run{'s' if count > 1 else ''})" for value, count in others.items()]
    return ", ".join(told[:4]) + (f" and {len(told) - 4} more" if len(told) > 4 else "")
