"""How honest a study's answer is: simulated studies with the real planner, ledger, sampler and verdict, and no training.

    nice -n 10 python benchmarks/tune_simulation.py --results tune_simulation.jsonl --report docs/tuning-evidence.md

What is counted: how often the verdict says ``better`` where all configurations are equal, and where it is true; how often the
interval of the test score covers what the incumbent is really worth; and how far the tuning score, the confirm score and the test
score lie above that. A study is one line of the results file; what is there is not run again, so that the simulation goes on
where it stopped. One core; a study of 60 runs takes about half a second of it, everything about an hour.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from synthetic_studies import World, open_source, settings_of, train

from openrlb.types import stable_hash
from openrlb_hpo.ledger import open_ledger
from openrlb_hpo.records import StudyRecord
from openrlb_hpo.result import StudyResult, study_result

Line = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One kind of study.

    Attributes:
        truth: What configurations are worth.
        noise: How runs differ.
        tuning_seeds: Seeds that a trial is tuned on.
        confirm: How many trials are confirmed.
        workers: Runs under way at a time.
        method: How trials are proposed.
        budget: The budget.
    """

    truth: str
    noise: str = "normal"
    tuning_seeds: int = 3
    confirm: int = 3
    workers: int = 1
    method: str = "tpe"
    budget: int = 60

    @property
    def name(self) -> str:
        """The cell for people, and for ``--only``."""
        words = f"{self.truth}/{self.noise}/{self.tuning_seeds} tuning seeds/confirm {self.confirm}"
        return f"{words}/{self.workers} at a time/{self.method}/budget {self.budget}"


CRITERIA = (Cell("equal"), Cell("region"))
"""What is promised is about these cells; they have studies enough to know it."""


def cells() -> list[Cell]:
    """The study: what the criteria are about comes first."""
    found = [*CRITERIA, Cell("hill")]
    found += [Cell(truth, noise) for noise in ("skewed", "bimodal") for truth in ("equal", "region")]
    found += [Cell(truth, workers=4) for truth in ("equal", "region")]
    found += [Cell(truth, tuning_seeds=seeds) for seeds in (1, 5) for truth in ("equal", "region", "hill")]
    found += [Cell(truth, tuning_seeds=seeds, confirm=0) for seeds in (1, 3, 5) for truth in ("equal", "region", "hill")]
    return found


def simulate(cell: Cell, number: int, folder: Path, resamples: int) -> Line:
    """One study, from its first proposal to its verdict."""
    began = time.process_time()
    seed = int(stable_hash([cell.name, number], 12), 16)  # no two studies have a draw in common
    world = World(cell.truth, cell.noise, seed)
    settings = settings_of(study_seed=seed, tuning_seeds=cell.tuning_seeds, confirm=cell.confirm, method=cell.method)
    order = np.random.default_rng(number) if cell.workers > 1 else None
    with open_ledger("sqlite://") as ledger:
        source = open_source(ledger, ledger.begin(settings, cell.budget), folder)
        train(source, world, cell.workers, order)
        record = ledger.read(settings.digest)
    planned = time.process_time() - began
    line = measured(record, study_result(record, resamples=resamples), world)
    seconds = {"study_seconds": round(planned, 3), "result_seconds": round(time.process_time() - began - planned, 3)}
    return {**asdict(cell), "number": number, "resamples": resamples, **line, **seconds}


def measured(record: StudyRecord, result: StudyResult, world: World) -> Line:
    """What the answer says, beside what is true."""
    chosen, test, difference = result.incumbent, result.test, result.difference
    assert chosen is not None and test is not None
    assert (difference is None) == (result.incumbent_is is not None)  # a baseline is not compared with itself
    (baseline,) = result.baselines
    trial = record.trials[chosen.trial]
    return {
        "origin": trial.origin,
        "trials": len(record.trials),
        "spent": record.spent,
        "worth": world.worth(trial.hyperparameters),
        "best_worth": max(world.worth(one.hyperparameters) for one in record.trials),
        "default_worth": world.worth(record.settings.baselines[0].hyperparameters[record.settings.envs[0]]),
        "tuning": chosen.tuning_score,
        "confirm_score": chosen.confirm_score,
        "test": [test.score, test.low, test.high],
        "baseline": [baseline.score, baseline.low, baseline.high],
        "difference": [0.0, 0.0, 0.0] if difference is None else [difference.value, difference.low, difference.high],
        "verdict": result.verdict,
        "tuning_verdict": tuning_verdict(record, chosen.trial, result.interval.resamples),
    }


def tuning_verdict(record: StudyRecord, incumbent: int, resamples: int) -> str | None:
    """What the same rule would say of the tuning seeds, as papers that report tuning scores do; None with too few seeds."""
    from openrlb_analysis.comparison import verdict
    from openrlb_analysis.intervals import interval_method
    from openrlb_hpo.result_intervals import mean_difference_interval

    sides = [[row.score for row in record.rows(f"trial:{number}", "tuning")] for number in (incumbent, 0)]
    tasks = [[np.array(scores, dtype=np.float64)] for scores in sides]
    ends = mean_difference_interval(tasks[0], tasks[1], [None], interval_method("calibrated", 0.95, resamples, 0))
    return None if ends is None else verdict(*ends, None)


def key_of(line: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes a result the same study."""
    return tuple(line[name] for name in (*Cell.__dataclass_fields__, "number", "resamples"))


def lines_of(path: Path) -> list[Line]:
    """The results that are there; a last line that was cut off does not count."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def run_missing(path: Path, wanted: Iterable[tuple[Cell, int]], resamples: int) -> None:
    """Simulates what is not in the results file yet."""
    known = lines_of(path)
    path.write_text("".join(json.dumps(line) + "\n" for line in known))  # without a last line that was cut off
    done = {key_of(line) for line in known}
    last = None
    with tempfile.TemporaryDirectory() as folder, path.open("a") as file:
        for cell, number in wanted:
            if key_of({**asdict(cell), "number": number, "resamples": resamples}) in done:
                continue
            if cell != last:
                print(cell.name)
                sys.stdout.flush()
                last = cell
            file.write(json.dumps(simulate(cell, number, Path(folder), resamples)) + "\n")
            file.flush()


def main() -> None:
    """Simulates what is missing and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("tune_simulation.jsonl"))
    parser.add_argument("--report", type=Path, help="write the tables to this Markdown file")
    parser.add_argument("--studies", type=int, default=200, help="studies of a cell")
    parser.add_argument("--of-criteria", type=int, default=1000, help="studies of the two cells that the criteria are about")
    parser.add_argument("--resamples", type=int, default=5000, help="tune itself uses 50,000; the ends move by 1 %% of their sd")
    parser.add_argument("--only", default="", help="only cells whose name holds this text, e.g. 'equal/normal'")
    options = parser.parse_args()
    chosen = [cell for cell in cells() if options.only in cell.name]
    counts = {cell: options.of_criteria if cell in CRITERIA else options.studies for cell in chosen}
    wanted = [(cell, number) for cell, count in counts.items() for number in range(count)]
    run_missing(options.results, wanted, options.resamples)
    if options.report is not None:
        from tune_simulation_report import write_report

        kept = {key_of({**asdict(cell), "number": number, "resamples": options.resamples}) for cell, number in wanted}
        lines = [line for line in lines_of(options.results) if key_of(line) in kept]
        write_report(options.report, lines, len(wanted) - len(lines), options.resamples)


if __name__ == "__main__":
    main()
