"""One run of a report in full: its parameters, versions, metrics, curve, machine, and how to train it again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from openrlb.api.parameters import Departure, Parameters
from openrlb.errors import CannotReproduce, OpenrlbError
from openrlb.store import MetricSummary, RunRow, Store
from openrlb.store.variant import flat_config

if TYPE_CHECKING:
    from openrlb.api.report_origin import Packages
    from openrlb.types import Curve, Run
    from openrlb_analysis.figures.page import Detail, Line, Table
    from openrlb_analysis.result import PlotResult

COMMAND_FILES = ("command.json", "wandb-metadata.json")
"""Kept files that tell how a training script was called."""
MOST_COMMAND_BYTES = 1 << 20
LONGEST_VALUE = 400
"""A parameter's value longer than this is cut in the page; its beginning and its length are shown."""
MACHINE = ("cpu", "cores", "threads", "memory_gb", "gpu", "device", "system", "python")
"""What is said of a machine at once; a table has all that is known."""


@dataclass(slots=True)
class KnownRuns:
    """What is known of all runs together.

    Attributes:
        result: The report's answer.
        curves: The curve of each run, by source and id.
        places: The group and the score of each run that counts.
        reasons: Why a run does not count.
        logged: What each run logged.
        digests: The digest of each run's content.
        packages: The packages of each requirements file.
        stretches: Of how many stretches of a curve points are drawn.
    """

    result: PlotResult
    curves: Mapping[tuple[str, str], Curve]
    logged: Mapping[tuple[str, str], list[MetricSummary]]
    digests: Mapping[tuple[str, str], str]
    packages: Packages
    stretches: int
    places: dict[str, tuple[str, float]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


def name_of(run: Run) -> str:
    """What a run is called on the page.

    Args:
        run: The run.
    """
    return f"{run.source}/{run.run}"


def detail_of(row: RunRow, run: Run, known: KnownRuns, parameters: Parameters, store: Store) -> Detail:
    """Everything about one run.

    Args:
        row: The run.
        run: The same, with nothing in it that others should not read.
        known: What is known of all runs together.
        parameters: What sets its configuration apart.
        store: Where it lies.
    """
    from openrlb_analysis.figures.page import Detail

    key = (run.source, run.run)
    command, note = _again(row, store)
    versions = (run.requirements,) if run.requirements in known.packages else ()
    notes = tuple(run.notes) + ((f"left out: {known.reasons[run.run]}",) if run.run in known.reasons else ())
    return Detail(
        name=name_of(run),
        title=f"Run {run.run}: {run.algo}, {run.env}" + ("" if run.seed is None else f", seed {run.seed}"),
        facts=tuple(_facts(row, run, known, store)),
        tables=tuple(_tables(run, known.logged[key], parameters)),
        notes=notes,
        line=_line(known.curves.get(key), known.stretches),
        command=command,
        command_note=note,
        shared=versions,  # type: ignore[arg-type]
    )


def _facts(row: RunRow, run: Run, known: KnownRuns, store: Store) -> list[tuple[str, str]]:
    """What is known of a run beside its numbers."""
    from openrlb_analysis.figures.words import number

    label, score = known.places.get(run.run, ("", None))
    steps = row.columns["steps"]
    told: list[tuple[str, Any]] = [
        ("Group", label),
        (f"Score ({known.result.rule})", "" if score is None else number(score)),
        ("Algorithm", f"{run.algo} ({run.impl})" if run.impl else run.algo),
        ("State", run.state),
        ("Role", "" if run.role == "none" else run.role),
        ("Steps", "" if steps is None else f"{steps:,} {run.step_unit.replace('_', ' ')}s"),
        ("Frames per step", run.frames_per_step),
        ("Source", run.source if run.project in run.source else f"{run.source}, project {run.project}"),
        ("At its source", _address(run)),
        ("Name", run.name),
        ("Began", run.created),
        ("Stored", row.fetched),
        ("Tags", ", ".join(run.tags)),
        ("Wrappers", ", ".join(run.wrappers)),
        ("Values normalised as", run.normalized),
        ("Commit", run.git_commit),
        ("Called as", _called(run, store)),
        (
            "Machine",
            ", ".join(f"{name} {_text(run.hardware[name])}" for name in MACHINE if run.hardware.get(name) not in (None, "")),
        ),
        ("Digest of its points and record", known.digests.get((run.source, run.run), "")),
    ]
    return [(name, str(value)) for name, value in told if value not in (None, "", 0)]


def _address(run: Run) -> str:
    """Where the run can be looked at, where that is a public place."""
    return f"https://wandb.ai/{run.source.removeprefix('wandb:')}/runs/{run.run}" if run.source.startswith("wandb:") else ""


def _called(run: Run, store: Store) -> str:
    """How the training script was called, where that was kept."""
    for name in COMMAND_FILES:
        path = store.layout.blob(run.files.get(name) or "")
        try:
            if name not in run.files or path.stat().st_size > MOST_COMMAND_BYTES:
                continue
            kept = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            continue
        if not isinstance(kept, dict):
            continue
        words = kept.get("command") or [kept.get("program"), *(kept["args"] if isinstance(kept.get("args"), list) else [])]
        if isinstance(words, list) and words[0]:
            return " ".join(str(word) for word in words)
    return ""


def _tables(run: Run, logged: Sequence[MetricSummary], parameters: Parameters) -> list[Table]:
    """Parameters, metrics and files."""
    from openrlb_analysis.figures.page import Column, Table

    flat = flat_config(run.config)
    changed = {one.key: one for one in parameters.from_default or ()}
    asked = parameters.asked or {}
    tables = []
    if parameters.from_default is not None:
        heads = (Column("Parameter"), Column("Value"), Column("Default"))
        rows = tuple((one.key, _text(one.value), _text(one.other)) for one in parameters.from_default)
        tables.append(Table(f"Parameters that are not the default; {parameters.defaults}", heads, rows))
    if parameters.from_others:
        beside = f"{parameters.others:,} of the same algorithm and environment"
        heads = (Column("Setting"), Column("Value"), Column("Other runs have"))
        rows = tuple((one.key, _text(one.value), _others(one)) for one in parameters.from_others)
        tables.append(Table(f"Settings that differ from a run beside it ({beside})", heads, rows))
    marks = ((key, _text(value), _mark(key, changed, parameters, asked)) for key, value in flat.items())
    about = "" if parameters.from_default is not None else f"; {parameters.defaults}"
    tables.append(
        Table(f"All parameters{about}", (Column("Parameter"), Column("Value"), Column("Known of it")), tuple(marks), folded=True)
    )
    tables += [_metrics(name, some) for name, some in _by_kind(logged).items() if some]
    if run.hardware:
        machine = tuple((key, _text(value)) for key, value in flat_config(run.hardware).items() if value is not None)
        tables.append(Table("Everything known of the machine", (Column("What"), Column("Value")), machine, folded=True))
    if run.files:
        columns = (Column("File"), Column("sha256"))
        tables.append(Table("Files kept with the run", columns, tuple(sorted(run.files.items())), folded=True))
    return tables


def _mark(key: str, changed: Mapping[str, Departure], parameters: Parameters, asked: Mapping[str, Any]) -> str:
    """What is known of a parameter."""
    if key in changed:
        return f"not the default ({_text(changed[key].other)})"
    if key in asked:
        return "asked for" + (", as the default" if parameters.from_default is not None else "")
    return ""


def _others(one: Departure) -> str:
    """Other values with how many runs have them."""
    counts = one.other if isinstance(one.other, Mapping) else {}
    return ", ".join(f"{'none' if value == 'null' else _text(value)} ({count:,})" for value, count in counts.items())


def _by_kind(logged: Sequence[MetricSummary]) -> dict[str, list[MetricSummary]]:
    """Metrics of training and of the machine."""
    system = [one for one in logged if one.metric.kind == "system"]
    return {"Logged metrics": [one for one in logged if one.metric.kind != "system"], "System metrics": system}


def _metrics(name: str, logged: Sequence[MetricSummary]) -> Table:
    """What a run logged; means are of the coarse bins that the catalog keeps."""
    from openrlb_analysis.figures.page import Column, Table
    from openrlb_analysis.figures.words import number

    rows = []
    for one in logged:
        ends = ["-" if value is None else number(value) for value in (one.lowest, one.middle, one.highest)]
        rows.append((one.metric.name, one.metric.kind, f"{one.n:,}", f"{one.last_step:,}", number(one.last_value), *ends))
    heads = ("Values", "Last step", "Last value", "Lowest bin", "Mean of bins", "Highest bin")
    columns = (Column("Metric"), Column("Kind"), *(Column(head, True) for head in heads))
    return Table(f"{name}; bins are 100 equal stretches of steps", columns, tuple(rows), folded=True)


def versions_table(packages: Sequence[tuple[str, str]]) -> Table:
    """Exact versions of every package that a run was made with.

    Args:
        packages: Names and versions.
    """
    from openrlb_analysis.figures.page import Column, Table

    return Table("Versions of packages", (Column("Package"), Column("Version")), tuple(packages), folded=True)


def _line(curve: Curve | None, stretches: int) -> Line | None:
    """A run's curve with as many points as the eye needs."""
    import numpy as np

    from openrlb_analysis.figures.page import Line
    from openrlb_analysis.figures.words import number, unit_name
    from openrlb_analysis.pages.thinning import kept_points, rounded

    if curve is None or len(curve.values) < 1:
        return None
    values, steps = curve.values.astype(float), curve.steps
    unit = unit_name(curve.run.step_unit)
    if len(steps) > 1 and steps[0] == steps[-1]:  # a table of scores: there is no step
        steps, unit = np.arange(1, len(values) + 1), "value"
    places = kept_points(steps.astype(float), values, stretches)
    logged, drawn = len(values), len(places)
    part = f"{drawn:,} of {logged:,} logged values, the lowest and the highest of each of {stretches} stretches"
    name = curve.metric.name
    last = f"{number(float(values[-1]))} at {int(steps[-1]):,}"
    about = f"{name} of this run in {logged:,} values; the first is {number(float(values[0]))}, the last {last}."
    told = f"{name}, {'every logged value' if drawn == logged else part}."
    return Line(steps[places].tolist(), rounded(values[places]), unit, name, told, about)


def _again(row: RunRow, store: Store) -> tuple[str, str]:
    """What trains a run again, and what that does; or why nothing does."""
    from openrlb.api.reproduce import confirmed

    run = row.record
    fetched = f" Where the store does not hold it: openrlb fetch {run.source}." if run.source not in ("openrlb", "folder") else ""
    if run.role == "reproduction":
        return "", "This run is itself a reproduction."
    try:
        confirmed(row, store)
    except CannotReproduce as error:
        return "", f"openrlb cannot train it again: {error.why}.{fetched}"
    except OpenrlbError as error:
        return "", f"openrlb cannot train it again: {error.what} ({error.why}).{fetched}"
    told = "Trains it again, in the environment of its lock and from its kept source, and compares every episode."
    return f"openrlb reproduce {run.run}", told + fetched


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """A parameter's value as a reader types it; a very long one is cut, and its length told."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]} ... ({len(text):,} characters; openrlb show has all)"
