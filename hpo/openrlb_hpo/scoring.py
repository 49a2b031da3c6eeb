"""What a run of a study scored, and what its end means for the study."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openrlb.types import EPISODIC_RETURN, Selection
from openrlb_hpo.records import ReservationState, StudySettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from openrlb.store import Store
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
        seconds: How long it trained; for a run that was there before, until its last return.
        reason: Why it has no score, or what is to be said of its score; else an empty text.
        counts: Whether the attempt counts: one that the user ended does not.
    """

    state: ReservationState
    score: float | None = None
    steps: int = 0
    seconds: float = 0.0
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
    told = _returns(outcome, settings.kind, store)
    last = int(told.steps[-1]) if len(told.steps) else 0
    seconds = outcome.seconds if outcome.trained else told.seconds
    if run.state == "finished":
        score, remark = score_of(told.steps, told.values, settings)
        if score is None:
            return Ending("failed", None, last, seconds, f"no episode ended in {settings.steps:,} steps: train for longer")
        if not math.isfinite(score):
            return Ending("diverged", None, last, seconds, f"a return that {settings.objective} looks at is not finite")
        return Ending("finished", score, max(last, settings.steps), seconds, remark)
    if run.state == "diverged":
        return Ending("diverged", None, last, seconds, why)
    if run.state in ("failed", "invalid") or any("wall limit" in note for note in run.notes):
        return Ending("failed", None, last, seconds, why)
    if any("interrupted" in note for note in run.notes):
        return Ending("open", None, last, seconds, why, counts=False)
    if attempts < MOST_ATTEMPTS:
        return Ending("open", None, last, seconds, why)
    return Ending("lost", None, last, seconds, f"{attempts} attempts; the last: {why}")


def score_of(steps: NDArray[np.int64], values: NDArray[np.float64], settings: StudySettings) -> tuple[float | None, str]:
    """A run's score by the study's rule, cut at the steps that were asked for, and a remark.

    Where no episode ended in the window of ``final``, which befalls bad runs first (a failing agent's episodes are often the
    longest), the last step bin before it counts in which one did: leaving such runs out would flatter their configuration.

    Returns:
        The score (NaN where a return that counts is not finite; None where there is no return at all), and what is to be
        said of it, which is mostly nothing.

    >>> import numpy as np
    >>> asked = StudySettings("ppo", "sb3", "s", "l", ("A-v1",), 1000, {}, "zoo", "d")
    >>> score_of(np.array([500, 950]), np.array([1.0, 3.0]), asked)
    (3.0, '')
    >>> score_of(np.array([100, 500]), np.array([1.0, 2.0]), asked)
    (2.0, 'no episode ended in final:10%: scored by the last before it, at step 500')
    """
    import numpy as np

    from openrlb_analysis.rules import parse_rule
    from openrlb_analysis.scores import bin_of, score

    reached = steps <= settings.steps
    if not reached.any():
        return None, ""
    found = score(steps, values, settings.steps, parse_rule(settings.objective)).value
    if found is not None:
        return float(found), ""
    bins = bin_of(steps[reached], settings.steps)
    remark = f"no episode ended in {settings.objective}: scored by the last before it, at step {int(steps[reached][-1]):,}"
    with np.errstate(all="ignore"):  # what overflows has diverged
        return float(np.mean(values[reached][bins == bins[-1]])), remark


@dataclass(frozen=True, slots=True)
class Returns:
    """The episodic returns of a run.

    Attributes:
        steps: Their steps.
        values: The returns.
        seconds: When the last one was logged, in seconds since training began; 0 where that is not known.
    """

    steps: NDArray[np.int64]
    values: NDArray[np.float64]
    seconds: float = 0.0


def _returns(outcome: Outcome, kind: str, store: Store) -> Returns:
    """The episodic returns of one kind."""
    import numpy as np

    nothing = Returns(np.empty(0, np.int64), np.empty(0, np.float64))
    if outcome.batch is None:
        return stored_returns([outcome.run.run], kind, store).get(outcome.run.run, nothing)
    for metric in outcome.batch.metrics:
        if metric.metric.canonical == EPISODIC_RETURN and metric.metric.kind == kind:
            return Returns(metric.steps, metric.values)
    return nothing


def stored_returns(runs: Iterable[str], kind: str, store: Store) -> dict[str, Returns]:
    """The episodic returns of one kind of stored runs, by run id, in one read of the store.

    Args:
        runs: Run ids; one that is not stored, or has no return of the kind, is left out.
        kind: The kind of metric.
        store: The store.
    """
    from openrlb.store.schema import literal

    ids = ", ".join(map(literal, sorted(set(runs))))
    if not ids:
        return {}
    chosen = Selection(where=f"source = {literal(SOURCE)} AND run IN ({ids})", role=("none", "tuning", "confirm", "test"))
    found: dict[str, Returns] = {}
    for curve in store.curves(chosen, [(name, kind) for name in (EPISODIC_RETURN, f"eval/{EPISODIC_RETURN}")]):
        seconds = max(0.0, float(curve.times_ms[-1])) / 1000 if len(curve.steps) else 0.0
        found.setdefault(curve.run.run, Returns(curve.steps, curve.values, seconds))
    return found
