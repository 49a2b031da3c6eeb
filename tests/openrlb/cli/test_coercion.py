"""Values of flags: what openrlb converts itself, without pydantic, is what typer makes of it, and so are the errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer._coercion import build_runtime_param

from openrlb.cli.app import app, verbs
from openrlb.cli.coercion import LightParam
from openrlb.errors import OpenrlbError

WORDS = ("", "a", "iqm", "calibrated", "CALIBRATED", "table", "1", "-3", "0.5", "true", " 7 ", "a\0b", "/", "no/such", "é", "1e3")


def flags() -> list[tuple[str, Any]]:
    """Every flag and argument of every verb."""
    every = verbs(typer.main.get_command(app))
    return [(verb, one) for verb, command in every for one in command.params if hasattr(one, "type_descriptor")]


def converted(convert: Any, value: object, flag: Any, context: Any) -> tuple[str, object]:
    """What a conversion gives, or says."""
    try:
        found = convert.coerce(value, param=flag, ctx=context)
    except (typer.BadParameter, OpenrlbError) as error:
        return type(error).__name__, str(error)
    return type(found).__name__, repr(found)


def test_every_flag_takes_and_refuses_what_typer_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    context = typer.Context(typer.main.get_command(app))
    seen = 0
    for verb, flag in flags():
        own, typers = flag._runtime_param, build_runtime_param(flag.type_descriptor)
        assert isinstance(own, LightParam), (verb, flag.name)
        several = flag.multiple or flag.nargs == -1
        for word in (None, flag.default if flag.default is None or not callable(flag.default) else None, *WORDS):
            value = [word, "b"] if several and isinstance(word, str) else word
            told = converted(typers, value, flag, context)
            assert converted(own, value, flag, context) == told, (verb, flag.name, value)
            seen += 1
    assert seen > 3000


def test_a_verb_imports_no_other_verb_and_no_pydantic() -> None:
    code = """
import sys
from openrlb.cli.app import app
for words in (["plot", "--recipe", "list"], ["list", "--env", "Hopper", "-o", "runs.csv"]):
    try:
        app(words)
    except SystemExit:
        pass
print(*sorted(name for name in sys.modules if name.startswith("openrlb.cli.") or name == "pydantic"), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stderr.splitlines()[-1].split()
    assert "openrlb.cli.plot" in loaded
    assert "openrlb.cli.list" in loaded
    assert {"pydantic", "openrlb.cli.fetch", "openrlb.cli.tune", "openrlb.cli.run"}.isdisjoint(loaded)
