"""``openrlb plot``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openrlb.api.figure import IMAGE_SUFFIXES, PAGE_SUFFIXES
from openrlb.api.result_rows import TABLE_COLUMNS, table_rows
from openrlb.cli import options as flag
from openrlb.cli.app import Talk, app, talk
from openrlb.cli.destination import destination
from openrlb.cli.going_on import tell_going_on
from openrlb.cli.plot_flags import Aggregate, Axis, Band, Engine, Interval, Metric, Numbers, Pairwise, command_line, metrics
from openrlb.cli.recipe import list_recipes, save_recipe, tell_overridden, use_recipe
from openrlb.cli.render import SUFFIXES, chosen_format, emit_json, emit_rows
from openrlb.cli.scoring import Role, interval_words
from openrlb.errors import KindsDiffer, UsageError

if TYPE_CHECKING:
    from openrlb.api.plot import PlotAnswer
    from openrlb_analysis.measured import Measure
    from openrlb_analysis.result import PlotResult

EXCLUDED_SHOWN = 8
CUTS_SHOWN = 6
ENVS_NAMED = 4
NOTE_LENGTH = 300
TICK_SECONDS = 5.0


@app.command(epilog="Examples: openrlb plot --metric iqm --env Hopper --curves -o hopper.html   |   openrlb plot --table --json")
def plot(
    ctx: typer.Context,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe", callback=use_recipe, is_eager=True, help="A figure's flags from a packaged recipe or TOML file, or list."
        ),
    ] = None,
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            parser=metrics,
            metavar="METRIC",
            help="iqm, mean, median, optimality-gap, cvar, iqr (several with commas: a panel each); poi, win-rate, rank and "
            "critical-difference compare groups, slopes two of them; profile and efficiency are curves, steps-to-threshold is "
            "read off them; interval-width says what more seeds bring, runtime how long runs took.",
        ),
    ] = Metric.iqm.value,
    of: Annotated[str | None, typer.Option("--of", help="The logged quantity; a return that every run has by default.")] = None,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", help="What makes a group: algo, impl, source, project, tag, study, commit, config.X. Repeatable."),
    ] = None,
    label: Annotated[list[str] | None, typer.Option("--label", help="OLD=NEW: call a group by another name. Repeatable.")] = None,
    pool: Annotated[bool, typer.Option("--pool", help="Pool configurations that differ, and say so.")] = False,
    score: Annotated[
        str,
        typer.Option("--score", help="final:10%, last, at:STEP, mean, auc; optimistic: best-of-mean-curve, best-per-run."),
    ] = "final:10%",
    at: Annotated[
        int | None, typer.Option("--at", parser=flag.whole_number, metavar="STEP", help="Cut every run at this step.")
    ] = None,
    ddof: Annotated[int, typer.Option("--ddof", min=0, max=1, help="Delta degrees of freedom of standard deviations.")] = 1,
    normalize: Annotated[
        str | None,
        typer.Option(
            "--normalize",
            help="A table, none, a frozen name, ref:GROUP, minmax:GROUP or cdf:GROUP (frozen when first used), or list.",
        ),
    ] = None,
    freeze: Annotated[
        str | None, typer.Option("--freeze", metavar="NAME", help="Freeze ref:, minmax: or cdf: scores by this name, for good.")
    ] = None,
    random: Annotated[
        str | None,
        typer.Option(
            "--random", metavar="GROUP", help="What ref:GROUP puts at 0; a group called random, or a table's, by default."
        ),
    ] = None,
    merge_versions: Annotated[
        bool, typer.Option("--merge-versions", help="Make the versions of an environment one task, and say so.")
    ] = False,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="The score of steps-to-threshold, normalised where scores are.")
    ] = None,
    aggregate: Annotated[
        Aggregate,
        typer.Option("--aggregate", help="What efficiency, steps-to-threshold, rank, slopes and interval-width are of."),
    ] = Aggregate.iqm,
    worst_share: Annotated[
        float, typer.Option("--worst-share", min=0.001, max=1.0, help="The share of worst runs that cvar averages.")
    ] = 0.25,
    x: Annotated[
        Axis | None, typer.Option("--x", help="What curves run along; with --curves steps and time by default, else steps.")
    ] = None,
    band: Annotated[
        Band, typer.Option("--band", help="A simultaneous band holds the whole curve, a pointwise one each position.")
    ] = Band.pointwise,
    engine: Annotated[
        Engine, typer.Option("--engine", help="rliable computes with rliable's own code: full matrices, --interval percentile.")
    ] = Engine.openrlb,
    task_bootstrap: Annotated[
        bool, typer.Option("--task-bootstrap", help="Resample environments too, for claims about others; --interval percentile.")
    ] = False,
    pairwise: Annotated[
        Pairwise, typer.Option("--pairwise", help="How critical-difference tests pairs: Wilcoxon with Holm, or Nemenyi.")
    ] = Pairwise.wilcoxon,
    interval: Annotated[
        Interval, typer.Option("--interval", help="How intervals are computed; percentile is rliable's.")
    ] = Interval.calibrated,
    interval_from: Annotated[
        int, typer.Option("--interval-from", min=2, help="The fewest seeds of an environment that get an interval.")
    ] = 3,
    level: Annotated[float, typer.Option("--level", help="The intervals' level, between 0 and 1.")] = 0.95,
    resamples: Annotated[int, typer.Option("--resamples", min=100, max=10_000_000, help="Bootstrap resamples.")] = 50_000,
    bootstrap_seed: Annotated[int, typer.Option("--bootstrap-seed", min=0, help="The bootstrap's seed.")] = 0,
    frames_per_step: Annotated[
        int | None, typer.Option("--frames-per-step", min=1, help="Aligns frames with agent steps.")
    ] = None,
    allow_mixed_kinds: Annotated[
        bool, typer.Option("--allow-mixed-kinds", help="Let kinds of return stand side by side, each label naming its kind.")
    ] = False,
    allow_mixed_hardware: Annotated[
        bool, typer.Option("--allow-mixed-hardware", help="Compare wall times of unlike machines; the figure names them.")
    ] = False,
    table: Annotated[bool, typer.Option("--table", help="Only numbers: a row for each group and environment.")] = False,
    curves: Annotated[bool, typer.Option("--curves", help="Also draw learning curves, by step and by wall time.")] = False,
    log_x: Annotated[bool, typer.Option("--log-x", help="Draw curves along a logarithmic axis of steps, time or seeds.")] = False,
    size: Annotated[
        str,
        typer.Option("--size", metavar="SIZE", help="An image's size: column (82.5 mm wide), page (139.7 mm), or WxHmm."),
    ] = "page",
    numbers: Annotated[Numbers, typer.Option("--numbers", help="How the numbers beside an image are written.")] = Numbers.csv,
    save_recipe_to: Annotated[
        Path | None,
        typer.Option(
            "--save-recipe", metavar="FILE", callback=destination, help="Write every flag that decides the figure to a TOML file."
        ),
    ] = None,
    role: Annotated[
        list[Role] | None,
        typer.Option("--role", help="Runs with this role only; tuning and confirm runs are left out unless named. Repeatable."),
    ] = None,
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
    """Score runs, group them, and draw a figure with its numbers.

    cvar is the mean of the worst runs, iqr the spread of the middle half, poi how often a run of one group beats one of
    another (win-rate: all pairs as a matrix), rank how often each group is first, critical-difference which mean ranks over
    environments differ, slopes two groups in every environment, profile the share of runs above each score, efficiency the
    score along training, steps-to-threshold how long a score takes, interval-width how intervals narrow with seeds, runtime
    how long runs took. By wall time the machines are named, and unlike ones refused.

    The numbers go to standard output and the figure to -o FILE.html (METRIC.html by default), or for a paper to
    -o FILE.pdf, .png or .svg, with its caption (LaTeX), sources (BibTeX) and numbers beside it. --json, --table and a
    data suffix (-o FILE.json, .csv, .tsv, .md) write numbers only.
    """
    from openrlb.api.plot import PlotOptions
    from openrlb.api.plot import plot as analyse
    from openrlb_analysis.figures.size import size_of

    first, *beside = metric.split(",")
    options = PlotOptions(
        metric=first,
        beside=tuple(beside),
        of=of,
        by=tuple(key.strip() for word in by or () for key in word.split(",")),
        label=tuple(label or ()),
        pool=pool,
        score=score,
        at=at,
        ddof=ddof,
        normalize=normalize,
        freeze=freeze,
        random=random,
        interval=interval.value,
        interval_from=interval_from,
        level=level,
        resamples=resamples,
        seed=bootstrap_seed,
        frames_per_step=frames_per_step,
        allow_mixed_kinds=allow_mixed_kinds,
        merge_versions=merge_versions,
        x=None if x is None else x.value,
        band=band.value,
        threshold=threshold,
        worst_share=worst_share,
        engine=engine.value,
        task_bootstrap=task_bootstrap,
        pairwise=pairwise.value,
        allow_mixed_hardware=allow_mixed_hardware,
        aggregate=aggregate.value,
    )
    if recipe == "list":
        list_recipes(chosen_format(as_json, format_, output), output)
        return
    if normalize == "list":
        _list_normalizations(chosen_format(as_json, format_, output), output)
        return
    page = _page(ctx, output, metric, table, as_json)
    size_of(size)  # a wrong one is said before anything is computed
    tell_overridden(ctx, talk(ctx).say)
    if save_recipe_to is not None:
        save_recipe(ctx, save_recipe_to, command_line(sys.argv))
        talk(ctx).say(f"recipe: {save_recipe_to}")
    if page is None or page.suffix.lower() in PAGE_SUFFIXES:
        for flag_name in ("size", "numbers"):
            if getattr(ctx.get_parameter_source(flag_name), "name", "") == "COMMANDLINE":
                talk(ctx).warn(f"--{flag_name} is for images: end -o in {', '.join(IMAGE_SUFFIXES)}")
    if curves and table:
        talk(ctx).warn("--table writes numbers only: the learning curves are left out (leave --table out, or use --json)")
    tell_going_on(talk(ctx))
    if engine is Engine.rliable:
        _tell_rliable(talk(ctx), resamples)
    try:
        selected = flag.selection(env, algo, impl, seed, tag, source, where, since, role)
        answer = analyse(selected, options, curves=curves, orlb_filters=orlb_filter or ()).cleaned()
    except KindsDiffer as error:
        error.fix = error.fix.replace("add", f"{command_line(sys.argv)}", 1)
        raise
    except KeyboardInterrupt:
        typer.echo("interrupted: nothing was written, and nothing is kept", err=True)
        raise typer.Exit(130) from None
    data = output if page is None else None
    chosen = chosen_format(as_json, format_, data)
    _tell(talk(ctx), answer.result)
    if page is not None:
        _draw(page, answer, (size, numbers, log_x), talk(ctx))
    if chosen is flag.Format.json and not table:
        drawn = {"curves": [asdict(one) for one in answer.curves]} if curves else {}
        measured = {answer.measure.key: asdict(answer.measure)} if answer.measure is not None else {}
        also = {"beside": [asdict(one) for one in answer.beside]} if answer.beside else {}
        emit_json({**asdict(answer.result), **measured, **drawn, **also}, data)
    elif answer.measure is not None:
        _emit_measure(answer.measure, table or data is not None, chosen, data, talk(ctx))
    else:
        rows = [row for result in (answer.result, *answer.beside) for row in table_rows(result)]
        shown = ("metric", *SHOWN) if answer.beside else SHOWN
        emit_rows(rows, TABLE_COLUMNS if table or data else shown, chosen, data)


def _list_normalizations(chosen: flag.Format, output: Path | None) -> None:
    """Writes which normalisations there are."""
    from openrlb.api.normalization import normalizations

    emit_rows(normalizations(), ("name", "what", "version", "envs", "of", "rule", "created"), chosen, output)


def _tell_rliable(said: Talk, resamples: int) -> None:
    """Says that rliable's own code takes its time, and ticks while it does."""
    import time

    from openrlb_analysis import engine

    began = last = time.monotonic()

    def tick(drawn: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= TICK_SECONDS:
            last = now
            said.say(f"rliable: {drawn:,} resamples in {now - began:.0f} s; each group and environment takes {resamples:,}")

    said.say("note: rliable's own code takes seconds to minutes for each group and environment; --resamples 2000 is faster")
    engine.on_resample(tick)


def _emit_measure(measured: Measure, every: bool, chosen: flag.Format, data: Path | None, said: Talk) -> None:
    """Writes a measure's numbers: all of them to a file or as a table, else those that a reader takes in."""
    from openrlb_analysis.figures.measure_tables import measure_rows, shown_rows

    rows, note = (measure_rows(measured), "") if every else shown_rows(measured)
    if note:
        said.say(f"note: {note}")
    emit_rows(rows, tuple(rows[0]), chosen, data)


SHOWN = ("label", "env", "runs", "value", "low", "high", "mean", "std")


def _page(ctx: typer.Context, output: Path | None, metric: str, table: bool, as_json: bool) -> Path | None:
    """Where the figure goes: nowhere for numbers only."""
    if output is not None:
        if output.suffix.lower() not in (*SUFFIXES, *PAGE_SUFFIXES, *IMAGE_SUFFIXES):
            fix = f"end it in .html, {', '.join(IMAGE_SUFFIXES)} for a figure, or in {', '.join(SUFFIXES)} for numbers"
            raise UsageError(f"{output} cannot be written", f"its suffix {output.suffix!r} names no format", fix)
        return None if output.suffix.lower() in SUFFIXES else output
    return None if table or as_json else destination(ctx, Path(f"{metric.replace(',', '-')}.html"))


def _tell(said: Talk, result: PlotResult) -> None:
    """Rule, cut, interval, exclusions and notes, on standard error."""
    curves = result.metric in ("efficiency", "steps-to-threshold")
    scored = f"from whole curves (the scores beside them: {result.rule})" if curves else f"score {result.rule}"
    said.say(f"{result.metric} of {result.of} ({result.kind}), {scored}, normalisation {result.normalization}")
    if result.step:
        said.say(f"cut: {cut_words(result)}")
    said.say(f"interval: {interval_words(result.interval, said.verbose)}")
    if result.bounds:
        from openrlb_analysis.figures.words import bounds_words

        said.say(f"bounds: intervals lie within what can be scored: {bounds_words(result.bounds)}")
    for note in result.notes if said.verbose else shorter(result.notes):
        said.say(f"note: {note if said.verbose else brief(note)}")
    shown = len(result.excluded) if said.verbose else EXCLUDED_SHOWN
    for item in result.excluded[:shown]:
        about = f" ({item.algo}, {item.env}{'' if item.seed is None else f', seed {item.seed}'})" if item.env else ""
        said.say(f"excluded: {item.run}{about}: {item.reason}")
    if len(result.excluded) > shown:
        said.say(f"excluded: {len(result.excluded) - EXCLUDED_SHOWN} more; the figure, --json and openrlb -v name all of them")


def cut_words(result: PlotResult) -> str:
    """The cuts in one line: environments with the same cut and cause are named together."""
    from openrlb_analysis.figures.footer import cuts_of

    parts = [
        f"{', '.join(cut.envs) if len(cut.envs) <= ENVS_NAMED else f'{len(cut.envs)} environments'} at {cut.step:,} ({cut.cause})"
        for cut in cuts_of(result.step, result.cut_cause)
    ]
    rest = f"; and {len(parts) - CUTS_SHOWN} more (--json names all of them)" if len(parts) > CUTS_SHOWN else ""
    return "; ".join(parts[:CUTS_SHOWN]) + rest


def shorter(notes: Sequence[str]) -> list[str]:
    """Notes on settings that differ by environment, together in one line; the others as they are.

    >>> shorter(["ppo: set per environment, not variants: a, b", "a2c: set per environment, not variants: a", "short"])
    ['short', 'settings that differ by environment and make no variants: 2 in ppo, 1 in a2c (--json and openrlb -v name them)']
    """
    kept, counts = [], []
    for note in notes:
        label, sign, keys = note.partition(": set per environment, not variants: ")
        if sign:
            counts.append(f"{len(keys.split(', '))} in {label}")
        else:
            kept.append(note)
    told = f"settings that differ by environment and make no variants: {', '.join(counts)} (--json and openrlb -v name them)"
    return [*kept, told] if counts else kept


def brief(note: str) -> str:
    """A note as it is said on standard error: its beginning, and where the rest stands.

    >>> brief("a short note")
    'a short note'
    """
    if len(note) <= NOTE_LENGTH:
        return note
    return f"{note[:NOTE_LENGTH].rsplit(' ', 1)[0]} ... (the figure, --json and openrlb -v have the rest)"


def _draw(path: Path, answer: PlotAnswer, look: tuple[str, Numbers, bool], said: Talk) -> None:
    """Writes the figure's page, or its images with caption, sources and numbers, and says what was written.

    Raises:
        OpenrlbError: A file cannot be written.
    """
    from openrlb.api.figure import save_figure

    size, numbers, log_x = look
    command = command_line(sys.argv)
    written, notes = save_figure(answer, path, size=size, numbers=numbers.value, log_x=log_x, command=command)
    for one in written:
        beside = one.path.suffix != path.suffix
        said.say(f"{'beside it' if beside else 'figure'}: {one.path}" + (f": {one.what}" if len(written) > 1 else ""))
    for note in notes:
        said.warn(note)
