"""From a table and a map to runs: rows are grouped by what tells runs apart, values by metric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from openrlb.errors import MapError
from openrlb.sources.collisions import refuse_merged_runs
from openrlb.sources.guess import shown
from openrlb.sources.identity import clean_settings, run_id
from openrlb.sources.mapping import Expression, Map
from openrlb.sources.metrics import FRAME_COLUMNS, declared, kind_is_unknown, metric, names_something_else
from openrlb.sources.protocol import MAX_RUNS_PER_TABLE, MAX_SEED, STEP_LIMIT, Reading
from openrlb.sources.table import Loaded, Numbers, Table, codes, numbers
from openrlb.store.arrow import release_memory
from openrlb.types import Metric, MetricBatch, MetricKind, Run, RunBatch, Skipped, StepUnit

Codes = NDArray[np.int64]
MAX_CODE = 2**62
MANY_ROWS = 1_000_000
"""Of a larger table what is freed is given back to the system at once, which takes some milliseconds."""
_CLOCK_SECONDS = 1e8  # larger numbers are Unix times, not seconds since a run began


@dataclass(slots=True)
class _Rows:
    """The rows of one table while they are grouped.

    Attributes:
        map: The fitted map.
        keep: Rows that are still taken.
        dropped: How many rows were dropped, by reason.
        fields: Codes and distinct values of each field that comes from a column.
        constants: Fields with one value for all rows.
        notes: What all runs' notes say.
    """

    map: Map
    keep: NDArray[np.bool_]
    dropped: dict[str, int]
    fields: dict[str, tuple[Codes, list[Any]]]
    constants: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    def drop(self, rows: NDArray[np.bool_], reason: str) -> None:
        """Leaves rows out and counts them."""
        count = int((rows & self.keep).sum())
        if count:
            self.dropped[reason] = self.dropped.get(reason, 0) + count
            self.keep &= ~rows


def runs_of(table: Table, fitted: Map, in_path: Mapping[str, str], path: Path, reading: Reading) -> Iterator[RunBatch | Skipped]:
    """Reads a table's runs, in the order of their first rows.

    Args:
        table: The table.
        fitted: A map that :func:`openrlb.sources.guess.fit` completed for it.
        in_path: The fields that the path gives.
        path: The file.
        reading: The fetch.

    Yields:
        The runs; then, where rows were lost, one Skipped that counts them by reason.

    Raises:
        MapError: A column holds something else than its field needs.
        SourceError: The columns cannot be read.
    """
    loaded = table.load(fitted.columns())
    rows = _Rows(fitted, np.ones(loaded.rows, bool), {}, {}, {})
    rows.notes += [*table.notes, *loaded.notes]
    _identities(rows, loaded, in_path)
    loaded = _without_identities(loaded, fitted)
    _release(loaded.rows)
    steps, step_unit = _steps(rows, loaded, reading)
    times = _times(rows, loaded)
    values = [_values(rows, loaded, name) for name in fitted.values]
    total, bad_rows, damage = loaded.rows + loaded.bad_rows, loaded.bad_rows, loaded.damage
    left_out = [name for name in table.columns if name not in fitted.columns()]
    if left_out:
        rows.notes.append(f"columns that were not read: {shown(left_out)}")
    if damage:
        rows.notes.append(f"{path.name}: {damage}; the rows before are kept")
    del loaded  # a large file's rows are held as numbers from here on, no longer as they were written
    _release(total)
    groups, first = _groups(rows)
    if "step" in fitted.fields:
        _refuse_merged_runs(table, rows, groups, steps)
    for number in range(len(first)):
        members = groups[number]
        batches = [batch for batch in _metrics(rows, members, steps, times, values) if len(batch.values)]
        if not batches:
            rows.dropped["of runs that hold no value"] = rows.dropped.get("of runs that hold no value", 0) + len(members)
            continue
        yield RunBatch(_run(rows, members, batches, path, reading, step_unit), tuple(batches))
    if bad_rows:
        rows.dropped["with too few or too many columns, or garbled"] = bad_rows
    if rows.dropped or damage:
        parts = [f"{count:,} of {total:,} rows left out: {reason}" for reason, count in rows.dropped.items()]
        parts += [damage] if damage else []
        yield Skipped(reading.location(path), "; ".join(parts), damaged=True)


def _identities(rows: _Rows, loaded: Loaded, in_path: Mapping[str, str]) -> None:
    """Fills in what tells runs apart: from columns, constants and the path."""
    sources: dict[str, Expression] = {name: Expression(text, constant=True) for name, text in in_path.items()}
    wanted = ("algo", "impl", "env", "seed", "id", "name")
    sources |= {name: rows.map.fields[name] for name in wanted if name in rows.map.fields}
    sources |= {f"config.{key}": source for key, source in rows.map.config.items()}
    sources |= {f"tag {number}": source for number, source in enumerate(rows.map.tags)}
    for name, source in sources.items():
        if source.constant:
            if name in ("algo", "env") and not source.text.strip():
                raise MapError(f"{name}='' is not usable", "it is empty", f"write --map \"{name}='NAME'\"")
            rows.constants[name] = _seed(source.text) if name == "seed" else source.text
            if name == "seed" and not _is_seed(rows.constants[name]):
                why = "a seed is a whole number from 0 to 2**63 - 1"
                raise MapError(f"seed='{source.text}' is not usable", why, "write --map \"seed='1'\"")
            continue
        found, distinct = codes(loaded.columns[source.text], source.text, name)
        if name in ("algo", "env"):
            rows.drop(found < 0, f"without {name} (column {source.text})")
        if name == "seed":
            found, distinct = _seeds(rows, found, distinct, source.text)
        elif not name.startswith("config."):
            found, distinct = _texts(found, distinct)
        rows.fields[name] = (found, distinct)


def _without_identities(loaded: Loaded, fitted: Map) -> Loaded:
    """The columns that are still needed once the identities are known: a large file's others take gigabytes as text."""
    needed = {fitted.fields[name].text for name in ("step", "time", "metric", "kind") if name in fitted.fields} | {*fitted.values}
    return replace(loaded, columns={name: column for name, column in loaded.columns.items() if name in needed})


def _release(rows: int) -> None:
    """Gives the memory of a large table's columns back."""
    if rows > MANY_ROWS:
        release_memory()


def _texts(found: Codes, distinct: list[Any]) -> tuple[Codes, list[Any]]:
    """Names as texts without blanks around them; those that then are equal become one."""
    texts = [str(value).strip() for value in distinct]
    unique = list(dict.fromkeys(texts))
    numbered = {text: number for number, text in enumerate(unique)}
    place = np.array([numbered[text] for text in texts] + [-1], np.int64)
    return place[found], unique


def _seed(value: object) -> int | None:
    """A seed as a whole number, or None where it is none.

    >>> _seed(1.0), _seed("007"), _seed("s1"), _seed(0.5), _seed(True)
    (1, 7, None, None, None)
    """
    if isinstance(value, bool):
        return None
    try:
        number = float(value) if isinstance(value, str | float) else value
        whole = int(value) if isinstance(value, int) else int(cast("float", number))
    except (ValueError, TypeError, OverflowError):
        return None
    if number != whole:
        return None
    return int(value) if isinstance(value, str) and value.strip().lstrip("+-").isdecimal() else whole


def _is_seed(value: int | None) -> bool:
    """True for a seed that is known and in range."""
    return value is not None and 0 <= value <= MAX_SEED


def _seeds(rows: _Rows, found: Codes, distinct: list[Any], column: str) -> tuple[Codes, list[Any]]:
    """The seeds of a column; equal ones (``1`` and ``1.0``) become one, rows with text or one out of range are dropped."""
    parsed = [_seed(value) for value in distinct]
    bad = [number for number, value in enumerate(parsed) if value is None]
    wrong = np.isin(found, bad)
    if bad and wrong.sum() * 2 > (found >= 0).sum():
        examples = ", ".join(repr(distinct[number]) for number in bad[:3])
        raise MapError(
            f"seed={column} is not usable", f"seeds are whole numbers, and the column holds {examples}", "name another column"
        )
    rows.drop(wrong, f"seed is no whole number (column {column})")
    beyond = [number for number, value in enumerate(parsed) if value is not None and not _is_seed(value)]
    rows.drop(np.isin(found, beyond), f"seed is not from 0 to 2**63 - 1 (column {column})")
    seeds = list(dict.fromkeys(value for value in parsed if value is not None and _is_seed(value)))
    numbered = {value: number for number, value in enumerate(seeds)}
    place = np.array([-1 if value is None else numbered.get(value, -1) for value in parsed] + [-1], np.int64)
    return place[found], seeds


def _steps(rows: _Rows, loaded: Loaded, reading: Reading) -> tuple[Codes, StepUnit]:
    """The training steps and what they count."""
    source = rows.map.fields.get("step")
    if source is None:
        return np.zeros(loaded.rows, np.int64), "none"
    column = numbers(loaded.columns[source.text], source.text, "step")
    rows.drop(column.bad, f"step is no number (column {source.text})")
    rows.drop(~column.there & ~column.bad, f"without step (column {source.text})")
    beyond = np.isfinite(column.values) & (np.abs(column.values) >= STEP_LIMIT)
    rows.drop(beyond, f"step is not between -2**62 and 2**62 (column {source.text})")
    whole = np.isfinite(column.values) & ~beyond
    whole &= np.equal(column.values, np.floor(column.values), where=whole, out=np.zeros(loaded.rows, bool))
    broken = column.there & ~whole & ~beyond
    if broken.sum() * 2 > column.there.sum():
        examples = ", ".join(f"row {row + 1}: {column.values[row]:g}" for row in np.flatnonzero(broken)[:3])
        why = f"steps are whole numbers, and the column holds others ({examples})"
        raise MapError(f"step={source.text} is not usable", why, "name a column of whole steps")
    rows.drop(broken, f"step is no whole number (column {source.text})")
    implied: StepUnit = "frame" if source.text.lower() in FRAME_COLUMNS else "unknown"
    return np.where(whole, column.values, 0).astype(np.int64), reading.options.step_unit or implied


def _times(rows: _Rows, loaded: Loaded) -> Numbers | None:
    """Seconds as logged, or None where no time is mapped."""
    source = rows.map.fields.get("time")
    return None if source is None else numbers(loaded.columns[source.text], source.text, "time")


def _values(rows: _Rows, loaded: Loaded, name: str) -> Numbers:
    """One value column; entries that are no number are dropped as rows."""
    column = numbers(loaded.columns[name], name, "value")
    rows.drop(column.bad, f"value is no number (column {name})")
    for field_name in ("metric", "kind"):
        source = rows.map.fields.get(field_name)
        if source is not None and not source.constant and field_name not in rows.fields:
            rows.fields[field_name] = codes(loaded.columns[source.text], source.text, field_name)
            if field_name == "kind":
                wrong = [kind for kind in rows.fields["kind"][1] if kind not in get_args(MetricKind)]
                if wrong:
                    why = f"the column holds {wrong[0]!r}; a kind is one of {', '.join(get_args(MetricKind))}"
                    raise MapError(f"kind={source.text} is not usable", why, "name another column")
    return column


def _groups(rows: _Rows) -> tuple[list[Codes], Codes]:
    """The kept rows of each run, runs in the order of their first row."""
    taken = np.flatnonzero(rows.keep)
    combined, several = np.zeros(len(taken), np.int64), 1
    for name, (found, distinct) in rows.fields.items():
        if name not in ("metric", "kind"):
            if several * (len(distinct) + 1) > MAX_CODE:  # numbered anew, so that the product of many fields cannot overflow
                present, combined = np.unique(combined, return_inverse=True)
                several = len(present)
            several *= len(distinct) + 1
            combined *= len(distinct) + 1
            combined += found[taken] + 1
    present, first = np.unique(combined, return_index=True)
    combined = np.searchsorted(present, combined)
    if len(first) > MAX_RUNS_PER_TABLE:
        why = f"it makes {len(first):,} runs of {len(taken):,} rows"
        raise MapError("the map is not usable", why, "map only columns that tell runs apart to algo, env, seed and id")
    order = np.argsort(combined, kind="stable")
    borders = np.searchsorted(combined[order], np.arange(len(first) + 1))
    by_group = [taken[order[borders[number] : borders[number + 1]]] for number in range(len(first))]
    arranged = np.argsort(first, kind="stable")
    return [by_group[number] for number in arranged], first[arranged]


def _refuse_merged_runs(table: Table, rows: _Rows, groups: Sequence[Codes], steps: Codes) -> None:
    """Refuses a map that merges runs which a column left out keeps apart."""
    if not groups:
        return
    taken = np.concatenate(groups)
    run = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    label = np.zeros(len(taken), np.int64)
    for name in ("metric", "kind"):
        if name in rows.fields:
            found, distinct = rows.fields[name]
            label = label * (len(distinct) + 1) + found[taken] + 1
    refuse_merged_runs(table, rows.map, taken, run, label, steps[taken])


def _metrics(
    rows: _Rows, members: Codes, steps: Codes, times: Numbers | None, values: Sequence[Numbers]
) -> Iterator[MetricBatch]:
    """The metrics of one run."""
    clock = None
    if times is not None and times.there[members].all() and (np.abs(times.values[members]) <= 1e12).all():
        seconds = times.values[members]
        clock = np.round((seconds - (seconds.min() if len(seconds) and seconds.min() > _CLOCK_SECONDS else 0)) * 1000).astype(
            np.int64
        )
    for label, inner in _metric_rows(rows, members):
        for name, column in zip(rows.map.values, values, strict=True):
            chosen = inner[column.there[members[inner]]]
            place = members[chosen]
            found = _metric(rows, name, label)
            yield MetricBatch(found, steps[place], column.values[place], None if clock is None else clock[chosen])


def _metric_rows(rows: _Rows, members: Codes) -> Iterator[tuple[tuple[str | None, MetricKind | None], Codes]]:
    """Positions among a run's rows for each logged metric name and kind, in the order of their first row."""
    sources = [rows.fields[name] for name in ("metric", "kind") if name in rows.fields]
    if not sources:
        yield (None, None), np.arange(len(members))
        return
    labels = np.stack([found[members] for found, _ in sources])
    _, first, inverse = np.unique(labels, axis=1, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    for number in np.argsort(first, kind="stable"):
        label = dict(zip([name for name in ("metric", "kind") if name in rows.fields], labels[:, first[number]], strict=True))
        name = rows.fields["metric"][1][label["metric"]] if label.get("metric", -1) >= 0 else None
        kind = rows.fields["kind"][1][label["kind"]] if label.get("kind", -1) >= 0 else None
        if "metric" in rows.fields and name is None:
            continue
        yield (None if name is None else str(name), kind), np.flatnonzero(inverse == number)


def _metric(rows: _Rows, column: str, label: tuple[str | None, MetricKind | None]) -> Metric:
    """What a value column's values are."""
    given = rows.map.fields.get("kind")
    kind = label[1] or (cast("MetricKind", given.text) if given is not None and given.constant else None)
    constant = rows.map.fields.get("metric")
    named = label[0] or (constant.text if constant is not None and constant.constant else None)
    several = len(rows.map.values) > 1
    if named is not None:
        return metric(f"{named}/{column}" if several else named, kind)
    if not several:
        return declared(column, kind)
    returns = [name for name in rows.map.values if not names_something_else(name)]
    if column in returns[:1]:
        return declared(column, kind)
    return metric(column, kind if metric(column).canonical else None)


def _run(rows: _Rows, members: Codes, batches: Sequence[MetricBatch], path: Path, reading: Reading, step_unit: StepUnit) -> Run:
    """The record of one run."""
    told = dict(rows.constants)
    for name, (found, distinct) in rows.fields.items():
        if name not in ("metric", "kind"):
            code = int(found[members[0]])
            told[name] = distinct[code] if code >= 0 else None
    algo, env, seed = str(told["algo"]).strip(), str(told["env"]).strip(), told.get("seed")
    extra = sorted(
        (name, value) for name, value in told.items() if name in rows.fields and name.startswith(("config.", "tag ", "name"))
    )
    identity = (algo, told.get("impl") or "", env, seed, told.get("id"))
    notes = list(rows.notes)
    repeated = any(len(np.unique(batch.steps)) < len(batch.steps) for batch in batches)
    if repeated:
        notes.append(
            "several values stand at one step: if a column tells runs apart, name it with --map seed=, id= or config.KEY="
        )
    told_kind = {"kind", "metric"} & set(rows.map.fields)
    if not told_kind and any(kind_is_unknown(name) for name in rows.map.values):
        notes.append("the map does not say what one value is (kind=eval, kind=episode, kind=rolling_mean)")
    name = str(told["name"]) if told.get("name") else "/".join((algo, env, *(() if seed is None else (f"seed {seed}",))))
    return Run(
        source="folder",
        run=run_id(path, *identity, extra),
        project=reading.project,
        name=name,
        algo=algo,
        env=env,
        impl=str(told.get("impl") or ""),
        seed=seed,
        config=clean_settings({key.removeprefix("config."): value for key, value in told.items() if key.startswith("config.")}),
        tags=tuple(str(value) for key, value in told.items() if key.split(" ")[0] == "tag" and value is not None),
        step_unit=step_unit,
        frames_per_step=reading.options.frames_per_step,
        normalized=reading.options.already_normalized,
        location=reading.location(path),
        notes=tuple(notes),
    )
