"""What an analysis answers with: frozen records whose JSON form scripts rely on (keys may be added, never renamed)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openrlb.store.normalizations import Scale
    from openrlb.types import Values
    from openrlb_analysis.machines import GroupMachines


@dataclass(frozen=True, slots=True)
class IntervalMethod:
    """How intervals were computed, printed with every output.

    Attributes:
        method: ``calibrated``, ``percentile`` (rliable's), ``basic`` or ``bca``.
        level: The nominal coverage, for instance 0.95.
        resamples: Bootstrap resamples.
        seed: The seed of the bootstrap's random numbers.
        note: What a reader must know, for instance "too narrow below 10 seeds".
        fewest: The fewest runs of an environment that get an interval.
    """

    method: str
    level: float
    resamples: int
    seed: int
    note: str = ""
    fewest: int = 3


@dataclass(frozen=True, slots=True)
class EnvResult:
    """One group's answer in one environment.

    Attributes:
        env: The environment's id.
        runs: How many runs (seeds) count.
        seeds: The seeds that count, None where a run does not say.
        value: The declared statistic over the runs' scores; None where it has none in one environment.
        low: The interval's lower end, None where there is none (too few runs).
        high: The interval's upper end.
        mean: The mean over the runs' scores.
        std: Their standard deviation with the result's ddof; None where it is undefined.
        iqm: Their interquartile mean.
        spread: What ``std`` is over: ``runs``, or ``episodes`` where a single run's logged episodes are all there is.
        points: Logged points behind each run's score, smallest and largest.
        scores: The runs' scores, in the order of ``seeds``.
        run_ids: The runs' ids, in the same order.
    """

    env: str
    runs: int
    seeds: tuple[int | None, ...]
    value: float | None
    low: float | None
    high: float | None
    mean: float
    std: float | None
    iqm: float
    spread: str
    points: tuple[int, int]
    scores: tuple[float, ...]
    run_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GroupResult:
    """One group (variant) of runs and its answer.

    ``value`` is None where environments cannot be pooled (several of them and no normalisation).
    """

    label: str
    algo: str
    impl: str
    variant: str
    by: Mapping[str, Any]
    value: float | None
    low: float | None
    high: float | None
    runs: int
    envs: int
    per_env: tuple[EnvResult, ...]


@dataclass(frozen=True, slots=True)
class Excluded:
    """A run that does not count, and why; algorithm, environment and seed where the caller knows them."""

    run: str
    reason: str
    algo: str = ""
    env: str = ""
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class PlotResult:
    """The whole answer of ``openrlb plot``; its JSON shape is DESIGN.md section 8.

    Attributes:
        metric: The aggregate (``iqm``).
        of: The logged quantity.
        kind: The kind of that quantity; kinds are never mixed silently.
        step_unit: What steps count.
        rule: The score rule, as a reader would type it (``final:10%``).
        step: The cut of each environment.
        cut_cause: Who caused the cut, in words, for each environment.
        ddof: Delta degrees of freedom of every ``std``.
        normalization: Name and version of the normalisation table, or ``none``.
        interval: How intervals were computed.
        groups: One entry for each group.
        excluded: Every run left out, with its reason.
        sources: Where the runs came from.
        notes: Everything else a reader must know, in sentences.
        pooled_envs: The environments that the groups' pooled values are over; empty where nothing is pooled.
        references: What became 0 and 1 in each environment, and the runs behind it where stored runs gave it.
        bounds: The lowest and the highest score that an environment allows, where that is known; intervals lie within.
        machines: What each group's runs were trained on, where the answer shows wall time.
        aggregate: What a measure aggregates runs by (``iqm``); empty where it does not.
    """

    metric: str
    of: str
    kind: str
    step_unit: str
    rule: str
    step: Mapping[str, int]
    cut_cause: Mapping[str, str]
    ddof: int
    normalization: str
    interval: IntervalMethod
    groups: tuple[GroupResult, ...]
    excluded: tuple[Excluded, ...]
    sources: tuple[str, ...]
    notes: tuple[str, ...] = ()
    pooled_envs: tuple[str, ...] = ()
    references: Mapping[str, Scale] = field(default_factory=dict)
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    machines: tuple[GroupMachines, ...] = ()
    aggregate: str = ""

    def pooled_runs(self, group: GroupResult) -> int:
        """How many of a group's runs stand behind its pooled value: those in ``pooled_envs``."""
        return sum(one.runs for one in group.per_env if one.env in self.pooled_envs)


@dataclass(frozen=True, slots=True)
class CurveBand:
    """One group's learning curve in one environment.

    Attributes:
        label: The group's label.
        env: The environment's id.
        x: Positions, shape ``(k,)``: steps, frames, or hours.
        value: The statistic over runs at each position, shape ``(k,)``, NaN where no run has a value.
        low: The pointwise interval's lower end, NaN where there is none.
        high: The pointwise interval's upper end.
        runs: How many runs stand behind each position, shape ``(k,)``.
    """

    label: str
    env: str
    x: Values
    value: Values
    low: Values
    high: Values
    runs: Values


@dataclass(frozen=True, slots=True)
class CurvesResult:
    """Learning curves of several groups and environments on one kind of x axis.

    Attributes:
        x_unit: ``agent_step``, ``frame``, ``hours`` or ``unknown``.
        metric: The statistic over runs.
        of: The logged quantity.
        interval: How the pointwise bands were computed.
        bands: One entry for each (group, environment).
        notes: What a reader must know.
        kind: The kind of that quantity.
        normalization: Name and version of the normalisation table, or ``none``.
        end: The last position of each environment (by time that of its longest group), in the unit of x.
        cut_cause: Who caused that end, in words, for each environment.
        excluded: Every run left out, with its reason.
        band: What the bands hold: each position by itself (``pointwise``), or whole curves (``simultaneous``).
        bounds: The lowest and the highest value that an environment allows, where that is known; bands lie within.
        seen: The lowest and the highest value that a run has at a position, for each environment: the axis follows it.
    """

    x_unit: str
    metric: str
    of: str
    interval: IntervalMethod
    bands: tuple[CurveBand, ...]
    notes: tuple[str, ...] = field(default_factory=tuple)
    kind: str = ""
    normalization: str = "none"
    end: Mapping[str, float] = field(default_factory=dict)
    cut_cause: Mapping[str, str] = field(default_factory=dict)
    excluded: tuple[Excluded, ...] = ()
    band: str = "pointwise"
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    seen: Mapping[str, tuple[float, float]] = field(default_factory=dict)
