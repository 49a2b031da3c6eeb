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
from openrlb.store.looks import Look, add_looks, read_looks
from openrlb.store.variant import training_config
from openrlb.types import stable_hash

if TYPE_CHECKING:
    from openrlb.api.compare import CompareOptions
    from openrlb.api.compare_inputs import Inputs
    from openrlb_analysis.comparison import Contest, PairResult
    from openrlb_analysis.contests import Contests


class LookWarning(UserWarning):
    """A look that could not be kept, so that a later one cannot count it."""


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


def _key(inputs: Inputs, contest: Contest, options: CompareOptions) -> str:
    """What is compared, whichever runs there are of it.

    The margin is no part of it: better and worse do not depend on it, and another margin is no way around the count.
    """
    score, analysis = options.score, inputs.analysis
    defined = {
        group.label: _definition(group, contest.envs, bool(score.by or score.pool))
        for group in inputs.groups
        if group.label in (contest.first, contest.second)
    }
    what = [score.metric.lower(), inputs.of, analysis.kind, analysis.rule.text, score.at, analysis.normalization.name]
    groups = sorted(json.dumps(one, sort_keys=True, default=str) for one in defined.values())
    return stable_hash([groups, what, sorted(contest.envs), contest.paired])


@dataclass(frozen=True, slots=True)
class Place:
    """Where one comparison stands among the looks at it.

    Attributes:
        key: What is compared, whichever runs there are of it.
        runs: ``source run`` of every run, sorted.
        number: Which look this is.
        information: What was known at each look, this one last; zeros where the runs did not just grow.
        added: The error that this look adds.
        spent: The error of all looks together, a bound.
        known: Whether these runs were looked at before with no smaller error.
        words: The same for the verdict's sentence.
    """

    key: str
    runs: tuple[str, ...]
    number: int
    information: tuple[float, ...]
    added: float
    spent: float
    known: bool
    words: str


def places_of(inputs: Inputs, found: Contests, store: Store, options: CompareOptions) -> list[Place]:
    """Where each comparison stands among the looks at it.

    Args:
        inputs: The named groups and their scores.
        found: The comparisons.
        store: The store that keeps the looks.
        options: How they are compared.
    """
    looks = read_looks(store.layout)
    return [
        _place(_key(inputs, contest, options), contest, runs, looks, options)
        for contest, runs in zip(found.contests, found.runs, strict=True)
    ]


def _place(key: str, contest: Contest, runs: frozenset[tuple[str, str]], looks: Sequence[Look], options: CompareOptions) -> Place:
    """Counts the looks at one comparison."""
    from openrlb_analysis.sequential import added_error, standing

    alpha = round(1.0 - options.score.level, 12)
    mine = [look for look in looks if look.comparison == key]
    now = frozenset(" ".join(run) for run in runs)
    here = standing(now, [frozenset(look.runs) for look in mine])
    before = [mine[at] for at in here.before]
    added = added_error(here.number, alpha) if options.sequential else alpha
    used = {frozenset(look.runs): 0.0 for look in before}
    for look in mine:
        if frozenset(look.runs) in used:
            used[frozenset(look.runs)] = max(look.alpha, used[frozenset(look.runs)])
    spent = sum(used.values()) + added
    information = tuple(look.information for look in before) if here.growing else tuple(0.0 for _ in before)
    return Place(
        key, tuple(sorted(now)), here.number, (*information, contest.information), added, min(spent, 1.0),
        any(frozenset(look.runs) == now and look.alpha >= added for look in mine),
        _look_words(here.number, here.growing, options.sequential, spent, alpha),
    )  # fmt: skip


def _look_words(number: int, growing: bool, sequential: bool, spent: float, alpha: float) -> str:
    """Which look this is and what that means, for the verdict's line.

    >>> _look_words(3, True, False, 0.15, 0.05)
    'look 3 at growing seeds, uncorrected'
    """
    runs = "at growing seeds" if growing else "at other runs of the same groups"
    if not sequential:
        return f"look {number} {runs}, uncorrected" if number > 1 else ""
    if spent > alpha + 1e-9:
        return f"look {number}, corrected, but earlier ones were not: all together err in up to {100 * spent:.2g} %"
    return f"look {number}, corrected for all looks"


def keep_looks(
    places: Sequence[Place], pairs: Sequence[PairResult], contests: Sequence[Contest], store: Store, options: CompareOptions
) -> bool:
    """Stores the looks that are new: at other runs than before, or with a larger error.

    Args:
        places: Where each comparison stands.
        pairs: What came of it.
        contests: The comparisons.
        store: The store that keeps the looks.
        options: How they were compared.

    Returns:
        Whether all are kept now; a store that cannot be written is told as a :class:`LookWarning`.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    new = [
        Look(
            comparison=place.key, groups=(pair.first, pair.second), envs=pair.envs, statistic=options.score.metric.lower(),
            runs=place.runs, time=now, verdict=pair.verdict, difference=pair.difference, low=pair.low, high=pair.high,
            alpha=place.added, information=contest.information, sequential=options.sequential, margin=options.margin,
        )
        for place, pair, contest in zip(places, pairs, contests, strict=True)
        if pair.low is not None and not place.known
    ]  # fmt: skip
    try:
        add_looks(store.layout, new)
    except (StoreUnwritable, StoreBusy) as error:
        warnings.warn(f"this look was not kept, so that a later one will not count it: {error.why}", LookWarning, stacklevel=3)
        return False
    return True
