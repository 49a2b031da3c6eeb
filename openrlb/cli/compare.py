"""``openrlb compare``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from openrlb.cli import options as flag
from openrlb.cli.app import Talk, app, talk
from openrlb.cli.comparison_flags import Freeze, MergeVersions, MixedKinds, Random, short_notes
from openrlb.cli.going_on import tell_going_on
from openrlb.cli.render import chosen_format, emit_json, emit_lines, emit_rows, shown
from openrlb.cli.scoring import (
    At,
    By,
    Frames,
    Level,
    Metric,
    Names,
    Normalize,
    Of,
    Pool,
    Roles,
    Score,
    Statistic,
    interval_words,
    score_options,
    tell_cuts,
    tell_rest,
)

if TYPE_CHECKING:
    from openrlb.api.compare import CompareAnswer
    from openrlb_analysis.comparison import PairResult

IN_FULL = 3
"""So many comparisons are printed with their secondary tests; of more, the verdicts."""


@app.command(
    epilog="Examples: openrlb compare ppo a2c --env Hopper --margin 100   |   openrlb compare ppo@sb3 ppo@cleanrl --json"
)
def compare(
    ctx: typer.Context,
    groups: Names = None,
    margin: Annotated[
        float | None, typer.Option("--margin", help="The smallest difference that matters; without it nothing is equivalent.")
    ] = None,
    metric: Metric = Statistic.iqm,
    of: Of = None,
    by: By = None,
    pool: Pool = False,
    score: Score = "final:10%",
    at: At = None,
    normalize: Normalize = None,
    freeze: Freeze = None,
    random: Random = None,
    merge_versions: MergeVersions = False,
    allow_mixed_kinds: MixedKinds = False,
    frames_per_step: Frames = None,
    paired: Annotated[
        bool, typer.Option("--paired", help="Runs with equal seeds are pairs; only within one implementation.")
    ] = False,
    sequential: Annotated[
        bool, typer.Option("--sequential", help="Intervals that hold over all looks at this comparison with growing seeds.")
    ] = False,
    against_first: Annotated[
        bool, typer.Option("--against-first", help="Compare the first group with each other one, not all pairs.")
    ] = False,
    level: Level = 0.95,
    interval_from: Annotated[
        int, typer.Option("--interval-from", min=2, help="The fewest seeds of an environment that get an interval.")
    ] = 3,
    resamples: Annotated[int, typer.Option("--resamples", min=100, max=10_000_000, help="Bootstrap resamples.")] = 50_000,
    bootstrap_seed: Annotated[int, typer.Option("--bootstrap-seed", min=0, help="The bootstrap's seed.")] = 0,
    power: Annotated[float, typer.Option("--power", min=0.5, max=0.99, help="For the seeds needed.")] = 0.8,
    role: Roles = None,
    env: flag.Env = None,
    algo: flag.Algo = None,
    impl: flag.Impl = None,
    seed: flag.Seed = None,
    tag: flag.Tag = None,
    source: flag.From = None,
    where: flag.Where = None,
    since: flag.Since = None,
    orlb_filter: flag.OrlbFilter = None,
    as_json: flag.Json = False,
    format_: flag.As = None,
    output: flag.Output = None,
) -> None:
    """Say which of two groups is better, and how sure that is.

    The verdict is one rule: the interval of the difference, adjusted over all comparisons (Holm; with a margin
    Bonferroni), lies above 0 (better), below 0 (worse), within the margin (equivalent, which goes first), or none of these
    (undecided, as where no spread was seen in fewer than 10 seeds). Other tests are secondary. The store keeps each look:
    a later one at more seeds is counted, and corrected with --sequential.
    """
    from openrlb.api.compare import CompareOptions
    from openrlb.api.compare import compare as compare_groups
    from openrlb.api.result_rows import COMPARISON_COLUMNS, comparison_rows

    scoring = score_options(
        metric, of, by, pool, score, at, normalize, frames_per_step, level,
        interval_from=interval_from, resamples=resamples, seed=bootstrap_seed, freeze=freeze, random=random,
        merge_versions=merge_versions, allow_mixed_kinds=allow_mixed_kinds,
    )  # fmt: skip
    options = CompareOptions(scoring, margin, paired, sequential, against_first, power)
    tell_going_on(talk(ctx))
    selected = flag.selection(env, algo, impl, seed, tag, source, where, since, role)
    answer = compare_groups(groups or (), selected, options, orlb_filters=orlb_filter or ()).cleaned()
    plain_text = format_ is None and not as_json and output is None
    chosen = None if plain_text else chosen_format(as_json, format_, output)
    if chosen is flag.Format.json:
        emit_json(asdict(answer), output)
    elif chosen is not None:
        emit_rows(comparison_rows(answer), COMPARISON_COLUMNS, chosen, output)
    else:
        emit_lines(text_lines(answer))
    _tell(talk(ctx), answer)


def text_lines(answer: CompareAnswer) -> list[str]:
    """The verdicts first, then each comparison's secondary numbers, then how the groups were tuned."""
    lines = list(answer.words)
    told = answer.comparisons if len(answer.comparisons) <= IN_FULL else ()
    for pair in told:
        indent = "  "
        if len(answer.comparisons) > 1:
            lines += ["", f"{pair.first} vs {pair.second}{'' if len(pair.envs) > 1 else f' on {pair.envs[0]}'}"]
        lines += [f"{indent}{line}" for line in secondary_lines(pair, answer)]
    if not told:
        lines.append(f"secondary tests of {len(answer.comparisons)} comparisons: --json or -o FILE.csv")
    lines += [""] if told else []
    tuned: dict[str, list[str]] = {}
    for group in answer.groups:
        tuned.setdefault(group.tuning.words, []).append(group.label)
    return lines + [f"tuning of {' and of '.join(labels)}: {words}" for words, labels in tuned.items()]


def secondary_lines(pair: PairResult, answer: CompareAnswer) -> list[str]:
    """What stands beside a verdict, for people."""
    tests, level = pair.secondary, f"{100 * answer.interval.level:g} %"
    better = pair.probability_of_improvement
    lines = [f"{answer.statistic}: {pair.first} {shown(pair.values[0])}, {pair.second} {shown(pair.values[1])}"]
    lines.append(
        f"secondary: probability of improvement {shown(better.value)}{_ends(better.low, better.high)} ({level}, not adjusted)"
    )
    if tests.effect_size:
        size = tests.effect_size
        lines.append(f"secondary: Hedges' g {shown(size.g)}{_ends(size.low, size.high)} of the means ({level}, not adjusted)")
    if tests.t_test:
        name = "Welch's t test" if tests.t_test.name == "welch" else "paired t test"
        lines.append(f"secondary: {name} of the means p {shown(tests.t_test.p)} (t {shown(tests.t_test.t)}, not adjusted)")
    if tests.permutation:
        how = "exact" if tests.permutation.exact else "random arrangements"
        least = f"{how}; {shown(tests.permutation.smallest)} is the least it can be"
        lines.append(f"secondary: permutation test of the means p {shown(tests.permutation.p)} ({least})")
    if answer.paired:
        known = tests.seed_correlation
        lines.append(f"correlation over seeds: {'unknown' if known is None else shown(known)}")
    return lines + _needed_lines(pair)


def _needed_lines(pair: PairResult) -> list[str]:
    """The seeds that would do."""
    needed = pair.seeds_needed
    if needed is None or pair.verdict != "undecided":
        return []
    find, equal = (shown(count) if count else "more than 100,000" for count in (needed.difference, needed.equivalence))
    limit = f"the spread's upper {100 * needed.confidence:g} % limit"
    how = f"{100 * needed.power:g} % power at level {shown(needed.level)}, from {limit}"
    return [
        f"seeds needed for a margin of {shown(needed.margin)}: {find} each to find it, {equal} each to show equivalence ({how})"
    ]


def _ends(low: float | None, high: float | None) -> str:
    """An interval in brackets, or nothing."""
    return "" if low is None or high is None else f" [{shown(low)}, {shown(high)}]"


def _tell(said: Talk, answer: CompareAnswer) -> None:
    """Rule, cut, interval, looks, exclusions and notes, on standard error."""
    said.say(f"{answer.statistic} of {answer.of} ({answer.kind}), score {answer.rule}, normalisation {answer.normalization}")
    tell_cuts(said, answer.step, answer.cut_cause)
    said.say(f"interval: {interval_words(answer.interval, said.verbose)}")
    if answer.looks.total > 1 and not answer.looks.sequential:
        said.say(f"note: {answer.looks.words}: looking until something shows errs more often; --sequential corrects for it")
    tell_rest(said, short_notes(answer.notes), answer.excluded)
