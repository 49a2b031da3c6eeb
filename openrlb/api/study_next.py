"""What can be typed after a study: the exact commands that compare, plot, report and train what it has found."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from openrlb.store import Store

if TYPE_CHECKING:
    from openrlb.types import Run
    from openrlb_hpo.records import StudyRecord


def next_commands(record: StudyRecord, *, storage: str | None = None, store: Store | None = None) -> list[tuple[str, str]]:
    """What a reader may want next, and the command for it; nothing before the test phase of a study is over.

    Args:
        record: The study.
        storage: The database that it lies in, where that was named.
        store: The store that holds its runs; the user's own by default.
    """
    from openrlb.api.study import phase_of

    if phase_of(record) != "finished":
        return []
    name = record.name
    place = ["--storage", "URL"] if storage else []
    found = [*_comparing(record, store or Store())]
    found += [("report", _typed("study", "report", name, *place, "-o", "report.html"))]
    found += [("train more seeds", _typed("run", "--from", name, *place, "--seeds", "5"))]
    return found


def _comparing(record: StudyRecord, store: Store) -> list[tuple[str, str]]:
    """The commands that compare and draw the incumbent and the baselines; none where the store does not hold their runs."""
    from openrlb.api.study_command import scale_name
    from openrlb.api.study_report import stored_runs
    from openrlb_analysis.variants import study_words

    settings, runs = record.settings, stored_runs(record, store)
    tested = [row for row in record.reservations if row.role == "test" and row.run in runs]
    words = {row.configuration: study_words(runs[row.run]) for row in tested}
    if (own := words.pop(f"trial:{record.incumbent}", None)) is None or not set(words.values()) - {own}:
        return []
    scored = ["--metric", "mean", "--at", str(settings.steps)]
    scored += ["--score", settings.objective] if settings.objective != "final:10%" else []
    scored += ["--normalize", scale_name(settings)] if len(settings.envs) > 1 else []
    which = ["--by", "study", *_selection(record, [runs[row.run] for row in tested])]
    labels = [f"{settings.algo} {text}" for text in dict.fromkeys((own, *words.values()))]
    picture = _typed("plot", *which, *scored, "-o", "tuned.html")
    return [("compare", _typed("compare", *labels, *which, *scored)), ("plot", picture)]


def _selection(record: StudyRecord, runs: list[Run]) -> list[str]:
    """The flags that select a study's test runs: its tags, where they are all its own; else where it trained."""
    tags = (f"study:{record.name}", f"baseline-of:{record.name}")
    if all(set(tags) & set(run.tags) for run in runs):
        return ["--role", "test", *(word for tag in tags for word in ("--tag", tag))]
    flags = ["--role", "test", "--algo", record.settings.algo, "--impl", record.settings.impl]
    return [*flags, *(word for env in record.settings.envs for word in ("--env", env))]


def _typed(*words: str) -> str:
    """A command line."""
    return " ".join(["openrlb", *map(quote, words)])
