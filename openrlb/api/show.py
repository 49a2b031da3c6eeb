"""``show``: everything about one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from openrlb.api.cleaned import clean_parameters, clean_row, hidden_notes
from openrlb.api.list import REPRODUCTION
from openrlb.api.opened import opened
from openrlb.api.parameters import ParameterReader, Parameters
from openrlb.api.run_scores import RULE, key_of, preferred
from openrlb.api.shown import Shown
from openrlb.api.tuning_effort import TuningEffort, tuning_effort
from openrlb.errors import NothingMatched, SelectionError
from openrlb.scrubbing import scrubbed
from openrlb.sources.bundle.removal import Remover
from openrlb.store import MetricSummary, RunRow, Store
from openrlb.store.environments import nearest
from openrlb.store.segment import COPIED, origin
from openrlb.store.variant import flat_config
from openrlb.tabular import curve, fragment, shown, table
from openrlb.types import EPISODIC_RETURN, Run

FACTS = ("run", "source", "project", "algo", "impl", "env", "seed", "role", "state", "steps", "created")


@dataclass(frozen=True, slots=True, repr=False)
class RunDetails(Shown):
    """One run with what the catalog knows of it.

    Attributes:
        row: Its line in ``openrlb list`` and its full record.
        metrics: What it logged.
        companions: Other runs of the same variant, by id and seed; no reproductions.
        parameters: What sets its configuration apart.
        tuning: What is known of how its hyperparameters were chosen.
    """

    row: RunRow
    metrics: tuple[MetricSummary, ...]
    companions: tuple[tuple[str, int | None], ...]
    parameters: Parameters
    tuning: TuningEffort

    @property
    def returns(self) -> MetricSummary | None:
        """The return that stands for the run, with its coarse means; None where it logged none."""
        found = [item for item in self.metrics if item.metric.canonical == EPISODIC_RETURN]
        kinds = [item.metric.kind for item in found]
        return preferred({item.metric.kind: item for item in found if kinds.count(item.metric.kind) == 1})

    @property
    def score(self) -> float | None:
        """The mean of the last tenth of its own steps; None where nothing was logged there."""
        return None if self.returns is None else self.returns.final

    def records(self) -> list[dict[str, Any]]:
        """What it logged, a row for each metric."""
        fields = ("n", "first_step", "last_step", "last_value")
        return [
            {
                "metric": item.metric.name,
                "kind": item.metric.kind,
                "canonical": item.metric.canonical,
                **{name: getattr(item, name) for name in fields},
            }
            for item in self.metrics
        ]

    def headline(self) -> str:
        """The run in a sentence."""
        run = self.row.record
        seed = "no seed" if run.seed is None else f"seed {run.seed}"
        impl = f" ({run.impl})" if run.impl else ""
        return f"{run.name}: {run.algo}{impl} on {run.env}, {seed}, {run.state}, {self.row.columns['steps'] or 0:,} steps"

    def cleaned(self) -> RunDetails:
        """The same without secrets, e-mail addresses, home folders, and names of people and machines, as it is printed."""
        remover = Remover()
        row = clean_row(self.row, remover)
        row = RunRow(row.columns, hidden_notes(row.record, self.row.record), row.fetched)
        metrics, companions, tuning = scrubbed((self.metrics, self.companions, self.tuning))
        return RunDetails(row, metrics, companions, clean_parameters(self.parameters, remover), tuning)

    def _repr_html_(self) -> str:
        """The curve, the facts, what sets the run apart, its configuration; without what nobody else should read."""
        return self.cleaned()._html()

    def _html(self) -> str:
        """The same of details that are clean."""
        parts = []
        if self.returns is not None:
            words = f"{self.returns.metric.name} over {self.returns.last_step:,} steps"
            score = f"{words}; score {shown(self.score)} ({RULE})"
            parts += [curve(self.returns.bins, words, 480, 96), fragment(score, [])]
        known = {name: self.row.columns[name] for name in FACTS if self.row.columns[name] not in (None, "")}
        parts.append(table([known]))
        found = self.parameters
        for name, departures in (("default", found.from_default or ()), ("the runs beside it", found.from_others)):
            if departures:
                parts.append(table([{"parameter": one.key, "value": one.value, name: one.other} for one in departures]))
        config = flat_config(self.row.record.config)
        notes = [f"tuning: {self.tuning.words}", found.defaults, *self.row.record.notes]
        if config:
            notes.append(f"configuration: {', '.join(f'{key}={shown(value)}' for key, value in config.items())}")
        return fragment(self.headline(), [], notes, parts)


def show(run: str, *, store: Store | None = None) -> RunDetails:
    """Finds a run by its id, the beginning of it, or its name.

    Raises:
        NothingMatched: No such run; the nearest ids are given.
        SelectionError: The word means several runs.
    """
    store = opened(store)
    rows = store.runs()
    row = _one(run, rows)
    beside = [other for other in rows if other is row or other.record.role != REPRODUCTION]
    same = ("source", "project", "algo", "impl", "env", "variant")
    companions = [
        (other.record.run, other.record.seed)
        for other in beside
        if other is not row and all(other.columns[name] == row.columns[name] for name in same)
    ]
    metrics = store.metrics_of([key_of(row)], bins=True)[key_of(row)]
    parameters, tuning = ParameterReader(beside, store).of(row), tuning_effort([row], store)
    return RunDetails(row, tuple(metrics), tuple(companions), parameters, tuning)


def _is_copy(row: RunRow) -> bool:
    """Whether a run came in a bundle."""
    return row.record.source.startswith(COPIED)


def _one(word: str, rows: list[RunRow]) -> RunRow:
    """The only run that a word means; where a run is there itself, no copy of it that came in a bundle."""
    own = {(row.record.source, row.record.run) for row in rows}
    rows = [row for row in rows if not _is_copy(row) or (origin(row.record.source), row.record.run) not in own]
    looks: tuple[Callable[[Run], bool], ...] = (
        lambda run: run.run == word,
        lambda run: run.name == word,
        lambda run: bool(word) and run.run.startswith(word),
        lambda run: word in scrubbed((run.run, run.name)),  # as they are printed
    )
    for look in looks:
        fits = [row for row in rows if look(row.record)]
        if len(fits) == 1:
            return fits[0]
        if fits:
            listed = ", ".join(f"{row.record.run} ({row.record.source}, {row.record.env})" for row in fits[:5])
            raise SelectionError(f"{word!r} means {len(fits)} runs", listed, "type more of the run's id")
    close = nearest(word, [row.record.run for row in rows] + [row.record.name for row in rows])
    hint = f"did you mean {' or '.join(close)}?" if close else "openrlb list names the runs"
    raise NothingMatched(f"there is no run {word!r}", f"{len(rows)} runs are stored", hint)
