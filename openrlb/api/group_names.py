"""Which stored runs a reader means by the name of a group: ``ppo``, ``"ppo (sb3)"``, ``ppo@sb3``, ``"ppo lr=0.1"``, ``td3*``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from openrlb.errors import NothingMatched, SelectionError
from openrlb.store import RunRow
from openrlb.store.environments import nearest
from openrlb.store.select import NAMES_TOLD, named, placed

if TYPE_CHECKING:
    from openrlb_analysis.variants import Group

HOW = "name a group as openrlb plot prints it, an algorithm, ALGO@IMPL, ALGO@PROJECT, 'ALGO key=value' or a glob"

ENVS_TOLD = 3
"""So many environments of a group are named in an error."""


@dataclass(frozen=True, slots=True)
class NamedGroup:
    """A group that was asked for.

    Attributes:
        label: Its label, as ``openrlb plot`` prints it for the same selection.
        by: The values that define it.
        rows: Its stored runs, doubles included.
    """

    label: str
    by: Mapping[str, Any]
    rows: tuple[RunRow, ...]


def named_groups(rows: Sequence[RunRow], words: Sequence[str], by: Sequence[str] = (), pool: bool = False) -> list[NamedGroup]:
    """The groups that words mean, each once, in the order of the words; a glob means every group it fits.

    Args:
        rows: The selected runs.
        words: The names.
        by: What makes a group (``plot --by``).
        pool: One group for each algorithm and implementation.

    Raises:
        NothingMatched: A name that no group has; the nearest names are given.
        SelectionError: A name that several groups have, or two names of one group.
        UsageError: An unknown ``by``.
    """
    fitting = list(rows) if by else _of_algorithms(rows, words)
    groups, members = _labelled(fitting, by, pool)
    chosen: dict[str, str] = {}
    for word in words:
        for label in _meant(word, groups, members):
            if label in chosen and not _is_glob(word):
                why = f"{chosen[label]!r} and {word!r} both mean {label}"
                raise SelectionError("a group cannot be compared with itself", why, _listed(list(groups)))
            chosen.setdefault(label, word)
    return [NamedGroup(label, groups[label].by, tuple(members[label])) for label in chosen]


def _of_algorithms(rows: Sequence[RunRow], words: Sequence[str]) -> list[RunRow]:
    """The runs of the algorithms that the words begin with: other algorithms' variants need not be told apart.

    Raises:
        NothingMatched: A word that begins with no algorithm.
    """
    known = sorted({row.record.algo for row in rows})
    wanted: set[str] = set()
    for word in words:
        found = [algo for algo in known if _begins(word, algo)]
        if not found:
            close = nearest(word.split("@")[0].split(" ")[0], known)
            fix = f"did you mean {' or '.join(close)}? {HOW}" if close else HOW
            raise NothingMatched(f"no group is called {word!r}", _told(known, "the selected runs' algorithms are"), fix)
        wanted.update(found)
    return [row for row in rows if row.record.algo in wanted]


def _begins(word: str, algo: str) -> bool:
    """Whether a group's name can be about an algorithm.

    >>> [_begins(word, "ppo") for word in ("PPO", "ppo (sb3)", "ppo@sb3", "pp*", "ppo_lstm")]
    [True, True, True, True, False]
    """
    plain, name = word.strip().lower(), algo.lower()
    head = plain.split("@")[0].split(" ")[0]
    return plain == name or plain.startswith((f"{name} ", f"{name}@")) or (_is_glob(head) and fnmatchcase(name, head))


def _labelled(rows: Sequence[RunRow], by: Sequence[str], pool: bool) -> tuple[dict[str, Group], dict[str, list[RunRow]]]:
    """Every group by its label, and its runs."""
    import numpy as np

    from openrlb.types import Curve, Metric
    from openrlb_analysis.variants import group_runs

    none = np.zeros(0, np.int64)
    # a kind of its own for each: doubles are found later, among the runs that have values
    curves = [Curve(row.record, Metric("", f"{at}"), none, none, none) for at, row in enumerate(rows)]  # type: ignore[arg-type]
    found = group_runs(curves, tuple(by), (), pool).groups
    members = {group.label: [rows[int(curve.metric.kind)] for curve in group.curves] for group in found}
    return {group.label: group for group in found}, members


def _meant(word: str, groups: Mapping[str, Group], members: Mapping[str, Sequence[RunRow]]) -> list[str]:
    """The labels that one word means: several only for a glob."""
    plain = " ".join(word.split()).lower()
    exact = [label for label in groups if label.lower() == plain]
    if exact:
        return exact
    if _is_glob(plain) and (found := [label for label in groups if fnmatchcase(label.lower(), plain)]):
        return found
    found = [label for label, group in groups.items() if _fits(plain, group, members[label])]
    if not found:
        close = nearest(word, groups)
        fix = f"did you mean {' or '.join(map(repr, close))}?" if close else HOW
        raise NothingMatched(f"no group is called {word!r}", _told(sorted(groups), "the groups are"), fix)
    if len(found) > 1 and not _is_glob(plain):
        held = [f"{label} ({_envs_told(members[label])})" for label in found]
        raise SelectionError(f"{word!r} means {len(found)} groups", _told(held, "they are"), _chosen_fix(found, members))
    return found


def _envs_told(rows: Sequence[RunRow]) -> str:
    """How many runs a group has, and in which environments."""
    envs = sorted({row.record.env for row in rows})
    told = ", ".join(envs[:ENVS_TOLD]) + (f" and {len(envs) - ENVS_TOLD} more" if len(envs) > ENVS_TOLD else "")
    return f"{len(rows)} run{'' if len(rows) == 1 else 's'} in {told}"


def _chosen_fix(found: Sequence[str], members: Mapping[str, Sequence[RunRow]]) -> str:
    """How one of several groups is chosen: by an environment where it is alone, before unlike runs are put together."""
    envs = {label: {row.record.env for row in members[label]} for label in found}
    alone = {
        (len([row for row in members[label] if row.record.env == env]), env)
        for label in found
        for env in envs[label]
        if sum(env in others for others in envs.values()) == 1
    }
    if alone:
        largest = max(found, key=lambda label: len(members[label]))
        return f"choose the environment (--env {max(alone)[1]}), or name one group: {largest!r}"
    return f"name one of them, for instance {found[0]!r}, or put them together with --pool or --by algo"


def _fits(word: str, group: Group, rows: Sequence[RunRow]) -> bool:
    """Whether a group is ``ALGO[@PLACE][ key=value,...]``, or what it is to a study (``tuned``, ``default``, a study's name)."""
    if _is_to_a_study(word, group):
        return True
    head, _, settings = word.partition(" ")
    algo, _, place = head.partition("@")
    wanted = {part for part in settings.replace(" ", ",").split(",") if part}
    if not named(algo, group.algo.split("+")) or not wanted <= set(group.variant.lower().split(",")):
        return False
    return not place or all(placed(place, [row.record.impl, row.record.source, row.record.project]) for row in rows)


def _is_to_a_study(word: str, group: Group) -> bool:
    """Whether a word is short for what ``--by study`` calls a group, with or without the algorithm before it."""
    words = str(group.by.get("study", "")).lower()
    kind, _, name = words.partition(" (study ")
    short = {words, kind, name.removesuffix(")")} - {""}
    return word.removeprefix(f"{group.algo.lower()} ") in short


def _is_glob(word: str) -> bool:
    """Whether a word has a glob's signs."""
    return any(sign in word for sign in "*?")


def _told(names: Sequence[str], what: str) -> str:
    """A list of names for an error, its length where it is cut."""
    more = f" and {len(names) - NAMES_TOLD} more" if len(names) > NAMES_TOLD else ""
    return f"{what} {', '.join(names[:NAMES_TOLD])}{more}"


def _listed(names: Sequence[str]) -> str:
    """What can be compared instead."""
    return f"name two of {', '.join(sorted(names)[:NAMES_TOLD])}" if len(names) > 1 else HOW
