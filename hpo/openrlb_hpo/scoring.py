"""What a run of a study scored, and what its end means for the study."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openrlb.types import EPISODIC_RETURN, Selection
from openrlb_hpo.records import ReservationState, StudySettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from openrlb.store import Store
    from openrlb.types import Run
    from openrlb_runners.request import Outcome

MOST_ATTEMPTS = 3
"""A run that its machine failed is begun so often."""
SOURCE = "openrlb"


@dataclass(frozen=True, slots=True)
class Ending:
    """What a run's end means.

    Attributes:
        state: The state of its row; ``open`` where it is to be trained again.
        score: Its score, where it finished.
        steps: Training steps done.
        reason: Why it has no score, else an empty text.
        counts: Whether the attempt counts: one that the user ended does not.
    """

    state: ReservationState
    score: float | None = None
    steps: int = 0
    reason: str = ""
    counts: bool = True


def ending_of(outcome: Outcome, settings: StudySettings, store: Store, attempts: int) -> Ending:
    """What the end of a run means for its study.

    A configuration that diverges is an outcome; one that the runner refuses or cannot apply has failed; what the machine did
    to a run (a crash, memory, a signal) says nothing of the configuration, and the run is begun again.

    Args:
        outcome: What came of it.
        settings: The study's.
        store: The store that holds runs which were there before.
        attempts: How often it was begun.
    """
    run = outcome.run
    why = next(iter(run.notes), run.state)
    if run.state == "finished":
        steps, values = _returns(outcome, settings.kind, store)
        score = score_of(steps, values, settings)
        last = int(steps[-1]) if len(steps) else 0
        if score is None:
            return Ending("failed", None, last, f"no {settings.kind} return lies where {settings.objective} looks")
        if not math.isfinite(score):
            return Ending("diverged", None, last, f"a return that {settings.objective} looks at is not finite")
        return Ending("finished", score, max(last, settings.steps))
    steps, _ = _returns(outcome, settings.kind, store)
    last = int(steps[-1]) if len(steps) else 0
    if run.state == "diverged":
        return Ending("diverged", None, last, why)
    if run.state in ("failed", "invalid") or any("wall limit" in note for note in run.notes):
        return Ending("failed", None, last, why)
    if any("interrupted" in note for note in run.notes):
        return Ending("open", None, last, why, counts=False)
    if attempts < MOST_ATTEMPTS:
        return Ending("open", None, last, why)
    return Ending("lost", None, last, f"{attempts} attempts; the last: {why}")


def score_of(steps: NDArray[np.int64], values: NDArray[np.float64], settings: StudySettings) -> float | None:
    """A run's score by the study's rule, cut at the steps that were asked for.

    Returns:
        The score; NaN where a return that counts is not finite; None where the rule finds no return.
    """
    from openrlb_analysis.rules import parse_rule
    from openrlb_analysis.scores import score

    if not len(steps):
        return None
    return score(steps, values, settings.steps, parse_rule(settings.objective)).value


def _returns(outcome: Outcome, kind: str, store: Store) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The episodic returns of one kind, with their steps."""
    if outcome.batch is not None:
        import numpy as np

        for metric in outcome.batch.metrics:
            if metric.metric.canonical == EPISODIC_RETURN and metric.metric.kind == kind:
                return metric.steps, metric.values
        return np.empty(0, np.int64), np.empty(0, np.float64)
    return stored_returns(outcome.run, kind, store)


def stored_returns(run: Run, kind: str, store: Store) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The episodic returns of one kind of a stored run, with their steps."""
    import numpy as np

    from openrlb.store.schema import literal

    chosen = Selection(
        where=f"source = {literal(SOURCE)} AND run = {literal(run.run)}", role=("none", "tuning", "confirm", "test")
    )
    for curve in store.curves(chosen, [(name, kind) for name in (EPISODIC_RETURN, f"eval/{EPISODIC_RETURN}")]):
        return curve.steps, curve.values
    return np.empty(0, np.int64), np.empty(0, np.float64)
