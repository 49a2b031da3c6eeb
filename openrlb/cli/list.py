"""``openrlb list``."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openrlb.cli import options as flag
from openrlb.cli.app import Talk, app, talk
from openrlb.cli.going_on import tell_going_on
from openrlb.cli.render import GAP, chosen_format, emit_rows, shown, text
from openrlb.cli.sparkline import can_draw, sparkline

if TYPE_CHECKING:
    from openrlb.api.list import RunList

ALWAYS = ("run", "algo", "env", "seed", "steps")
"""Columns of every table."""
IN_TURN = ("score", "role", "curve", "state", "impl", "variant", "project")
"""Further columns, as many as there is room for; one that says the same of every run is told in a sentence."""
ORDER = ("run", "algo", "impl", "env", "seed", "role", "state", "steps", "score", "curve", "variant", "project")
CURVE_WIDTHS = (8, 16)
"""The narrowest curve that says something, and the widest one."""
SAID = ("role", "state", "impl", "variant", "project")

Sort = Annotated[
    list[str] | None,
    typer.Option(
        "--sort",
        metavar="KEY[,-KEY]",
        help="Sort by columns, score or config.X; -KEY the other way round. Without a value comes last. Repeatable.",
    ),
]
GroupBy = Annotated[
    list[str] | None,
    typer.Option(
        "--group-by",
        metavar="KEY[,KEY]",
        help="Count runs, seeds and environments, and average the scores (final:10%), by columns or config.X. Repeatable.",
    ),
]
Curve = Annotated[
    bool | None,
    typer.Option("--curve/--no-curve", help="A curve for each run; on a terminal by default, where there is room."),
]


@app.command(
    "list", epilog="Examples: openrlb list --env Hopper --sort=-score   |   openrlb list --group-by algo,env   |   ... --since 2d"
)
def list_(
    ctx: typer.Context,
    sort: Sort = None,
    group_by: GroupBy = None,
    curve: Curve = None,
    env: flag.Env = None,
    algo: flag.Algo = None,
    impl: flag.Impl = None,
    seed: flag.Seed = None,
    tag: flag.Tag = None,
    source: flag.From = None,
    where: flag.Where = None,
    since: flag.Since = None,
    role: flag.Roles = None,
    orlb_filter: flag.OrlbFilter = None,
    as_json: flag.Json = False,
    format_: flag.As = None,
    output: flag.Output = None,
) -> None:
    """List the runs in the store, or count them in groups.

    Reproductions are left out unless --role names them, and counted on standard error.

    A score is the mean of the last tenth of a run's own steps, of one kind of return: a first look. It has no common cut and
    no interval; those are plot's and compare's. Secrets, e-mail addresses and home folders are not printed; openrlb query prints
    them.
    """
    from openrlb.api.list import list_runs
    from openrlb.api.sorting import words_of

    tell_going_on(talk(ctx))
    selected = flag.selection(env, algo, impl, seed, tag, source, where, since, role)
    runs = list_runs(selected, sort=() if group_by else sort or (), orlb_filters=orlb_filter or ())
    if runs.left_out:
        talk(ctx).say(runs.left_out)
    chosen = chosen_format(as_json, format_, output)
    on_screen = chosen is flag.Format.table and output is None
    if group_by:
        _groups(runs, group_by, sort or (), chosen, output, talk(ctx))
        return
    drawn = can_draw() and bool(curve or (on_screen and curve is None))
    rows, metrics = _with_scores(runs, drawn)
    columns = (*rows[0],) if drawn else tuple(name for name in rows[0] if name != "curve")
    if on_screen:
        columns = _telling(rows, drawn, talk(ctx))
    elif drawn:
        rows = [{**row, "curve": sparkline(row["curve"], CURVE_WIDTHS[1])} for row in rows]
    if "score" in columns and metrics and (on_screen or "score" in [word.lstrip("-") for word in words_of(sort or ())]):
        talk(ctx).say(_score_words(metrics))
    emit_rows([{name: row[name] for name in columns} for row in rows], columns, chosen, output)


def _with_scores(runs: RunList, drawn: bool) -> tuple[list[dict[str, Any]], set[str]]:
    """The rows with each run's score and the coarse means of its curve, and what these are of."""
    from openrlb.api.list import score_columns
    from openrlb.scrubbing import scrubbed_rows

    rows: list[dict[str, Any]] = []
    metrics: set[str] = set()
    for run, logged in runs.scored(bins=drawn):
        metrics |= {f"{logged.metric.name} ({logged.metric.kind})"} if logged else set()
        rows.append({**run.columns, **score_columns(logged), "curve": logged.bins if logged else ()})
    return scrubbed_rows(rows), metrics


def _score_words(metrics: set[str]) -> str:
    """What scores are."""
    from openrlb.api.run_scores import RULE

    return f"score: {RULE}, of {', '.join(sorted(metrics))}"


def _telling(rows: list[dict[str, Any]], drawn: bool, said: Talk) -> tuple[str, ...]:
    """The columns that tell runs apart and fit the terminal; what is the same for every run is said in a sentence.

    Curves become lines of bars, as wide as there is room for.
    """
    same = {name: text(rows[0][name]) for name in SAID if len(rows) > 1 and len({text(row[name]) for row in rows}) == 1}
    if told := [f"{name} {value}" for name, value in same.items() if value and (name, value) != ("role", "none")]:
        said.say(f"every run: {', '.join(told)}")
    width = shutil.get_terminal_size().columns
    columns: list[str] = list(ALWAYS)
    left: list[str] = []
    for name in IN_TURN:
        says_nothing = not any(row.get(name) not in (None, "", (), "none" if name == "role" else None) for row in rows)
        if name in same or says_nothing or (name == "curve" and not drawn):
            continue
        if name == "curve":
            room = min(CURVE_WIDTHS[1], width - _width(rows, columns) - GAP)
            for row in rows:
                row[name] = sparkline(row[name], max(room, CURVE_WIDTHS[0]))
        (columns if _width(rows, [*columns, name]) <= width else left).append(name)
    if left:
        said.say(f"no room for {', '.join(left)}: widen the terminal, or use --json")
    return tuple(name for name in ORDER if name in columns)


def _width(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> int:
    """How wide a table is in which nothing is folded."""
    cells = [max(len(name), *(len(shown(row.get(name))) for row in rows)) for name in columns]
    return sum(cells) + GAP * (len(cells) - 1)


def _groups(runs: RunList, by: Sequence[str], sort: Sequence[str], chosen: flag.Format, output: flag.Output, said: Talk) -> None:
    """Writes groups of runs, and says what their score is and what is not in it."""
    from openrlb.api.run_groups import group_runs
    from openrlb.scrubbing import scrubbed_rows

    groups = group_runs(runs, by, sort=sort)
    rows = scrubbed_rows(groups.records())
    columns = tuple(rows[0])
    if chosen is flag.Format.table and output is None:
        columns = (*groups[0].by, *("runs", "seeds", "envs", "score", "scored"))
        columns = tuple(name for name in dict.fromkeys(columns) if name != "envs" or "env" not in groups[0].by)
    emit_rows(rows, columns, chosen, output)
    metrics = {f"{group.metric} ({group.kind})" for group in groups if group.kind}
    if metrics:
        said.say(f"{_score_words(metrics)}; mean over the scored runs. Intervals and a common cut: openrlb plot --table")
    left: dict[str, int] = {}
    for group in groups:
        for why, count in group.left_out.items():
            left[why] = left.get(why, 0) + count
    if left:
        said.say(f"not in a score: {', '.join(f'{count} {why}' for why, count in left.items())}")
