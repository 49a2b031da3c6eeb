"""The tables of the ledger; :mod:`openrlb_hpo.triggers` has the rules that the database itself enforces on them."""

from __future__ import annotations

import sqlalchemy as sa

from openrlb.errors import StoreTooNew
from openrlb_hpo.triggers import create_triggers

METADATA = sa.MetaData()

STUDIES = sa.Table(
    "openrlb_studies",
    METADATA,
    sa.Column("study", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("settings", sa.Text, nullable=False),
    sa.Column("budget", sa.Integer, nullable=False),
    sa.Column("created", sa.String(32), nullable=False),
    sa.Column("incumbent", sa.Integer),
    sa.Column("frozen_at", sa.String(32)),
)

TRIALS = sa.Table(
    "openrlb_trials",
    METADATA,
    sa.Column("study", sa.String(32), sa.ForeignKey(STUDIES.c.study), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("params", sa.Text, nullable=False),
    sa.Column("hyperparameters", sa.Text, nullable=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attributes", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)

RESERVATIONS = sa.Table(
    "reservations",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("study", sa.String(32), sa.ForeignKey(STUDIES.c.study), nullable=False),
    sa.Column("configuration", sa.String(255), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("env", sa.String(255), nullable=False),
    sa.Column("seed_index", sa.Integer, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("seed_end", sa.BigInteger, nullable=False),
    sa.Column("run", sa.String(32), nullable=False),
    sa.Column("charge", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False, default="open"),
    sa.Column("score", sa.Float),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("worker", sa.String(255), nullable=False, default=""),
    sa.Column("lease", sa.Float, nullable=False, default=0.0),
    sa.Column("steps", sa.BigInteger, nullable=False, default=0),
    sa.Column("seconds", sa.Float, nullable=False, default=0.0),
    sa.Column("reason", sa.Text, nullable=False, default=""),
    sa.UniqueConstraint("study", "configuration", "role", "env", "seed_index"),
    sa.UniqueConstraint("study", "run", "configuration"),
    sqlite_autoincrement=True,
)


SCHEMA = sa.Table("openrlb_schema", METADATA, sa.Column("version", sa.Integer, primary_key=True))
VERSION = 1
"""Of the tables and their rules; an older openrlb would put its own rules in the place of a newer one's."""


def create(connection: sa.Connection) -> None:
    """Makes the tables and their rules where they are missing.

    Raises:
        StoreTooNew: A newer openrlb has made them; nothing was changed.
    """
    known = None
    if sa.inspect(connection).has_table(SCHEMA.name):
        known = connection.execute(sa.select(sa.func.max(SCHEMA.c.version))).scalar()
    if known is not None and known > VERSION:
        why = f"its tables have version {known}, and this openrlb knows {VERSION}"
        raise StoreTooNew("the studies' database was made by a newer openrlb", why, "update openrlb, or name another --storage")
    METADATA.create_all(connection)
    create_triggers(connection)
    if known is None:
        connection.execute(sa.insert(SCHEMA), {"version": VERSION})
