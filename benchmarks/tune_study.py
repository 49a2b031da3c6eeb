"""A real study with 1, 3 and 5 tuning seeds and the same budget: what tuning promised, and what unseen seeds gave.

    nice -n 5 python benchmarks/tune_study.py --reports FOLDER --table docs/study-acrobot.md

Each study is ``openrlb tune`` itself with its defaults (TPE in the Zoo's space, the best three confirmed, ten test seeds, the
library's defaults and the published configuration as baselines). All of them test on the same seeds, train the baselines there
once, and say so by ``test_peeks``. The same command goes on where it stopped; what is finished is only looked at.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import datetime
import sys
from importlib.metadata import version
from pathlib import Path

from openrlb.api.study import StudyView
from openrlb.api.tune import TuneOptions, tune
from openrlb_analysis.figures.words import listed, number
from openrlb_hpo.result_words import result_lines, verdict_words

HEAD = """# A study of {algo} on {env}, with {seeds} tuning seeds
Made by `python benchmarks/tune_study.py --env {env} --steps {steps} --budget {budget}` on {date} with
openrlb {openrlb} and optuna {optuna}: {studies} studies of {budget} runs of {steps:,} steps each, score {objective} of the
training episodes' returns, method {method}, space {space}, study seed {seed}, {tests} test seeds.
Intervals are 95 %, calibrated, over seeds (docs/coverage.md).

One study of each kind says nothing of how such studies differ: what more tuning seeds do on average is in
docs/tuning-evidence.md. All studies looked at the same test seeds, so that these rows are not independent.
"""


def table(views: dict[int, StudyView]) -> str:
    """The studies side by side, as Markdown."""
    head = ["tuning seeds", "configurations", "tuned (optimistic)", "confirmed", "test", "gap: tuned - test", "stronger baseline"]
    rows = [[*head, "difference", "verdict", "test seeds looked at", "hours of processes"], ["---"] * (len(head) + 4)]
    for seeds, view in views.items():
        result = view.result
        chosen, test, gap, difference = result.incumbent, result.test, result.gap, result.difference
        if chosen is None or test is None or difference is None or gap is None:
            rows.append([str(seeds), str(result.counts.complete + result.counts.pruned), *["not finished"] * 9])
            continue
        strongest = next(one for one in result.baselines if one.name == difference.baseline)
        rows.append(
            [
                str(seeds),
                f"{result.cost.configurations} ({result.counts.pruned} pruned)",
                number(chosen.tuning_score),
                number(chosen.confirm_score),
                with_ends(test.score, test.low, test.high),
                with_ends(gap.value, gap.low, gap.high),
                f"{strongest.name} {with_ends(strongest.score, strongest.low, strongest.high)}",
                with_ends(difference.value, difference.low, difference.high),
                verdict_words(difference),
                str(result.test_peeks),
                number(result.cost.process_hours),
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def with_ends(value: float | None, low: float | None, high: float | None) -> str:
    """A number with its interval, where it has one."""
    return number(value) + ("" if low is None or high is None else f" [{number(low)}, {number(high)}]")


def written(views: dict[int, StudyView], options: argparse.Namespace) -> str:
    """The whole page."""
    settings = next(iter(views.values())).record.settings
    head = HEAD.format(
        algo=settings.algo,
        seeds=listed(map(str, views)),
        env=options.env,
        steps=options.steps,
        budget=options.budget,
        date=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        openrlb=version("openrlb"),
        optuna=version("optuna"),
        studies=len(views),
        objective=settings.objective,
        method=settings.method,
        space=settings.space_name,
        seed=settings.study_seed,
        tests=settings.test_seeds,
    )
    parts = [head, table(views)]
    for seeds, view in views.items():
        lines = "\n".join(f"- {line}" for line in result_lines(view.result))
        parts.append(f"## {seeds} tuning seed{'s' if seeds > 1 else ''}: {view.record.settings.name}\n{lines}\n")
    return "\n".join(parts)


def main() -> None:
    """Trains what is missing and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algo", default="ppo")
    parser.add_argument("--env", default="Acrobot-v1")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--budget", type=int, default=60)
    parser.add_argument("--tuning-seeds", type=int, nargs="*", default=[1, 3, 5])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--reports", type=Path, help="write each study's page into this folder")
    parser.add_argument("--table", type=Path, help="write the studies side by side to this Markdown file")
    options = parser.parse_args()
    views: dict[int, StudyView] = {}
    for seeds in options.tuning_seeds:
        asked = TuneOptions(
            options.algo, options.budget, (options.env,), steps=options.steps, tuning_seeds=seeds, workers=options.workers
        )
        view = tune(asked, say=print).study
        assert view is not None
        views[seeds] = view
        print(result_lines(view.result)[0])
        sys.stdout.flush()
        if options.reports is not None:
            report(view, options.reports / f"{view.record.settings.name}.html")
    if options.table is not None:
        options.table.write_text(written(views, options), encoding="utf-8")
    print(table(views))


def report(view: StudyView, path: Path) -> None:
    """Writes the page of a study, as ``study report`` does."""
    import subprocess

    path.parent.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "openrlb", "study", "report", view.record.settings.name, "-o", str(path)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
