"""The tables of docs/case-study-td-lambda.md, from the runs that its first section declares.

    python benchmarks/case_study_td_lambda.py --report docs/case-study-td-lambda.md

It trains nothing: the page has the commands. Scores and verdicts come from ``openrlb.plot`` and ``openrlb.compare`` on the store
that OPENRLB_HOME names, and stand between the page's markers; what is not trained yet is said there.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import openrlb
from openrlb.api.compare_inputs import ScoreOptions
from openrlb.api.recipe import read_recipe

LAMBDAS = ("0", "0.95", "1")
SEEDS = range(1, 11)


def selection() -> openrlb.Selection:
    """The runs of the recipe."""
    flags = read_recipe("td-lambda").flags
    chosen = {key: tuple(flags[key]) for key in ("algo", "impl", "env")}  # type: ignore[arg-type]
    return openrlb.Selection(**chosen, where=str(flags["where"]), seed=tuple(SEEDS))  # type: ignore[arg-type]


def scores(chosen: openrlb.Selection) -> list[str]:
    """A row for each environment and lambda."""
    options = openrlb.PlotOptions(by=("config.gae_lambda",), normalize="none")
    result = openrlb.plot(chosen, options).result
    lines = [
        "| environment | λ | seeds | IQM | 95 % interval | mean ± standard deviation |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for env in chosen.env:
        for group in result.groups:
            for one in group.per_env:
                if one.env == env:
                    ends = "none" if one.low is None else f"{one.low:.1f} to {one.high:.1f}"
                    spread = f"{one.mean:.1f}" if one.std is None else f"{one.mean:.1f} ± {one.std:.1f}"
                    lambda_ = group.label.removeprefix("gae_lambda=")
                    lines.append(f"| {env} | {lambda_} | {one.runs} | {one.value:.1f} | {ends} | {spread} |")
        lines += [f"| {env} | {value} | 0 | | | not trained yet |" for value in LAMBDAS if not _has(result, value, env)]
    left = [f"Left out: {one.run} ({one.reason})." for one in result.excluded]
    return [*lines, *(["", *left] if left else [])]


def _has(result: object, value: str, env: str) -> bool:
    groups = getattr(result, "groups", ())
    return any(group.label == f"gae_lambda={value}" and env in [one.env for one in group.per_env] for group in groups)


def verdicts(chosen: openrlb.Selection) -> tuple[list[str], list[str]]:
    """A row for each declared comparison, in each environment and pooled; and the same in words."""
    found: dict[str, dict[str, list[str]]] = {}
    lacking: dict[str, set[str]] = {}
    lines = [
        "| over | comparison | seeds | difference of IQMs | 95 % interval | verdict | probability of improvement |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    parts = [(env, (env,), "none") for env in chosen.env]
    for name, envs, table in [*parts, ("pooled, normalised", chosen.env, "classic-control")]:
        options = openrlb.CompareOptions(ScoreOptions(by=("config.gae_lambda",), normalize=table), against_first=True)
        names = ["gae_lambda=0.95", "gae_lambda=0", "gae_lambda=1"]
        here = openrlb.Selection(algo=chosen.algo, impl=chosen.impl, env=envs, where=chosen.where, seed=chosen.seed)
        for one in openrlb.compare(names, here, options).comparisons:
            digits = 3 if table != "none" else 1
            seeds = sorted({count for pair in one.runs.values() for count in pair})
            told = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
            poi = one.probability_of_improvement
            against = one.second.removeprefix("gae_lambda=")
            found.setdefault(against, {}).setdefault(one.verdict, []).append(name)
            lacking.setdefault(against, set()).update(env for env, pair in one.runs.items() if min(pair) < len(SEEDS))
            ends = "none" if one.low is None else f"{one.low:+.{digits}f} to {one.high:+.{digits}f}"
            better = f"{poi.value:.2f}" + ("" if poi.low is None else f" ({poi.low:.2f} to {poi.high:.2f})")
            lines.append(
                f"| {name} | 0.95 against {against} | {told} | {one.difference:+.{digits}f} | {ends} | {one.verdict} | {better} |"
            )
    return lines, [_words(against, told, sorted(lacking[against])) for against, told in found.items()]


def _words(against: str, told: dict[str, list[str]], lacking: list[str]) -> str:
    """One comparison's verdicts in a line; what has not all its seeds is no verdict of the declared rule."""
    parts = [f"{verdict} in {', '.join(names)}" for verdict, names in told.items()]
    text = f"- **0.95 against {against}**: {'; '.join(parts)}.".replace("in pooled, normalised", "pooled")
    short = f" Not all of the {len(SEEDS)} seeds are trained yet in {', '.join(lacking)}: until they are, this is no verdict."
    return text.replace(", pooled, normalised", ", and pooled") + (short if lacking else "")


def replaced(text: str, marker: str, lines: list[str]) -> str:
    """A page with new lines between two markers."""
    block = "\n".join([f"<!-- {marker} -->", *lines, f"<!-- /{marker} -->"])
    return re.sub(rf"<!-- {marker} -->.*?<!-- /{marker} -->", lambda _: block, text, flags=re.DOTALL)


def main() -> None:
    """Writes the tables into the page, or prints them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, help="the page")
    asked = parser.parse_args()
    chosen = selection()
    rows, words = verdicts(chosen)
    tables = {"scores": scores(chosen), "verdicts": rows, "words": words}
    if asked.report is None:
        print("\n\n".join("\n".join(lines) for lines in tables.values()))
        return
    text = asked.report.read_text(encoding="utf-8")
    for marker, lines in tables.items():
        text = replaced(text, marker, lines)
    asked.report.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
