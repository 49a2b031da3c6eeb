"""``openrlb export``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openrlb.cli import options as flag
from openrlb.cli.app import Talk, app, talk
from openrlb.cli.destination import destination
from openrlb.cli.going_on import tell_going_on
from openrlb.cli.plot_flags import TOGETHER, Metric, metrics
from openrlb.cli.render import emit_json
from openrlb.cli.scoring import At, By, Frames, Normalize, Pool
from openrlb.errors import UsageError

if TYPE_CHECKING:
    from openrlb.api.export import Exported, What

LEFT_OUT_SHOWN = 8


@app.command(
    epilog="Examples: openrlb export --env Hopper -o hopper.tex   |   openrlb export --points --of episodic_return -o p.parquet"
    "   |   openrlb export --bundle my-runs --license cc-by-4.0"
)
def export(
    ctx: typer.Context,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            callback=destination,
            help="The file: .parquet, .csv, .tsv, .json, .md, .tex, or .bib for the cited sources.",
        ),
    ] = None,
    results: Annotated[
        bool, typer.Option("--results", help="A row for each group and environment, with its interval; the default.")
    ] = False,
    runs: Annotated[bool, typer.Option("--runs", help="A row for each run, with its parameters.")] = False,
    points: Annotated[bool, typer.Option("--points", help="A row for each logged value.")] = False,
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle", metavar="FOLDER", help="Write runs to hand on, for openrlb fetch FOLDER|URL|hf://... to read back."
        ),
    ] = None,
    license_: Annotated[
        str,
        typer.Option(
            "--license",
            metavar="ID",
            envvar="OPENRLB_EXPORT_LICENSE",
            help="The license of a bundle's data, for instance cc-by-4.0.",
        ),
    ] = "unknown",
    title: Annotated[str, typer.Option("--title", help="What a bundle's card calls it; the folder's name by default.")] = "",
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            parser=metrics,
            metavar="METRIC",
            help="iqm, mean, median, optimality-gap, cvar, iqr; several with commas.",
        ),
    ] = Metric.iqm.value,
    of: Annotated[
        list[str] | None, typer.Option("--of", help="The logged quantity; for --points every one by default. Repeatable there.")
    ] = None,
    by: By = None,
    label: Annotated[list[str] | None, typer.Option("--label", help="OLD=NEW: call a group by another name. Repeatable.")] = None,
    pool: Pool = False,
    score: Annotated[
        str,
        typer.Option("--score", help="final:10%, last, at:STEP, mean, auc; optimistic: best-of-mean-curve, best-per-run."),
    ] = "final:10%",
    at: At = None,
    normalize: Normalize = None,
    merge_versions: Annotated[
        bool, typer.Option("--merge-versions", help="Make the versions of an environment one task, and say so.")
    ] = False,
    frames_per_step: Frames = None,
    level: Annotated[float, typer.Option("--level", help="The intervals' level, between 0 and 1.")] = 0.95,
    resamples: Annotated[int, typer.Option("--resamples", min=100, max=10_000_000, help="Bootstrap resamples.")] = 50_000,
    allow_mixed_kinds: Annotated[
        bool, typer.Option("--allow-mixed-kinds", help="Let kinds of return stand side by side, each label naming its kind.")
    ] = False,
    role: Annotated[
        list[flag.StoredRole] | None,
        typer.Option(
            "--role",
            help="Runs with this role only; otherwise all but reproductions, of which results leave tuning and confirm runs out."
            " Repeatable.",
        ),
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
) -> None:
    """Write results, runs or logged values to a file, or runs to a bundle that others fetch.

    Results have the rows of plot --table, in LaTeX as a booktabs table with intervals; -o FILE.bib writes the sources that they
    rest on. A bundle is Parquet with checksums, lock files and a dataset card, ready for the Hugging Face hub; secrets, home
    folders and names of people and machines are taken out of it, and what was taken out is said. The same runs give the same
    bytes. With --json the table goes to standard output; beside -o or --bundle it is what was written, and of how many runs.
    """
    from openrlb.api.export import check_bundle_flags, export_bundle
    from openrlb.api.export import export as write

    what = _what(results, runs, points)
    check_bundle_flags(what, output, bundle, as_json)
    selected = flag.selection(env, algo, impl, seed, tag, source, where, since, role)
    tell_going_on(talk(ctx))
    if bundle is not None:
        again = bundle.is_dir() and any(bundle.iterdir())  # what is there is a bundle, or export refuses
        done = export_bundle(bundle, selected, license_=license_, title=title, orlb_filters=orlb_filter or ())
        if again:
            talk(ctx).say(f"replaced: {bundle}")
    else:
        from openrlb.api.plot import PlotOptions

        if (what or "results") == "results" and len(of or ()) > 1:
            raise UsageError("--of is given twice", "results are of one quantity", "export each by itself")
        first, *beside = metric.split(",")
        if apart := [name for name in (first, *beside) if Metric(name) not in TOGETHER]:
            names = ", ".join(one.value for one in TOGETHER)
            fix = f"openrlb plot --metric {apart[0]} --table -o FILE.csv writes its numbers"
            raise UsageError(f"--metric {apart[0]} has no result table", f"export takes {names}", fix)
        options = PlotOptions(
            metric=first, beside=tuple(beside), of=of[0] if of else None, label=tuple(label or ()), pool=pool, score=score, at=at,
            by=tuple(key.strip() for word in by or () for key in word.split(",")), normalize=normalize, level=level,
            resamples=resamples, merge_versions=merge_versions, frames_per_step=frames_per_step,
            allow_mixed_kinds=allow_mixed_kinds,
        )  # fmt: skip

        def written(path: Path) -> Exported:
            filters = orlb_filter or ()
            return write(path, what or "results", selected, metrics=tuple(of or ()), options=options, orlb_filters=filters)

        done = _to_standard_output(written) if output is None else written(output)
    _tell(talk(ctx), done, license_)
    if as_json and (output or bundle):
        emit_json(asdict(done))


def _to_standard_output(written: Callable[[Path], Exported]) -> Exported:
    """Writes a table as JSON to standard output, as it would stand in a file."""
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory(prefix="openrlb-") as folder:
        file = Path(folder) / "table.json"
        done = written(file)
        with file.open(encoding="utf-8") as handle:
            shutil.copyfileobj(handle, sys.stdout)
    return replace(done, path="standard output")


def _what(results: bool, runs: bool, points: bool) -> What | None:
    """What a table is of, where it was said.

    Raises:
        UsageError: Several things were said.
    """
    chosen: list[What] = []
    chosen += ["results"] if results else []
    chosen += ["runs"] if runs else []
    chosen += ["points"] if points else []
    if len(chosen) > 1:
        named = " and ".join(f"--{name}" for name in chosen)
        raise UsageError(f"{named} exclude each other", "a file holds one table", "export each to a file of its own")
    return chosen[0] if chosen else None


def _tell(said: Talk, done: Exported, license_: str) -> None:
    """What was written, what was taken out and what is not in it, on standard error."""
    for note in done.notes:
        said.say(f"note: {note}")
    for name, count in done.removed.items():
        said.say(f"taken out: {name} of {count:,} run{'' if count == 1 else 's'}")
    shown = len(done.left_out) if said.verbose else LEFT_OUT_SHOWN
    for run, reason in done.left_out[:shown]:
        said.say(f"left out: {run}: {reason}")
    if len(done.left_out) > shown:
        said.say(f"left out: {len(done.left_out) - shown} more; --json and openrlb -v name all of them")
    if done.what == "bundle":
        if license_ == "unknown":
            said.say(
                "note: its card says that the license is unknown, so that nobody knows what they may do with it: --license ID"
            )
        said.say(f"bundle: {done.path}: {done.runs:,} runs, {done.rows:,} values, {done.bytes / 1e6:,.1f} MB")
        said.say(f"read it back with: openrlb fetch {shlex.quote(done.path)}")
    elif done.what == "sources":
        said.say(f"{done.path}: what the results of {done.runs:,} runs rest on, for BibTeX")
    else:
        said.say(f"{done.path}: {done.rows:,} rows of {done.what}, {done.runs:,} runs")
