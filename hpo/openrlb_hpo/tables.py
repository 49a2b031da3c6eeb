"""The tables of the ledger, and the rules that the database itself enforces, whoever writes to it."""

from __future__ import annotations

import sqlalchemy as sa

from openrlb_hpo.seeds import BASES, BLOCK, STRIDE

METADATA = sa.MetaData()
_STAYS = "what a study holds is never written over"

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

_STUDY = "(SELECT {0} FROM openrlb_studies WHERE study = NEW.study)"
_SETTING = "(SELECT json_extract(settings, '$.{0}') FROM openrlb_studies WHERE study = NEW.study)"
_SEED = (
    " + ".join(f"(NEW.role = '{role}') * {base}" for role, base in BASES.items())
    + f" + (NEW.role = 'test') * {BLOCK} * {_SETTING.format('test_block')} + NEW.seed_index * {STRIDE}"
)

RULES = {
    "known_role": ("NEW.role NOT IN ('tuning', 'confirm', 'test')", "a run of a study is for tuning, confirm or test"),
    "seed_of_role": (
        f"NEW.seed <> {_SEED} OR NEW.seed_end <> NEW.seed + {STRIDE}",
        "the seed is not the one of its role and number, so that two roles might see the same environments",
    ),
    "declared_seeds": (
        "NEW.seed_index < 0 OR NEW.seed_index >= CASE WHEN NEW.role = 'test'"
        f" THEN {_SETTING.format('test_seeds')} ELSE {_SETTING.format('tuning_seeds')} END",
        "the study has fewer seeds of that role",
    ),
    "declared_environments": (
        "NEW.env NOT IN (SELECT value FROM openrlb_studies s, json_each(s.settings, '$.envs') WHERE s.study = NEW.study)",
        "the study has no such environment",
    ),
    "charge_of_role": ("NEW.charge <> (NEW.role <> 'test')", "tuning and confirm runs are charged 1, test runs 0"),
    "budget": (
        f"NEW.charge + (SELECT COALESCE(SUM(charge), 0) FROM reservations WHERE study = NEW.study) > {_STUDY.format('budget')}",
        "the budget of the study is spent",
    ),
    "no_tuning_after_freeze": (
        f"NEW.role <> 'test' AND {_STUDY.format('frozen_at')} IS NOT NULL",
        "the test phase of the study has begun: nothing is tuned any more",
    ),
    "no_test_before_freeze": (
        f"NEW.role = 'test' AND {_STUDY.format('frozen_at')} IS NULL",
        "the incumbent of the study is not frozen yet: nothing is tested",
    ),
    "declared_tests_only": (
        f"NEW.role = 'test' AND NEW.configuration <> 'trial:' || {_STUDY.format('incumbent')} AND NEW.configuration NOT IN"
        " (SELECT 'baseline:' || json_extract(b.value, '$.name') FROM openrlb_studies s, json_each(s.settings, '$.baselines') b"
        " WHERE s.study = NEW.study)",
        "only the frozen incumbent and the declared baselines are tested",
    ),
    "trials_only": (
        "NEW.role <> 'test' AND NOT EXISTS (SELECT 1 FROM openrlb_trials t WHERE t.study = NEW.study"
        " AND NEW.configuration = 'trial:' || t.number)",
        "only trials of the study are tuned and confirmed",
    ),
    "reserved_once": (
        "EXISTS (SELECT 1 FROM reservations r WHERE r.number = NEW.number OR (r.study = NEW.study AND r.role = NEW.role"
        " AND r.configuration = NEW.configuration AND r.env = NEW.env AND r.seed_index = NEW.seed_index))",
        "this run is reserved already",
    ),
}
"""What refuses a new row of ``reservations``: the condition on the row ``NEW``, and the sentence. SQLite's words."""

CHANGES = {
    "one_study": ("INSERT", "openrlb_studies", "EXISTS (SELECT 1 FROM openrlb_studies s WHERE s.study = NEW.study)", _STAYS),
    "one_trial": (
        "INSERT",
        "openrlb_trials",
        "EXISTS (SELECT 1 FROM openrlb_trials t WHERE t.study = NEW.study AND t.number = NEW.number)",
        _STAYS,
    ),
    "frozen_stays": (
        "UPDATE",
        "openrlb_studies",
        "OLD.frozen_at IS NOT NULL AND (NEW.frozen_at IS NOT OLD.frozen_at OR NEW.incumbent IS NOT OLD.incumbent"
        " OR NEW.budget <> OLD.budget)",
        "the study is frozen: its incumbent and its budget stay",
    ),
    "settings_stay": (
        "UPDATE",
        "openrlb_studies",
        "NEW.settings <> OLD.settings OR NEW.study <> OLD.study OR NEW.name <> OLD.name",
        "the settings of a study never change",
    ),
    "trial_stays": (
        "UPDATE",
        "openrlb_trials",
        "OLD.state <> 'running' OR NEW.params <> OLD.params OR NEW.hyperparameters <> OLD.hyperparameters"
        " OR NEW.origin <> OLD.origin OR NEW.study <> OLD.study OR NEW.number <> OLD.number",
        "a trial is closed once, and what it tries never changes",
    ),
    "run_stays": (
        "UPDATE",
        "reservations",
        "OLD.state <> 'open' OR "
        + " OR ".join(
            f"NEW.{name} <> OLD.{name}"
            for name in "number study configuration role env seed_index seed seed_end run charge".split()
        ),
        "a run is closed once, and what it was reserved for never changes",
    ),
}
"""What refuses other rows and changes: the event, the table, the condition, the sentence."""


def create(connection: sa.Connection) -> None:
    """Makes the tables and their rules where they are missing."""
    METADATA.create_all(connection)
    if connection.dialect.name != "sqlite":
        return
    for name, (condition, sentence) in RULES.items():
        connection.exec_driver_sql(_trigger(name, "INSERT", "reservations", condition, sentence))
    for name, (event, table, condition, sentence) in CHANGES.items():
        connection.exec_driver_sql(_trigger(name, event, table, condition, sentence))
    for table in ("reservations", "openrlb_studies", "openrlb_trials"):
        sentence = "what a study has reserved is never deleted"
        connection.exec_driver_sql(_trigger(f"{table}_stay", "DELETE", table, "1", sentence))


def _trigger(name: str, event: str, table: str, condition: str, sentence: str) -> str:
    """SQLite's words for a rule."""
    return (
        f"CREATE TRIGGER IF NOT EXISTS openrlb_{name} BEFORE {event} ON {table} WHEN {condition}"
        f" BEGIN SELECT RAISE(ABORT, 'openrlb: {sentence}'); END"
    )
