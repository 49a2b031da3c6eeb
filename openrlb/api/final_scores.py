"""Final scores of many runs at one cut, from the catalog's coarse means: 25,000 runs in a tenth of a second."""

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


@dataclass(frozen=True, slots=True, repr=False)
class FinalScores(Shown):
    """A score for each run, as a table whose rows are made when they are asked for.

    Attributes:
        table: An Arrow table with the columns source, run, project, algo, impl, env, seed, last_step, cut, score, exact (whether
            the score is what the logged values give by the same rule, as ``plot`` computes it) and left_out (why there is none).
        metric: What is scored, as it was logged.
        kind: Its kind, one for all runs.
        without: How many runs logged nothing of it.
    """

    table: pa.Table
    metric: str
    kind: str
    without: int = 0

    def records(self) -> list[dict[str, Any]]:
        """A row for each run."""
        rows: list[dict[str, Any]] = self.table.to_pylist()
        return rows

    def headline(self) -> str:
        """What was scored, how, and how exactly."""
        import pyarrow.compute as pc

        scored, exact = self.table.num_rows - self.table["score"].null_count, pc.sum(self.table["exact"]).as_py() or 0
        how = f"{exact:,} exact, {scored - exact:,} from 100 means of a run"
        return f"{scored:,} scores of {self.metric} ({self.kind}), {RULE}: {how}"

    def remarks(self) -> list[str]:
        """What the others rest on, and who has none."""
        told = ["a score that is not exact takes the bins nearest to the window, each a hundredth of its run's steps"]
        reasons = Counter(reason for reason in self.table["left_out"].to_pylist() if reason)
        told += [f"{count:,} runs have no score: {reason}" for reason, count in reasons.most_common()]
        return told + ([f"{self.without:,} runs logged nothing of it"] if self.without else [])


def final_scores(
    selection: Selection | None = None, *, of: str | None = None, at: int | None = None, store: Store | None = None
) -> FinalScores:
    """The final score of each selected run at one cut in each environment, from what the catalog knows.

    The rule is ``plot``'s ``final:10%``: the mean over the last ten of a hundred equal step bins up to the cut. A run that ends
    at the cut has its score to the last digit. Of one that went on, the catalog has the means of a hundred bins of *its* steps:
    those nearest to the window are averaged, so that the window's ends are off by up to half a hundredth of its run. No point
    is read, nothing is normalised and there is no interval: those are :func:`openrlb.plot`'s.

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
    return FinalScores(table, " or ".join(chosen), kind, without)


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
