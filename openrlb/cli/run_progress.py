"""What is seen of runs while they train: a live table on a terminal, plain lines off it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from openrlb.cells import printable
from openrlb.cli.app import Talk
from openrlb.cli.render import shown
from openrlb.words import span

if TYPE_CHECKING:
    from openrlb_runners.progress import Progress
    from openrlb_runners.request import WorkItem
    from openrlb_runners.worker import Event

LINE_SECONDS = 30.0
DRAW_SECONDS = 0.25
COLUMNS = ("run", "state", "step", "return*", "steps/s", "left")
CAPTION = "* mean of the last 10 training episodes"


@contextmanager
def display(said: Talk) -> Iterator[Callable[[Event], None]]:
    """Gives what takes the events of a batch."""
    view = Table(said) if said.progress else Lines(said)
    try:
        yield view.take
    finally:
        view.close()


def describe(progress: Progress) -> str:
    """How far a run is, on one line."""
    beyond = " (it ends with a whole rollout)" if progress.step > progress.steps else ""
    parts = [f"step {progress.step:,} of {progress.steps:,}{beyond}"]
    if progress.episodic_return is not None:
        parts.append(f"return {shown(progress.episodic_return)} (last 10 episodes)")
    if progress.steps_per_second is not None:
        parts += [f"{progress.steps_per_second:,.0f} steps/s", f"{span(progress.seconds_left)} left"]
    return ", ".join(parts)


def ending(event: Event) -> str:
    """How a run ended, on one line."""
    outcome = event.outcome
    if outcome is None:
        return ""
    if not outcome.trained:
        return f"{outcome.run.state}, there already"
    from openrlb_runners.progress import last_of

    step, mean = (None, None) if outcome.batch is None else last_of(outcome.batch)
    is_test = event.item is not None and event.item.request.role == "test"  # a study shows no test score before its last one
    told = "" if mean is None or is_test else f", return {shown(mean)} (last 10 episodes)"
    why = f": {outcome.run.notes[0]}" if outcome.run.notes and outcome.state != "finished" else ""
    return f"{outcome.state} at step {step or 0:,} after {span(outcome.seconds)}{told}{why}"


class Lines:
    """A line when a run starts, one about every 30 seconds, and one when it ends.

    Args:
        said: Where the lines go.
    """

    def __init__(self, said: Talk) -> None:
        self._said = said
        self._last: dict[str, float] = {}

    def take(self, event: Event) -> None:
        """Tells what is worth a line."""
        if event.kind == "warning":
            self._said.warn(event.text)
            return
        if event.item is None:
            return
        label, now = event.item.request.label, time.monotonic()
        if event.kind == "started":
            again = f", attempt {event.attempt}" if event.attempt > 1 else ""
            self._said.say(f"{label}: started as {event.item.key.digest}{again}")
            self._last[label] = now
        elif event.kind == "elsewhere":
            self._said.say(f"{label}: another openrlb is training it; waiting for it")
        elif event.kind == "ended":
            self._said.say(f"{label}: {ending(event)}")
        elif event.progress is not None and now - self._last.get(label, now) >= LINE_SECONDS:
            self._said.say(f"{label}: {describe(event.progress)}")
            self._last[label] = now

    def close(self) -> None:
        """Nothing to put back."""


class Table:
    """A table that is drawn anew: the running runs, those that wait for another openrlb, and a count of the others.

    Args:
        said: Where warnings and ended runs go, above the table.
    """

    def __init__(self, said: Talk) -> None:
        from rich.console import Console
        from rich.live import Live

        self._said = said
        self._console = Console(stderr=True, highlight=False, markup=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._rows: dict[str, tuple[WorkItem, str, Progress | None]] = {}
        self._ended = 0
        self._drawn = 0.0
        self._started = False

    def take(self, event: Event) -> None:
        """Notes an event, and draws a few times a second."""
        if not self._started:  # not before there is something: what is said before the first run is plain
            self._live.start()
            self._started = True
        if event.kind == "warning":
            self._console.print(printable(f"warning: {event.text}"))
        elif event.item is not None:
            key = event.item.key.digest
            if event.kind == "ended":
                self._rows.pop(key, None)
                self._ended += 1
                self._console.print(printable(f"{event.item.request.label}: {ending(event)}"))
            else:
                self._rows[key] = (event.item, "elsewhere" if event.kind == "elsewhere" else "running", event.progress)
        now = time.monotonic()
        if event.kind != "progress" or now - self._drawn > DRAW_SECONDS:
            self._drawn = now
            self._live.update(self._table(), refresh=True)

    def _table(self) -> Any:  # noqa: ANN401 - rich is imported only where it is needed
        """The table as it is now."""
        from rich.table import Table as RichTable

        table = RichTable(box=None, pad_edge=False, header_style="bold", caption=CAPTION, caption_justify="left")
        for name in COLUMNS:
            table.add_column(name, justify="left" if name in COLUMNS[:2] else "right", no_wrap=True)
        height = max(3, self._console.size.height - 6)
        for item, state, progress in list(self._rows.values())[:height]:
            if progress is None or not progress.step:
                table.add_row(printable(item.request.label), state, "", "", "", "")
                continue
            pace = "" if progress.steps_per_second is None else f"{progress.steps_per_second:,.0f}"
            mean = "" if progress.episodic_return is None else shown(progress.episodic_return)
            step = f"{progress.step:,} {min(100, 100 * progress.step // progress.steps)}%"
            table.add_row(printable(item.request.label), state, step, mean, pace, span(progress.seconds_left))
        hidden = len(self._rows) - height
        if hidden > 0:
            table.add_row(f"{hidden} more", "running", "", "", "", "")
        return table

    def close(self) -> None:
        """Takes the table away."""
        if self._started:
            self._live.stop()
