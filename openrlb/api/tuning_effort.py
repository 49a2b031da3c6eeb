"""How much was tried before a group's hyperparameters were fixed: a comparison of tuned with untuned says little else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from openrlb.errors import OpenrlbError
from openrlb.store import RunRow, Store
from openrlb.types import Selection

if TYPE_CHECKING:
    from openrlb.types import Run
    from openrlb_runners.published import Published

STUDY_TAG = "study:"
"""The beginning of a tag that names a run's study."""
STUDY_ROLES = ("tuning", "confirm")
"""Roles of runs that a study spent before its choice."""
PUBLISHED = "by its publisher"
_LARGEST_SPEC = 1 << 20

Tuned = Literal["tuned", "untuned", "unknown"]


@dataclass(frozen=True, slots=True)
class TuningEffort:
    """What is known of one group.

    Attributes:
        tuned: ``tuned`` by a study of this store or by whoever published the hyperparameters, ``untuned`` where they are
            the library's defaults, else ``unknown``.
        words: The same in words, with the study and its runs, or the source.
        studies: The studies.
        runs: How many runs those studies spent, as far as they are in the store.
    """

    tuned: Tuned
    words: str
    studies: tuple[str, ...] = ()
    runs: int = 0


def tuning_effort(rows: Sequence[RunRow], store: Store) -> TuningEffort:
    """What the store knows of a group's tuning, never a guess.

    A run that names a study (``study`` in its configuration, or a tag ``study:NAME``) was chosen by it; one that openrlb
    trained keeps what it was asked for, which is nothing for the library's defaults, or what somebody published.

    Args:
        rows: The group's runs.
        store: The store that holds them, and the studies' own runs.
    """
    shipped: dict[tuple[str, str, str], Published | None] = {}
    found = [_of_run(row.record, store, shipped) for row in rows]
    sources = {source for _, _, _, source in found}
    if len(sources) > 1 and "" not in sources:  # one for each environment, and nothing else
        return TuningEffort("tuned", f"{PUBLISHED} ({'; '.join(sorted(sources))})")
    kinds = Counter((tuned, f"{words} ({source})" if source else words, study) for tuned, words, study, source in found)
    if len(kinds) == 1:
        ((tuned, words, study),) = kinds
        if study:
            spent = _spent(study, store)
            return TuningEffort(
                tuned, f"{words} ({spent} runs)" if spent else f"{words} (its runs are not here)", (study,), spent
            )
        return TuningEffort(tuned, words)
    studies = tuple(sorted({study for _, _, study in kinds if study}))
    states = {tuned for tuned, _, _ in kinds}
    words = "; ".join(f"{count} runs: {words}" for (_, words, _), count in kinds.most_common())
    return TuningEffort(
        states.pop() if len(states) == 1 else "unknown", words, studies, sum(_spent(one, store) for one in studies)
    )


def unlike(efforts: Mapping[str, TuningEffort]) -> str:
    """What a verdict must say where one group is tuned and another is not; else an empty text.

    >>> tuned, not_tuned = TuningEffort("tuned", ""), TuningEffort("untuned", "")
    >>> unlike({"ppo": tuned, "a2c": not_tuned}), unlike({"ppo": tuned, "a2c": TuningEffort("unknown", "")})
    ('tuned against untuned', '')
    """
    states = [one.tuned for one in efforts.values()]
    if "tuned" in states and "untuned" in states:
        return "tuned against untuned" if states[0] != "untuned" else "untuned against tuned"
    return ""


def _of_run(run: Run, store: Store, shipped: dict[tuple[str, str, str], Published | None]) -> tuple[Tuned, str, str, str]:
    """One run: tuned or not, in words, the study's name and who published its hyperparameters, where there is one."""
    asked = asked_for(run, store)
    if asked is not None and not asked:
        return "untuned", f"untuned: the defaults of {run.impl}'s library", "", ""
    study = study_of(run)
    if study:
        return "tuned", f"tuned with study {study}", study, ""
    known = None
    if asked:
        key = (run.impl, run.algo, run.env)
        if key not in shipped:
            shipped[key] = _published(*key)
        known = shipped[key]
    if known is not None and dict(known.hyperparameters) == asked:
        return "tuned", PUBLISHED, "", known.source
    return "unknown", "unknown", "", ""


def study_of(run: Run) -> str:
    """The study that a run names, or an empty text.

    >>> from openrlb.types import Run
    >>> study_of(Run("folder", "a", "p", "a", "ppo", "Hopper-v4", tags=("study:s1",)))
    's1'
    """
    named = run.config.get("study")
    tags = [tag.removeprefix(STUDY_TAG) for tag in run.tags if tag.startswith(STUDY_TAG)]
    return str(named) if isinstance(named, str | int) and str(named) else (tags[0] if tags else "")


def _spent(study: str, store: Store) -> int:
    """How many runs of this store a study spent before its choice."""
    return sum(1 for row in store.runs(Selection(role=STUDY_ROLES)) if study_of(row.record) == study)


def asked_for(run: Run, store: Store) -> dict[str, Any] | None:
    """The hyperparameters that a run of openrlb's runners was asked to train with; None where the record does not tell.

    Args:
        run: The run.
        store: Where its ``spec.json`` is kept.
    """
    digest = run.files.get("spec.json", "")
    path = store.layout.blob(digest)
    if not digest.isalnum():
        return None
    try:
        if path.stat().st_size > _LARGEST_SPEC:
            return None
        spec = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    asked = spec.get("hyperparameters") if isinstance(spec, dict) and "format" in spec else None
    return asked if isinstance(asked, dict) else None


def _published(impl: str, algo: str, env: str) -> Published | None:
    """What the runner of that name ships for the two, or None."""
    from openrlb_runners.published import published
    from openrlb_runners.spec import find_runner

    try:
        return published(find_runner(impl), algo, env)
    except OpenrlbError:
        return None
