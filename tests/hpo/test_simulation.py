"""Whole studies without training: the same whatever dies, exact with several workers, honest in their verdicts."""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from openrlb.errors import UsageError
from openrlb_hpo.contract import verify
from openrlb_hpo.ledger import Ledger, open_ledger
from openrlb_hpo.projection import Projection
from openrlb_hpo.records import Baseline, StudyRecord, StudySettings
from openrlb_runners.request import Outcome, WorkItem
from openrlb_runners.worker import LATER

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def simulation() -> Iterator[ModuleType]:
    """benchmarks/tune_simulation.py; the synthetic studies that it is made of are in it as ``synthetic``."""
    sys.path.insert(0, str(FOLDER))
    spec = importlib.util.spec_from_file_location("tune_simulation", FOLDER / "tune_simulation.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.synthetic = sys.modules["synthetic_studies"]
    yield module
    sys.path.remove(str(FOLDER))
    for name in (spec.name, "synthetic_studies", "tune_simulation_report"):
        sys.modules.pop(name, None)


@pytest.fixture
def studies(simulation: ModuleType) -> ModuleType:
    """benchmarks/synthetic_studies.py."""
    return simulation.synthetic


def whole(studies: ModuleType, asked: StudySettings, budget: int, folder: Path) -> StudyRecord:
    """A study from its beginning to its end, by one worker."""
    with open_ledger("sqlite://") as ledger:
        source = studies.open_source(ledger, ledger.begin(asked, budget), folder)
        studies.train(source, studies.World("hill", "normal", 1))
        return ledger.read(asked.digest)


@pytest.mark.parametrize("method", ["tpe", "random", "qmc", "cmaes"])
def test_the_same_study_seed_gives_the_same_study_and_another_one_does_not(
    studies: ModuleType, tmp_path: Path, method: str
) -> None:
    one, again, other = (
        whole(studies, studies.settings_of(study_seed=seed, method=method, tuning_seeds=1, confirm=2, test_seeds=1), 16, tmp_path)
        for seed in (1, 1, 2)
    )
    assert studies.ledger_of(one) == studies.ledger_of(again)
    assert one.frozen_at is not None and len(one.trials) == 14 and len(one.reservations) == 18
    assert [trial.params for trial in one.trials[1:]] != [trial.params for trial in other.trials[1:]]
    sampled = [json.dumps(trial.params, sort_keys=True) for trial in one.trials]
    assert len(set(sampled)) == len(sampled)


def test_a_study_in_postgresql_is_the_one_in_sqlite_and_optuna_shows_it(
    studies: ModuleType, tmp_path: Path, postgresql_url: Callable[[], str]
) -> None:
    import optuna

    asked = studies.settings_of(tuning_seeds=2, confirm=1, test_seeds=2, method="random")
    url = postgresql_url()
    with open_ledger(url) as ledger:
        source = studies.open_source(ledger, ledger.begin(asked, 12), tmp_path, projection=Projection(url))
        with source:
            studies.train(source, studies.World("hill", "normal", 1))
        record = ledger.read(asked.digest)
        assert verify(record) == () and record.frozen_at is not None
        assert source._projection.problem == ""
    assert studies.ledger_of(record) == studies.ledger_of(whole(studies, asked, 12, tmp_path))
    storage = optuna.storages.RDBStorage(url)
    copy = optuna.load_study(study_name=record.name, storage=storage)
    states = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
    assert [trial.state.name for trial in copy.trials] == [states[trial.state] for trial in record.trials]
    storage.remove_session()
    storage.engine.dispose()


def test_sigkill_at_any_statement_or_run_leaves_the_same_study_and_the_same_copy_for_optuna() -> None:
    words = [sys.executable, str(FOLDER / "tune_kills.py"), "--kills", "6", "--budget", "15", "--workers", "2"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    one, several = found["one"], found["several"]
    assert one["kills"] >= 5 and one["runs_begun_again"] >= 1 and one["same_ledger"] and one["same_copy"]
    assert several["kills"] >= 1 and several["runs"] == one["runs"]
    assert not any(several[name] for name in ("overshot", "reserved_twice", "left_open", "tests_missing", "copy_differs"))


ENVS = ("One-v0", "Two-v0")


class Crew:
    """Workers of one study that take, end and lose runs in any order."""

    def __init__(self, studies: ModuleType, ledger: Ledger, asked: StudySettings, budget: int, seed: int, folder: Path) -> None:
        self.studies, self.ledger, self.folder = studies, ledger, folder
        self.record = ledger.begin(asked, budget)
        self.chance = random.Random(seed)
        self.world = studies.World("region", "normal", seed)
        self.hired = 0
        self.alive = [self.hire() for _ in range(3)]
        self.gone: list[tuple[Any, WorkItem]] = []

    def hire(self) -> tuple[Any, list[WorkItem]]:
        """A worker of another machine: only its lease shows that it lives."""
        source = self.studies.open_source(self.ledger, self.record, self.folder)
        self.hired += 1
        source.worker = f"elsewhere:{self.hired}:0.00"
        return source, []

    def turn(self) -> bool:
        """One thing that happens; False where every worker has nothing more to do."""
        number = self.chance.randrange(len(self.alive))
        source, held = self.alive[number]
        what = self.chance.random()
        if what < 0.04 and held:
            self.die(number)
        elif what < 0.08 and self.gone:
            late, item = self.gone.pop()
            late.finished(item, self.outcome(item))
        elif held and (what < 0.5 or len(held) == 2):
            item = held.pop(self.chance.randrange(len(held)))
            source.finished(item, self.outcome(item))
        else:
            taken = source.take()
            if taken is None:
                return any(items for _, items in self.alive)
            if taken is not LATER:
                held.append(taken)
        return True

    def die(self, number: int) -> None:
        """A worker's machine goes away; later its lease has run out, and another worker comes."""
        source, held = self.alive[number]
        with self.ledger.transaction() as change:
            change.connection.execute(
                sa.text("UPDATE reservations SET lease = 0 WHERE worker = :worker AND state = 'open'"), {"worker": source.worker}
            )
        self.gone += [(source, item) for item in held]
        self.alive[number] = self.hire()

    def outcome(self, item: WorkItem) -> Outcome:
        """How a run ends."""
        state, notes = self.chance.choices(
            [
                ("finished", ()),
                ("diverged", ()),
                ("crashed", ("ended with exit code 1",)),
                ("failed", ("the runner refused the request",)),
                ("killed", ("interrupted",)),
            ],
            [80, 8, 6, 2, 4],
        )[0]
        return self.studies.outcome_of(item, self.world.score(item), state=state, notes=notes)


@settings(max_examples=6)
@given(seed=st.integers(0, 10**6))
def test_several_workers_reserve_nothing_twice_keep_the_budget_and_share_no_seed_between_roles(
    simulation: ModuleType, seed: int
) -> None:
    studies = simulation.synthetic
    unlike = Baseline("default", dict.fromkeys(ENVS, studies.DEFAULT | {"n_epochs": 3}), "never tried")
    scale = {ENVS[0]: (0.0, 1.0), ENVS[1]: (-1.0, 3.0)}
    asked = studies.settings_of(envs=ENVS, scale=scale, tuning_seeds=2, confirm=1, test_seeds=2, baselines=(unlike,), first=())
    budget = 21
    with open_ledger("sqlite://") as ledger:
        crew = Crew(studies, ledger, asked, budget, seed, FOLDER)
        turns = 0
        while crew.turn():
            turns += 1
            assert turns < 3000
            record = ledger.read(asked.digest)
            assert verify(record) == ()
            assert record.spent <= budget
            assert sum(row.role != "test" for row in record.reservations) == record.spent
            keys = [(row.configuration, row.role, row.env, row.seed_index) for row in record.reservations]
            assert len(set(keys)) == len(keys)
            held = [item.key.digest for _, items in crew.alive for item in items]
            assert len(set(held)) == len(held)
        record = ledger.read(asked.digest)
    spans = {role: {row.seed for row in record.reservations if row.role == role} for role in ("tuning", "confirm", "test")}
    assert not (spans["tuning"] & spans["confirm"] or (spans["tuning"] | spans["confirm"]) & spans["test"])
    assert all(row.state in ("finished", "diverged", "failed", "lost") for row in record.reservations)
    if record.incumbent is not None:
        assert record.trials[record.incumbent].state == "complete"
        tested = [row.configuration for row in record.reservations if row.role == "test"]
        assert sorted(tested) == sorted([f"trial:{record.incumbent}", "baseline:default"] * 4)
    for row in record.reservations:
        assert (row.score is not None) == (row.state == "finished")


def test_a_larger_budget_goes_on_where_tuning_was_and_never_after_the_test_began(studies: ModuleType, tmp_path: Path) -> None:
    asked = studies.settings_of(tuning_seeds=1, confirm=0, test_seeds=2)
    world = studies.World("hill", "normal", 1)
    with open_ledger("sqlite://") as ledger:
        source = studies.open_source(ledger, ledger.begin(asked, 8), tmp_path)
        for _ in range(8):
            item = source.take()
            source.finished(item, studies.outcome_of(item, world.score(item)))
        before = ledger.read(asked.digest)
        assert before.spent == 8 and before.frozen_at is None
        longer = ledger.begin(asked, 14)
        studies.train(studies.open_source(ledger, longer, tmp_path), world)
        after = ledger.read(asked.digest)
        assert after.spent == 14 and after.trials[:7] == before.trials[:7]
        assert studies.ledger_of(after)["runs"][:8] == studies.ledger_of(before)["runs"]
        assert studies.ledger_of(after) == studies.ledger_of(whole(studies, asked, 14, tmp_path))
        with pytest.raises(UsageError, match="cannot be extended"):
            ledger.begin(asked, 15)
        assert ledger.read(asked.digest) == after


def test_simulated_studies_find_what_is_better_and_go_on_where_they_stopped(simulation: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    cell = simulation.Cell("region", budget=30, confirm=2)
    simulation.run_missing(path, [(cell, number) for number in range(2)], 500)
    text = path.read_text()
    path.write_text(text + '{"truth": "region", "noi')  # killed while it wrote a line
    simulation.run_missing(path, [(cell, number) for number in range(4)], 500)
    assert path.read_text().startswith(text)
    lines = simulation.lines_of(path)
    assert [line["number"] for line in lines] == list(range(4))
    again = simulation.simulate(cell, 3, tmp_path, 500)
    assert {**lines[3], "study_seconds": 0, "result_seconds": 0} == {**again, "study_seconds": 0, "result_seconds": 0}
    selected = [line for line in lines if line["worth"] == 2.0]
    assert 2 * sum(line["verdict"] == "better" for line in selected) > len(selected) > 0
    for line in lines:
        assert line["spent"] <= 30 and line["test"][1] < line["test"][0] < line["test"][2]
    report = tmp_path / "report.md"
    importlib.import_module("tune_simulation_report").write_report(report, lines, 1, 500)
    assert "1 studies are still to come" in report.read_text()


def test_noise_has_mean_0_and_standard_deviation_1_and_a_run_always_scores_the_same(studies: ModuleType, tmp_path: Path) -> None:
    import numpy as np

    for noise in studies.NOISES.values():
        draws = np.array([noise(np.random.default_rng(number)) for number in range(4000)])
        assert abs(draws.mean()) < 0.06 and abs(draws.std() - 1.0) < 0.06
    with open_ledger("sqlite://") as ledger:
        item = studies.open_source(ledger, ledger.begin(studies.settings_of(), 20), tmp_path).take()
    world = studies.World("hill", "skewed", 3)
    assert world.score(item) == world.score(item) != studies.World("hill", "skewed", 4).score(item)
