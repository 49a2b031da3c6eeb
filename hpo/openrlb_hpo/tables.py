"""The tables of the ledger, and the rules that the database itself enforces, whoever writes to it."""

from __future__ import annotations

import sqlalchemy as sa

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

RULES = {
    "roles_share_no_seed": (
        "EXISTS (SELECT 1 FROM reservations r WHERE r.study = NEW.study AND r.role <> NEW.role"
        " AND r.seed < NEW.seed_end AND NEW.seed < r.seed_end)",
        "a seed of another role lies among the seeds of this run",
    ),
    "known_role": ("NEW.role NOT IN ('tuning', 'confirm', 'test')", "a run of a study is for tuning, confirm or test"),
    "charge_of_role": (
        "NEW.charge <> CASE WHEN NEW.role = 'test' THEN 0 ELSE 1 END",
        "tuning and confirm runs are charged 1, test runs 0",
    ),
    "budget": (
        "NEW.charge + (SELECT COALESCE(SUM(charge), 0) FROM reservations WHERE study = NEW.study)"
        " > (SELECT budget FROM openrlb_studies WHERE study = NEW.study)",
        "the budget of the study is spent",
    ),
    "no_tuning_after_freeze": (
        "NEW.role <> 'test' AND (SELECT frozen_at FROM openrlb_studies WHERE study = NEW.study) IS NOT NULL",
        "the test phase of the study has begun: nothing is tuned any more",
    ),
    "no_test_before_freeze": (
        "NEW.role = 'test' AND (SELECT frozen_at FROM openrlb_studies WHERE study = NEW.study) IS NULL",
        "the incumbent of the study is not frozen yet: nothing is tested",
    ),
    "declared_tests_only": (
        "NEW.role = 'test' AND NEW.configuration NOT LIKE 'baseline:%' AND NEW.configuration <>"
        " 'trial:' || (SELECT incumbent FROM openrlb_studies WHERE study = NEW.study)",
        "only the frozen incumbent and the declared baselines are tested",
    ),
}
"""What refuses a row: the condition on the new row ``NEW``, and the sentence."""

FROZEN_RULES = {
    "frozen_stays": (
        "openrlb_studies",
        "OLD.frozen_at IS NOT NULL AND (NEW.frozen_at IS NOT OLD.frozen_at OR NEW.incumbent IS NOT OLD.incumbent"
        " OR NEW.budget <> OLD.budget)",
        "the study is frozen: its incumbent and its budget stay",
    ),
    "settings_stay": ("openrlb_studies", "NEW.settings <> OLD.settings", "the settings of a study never change"),
    "seed_stays": (
        "reservations",
        "NEW.seed <> OLD.seed OR NEW.role <> OLD.role OR NEW.charge <> OLD.charge OR NEW.configuration <> OLD.configuration",
        "what a run was reserved for never changes",
    ),
}
"""What refuses a change of a row."""


def create(connection: sa.Connection) -> None:
    """Makes the tables and their rules where they are missing."""
    METADATA.create_all(connection)
    if connection.dialect.name != "sqlite":
        return
    for name, (condition, sentence) in RULES.items():
        connection.execute(sa.text(_trigger(name, "INSERT", "reservations", condition, sentence)))
    for name, (table, condition, sentence) in FROZEN_RULES.items():
        connection.execute(sa.text(_trigger(name, "UPDATE", table, condition, sentence)))
    for table in ("reservations", "openrlb_studies", "openrlb_trials"):
        sentence = "what a study has reserved is never deleted"
        connection.execute(sa.text(_trigger(f"{table}_stay", "DELETE", table, "1", sentence)))


def _trigger(name: str, event: str, table: str, condition: str, sentence: str) -> str:
    """SQLite's words for a rule."""
    return (
        f"CREATE TRIGGER IF NOT EXISTS openrlb_{name} BEFORE {event} ON {table} WHEN {condition}"
        f" BEGIN SELECT RAISE(ABORT, 'openrlb: {sentence}'); END"
    )
