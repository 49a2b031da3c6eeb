"""The rules of studies as triggers of the database itself: they hold for whoever writes, on SQLite and on PostgreSQL.

:mod:`openrlb_hpo.rules` has them once more in Python, for the planner's own transaction, and :mod:`openrlb_hpo.contract` for
records whose triggers somebody has taken away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openrlb_hpo.seeds import BASES, BLOCK, STRIDE

if TYPE_CHECKING:
    import sqlalchemy as sa

PREFIX = "openrlb_"
_STAYS = "what a study holds is never written over"
_LARGEST = "1.7976931348623157e308"

Rules = Mapping[tuple[str, str], tuple[tuple[str, str], ...]]
"""By event and table: what refuses the row ``NEW``, and the sentence."""


@dataclass(frozen=True)
class _Words:
    """How a database says what the two say differently, about the study ``NEW.study``.

    Attributes:
        number: A setting that is a whole number.
        envs: A query for its environments.
        count_envs: How many there are.
        baselines: A query for the configurations of its baselines.
        differs: Whether two values differ, of which either may be null.
    """

    number: str
    envs: str
    count_envs: str
    baselines: str
    differs: str


_OF_STUDY = "FROM openrlb_studies s{0} WHERE s.study = NEW.study"
SQLITE = _Words(
    number=f"(SELECT json_extract(s.settings, '$.{{0}}') {_OF_STUDY.format('')})",
    envs=f"SELECT e.value {_OF_STUDY.format(', json_each(s.settings, ' + repr('$.envs') + ') e')}",
    count_envs=f"(SELECT json_array_length(s.settings, '$.envs') {_OF_STUDY.format('')})",
    baselines="SELECT 'baseline:' || json_extract(b.value, '$.name') "
    + _OF_STUDY.format(", json_each(s.settings, '$.baselines') b"),
    differs="IS NOT",
)
POSTGRESQL = _Words(
    number=f"(SELECT (s.settings::json ->> '{{0}}')::bigint {_OF_STUDY.format('')})",
    envs=f"SELECT json_array_elements_text(s.settings::json -> 'envs') {_OF_STUDY.format('')}",
    count_envs=f"(SELECT json_array_length(s.settings::json -> 'envs') {_OF_STUDY.format('')})",
    baselines=f"SELECT 'baseline:' || (json_array_elements(s.settings::json -> 'baselines') ->> 'name') {_OF_STUDY.format('')}",
    differs="IS DISTINCT FROM",
)


def _study(column: str) -> str:
    """A column of the study of the new row."""
    return f"(SELECT s.{column} {_OF_STUDY.format('')})"


def rules(words: _Words) -> Rules:
    """Every rule.

    Args:
        words: How the database says it.
    """
    nobody = ("NOT EXISTS (SELECT 1 " + _OF_STUDY.format("") + ")", "there is no such study")
    return {
        ("INSERT", "openrlb_studies"): (
            ("EXISTS (SELECT 1 " + _OF_STUDY.format("") + ")", _STAYS),
            ("NEW.frozen_at IS NOT NULL OR NEW.incumbent IS NOT NULL", "a study begins with tuning, not with its test"),
        ),
        ("UPDATE", "openrlb_studies"): _changes_of_study(words),
        ("INSERT", "openrlb_trials"): (
            nobody,
            ("EXISTS (SELECT 1 FROM openrlb_trials t WHERE t.study = NEW.study AND t.number = NEW.number)", _STAYS),
            (
                "NEW.number <> (SELECT COUNT(*) FROM openrlb_trials t WHERE t.study = NEW.study)",
                "trials are numbered from 0, without a hole",
            ),
            ("NEW.state <> 'running'", "a trial begins before it ends"),
            (f"{_study('frozen_at')} IS NOT NULL", "the test phase of the study has begun: nothing is tuned any more"),
        ),
        ("UPDATE", "openrlb_trials"): (
            (
                "OLD.state <> 'running' OR NEW.params <> OLD.params OR NEW.hyperparameters <> OLD.hyperparameters"
                " OR NEW.origin <> OLD.origin OR NEW.attributes <> OLD.attributes OR NEW.study <> OLD.study"
                " OR NEW.number <> OLD.number",
                "a trial is closed once, and what it tries never changes",
            ),
            ("NEW.state NOT IN ('running', 'complete', 'pruned', 'failed')", "a trial has no such state"),
            (
                "NEW.state = 'complete' AND (SELECT COUNT(*) FROM reservations r WHERE r.study = NEW.study AND r.role = 'tuning'"
                " AND r.configuration = 'trial:' || NEW.number AND r.state IN ('finished', 'diverged'))"
                f" < {words.number.format('tuning_seeds')} * {words.count_envs}",
                "a trial is complete when it is trained on every tuning seed",
            ),
        ),
        ("INSERT", "reservations"): (nobody, *_new_runs(words)),
        ("UPDATE", "reservations"): (
            (
                "OLD.state <> 'open' OR "
                + " OR ".join(
                    f"NEW.{name} <> OLD.{name}"
                    for name in "number study configuration role env seed_index seed seed_end run charge".split()
                ),
                "a run is closed once, and what it was reserved for never changes",
            ),
            ("NEW.state NOT IN ('open', 'finished', 'diverged', 'failed', 'lost')", "a run has no such state"),
            (
                f"(NEW.state = 'finished') <> (NEW.score IS NOT NULL) OR NEW.score NOT BETWEEN -{_LARGEST} AND {_LARGEST}",
                "a finished run has a finite score, and no other has one",
            ),
        ),
        **{
            ("DELETE", table): (("1 = 1", "what a study has reserved is never deleted"),)
            for table in ("openrlb_studies", "openrlb_trials", "reservations")
        },
    }


def _changes_of_study(words: _Words) -> tuple[tuple[str, str], ...]:
    """What refuses a change of a study."""
    return (
        (
            f"OLD.frozen_at IS NOT NULL AND (NEW.frozen_at {words.differs} OLD.frozen_at"
            f" OR NEW.incumbent {words.differs} OLD.incumbent OR NEW.budget <> OLD.budget)",
            "the study is frozen: its incumbent and its budget stay",
        ),
        (
            "NEW.settings <> OLD.settings OR NEW.study <> OLD.study OR NEW.name <> OLD.name OR NEW.created <> OLD.created",
            "the settings of a study never change",
        ),
        ("NEW.budget < OLD.budget", "the budget of a study only grows"),
        (
            "(NEW.frozen_at IS NULL) <> (NEW.incumbent IS NULL) OR (NEW.incumbent IS NOT NULL AND NOT EXISTS (SELECT 1"
            " FROM openrlb_trials t WHERE t.study = NEW.study AND t.number = NEW.incumbent AND t.state = 'complete'))",
            "only a trial that is complete can be the incumbent",
        ),
        (
            "NEW.frozen_at IS NOT NULL AND EXISTS (SELECT 1 FROM openrlb_trials t WHERE t.study = NEW.study"
            " AND t.state = 'running')",
            "a trial of the study is still running",
        ),
    )


def _new_runs(words: _Words) -> tuple[tuple[str, str], ...]:
    """What refuses a new row of ``reservations``."""
    bases = " ".join(f"WHEN '{role}' THEN {base}" for role, base in BASES.items() if role != "test")
    block = f"WHEN 'test' THEN {BASES['test']} + {BLOCK} * {words.number.format('test_block')}"
    seed = f"CASE NEW.role {bases} {block} END + NEW.seed_index * {STRIDE}"
    seeds = " ".join(f"WHEN '{role}' THEN {words.number.format('tuning_seeds')}" for role in ("tuning", "confirm"))
    return (
        ("NEW.role NOT IN ('tuning', 'confirm', 'test')", "a run of a study is for tuning, confirm or test"),
        (f"NEW.env NOT IN ({words.envs})", "the study has no such environment"),
        (
            f"NEW.seed_index < 0 OR NEW.seed_index >= CASE NEW.role {seeds} ELSE {words.number.format('test_seeds')} END",
            "the study has fewer seeds of that role",
        ),
        (
            f"NEW.seed <> {seed} OR NEW.seed_end <> NEW.seed + {STRIDE}",
            "the seed is not the one of its role and number, so that two roles might see the same environments",
        ),
        (
            "EXISTS (SELECT 1 FROM reservations r WHERE r.number = NEW.number OR (r.study = NEW.study AND r.role = NEW.role"
            " AND r.configuration = NEW.configuration AND r.env = NEW.env AND r.seed_index = NEW.seed_index))",
            "this run is reserved already",
        ),
        ("NEW.state <> 'open' OR NEW.score IS NOT NULL", "a run is reserved before it ends"),
        ("NEW.charge <> CASE NEW.role WHEN 'test' THEN 0 ELSE 1 END", "tuning and confirm runs are charged 1, test runs 0"),
        (
            f"NEW.role <> 'test' AND {_study('frozen_at')} IS NOT NULL",
            "the test phase of the study has begun: nothing is tuned any more",
        ),
        (
            f"NEW.role = 'test' AND {_study('frozen_at')} IS NULL",
            "the incumbent of the study is not frozen yet: nothing is tested",
        ),
        (
            f"NEW.role = 'test' AND NEW.configuration <> 'trial:' || {_study('incumbent')}"
            f" AND NEW.configuration NOT IN ({words.baselines})",
            "only the frozen incumbent and the declared baselines are tested",
        ),
        (
            "NEW.role <> 'test' AND NOT EXISTS (SELECT 1 FROM openrlb_trials t WHERE t.study = NEW.study"
            " AND NEW.configuration = 'trial:' || t.number)",
            "only trials of the study are tuned and confirmed",
        ),
        (
            "NEW.role = 'confirm' AND NOT EXISTS (SELECT 1 FROM openrlb_trials t WHERE t.study = NEW.study"
            " AND NEW.configuration = 'trial:' || t.number AND t.state = 'complete')",
            "only a trial that is complete is confirmed",
        ),
        (
            f"NEW.charge + (SELECT COALESCE(SUM(r.charge), 0) FROM reservations r WHERE r.study = NEW.study)"
            f" > {_study('budget')}",
            "the budget of the study is spent",
        ),
    )


def create_triggers(connection: sa.Connection) -> None:
    """Makes the rules where they are missing, and mends those that are not as they should be.

    Args:
        connection: To a database that has the tables; no rule is made where it is neither SQLite nor PostgreSQL.
    """
    if connection.dialect.name == "sqlite":
        _create_in_sqlite(connection)
    elif connection.dialect.name == "postgresql":
        _create_in_postgresql(connection)


def _create_in_sqlite(connection: sa.Connection) -> None:
    """One trigger for each event and table; nothing is written where all of them are there."""
    wanted = {}
    for (event, table), refused in rules(SQLITE).items():
        body = " ".join(f"SELECT RAISE(ABORT, 'openrlb: {sentence}') WHERE {condition};" for condition, sentence in refused)
        name = f"{PREFIX}{event.lower()}_{table}"
        wanted[name] = f"CREATE TRIGGER {name} BEFORE {event} ON {table} BEGIN {body} END"
    found = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    there = {name: sql for name, sql in found if name.startswith(PREFIX)}
    for name in there:
        if wanted.get(name) != there[name]:  # an older openrlb's, or an altered one
            connection.exec_driver_sql(f'DROP TRIGGER "{name.replace(chr(34), chr(34) * 2)}"')
    for name, statement in wanted.items():
        if there.get(name) != statement:
            connection.exec_driver_sql(statement)


_KINDS = {"INSERT": 7, "UPDATE": 19, "DELETE": 11, "TRUNCATE": 34}
"""What ``pg_trigger.tgtype`` says of a trigger before an event, for each row (TRUNCATE has none)."""
_THERE = """SELECT t.tgname, p.prosrc, t.tgtype, t.tgenabled, t.tgqual IS NULL
    FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_class c ON c.oid = t.tgrelid
    WHERE NOT t.tgisinternal AND c.relnamespace = current_schema()::regnamespace"""


def _create_in_postgresql(connection: sa.Connection) -> None:
    """One function and one trigger for each event and table; tables are locked only where something is missing."""
    found = {name: (source, kind, enabled, always) for name, source, kind, enabled, always in connection.exec_driver_sql(_THERE)}
    for (event, table), refused in _postgresql_rules().items():
        name = f"{PREFIX}{event.lower()}_{table}"
        checks = " ".join(
            f"IF ({condition}) THEN RAISE EXCEPTION USING ERRCODE = '23000', MESSAGE = 'openrlb: {sentence}'; END IF;"
            for condition, sentence in refused
        )
        # two writers at once would each see the budget without the other's run
        lock = "PERFORM 1 FROM openrlb_studies s WHERE s.study = NEW.study FOR UPDATE; " if event == "INSERT" else ""
        body = f" BEGIN {lock}{checks} RETURN {'OLD' if event in ('DELETE', 'TRUNCATE') else 'NEW'}; END "
        kind = _KINDS[event]
        if found.get(name) in [(body, kind, enabled, True) for enabled in ("O", "A")]:
            continue
        connection.exec_driver_sql(
            f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $openrlb${body}$openrlb$"
        )
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name} ON {table}")
        each = "STATEMENT" if event == "TRUNCATE" else "ROW"
        connection.exec_driver_sql(f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH {each} EXECUTE FUNCTION {name}()")


def _postgresql_rules() -> Rules:
    """PostgreSQL's rules: a table can be emptied there without deleting a row."""
    found = dict(rules(POSTGRESQL))
    return found | {("TRUNCATE", table): refused for (event, table), refused in found.items() if event == "DELETE"}
