"""``openrlb report``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from openrlb.cli import options as flag
from openrlb.cli.app import app, talk
from openrlb.cli.comparison_flags import Freeze, MergeVersions, MixedKinds, Random
from openrlb.cli.destination import destination
from openrlb.cli.going_on import tell_going_on
from openrlb.cli.plot_flags import Band, Interval, command_line, metrics
from openrlb.cli.render import emit_json
from openrlb.cli.scoring import At, By, Frames, Normalize, Of, Pool, Roles
from openrlb.words import counted

EXAMPLES = "Examples: openrlb report --env Hopper -o hopper.html   |   openrlb report --algo ppo --algo a2c --title 'PPO and A2C'"


@app.command(epilog=EXAMPLES)
def report(
    ctx: typer.Context,
    output: Annotated[Path, typer.Option("--output", "-o", callback=destination, help="The page.")] = Path("report.html"),
    title: Annotated[str, typer.Option("--title", help="The page's title; what it shows by default.")] = "",
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            parser=metrics,
            metavar="METRIC",
            help="The statistic of the first figure: iqm, mean, median, optimality-gap, cvar, iqr, or several with commas.",
        ),
    ] = "iqm",
    of: Of = None,
    by: By = None,
    label: Annotated[list[str] | None, typer.Option("--label", help="OLD=NEW: call a group by another name. Repeatable.")] = None,
    pool: Pool = False,
    score: Annotated[
        str,
        typer.Option("--score", help="final:10%, last, at:STEP, mean, auc; optimistic: best-of-mean-curve, best-per-run."),
    ] = "final:10%",
    at: At = None,
    ddof: Annotated[int, typer.Option("--ddof", min=0, max=1, help="Delta degrees of freedom of standard deviations.")] = 1,
    normalize: Normalize = None,
    freeze: Freeze = None,
    random: Random = None,
    merge_versions: MergeVersions = False,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="The score of steps-to-threshold, normalised where scores are.")
    ] = None,
    interval: Annotated[
        Interval, typer.Option("--interval", help="How intervals are computed; percentile is rliable's.")
    ] = Interval.calibrated,
    interval_from: Annotated[
        int, typer.Option("--interval-from", min=2, help="The fewest seeds of an environment that get an interval.")
    ] = 3,
    level: Annotated[float, typer.Option("--level", help="The intervals' level, between 0 and 1.")] = 0.95,
    resamples: Annotated[int, typer.Option("--resamples", min=100, max=10_000_000, help="Bootstrap resamples.")] = 50_000,
    bootstrap_seed: Annotated[int, typer.Option("--bootstrap-seed", min=0, help="The bootstrap's seed.")] = 0,
    band: Annotated[
        Band, typer.Option("--band", help="A simultaneous band holds the whole curve, a pointwise one each position.")
    ] = Band.pointwise,
    frames_per_step: Frames = None,
    allow_mixed_kinds: MixedKinds = False,
    allow_mixed_hardware: Annotated[
        bool, typer.Option("--allow-mixed-hardware", help="Compare wall times of unlike machines; the figure names them.")
    ] = False,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage", envvar="OPENRLB_STORAGE", metavar="URL", help="The studies' database; a file in the store by default."
        ),
    ] = None,
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
) -> None:
    """Write one page about the selected runs, to be read, kept and sent to others.

    It holds what was selected and how it was scored, the result, every figure of openrlb plot that the runs allow (the others
    with the reason), the studies that trained them, a table of the runs to search, sort and save, of each run its parameters,
    versions, metrics, curve and the command that trains it again, the runs left out, and where it all comes from. It is one
    file that loads nothing: it opens without a network, on a phone, in the dark, printed, and with a keyboard alone. Secrets,
    e-mail addresses and home folders are taken out of it.
    """
    from openrlb.api.plot import PlotOptions
    from openrlb.api.report import report as write

    first, *beside = metric.split(",")
    options = PlotOptions(
        metric=first, beside=tuple(beside), of=of, by=tuple(key.strip() for word in by or () for key in word.split(",")),
        label=tuple(label or ()), pool=pool, score=score, at=at, ddof=ddof, normalize=normalize, freeze=freeze, random=random,
        interval=interval.value, interval_from=interval_from, level=level, resamples=resamples, seed=bootstrap_seed,
        frames_per_step=frames_per_step, allow_mixed_kinds=allow_mixed_kinds, merge_versions=merge_versions, band=band.value,
        threshold=threshold, allow_mixed_hardware=allow_mixed_hardware,
    )  # fmt: skip
    selected = flag.selection(env, algo, impl, seed, tag, source, where, since, role)
    tell_going_on(talk(ctx))
    answer = write(
        selected,
        options,
        output=output,
        title=title,
        orlb_filters=orlb_filter or (),
        command=command_line(sys.argv),
        storage=storage,
    )
    said = talk(ctx)
    said.say(
        f"{answer.counted:,} of {answer.runs:,} runs in {len(answer.groups):,} groups, {len(answer.figures):,} figures"
        + (f", {counted(answer.studies, 'study', 'studies')}" if answer.studies else "")
    )
    for one in answer.not_drawn if said.verbose else ():
        said.say(f"not drawn: {one.figure}: {one.what}; {one.fix}")
    if answer.not_drawn and not said.verbose:
        said.say(f"not drawn: {', '.join(one.figure for one in answer.not_drawn)} (the page and openrlb -v say why)")
    said.say(f"report: {answer.path} ({answer.size / 1e6:.1f} MB)")
    if as_json:
        emit_json(asdict(answer))
