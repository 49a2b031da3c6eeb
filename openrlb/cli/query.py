"""``openrlb query``."""

from __future__ import annotations

from typing import Annotated

import typer

from openrlb.cli import options as flag
from openrlb.cli.app import app
from openrlb.cli.render import chosen_format, emit_rows

VIEWS = """\
Views: runs (the columns of list --json but the scores, and config), points(run, project, algo, impl, env, seed, metric, kind,
step, time_s, value), params(run, key, value, number), scores(run, metric, rule, step, value), trials(study, number, state,
value, params), studies(study, algo, env, config), requirements(hash, packages).
Example: openrlb query "SELECT env, count(*) FROM runs GROUP BY env" """


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
    emit_rows(answer.records(), answer.names, chosen_format(as_json, format_, output), output)
