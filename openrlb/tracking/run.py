"""A run that is being tracked: what ``openrlb.track`` returns."""

from __future__ import annotations

import atexit
import os
import shlex
import struct
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, get_args

from openrlb.errors import OpenrlbError, UsageError
from openrlb.store.layout import Layout
from openrlb.tracking.folder import GIT, ROWS, End, make_folder, mark_end, store_folders
from openrlb.tracking.metrics import LENGTH, metric_of
from openrlb.tracking.mirror import Mirror, Mode
from openrlb.tracking.owner import this_process
from openrlb.tracking.provenance import Git, Provenance, accelerator
from openrlb.tracking.rows import RowWriter
from openrlb.tracking.values import checked_name, number, whole
from openrlb.types import EPISODIC_RETURN, Metric, MetricKind, Run, RunState

MAX_NAMES = 1000
"""Different metrics of one run; a name that is made anew in each row would fill the store's table of metrics."""

QUIET = "OPENRLB_QUIET"
"""The variable of ``openrlb --quiet``; it also silences a tracked run's last line."""

_LOOK_AGAIN_MS = 60_000
_ENDS = ("finished", "failed", "crashed", "killed", "diverged", "unknown")


class TrackedRun:
    """One execution of a training script. Made by :func:`openrlb.track`; rows may come from any thread of its process.

    Attributes:
        record: What is known of the run at its start.
    """

    def __init__(self, layout: Layout, key: str, attempt: str, record: Run, provenance: Provenance | None, wandb: Mode) -> None:
        self.record = record
        self._layout, self._key, self._attempt = layout, key, attempt
        self._kept = dict(provenance.kept) if provenance else {}
        self._owner = this_process()
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._names: dict[str, Metric] = {}
        self._taken = self._lost = self._refused = 0
        self._ended = False
        self._warned: set[str] = set()
        self._folder = make_folder(layout, key, attempt, record, self._owner, self._kept)
        self._rows = RowWriter(self._folder / ROWS)
        self._git = Git(provenance.script.parent if provenance.script else Path.cwd(), self._folder / GIT) if provenance else None
        self._began = time.monotonic_ns() // 1_000_000
        self._looked = 0
        self._mirror = Mirror(wandb, record, self._warn)
        atexit.register(self._at_exit)

    @property
    def id(self) -> str:
        """The run's id in the store."""
        return self.record.run

    def log(self, step: int, metrics: Mapping[str, Any] | None = None, **named: Any) -> None:  # noqa: ANN401 - any scalar
        """Logs one row; once this returns, the row survives the end of the process, however it ends.

        Args:
            step: The training step. It may repeat; it may go back, which the run then notes.
            metrics: Values by name, for names that are no Python words: ``{"eval/mean_reward": 3.0}``.
            **named: Values by name. Python numbers, or anything of one element with ``item()`` (numpy, torch, JAX);
                NaN and infinities are values.

        Raises:
            UsageError: A value that is no number, a step that is none, a run that has ended, or a forked process.
        """
        if os.getpid() != self._pid:
            _refuse_fork()
        if metrics is not None:
            named = _joined(metrics, named)
        if not named:
            return
        number_of_step = step if type(step) is int and step >= 0 else whole(step)
        values = [value if type(value) is float else number(name, value) for name, value in named.items()]
        with self._lock:
            self._write(number_of_step, tuple(named), values)

    def episode(self, step: int, episodic_return: float, length: int | None = None) -> None:
        """Logs one finished episode: its undiscounted return, before any reward scaling, and its length in steps.

        Raises:
            UsageError: As :meth:`log`.
        """
        self.log(step, {EPISODIC_RETURN: episodic_return} | ({} if length is None else {LENGTH: length}))

    def define(self, name: str, *, kind: MetricKind = "other", canonical: str | None = None) -> None:
        """Says what a metric is, before or after it is first logged. Names that scripts log by habit are known.

        Args:
            name: The name that is logged.
            kind: What one value is: ``episode``, ``rolling_mean``, ``eval``, ``other`` or ``system``.
            canonical: The quantity's name in openrlb; ``episodic_return`` makes it a return that ``plot`` finds.

        Raises:
            UsageError: No such kind, or a name that is none.
        """
        if kind not in get_args(MetricKind):
            why = f"it is one of {', '.join(get_args(MetricKind))}"
            raise UsageError(f"{kind!r} is no kind of metric", why, "try kind='eval'")
        metric = Metric(checked_name(name), kind, None if canonical is None else checked_name(canonical))
        with self._lock:
            self._check_open()
            self._names[name] = metric
            try:
                self._rows.define(metric)
            except OSError as error:
                self._warn(f"the kind of {name} could not be written ({error.strerror or error})")

    def finish(self, state: RunState = "finished", note: str | None = None) -> None:
        """Ends the run, puts it into the store and says so in one line (not where ``OPENRLB_QUIET`` is set).

        A second call does nothing.

        Where the store cannot be written now, the run waits in its folder and the next openrlb command stores it.

        Args:
            state: How it ended: ``finished``, ``failed``, ``crashed``, ``killed`` or ``diverged``.
            note: What a reader should know.

        Raises:
            UsageError: No such state, or a forked process.
        """
        if state not in _ENDS:
            raise UsageError(f"{state!r} is no way to end", f"it is one of {', '.join(_ENDS)}", "leave it out for finished")
        if os.getpid() != self._pid:
            _refuse_fork()
        atexit.unregister(self._at_exit)
        self._close(state, note, store=True)

    def __enter__(self) -> TrackedRun:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        state, note = _ending(kind, error)
        self.finish(state, note)

    def __repr__(self) -> str:
        return f"<openrlb run {self.id}: {self.record.algo} on {self.record.env}, seed {self.record.seed}, {self._taken} rows>"

    def __reduce__(self) -> NoReturn:
        """A run cannot be sent to another process."""
        _refuse_fork()

    def _close(self, state: RunState, note: str | None, store: bool) -> None:
        """Writes down how the run ended and, where asked, stores it; the first call counts."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
        try:
            self._keep_folder()
            mark_end(self._folder, self._end(state, note))
            self._rows.close()
            if self._git:
                self._git.wait()
            if store:
                store_folders(self._layout, [self._folder])
                self._say_stored(state)
        except Exception as error:  # the training is over and its rows are safe: whatever it is, it can wait
            self._warn(f"the run waits in {self._folder} for the next openrlb command: {error}")
        self._mirror.finish(state)

    def _write(self, step: int, names: tuple[str, ...], values: Sequence[float]) -> None:
        """Writes one checked row; a full disk costs the row, never the training."""
        self._check_open()
        if not all(name in self._names for name in names):
            names, values = self._admitted(names, values)
            if not names:
                return
        now = time.monotonic_ns() // 1_000_000 - self._began
        self._taken += 1
        try:
            if now - self._looked > _LOOK_AGAIN_MS:
                self._looked = now
                self._keep_folder()
            self._rows.append(step, now, names, values)
        except struct.error:
            self._taken -= 1
            whole(step)
            raise
        except (OSError, OpenrlbError) as error:
            self._lost += 1
            self._warn(f"rows of {self.id} are being lost: {getattr(error, 'strerror', None) or error}")
        if self._mirror.is_on:
            self._mirror.log(step, dict(zip(names, values, strict=True)))

    def _admitted(self, names: tuple[str, ...], values: Sequence[float]) -> tuple[tuple[str, ...], list[float]]:
        """The part of a row whose names are known or new within the limit."""
        kept: list[tuple[str, float]] = []
        for name, value in zip(names, values, strict=True):
            if name not in self._names:
                if len(self._names) >= MAX_NAMES:
                    self._refused += 1
                    self._warn(f"{self.id} logs more than {MAX_NAMES} different names; values of further ones are left out")
                    continue
                self._names[checked_name(name)] = metric_of(name)
            kept.append((name, value))
        return tuple(name for name, _ in kept), [value for _, value in kept]

    def _check_open(self) -> None:
        """Refuses rows after the end."""
        if self._ended:
            fix = "log before finish(), or start another run with openrlb.track"
            raise UsageError(f"the run {self.id} has ended", "nothing more can be logged to it", fix)

    def _keep_folder(self) -> None:
        """Makes the folder anew where a sweep took it away: on a shared folder a long pause looks like a death."""
        if self._rows.is_at(self._folder / ROWS):
            return
        folder = make_folder(self._layout, self._key, self._attempt, self.record, self._owner, self._kept)
        (folder / ROWS).unlink()
        self._rows.copy_to(folder / ROWS)

    def _end(self, state: RunState, note: str | None) -> End:
        """The last word."""
        notes = [note] if note else []
        if self._refused:
            notes.append(f"{self._refused} values of metrics beyond the first {MAX_NAMES} names were left out")
        return End(state, self._taken, self._lost, tuple(notes), accelerator())

    def _at_exit(self) -> None:
        """The interpreter ends and nobody called finish: only what was said to be finished is finished.

        The next openrlb command stores the run: so late, Python refuses the imports that writing a segment needs.
        """
        if os.getpid() != self._pid:
            return
        error = getattr(sys, "last_value", None) if not hasattr(sys, "ps1") else None
        state, note = _ending(type(error), error) if error is not None else ("unknown", "the script ended without run.finish()")
        self._close(state, note, store=False)

    def _say_stored(self, state: RunState) -> None:
        """Says where the run went."""
        run = self.record
        seed = "" if run.seed is None else f", seed {run.seed}"
        rows = f"{self._taken:,} row{'' if self._taken == 1 else 's'}"
        if os.environ.get(QUIET, "").lower() in ("", "0", "false") and sys.stderr is not None:
            with suppress(OSError, ValueError):
                where = f"openrlb list --source {shlex.quote(run.project)}"
                sys.stderr.write(f"openrlb: {run.algo} on {run.env}{seed} is stored ({state}, {rows}, run {run.run}): {where}\n")

    def _warn(self, sentence: str) -> None:
        """Says each thing once."""
        first = sentence.split(":")[0]
        if first not in self._warned and sys.stderr is not None:
            self._warned.add(first)
            with suppress(OSError, ValueError):
                sys.stderr.write(f"openrlb: warning: {sentence}\n")


def _ending(kind: type[BaseException] | None, error: BaseException | None) -> tuple[RunState, str | None]:
    """The state that an exception leads to, and the note for it; the exception's text may be personal and is not kept."""
    if kind is None:
        return "finished", None
    if issubclass(kind, SystemExit):
        code = getattr(error, "code", None)
        told = code if isinstance(code, int) else 1  # any other object is printed, and the process ends with 1
        return ("finished", None) if code in (None, 0) else ("failed", f"ended by SystemExit ({told})")
    return ("killed" if issubclass(kind, KeyboardInterrupt) else "failed"), f"ended by {kind.__name__}"


def _joined(metrics: object, named: dict[str, Any]) -> dict[str, Any]:
    """The values of both ways to name them."""
    fix = "log(step, loss=0.1) or log(step, {'eval/mean_reward': 3.0})"
    if not isinstance(metrics, Mapping):
        raise UsageError("nothing was logged", f"the second argument is {type(metrics).__name__}, not a mapping", fix)
    double = metrics.keys() & named.keys()
    if double:
        raise UsageError("nothing was logged", f"{sorted(double)[0]!r} was given twice", fix)
    return {**metrics, **named}


def _refuse_fork() -> NoReturn:
    """The error for a process that does not own the run."""
    why = "only the process that called openrlb.track writes its rows"
    raise UsageError("a tracked run cannot be used in another process", why, "send the values back to it, and log them there")
