"""What :func:`openrlb_analysis.measures.measure` answers with; ``key`` is the name of each in ``plot --json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from openrlb.types import Values
    from openrlb_analysis.critical_difference import CriticalDifference
    from openrlb_analysis.interval_width import WidthCurve
    from openrlb_analysis.machines import GroupMachines
    from openrlb_analysis.result import IntervalMethod
    from openrlb_analysis.runtime import RunTime


MEASURES = (
    *("poi", "win-rate", "profile", "efficiency", "rank", "critical-difference", "slopes", "interval-width"),
    *("steps-to-threshold", "runtime"),
)
"""Metrics whose answer is more than one number for each group."""


@dataclass(frozen=True, slots=True)
class PairImprovement:
    """How likely a run of the first group scores higher than one of the second.

    Attributes:
        first: The first group's label.
        second: The second's.
        value: The mean over environments.
        low: The interval's lower end, None where there is none.
        high: The upper end.
        per_env: The probability in each environment.
        runs: Runs of the first and of the second group.
    """

    first: str
    second: str
    value: float
    low: float | None
    high: float | None
    per_env: Mapping[str, float]
    runs: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Improvements:
    """Every pair of groups."""

    key: ClassVar[str] = "poi"
    pairs: tuple[PairImprovement, ...]
    envs: tuple[str, ...]
    interval: IntervalMethod
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupProfile:
    """One group's share of runs above each score; arrays of shape ``(k,)``, NaN where there is no interval."""

    label: str
    tau: Values
    value: Values
    low: Values
    high: Values
    runs: int


@dataclass(frozen=True, slots=True)
class Profiles:
    """Every group's performance profile on the same scores."""

    key: ClassVar[str] = "profile"
    profiles: tuple[GroupProfile, ...]
    envs: tuple[str, ...]
    interval: IntervalMethod
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupEfficiency:
    """One group's aggregate over environments along training.

    Attributes:
        label: The group's label.
        x: Positions, shape ``(k,)``.
        value: The aggregate at each.
        low: The lower end of the band, NaN where there is none.
        high: Its upper end.
        area: The curve's mean height.
        area_low: The lower end of its interval, None where there is none.
        area_high: The upper end.
        runs: Runs behind it.
    """

    label: str
    x: Values
    value: Values
    low: Values
    high: Values
    area: float
    area_low: float | None
    area_high: float | None
    runs: int


@dataclass(frozen=True, slots=True)
class Efficiencies:
    """Every group's efficiency curve; ``x_unit`` is ``share`` where environments end at different steps.

    ``seen`` is the lowest and the highest value that a run has at a position: the axis follows it.
    """

    key: ClassVar[str] = "efficiency"
    curves: tuple[GroupEfficiency, ...]
    aggregate: str
    x_unit: str
    band: str
    envs: tuple[str, ...]
    interval: IntervalMethod
    notes: tuple[str, ...] = ()
    seen: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class GroupRanks:
    """One group's bootstrap frequency of each rank, the best first."""

    label: str
    mean_rank: float
    frequency: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Ranks:
    """Every group's rank frequencies: bootstrap frequencies, not posterior probabilities."""

    key: ClassVar[str] = "rank"
    ranks: tuple[GroupRanks, ...]
    by: str
    envs: tuple[str, ...]
    interval: IntervalMethod
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupThreshold:
    """How long one group takes to the threshold; times in the x unit, infinity (JSON null) where it is not reached.

    Attributes:
        label: The group's label.
        reached: Runs that reached it, in each environment.
        runs: Runs, in each environment.
        value: The mean time, runs that did not reach it counted at the end of the curves.
        low: The lower end of its interval, None where there is none.
        high: The upper end.
        median: The mean over environments of the median run's time.
        curve: Where the aggregate's curve first reaches it.
        curve_low: The lower end of that place's interval.
        curve_high: The upper end.
    """

    label: str
    reached: Mapping[str, int]
    runs: Mapping[str, int]
    value: float
    low: float | None
    high: float | None
    median: float
    curve: float
    curve_low: float | None
    curve_high: float | None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Every group's steps to one threshold."""

    key: ClassVar[str] = "steps_to_threshold"
    thresholds: tuple[GroupThreshold, ...]
    threshold: float
    aggregate: str
    x_unit: str
    envs: tuple[str, ...]
    interval: IntervalMethod
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WinRates(Improvements):
    """Every pair of groups, as a matrix."""

    key: ClassVar[str] = "win_rate"


@dataclass(frozen=True, slots=True)
class Slope:
    """Two groups' scores in one environment.

    Attributes:
        env: The environment.
        first: The first group's score (the aggregate over its runs).
        second: The second's.
        difference: The second's less the first's.
        low: The lower end of its interval, by itself; None where there is none.
        high: The upper end.
    """

    env: str
    first: float
    second: float
    difference: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Slopes:
    """Two groups' scores in every environment; ``pools`` says whether these are on one scale."""

    key: ClassVar[str] = "slopes"
    first: str
    second: str
    slopes: tuple[Slope, ...]
    aggregate: str
    pools: bool
    envs: tuple[str, ...]
    interval: IntervalMethod
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Widths:
    """Every group's interval width against seeds."""

    key: ClassVar[str] = "interval_width"
    widths: Mapping[str, WidthCurve]
    aggregate: str
    envs: tuple[str, ...]
    interval: IntervalMethod
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CriticalDifferences:
    """Mean ranks over environments and what can be told apart; ``by`` is the score that ranks."""

    key: ClassVar[str] = "critical_difference"
    found: CriticalDifference
    by: str
    envs: tuple[str, ...]
    interval: IntervalMethod
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupTime:
    """How long one group's runs took in one environment."""

    label: str
    env: str
    time: RunTime


@dataclass(frozen=True, slots=True)
class RunTimes:
    """How long every group's runs took in every environment, and on what."""

    key: ClassVar[str] = "runtime"
    times: tuple[GroupTime, ...]
    machines: tuple[GroupMachines, ...]
    step_unit: str
    envs: tuple[str, ...]
    interval: IntervalMethod
    notes: tuple[str, ...] = ()


Measure = Improvements | Profiles | Efficiencies | Ranks | Thresholds | Slopes | Widths | CriticalDifferences | RunTimes
