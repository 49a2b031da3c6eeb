"""``export``: what the store holds, to take elsewhere: tables for a paper or another program, and bundles to hand on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from openrlb.api.list import RunList, list_runs
from openrlb.api.opened import given, opened
from openrlb.errors import NothingMatched, UsageError
from openrlb.store import RunRow, Store
from openrlb.store.segment import COPIED, origin
from openrlb.types import Selection

if TYPE_CHECKING:
    import pyarrow as pa

    from openrlb.api.plot import PlotOptions
    from openrlb.sources.bundle.write import Written

What = Literal["results", "runs", "points"]
"""What a table is of: the groups with their intervals, the runs, or their logged values."""

RUN_COLUMNS = {
    **dict.fromkeys(("run", "source", "project", "name", "algo", "impl", "variant", "env"), "text"),
    "seed": "whole",
    "role": "text",
    "state": "text",
    "steps": "whole",
    "step_unit": "text",
    "metrics": "texts",
    "tags": "texts",
    "created": "text",
    "fetched": "text",
    "normalized": "text",
    "frames_per_step": "whole",
    "git_commit": "text",
    "requirements": "text",
    "attempt": "whole",
    "location": "text",
    "notes": "texts",
    "wrappers": "texts",
    "hardware": "json",
    "files": "json",
    "config": "json",
}
POINT_LABELS = ("run", "source", "project", "algo", "impl", "env", "metric", "kind")
"""The columns of points before seed, step, t_ms and value."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        path: The file or folder.
        what: ``results``, ``runs``, ``points``, ``sources`` (BibTeX) or ``bundle``.
        rows: Rows of the table; values of a bundle.
        runs: Runs that it is of.
        bytes: How large it is.
        removed: Secrets and personal data that were taken out: of how many runs, by field; what results lost is in the notes.
        left_out: Runs that are not in it, with the reason.
        notes: What a reader must know: of results, and how many reproductions were left out.
    """

    path: str
    what: str
    rows: int
    runs: int
    bytes: int
    removed: dict[str, int]
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def export(
    path: str | Path,
    what: What = "results",
    selection: Selection | None = None,
    *,
    metrics: Sequence[str] = (),
    options: PlotOptions | None = None,
    orlb_filters: Sequence[str] = (),
    store: Store | None = None,
) -> Exported:
    """Writes a table; its suffix chooses the format: .parquet, .csv, .tsv, .json, .md, .tex, or .bib for cited sources.

    Runs and points are written a handful at a time, so that memory does not bound them; nothing is cut, and every number
    keeps all its digits. A text that a spreadsheet would run as a formula gets an apostrophe in CSV and TSV.

    Args:
        path: The file.
        what: ``results`` (a row for each group and environment, with its interval), ``runs``, or ``points`` (logged values).
        selection: Which runs; all by default, reproductions only where ``role`` names them (in results never).
        metrics: For points: the logged or canonical names; all by default.
        options: For results: how to score, group and aggregate.
        orlb_filters: rlops' filter strings, which narrow the selection.
        store: The user's own store by default.

    Raises:
        UsageError: A suffix that names no format, or one that this has no form in.
        NothingMatched: No run fits, or none logged such a metric.
        StoreUnwritable: The file cannot be written.
        OpenrlbError: As :func:`openrlb.plot`, for results.
    """
    from openrlb.api.export_tables import check_suffix, write_rows, write_tables
    from openrlb.store.files import check_writable

    path, selection = Path(path), given(selection, Selection, "selection")
    check_suffix(path, what)
    check_writable(path)
    if what == "results" or path.suffix.lower() == ".bib":
        return _results(path, selection, options, orlb_filters, store)
    store = opened(store)
    rows = list_runs(selection, orlb_filters=orlb_filters, store=store)
    taken: Counter[str] = Counter()
    if what == "runs":
        count = write_rows(path, RUN_COLUMNS, _run_rows(rows, taken))
    else:
        count = write_tables(path, _points(store, rows, metrics, taken))
    return Exported(str(path), what, count, len(rows), path.stat().st_size, dict(sorted(taken.items())), notes=_notes(rows))


def _run_rows(rows: Sequence[RunRow], taken: Counter[str]) -> Iterator[list[dict[str, Any]]]:
    """A row for each run, a handful at a time; what is taken out of them is counted."""
    from openrlb.api.cleaned import clean_row
    from openrlb.sources.bundle.removal import Remover, removed

    remover = Remover()
    for start in range(0, len(rows), 256):
        found = []
        for row in rows[start : start + 256]:
            clean = clean_row(row, remover)
            taken.update(removed([clean.record]) if clean.record != row.record else {})
            record = {name: getattr(clean.record, name) for name in RUN_COLUMNS if hasattr(clean.record, name)}
            found.append({**record, **clean.columns, "fetched": clean.fetched})
        yield found


def _points(store: Store, rows: Sequence[RunRow], metrics: Sequence[str], taken: Counter[str]) -> Iterator[pa.Table]:
    """The logged values, a run at a time; what is taken out of their labels is counted.

    Raises:
        NothingMatched: No run logged such a metric.
    """
    from openrlb.sources.bundle.removal import Remover, removed
    from openrlb.sources.bundle.tables import values_table
    from openrlb.store.stored import stored_batches

    remover = Remover()

    keys = [(row.record.source, row.record.run) for row in rows]
    if metrics:
        _check_metrics(store, keys, metrics)
    for batch in stored_batches(store, keys, metrics or None):
        clean = remover.cleaned(replace(batch, blobs={}))
        taken.update(removed([clean.run]) if clean.run != batch.run else {})
        table = values_table([clean], None, POINT_LABELS)
        if table is not None:
            yield table


def _check_metrics(store: Store, keys: Sequence[tuple[str, str]], metrics: Sequence[str]) -> None:
    """Makes sure that each named metric was logged by some run.

    Raises:
        NothingMatched: One was not.
    """
    from openrlb.store.environments import nearest

    logged = [item.metric for items in store.metrics_of(keys).values() for item in items]
    names = {one.name for one in logged} | {one.canonical for one in logged if one.canonical}
    for name in metrics:
        if name not in names:
            close = nearest(name, names)
            fix = f"did you mean --of {close[0]}?" if close else "openrlb show RUN names what a run logged"
            raise NothingMatched(f"no run logged {name!r}", f"the {len(keys):,} selected runs logged {len(names)} metrics", fix)


def _results(
    path: Path, selection: Selection, options: PlotOptions | None, orlb_filters: Sequence[str], store: Store | None
) -> Exported:
    """The result table, or what it rests on as BibTeX."""
    from openrlb.api.export_tables import write_rows, write_text
    from openrlb.api.plot import plot
    from openrlb.api.result_rows import TABLE_COLUMNS, table_rows
    from openrlb.scrubbing import Scrubber
    from openrlb_analysis.figures.citations import bibliography
    from openrlb_analysis.figures.latex_table import latex_table

    scrubber = Scrubber()
    answer = plot(selection, options, orlb_filters=orlb_filters, store=store)
    results = scrubber.value((answer.result, *answer.beside))  # before LaTeX escapes a name that tells what is secret
    rows = [row for result in results for row in table_rows(result)]
    runs = {run for group in answer.result.groups for one in group.per_env for run in one.run_ids}
    suffix = path.suffix.lower()
    if suffix == ".bib":
        write_text(path, bibliography(results[0]))
    elif suffix == ".tex":
        write_text(path, latex_table(results))
    else:
        write_rows(path, TABLE_COLUMNS, [rows])
    left_out = tuple((one.run, one.reason) for one in results[0].excluded)
    what = "sources" if suffix == ".bib" else "results"
    told = [f"taken out: {count} times a {kind}" for kind, count in sorted(scrubber.taken.items())]
    notes = (*results[0].notes, *told)
    return Exported(str(path), what, len(rows), len(runs), path.stat().st_size, {}, left_out, notes)


def export_bundle(
    folder: str | Path,
    selection: Selection | None = None,
    *,
    license_: str = "unknown",
    title: str = "",
    orlb_filters: Sequence[str] = (),
    store: Store | None = None,
) -> Exported:
    """Writes the selected runs as a bundle: Parquet, kept files, checksums and a dataset card. The same runs give equal bytes.

    Secrets, logins, e-mail addresses, home folders and names of people and machines are taken out; which fields of how many
    runs is in the answer, in the manifest and on the card.

    Args:
        folder: A new or empty folder, or one with a bundle, which is replaced.
        selection: Which runs; all by default, reproductions only where ``role`` names them.
        license_: The license of the data, by its SPDX or Hugging Face identifier.
        title: What the card calls it; the folder's name by default.
        orlb_filters: rlops' filter strings, which narrow the selection.
        store: The user's own store by default.

    Raises:
        UsageError: The folder holds something that is no bundle, or the license is no identifier.
        NothingMatched: No run fits.
        StoreDamaged: Points or kept files are lost.
        StoreUnwritable: The folder cannot be written.
    """
    from openrlb.sources.bundle.manifest import NAME
    from openrlb.sources.bundle.write import check_place, write_bundle
    from openrlb.store.files import check_writable
    from openrlb.store.stored import stored_batches

    check_place(Path(folder))
    check_writable(Path(folder) / NAME)
    store = opened(store)
    rows = list_runs(selection, orlb_filters=orlb_filters, store=store)
    keys, left_out = _one_of_each(rows)
    written: Written = write_bundle(Path(folder), stored_batches(store, keys), license_=license_, title=title)
    return Exported(str(folder), "bundle", written.values, written.runs, written.bytes, written.removed, left_out, _notes(rows))


def _notes(rows: RunList) -> tuple[str, ...]:
    """How many reproductions were left out, where any were."""
    return (rows.left_out,) if rows.left_out else ()


def _one_of_each(rows: Sequence[RunRow]) -> tuple[list[tuple[str, str]], tuple[tuple[str, str], ...]]:
    """The runs in a bundle's order, and copies that came in a bundle beside a run of the same id: one id is one run."""
    order = sorted((row.record for row in rows), key=lambda run: (run.env, run.algo, origin(run.source), run.run))
    own = {(run.source, run.run) for run in order if not run.source.startswith(COPIED)}
    keys, left_out = [], []
    for run in order:
        if run.source.startswith(COPIED) and (origin(run.source), run.run) in own:
            left_out.append(
                (run.run, f"it came in a bundle, and the store has a run of that id from {origin(run.source)} itself")
            )
        else:
            keys.append((run.source, run.run))
    return keys, tuple(left_out)


def check_bundle_flags(what: str | None, output: Path | None, bundle: Path | None, as_json: bool = False) -> None:
    """Makes sure that one thing is asked for.

    Raises:
        UsageError: Nothing, or two things that exclude each other.
    """
    if output is None and bundle is None and not as_json:
        fix = "name a file (-o results.csv), a folder (--bundle FOLDER), or --json for standard output"
        raise UsageError("nothing is named to export to", "neither -o nor --bundle is given", fix)
    if output is not None and bundle is not None:
        raise UsageError("-o and --bundle exclude each other", "a table is a file, a bundle a folder", "use one of them")
    if bundle is not None and what is not None:
        raise UsageError(f"--bundle and --{what} exclude each other", "a bundle has runs and points", f"leave --{what} out")
