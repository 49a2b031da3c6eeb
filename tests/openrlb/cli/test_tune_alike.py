"""``openrlb tune`` beside other studies: an unfinished one of other settings is pointed out, an altered one refused."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from typer.testing import Result

from openrlb.store import Store
from openrlb_hpo.ledger import default_url, open_ledger
from openrlb_hpo.records import StudySettings


def test_a_plan_says_what_differs_from_an_unfinished_study_and_an_altered_one_is_refused(
    cli: Callable[..., Result], fake: Path
) -> None:
    Path("space.toml").write_text("[walk]\nrate = { uniform = [0.1, 2.0] }\n")
    words = ("tune", "walk", "--env", "Line-v0", "--steps", 50, "--space", "space.toml", "--budget", 30, "--dry-run")
    planned = json.loads(cli(*words, "--json").stdout)
    settings = StudySettings.from_json(planned["settings"])
    assert settings.name == planned["study"] and not any("finished" in note for note in planned["notes"])
    root = Store().layout.root
    with open_ledger(default_url(root)) as ledger:
        other = ledger.begin(replace(settings, steps=70), 30)
    told = cli(*words)
    assert told.exit_code == 0, told.stderr
    said = " ".join((told.stdout + told.stderr).split())
    assert f"{other.name} is not finished, and differs from this study (--steps: 70 and 50)" in said
    assert f"openrlb worker {other.name} goes on with it" in said
    with open_ledger(default_url(root)) as ledger:
        ledger.begin(settings, 30)
    with closing(sqlite3.connect(root / "hpo.db", isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER openrlb_update_openrlb_studies")
        connection.execute("UPDATE openrlb_studies SET incumbent = 3 WHERE study = ?", (settings.digest,))
    refused = cli(*words)
    assert refused.exit_code == 2 and "breaks its own rules" in refused.stderr and "no such trial" in refused.stderr
    assert cli(*words, "--new-study").exit_code == 0
