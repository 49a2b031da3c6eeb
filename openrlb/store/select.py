"""Selection: from the flags of a verb to a condition over the catalog, the same for every source and every verb."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from openrlb.errors import NothingMatched, SelectionError
from openrlb.scrubbing import scrubbed
from openrlb.store.environments import matching, nearest
from openrlb.store.schema import literal
from openrlb.types import Run, Selection

if TYPE_CHECKING:
    from datetime import datetime

NAMES_TOLD = 12
"""So many known names are told where a word means none of them; more are counted."""


@dataclass(slots=True)
class Known:
    """The distinct names that a store (or a source) holds, to match a selection against."""

    env: list[str] = field(default_factory=list)
    algo: list[str] = field(default_factory=list)
    impl: list[str] = field(default_factory=list)
    source: list[str] = field(default_factory=list)
    project: list[str] = field(default_factory=list)
    tag: list[str] = field(default_factory=list)


def named(asked: str, known: Iterable[str]) -> list[str]:
    """The known names that a word or a glob means; case does not matter.

    >>> named("PPO", ["ppo", "ppo_lstm"]), named("ppo*", ["ppo", "ppo_lstm"])
    (['ppo'], ['ppo', 'ppo_lstm'])
    """
    return sorted({name for name in known if name.lower() == asked.lower() or fnmatchcase(name.lower(), asked.lower())})


def placed(asked: str, known: Iterable[str]) -> list[str]:
    """The sources or projects that a word means: by the whole name, else by how it ends (``weird`` for ``wandb:lab/weird``).

    >>> placed("logs", ["rl/logs", "wandb:lab/weird"]), placed("logs", ["logs", "rl/logs"])
    (['rl/logs'], ['logs'])
    >>> placed("weird", ["rl/logs", "wandb:lab/weird"]), placed("lab/weird", ["wandb:lab/weird"])
    (['wandb:lab/weird'], ['wandb:lab/weird'])
    """
    word, names = asked.removeprefix("./").rstrip("/") or asked, list(known)
    ends = {name: [name[at + 1 :] for at, sign in enumerate(name) if sign in ":/"] for name in names}
    return named(word, names) or [name for name in names if named(word, ends[name])]


def resolve(asked: Iterable[str], known: Iterable[str], match: Callable[[str, Iterable[str]], list[str]], what: str) -> list[str]:
    """All known names that the words mean.

    Raises:
        NothingMatched: A word means none of them; the nearest names are given.
    """
    names = list(known)
    found: list[str] = []
    for word in asked:
        hits = match(word, names)
        if not hits:
            close = nearest(word, names)
            hint = f"did you mean {' or '.join(close)}?" if close else "openrlb list shows what the store holds"
            held = sorted(set(names))
            told = f"known are {', '.join(held)}" if 0 < len(held) <= NAMES_TOLD else f"{len(held)} different ones are known"
            raise NothingMatched(f"no run has {what} {word!r}", scrubbed(told), scrubbed(hint))
        found += hits
    return sorted(set(found))


def condition(selection: Selection, known: Known) -> str:
    """A SQL condition over the ``runs`` view for a selection.

    Raises:
        NothingMatched: A name that no run has.
        SelectionError: A ``--since`` that is no date and not how long ago.
    """
    parts = []
    for column, asked, match in (
        ("env", selection.env, matching),
        ("algo", selection.algo, named),
        ("impl", selection.impl, named),
    ):
        if asked:
            names = resolve(asked, getattr(known, column), match, f"--{column}")
            parts.append(f"{column} IN ({', '.join(map(literal, names))})")
    if selection.source:
        names = resolve(selection.source, [*known.source, *known.project], placed, "--source")
        listed = ", ".join(map(literal, names))
        parts.append(f"(source IN ({listed}) OR project IN ({listed}))")
    if selection.tag:
        names = resolve(selection.tag, known.tag, named, "--tag")
        parts.append(f"list_has_any(tags, [{', '.join(map(literal, names))}])")
    if selection.seed:
        parts.append(f"seed IN ({', '.join(str(int(seed)) for seed in selection.seed)})")
    if selection.role:
        parts.append(f"role IN ({', '.join(map(literal, selection.role))})")
    if selection.since:
        parts.append(f"created >= {literal(checked_date(selection.since))}")
    if selection.where:
        parts.append(f"(\n{selection.where}\n)")
    return " AND ".join(parts) or "true"


_AGO = re.compile(r"(\d{1,5}) ?(h|d|w)(ours?|ays?|eeks?)?( ago)?")
_HOURS = {"h": 1, "d": 24, "w": 168}


def checked_date(text: str, now: datetime | None = None) -> str:
    """An ISO date or time, or how long ago (``12h``, ``2d``, ``3w``), as it is compared with ``created``.

    Args:
        text: The words.
        now: What ago counts from; this moment by default.

    >>> checked_date("2026-01-31")
    '2026-01-31T00:00:00+00:00'
    >>> from datetime import UTC, datetime
    >>> checked_date("2d", datetime(2026, 3, 1, 12, tzinfo=UTC))
    '2026-02-27T12:00:00+00:00'

    Raises:
        SelectionError: Neither a date nor how long ago.
    """
    from datetime import UTC, datetime, timedelta

    try:
        if ago := _AGO.fullmatch(text.strip().lower()):
            return ((now or datetime.now(UTC)) - timedelta(hours=int(ago[1]) * _HOURS[ago[2]])).isoformat(timespec="seconds")
        moment = datetime.fromisoformat(text)
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:  # before the year 1
        fix = "write it as 2026-01-31, or as 12h, 2d or 3w for how long ago"
        raise SelectionError(f"--since {text!r} is not a date", str(error), fix) from error
    return moment.isoformat(timespec="seconds")


def fits(run: Run, selection: Selection) -> bool:
    """True where one run, not yet stored, fits a selection. The same rules as :func:`condition`, without ``where``.

    >>> fits(Run("folder", "a", "p", "a", "ppo", "Hopper-v4", seed=1), Selection(env=("hopper",), seed=(1, 2)))
    True
    """
    names = (("env", matching), ("algo", named), ("impl", named))
    for column, match in names:
        asked = getattr(selection, column)
        if asked and not any(match(word, [getattr(run, column)]) for word in asked):
            return False
    if selection.source and not any(placed(word, [run.source, run.project]) for word in selection.source):
        return False
    if selection.tag and not any(named(word, run.tags) for word in selection.tag):
        return False
    if selection.seed and run.seed not in selection.seed:
        return False
    if selection.role and run.role not in selection.role:
        return False
    return not (selection.since and (run.created or "") < checked_date(selection.since))
