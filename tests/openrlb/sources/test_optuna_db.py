"""Optuna databases: what Optuna itself wrote is read back whole; old schemas, damage and hostile files end in sentences."""

from __future__ import annotations

import json
import math
import pickle
import sqlite3
import warnings
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openrlb.errors import MapError, NothingMatched
from openrlb.sources import ReadOptions, read
from openrlb.types import RunBatch, Skipped

ATTRIBUTES = {"algo": "ppo", "env": "CartPole-v1"}


def records(path: Path, **options: Any) -> tuple[list[RunBatch], list[Skipped]]:
    found = list(read(path, ReadOptions(**options)))
    return [one for one in found if isinstance(one, RunBatch)], [one for one in found if isinstance(one, Skipped)]


def series(batch: RunBatch, name: str) -> tuple[list[int], list[float]]:
    (found,) = (one for one in batch.metrics if one.metric.name == name)
    return found.steps.tolist(), found.values.tolist()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that Optuna wrote: two studies, every state, every kind of param."""
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
    from optuna.trial import TrialState, create_trial

    path = tmp_path_factory.mktemp("optuna") / "study.db"
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=f"sqlite:///{path}", study_name="mine", direction="maximize")
    ranges = {
        "lr": FloatDistribution(1e-5, 1e-2, log=True),
        "n": IntDistribution(1, 9),
        "act": CategoricalDistribution(["relu", None, True]),
    }
    for number, (state, act) in enumerate(
        [("COMPLETE", "relu"), ("PRUNED", None), ("FAIL", True), ("RUNNING", "relu"), ("WAITING", None)]
    ):
        study.add_trial(
            create_trial(
                state=TrialState[state],
                params={"lr": 1e-3, "n": 3 + number, "act": act} if state != "WAITING" else {},
                distributions=ranges if state != "WAITING" else {},
                value=7.5 if state == "COMPLETE" else None,
                intermediate_values={100: 1.0, 200: math.nan} if state in ("COMPLETE", "PRUNED", "RUNNING") else {},
                user_attrs={"seed": number, "host": "secret-machine"},
                system_attrs={"cma:optimizer:0": pickle.dumps(print).hex()},
            )
        )
    for key, value in ATTRIBUTES.items():
        study.set_user_attr(key, value)
    several = optuna.create_study(storage=f"sqlite:///{path}", study_name="several", directions=["minimize", "maximize"])
    several.set_user_attr("openrlb", {"study": "0123456789ab", "algo": "sac", "envs": ["Pendulum-v1", "Hopper-v5"]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        several.set_metric_names(["energy", "speed"])
    several.add_trial(create_trial(values=[math.inf, -2.0]))
    optuna.logging.set_verbosity(before)
    return path


def test_every_trial_with_a_value_is_a_run(written: Path) -> None:
    before = sorted(written.parent.iterdir()), written.read_bytes()
    batches, skipped = records(written)
    assert (sorted(written.parent.iterdir()), written.read_bytes()) == before
    runs = {batch.run.name: batch.run for batch in batches}
    assert list(runs) == ["mine/trial 0", "mine/trial 1", "mine/trial 3", "several/trial 0"]
    assert [one.state for one in runs.values()] == ["finished", "killed", "crashed", "finished"]
    first = runs["mine/trial 0"]
    assert (first.algo, first.env, first.seed, first.project, first.step_unit) == ("ppo", "CartPole-v1", 0, "mine", "unknown")
    assert {key: first.config[key] for key in ("lr", "n", "act")} == {"lr": 1e-3, "n": 3, "act": "relu"}
    assert first.config["optuna"] == {"study": "mine", "number": 0, "state": "COMPLETE", "directions": ["MAXIMIZE"]}
    assert runs["mine/trial 1"].config["act"] is None
    assert datetime.fromisoformat(str(first.created)) > datetime.now(UTC) - timedelta(minutes=10)
    assert any("stale" in note for note in runs["mine/trial 3"].notes)
    assert not any("stale" in note for note in first.notes)
    assert "secret-machine" not in json.dumps([one.to_json() for one in runs.values()])
    assert "cma:optimizer" not in json.dumps([one.to_json() for one in runs.values()])
    assert [one.reason for one in skipped] == ["the study mine: 2 trials without a value left out (1 fail, 1 waiting)"]


def test_values_are_metrics_of_no_kind_under_optunas_words(written: Path) -> None:
    batches, _ = records(written)
    assert {one.metric.kind for batch in batches for one in batch.metrics} == {"other"}
    assert {one.metric.canonical for batch in batches for one in batch.metrics} == {None}
    assert series(batches[0], "objective") == ([200], [7.5])
    steps, values = series(batches[0], "intermediate_value")
    np.testing.assert_equal((steps, values), ([100, 200], [1.0, math.nan]))
    assert series(batches[3], "energy") == ([0], [math.inf])
    assert series(batches[3], "speed") == ([0], [-2.0])
    assert batches[3].run.step_unit == "none"


def test_a_study_of_openrlbs_own_tells_its_algorithm_and_environments(written: Path) -> None:
    run = records(written)[0][3].run
    assert (run.algo, run.env) == ("sac", "Pendulum-v1+Hopper-v5")
    assert "openrlb" not in run.config


def test_the_same_file_gives_the_same_runs_and_a_folder_finds_it(written: Path) -> None:
    ids = [batch.run.run for batch in records(written)[0]]
    assert len(set(ids)) == 4
    assert ids == [batch.run.run for batch in records(written.parent)[0]]


def test_a_map_makes_the_objective_a_return_and_names_what_lacks_it(written: Path) -> None:
    batches, skipped = records(written, map=("value=objective",))
    assert [batch.run.name for batch in batches] == ["mine/trial 0"]
    assert {one.metric.canonical for one in batches[0].metrics} == {None, "episodic_return"}
    assert any("3 trials left out that the map does not fit" in one.reason and one.damaged for one in skipped)


def test_who_was_tuned_must_be_known(tmp_path: Path) -> None:
    path = old_database(tmp_path / "s.db", attributes={})
    batches, skipped = records(path)
    assert not batches
    assert "the algorithm and the environment are not known" in skipped[0].reason
    batches, _ = records(path, map=("algo='dqn',env='Acrobot-v1'",))
    assert {(batch.run.algo, batch.run.env) for batch in batches} == {("dqn", "Acrobot-v1")}
    with pytest.raises(MapError):
        records(path, map=("algo=config.absent,env='Acrobot-v1'",))


def test_a_fetch_of_an_unknown_study_says_what_is_to_be_told_beside_what_was_left_out(tmp_path: Path) -> None:
    from openrlb.api.fetch import fetch

    path = old_database(tmp_path / "s.db", attributes={})
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO trials (trial_id, number, study_id, state) VALUES (99, 99, 1, 'RUNNING')")
    with pytest.raises(NothingMatched) as refusal:
        fetch([path])
    assert "1 running" in refusal.value.why and "the algorithm and the environment are not known" in refusal.value.why
    assert "add --map" in refusal.value.why


def old_database(path: Path, attributes: dict[str, str] | None = None, version: str = "2.0.0") -> Path:
    """The tables as Optuna 2.0 made them: one value beside the trial, intermediate ones in trial_values."""
    connection = sqlite3.connect(path)
    connection.executescript("""
        CREATE TABLE studies (study_id INTEGER PRIMARY KEY, study_name VARCHAR(512), direction VARCHAR(8));
        CREATE TABLE version_info (version_info_id INTEGER PRIMARY KEY, schema_version INTEGER, library_version VARCHAR(256));
        CREATE TABLE study_user_attributes (id INTEGER PRIMARY KEY, study_id INTEGER, key VARCHAR(512), value_json TEXT);
        CREATE TABLE trials (trial_id INTEGER PRIMARY KEY, number INTEGER, study_id INTEGER, state VARCHAR(8), value FLOAT,
                             datetime_start DATETIME, datetime_complete DATETIME);
        CREATE TABLE trial_params (param_id INTEGER PRIMARY KEY, trial_id INTEGER, param_name VARCHAR(512), param_value FLOAT,
                                   distribution_json VARCHAR(2048));
        CREATE TABLE trial_values (trial_value_id INTEGER PRIMARY KEY, trial_id INTEGER, step INTEGER, value FLOAT);
        INSERT INTO studies VALUES (1, 'old', 'MINIMIZE');
        INSERT INTO trials VALUES (10, 0, 1, 'COMPLETE', 0.25, '2020-07-01 10:00:00.0', NULL),
                                  (11, 1, 1, 'COMPLETE', 3.4028234663852886e38, '2020-07-01 10:00:00.0', NULL);
        INSERT INTO trial_values VALUES (1, 10, 5, 0.5), (2, 10, 6, 0.25);
        INSERT INTO trial_params VALUES
            (1, 10, 'n', 4.0, '{"name": "IntUniformDistribution", "attributes": {"low": 1, "high": 9, "step": 1}}'),
            (2, 10, 'act', 1.0, '{"name": "CategoricalDistribution", "attributes": {"choices": ["relu", "tanh"]}}'),
            (3, 10, 'bad', 7.0, '{"name": "CategoricalDistribution", "attributes": {"choices": ["relu"]}}');
    """)
    connection.execute("INSERT INTO version_info VALUES (1, 12, ?)", (version,))
    for key, value in (ATTRIBUTES if attributes is None else attributes).items():
        connection.execute(
            "INSERT INTO study_user_attributes (study_id, key, value_json) VALUES (1, ?, ?)", (key, json.dumps(value))
        )
    connection.commit()
    connection.close()
    return path


def test_tables_of_optuna_2_are_read(tmp_path: Path) -> None:
    batches, skipped = records(old_database(tmp_path / "old.sqlite3"))
    assert not skipped
    run = batches[0].run
    assert {key: run.config[key] for key in ("n", "act", "bad")} == {"n": 4, "act": "tanh", "bad": None}
    assert run.config["optuna"]["directions"] == ["MINIMIZE"]
    assert series(batches[0], "objective") == ([6], [0.25])
    assert series(batches[0], "intermediate_value") == ([5, 6], [0.5, 0.25])
    assert series(batches[1], "objective") == ([0], [math.inf])  # how infinity was stored
    assert run.created is None  # somebody's local time
    assert run.config["optuna"]["datetime_start"] == "2020-07-01 10:00:00.0"


def test_a_fresh_heartbeat_says_that_a_trial_still_runs(tmp_path: Path) -> None:
    path = old_database(tmp_path / "s.db")
    now = datetime.now(UTC)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE trials SET state = 'RUNNING'")
        connection.execute("CREATE TABLE trial_heartbeats (id INTEGER PRIMARY KEY, trial_id INTEGER, heartbeat DATETIME)")
        for trial, beat in ((10, now), (11, now - timedelta(hours=1))):
            connection.execute(
                "INSERT INTO trial_heartbeats (trial_id, heartbeat) VALUES (?, ?)", (trial, beat.strftime("%Y-%m-%d %H:%M:%S"))
            )
    connection.close()
    batches, _ = records(path)
    assert [batch.run.state for batch in batches] == ["running", "crashed"]


def test_another_sqlite_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "phone.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE calls (number TEXT)")
    connection.commit()
    connection.close()
    batches, skipped = records(tmp_path)
    assert not batches
    assert "none of Optuna" in skipped[0].reason
    assert records(path)[1][0].reason == skipped[0].reason


def test_views_in_place_of_tables_are_not_run(tmp_path: Path) -> None:
    path = tmp_path / "hostile.db"
    connection = sqlite3.connect(path)
    for name in ("studies", "trials", "trial_params", "trial_values"):
        connection.execute(
            f"CREATE VIEW {name} AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS study_id FROM c"
        )
    connection.commit()
    connection.close()
    batches, skipped = records(path)
    assert not batches
    assert "none of Optuna" in skipped[0].reason


@pytest.mark.parametrize("cut", [1, 50, 99, 4096, 5000, 20_000])
def test_a_torn_file_gives_a_sentence(written: Path, tmp_path: Path, cut: int) -> None:
    path = tmp_path / "torn.db"
    path.write_bytes(written.read_bytes()[:cut])
    batches, skipped = records(path)
    assert skipped
    assert not batches or any(one.damaged for one in skipped)
    if cut >= 50:
        assert "database" in skipped[0].reason


@given(st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_damage_anywhere_never_ends_in_a_traceback(written: Path, tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray(written.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(16, len(whole) - 1))
        whole[place : place + 64] = data.draw(st.binary(min_size=64, max_size=64))
    path = tmp_path / "damaged.db"
    path.write_bytes(bytes(whole))
    records(path, map=("algo='ppo',env='CartPole-v1'",))


def test_a_database_that_is_being_written_is_read_as_it_was(tmp_path: Path) -> None:
    path = old_database(tmp_path / "live.db")
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM trials")
    assert len(records(path)[0]) == 2
    writer.execute("ROLLBACK")
    writer.close()


def test_a_database_in_wal_mode_on_a_read_only_disk_is_read(tmp_path: Path) -> None:
    path = old_database(tmp_path / "wal.db")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    before = sorted(tmp_path.iterdir())
    assert len(records(path)[0]) == 2
    assert sorted(tmp_path.iterdir()) == before
