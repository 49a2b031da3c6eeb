"""A batch that several processes train together, on one machine or on several that share the store's folder.

::

    batches/<name>/  batch.json  ended/<run>.json

``batch.json`` says what is to be trained, resolved; ``ended/`` has a file for each run that is over. Who trains a run is said by
its run folder alone, as for any other run: a run whose openrlb is gone is begun again by whoever comes next.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from openrlb.errors import NothingMatched, SourceError, StoreTooNew, UsageError
from openrlb.store import Store
from openrlb.store.files import unwritable
from openrlb.store.layout import Layout
from openrlb.store.schema import literal
from openrlb.types import RunState, Selection, stable_hash
from openrlb_runners.memo import SOURCE, Memo
from openrlb_runners.request import NeededRunner, Outcome, PinnedRunner, TrainingRequest, WorkItem
from openrlb_runners.run_folder import attempts, is_running
from openrlb_runners.worker import LATER, Later

FORMAT = 1
PREFIX = "batch-"
RECORD, ENDED = "batch.json", "ended"
MOST_ATTEMPTS = 10
"""So often a run is begun whose openrlb died each time: then it is what kills it."""

AGAIN = ("interrupted", "openrlb was gone")
"""Notes of runs that say nothing against the run: another worker begins it again."""

_NAME_SIGNS = 60


@dataclass(frozen=True)
class PlannedItem:
    """One run of a batch.

    Attributes:
        run: Its id.
        runner: The name of its runner.
        request: What is asked for.
        effective: What that resolves to.
        tags: Its tags.
        before: The number of the last attempt before the batch was begun.
    """

    run: str
    runner: str
    request: TrainingRequest
    effective: Mapping[str, Any]
    tags: tuple[str, ...] = ()
    before: int = 0


@dataclass(frozen=True)
class BatchRecord:
    """What is to be trained.

    Attributes:
        name: The batch's name.
        created: When it was begun, ISO 8601 in UTC.
        wandb: How rows are mirrored.
        runners: What trains it.
        items: Its runs, in their order.
    """

    name: str
    created: str
    wandb: str
    runners: tuple[NeededRunner, ...]
    items: tuple[PlannedItem, ...]


def batches_dir(layout: Layout) -> Path:
    """Where a store's batches lie."""
    return layout.root / "batches"


def batch_name(items: Sequence[WorkItem]) -> str:
    """A batch's name: the same runs have the same.

    Args:
        items: Its runs.
    """
    kinds = {(item.request.algo, item.request.env) for item in items}
    words = "-".join(min(kinds)) if len(kinds) == 1 else f"{len(kinds)}-kinds"
    plain = "".join(sign if sign.isalnum() or sign in "-_." else "-" for sign in words)[:_NAME_SIGNS]
    return f"{PREFIX}{plain}-{stable_hash(sorted(item.key.digest for item in items), 8)}"


def write_batch(layout: Layout, items: Sequence[WorkItem], memo: Memo, *, device: str, wandb: str) -> BatchRecord:
    """Begins a batch, or begins it again: what is not finished is to be trained then, however it ended before.

    Args:
        layout: The store.
        items: The runs.
        memo: What the store holds of them.
        device: ``cpu`` or ``cuda``.
        wandb: How rows are mirrored.

    Raises:
        StoreUnwritable: No permission, no space, or a read-only disk.
    """
    runners = {item.runner.name: item.runner for item in items}
    planned = [
        PlannedItem(digest, item.runner.name, item.request, item.effective, item.tags, memo.last(digest)[1])
        for item in items
        for digest in [item.key.digest]
    ]
    needed = [NeededRunner(name, one.source, one.lock, device) for name, one in runners.items()]
    created = datetime.now(UTC).isoformat(timespec="milliseconds")
    record = BatchRecord(batch_name(items), created, wandb, tuple(needed), tuple(planned))
    folder = batches_dir(layout) / record.name
    try:
        (folder / ENDED).mkdir(parents=True, exist_ok=True)
        for path in (folder / ENDED).iterdir():
            path.unlink()
        for one in planned:
            if memo.last(one.run)[0] == "finished":
                _write(folder / ENDED / f"{one.run}.json", {"state": "finished", "reason": ""})
        _write(folder / RECORD, _to_json(record))
    except OSError as error:
        raise unwritable(folder, error) from error
    return record


def read_batch(layout: Layout, name: str) -> BatchRecord:
    """A batch by its name, or by the beginning of it.

    Raises:
        NothingMatched: There is none.
        UsageError: There are several.
        SourceError: It cannot be read.
        StoreTooNew: A newer openrlb has written it.
    """
    names = batch_names(layout)
    found = [one for one in names if one == name] or [one for one in names if one.startswith(name)]
    if not found:
        raise NothingMatched(
            f"there is no batch {name!r}", f"batches: {', '.join(names[:10]) or 'none yet'}", "see openrlb status"
        )
    if len(found) > 1:
        raise UsageError(f"{name!r} names several batches", ", ".join(found[:10]), "write more of the name")
    path = batches_dir(layout) / found[0] / RECORD
    try:
        table = json.loads(path.read_bytes())
        if table["format"] != FORMAT:
            why = f"its format is {table['format']}, and this openrlb knows {FORMAT}"
            raise StoreTooNew(f"the batch {found[0]} was begun with a newer openrlb", why, "update openrlb")
        return _from_json(table)
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"
        raise SourceError(f"the batch {found[0]} cannot be read", why, "begin it again: the same openrlb run") from error


def batch_names(layout: Layout) -> list[str]:
    """The names of a store's batches, the newest last."""
    try:
        found = [path for path in batches_dir(layout).iterdir() if (path / RECORD).is_file()]
        return [path.name for path in sorted(found, key=lambda path: (path / RECORD).stat().st_mtime)]
    except OSError:
        return []


def ended_states(layout: Layout, name: str) -> dict[str, str]:
    """The states of a batch's runs that are over, by run id."""
    found = {}
    with suppress(OSError):
        for path in (batches_dir(layout) / name / ENDED).glob("[!.]*.json"):
            with suppress(OSError, ValueError, KeyError, TypeError):
                found[path.stem] = str(json.loads(path.read_bytes())["state"])
    return found


@dataclass
class SharedBatch:
    """The runs of a batch as one of its workers takes them.

    Attributes:
        store: The store.
        record: The batch.
        runners: What trains, by name.
        memo: What the store holds.
    """

    store: Store
    record: BatchRecord
    runners: Mapping[str, PinnedRunner]
    memo: Memo
    _mine: set[str] = field(default_factory=set)
    _over: set[str] = field(default_factory=set)

    def take(self) -> WorkItem | Later | None:
        """The next run that nobody trains; ``LATER`` while others train what is left, None where nothing is left.

        Raises:
            SourceError: The batch's record contradicts itself.
            StoreUnwritable: Its folder cannot be written.
        """
        self._look()
        left = [one for one in self.record.items if one.run not in self._over and one.run not in self._mine]
        for one in left:
            if self._is_elsewhere(one.run):
                continue
            if self._ended_unnoted(one):
                continue
            self._mine.add(one.run)
            return self._item(one)
        return LATER if any(one.run not in self._over for one in left) else None

    def finished(self, item: WorkItem, outcome: Outcome) -> None:
        """Writes down how a run ended; one that its user or its batch system interrupted is left to the others.

        Raises:
            StoreUnwritable: The batch's folder cannot be written.
        """
        digest = item.key.digest
        self._mine.discard(digest)
        if not any(word in note for note in outcome.run.notes for word in AGAIN):
            self._end(digest, outcome.state, next(iter(outcome.run.notes), ""))

    def is_over(self, item: WorkItem) -> bool:
        """Whether another worker has seen a run end: it is not begun again here, however it ended."""
        self._look()
        if item.key.digest in self._over:
            self._mine.discard(item.key.digest)
            return True
        return False

    def _look(self) -> None:
        """Reads which runs are over."""
        with suppress(OSError):
            names = [path.name for path in (batches_dir(self.store.layout) / self.record.name / ENDED).iterdir()]
            self._over = {name.removesuffix(".json") for name in names if not name.startswith(".")}

    def _is_elsewhere(self, digest: str) -> bool:
        """Whether somebody trains a run."""
        for folder in attempts(self.store.layout, digest):
            with suppress(FileNotFoundError, SourceError):
                if is_running(folder):
                    return True
        return False

    def _ended_unnoted(self, one: PlannedItem) -> bool:
        """Whether a run is over, and whoever trained it has stored it and not noted so: not yet, or for ever.

        A finished one is no concern here: the worker loop finds it.
        """
        state, attempt = self.memo.last(one.run)
        if state == "finished" or attempt <= one.before:
            return False
        if attempt - one.before >= MOST_ATTEMPTS:
            self._end(one.run, "lost", f"it was begun {MOST_ATTEMPTS} times, and each time its openrlb ended")
            return True
        chosen = Selection(where=f"source = {literal(SOURCE)} AND run = {literal(one.run)}", role=(one.request.role,))
        notes = self.store.runs(chosen)[0].record.notes
        if any(word in note for note in notes for word in AGAIN):
            return False
        self._end(one.run, state, next(iter(notes), ""))
        return True

    def _item(self, one: PlannedItem) -> WorkItem:
        """The work item of a run.

        Raises:
            SourceError: Its key is not the one that was planned.
        """
        item = WorkItem(self.runners[one.runner], one.request, one.effective, tags=one.tags)
        if item.key.digest != one.run:
            why = f"run {one.run} has the key {item.key.digest} here"
            raise SourceError(f"the batch {self.record.name} cannot be trained", why, "begin it again: the same openrlb run")
        return item

    def _end(self, digest: str, state: RunState | str, reason: str) -> None:
        """Writes down how a run ended; the first word counts.

        Raises:
            StoreUnwritable: No permission, no space, or a read-only disk.
        """
        path = batches_dir(self.store.layout) / self.record.name / ENDED / f"{digest}.json"
        self._over.add(digest)
        try:
            if not path.exists():
                _write(path, {"state": state, "reason": reason[:300]})
        except OSError as error:
            raise unwritable(path, error) from error


def _write(path: Path, table: Mapping[str, Any]) -> None:
    """Writes a file that nobody ever sees half."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(table, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _to_json(record: BatchRecord) -> dict[str, Any]:
    """A record as JSON: runs that differ in nothing but their seed share what they are."""
    groups: dict[str, dict[str, Any]] = {}
    for order, one in enumerate(record.items):
        effective = {key: value for key, value in one.effective.items() if key != "seed"}
        request = {key: value for key, value in one.request.to_spec().items() if key not in ("seed", "format")}
        told = {"runner": one.runner, "role": one.request.role, "request": request, "effective": effective}
        told["tags"] = list(one.tags)
        group = groups.setdefault(stable_hash(told, 32), {**told, "runs": []})
        group["runs"].append({"run": one.run, "seed": one.request.seed, "before": one.before, "order": order})
    return {
        "format": FORMAT,
        "name": record.name,
        "created": record.created,
        "wandb": record.wandb,
        "runners": [vars(one) for one in record.runners],
        "groups": list(groups.values()),
    }


def _from_json(table: Mapping[str, Any]) -> BatchRecord:
    """A record from :func:`_to_json`."""
    items: dict[int, PlannedItem] = {}
    for group in table["groups"]:
        for one in group["runs"]:
            request = TrainingRequest(**group["request"], seed=int(one["seed"]), role=group["role"])
            effective = {**group["effective"], "seed": request.seed}
            words = (str(one["run"]), str(group["runner"]), request, effective, tuple(group["tags"]), int(one["before"]))
            items[int(one["order"])] = PlannedItem(*words)
    runners = tuple(NeededRunner(**one) for one in table["runners"])
    ordered = tuple(items[order] for order in sorted(items))
    return BatchRecord(str(table["name"]), str(table["created"]), str(table["wandb"]), runners, ordered)
