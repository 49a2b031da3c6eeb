"""Estimates of the final scores of many runs at one cut, from the catalog's coarse means: 25,000 runs in a tenth of a second."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openrlb.api.opened import given, opened
from openrlb.api.run_scores import KINDS
from openrlb.api.seed_guard import ROLES
from openrlb.api.shown import Shown
from openrlb.errors import KindsDiffer, NothingMatched, SelectionError, UsageError
from openrlb.types import EPISODIC_RETURN, Selection

if TYPE_CHECKING:
    import pyarrow as pa

    from openrlb.store import Store

RULE = "final:10% of one cut in each environment"

MEASURED = {1.0: (0.4, 6.4), 0.5: (0.4, 32.5), 0.3: (1.0, 48.4)}
"""How far the scores of the sample that are not exact are from ``plot``'s: at these shares of the default cut the median and the
largest difference, in percent of ``plot``'s score. A test measures it anew."""

SHOWN_CUTS = 3


@dataclass(frozen=True, slots=True, repr=False)
class FinalScores(Shown):
    """A score or an estimate of it for each run, as a table whose rows are made when they are asked for.

    Attributes:
        table: An Arrow table with the columns source, run, project, algo, impl, env, seed, last_step, cut, score, exact (whether
            the score is what ``plot`` computes from the logged values at this cut; else it is an estimate, which can be far from
            it) and left_out (why there is none). Its rows are in no order, for to sort them takes as long as to find them;
            :meth:`records` sorts.
        metric: What is scored, as it was logged.
        kind: Its kind, one for all runs.
        without: How many runs logged nothing of it.
        at: The cut that was asked for, if one was.
    """

    table: pa.Table
    metric: str
    kind: str
    without: int = 0
    at: int | None = None

    def records(self) -> list[dict[str, Any]]:
        """A row for each run, by project, algorithm, environment, seed and id."""
        order = [(name, "ascending") for name in ("project", "algo", "env", "seed", "run")]
        rows: list[dict[str, Any]] = self.table.sort_by(order).to_pylist()
        return rows

    def headline(self) -> str:
        """What was scored, how, how exactly, and at which cuts."""
        scored, exact = self._counts()
        how = f"{exact:,} exact" + (f", {scored - exact:,} estimated from 100 means of a run" if scored > exact else "")
        return f"{scored:,} scores of {self.metric} ({self.kind}), {RULE}: {how}; cut: {self._cuts()}"

    def remarks(self) -> list[str]:
        """What the others rest on, and who has none."""
        scored, exact = self._counts()
        told = (
            []
            if scored == exact
            else [f"scores that are not exact are estimates: {_measured()}; openrlb.plot computes all exactly"]
        )
        reasons = Counter(reason for reason in self.table["left_out"].to_pylist() if reason)
        ordered = sorted(reasons.items(), key=lambda one: (-one[1], one[0]))
        told += [f"{count:,} runs have no score: {reason}" for reason, count in ordered]
        return told + ([f"{self.without:,} runs logged nothing of it"] if self.without else [])

    def _counts(self) -> tuple[int, int]:
        """How many runs have a score, and how many of these are exact."""
        import pyarrow.compute as pc

        return self.table.num_rows - self.table["score"].null_count, pc.sum(self.table["exact"]).as_py() or 0

    def _cuts(self) -> str:
        """The cut that was asked for, or those of the first environments."""
        if self.at is not None:
            return f"{self.at:,}, as asked for"
        pairs = self.table.select(["env", "cut"]).group_by(["env", "cut"]).aggregate([]).to_pylist()
        known = sorted((str(pair["env"]), pair["cut"]) for pair in pairs if pair["cut"] is not None)
        told = ", ".join(f"{env} at {cut:,}" for env, cut in known[:SHOWN_CUTS]) or "none"
        more = f" and {len(known) - SHOWN_CUTS:,} more in the column cut" if len(known) > SHOWN_CUTS else ""
        return f"{told}{more} (median last step of all runs there)"


def final_scores(
    selection: Selection | None = None, *, of: str | None = None, at: int | None = None, store: Store | None = None
) -> FinalScores:
    """The final score of each selected run at one cut in each environment, exact or estimated, from what the catalog knows.

    ``plot``'s rule ``final:10%`` is the mean over the last ten of a hundred equal step bins up to the cut. A run whose last step
    is the cut has this score to the last digit (``exact``). Of every other run, one that ends a little earlier included, the
    catalog has the means of a hundred bins of *its* steps: those nearest to the window are averaged, of a run that went on to
    three times the cut three bins instead of ten. That is an estimate, good for a look over thousands of runs and not for a
    paper: over the sample it is off by 0.4 % in the median and 6.4 % at most at the default cut, by 0.4 % and 32.5 % at half of
    it, and by 1.0 % and 48.4 % at 30 % (:data:`MEASURED`). :func:`openrlb.plot` is exact for all. No point is read here, nothing
    is normalised and there is no interval.

    The default cut is another than ``plot``'s, too: this function knows of no groups, and takes the median last step of all runs
    of an environment, where ``plot`` takes the smallest of its groups' medians. Give ``plot``'s cut as ``at`` for the same one.

    Args:
        selection: Which runs; all by default but a study's tuning and confirm runs and reproductions. ``role`` and ``where``
            are not taken.
        of: A logged or canonical name; the return by default, of the first kind in :data:`openrlb.api.run_scores.KINDS` that
            every run with one has.
        at: The cut in steps; by default the median last step of each environment's runs.
        store: The user's own store by default.

    Raises:
        NothingMatched: An empty store, or no run that logged it.
        KindsDiffer: The runs share no kind of it.
        SelectionError: A run logged several of one kind.
        UsageError: A cut below 1, or a selection by ``where`` or ``role``.
    """
    from openrlb.store.final_scores import coarse_scores, metric_kinds, runs_in, runs_with

    selection, store = given(selection, Selection, "selection"), opened(store)
    if selection.where or selection.role:
        fix = "select by names, and filter the rows of the answer"
        raise UsageError("final_scores takes no where and no role", "it reads what the catalog keeps for every run", fix)
    if at is not None and (isinstance(at, bool) or at < 1):
        raise UsageError(f"a cut at {at} has no meaning", "steps are counted from 1", "leave it out, or give a step")
    name = of or EPISODIC_RETURN
    with store.reading() as con:
        known = metric_kinds(con, name)
        by_kind: dict[str, list[int]] = {}
        for metric_id, _, kind in known:
            by_kind.setdefault(kind, []).append(metric_id)
        having, any_of = runs_with(con, selection, ROLES, by_kind) if known else ({}, 0)
        if not any_of:
            raise NothingMatched(f"no run logged {name}", "none that is selected", "openrlb list --json names what they logged")
        counts = {kind: having[kind] for kind in (*KINDS, "system") if kind in having}
        kind = _common(counts, any_of, name)
        table = coarse_scores(con, selection, ROLES, by_kind[kind], at)
        without = runs_in(con, selection, ROLES) - table.num_rows
    chosen = dict.fromkeys(word for metric_id, word, _ in known if metric_id in by_kind[kind])
    return FinalScores(table, " or ".join(chosen), kind, without, at)


def _measured() -> str:
    """How far estimates were from the exact scores, over the sample."""
    shares = ", ".join(f"{middle} % and {most} % at {share:.0%} of the default cut" for share, (middle, most) in MEASURED.items())
    return f"over the sample's runs the median and the largest error are {shares}"


def _common(counts: dict[str, tuple[int, int]], runs: int, name: str) -> str:
    """The kind that all runs have.

    Args:
        counts: Of each kind, the preferred one first, how many runs have it, and how many metrics of it these have.
        runs: How many runs have any.
        name: What is scored.

    Raises:
        KindsDiffer: There is none.
        SelectionError: A run has several metrics of it.
    """
    shared = [kind for kind, (having, _) in counts.items() if having == runs]
    if not shared:
        told = ", ".join(f"{having:,} of {runs:,} logged {kind}" for kind, (having, _) in counts.items() if having)
        raise KindsDiffer(f"the selected runs share no kind of {name}", told, "select fewer, or name what was logged with of")
    if counts[shared[0]][1] > runs:
        raise SelectionError("several metrics could be meant", f"a run logged several of kind {shared[0]}", "name one with of")
    return shared[0]
