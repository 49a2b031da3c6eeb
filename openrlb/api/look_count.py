"""How often a comparison was looked at, from the store's own record of looks, and what that means for this one."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from openrlb.api.group_names import NamedGroup
from openrlb.errors import StoreBusy, StoreUnwritable
from openrlb.store import Store
from openrlb.store.looks import Look, LookWarning, add_looks
from openrlb.store.variant import training_config
from openrlb.types import stable_hash

if TYPE_CHECKING:
    from openrlb.api.compare import CompareOptions
    from openrlb.api.compare_inputs import Inputs
    from openrlb_analysis.comparison import Contest, PairResult
    from openrlb_analysis.contests import Contests

Sides = tuple[frozenset[str], frozenset[str]]
OTHERS_TOLD = 3
"""So many other questions about the same runs are told; more are counted."""
_TURNED = {"better": "worse", "worse": "better"}


@dataclass(frozen=True, slots=True)
class SeenLook:
    """An earlier look as it bears on a comparison now.

    Attributes:
        look: The look.
        runs: Its runs, each with the side of today's comparison that it stood on.
        verdict: What came of it, the groups in today's order.
    """

    look: Look
    runs: frozenset[str]
    verdict: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where one comparison stands among the looks at it.

    Attributes:
        key: What is compared, whichever runs there are of it: the groups' definitions and the question.
        question: The statistic, what it is of, how it is scored, and the environments.
        first: ``source run`` of every run of the first group, sorted.
        second: The same of the second.
        number: Which look this is.
        total: How many there are by now, this one included; more than ``number`` where these runs were seen before others.
        growing: Whether every look was at all runs of the one before and at further ones.
        information: What was known at each look, this one last; zeros where the runs did not just grow.
        added: The error that this look adds.
        spent: The error of all looks up to this one together, a bound.
        planned: What it would be, had all of them been corrected.
        same: Earlier looks at just these runs.
        others: Looks at these runs with another question.
    """

    key: str
    question: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    number: int
    total: int
    growing: bool
    information: tuple[float, ...]
    added: float
    spent: float
    planned: float
    same: tuple[SeenLook, ...]
    others: tuple[SeenLook, ...]


def places_of(inputs: Inputs, found: Contests, looks: Sequence[Look], options: CompareOptions) -> list[Place]:
    """Where each comparison stands among the looks at it.

    A look is at the same comparison where the question is the same and both groups share runs with today's, however they
    were grouped and named, or where the groups are defined in the same way.

    Args:
        inputs: The named groups and their scores.
        found: The comparisons.
        looks: Every look that was kept.
        options: How they are compared.
    """
    return [
        _place(inputs, contest, (_names(first), _names(second)), looks, options)
        for contest, (first, second) in zip(found.contests, found.runs, strict=True)
    ]


def _names(runs: frozenset[tuple[str, str]]) -> frozenset[str]:
    """Runs as looks name them."""
    return frozenset(" ".join(run) for run in runs)


def _definition(group: NamedGroup, envs: Sequence[str], explicit: bool) -> Any:  # noqa: ANN401 - any JSON value
    """What makes a group the same at a later look: what the reader chose, else what all its runs have in common.

    The keys that tell variants apart are no use here: they change with whatever else is in the store.
    """
    if explicit:
        return dict(group.by)
    common: dict[str, dict[str, Any]] = {}
    for row in group.rows:
        if row.record.env in envs:
            config = {key: json.dumps(value, sort_keys=True) for key, value in training_config(row.record.config).items()}
            mine = common.setdefault(row.record.env, config)
            common[row.record.env] = {key: value for key, value in mine.items() if config.get(key) == value}
    first = group.rows[0].record
    return [first.algo, first.impl, first.source, first.project, common]


def _keys(inputs: Inputs, contest: Contest, options: CompareOptions) -> tuple[str, str]:
    """What is compared, whichever runs there are of it, and the question alone.

    The margin is no part of it: better and worse do not depend on it, and another margin is no way around the count.
    """
    score, analysis = options.score, inputs.analysis
    what = [score.metric.lower(), inputs.of, analysis.kind, analysis.rule.text, score.at, analysis.normalization.name]
    question = [what, sorted(contest.envs), contest.paired]
    defined = [
        _definition(group, contest.envs, bool(score.by or score.pool))
        for group in inputs.groups
        if group.label in (contest.first, contest.second)
    ]
    groups = sorted(json.dumps(one, sort_keys=True, default=str) for one in defined)
    return stable_hash([groups, *question]), stable_hash(question)


def _seen(look: Look, now: Sides) -> tuple[SeenLook, bool]:
    """A look beside today's groups, turned round where that fits better, and whether both sides share runs with them."""
    first = frozenset(look.first)
    second = frozenset(look.runs) - first
    straight, turned = (len(first & now[0]), len(second & now[1])), (len(first & now[1]), len(second & now[0]))
    swap = min(turned) > 0 and (min(straight) == 0 or sum(turned) > sum(straight))
    if swap:
        first, second = second, first
    verdict = _TURNED.get(look.verdict, look.verdict) if swap else look.verdict
    if not look.first and now[0] | now[1] == second:  # an older look does not say which group ran what
        first, second = now
    runs = _labelled(first, second)
    return SeenLook(look, runs, verdict), bool(look.first) and max(min(turned), min(straight)) > 0


def _labelled(first: frozenset[str], second: frozenset[str]) -> frozenset[str]:
    """Runs with the side they stand on."""
    return frozenset([*(f"first {run}" for run in first), *(f"second {run}" for run in second)])


def _place(inputs: Inputs, contest: Contest, now: Sides, looks: Sequence[Look], options: CompareOptions) -> Place:
    """Counts the looks at one comparison."""
    from openrlb_analysis.sequential import added_error, standing

    alpha = round(1.0 - options.score.level, 12)
    key, question = _keys(inputs, contest, options)
    beside = [_seen(look, now) for look in looks]
    keys = {key} | {one.look.comparison for one, meets in beside if meets and one.look.question == question}
    mine = [one for one, _ in beside if one.look.comparison in keys]
    others = [one for one, meets in beside if meets and one.look.question != question]
    runs = _labelled(*now)
    here = standing(runs, [one.runs for one in mine])
    before = [mine[at] for at in here.before]
    added = added_error(here.number, alpha) if options.sequential else alpha
    used = {one.runs: max(two.look.alpha for two in mine if two.runs == one.runs) for one in before}
    same = tuple(one for one in mine if one.runs == runs)
    spent = sum(used.values()) + max([added, *(one.look.alpha for one in same)])
    information = tuple(one.look.information for one in before) if here.growing else tuple(0.0 for _ in before)
    return Place(
        key, question, tuple(sorted(now[0])), tuple(sorted(now[1])), here.number, len({one.runs for one in mine} | {runs}),
        here.growing, (*information, contest.information), added, min(spent, 1.0), _planned(here.number, alpha), same,
        tuple(others),
    )  # fmt: skip


def _planned(look: int, alpha: float) -> float:
    """The error of so many looks, all of them corrected: the sum of what each may add.

    >>> [round(_planned(look, 0.05), 5) for look in (1, 2, 3)]
    [0.025, 0.03333, 0.0375]
    """
    return alpha * look / (look + 1)


def look_words(place: Place, pair: PairResult, options: CompareOptions) -> str:
    """Which look this is, what that means, and what else these runs were looked at for: for the verdict's line.

    Args:
        place: Where the comparison stands.
        pair: What came of it.
        options: How it was compared.
    """
    told = [_count_words(place, options.sequential)]
    differing = {one.verdict: one.look for one in place.same if one.verdict != pair.verdict}
    for verdict, look in differing.items():
        how = ["" if look.level is None else f"level {look.level:.4g}"]
        how += [f"margin {look.margin:g}"] if look.margin is not None and look.margin != options.margin else []
        inside = ", ".join(part for part in how if part)
        told.append(f"also looked at with verdict {verdict}{f' ({inside})' if inside else ''}")
    return "; ".join(part for part in [*told, _other_words(place, pair, options)] if part)


def _count_words(place: Place, sequential: bool) -> str:
    """Which look this is and whether the error holds."""
    runs = "at growing seeds" if place.growing else "at other runs of the same groups"
    again = place.total > place.number
    which = f"look {place.number}" + (f" of {place.total}, these runs were seen before the later ones" if again else "")
    if not sequential:
        if again:
            return f"{which}, uncorrected"
        return f"{which} {runs}, uncorrected" if place.number > 1 else ""
    if place.spent > place.planned + 1e-9:
        return f"{which}, corrected, but it or an earlier one was not: all together err in up to {100 * place.spent:.2g} %"
    return f"{which}, corrected for all looks" + (" before it" if again else "")


def _other_words(place: Place, pair: PairResult, options: CompareOptions) -> str:
    """What other questions these runs were looked at for."""
    found: dict[str, str] = {}
    for one in place.others:
        look, how = one.look, []
        if look.statistic != options.score.metric.lower():
            how.append(f"by {look.statistic}")
        if set(look.envs) != set(pair.envs):
            how.append(f"on {look.envs[0]}" if len(look.envs) == 1 else f"over {len(look.envs)} environments")
        found[" ".join(how) or "analysed in another way"] = one.verdict
    told = [f"{how}: {verdict}" for how, verdict in found.items()]
    more = [f"{len(told) - OTHERS_TOLD} more"] if len(told) > OTHERS_TOLD else []
    return f"another look at runs also seen {', '.join([*told[:OTHERS_TOLD], *more])}" if told else ""


def keep_looks(
    places: Sequence[Place],
    pairs: Sequence[PairResult],
    contests: Sequence[Contest],
    counted: int,
    store: Store,
    options: CompareOptions,
) -> bool | None:
    """Stores the looks that are new: at other runs than before, with a larger error, or with another verdict.

    Args:
        places: Where each comparison stands.
        pairs: What came of it.
        contests: The comparisons.
        counted: How many looks the places were counted from.
        store: The store that keeps the looks.
        options: How they were compared.

    Returns:
        Whether all are kept now, None where somebody else looked since they were counted; a store that cannot be written
        is told as a :class:`openrlb.store.looks.LookWarning`.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    new = [
        Look(
            comparison=place.key, groups=(pair.first, pair.second), envs=pair.envs, statistic=options.score.metric.lower(),
            runs=tuple(sorted({*place.first, *place.second})), time=now, verdict=pair.verdict, difference=pair.difference,
            low=pair.low, high=pair.high, alpha=place.added, information=contest.information, sequential=options.sequential,
            margin=options.margin, question=place.question, first=place.first, level=pair.level,
        )
        for place, pair, contest in zip(places, pairs, contests, strict=True)
        if pair.low is not None
        and not any(one.look.alpha >= place.added and one.verdict == pair.verdict for one in place.same)
    ]  # fmt: skip
    try:
        return True if add_looks(store.layout, new, counted) else None
    except (StoreUnwritable, StoreBusy) as error:
        warnings.warn(f"this look was not kept, so that a later one will not count it: {error.why}", LookWarning, stacklevel=3)
        return False
