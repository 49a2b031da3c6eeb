"""The studies of a report: a section for each study whose runs were selected, as ``study report`` has them."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import TYPE_CHECKING

from openrlb.errors import NothingMatched, OpenrlbError
from openrlb.store import Store

if TYPE_CHECKING:
    from openrlb_analysis.figures.page import Section
    from openrlb_hpo.records import StudyRecord

MOST_STUDIES = 12
"""More studies than these make no page; the others are named with the command that reports them."""


class StudiesWarning(UserWarning):
    """The studies of some runs are left out of their report, because their database cannot be read."""


def report_studies(runs: Collection[str], store: Store, storage: str | None = None) -> tuple[Section, ...]:
    """A section for each study that trained one of some runs, the newest first; or one that says why there is none.

    The store's own database may be broken and no run be of a study: then the page has everything else, and says so.

    Args:
        runs: Ids of runs.
        store: Where the runs lie.
        storage: The database of the studies; the file in the store by default.

    Raises:
        OpenrlbError: The database of the studies was named, and cannot be read.
    """
    from openrlb.api.study import existing_ledger
    from openrlb_analysis.figures.page import Section

    if store.layout.elsewhere is not None and storage is None:
        return (Section("Studies", notes=("Studies are not read over HTTP: their report is made where the store lies.",)),)
    try:
        with existing_ledger(storage, store) as ledger:
            records = ledger.studies()
    except NothingMatched:
        if storage is not None:
            raise
        return ()
    except OpenrlbError as error:
        if storage is not None:
            raise
        why = f"studies are left out of the report: {error.what} ({error.why}); {error.fix}"
        warnings.warn(why, StudiesWarning, stacklevel=2)
        return (Section("Studies that cannot be read", notes=(f"{why[:1].upper()}{why[1:]}.",)),)
    wanted = set(runs)
    mine = [record for record in records if any(row.run in wanted for row in record.reservations)][::-1]
    sections = [_section(record, store, storage) for record in mine[:MOST_STUDIES]]
    if rest := mine[MOST_STUDIES:]:
        told = [f"openrlb study report {record.name} -o {record.name}.html" for record in rest]
        sections.append(Section(f"{len(rest)} more studies", caption=("Each has a page of its own:",), notes=tuple(told)))
    return tuple(sections)


def _section(record: StudyRecord, store: Store, storage: str | None) -> Section:
    """One study, folded: its headline, then everything that its own page has."""
    from openrlb.api.study import random_beside, read_study
    from openrlb.api.study_report import page_of
    from openrlb_analysis.figures.page import Section

    heading = f"Study {record.name}"
    try:
        view = read_study(record.id, storage=storage, store=store)
        page = page_of(view, random_beside(view.record, storage=storage, store=store), store)
    except OpenrlbError as error:
        return Section(heading, notes=(f"It is not shown: {error.what} ({error.why}).",))
    facts = (("Tuned", page.title.removeprefix("Tuning ")), ("Command", page.provenance.command))
    return Section(heading, caption=(page.headline,), facts=facts, parts=page.sections, folded="Everything about this study")
