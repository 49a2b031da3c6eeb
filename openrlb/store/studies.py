"""What the store's own database of studies holds, as rows for the views ``studies`` and ``trials``.

The database is ``hpo.db`` beside the catalog, which ``openrlb tune`` writes; one that lies elsewhere (``--storage``) is not seen.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrlb.errors import StoreDamaged

if TYPE_CHECKING:
    import duckdb

FILE_NAME = "hpo.db"

_STUDIES = "SELECT name, settings FROM openrlb_studies ORDER BY created"
# Values are those of Optuna's copy, in which a diverged run counts as the worst score so far.
_TRIALS = """SELECT s.name, t.number, t.state, v.value, t.hyperparameters
    FROM openrlb_trials t JOIN openrlb_studies s USING (study)
    LEFT JOIN studies o ON o.study_name = s.name LEFT JOIN trials c ON c.study_id = o.study_id AND c.number = t.number
    LEFT JOIN trial_values v ON v.trial_id = c.trial_id ORDER BY s.created, t.number"""


def add_studies(con: duckdb.DuckDBPyConnection, root: Path) -> None:
    """Makes the views ``studies`` and ``trials`` of a connection from the store's database of studies, where it has one.

    Raises:
        StoreDamaged: The database cannot be read.
    """
    file = root / FILE_NAME
    if not file.is_file():
        return
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as database:
            there = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not {"openrlb_studies", "trial_values"} <= there:  # it is just being made
                return
            studies = [_study(name, settings) for name, settings in database.execute(_STUDIES)]
            trials = list(database.execute(_TRIALS))
    except sqlite3.DatabaseError as error:
        fix = f"restore {file} from a copy, or move it away; the runs themselves are in the store: openrlb list"
        raise StoreDamaged("the studies cannot be read", f"{file.name}: {error}", fix) from error
    for name, columns, rows in (
        ("studies", "study VARCHAR, algo VARCHAR, env VARCHAR, config JSON", studies),
        ("trials", "study VARCHAR, number INTEGER, state VARCHAR, value DOUBLE, params JSON", trials),
    ):
        con.execute(f"DROP VIEW {name}")
        con.execute(f"CREATE TEMP TABLE {name} ({columns})")
        if rows:
            con.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(rows[0]))})", rows)


def _study(name: str, settings: str) -> tuple[Any, ...]:
    """One row of ``studies``."""
    table = json.loads(settings)
    return name, table["algo"], ", ".join(table["envs"]), settings
