"""Optuna's study databases: every trial with a value is a run, its params the configuration.

An objective is whatever the study's author returned: it is kept under Optuna's words, as a metric of the kind ``other``, and
counts as a return only where ``--map value=objective`` says so. Which algorithm and environment were tuned stands in no
Optuna table: the studies' attributes, or ``--map``, tell.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from openrlb.errors import MapError
from openrlb.sources.identity import run_id, without_personal
from openrlb.sources.optuna_tables import OptunaDatabase, OptunaStudy, OptunaTrial, is_optuna, read_optuna
from openrlb.sources.protocol import Reading, Record
from openrlb.sources.tracked import Series, Tracked, run_of
from openrlb.types import RunState, Skipped
from openrlb.words import counted

STATES: Mapping[str, RunState] = {"COMPLETE": "finished", "PRUNED": "killed", "FAIL": "failed"}
OBJECTIVE, INTERMEDIATE = "objective", "intermediate_value"
FRESH_SECONDS = 600
"""A heartbeat that is younger tells of a trial that still runs."""
_UTC_SINCE = 5  # the version of Optuna that began to store times in UTC; earlier ones are somebody's local time


class OptunaSource:
    """Studies in a SQLite file."""

    name = "optuna"

    def recognises(self, path: Path) -> bool:
        """Whether a file is an Optuna database, by its first bytes and its tables."""
        return is_optuna(path)

    def read(self, path: Path, reading: Reading) -> Iterator[Record]:
        """Reads every trial that has a value; the others are counted.

        Raises:
            MapError: Algorithm or environment are not known, or the map does not fit.
            SourceError: It is no Optuna database, or cannot be read.
            OSError: The system refuses it.
        """
        reading.taken.update((path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal"))))
        database = read_optuna(path)
        location = reading.location(path)
        if not any(study.trials for study in database.studies):
            yield Skipped(location, f"an Optuna database with {_studies(len(database.studies))} and no trials")
        read, unfit = 0, []
        for study in database.studies:
            empty: Counter[str] = Counter()
            for trial in study.trials:
                tracked = _tracked(trial, study, database, path, reading)
                if not tracked.series:
                    empty[trial.state.lower()] += 1
                    continue
                try:
                    yield from run_of(tracked, reading)
                    read += 1
                except MapError as error:
                    unfit.append(error)
            if empty:
                states = ", ".join(f"{count} {state}" for state, count in sorted(empty.items()))
                count = counted(sum(empty.values()), "trial")
                yield Skipped(location, f"the study {without_personal(study.name)}: {count} without a value left out ({states})")
        if unfit and not read:
            raise unfit[0]
        if unfit:
            why = f"{unfit[0].what}: {unfit[0].why}"
            yield Skipped(location, f"{counted(len(unfit), 'trial')} left out that the map does not fit ({why})", damaged=True)
        if database.damage:
            yield Skipped(location, "; ".join(database.damage), damaged=True)


def _tracked(trial: OptunaTrial, study: OptunaStudy, database: OptunaDatabase, path: Path, reading: Reading) -> Tracked:
    """One trial as a run."""
    name = without_personal(study.name)
    told: dict[str, Any] = {"study": name, "number": trial.number, "state": trial.state}
    told["directions"] = [direction for _, direction in sorted(study.directions.items())]
    in_utc = _major(database.version) >= _UTC_SINCE
    if trial.started and not in_utc:
        told["datetime_start"] = trial.started
    notes = list(database.damage)
    state = _state(trial, notes)
    config = {**_own(study), **study.attributes, **trial.attributes, **trial.params, "optuna": told}
    config.pop("openrlb", None)
    return Tracked(
        run=run_id(path, study.name, trial.number),
        place=path,
        location=reading.location(path),
        config=config,
        series=_series(trial, study),
        name=f"{name}/trial {trial.number}",
        project=reading.options.project or name,
        state=state,
        created=_time(trial.started) if in_utc else None,
        axis_unit="unknown" if any(one.intermediate for one in study.trials) else "none",
        notes=notes,
    )


def _own(study: OptunaStudy) -> dict[str, Any]:
    """Algorithm and environment of a study that openrlb made."""
    own = study.attributes.get("openrlb")
    if not isinstance(own, dict) or not isinstance(own.get("envs"), list):
        return {}
    return {"algo": str(own.get("algo", "")), "env": "+".join(map(str, own["envs"]))}


def _state(trial: OptunaTrial, notes: list[str]) -> RunState:
    """How a trial ended; one that runs by its row alone is stale."""
    if trial.state == "PRUNED":
        notes.append("the study's pruner stopped it")
    if trial.state != "RUNNING":
        return STATES.get(trial.state, "unknown")
    beat = _time(trial.heartbeat)
    if beat is not None and time.time() - datetime.fromisoformat(beat).timestamp() < FRESH_SECONDS:
        return "running"
    notes.append("stale: Optuna lists it as running, and nothing shows that it still does")
    return "crashed"


def _series(trial: OptunaTrial, study: OptunaStudy) -> dict[str, Series]:
    """Its values: final ones stand at the last step that it reported, 0 where it reported none."""
    import numpy as np

    found: dict[str, Series] = {}
    last = max(trial.intermediate, default=0)
    for place, value in sorted(trial.values.items()):
        several = len(study.directions) > 1 or len(trial.values) > 1
        name = study.metric_names[place] if place < len(study.metric_names) else f"{OBJECTIVE}_{place}" if several else OBJECTIVE
        found[name] = Series(np.array([last], np.int64), np.array([value], np.float64))
    if trial.intermediate:
        steps, values = zip(*sorted(trial.intermediate.items()), strict=True)
        found[INTERMEDIATE] = Series(np.array(steps, np.int64), np.array(values, np.float64))
    return found


def _time(text: str | None) -> str | None:
    """A stored time in UTC as ISO 8601."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).isoformat() if text else None
    except ValueError:
        return None


def _major(version: str) -> int:
    """The first part of a version, 0 where it is none."""
    first = version.partition(".")[0]
    return int(first) if first.isdigit() and len(first) < 4 else 0


def _studies(count: int) -> str:
    """A count of studies."""
    return "1 study" if count == 1 else f"{count:,} studies"
