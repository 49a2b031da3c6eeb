"""Writing a bundle: everything beside the old one first, then into place, the manifest last."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from openrlb.errors import SourceError, UsageError
from openrlb.paths import cache_dir
from openrlb.sources.bundle.card import card
from openrlb.sources.bundle.manifest import (
    CARD,
    NAME,
    STAGING,
    Listed,
    Manifest,
    Part,
    dumped,
    loaded,
)
from openrlb.sources.bundle.removal import Remover, removed
from openrlb.sources.bundle.tables import kept_table, packed, runs_table, values_table
from openrlb.store.files import quoted, sync_folder, unwritable, writing
from openrlb.store.segment import origin
from openrlb.store.stored import stored_batches
from openrlb.types import RunBatch

if TYPE_CHECKING:
    from openrlb.store import Store

OURS = ("data", CARD, NAME)
"""What a bundle's folder holds beside hidden files, which are somebody else's (``.git``)."""

RUNS_PER_PART = 256
VALUES_PER_PART = 2_000_000
KEPT_PER_PART = 32 * 1024**2
"""Bytes of different kept files: a reader takes twice as many from a file however small."""
LICENSE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")


@dataclass(frozen=True, slots=True)
class Written:
    """A bundle that was written.

    Attributes:
        folder: Where.
        runs: How many runs it has.
        values: How many values they logged.
        bytes: How large its files are together.
        removed: What was taken out: in how many runs, by field.
    """

    folder: Path
    runs: int
    values: int
    bytes: int
    removed: dict[str, int]


@dataclass(slots=True)
class _Made:
    """What is written so far."""

    folder: Path
    version: str
    parts: list[Part] = field(default_factory=list)
    files: dict[str, Listed] = field(default_factory=dict)
    runs: set[tuple[str, str]] = field(default_factory=set)
    removed: dict[str, int] = field(default_factory=dict)

    def add(self, path: str, data: bytes) -> str:
        """Writes a file of the bundle."""
        with writing(self.folder / path) as temporary:
            temporary.write_bytes(data)
        self.files[path] = Listed(hashlib.sha256(data).hexdigest(), len(data))
        return path


def write_bundle(folder: Path, batches: Iterable[RunBatch], *, license_: str = "unknown", title: str = "") -> Written:
    """Writes runs as a bundle. Equal runs in equal order give equal bytes.

    A kill at any moment leaves the bundle that was there before or, between the last renames, none.

    Args:
        folder: A new or empty folder, or one with a bundle, which is replaced. Hidden files in it (``.git``) stay.
        batches: The runs; those of one environment and algorithm should follow each other. Secrets and personal data are
            taken out of them (:mod:`openrlb.scrubbing`).
        license_: The license of the data, by its identifier.
        title: What the card calls it; the folder's name by default.

    Raises:
        UsageError: The folder holds something else, or the license is no identifier.
        SourceError: Two runs with one id.
        StoreUnwritable: The folder cannot be written.
    """
    if not LICENSE.fullmatch(license_):
        fix = "name it by its identifier, for instance cc-by-4.0 or mit"
        raise UsageError(
            f"--license {license_!r} is not understood", "a license is named by letters, digits, dots and dashes", fix
        )
    folder = folder.absolute()
    with _alone(folder):
        return _write(folder, batches, license_, title)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps other exports of this machine's user out of a folder: two at once would mix their files.

    Raises:
        UsageError: Another one is at it.
    """
    from filelock import FileLock, Timeout

    place = cache_dir() / "locks" / f"export-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}.lock"
    lock = FileLock(place)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        why = "another openrlb export writes there now"
        raise UsageError(f"no bundle is written to {folder}", why, "wait for it, or name another folder") from error
    except OSError as error:
        raise unwritable(place.parent, error) from error
    try:
        yield
    finally:
        lock.release()


def _write(folder: Path, batches: Iterable[RunBatch], license_: str, title: str) -> Written:
    """Writes a bundle to a folder that nobody else writes to."""
    check_place(folder)
    staging = folder / STAGING
    try:
        staging.mkdir(parents=True, exist_ok=True)
        for leftover in staging.iterdir():
            _remove(leftover)
        made = _fill(_Made(staging, _version()), batches)
        manifest = Manifest(tuple(made.parts), made.files, license_, made.removed, made.version)
        made.add(CARD, card(manifest, title or folder.name).encode())
        data = dumped(replace(manifest, files=made.files))
        with writing(staging / NAME) as temporary:
            temporary.write_bytes(data)
        _into_place(staging, folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    finally:
        if _is_whole(folder):
            shutil.rmtree(staging, ignore_errors=True)
    size = sum(one.bytes for one in made.files.values()) + len(data)
    values = sum(part.values for part in made.parts)
    return Written(folder, len(made.runs), values, size, made.removed)


def check_place(folder: Path) -> None:
    """Makes sure that a bundle may be written to a folder.

    Raises:
        UsageError: It holds something that is no bundle, or is no folder.
    """
    fix = "name a new folder, or the bundle that shall be replaced"
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"no bundle is written to {folder}", "it is a file", fix)
    there = {path.name for path in folder.iterdir()}
    foreign = sorted(name for name in there if not name.startswith(".") and name not in OURS)
    if foreign:
        raise UsageError(f"no bundle is written to {folder}", f"it holds {foreign[0]}, which is of no bundle", fix)
    if there & set(OURS) and STAGING not in there:
        try:
            loaded((folder / NAME).read_bytes())
        except (OSError, SourceError) as error:
            why = error.why if isinstance(error, SourceError) else f"{NAME} is not there"
            raise UsageError(f"no bundle is written to {folder}", f"what it holds is no bundle: {why}", fix) from error


def _fill(made: _Made, batches: Iterable[RunBatch]) -> _Made:
    """Writes every part and kept file."""
    for some in _handfuls(_cleaned(batches)):
        _write_part(made, some)
    return made


def handed_on(store: Store, keys: Sequence[tuple[str, str]]) -> Iterator[RunBatch]:
    """Stored runs as a bundle has them: under their own source, without what nobody else should read.

    Args:
        store: The store.
        keys: (source, run) of each.

    Raises:
        StoreDamaged: Points or kept files are lost or changed.
    """
    return _cleaned(stored_batches(store, keys))


def _cleaned(batches: Iterable[RunBatch]) -> Iterator[RunBatch]:
    """Runs as a bundle has them: metrics in the order of their names, for a store keeps no other."""
    remover = Remover()
    for batch in batches:
        clean = remover.cleaned(replace(batch, run=replace(batch.run, source=origin(batch.run.source))))
        yield replace(clean, metrics=tuple(sorted(clean.metrics, key=lambda one: (one.metric.name, one.metric.kind))))


def _handfuls(batches: Iterable[RunBatch]) -> Iterator[list[RunBatch]]:
    """Runs of one environment and algorithm that make a part of a good size."""
    some: list[RunBatch] = []
    values, kept = 0, 0
    seen: set[bytes] = set()
    for batch in batches:
        size = sum(len(one.values) for one in batch.metrics)
        added = sum(len(data) for data in set(batch.blobs.values()) - seen)
        other = some and (some[0].run.env, some[0].run.algo) != (batch.run.env, batch.run.algo)
        full = len(some) >= RUNS_PER_PART or values + size > VALUES_PER_PART or kept + added > KEPT_PER_PART
        if some and (other or full):
            yield some
            some, values, kept, seen = [], 0, 0, set()
            added = sum(map(len, set(batch.blobs.values())))
        some.append(batch)
        seen |= set(batch.blobs.values())
        values, kept = values + size, kept + added
    if some:
        yield some


def _write_part(made: _Made, batches: list[RunBatch]) -> None:
    """Writes one part.

    Raises:
        SourceError: A run that was written already.
    """
    for batch in batches:
        key = batch.run.source, batch.run.run
        if key in made.runs:
            why = f"{batch.run.run} of {batch.run.source} is there twice"
            raise SourceError("two runs have the same id", why, "select one of them with --where or --source")
        made.runs.add(key)
    env, algo = batches[0].run.env, batches[0].run.algo
    place = f"data/env={quoted(env)}/algo={quoted(algo)}"
    number = f"{len(made.parts):05d}.parquet"
    tables = {"runs": runs_table(batches), "points": values_table(batches, system=False)}
    tables |= {"system": values_table(batches, system=True), "files": kept_table(batches)}
    files = [made.add(f"{place}/{name}-{number}", packed(table)) for name, table in tables.items() if table is not None]
    values = sum(len(one.values) for batch in batches for one in batch.metrics)
    made.parts.append(Part(env, algo, len(batches), values, tuple(files)))
    for name, count in removed(batch.run for batch in batches).items():
        made.removed[name] = made.removed.get(name, 0) + count


def _into_place(staging: Path, folder: Path) -> None:
    """Puts what was made where the old bundle was: the manifest goes first and comes last, and nothing takes more space."""
    (folder / NAME).unlink(missing_ok=True)
    for name in OURS:
        _remove(folder / name)
        if (staging / name).exists():
            (staging / name).rename(folder / name)
    sync_folder(folder)


def _remove(path: Path) -> None:
    """Removes a file, or a folder with what is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _is_whole(folder: Path) -> bool:
    """Whether a folder has a bundle's manifest, or nothing of one: else the mark of an unfinished export has to stay."""
    return (folder / NAME).exists() or not any((folder / name).exists() for name in OURS)


def _version() -> str:
    """The version of openrlb that writes."""
    from importlib.metadata import version

    return version("openrlb")
