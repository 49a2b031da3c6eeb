"""Studies whose runs are numbers from known distributions: the real planner, ledger and sampler, and no training.

A world says what a configuration is really worth; a run's score is that plus noise, drawn from a seed that the run's key and the
world's own number give, so that the same run always scores the same, on any worker and after any crash.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openrlb.store import Store
from openrlb.types import EPISODIC_RETURN, Metric, MetricBatch, Run, RunBatch
from openrlb_hpo.ledger import Ledger
from openrlb_hpo.parameters import Parameter
from openrlb_hpo.records import Baseline, StudyRecord, StudySettings
from openrlb_hpo.source import StudySource
from openrlb_hpo.space import Space
from openrlb_runners.request import Outcome, PinnedRunner, TrainingRequest, WorkItem
from openrlb_runners.worker import LATER

STEPS = 1000
RUNNER = PinnedRunner("synthetic", "run.py", (), False, {"run.py": b""}, {"base.txt": b""}, "lock", Path("python"))
SPACE = Space(
    "synthetic",
    "ppo",
    "",
    (
        Parameter("learning_rate", "log", (1e-5, 1e-1)),
        Parameter("clip_range", "uniform", (0.05, 0.45)),
        Parameter("n_epochs", "integers", (1, 20)),
        Parameter("activation", "choices", ("tanh", "relu", "elu", "silu")),
    ),
)
DEFAULT = {"learning_rate": 1e-4, "clip_range": 0.2, "n_epochs": 10, "activation": "tanh"}
"""The baseline of every simulated study, which it also tries first, as ``tune`` does with a library's defaults."""

Noise = Callable[[np.random.Generator], float]
NOISES: dict[str, Noise] = {
    "normal": lambda rng: rng.normal(),
    "skewed": lambda rng: (rng.lognormal(0.0, 0.5) - math.exp(0.125)) / math.sqrt((math.exp(0.25) - 1) * math.exp(0.25)),
    "bimodal": lambda rng: (0.3 - float(rng.random() < 0.3)) / math.sqrt(0.21) * math.sqrt(0.9) + rng.normal() * math.sqrt(0.1),
}
"""Noise of mean 0 and standard deviation 1: normal, lognormal (skewness 1.75), and runs of which three in ten fail."""


def equal(_: Mapping[str, Any]) -> float:
    """Every configuration is worth the same."""
    return 0.0


def region(hyperparameters: Mapping[str, Any]) -> float:
    """A twelfth of the space is two standard deviations better than all else, the default included."""
    inside = 1e-3 <= hyperparameters["learning_rate"] <= 10**-2.0 and hyperparameters["clip_range"] >= 0.25
    return 2.0 if inside and hyperparameters["activation"] in ("relu", "elu") else 0.0


def hill(hyperparameters: Mapping[str, Any]) -> float:
    """One smooth hill, 1 at its top and 2 to 3 lower at the ends of the space; the default lies in the middle of its slope."""
    along = (math.log10(hyperparameters["learning_rate"]) + 5.0) / 4.0
    across = (hyperparameters["clip_range"] - 0.05) / 0.4
    return 1.0 - 4.0 * (along - 0.6) ** 2 - 1.0 * (across - 0.7) ** 2 - 0.2 * (hyperparameters["activation"] == "tanh")


TRUTHS: dict[str, Callable[[Mapping[str, Any]], float]] = {"equal": equal, "region": region, "hill": hill}


@dataclass(frozen=True)
class World:
    """What runs score.

    Attributes:
        truth: What a configuration is worth, one of :data:`TRUTHS`.
        noise: How runs differ, one of :data:`NOISES`.
        number: Which of many such worlds, that differ in their noise alone.
    """

    truth: str
    noise: str
    number: int

    def worth(self, hyperparameters: Mapping[str, Any]) -> float:
        """The true mean score of a configuration."""
        return TRUTHS[self.truth](hyperparameters)

    def score(self, item: WorkItem) -> float:
        """The score of a run."""
        rng = np.random.default_rng([self.number, int(item.key.digest, 16)])
        return self.worth(item.effective["hyperparameters"]) + float(NOISES[self.noise](rng))


def settings_of(**changed: Any) -> StudySettings:  # noqa: ANN401
    """Settings of a simulated study: the defaults of ``tune``, in one environment."""
    plain: dict[str, Any] = {
        "algo": "ppo",
        "impl": RUNNER.name,
        "runner_source": RUNNER.source,
        "lock": RUNNER.lock,
        "envs": ("Synthetic-v0",),
        "steps": STEPS,
        "space": SPACE.to_json(),
        "space_name": SPACE.name,
        "space_digest": SPACE.digest,
        "first": ({"origin": "default", "params": DEFAULT},),
    }
    plain |= changed
    envs = plain["envs"]
    plain.setdefault("baselines", (Baseline("default", dict.fromkeys(envs, DEFAULT), "the defaults"),))
    return StudySettings(**plain)


def resolve(request: TrainingRequest) -> Mapping[str, Any]:
    """The effective configuration of a request: what is asked for."""
    asked = {"hyperparameters": dict(request.hyperparameters), "env_kwargs": dict(request.env_kwargs), "evaluation": None}
    return {"algo": request.algo, "env": request.env, "seed": request.seed, "steps": request.steps, **asked}


def open_source(ledger: Ledger, record: StudyRecord, folder: Path, **more: Any) -> StudySource:  # noqa: ANN401
    """The source of a study's runs, with the synthetic runner.

    Args:
        ledger: Its ledger.
        record: The study.
        folder: A folder for the store, which nothing is written to.
        more: Further arguments of :class:`StudySource`.
    """
    return StudySource(ledger, record, Store(folder), RUNNER, resolve, **more)


def outcome_of(item: WorkItem, score: float, *, state: str = "finished", notes: tuple[str, ...] = ()) -> Outcome:
    """What the worker loop hands back: one episode with that return at the last step, read as from the run's folder."""
    request = item.request
    steps, values = np.array([request.steps], np.int64), np.array([score])
    run = Run(
        "openrlb", item.key.digest, "", request.label, request.algo, request.env, RUNNER.name, request.seed,
        state=state, role=request.role, tags=item.tags, notes=notes,  # type: ignore[arg-type]
    )  # fmt: skip
    metric = Metric("charts/episodic_return", "episode", EPISODIC_RETURN)
    return Outcome(run, RunBatch(run, (MetricBatch(metric, steps, values),)), 0, "", 1.0, stored=True)


def train(
    source: StudySource, world: World, workers: int = 1, order: np.random.Generator | None = None, patience: float = 0.0
) -> None:
    """Trains a study to its end as :func:`openrlb_runners.worker.work` would.

    Args:
        source: The study's runs.
        world: What they score.
        workers: How many runs are under way at a time.
        order: Draws which of them ends first; without it the one that began first.
        patience: How many seconds to wait for another process whose run has to end first.

    Raises:
        RuntimeError: The source says that there will be something later, and nothing is under way.
    """
    running: list[WorkItem] = []
    exhausted, waited = False, 0.0
    while True:
        while len(running) < workers and not exhausted:
            item = source.take()
            if item is LATER:
                break
            if item is None:
                exhausted = True
            else:
                running.append(item)
        if not running:
            if exhausted:
                return
            if waited >= patience:
                raise RuntimeError(f"the study waits for {waited:.1f} s, and nothing is under way")
            time.sleep(0.002)
            waited += 0.002
            continue
        waited = 0.0
        ended = running.pop(0 if order is None else int(order.integers(len(running))))
        source.finished(ended, outcome_of(ended, world.score(ended)))


def ledger_of(record: StudyRecord) -> dict[str, Any]:
    """What makes two studies the same study: everything but who trained a run, how often it was begun and how long it took."""
    trials = [asdict(one) for one in record.trials]
    unlike = ("worker", "attempts", "seconds")
    runs = [{name: value for name, value in asdict(row).items() if name not in unlike} for row in record.reservations]
    return {"budget": record.budget, "incumbent": record.incumbent, "trials": trials, "runs": runs}
