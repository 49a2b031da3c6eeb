"""``compare``: is one group of runs better than another, and how sure is that?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from openrlb.api.compare_inputs import Inputs, ScoreOptions, score_groups
from openrlb.api.group_names import NamedGroup
from openrlb.api.look_count import Place, keep_looks, look_words, places_of
from openrlb.api.opened import given, opened
from openrlb.api.shown import CompareShown
from openrlb.api.tuning_effort import TuningEffort, tuning_effort, unlike
from openrlb.store import Store
from openrlb.store.looks import read_looks
from openrlb.types import Selection

if TYPE_CHECKING:
    from openrlb_analysis.comparison import PairResult, Probability, Secondary, Verdict
    from openrlb_analysis.contests import Contests
    from openrlb_analysis.result import Excluded, IntervalMethod


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """How to compare; the flags of ``openrlb compare``.

    Attributes:
        score: How runs are grouped and scored.
        margin: The smallest difference that matters, in the scores' unit; without it nothing is equivalent.
        paired: Runs with equal seeds of one implementation are pairs.
        sequential: Intervals that hold over all looks at growing seeds.
        against_first: The first group against each other one, not all pairs.
        power: For the seeds needed.
    """

    score: ScoreOptions = field(default_factory=ScoreOptions)
    margin: float | None = None
    paired: bool = False
    sequential: bool = False
    against_first: bool = False
    power: float = 0.8


@dataclass(frozen=True, slots=True)
class ComparedGroup:
    """One group of a comparison.

    Attributes:
        label: Its label.
        by: The values that define it.
        runs: Its runs that count in each environment.
        tuning: What is known of its tuning.
    """

    label: str
    by: Mapping[str, Any]
    runs: Mapping[str, int]
    tuning: TuningEffort


@dataclass(frozen=True, slots=True)
class Looks:
    """How often the same comparison was looked at, on different runs.

    Attributes:
        number: Which look this is; with several comparisons, of the one looked at most often.
        total: How many looks there are by now: more than ``number`` where these runs were seen before others.
        sequential: Whether the intervals hold over all looks.
        alpha: The error that this look adds, all its comparisons together.
        spent: The error of all looks together, this one included: a bound.
        stored: Whether this look is kept.
        words: The same for people, and what else these runs were looked at for; empty for a first look.
    """

    number: int
    total: int
    sequential: bool
    alpha: float
    spent: float
    stored: bool
    words: str


@dataclass(frozen=True, slots=True, repr=False)
class CompareAnswer(CompareShown):
    """The answer of ``openrlb compare``; its JSON shape is DESIGN.md section 8.

    The entries from ``difference`` to ``seeds_needed`` are those of the only comparison, and None where there are several:
    then each stands in ``comparisons``.

    Attributes:
        statistic: The statistic that the verdict is about.
        difference: The first group's less the second's.
        low: The lower end of the adjusted interval.
        high: The upper end.
        margin: The margin, or None.
        verdict: better, worse, equivalent or undecided: the first group beside the second.
        looks: How often this was looked at.
        probability_of_improvement: With its interval.
        secondary: Other tests.
        seeds_needed: Seeds for each group to find a difference of the margin.
        excluded: Every run left out, with its reason.
        words: A sentence for each comparison, the verdict first.
        comparisons: Every comparison in full.
        groups: The groups.
        of: What is scored.
        kind: The kind of that quantity.
        rule: The score rule.
        step: The cut of each environment.
        cut_cause: Who caused it.
        normalization: The normalisation.
        pooled_envs: The environments that are pooled.
        paired: Whether runs are pairs.
        interval: How intervals were computed; its level is that of all comparisons together.
        notes: What a reader must know.
    """

    statistic: str
    difference: float | None
    low: float | None
    high: float | None
    margin: float | None
    verdict: Verdict | None
    looks: Looks
    probability_of_improvement: Probability | None
    secondary: Secondary | None
    seeds_needed: int | None
    excluded: tuple[Excluded, ...]
    words: tuple[str, ...]
    comparisons: tuple[PairResult, ...]
    groups: tuple[ComparedGroup, ...]
    of: str
    kind: str
    rule: str
    step: Mapping[str, int]
    cut_cause: Mapping[str, str]
    normalization: str
    pooled_envs: tuple[str, ...]
    paired: bool
    interval: IntervalMethod
    notes: tuple[str, ...]


def compare(
    groups: Sequence[str],
    selection: Selection | None = None,
    options: CompareOptions | None = None,
    *,
    orlb_filters: Sequence[str] = (),
    store: Store | None = None,
) -> CompareAnswer:
    """Compares groups of stored runs by one rule, and keeps the look.

    The rule is :func:`openrlb_analysis.comparison.verdict` on Holm-adjusted intervals; everything else is secondary.

    Args:
        groups: Names of two groups or more: labels as ``plot`` prints them, algorithms, ``ALGO@IMPL``, globs.
        selection: Which runs; all by default. Tuning and confirm runs only where ``role`` names them, reproductions never.
        options: How.
        orlb_filters: rlops' filter strings, which narrow the selection.
        store: The user's own store by default.

    Raises:
        NothingMatched: No run fits, or no group has that name.
        KindsDiffer: The groups share no kind of return.
        SelectionError: A name of several groups, groups without an environment in common, too few seeds.
        UsageError: One group only, or an option without meaning.

    Warns:
        LookWarning: Looks that cannot be read, or this one could not be kept.
    """
    from openrlb_analysis.comparison import compare_contests
    from openrlb_analysis.contests import contests_of, too_few
    from openrlb_analysis.intervals import interval_method
    from openrlb_analysis.power import checked_margin

    options, store = given(options, CompareOptions, "options"), opened(store)
    groups = [groups] if isinstance(groups, str) else groups
    score = options.score
    method = interval_method(score.interval, score.level, score.resamples, score.seed, score.interval_from)
    if options.margin is not None:
        checked_margin(options.margin)
    inputs = score_groups(
        groups, given(selection, Selection, "selection"), score, fewest=2, orlb_filters=orlb_filters, store=store
    )
    found = contests_of(inputs.analysis, inputs.labels, against_first=options.against_first, paired=options.paired)
    if error := too_few(found.contests, method.fewest):
        raise error
    kept, places = None, list[Place]()
    while kept is None:  # again only where somebody else looked meanwhile
        looks = read_looks(store.layout)
        if (now := places_of(inputs, found, looks, options)) != places:
            places = now
            pairs = compare_contests(
                found.contests, metric=score.metric, method=method, margin=options.margin, power=options.power,
                information=[place.information for place in places] if options.sequential else None,
            )  # fmt: skip
        kept = keep_looks(places, pairs, found.contests, len(looks), store, options)
    efforts = {group.label: tuning_effort(group.rows, store) for group in inputs.groups}
    return _answer(inputs, found, pairs, places, kept, efforts, method, options)


def _answer(
    inputs: Inputs,
    found: Contests,
    pairs: tuple[PairResult, ...],
    places: Sequence[Place],
    kept: bool,
    efforts: Mapping[str, TuningEffort],
    method: IntervalMethod,
    options: CompareOptions,
) -> CompareAnswer:
    """Everything in one record."""
    from openrlb_analysis.intervals import interval_note
    from openrlb_analysis.verdict_words import Setting, sentence

    analysis, score = inputs.analysis, options.score
    cuts = {env: cut for env, cut in analysis.prepared.cuts.items() if cut.step is not None}
    family = sum(one.fewest >= method.fewest for one in found.contests)
    setting = Setting(
        score.metric.lower(), analysis.rule.text, score.level, family, options.margin, method.fewest,
        name_envs=len({pair.envs for pair in pairs}) > 1,
    )  # fmt: skip
    looked = [look_words(place, pair, options) for place, pair in zip(places, pairs, strict=True)]
    words = [
        sentence(pair, setting, (unlike({label: efforts[label] for label in (pair.first, pair.second)}), told))
        for pair, told in zip(pairs, looked, strict=True)
    ]
    most = max(range(len(places)), key=lambda at: (places[at].total, places[at].number))
    only = pairs[0] if len(pairs) == 1 else None
    counts = [size for pair in pairs for sizes in pair.runs.values() for size in sizes]
    needed = only.seeds_needed if only else None
    alone = score.metric.lower() == "median" and all(len(pair.envs) == 1 for pair in pairs)
    few = ["the median is taken over environments' means; of one environment it is that mean"] if alone else []
    return CompareAnswer(
        statistic=score.metric.lower(),
        difference=only.difference if only else None,
        low=only.low if only else None,
        high=only.high if only else None,
        margin=options.margin,
        verdict=only.verdict if only else None,
        looks=_looks(places[most], looked[most], kept, options),
        probability_of_improvement=only.probability_of_improvement if only else None,
        secondary=only.secondary if only else None,
        seeds_needed=needed.difference if needed else None,
        excluded=(*inputs.excluded, *found.excluded),
        words=tuple(words),
        comparisons=pairs,
        groups=tuple(_compared(group, inputs, efforts[group.label]) for group in inputs.groups),
        of=inputs.of,
        kind=analysis.kind,
        rule=analysis.rule.text,
        step={env: cut.step for env, cut in cuts.items() if cut.step is not None},
        cut_cause={env: cut.cause for env, cut in cuts.items()},
        normalization=analysis.normalization.text,
        pooled_envs=found.pooled,
        paired=options.paired,
        interval=replace(method, note=interval_note(method.method, counts, f"difference in {score.metric.lower()}")),
        notes=(*inputs.notes, *found.notes, *_spread_notes(pairs), *_failed_notes(inputs, found, pairs, method, options), *few),
    )


def _looks(place: Place, words: str, kept: bool, options: CompareOptions) -> Looks:
    """One comparison's looks, as the answer holds them."""
    return Looks(place.number, place.total, options.sequential, place.added, place.spent, kept, words)


def _spread_notes(pairs: Sequence[PairResult]) -> list[str]:
    """Which groups' runs all gave the same score, and what that means."""
    cells = {(label, env): pair.runs[env][label == pair.second] for pair in pairs for label, env in pair.without_spread}
    means = "equal scores say nothing of how much further seeds would differ"
    return [f"{label}, {env}: all {count} runs gave the same score; {means}" for (label, env), count in cells.items()]


def _failed_notes(
    inputs: Inputs, found: Contests, pairs: Sequence[PairResult], method: IntervalMethod, options: CompareOptions
) -> list[str]:
    """The verdicts with failed runs at the failure score, where many failed."""
    from openrlb_analysis.comparison import verdict
    from openrlb_analysis.contests import with_failed

    metric, notes = options.score.metric.lower(), []
    for contest, pair in zip(found.contests, pairs, strict=True):
        worse = with_failed(contest, inputs.analysis)
        if worse is None or pair.low is None:
            continue
        ends = worse[0].interval(metric, replace(method, level=pair.level))
        if ends is not None:
            then = f"difference {worse[0].estimate(metric):.4g} [{ends[0]:.4g}, {ends[1]:.4g}]"
            about = f"{pair.first} vs {pair.second} on {', '.join(pair.envs)}"
            notes.append(f"{worse[1]}; with them at the failure score {about} is {verdict(*ends, options.margin)}, {then}")
    return notes


def _compared(group: NamedGroup, inputs: Inputs, effort: TuningEffort) -> ComparedGroup:
    """One group, as the answer holds it."""
    runs = {env: len(one.scores) for (label, env), one in inputs.analysis.scored.items() if label == group.label}
    return ComparedGroup(group.label, group.by, runs, effort)
