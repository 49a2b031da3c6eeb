"""Flags and words that ``compare`` and ``power`` share: which groups, how they are scored, what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openrlb.cli import options as flag

if TYPE_CHECKING:
    from openrlb.api.compare_inputs import ScoreOptions
    from openrlb.cli.app import Talk
    from openrlb_analysis.result import Excluded, IntervalMethod

EXCLUDED_SHOWN = 8
CUTS_SHOWN = 6


class Statistic(StrEnum):
    """What a verdict is about."""

    iqm = "iqm"
    mean = "mean"
    median = "median"


class Role(StrEnum):
    """What a run was for."""

    none = "none"
    test = "test"
    tuning = "tuning"
    confirm = "confirm"


Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="GROUP...",
        help="Groups as plot prints them ('ppo (sb3)'), an algorithm, ALGO@IMPL, ALGO@PROJECT, 'ALGO key=value', or a glob.",
    ),
]
Metric = Annotated[Statistic, typer.Option("--metric", help="The statistic that the verdict is about.")]
Of = Annotated[str | None, typer.Option("--of", help="The logged quantity; a return that every run has by default.")]
By = Annotated[
    list[str] | None,
    typer.Option("--by", help="What makes a group: algo, impl, source, project, tag, study, commit, config.X. Repeatable."),
]
Pool = Annotated[bool, typer.Option("--pool", help="Pool configurations that differ, and say so.")]
Score = Annotated[str, typer.Option("--score", help="final:10%, last, at:STEP, mean, auc.")]
At = Annotated[int | None, typer.Option("--at", parser=flag.whole_number, metavar="STEP", help="Cut every run at this step.")]
Normalize = Annotated[
    str | None,
    typer.Option(
        "--normalize", help="A table, none, a frozen name, ref:GROUP, minmax:GROUP or cdf:GROUP; the table that fits by default."
    ),
]
Frames = Annotated[int | None, typer.Option("--frames-per-step", min=1, help="Aligns frames with agent steps.")]
Level = Annotated[float, typer.Option("--level", min=0.5, max=0.999, help="The level of all intervals together.")]
Roles = Annotated[
    list[Role] | None,
    typer.Option("--role", help="Runs with this role only; tuning and confirm runs are never compared unless named. Repeatable."),
]


def score_options(
    metric: Statistic,
    of: str | None,
    by: list[str] | None,
    pool: bool,
    score: str,
    at: int | None,
    normalize: str | None,
    frames_per_step: int | None,
    level: float,
    **more: Any,  # noqa: ANN401 - the interval's options, which power has no use for
) -> ScoreOptions:
    """The scoring options that the flags ask for."""
    from openrlb.api.compare_inputs import ScoreOptions

    keys = tuple(key.strip() for word in by or () for key in word.split(","))
    return ScoreOptions(metric.value, of, keys, pool, score, at, normalize, frames_per_step, level=level, **more)


def tell_cuts(said: Talk, step: Mapping[str, int], cause: Mapping[str, str]) -> None:
    """How far each environment is compared."""
    for env, cut in list(step.items())[: None if said.verbose else CUTS_SHOWN]:
        said.say(f"cut: {env} at {cut:,} ({cause.get(env, '')})")
    if len(step) > CUTS_SHOWN and not said.verbose:
        said.say(f"cut: {len(step) - CUTS_SHOWN} more environments; --json names all of them")


def tell_rest(said: Talk, notes: tuple[str, ...], excluded: tuple[Excluded, ...]) -> None:
    """Notes and the runs left out."""
    for note in notes:
        said.say(f"note: {note}")
    kept = excluded if said.verbose else excluded[:EXCLUDED_SHOWN]
    for item in kept:
        about = f" ({item.algo}, {item.env}{'' if item.seed is None else f', seed {item.seed}'})" if item.env else ""
        said.say(f"excluded: {item.run}{about}: {item.reason}")
    if len(excluded) > len(kept):
        said.say(f"excluded: {len(excluded) - len(kept)} more; --json and openrlb -v name all of them")


def interval_words(how: IntervalMethod, whole: bool) -> str:
    """How intervals were computed: the method, what to beware of, the level; captions and ``--json`` have all of it.

    Args:
        how: The method.
        whole: Also what the intervals cover, the resamples and their seed.

    >>> from openrlb_analysis.result import IntervalMethod
    >>> how = IntervalMethod("calibrated", 0.95, 50_000, 0, "calibrated, fewer than 10 seeds: beware; for the iqm of many runs")
    >>> interval_words(how, False)
    'calibrated, fewer than 10 seeds: beware, level 0.95'
    >>> interval_words(how, True)
    'calibrated, fewer than 10 seeds: beware; for the iqm of many runs, level 0.95, 50,000 resamples, seed 0'
    """
    told = how.note or how.method
    if whole:
        return f"{told}, level {how.level:g}, {how.resamples:,} resamples, seed {how.seed}"
    method, _, rest = told.partition(", ")
    kept = "; ".join(part for part in rest.split("; ") if not part.startswith("for "))
    return ", ".join(part for part in (method, kept, f"level {how.level:g}") if part)
