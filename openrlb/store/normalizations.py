"""Frozen normalisations: reference scores that were computed once, kept by name, and never change with a selection.

``data/normalizations.parquet`` is its own truth: one row for each name and environment, with the runs that the numbers came
from, so that ``doctor --rebuild`` leaves it alone. A name's rows are only ever added to: for an environment that a name
holds, its numbers stay what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from openrlb.errors import SelectionError, StoreDamaged, StoreUnwritable
from openrlb.store.files import unwritable, writing
from openrlb.store.layout import Layout
from openrlb.store.lock import locked

if TYPE_CHECKING:
    import pyarrow

LOCK_SECONDS = 60.0

Method = Literal["ref", "minmax", "cdf"]
"""How scores are normalised: (score - low) / (high - low), or the share of the reference runs that score at most as much."""


@dataclass(frozen=True, slots=True)
class Scale:
    """One environment's reference scores.

    Attributes:
        low: What becomes 0.
        high: What becomes 1.
        scores: For ``cdf`` the reference runs' scores, ascending; else empty.
        low_runs: ``source run`` of the runs behind ``low``; empty where a published table gave it.
        high_runs: The same for ``high``.
        step: The cut at which they were scored; None where values carry no steps, or a published table gave the numbers.
        step_unit: What the cut counts.
        version: With which freezing of its name it came.
    """

    low: float
    high: float
    scores: tuple[float, ...] = ()
    low_runs: tuple[str, ...] = ()
    high_runs: tuple[str, ...] = ()
    step: int | None = None
    step_unit: str = ""
    version: int = 1


@dataclass(frozen=True, slots=True)
class FrozenNormalization:
    """A normalisation by stored runs.

    Attributes:
        name: What a reader types after ``--normalize``.
        method: How scores are normalised.
        group: The group that it was made of, in the reader's words.
        zero: What 0 is, in words.
        of: The logged quantity.
        kind: The kind of that quantity.
        rule: The score rule.
        created: When it was first frozen, ISO 8601 in UTC; empty where it is not stored.
        scales: The reference scores of each environment.
    """

    name: str
    method: Method
    group: str
    zero: str
    of: str
    kind: str
    rule: str
    created: str
    scales: Mapping[str, Scale]

    @property
    def version(self) -> int:
        """How often environments were added to the name."""
        return max((scale.version for scale in self.scales.values()), default=1)

    @property
    def recipe(self) -> tuple[str, ...]:
        """What makes two freezings the same: everything but when, and of which environments."""
        return self.method, self.group.casefold(), self.zero, self.of, self.kind, self.rule


def read_normalizations(layout: Layout) -> dict[str, FrozenNormalization]:
    """Every frozen normalisation by name.

    Raises:
        StoreDamaged: The file cannot be read.
    """
    if layout.elsewhere is not None:
        layout.elsewhere(layout.normalizations)
    if not layout.normalizations.exists():
        return {}
    found: dict[str, FrozenNormalization] = {}
    for row in _rows(layout.normalizations):
        scale = Scale(**{key: row[key] for key in Scale.__dataclass_fields__})
        known = found.get(row["name"])
        scales = {**(known.scales if known else {}), row["env"]: scale}
        about = {key: row[key] for key in ("name", "method", "group", "zero", "of", "kind", "rule", "created")}
        found[row["name"]] = replace(known, scales=scales) if known else FrozenNormalization(**about, scales=scales)
    return found


def freeze(layout: Layout, wanted: FrozenNormalization) -> FrozenNormalization:
    """Keeps a normalisation; any number of processes may do so at once.

    For an environment that the name holds, what was frozen first stays and is returned.

    Args:
        layout: The store.
        wanted: What to keep.

    Returns:
        All that the name holds now.

    Raises:
        SelectionError: The name is taken by a normalisation made otherwise.
        StoreBusy: Another process has held the file for a minute.
        StoreDamaged: The file is there and cannot be read.
        StoreUnwritable: No permission, no space, or a read-only disk.
    """
    if layout.elsewhere is not None:
        why, fix = "the store lies elsewhere, and can only be read", "freeze it in a store of your own, or where the store lies"
        raise StoreUnwritable("the normalisation was not frozen", why, fix)
    try:
        layout.data.mkdir(parents=True, exist_ok=True)
        with locked(layout, "normalizations.lock", LOCK_SECONDS, "the normalisation was not frozen") as still_held:
            every = read_normalizations(layout)
            known = every.get(wanted.name)
            if known is not None and known.recipe != wanted.recipe:
                raise _taken(known, wanted)
            new = {env: scale for env, scale in wanted.scales.items() if known is None or env not in known.scales}
            if known is not None and not new:
                return known
            version = known.version + 1 if known else 1
            scales = {**(known.scales if known else {}), **{env: replace(one, version=version) for env, one in new.items()}}
            every[wanted.name] = replace(known or wanted, scales=scales)
            _write(layout.normalizations, every.values(), still_held)
            return every[wanted.name]
    except OSError as error:
        raise unwritable(layout.normalizations, error) from error


def _taken(known: FrozenNormalization, wanted: FrozenNormalization) -> SelectionError:
    """The error for a name that means something else."""
    words = ("method", "group", "zero", "quantity", "kind", "score rule")
    pairs = zip(words, known.recipe, wanted.recipe, strict=True)
    unlike = "; ".join(f"{word} {was!r}, not {now!r}" for word, was, now in pairs if was != now)
    return SelectionError(
        f"{wanted.name} is frozen already, and otherwise", f"it has {unlike}", "keep this one under another name: --freeze NAME"
    )


def _schema() -> pyarrow.Schema:
    """The file's columns."""
    import pyarrow as pa

    words = [
        (name, pa.string()) for name in ("name", "method", "group", "zero", "of", "kind", "rule", "created", "env", "step_unit")
    ]
    numbers = [("low", pa.float64()), ("high", pa.float64()), ("scores", pa.list_(pa.float64()))]
    runs = [("low_runs", pa.list_(pa.string())), ("high_runs", pa.list_(pa.string()))]
    return pa.schema([*words, *numbers, *runs, ("step", pa.int64()), ("version", pa.int32())])


def _rows(path: Path) -> Iterable[dict[str, Any]]:
    """The file's rows, lists as tuples.

    Raises:
        StoreDamaged: It cannot be read, or holds something else.
    """
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path, schema=_schema(), partitioning=None, page_checksum_verification=True).to_pylist()
    except (OSError, ValueError) as error:
        fix = "restore it from a backup, or move it away and freeze again (its old numbers are then lost)"
        raise StoreDamaged(
            "the frozen normalisations cannot be read", f"{path}: {' '.join(str(error).split())[:200]}", fix
        ) from error
    for row in rows:
        yield {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}


def _write(path: Path, every: Iterable[FrozenNormalization], ready: Callable[[], None]) -> None:
    """Writes the whole file, by rename."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for one in every:
        about = {key: getattr(one, key) for key in ("name", "method", "group", "zero", "of", "kind", "rule", "created")}
        rows += [{**about, "env": env, **asdict(scale)} for env, scale in one.scales.items()]
    with writing(path, ready) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=_schema()), temporary, compression="zstd", write_page_checksum=True)
