"""From the word after ``--normalize`` to a normalisation: a table's name, a frozen one, or one to be frozen now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from openrlb.api.group_names import named_groups
from openrlb.api.opened import opened
from openrlb.errors import NothingMatched, SelectionError, StoreBusy, StoreUnwritable, UsageError
from openrlb.store import RunRow, Store
from openrlb.store.normalizations import FrozenNormalization, freeze, read_normalizations

if TYPE_CHECKING:
    from openrlb_analysis.analyse import Analysis

LIST = "list"
"""What is typed after ``--normalize`` to see which there are."""
RANDOM = "random"
"""The group whose mean score ``ref:GROUP`` puts at 0, where there is one of this name."""
_LONGEST = 80


def stored_normalization(store: Store, word: str | None) -> str | FrozenNormalization | None:
    """A word as :func:`openrlb_analysis.analyse.analyse` takes it: a frozen normalisation for its name, else the word.

    Args:
        store: The store.
        word: What was typed after ``--normalize``.

    Raises:
        UsageError: It names no normalisation; the frozen ones are named too.
        StoreDamaged: The frozen normalisations cannot be read.
    """
    from openrlb_analysis.normalize import check_name, tables

    if word is None or word in tables():
        return word
    frozen = read_normalizations(store.layout)
    check_name(word, frozen)
    return frozen.get(word, word)


def check_freeze(word: str | None, name: str | None, random: str | None) -> None:
    """Makes sure that ``--freeze`` and ``--random`` go with what is typed after ``--normalize``.

    Raises:
        UsageError: They do not.
    """
    from openrlb_analysis.normalize import NONE, RECIPES, recipe_of, tables

    recipe = recipe_of(word) if word else None
    if name is not None and recipe is None:
        fix = "add --normalize ref:GROUP, minmax:GROUP or cdf:GROUP"
        raise UsageError(
            "there is nothing to freeze", f"--normalize {word} is no group's scores" if word else "no group is named", fix
        )
    if random is not None and (recipe is None or recipe[0] != "ref"):
        raise UsageError("--random names what ref:GROUP puts at 0", "that is not asked for", "add --normalize ref:GROUP")
    if name is None:
        return
    taken = name in tables() or name in (NONE, LIST) or name.partition(":")[0] in RECIPES
    if taken or not name.strip() or len(name) > _LONGEST or not name.isprintable():
        why = "a table or a recipe is called so" if taken else f"a name has 1 to {_LONGEST} printable characters"
        raise UsageError(f"{name!r} cannot be a frozen normalisation's name", why, "choose another one: --freeze NAME")


def frozen_now(
    store: Store,
    word: str,
    rows: Sequence[RunRow],
    raw: Analysis,
    *,
    of: str,
    name: str | None = None,
    random: str | None = None,
    by: Sequence[str] = (),
    pool: bool = False,
) -> FrozenNormalization:
    """The normalisation that a recipe means: the frozen one where it holds every environment, else made and frozen now.

    Args:
        store: The store.
        word: ``ref:GROUP``, ``minmax:GROUP`` or ``cdf:GROUP``.
        rows: The selected runs, among which the group is looked for.
        raw: The runs' raw scores; its environments are asked for.
        of: The logged quantity.
        name: What to freeze it as; the word itself by default.
        random: The group that ``ref`` puts at 0.
        by: What makes a group.
        pool: One group for each algorithm and implementation.

    Returns:
        All that the name holds; ``created`` is empty where the store cannot be written.

    Raises:
        NothingMatched: No selected run is of the group.
        SelectionError: The runs give no reference scores, or the name is taken.
        StoreDamaged: The frozen normalisations cannot be read.
    """
    from openrlb_analysis.normalize import recipe_of
    from openrlb_analysis.reference_scores import reference_scales

    known = read_normalizations(store.layout).get(name or word)
    recipe, group = recipe_of(word) or ("", "")
    if known is not None and random is not None and known.zero.casefold() != _zero(random).casefold():
        when = f"{known.name} was frozen on {known.created[:10]} with {known.zero} score at 0, and never changes"
        fix = f"leave --random out, or freeze another: --normalize {word} --random {random} --freeze NAME (--normalize list: all)"
        raise SelectionError(f"{known.name} does not put {random} at 0", when, fix)
    if known is not None and name is None and set(raw.prepared.cuts) <= set(known.scales):
        return known
    runs = _runs_of(rows, group, by, pool, word)
    lowest = _random_runs(rows, random, by, pool) if recipe == "ref" else None
    zero = _zero(random or RANDOM) if lowest is not None else "the random agent's"
    now = datetime.now(UTC).isoformat(timespec="seconds")
    made = FrozenNormalization(
        name or word, recipe, group, zero if recipe == "ref" else "", of, raw.kind, raw.rule.text, now,  # type: ignore[arg-type]
        reference_scales(recipe, raw, group, runs, lowest),  # type: ignore[arg-type]
    )  # fmt: skip
    try:
        return freeze(store.layout, made)
    except (StoreUnwritable, StoreBusy):
        return replace(made, created="")


def _zero(group: str) -> str:
    """What 0 is where a group's mean score is put there, in words."""
    return f"the mean of {group}'s"


def normalizations(store: Store | None = None) -> list[dict[str, Any]]:
    """Every normalisation that there is: the published tables, and what this store has frozen.

    Args:
        store: The user's own store by default.

    Returns:
        One row each: name, what its 0 and 1 are, version, environments (None: all that the table knows), quantity, score
        rule and when it was frozen.

    Raises:
        StoreDamaged: The frozen normalisations cannot be read.
    """
    from openrlb_analysis.normalize import tables

    none: dict[str, Any] = {"of": None, "rule": None, "created": None}
    rows: list[dict[str, Any]] = [
        {"name": one.name, "what": one.about, "version": one.version, "envs": None, **none} for one in tables().values()
    ]
    for one in read_normalizations(opened(store).layout).values():
        what = {"ref": f"0: {one.zero} score, 1: the mean of {one.group}", "minmax": f"0 and 1: the ends of {one.group}'s scores"}
        rows.append({
            "name": one.name, "what": what.get(one.method, f"the share of {one.group}'s runs below"), "version": one.version,
            "envs": sorted(one.scales), "of": one.of, "rule": one.rule, "created": one.created,
        })  # fmt: skip
    return rows


def _runs_of(rows: Sequence[RunRow], group: str, by: Sequence[str], pool: bool, word: str) -> set[tuple[str, str]]:
    """The runs of a group.

    Raises:
        NothingMatched: There are none among the selected ones.
    """
    try:
        groups = named_groups(rows, [group], by, pool)
    except NothingMatched as error:
        fix = f"{error.fix}; once frozen by a selection that has it, {word} normalises any selection"
        raise NothingMatched(f"{word} finds no such group among the selected runs", error.why, fix) from error
    return {(row.record.source, row.record.run) for one in groups for row in one.rows}


def _random_runs(rows: Sequence[RunRow], random: str | None, by: Sequence[str], pool: bool) -> set[tuple[str, str]] | None:
    """A random agent's runs: the group that was named, else the one called so, else None."""
    if random is None and not any(row.record.algo.casefold() == RANDOM for row in rows):
        return None
    return _runs_of(rows, random or RANDOM, by, pool, "--random")
