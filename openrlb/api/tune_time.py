"""How long a study will take: from its own runs, else from like runs in the store, else it is not known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from openrlb.api.run_plan import stored_paces
from openrlb.store import Store

if TYPE_CHECKING:
    from openrlb_hpo.records import StudyRecord, StudySettings

LONG_SECONDS = 1800.0
"""A study that takes longer is told how it could be shorter."""
SHORT_SECONDS = 300.0
"""The shorter study that is told takes about so long."""
SUPPOSED_PACE = 500.0
"""Steps per second that are supposed where none were measured: what PPO's sampled configurations made on one busy core."""
STARTUP_SECONDS = 2.0
"""What a run takes beside its training where nothing was measured: process, environment, storing it."""
BESIDE_SECONDS = 0.3
"""What openrlb itself takes for a run, beside its process: choosing, writing down, storing; as measured on two busy cores."""
FEWEST_STEPS, FEWEST_SEEDS = 1_000, 5


@dataclass(frozen=True, slots=True)
class Expected:
    """How long what is left of a study takes.

    Attributes:
        seconds: So long; None where no like run was trained here.
        runs: How many runs are left, test runs included.
        per_run: Seconds of a run's process, or None.
        source: What it is computed from, in words.
        low: Why it is known to be too low, or an empty text.
    """

    seconds: float | None
    runs: int
    per_run: float | None
    source: str
    low: str = ""


def runs_left(settings: StudySettings, budget: int, record: StudyRecord | None = None) -> int:
    """How many runs a study still trains at most, its test phase included.

    Args:
        settings: The study's.
        budget: Its budget.
        record: The study, where it has begun.

    >>> from openrlb_hpo.records import StudySettings
    >>> runs_left(StudySettings("ppo", "sb3", "s", "l", ("CartPole-v1",), 1000, {}, "zoo", "d"), 100)
    110
    """
    from openrlb_hpo.planner import tuning_left

    if record is None:
        return budget + settings.test_runs
    tested = sum(row.role == "test" and row.state != "open" for row in record.reservations)
    return tuning_left(replace(record, budget=budget)) + max(settings.test_runs - tested, 0)


def expected(
    settings: StudySettings,
    budget: int,
    workers: int,
    store: Store,
    studies: Sequence[StudyRecord],
    *,
    random: StudySettings | None = None,
) -> Expected:
    """How long a study takes from here on.

    Its own runs tell best; then those of other studies of the algorithm in these environments, which hold sampled
    configurations and all that a run takes beside its training; then plain runs of the store.

    Args:
        settings: The study's.
        budget: Its budget.
        workers: How many runs are trained at a time.
        store: Where runs are kept.
        studies: Every study that is known, this one included where it has begun.
        random: The settings of the random search beside it, or None.
    """
    record = next((one for one in studies if one.settings == settings), None)
    left = runs_left(settings, budget, record)
    if random is not None:
        left += runs_left(random, budget, next((one for one in studies if one.settings == random), None))
    own = seconds_of(record, settings.steps) if record is not None else []
    other = [seconds for one in studies if _is_alike(one.settings, settings) for seconds in seconds_of(one, settings.steps)]
    low = ""
    if own or other:
        per_run = sum(own or other) / len(own or other)
        count = len(own or other)
        source = f"{count} {'run' if count == 1 else 'runs'} of {'this study' if own else 'earlier studies'}"
    else:
        paces = stored_paces(store, {(settings.algo, settings.impl, env) for env in settings.envs})
        if len(paces) < len(settings.envs):
            return Expected(None, left, None, "")
        per_run = sum(settings.steps / pace for pace in paces.values()) / len(paces) + STARTUP_SECONDS
        source = "runs of openrlb run"
        evaluated = "; evaluations come on top" if settings.evaluation is not None else ""
        low = f"settings that are searched may train several times slower than theirs{evaluated}"
    return Expected(left * (per_run / workers + BESIDE_SECONDS), left, per_run, source, low)


def _is_alike(other: StudySettings, mine: StudySettings) -> bool:
    """Whether the runs of another study tell how long those of this one take."""
    names = ("algo", "impl", "envs", "env_kwargs", "evaluation", "threads", "device")
    return all(getattr(other, name) == getattr(mine, name) for name in names)


def seconds_of(record: StudyRecord, steps: int) -> list[float]:
    """How long each run of a study that has ended would have taken with so many steps.

    Args:
        record: The study.
        steps: The number of steps; what a run takes beside its training does not grow with it.
    """
    share = steps / record.settings.steps
    took = [row.seconds for row in record.reservations if row.state != "open" and row.seconds > 0]
    return [min(one, STARTUP_SECONDS) + max(one - STARTUP_SECONDS, 0.0) * share for one in took]


@dataclass(frozen=True, slots=True)
class Shorter:
    """A study like another one that takes minutes.

    Attributes:
        steps: Training steps of a run.
        budget: Its budget.
        test_seeds: Its test seeds.
        seconds: How long it takes.
    """

    steps: int
    budget: int
    test_seeds: int
    seconds: float


def shorter(settings: StudySettings, budget: int, workers: int, per_run: float | None) -> Shorter | None:
    """What to ask for instead of a study that takes long; None where nothing shorter is left to ask for.

    Args:
        settings: The study's.
        budget: Its budget.
        workers: How many runs are trained at a time.
        per_run: Seconds of one of its runs; None where that is not known: :data:`SUPPOSED_PACE` then.

    >>> from openrlb_hpo.records import StudySettings
    >>> shorter(StudySettings("ppo", "sb3", "s", "l", ("CartPole-v1",), 100_000, {}, "zoo", "d"), 100, 2, None)
    Shorter(steps=7000, budget=30, test_seeds=5, seconds=290.5)
    """
    known = settings.steps / SUPPOSED_PACE + STARTUP_SECONDS if per_run is None else per_run
    per_step = max(known - STARTUP_SECONDS, 0.0) / settings.steps
    small = min(budget, max(30, settings.confirm_runs + 2 * settings.full_trial))
    seeds = min(settings.test_seeds, FEWEST_SEEDS)
    runs = small + settings.test_runs // settings.test_seeds * seeds
    room = (SHORT_SECONDS / runs - BESIDE_SECONDS) * workers - STARTUP_SECONDS
    fitting = int(room / per_step) if per_step else settings.steps
    scale = 10 ** max(len(str(max(fitting, 1))) - 1, 0)
    steps = min(max(fitting // scale * scale, FEWEST_STEPS), settings.steps)
    if (steps, small, seeds) == (settings.steps, budget, settings.test_seeds):
        return None
    return Shorter(steps, small, seeds, runs * ((STARTUP_SECONDS + per_step * steps) / workers + BESIDE_SECONDS))
