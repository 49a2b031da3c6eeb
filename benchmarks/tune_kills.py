"""What SIGKILL leaves of a study: simulated studies whose workers are killed, and go on.

    python benchmarks/tune_kills.py [--kills 20] [--budget 60] [--seed 0] [--workers 3]

One worker: it waits after every statement that it sends to the database (the ledger's and Optuna's copy) and in the middle of
every run, and is killed at so many random ones of these moments; the next worker goes on. The ledger and Optuna's copy have to be
those of a study that nobody disturbed, trial for trial and run for run. Several workers at once: one of them is killed at random
moments and replaced; no run may be reserved twice, and the budget has to be kept. Prints what was found as JSON; exit code 1
where it is not so.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from synthetic_studies import World, ledger_of, open_source, settings_of, train

from openrlb_hpo.ledger import open_ledger
from openrlb_hpo.projection import Projection
from openrlb_hpo.records import StudyRecord, StudySettings
from openrlb_runners.request import WorkItem

STATEMENT, RUN = ".", "r"
"""What a moment is: after a statement to the database, or in the middle of a run."""
Pause = Callable[[str], None]


@dataclass(frozen=True)
class Pausing(World):
    """A world in which every run takes a moment."""

    pause: Callable[[], None] = lambda: None

    def score(self, item: WorkItem) -> float:
        """The score of a run."""
        self.pause()
        return super().score(item)


def go_on(url: str, settings: StudySettings, budget: int, folder: Path, pause: Pause = lambda _: None) -> StudyRecord:
    """Trains a study to its end, Optuna's copy included."""
    with open_ledger(url) as ledger:
        record = ledger.begin(settings, budget)
        with open_source(ledger, record, folder, projection=Projection(url)) as source:
            train(source, Pausing("region", "normal", settings.study_seed, lambda: pause(RUN)), patience=60.0)
        return ledger.read(record.id)


def killed_after(count: int, kind: str, act: Callable[[Pause], object]) -> bool:
    """Acts in a child that waits at every moment; kills it at the n-th of one kind. False where it has ended before."""
    told, tell = os.pipe()
    allowed, allow = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(told)
        os.close(allow)

        def pause(what: str) -> None:
            """Says that a moment has come, and waits."""
            os.write(tell, what.encode())
            os.read(allowed, 1)

        sa.event.listen(sa.Engine, "after_cursor_execute", lambda *_: pause(STATEMENT))
        _act_and_leave(lambda: act(pause))
    os.close(tell)
    os.close(allowed)
    while what := os.read(told, 1).decode():
        count -= what == kind
        if count == 0:
            os.kill(child, signal.SIGKILL)
            break
        os.write(allow, b".")
    os.close(told)
    os.close(allow)
    return _ended(child)


def _act_and_leave(act: Callable[[], object]) -> None:
    """The life of a child: it acts, and never returns."""
    code = 0
    try:
        act()
    except BaseException:
        traceback.print_exc()
        code = 1
    os._exit(code)


def _ended(child: int) -> bool:
    """Waits for a child; whether it was killed.

    Raises:
        RuntimeError: It failed by itself.
    """
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError("a worker failed; its traceback is above")
    return os.WIFSIGNALED(status)


def copy_of(url: str, name: str) -> list[dict[str, Any]]:
    """Optuna's copy of a study."""
    import optuna

    study = optuna.load_study(study_name=name, storage=url)
    return [
        {
            "params": one.params,
            "state": one.state.name,
            "values": one.values,
            "rungs": one.intermediate_values,
            "told": one.user_attrs,
        }
        for one in study.get_trials()
    ]


def one_worker(kills: int, budget: int, seed: int, folder: Path) -> dict[str, Any]:
    """One worker at a time, killed so often: in turns after a statement and in the middle of a run."""
    settings = settings_of(study_seed=seed)
    calm, rough = (f"sqlite:///{folder / name}.db" for name in ("calm", "rough"))
    moments: Counter[str] = Counter()

    def counted(*_: object) -> None:
        """Counts a statement."""
        moments[STATEMENT] += 1

    sa.event.listen(sa.Engine, "after_cursor_execute", counted)
    whole = go_on(calm, settings, budget, folder, lambda what: moments.update([what]))
    sa.event.remove(sa.Engine, "after_cursor_execute", counted)
    rng, done, left = np.random.default_rng(seed), 0, 0
    for number in range(kills):
        kind = (STATEMENT, RUN)[number % 2]
        count = int(rng.integers(1, max(2 * moments[kind] // (kills + 2), 1) + 1))
        done += killed_after(count, kind, lambda pause: go_on(rough, settings, budget, folder, pause))
        with open_ledger(rough) as ledger:
            left = max(left, len(ledger.begin(settings, budget).reservations))
    after = go_on(rough, settings, budget, folder)
    return {
        "statements": moments[STATEMENT],
        "runs": len(whole.reservations),
        "kills": done,
        "runs_reserved_at_the_last": left,
        "runs_begun_again": sum(row.attempts > 1 for row in after.reservations),
        "same_ledger": ledger_of(after) == ledger_of(whole),
        "same_copy": copy_of(rough, settings.name) == copy_of(calm, settings.name),
    }


def several_workers(workers: int, kills: int, budget: int, seed: int, folder: Path) -> dict[str, Any]:
    """Several workers at once, one of which is killed now and then."""
    settings = settings_of(study_seed=seed)
    url = f"sqlite:///{folder / 'several'}.db"
    rng = np.random.default_rng(seed)

    def begin() -> int:
        """Starts a worker whose runs take some milliseconds."""
        child = os.fork()
        if child == 0:
            _act_and_leave(lambda: go_on(url, settings, budget, folder, lambda _: time.sleep(0.005)))
        return child

    children, done, overshot, doubles = [begin() for _ in range(workers)], 0, 0, 0
    try:
        for _ in range(kills):
            time.sleep(float(rng.uniform(0.01, 0.15)))
            victim = children.pop(int(rng.integers(len(children))))
            os.kill(victim, signal.SIGKILL)
            done += _ended(victim)
            with open_ledger(url) as ledger:
                record = ledger.begin(settings, budget)
            overshot += record.spent > budget
            doubles += twice(record)
            children.append(begin())
        while children:
            _ended(children.pop())
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
    with open_ledger(url) as ledger:
        record = ledger.read(settings.digest)
    seeds = {role: {row.seed for row in record.reservations if row.role == role} for role in ("tuning", "confirm", "test")}
    shared = len(seeds["tuning"] & seeds["confirm"] | seeds["tuning"] & seeds["test"] | seeds["confirm"] & seeds["test"])
    trials = copy_of(url, settings.name)
    return {
        "workers": workers,
        "kills": done,
        "runs": len(record.reservations),
        "spent": record.spent,
        "overshot": overshot + (record.spent > budget),
        "reserved_twice": doubles + twice(record),
        "left_open": sum(row.state == "open" for row in record.reservations),
        "seeds_of_two_roles": shared,
        "tests_missing": settings.test_runs - sum(row.role == "test" for row in record.reservations),
        "copy_differs": sum(
            {"complete": "COMPLETE", "pruned": "PRUNED"}[one.state] != copy["state"]
            for one, copy in zip(record.trials, trials, strict=True)
        ),
    }


def twice(record: StudyRecord) -> int:
    """How many runs are reserved more than once."""
    seen = Counter((row.configuration, row.role, row.env, row.seed_index) for row in record.reservations)
    return sum(count - 1 for count in seen.values())


def main() -> None:
    """Prints what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--budget", type=int, default=60)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        dir=memory if memory.is_dir() else None
    ) as folder:  # a disk would wait for itself most of the time
        one = one_worker(options.kills, options.budget, options.seed, Path(folder))
        several = several_workers(options.workers, options.kills, options.budget, options.seed, Path(folder))
    print(json.dumps({"one": one, "several": several}))
    wrong = ("overshot", "reserved_twice", "left_open", "seeds_of_two_roles", "tests_missing", "copy_differs")
    sys.exit(int(not (one["same_ledger"] and one["same_copy"]) or any(several[name] for name in wrong)))


if __name__ == "__main__":
    main()
