"""Optuna's own tables show a study as the ledger has it, whoever writes them at the same time."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from builders import batch

from openrlb.errors import StoreDamaged
from openrlb.store import Store
from openrlb_hpo.ledger import Ledger, default_url
from openrlb_hpo.projection import Projection
from openrlb_hpo.records import Reservation, StudyRecord, StudySettings, Trial
from openrlb_hpo.seeds import seed_of
from openrlb_hpo.space import Space, load_space

SPACE = load_space("zoo", "ppo")
SETTINGS = StudySettings("ppo", "sb3", "s", "l", ("A-v1",), 100, SPACE.to_json(), "zoo", SPACE.digest)


def study(trials: int = 6) -> StudyRecord:
    """Trials in every state, each with its params, three seeds at most."""
    from openrlb_hpo.proposals import propose
    from openrlb_hpo.source import history

    record = StudyRecord(SETTINGS, 60, "now")
    states = ("complete", "pruned", "failed", "complete", "complete", "running")
    for number in range(trials):
        params = propose(SPACE, "random", 0, history(record)).params
        state = states[number % len(states)]
        seeds = {"complete": 3, "pruned": 1, "failed": 0, "running": 2}[state]
        rows = [
            Reservation(
                len(record.reservations) + 1 + seed,
                f"trial:{number}",
                "tuning",
                "A-v1",
                seed,
                seed_of("tuning", seed),
                f"r{number}{seed}",
                1,
                "diverged" if (number, seed) == (3, 1) else "finished",
                None if (number, seed) == (3, 1) else 10.0 * number + seed,
            )
            for seed in range(seeds)
        ]
        trial = Trial(
            number, params, SPACE.hyperparameters(params, 100, {}), state=state, reason="x" if state == "failed" else ""
        )
        record = replace(record, trials=(*record.trials, trial), reservations=(*record.reservations, *rows))
    return record


def loaded(url: str) -> optuna.Study:
    return optuna.load_study(study_name=SETTINGS.name, storage=url)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'hpo.db'}"


def test_optuna_sees_every_trial_in_its_state(url: str) -> None:
    record = study()
    copy = Projection(url)
    for step in range(1, 7):  # as it grows
        copy.update(replace(record, trials=record.trials[:step]), SPACE)
    assert copy.problem == ""
    trials = loaded(url).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE", "PRUNED", "FAIL", "COMPLETE", "COMPLETE", "RUNNING"]
    assert trials[0].value == 1.0 and trials[0].intermediate_values == {1: 0.0, 2: 0.5, 3: 1.0}
    assert trials[3].value == pytest.approx((30 + 0 + 32) / 3)  # the diverged run counts as the worst score
    assert trials[5].intermediate_values == {1: 50.0, 2: 50.5}
    assert trials[2].user_attrs["reason"] == "x"
    assert loaded(url).best_trial.number == 4
    assert set(trials[0].params) <= set(record.trials[0].params)


def test_the_copy_follows_where_it_was_left(url: str) -> None:
    record = study()
    Projection(url).update(replace(record, trials=record.trials[:3]), SPACE)
    Projection(url).update(record, SPACE)
    Projection(url).update(replace(record, trials=record.trials[:2]), SPACE)  # an older view changes nothing
    assert len(loaded(url).trials) == 6


def test_several_processes_write_one_copy(tmp_path: Path, url: str) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from hpo.test_projection import study, SPACE; from openrlb_hpo.projection import Projection\n"
        "from dataclasses import replace\n"
        "record, copy = study(), Projection(sys.argv[1])\n"
        "for step in range(1, 7): copy.update(replace(record, trials=record.trials[:step]), SPACE, wait=step == 6)\n"
        "print(copy.problem)"
    )
    words = [sys.executable, "-c", code, url, str(Path(__file__).parent.parent)]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    answers = [process.communicate(timeout=120) for process in both]
    assert [out.strip() for out, _ in answers] == [b""] * 2, [err[-300:] for _, err in answers]
    assert [trial.number for trial in loaded(url).trials] == list(range(6))


def test_a_broken_copy_ends_no_study(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'hpo.db'}"
    (tmp_path / "hpo.db").write_text("no database, but long enough to be looked at " * 40)
    copy = Projection(url)
    copy.update(study(), SPACE)
    assert "Optuna's copy of the study is behind" in copy.problem


def test_the_space_comes_back_from_the_settings() -> None:
    assert Space.from_json(SETTINGS.space) == SPACE


def test_the_trials_of_the_stores_own_studies_can_be_asked_for_in_sql(store: Store) -> None:
    store.write([batch("a")])
    store.fold()
    assert store.query("SELECT * FROM trials").rows == []
    url, record = default_url(store.layout.root), study()
    with Ledger(url) as ledger:
        ledger.begin(SETTINGS, 60)
        with ledger.transaction() as change:
            for trial in record.trials:
                change.add_trial(record.id, replace(trial, state="running"))
                for row in record.rows(trial.configuration, "tuning"):
                    mine = change.reserve(
                        record.id, trial.configuration, "tuning", row.env, row.seed_index, row.seed, row.run, "me"
                    )
                    change.close(mine.number, "me", row.state, score=row.score)
                if trial.state != "running":
                    change.close_trial(record.id, trial.number, trial.state, trial.reason)
    assert store.query("SELECT * FROM trials").rows == []  # Optuna's tables are still to be made
    Projection(url).update(record, SPACE)
    rows = store.query("SELECT study, number, state, value FROM trials").rows
    assert rows[0] == (SETTINGS.name, 0, "complete", 1.0) and rows[2][2:] == ("failed", None) and len(rows) == 6
    assert store.query("SELECT study, algo, env FROM studies").rows == [(SETTINGS.name, "ppo", "A-v1")]
    (store.layout.root / "hpo.db").write_bytes(b"torn" * 2000)
    with pytest.raises(StoreDamaged, match="studies cannot be read"):
        store.query("SELECT * FROM trials")
    assert store.query("SELECT count(*) FROM runs").rows == [(1,)]
