"""What is seen of a study while it goes on: its state above the running runs on a terminal, one plain line a minute off it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from openrlb.cells import printable
from openrlb.cli.app import Talk
from openrlb.cli.render import shown
from openrlb.cli.run_progress import Lines, Table
from openrlb.words import counted, span

if TYPE_CHECKING:
    from openrlb.api.study import StudyProgress
    from openrlb_hpo.records import StudyRecord
    from openrlb_runners.worker import Event

LINE_SECONDS = 60.0
WARM_SHARE = 0.05
"""So much of a run has to be trained before its speed tells how long a study will take."""


def describe_study(progress: StudyProgress, *, stopped: bool = False, pace: float | None = None) -> str:
    """How far a study is, on one line.

    Args:
        progress: How far it is.
        stopped: Whether nobody works on it.
        pace: Runs per second of all workers together, as the running runs tell it; for want of one that has ended.
    """
    over = progress.phase in ("finished", "failed")
    phase = f"{progress.phase} (stopped)" if stopped and not over else progress.phase
    parts = [f"{phase}: {progress.spent:,} of {progress.budget:,} runs spent"]
    if progress.phase in ("testing", "finished"):
        parts.append(f"{progress.tested:,} of {progress.tests:,} test runs over")
    ended = [f"{progress.pruned:,} pruned"] if progress.pruned else []
    ended += [f"{progress.failed:,} failed"] if progress.failed else []
    parts.append(counted(progress.configurations, "configuration") + (f" ({', '.join(ended)})" if ended else ""))
    if progress.best is None:
        parts.append("none with every tuning seed yet")
    else:
        frozen = progress.phase in ("testing", "finished")
        who = f"{'incumbent' if frozen else 'best so far'} trial {progress.best}"
        parts.append(f"{who} at {shown(progress.best_score)} (tuning, optimistic)")
    if progress.phase == "failed":
        parts.append("it is over and has no result")
    elif stopped and not over:
        parts.append("the same openrlb tune command goes on")
    elif progress.seconds_left is not None and not over:
        parts.append(f"{'at least' if progress.early else 'about'} {span(progress.seconds_left)} left")
    elif not over:
        left = None if pace is None else progress.runs_left / pace
        parts.append("time left unknown" if left is None else f"about {span(left)} left at the first run's speed")
    return ", ".join(parts)


def without_test_score(event: Event) -> Event:
    """An event of a test run without its return: a study shows no test score before its last one is there.

    Args:
        event: The event.
    """
    if event.item is None or event.item.request.role != "test" or event.progress is None:
        return event
    return replace(event, progress=replace(event.progress, episodic_return=None))


@contextmanager
def study_display(said: Talk) -> Iterator[StudyTable | StudyLines]:
    """Gives what takes a study's steps and the events of its runs."""
    view = StudyTable(said) if said.progress else StudyLines(said)
    try:
        yield view
    finally:
        view.close()


class _Study:
    """The study that is worked on, as a line."""

    def __init__(self) -> None:
        self.workers = 1
        self.name = ""
        self.line = ""
        self.phase = ""
        self._progress: StudyProgress | None = None
        self._warmed = False

    def see(self, record: StudyRecord) -> bool:
        """Notes how far it is; True where another phase has begun."""
        from openrlb.api.study import progress_of

        progress = self._progress = progress_of(record, self.workers)
        self.line = describe_study(progress)
        new = (record.name, progress.phase) != (self.name, self.phase)
        self.name, self.phase = record.name, progress.phase
        return new

    def warm_up(self, event: Event) -> bool:
        """Takes the speed of a run that trains while none has ended yet; True when the time left is known by it.

        So a study of long runs says within a minute, not after its first run, how long it will take.
        """
        from openrlb.api.tune_time import STARTUP_SECONDS

        run, study = event.progress, self._progress
        if self._warmed or study is None or study.seconds_left is not None or run is None or not run.steps_per_second:
            return False
        if run.step < WARM_SHARE * run.steps:
            return False
        self._warmed = True
        each = STARTUP_SECONDS + run.steps / run.steps_per_second
        self.line = describe_study(study, pace=self.workers / each)
        return True


class StudyLines:
    """A line about every minute and at each new phase; with ``-v`` also the lines of ``openrlb run``.

    Args:
        said: Where the lines go.
    """

    def __init__(self, said: Talk) -> None:
        self.study = _Study()
        self._said = said
        self._runs = Lines(said)
        self._told = time.monotonic()

    def step(self, record: StudyRecord) -> None:
        """Takes the study after one of its steps."""
        if self.study.see(record):
            self._tell()

    def take(self, event: Event) -> None:
        """Takes an event of a run."""
        if event.kind == "warning" or self._said.verbose:
            self._runs.take(without_test_score(event))
        if self.study.warm_up(event) or (self.study.line and time.monotonic() - self._told >= LINE_SECONDS):
            self._tell()

    def _tell(self) -> None:
        """Says how far the study is."""
        self._told = time.monotonic()
        self._said.say(f"{self.study.name}: {self.study.line}")

    def close(self) -> None:
        """Nothing to put back."""


class StudyTable(Table):
    """The table of ``openrlb run`` with the study's line above it.

    Args:
        said: Where warnings and ended runs go, above the table.
    """

    def __init__(self, said: Talk) -> None:
        super().__init__(said)
        self.study = _Study()

    def take(self, event: Event) -> None:
        """Takes an event of a run."""
        self.study.warm_up(event)
        super().take(without_test_score(event))

    def step(self, record: StudyRecord) -> None:
        """Takes the study after one of its steps."""
        if self.study.see(record):
            self._console.print(printable(f"{self.study.name}: {self.study.line}"))

    def _table(self) -> Any:  # noqa: ANN401 - rich is imported only where it is needed
        """The study's line and the table as they are now."""
        from rich.console import Group
        from rich.text import Text

        return Group(Text(printable(self.study.line)), super()._table())
