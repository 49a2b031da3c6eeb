"""``openrlb power``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from openrlb.cli import options as flag
from openrlb.cli import scoring as words
from openrlb.cli.app import app, talk
from openrlb.cli.comparison_flags import Freeze, MergeVersions, MixedKinds, Random, short_notes
from openrlb.cli.going_on import tell_going_on
from openrlb.cli.render import chosen_format, emit_json, emit_rows, shown

SHOWN = ("groups", "env", "pilot_runs", "margin", "power", "seeds_needed", "seeds_for_equivalence")
ROW = (*SHOWN, "spread", "spread_upper", "confidence", "level", "statistic", "of", "kind", "rule", "normalization")


@app.command(epilog="Example: openrlb power ppo a2c --env Hopper --margin 100")
def power(
    ctx: typer.Context,
    groups: words.Names = None,
    margin: Annotated[
        float | None, typer.Option("--margin", help="The smallest difference that matters, in the scores' unit. Needed.")
    ] = None,
    wanted: Annotated[
        float, typer.Option("--power", min=0.5, max=0.99, help="How often a difference of the margin shall be found.")
    ] = 0.8,
    metric: words.Metric = words.Statistic.iqm,
    of: words.Of = None,
    by: words.By = None,
    pool: words.Pool = False,
    score: words.Score = "final:10%",
    at: words.At = None,
    normalize: words.Normalize = None,
    freeze: Freeze = None,
    random: Random = None,
    merge_versions: MergeVersions = False,
    allow_mixed_kinds: MixedKinds = False,
    frames_per_step: words.Frames = None,
    level: words.Level = 0.95,
    role: words.Roles = None,
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
    """Say how many seeds each group needs, from the runs there are of one group or two.

    Counted for the margin, never for the difference that these few runs happen to show, and with the upper limit of
    their spread at 80 % confidence, since a few runs often show too little of it.
    """
    from openrlb.api.power import power as plan
    from openrlb.api.result_rows import power_rows

    scoring = words.score_options(
        metric, of, by, pool, score, at, normalize, frames_per_step, level, freeze=freeze, random=random,
        merge_versions=merge_versions, allow_mixed_kinds=allow_mixed_kinds,
    )  # fmt: skip
    tell_going_on(talk(ctx))
    selected = flag.selection(env, algo, impl, seed, tag, source, where, since, role)
    answer = plan(groups or (), margin, selected, scoring, wanted=wanted, orlb_filters=orlb_filter or ()).cleaned()
    chosen = chosen_format(as_json, format_, output)
    if chosen is flag.Format.json:
        emit_json(asdict(answer), output)
    else:
        emit_rows(power_rows(answer), SHOWN if chosen is flag.Format.table else ROW, chosen, output)
    said = talk(ctx)
    said.say(f"{answer.statistic} of {answer.of} ({answer.kind}), score {answer.rule}, normalisation {answer.normalization}")
    said.say(
        f"seeds that find a true difference of {shown(margin)} and no more, whatever difference these runs show (openrlb compare)"
    )
    said.say("seeds are those of each group in each environment; the spread is the upper 80 % limit of what the pilot shows")
    words.tell_rest(said, short_notes(answer.notes), answer.excluded)
