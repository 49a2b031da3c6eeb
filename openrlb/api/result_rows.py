"""Results as rows: what tables, files and frames hold, the same wherever they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openrlb.api.compare import CompareAnswer
    from openrlb.api.power import PowerAnswer
    from openrlb_analysis.comparison import PairResult
    from openrlb_analysis.result import PlotResult

TABLE_COLUMNS = (
    *("label", "algo", "impl", "env", "seeds", "runs", "mean", "std", "iqm", "low", "high", "value", "spread"),
    *("metric", "of", "kind", "rule", "cut", "interval", "normalization", "ddof", "excluded"),
)

COMPARISON_COLUMNS = (
    *("first", "second", "env", "verdict", "difference", "low", "high", "level", "margin", "first_seeds", "second_seeds"),
    *("statistic", "of", "kind", "rule", "normalization", "paired", "look", "sequential", "probability_of_improvement"),
    *("welch_p", "permutation_p", "permutation_smallest_p", "hedges_g", "seeds_needed", "excluded", "words"),
)


def table_rows(result: PlotResult) -> list[dict[str, Any]]:
    """A row for each group and environment, and the pooled one first where there is one; each says how it came about.

    ``runs`` counts runs, ``seeds`` those of one environment (the fewest where several are pooled).
    """
    how = result.interval
    said = {"metric": result.metric, "of": result.of, "kind": result.kind, "rule": result.rule, "ddof": result.ddof}
    said |= {"interval": f"{how.level:g} {how.note or how.method}, {how.resamples} resamples, seed {how.seed}"}
    said |= {"normalization": result.normalization, "excluded": len(result.excluded)}
    rows: list[dict[str, Any]] = []
    for group in result.groups:
        named = {"label": group.label, "algo": group.algo, "impl": group.impl, **said}
        if group.value is not None and len(result.pooled_envs) > 1:
            seeds = min(one.runs for one in group.per_env if one.env in result.pooled_envs)
            counted = {"seeds": seeds, "runs": result.pooled_runs(group)}
            pooled = {"env": f"({len(result.pooled_envs)} pooled)", **counted, "value": group.value}
            rows.append({**named, **pooled, "low": group.low, "high": group.high, "spread": ""})
        for one in group.per_env:
            values = {name: getattr(one, name) for name in ("env", "mean", "std", "iqm", "low", "high", "value", "spread")}
            rows.append({**named, "seeds": one.runs, "runs": one.runs, "cut": result.step.get(one.env), **values})
    return rows


def comparison_rows(answer: CompareAnswer) -> list[dict[str, Any]]:
    """A row for each comparison, with its secondary numbers."""
    return [_comparison(pair, words, answer) for pair, words in zip(answer.comparisons, answer.words, strict=True)]


def _comparison(pair: PairResult, words: str, answer: CompareAnswer) -> dict[str, Any]:
    """One comparison as a row of a table."""
    tests, needed = pair.secondary, pair.seeds_needed
    sizes = [sorted({both[side] for both in pair.runs.values()}) for side in (0, 1)]
    first, second = ("-".join(dict.fromkeys(map(str, (size[0], size[-1])))) for size in sizes)
    return {
        "first": pair.first,
        "second": pair.second,
        "env": pair.envs[0] if len(pair.envs) == 1 else f"({len(pair.envs)} pooled)",
        **{name: getattr(pair, name) for name in ("verdict", "difference", "low", "high", "level")},
        "margin": answer.margin,
        "first_seeds": first,
        "second_seeds": second,
        **{name: getattr(answer, name) for name in ("statistic", "of", "kind", "rule", "normalization", "paired")},
        "look": answer.looks.number,
        "sequential": answer.looks.sequential,
        "probability_of_improvement": pair.probability_of_improvement.value,
        "welch_p": tests.t_test.p if tests.t_test and tests.t_test.name == "welch" else None,
        "permutation_p": tests.permutation.p if tests.permutation else None,
        "permutation_smallest_p": tests.permutation.smallest if tests.permutation else None,
        "hedges_g": tests.effect_size.g if tests.effect_size else None,
        "seeds_needed": needed.difference if needed else None,
        "excluded": len(answer.excluded),
        "words": words,
    }


def power_rows(answer: PowerAnswer) -> list[dict[str, Any]]:
    """A row for each environment, and one for all of them where they are pooled."""
    rows = []
    for plan in answer.plans:
        needed, pilot = plan.needed, plan.needed.pilot if plan.needed else None
        rows.append(
            {
                "groups": " vs ".join(answer.groups),
                "env": plan.envs[0] if len(plan.envs) == 1 else f"({len(plan.envs)} pooled)",
                "pilot_runs": "-".join(dict.fromkeys(map(str, plan.runs))),
                **{name: getattr(answer, name) for name in ("margin", "power")},
                "level": needed.level if needed else None,
                "seeds_needed": needed.difference if needed else None,
                "seeds_for_equivalence": needed.equivalence if needed else None,
                "spread": pilot.spread if pilot else None,
                "spread_upper": pilot.upper if pilot else None,
                "confidence": needed.confidence if needed else None,
                **{name: getattr(answer, name) for name in ("statistic", "of", "kind", "rule", "normalization")},
            }
        )
    return rows
