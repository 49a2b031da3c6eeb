"""Words of a selection, and experiments of a filter, that no run of a project is, with the nearest that one is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from openrlb.errors import NothingMatched
from openrlb.sources.wandb.query import WandbQuery
from openrlb.sources.wandb.records import Listed, lookup
from openrlb.sources.wandb.wanted import shown
from openrlb.types import Selection

if TYPE_CHECKING:
    from openrlb.sources.orlb_filter import Experiment


def unmatched(query: WandbQuery, known: Sequence[Listed], chosen: Sequence[Listed]) -> Iterator[tuple[str, str]]:
    """What no chosen run fits, as it was typed.

    Args:
        query: What was asked.
        known: Every run whose names may have been meant.
        chosen: The runs that fit.

    Yields:
        The words, and the nearest that a known run has, or an empty text.
    """
    from openrlb.store.environments import nearest
    from openrlb.store.select import fits

    for name in ("env", "algo", "impl", "seed", "tag"):
        for word in getattr(query.selection, name):
            alone: dict[str, Any] = {name: (word,)}
            if not any(fits(listed.run, Selection(**alone)) for listed in chosen):
                names = [tag for one in known for tag in one.run.tags] if name == "tag" else []
                names = [getattr(one.run, name) for one in known] if name in ("env", "algo", "impl") else names
                yield f"--{name} {word}", "".join(f"--{name} {close}" for close in nearest(str(word), names)[:1])
    for group in query.groups:
        for one in group.experiments:
            if not any(one.meant_by(group.algo_key, listed.remote.config, listed.run.tags) for listed in chosen):
                names = [str(lookup(listed.remote.config, group.algo_key)) for listed in known]
                yield _filter_words(one), "".join(name for name in nearest(one.name, names)[:1] if name != one.name)
    if query.system and chosen and not any(listed.has_events for listed in chosen):
        yield "--system", ""


def said(words: str, close: str) -> str:
    """Words that nothing fits, with the nearest.

    >>> said("--env Hoper", "--env Hopper-v4"), said("--seed 9", "")
    ('--env Hoper (did you mean --env Hopper-v4?)', '--seed 9')
    """
    return f"{words} (did you mean {close}?)" if close else words


def nothing_fits(query: WandbQuery, known: Sequence[Listed]) -> NothingMatched:
    """The error for a selection that none of a project's runs fits.

    Args:
        query: What was asked.
        known: The project's runs.
    """
    found = list(unmatched(query, known, known))
    why = f"no run has {', nor '.join(words for words, _ in found)}; " if found else ""
    why += f"it holds {shown({listed.run.algo for listed in known})} on {shown({listed.run.env for listed in known})}"
    hints = [close for _, close in found if close]
    fix = f"did you mean {', '.join(hints)}?" if hints else "widen the selection"
    return NothingMatched(f"no run of {query.source} fits the selection", why, fix)


def _filter_words(one: Experiment) -> str:
    """An experiment of a filter; keys that rlops does not know are keys of the settings."""
    keys = [key for key, _ in one.conditions if key != "seed"]
    return f"the filter '{one}'" + (f" ({', '.join(keys)} looked up in the settings)" if keys else "")
