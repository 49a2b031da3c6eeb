"""``openrlb doctor``."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from openrlb.cli import options as flag
from openrlb.cli.app import app, talk
from openrlb.cli.render import chosen_format, emit_json, emit_rows
from openrlb.errors import OpenrlbError
from openrlb.types import Finding

if TYPE_CHECKING:
    from openrlb.api.doctor import Diagnosis


@app.command(epilog="Example: openrlb doctor --rebuild")
def doctor(
    ctx: typer.Context,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make the catalog again from the store's Parquet files.")] = False,
    as_json: flag.Json = False,
    format_: flag.As = None,
    output: flag.Output = None,
) -> None:
    """Look at versions, places, the machine, the runners and the store's health; each problem comes with its fix.

    Ends with 0 where all is well and with 1 where something is wrong. That there is no W&B key, no browser or no runner
    environment yet is no problem. A key's value is never read out.
    """
    from openrlb.api.doctor import doctor as look

    diagnosis = _with_settings(look(rebuild=rebuild), talk(ctx).misread)
    chosen = chosen_format(as_json, format_, output)
    rows = [{**asdict(finding), "ok": "ok" if finding.ok else "PROBLEM"} for finding in diagnosis.findings]
    if chosen is flag.Format.json:
        found = [asdict(finding) for finding in diagnosis.findings]
        emit_json({"ok": diagnosis.ok, "rebuilt": diagnosis.rebuilt, "findings": found}, output)
    else:
        on_screen = chosen is flag.Format.table and output is None
        emit_rows(
            rows, ("ok", "what", "detail") if diagnosis.ok and on_screen else ("ok", "what", "detail", "fix"), chosen, output
        )
    if not diagnosis.ok:
        talk(ctx).say(f"{diagnosis.headline()}; the fix column says what to do")
        raise typer.Exit(1)


def _with_settings(diagnosis: Diagnosis, misread: OpenrlbError | None) -> Diagnosis:
    """The findings with what only the command line knows: that a settings file names no verb, or no option of it."""
    if misread is None:
        return diagnosis
    told = Finding("settings", False, f"{misread.what}: {misread.why}", misread.fix)
    return replace(diagnosis, findings=tuple(told if one.what == "settings" else one for one in diagnosis.findings))
