"""``openrlb query``."""

from __future__ import annotations

from itertools import chain, count
from typing import Annotated

import typer

from openrlb.cli import options as flag
from openrlb.cli.app import app
from openrlb.cli.render import chosen_format, emit_rows

VIEWS = """\
Views: runs (the columns of list --json, and config), points(run, project, algo, impl, env, seed, metric, kind, step,
time_s, value), params(run, key, value, number), scores(run, metric, rule, step, value), trials(study, number, state,
value, params). Example: openrlb query "SELECT env, count(*) FROM runs GROUP BY env" """


@app.command(epilog=VIEWS)
def query(
    sql: Annotated[str, typer.Argument(help="One SELECT, in DuckDB's dialect.")],
    as_json: flag.Json = False,
    format_: flag.As = None,
    output: flag.Output = None,
) -> None:
    """Ask the store in SQL; read-only, and nothing but the store can be read."""
    from openrlb.api.query import query as ask

    answer = ask(sql)
    names: list[str] = []
    for name in answer.columns:
        taken = {*answer.columns, *names} if name in names else set(names)
        names.append(next(one for one in chain([name], (f"{name}_{number}" for number in count(1))) if one not in taken))
    rows = [dict(zip(names, row, strict=True)) for row in answer.rows]
    emit_rows(rows, names, chosen_format(as_json, format_, output), output)
