"""A study on paper: its HTML page with learning curves on test seeds, and the reproducibility checklist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrlb.api.study import StudyView
from openrlb.errors import NothingMatched
from openrlb.store import Store

if TYPE_CHECKING:
    from openrlb.types import Curve, Run
    from openrlb_analysis.figures.page import Page
    from openrlb_analysis.result import CurvesResult
    from openrlb_hpo.checklist import Checklist, Facts
    from openrlb_hpo.records import StudyRecord

INCUMBENT = "incumbent"
CURVE_RESAMPLES = 2_000
HARDWARE = ("cpu", "cores", "threads", "memory_gb", "system", "gpu")


def write_page(view: StudyView, random: StudyView | None, output: Path, *, store: Store | None = None) -> None:
    """Writes a study's HTML page.

    Args:
        view: The study.
        random: A random search to show beside it, or None.
        output: The file.
        store: The store that holds its runs; the user's own by default.

    Raises:
        OpenrlbError: The file cannot be written.
    """
    from openrlb_analysis import report

    report.write_page(output, page_of(view, random, store or Store()))


def page_of(view: StudyView, random: StudyView | None, store: Store) -> Page:
    """A study's page, for the writer of pages.

    Args:
        view: The study.
        random: A random search to show beside it, or None.
        store: The store that holds its runs.
    """
    from openrlb_hpo.report_page import study_page

    runs = stored_runs(view.record, store)
    return study_page(
        view.record,
        view.result,
        curves=test_curves(view.record, runs, store),
        random=None if random is None else random.record,
        command=described_command(view.record),
        facts=facts_of(view.record, runs),
    )


def checklist_of(view: StudyView, *, store: Store | None = None) -> Checklist:
    """The reproducibility checklist of a study, filled in from its ledger and its runs.

    Args:
        view: The study.
        store: The store that holds its runs; the user's own by default.
    """
    from openrlb_hpo.checklist import checklist

    return checklist(view.record, view.result, facts_of(view.record, stored_runs(view.record, store or Store())))


def stored_runs(record: StudyRecord, store: Store) -> dict[str, Run]:
    """The runs of a study that the store holds, by id; a worker elsewhere may have stored others in another store."""
    from openrlb.store.schema import literal
    from openrlb.types import Selection

    ids = sorted({row.run for row in record.reservations})
    if not ids:
        return {}
    where = f"source = 'openrlb' AND run IN ({', '.join(map(literal, ids))})"
    try:
        rows = store.runs(Selection(where=where, role=("tuning", "confirm", "test")))
    except NothingMatched:
        return {}
    return {row.record.run: row.record for row in rows}


def test_curves(record: StudyRecord, runs: Mapping[str, Run], store: Store) -> list[CurvesResult]:
    """Learning curves of the incumbent and of each baseline on the test seeds, the mean over runs; empty before a test run ended.

    Args:
        record: The study.
        runs: Its stored runs.
        store: The store.
    """
    from openrlb.errors import SelectionError
    from openrlb_analysis.summary import learning_curves

    curves = _labelled(record, runs, store)
    if not curves:
        return []
    try:
        return [
            learning_curves(
                curves,
                x="steps",
                of="episodic_return",
                metric="mean",
                resamples=CURVE_RESAMPLES,
                rule=record.settings.objective,
                at=record.settings.steps,
                normalize="none",
                by=("algo",),
            )
        ]
    except (NothingMatched, SelectionError):
        return []


def _labelled(record: StudyRecord, runs: Mapping[str, Run], store: Store) -> list[Curve]:
    """The returns of every test run, its configuration's name in the place of its algorithm: what groups are told apart by."""
    from openrlb.store.schema import literal
    from openrlb.types import EPISODIC_RETURN, Selection

    names = {one.configuration: one.name for one in record.settings.baselines}
    tested = [row for row in record.reservations if row.role == "test" and row.run in runs]
    if not tested:
        return []
    where = f"source = 'openrlb' AND run IN ({', '.join(sorted({literal(row.run) for row in tested}))})"
    wanted = [(name, record.settings.kind) for name in (EPISODIC_RETURN, f"eval/{EPISODIC_RETURN}")]
    found = {curve.run.run: curve for curve in store.curves(Selection(where=where, role=("test",)), wanted)}
    labelled = []
    for row in tested:
        if (curve := found.get(row.run)) is not None:
            name = names.get(row.configuration, INCUMBENT)
            plain = replace(curve.run, algo=name, impl="", config={}, tags=(), run=f"{row.run} ({name})")
            labelled.append(replace(curve, run=plain))
    return labelled


def described_command(record: StudyRecord) -> str:
    """The command line of a study, with how to get the files that it names.

    Args:
        record: The study.
    """
    from openrlb.api.study_command import input_files, tune_command

    files = input_files(record)
    written = f" (openrlb study export {record.name} --inputs . writes {', '.join(files)})" if files else ""
    again = record.settings.repetition
    repeated = f" (study number {again + 1} of these settings: --new-study)" if again else ""
    return tune_command(record) + written + repeated


def facts_of(record: StudyRecord, runs: Mapping[str, Run]) -> Facts:
    """What the checklist needs and the ledger does not hold.

    Args:
        record: The study.
        runs: Its stored runs.
    """
    from importlib.metadata import version

    from openrlb import __version__
    from openrlb_hpo.checklist import Facts

    machines = {_words(run.hardware): None for run in runs.values() if run.hardware}
    versions = {"openrlb": __version__, "optuna": version("optuna")}
    return Facts(
        hardware="; ".join(words for words in machines if words),
        versions=versions,
        command=described_command(record),
        lockfile=f"the lock of openrlb's runner {record.settings.impl}",
    )


def _words(hardware: Mapping[str, Any]) -> str:
    """A machine in words."""
    return ", ".join(f"{name} {hardware[name]}" for name in HARDWARE if hardware.get(name) not in (None, "", []))
