"""``openrlb list``."""

from __future__ import annotations

import typer

from openrlb.cli import options as flag
from openrlb.cli.app import app, talk
from openrlb.cli.going_on import tell_going_on
from openrlb.cli.render import chosen_format, emit_rows

SHOWN = ("run", "algo", "impl", "env", "seed", "state", "steps", "variant", "project")


@app.command("list", epilog="Example: openrlb list --env Hopper --algo ppo --json")
def list_(
    ctx: typer.Context,
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
    """List the runs in the store."""
    from openrlb.api.list import list_runs

    tell_going_on(talk(ctx))
    rows = list_runs(flag.selection(env, algo, impl, seed, tag, source, where, since), orlb_filters=orlb_filter or ())
    chosen = chosen_format(as_json, format_, output)
    columns = SHOWN if chosen is flag.Format.table else tuple(rows[0].columns)
    emit_rows([row.columns for row in rows], columns, chosen, output)
