"""The single_file runner beside the sb3 runner: equal hyperparameters, environments, steps and seeds; are the scores equal?

    nice -n 5 python benchmarks/single_file_equivalence.py                       # trains what is missing, cheapest cell first
    python benchmarks/single_file_equivalence.py --only ppo:CartPole-v1          # one cell
    python benchmarks/single_file_equivalence.py --report docs/single-file.md    # trains nothing: writes the tables

Everything is trained by ``openrlb run`` and compared by ``openrlb compare``, in the store that OPENRLB_HOME names; what is
trained already is not trained again, so that the same command goes on where it was stopped. A cell's answer is kept in --results
as soon as its last run has ended. The cells, their budgets and the rule were written before any of their runs was looked at.

The rule: the 90 % interval of the difference of mean scores (``final:10%``: over the last tenth of a run's steps) lies within a
share of the sb3 runs' mean less the score of random actions; else equivalence is not shown. Random actions: 100 seeded episodes.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import join
from typing import Any

from single_file import check_alike

from openrlb.api.compare import CompareOptions, compare
from openrlb.api.compare_inputs import ScoreOptions, score_groups
from openrlb.types import Selection
from openrlb_runners.environment import build, child_variables
from openrlb_runners.spec import find_runner

OURS, THEIRS = "single_file", "sb3"
SEEDS = range(1, 11)
LEVEL = 0.90
ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "single-file.json"
SCRIPT = ROOT / "tests" / "runners" / "single_file_updates.py"
TRAININGS = "equal-random-numbers"
RANDOM = """
import gymnasium, statistics, sys
env = gymnasium.make(sys.argv[1])
env.action_space.seed(0)
returns = []
for seed in range(100):
    env.reset(seed=seed)
    returns.append(0.0)
    over = False
    while not over:
        _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        returns[-1] += float(reward)
        over = terminated or truncated
print(statistics.fmean(returns))
"""


@dataclass(frozen=True)
class Cell:
    """One algorithm in one environment.

    Attributes:
        algo: The algorithm.
        env: The environment.
        steps: The training steps of each run.
        share: The margin, as a share of the sb3 runs' mean less the score of random actions.
        base: ``published`` or ``library``: what the hyperparameters start from.
        changes: What is set over it, as ``--set`` takes it.
    """

    algo: str
    env: str
    steps: int
    share: float
    base: str = "published"
    changes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """How ``--only`` names it."""
        return f"{self.algo}:{self.env}"

    @property
    def groups(self) -> tuple[str, str]:
        """Our group and sb3's, as ``openrlb compare`` takes them."""
        return f"{self.algo}@{OURS}", f"{self.algo}@{THEIRS}"

    def command(self, impl: str) -> list[str]:
        """What trains it."""
        words = ["openrlb", "run", self.algo, "--impl", impl, "--env", self.env, "--seeds", str(len(SEEDS))]
        words += ["--steps", str(self.steps), *([] if self.base == "published" else ["--hyperparameters", self.base])]
        return [*words, *(word for change in self.changes for word in ("--set", change))]


SMALL = ("policy_kwargs.net_arch=[64,64]", "batch_size=64")
"""So that SAC and TD3 take a third of the processor time."""
GAMMA_09 = ("n_envs=4", "n_steps=1024", "gamma=0.9", "learning_rate=0.001")
"""The published ones for Pendulum without gSDE, which single_file does not have."""
CELLS = (
    Cell("ppo", "CartPole-v1", 50_000, 0.10),
    Cell("sac", "Pendulum-v1", 6_000, 0.10, changes=SMALL),
    Cell("ppo", "Hopper-v5", 30_000, 0.25, "library"),
    Cell("td3", "Pendulum-v1", 10_000, 0.10, changes=(*SMALL, "learning_starts=1000")),
    Cell("dqn", "CartPole-v1", 50_000, 0.10),
    Cell("ppo", "Pendulum-v1", 100_000, 0.10, "library", GAMMA_09),
    Cell("sac", "Hopper-v5", 5_000, 0.25, changes=(*SMALL, "learning_starts=500")),
    Cell("td3", "Hopper-v5", 5_000, 0.25, changes=(*SMALL, "learning_starts=500")),
)


# --- training and comparing ---------------------------------------------------------------------------------------------------


def random_score(env: str, torch_source: str | None) -> float:
    """The mean return of random actions."""
    environment = build(find_runner(OURS), "cpu", torch_source=torch_source)
    words = [str(environment.python), "-c", RANDOM, env]
    return float(subprocess.run(words, check=True, capture_output=True, text=True, env=child_variables(1)).stdout)


def measured(cell: Cell, torch_source: str | None) -> dict[str, Any]:
    """Trains what is missing of a cell, and says what came of it.

    Raises:
        subprocess.CalledProcessError: A run did not finish.
        SystemExit: The two were not trained with equal hyperparameters.
    """
    for impl in (THEIRS, OURS):
        more = ["--workers", "1", *(["--torch-source", torch_source] if torch_source else [])]
        subprocess.run([sys.executable, "-m", *cell.command(impl), *more], check=True, stdout=subprocess.DEVNULL)
    selection, scoring = Selection(env=(cell.env,)), ScoreOptions(metric="mean", level=LEVEL)
    inputs = score_groups(cell.groups, selection, scoring, fewest=2)
    ours, theirs = (group.rows[0].record.config for group in inputs.groups)
    check_alike(cell.name, theirs, ours)
    scores = [inputs.analysis.scored[label, cell.env].scores.tolist() for label in inputs.labels]
    nothing = random_score(cell.env, torch_source)
    margin = cell.share * (statistics.fmean(scores[1]) - nothing)
    answer = compare(cell.groups, selection, CompareOptions(scoring, margin))
    assert answer.difference is not None
    return {
        "algo": cell.algo,
        "env": cell.env,
        "steps": cell.steps,
        "share": cell.share,
        "commands": [join(cell.command(impl)) for impl in (THEIRS, OURS)],
        "random": nothing,
        "scores": dict(zip((OURS, THEIRS), scores, strict=True)),
        "difference": answer.difference,
        "low": answer.low,
        "high": answer.high,
        "level": LEVEL,
        "margin": margin,
        "verdict": answer.verdict,
        "looks": answer.looks.total,
        "interval": answer.interval.method,
        "words": answer.words,
        "notes": answer.notes,
    }


def same_trainings(torch_source: str | None) -> dict[str, Any]:
    """How far trainings of both from equal weights and random numbers are apart, by algorithm."""
    environment = build(find_runner(THEIRS), "cpu", torch_source=torch_source)
    words = [str(environment.python), "-W", "ignore", str(SCRIPT), str(find_runner(OURS).folder), "trainings"]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=child_variables(1))
    return dict(json.loads(done.stdout))


# --- the report ---------------------------------------------------------------------------------------------------------------


def trainings_table(results: Mapping[str, Any]) -> str:
    """The trainings with equal random numbers as Markdown."""
    head = ["algorithm", "environment", "steps", "episodes", "of equal length", "cut off", "returns apart", "weights apart"]
    lines = [head, ["---"] * len(head)]
    for algo, found in results[TRAININGS].items():
        counts = [f"{found['episodes'][0]} and {found['episodes'][1]}", str(found["equal lengths"]), str(found["cut off"])]
        lines.append([algo, found["env"], str(found["steps"]), *counts])
        lines[-1] += [f"{found[name]:.0e}" if found[name] else "0" for name in ("returns apart", "weights apart")]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def table(results: Mapping[str, Any]) -> str:
    """The verdicts as Markdown."""
    head = "algorithm environment steps seeds random sb3 single_file difference interval margin verdict".split()
    lines = [head, ["---"] * len(head)]
    for cell in CELLS:
        plan = [cell.algo, cell.env, f"{cell.steps:,}"]
        found = results.get(cell.name)
        if found is None:
            lines.append([*plan, *[""] * 7, "not measured"])
            continue
        ours, theirs = found["scores"][OURS], found["scores"][THEIRS]
        means = [f"{statistics.fmean(one):.1f} ± {statistics.stdev(one):.1f}" for one in (theirs, ours)]
        interval = "none" if found["low"] is None else f"{found['low']:+.1f} to {found['high']:+.1f}"
        margin = f"{found['margin']:.1f} ({found['share']:.0%})"
        numbers = [f"{found['random']:.1f}", *means, f"{found['difference']:+.1f}", interval, margin]
        lines.append([*plan, f"{len(theirs)} + {len(ours)}", *numbers, verdict_of(found)])
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def verdict_of(found: Mapping[str, Any]) -> str:
    """Shown, or by how much the interval leaves the margin."""
    if found["low"] is None:
        return "not shown: no interval"
    beyond = max(-found["low"], found["high"]) - found["margin"]
    return "shown" if beyond <= 0 else f"not shown: {beyond:.1f} beyond the margin"


def commands() -> str:
    """What trains and compares each cell, for a shell."""
    lines = []
    for cell in CELLS:
        lines += [join(cell.command(impl)) for impl in (THEIRS, OURS)]
        lines.append(join(["openrlb", "compare", *cell.groups, "--env", cell.env, "--metric", "mean", "--level", "0.9"]))
    return "```bash\n" + "\n".join(lines) + "\n```\n"


def write_report(page: Path, results: Mapping[str, Any]) -> None:
    """Puts the tables between the page's markers.

    Raises:
        SystemExit: The page lacks a marker.
    """
    text = page.read_text(encoding="utf-8")
    for name, made in (("trainings", trainings_table(results)), ("verdicts", table(results)), ("commands", commands())):
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise SystemExit(f"{page} needs the lines {begin.strip()} and {end.strip()} once")
        text = text[: text.index(begin) + len(begin)] + made + text[text.index(end) :]
    page.write_text(text, encoding="utf-8")


def main() -> None:
    """Trains and compares what is missing, or writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="parts, separated by commas: " + ",".join([TRAININGS, *(cell.name for cell in CELLS)]))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--report", type=Path, help="train nothing: write the tables into this page")
    parser.add_argument("--torch-source")
    words = parser.parse_args()
    results = json.loads(words.results.read_text(encoding="utf-8")) if words.results.exists() else {}
    if words.report is not None:
        write_report(words.report, results)
        return
    made: dict[str, Callable[[str | None], dict[str, Any]]] = {TRAININGS: same_trainings}
    made |= {cell.name: partial(measured, cell) for cell in CELLS}
    for name in words.only.split(",") if words.only else made:
        results[name] = made[name](words.torch_source)
        words.results.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(json.dumps({name: results[name]}), flush=True)


if __name__ == "__main__":
    main()
