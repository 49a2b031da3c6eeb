"""What a study costs beside its runs, next to a bare Optuna study: the same space, sampler and scores, and no training.

    python benchmarks/study_beside_optuna.py [--budgets 60 240] [--rounds 3]

openrlb's study is the real planner, ledger and source of runs (``synthetic_studies.py``): each run is reserved before it begins
and recorded when it ends, with its seed, role, configuration and score; trials race over seeds, the best are confirmed, the
incumbent and the default are tested on ten seeds of their own, and Optuna's tables are kept beside it. Optuna's is
``study.optimize`` as its documentation shows it: TPE, SQLite, a trial that scores three runs, reports the mean after each and
returns it; nothing but trials is kept. Both have as many runs, but for the last trial's, and begin with an empty disk: making the
database is shared out over them. Processor time stands before wall time; imports are in neither; both write to
one disk, and take turns.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
from measured import machine, seconds, table
from synthetic_studies import NOISES, World, open_source, settings_of, train

from openrlb_hpo.ledger import open_ledger
from openrlb_hpo.projection import Projection

SEEDS = 3


def own(folder: Path, budget: int, number: int) -> int:
    """A study of openrlb's, to its frozen incumbent's last test; how many runs it had."""
    url = f"sqlite:///{folder / 'own.db'}"
    with open_ledger(url) as ledger:
        record = ledger.begin(settings_of(study_seed=number, tuning_seeds=SEEDS), budget)
        with open_source(ledger, record, folder, projection=Projection(url)) as source:
            train(source, World("hill", "normal", number))
        return len(ledger.read(record.id).reservations)


def bare(folder: Path, runs: int, number: int) -> int:
    """A study of Optuna's alone; how many runs it had."""
    world = World("hill", "normal", number)
    rng = np.random.default_rng(number)

    def objective(trial: optuna.Trial) -> float:
        """The mean score of a trial's runs."""
        asked = {
            "learning_rate": trial.suggest_float("learning_rate", 1e-5, 1e-1, log=True),
            "clip_range": trial.suggest_float("clip_range", 0.05, 0.45),
            "n_epochs": trial.suggest_int("n_epochs", 1, 20),
            "activation": trial.suggest_categorical("activation", ["tanh", "relu", "elu", "silu"]),
        }
        scores: list[float] = []
        for rung in range(SEEDS):
            scores.append(world.worth(asked) + float(NOISES["normal"](rng)))
            trial.report(statistics.fmean(scores), rung)
        return statistics.fmean(scores)

    sampler = optuna.samplers.TPESampler(seed=number)
    study = optuna.create_study(storage=f"sqlite:///{folder / 'bare.db'}", sampler=sampler, direction="maximize")
    study.optimize(objective, n_trials=round(runs / SEEDS))
    return SEEDS * len(study.trials)


def timed(study: Callable[[Path, int, int], int], size: int, number: int) -> tuple[float, float, int]:
    """Processor and wall time of each run, and how many runs there were."""
    with tempfile.TemporaryDirectory() as name:
        processor, wall = time.process_time(), time.perf_counter()
        runs = study(Path(name), size, number)
        return (time.process_time() - processor) / runs, (time.perf_counter() - wall) / runs, runs


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budgets", type=int, nargs="+", default=[60, 240])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    timed(bare, timed(own, 20, 0)[2], 0)  # what is imported and compiled at the first use is no part of it
    print(f"{machine()}\n")
    rows = []
    for budget in arguments.budgets:
        taken: dict[str, list[tuple[float, float, int]]] = {"openrlb": [], "Optuna": []}
        for number in range(arguments.rounds):
            taken["openrlb"].append(timed(own, budget, number))
            taken["Optuna"].append(timed(bare, taken["openrlb"][-1][2], number))
        middle = {who: [statistics.median(column) for column in zip(*found, strict=True)] for who, found in taken.items()}
        words = [f"{seconds(processor)} ({seconds(wall)})" for processor, wall, _ in middle.values()]
        (mine, mine_wall, runs), (theirs, theirs_wall, _) = middle.values()
        rows.append([f"{budget}", f"{runs:.0f}", *words, f"{mine / theirs:.1f} ({mine_wall / theirs_wall:.1f})"])
    print(table(["budget", "runs", "openrlb, each run", "Optuna, each run", "openrlb / Optuna"], rows))


if __name__ == "__main__":
    main()
