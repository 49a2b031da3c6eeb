"""A run's stored group of seeds, and fresh seeds held against it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING, Literal

from openrlb.errors import CannotReproduce, UsageError
from openrlb.store import RunRow, Store
from openrlb.types import RunBatch, Selection

if TYPE_CHECKING:
    from openrlb.types import Steps, Values
    from openrlb_runners.equivalence import Equivalence
    from openrlb_runners.reproduction import Record

COUNTED = ("finished", "diverged")
COLUMNS = ("source", "project", "algo", "impl", "env", "variant", "role")
"""What runs of one group have in common, beside runner files, lock, threads and device."""


@dataclass(frozen=True, slots=True)
class Group:
    """The stored runs of one variant, scored.

    Attributes:
        scores: The score of each run by seed; NaN where it diverged.
        taken: Every seed that a stored run of the variant has.
        metric: The name and kind of what is scored.
        cut: The last step that counts.
        notes: Runs left out, with the reason.
    """

    scores: dict[int, float]
    taken: frozenset[int]
    metric: tuple[str, str]
    cut: int
    notes: tuple[str, ...]

    @classmethod
    def stored(cls, row: RunRow, record: Record, store: Store) -> Group:
        """The group of a run.

        Raises:
            CannotReproduce: Fewer than two of its runs have a score.
        """
        from openrlb.sources.trained import EVALUATION, RETURN

        metric = EVALUATION if record.request.evaluation else RETURN
        run = row.record
        selection = Selection(env=(run.env,), source=(run.source,), role=(run.role,))
        same = [one for one in store.runs(selection) if all(one.columns[name] == row.columns[name] for name in COLUMNS)]
        curves = store.curves(selection, [(metric.name, metric.kind)])
        values = {(curve.run.source, curve.run.run): (curve.steps, curve.values) for curve in curves}
        scores: dict[int, float] = {}
        notes = []
        for one in same:
            reason = _left_out(one, row)
            rows = values.get((one.record.source, one.record.run))
            found = _score(*rows, record.request.steps) if rows is not None and not reason else None
            if one.record.state == "diverged" and not reason:
                found = math.nan
            if found is None or one.record.seed is None:
                notes.append(f"run {one.record.run} (seed {one.record.seed}) is left out: {reason or _NO_SCORE}")
            else:
                scores[one.record.seed] = found
        group = cls(
            scores,
            frozenset(one.record.seed for one in same if one.record.seed is not None),
            (metric.name, metric.kind),
            record.request.steps,
            tuple(notes),
        )
        if len(scores) < 2:
            why = f"{len(scores)} stored run of its variant has a score, and a spread needs two"
            fix = f"train more seeds of it first: openrlb run {quote(run.algo)} --env {quote(run.env)} --seeds 5"
            raise CannotReproduce(f"run {run.run} has no group to compare with", why, fix)
        return group

    @property
    def score(self) -> str:
        """What the scores are, in words."""
        from openrlb_analysis.rules import DEFAULT_RULE

        return f"{DEFAULT_RULE} of {self.metric[0]} up to step {self.cut}"

    def margin(self, asked: float | None) -> float:
        """The margin: what was asked for, else a share of the stored mean.

        Raises:
            UsageError: None was asked for, and the stored mean gives none.
        """
        from openrlb_runners.equivalence import MARGIN_SHARE

        if asked is not None:
            return asked
        mean = sum(self.scores.values()) / len(self.scores)
        if not math.isfinite(mean) or mean == 0:
            why = f"it is {MARGIN_SHARE:.0%} of the stored mean score, which is {mean:g}"
            raise UsageError("the default margin has no meaning here", why, "name one with --margin")
        return MARGIN_SHARE * abs(mean)

    def fresh_seeds(self, count: int) -> list[int]:
        """The first seeds from 1 that no stored run of the variant has."""
        found: list[int] = []
        seed = 0
        while len(found) < count:
            seed += 1
            found += [seed] if seed not in self.taken else []
        return found


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the comparison of two groups says.

    Attributes:
        verdict: The verdict; ``not-bit-exact`` where it is undecided.
        words: The same in a sentence.
        equivalence: The numbers; None where a run diverged, so that there is no mean.
        notes: What a reader should know.
    """

    verdict: Literal["equivalent", "different", "not-bit-exact"]
    words: str
    equivalence: Equivalence | None
    notes: tuple[str, ...] = ()


def judged(group: Group, batches: Sequence[RunBatch], margin: float) -> Judgement:
    """Holds fresh runs against the stored group.

    Args:
        group: The stored group.
        batches: The runs trained anew.
        margin: The largest difference of mean scores that counts as the same.

    Raises:
        CannotReproduce: A fresh run has no value in the scoring window.
    """
    from openrlb_runners.equivalence import equivalence

    fresh = []
    for batch in batches:
        found = math.nan if batch.run.state == "diverged" else _score_of(batch, group)
        if found is None:
            what = f"seed {batch.run.seed} has no score"
            raise CannotReproduce(what, f"{group.score}: {_NO_SCORE}", f"openrlb show {batch.run.run}")
        fresh.append(found)
    stored = list(group.scores.values())
    seeds = ", ".join(str(batch.run.seed) for batch in batches)
    notes = (f"fresh seeds: {seeds}; stored seeds: {', '.join(map(str, sorted(group.scores)))}",)
    lost = [sum(not math.isfinite(one) for one in scores) for scores in (stored, fresh)]
    if any(lost):
        told = f"{lost[0]} of {len(stored)} stored runs and {lost[1]} of {len(fresh)} new ones diverged, so that there is no mean"
        return Judgement("not-bit-exact", f"undecided at {len(fresh)} seeds: {told}", None, notes)
    result = equivalence(stored, fresh, margin)
    interval = f"[{result.low:.6g}, {result.high:.6g}]"
    numbers = (
        f"difference of means {result.difference:.6g}, Welch {result.level:.0%} interval {interval}, margin {result.margin:.6g}"
    )
    if result.verdict == "equivalent":
        return Judgement("equivalent", f"the interval lies within the margin: {numbers}", result, notes)
    if result.verdict == "different":
        return Judgement("different", f"the interval excludes 0: {numbers}", result, notes)
    return Judgement("not-bit-exact", f"undecided at {len(fresh)} seeds: {numbers}", result, notes)


_NO_SCORE = "no value in the last tenth of its steps"


def _left_out(one: RunRow, row: RunRow) -> str:
    """Why a run of the variant does not count, or an empty text."""
    run, original = one.record, row.record
    if run.state not in COUNTED:
        return run.state
    for name in sorted({*run.files, *original.files}):
        made_by = name.endswith(".py") or name.startswith("lock/")
        if made_by and run.files.get(name) != original.files.get(name):
            return f"it was trained with another {name}"
    for name in ("threads", "device"):
        if run.hardware.get(name) != original.hardware.get(name):
            return f"its {name} differ"
    return ""


def _score(steps: Steps, values: Values, cut: int) -> float | None:
    """The final score, NaN where a value is not finite, None where there is none."""
    from openrlb_analysis.rules import DEFAULT_RULE, parse_rule
    from openrlb_analysis.scores import score

    return score(steps, values, cut, parse_rule(DEFAULT_RULE)).value


def _score_of(batch: RunBatch, group: Group) -> float | None:
    """The final score of a run that is not read from the store."""
    for one in batch.metrics:
        if (one.metric.name, one.metric.kind) == group.metric:
            return _score(one.steps, one.values, group.cut)
    return None
