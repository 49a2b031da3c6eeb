"""The notebook of the documentation runs in a real kernel, and shows what is committed with it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
NOTEBOOK = ROOT / "docs" / "first-look.ipynb"
LARGEST = 500_000  # bytes; a notebook is read on a web page

EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": "."}}).execute()
for cell in notebook.cells:
    cell.metadata.pop("execution", None)
notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
nbformat.validate(notebook)
nbformat.write(notebook, sys.argv[2])
"""


def executed(home: Path) -> dict[str, Any]:
    """The notebook as a fresh kernel leaves it; with UPDATE_NOTEBOOK=1 it is also what the repository holds."""
    places = {
        name: str(home / name.lower()) for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")
    }
    out = home / "executed.ipynb"
    variables = {**os.environ, **places, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(NOTEBOOK), str(out)], env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def outputs(notebook: dict[str, Any]) -> list[tuple[str, str]]:
    """The source of each code cell, and our results in it as text.

    Frames are printed by polars and pandas, and what a table says beside its numbers may change without another result.
    """
    found = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            bundles = [output["data"] for output in cell["outputs"] if "".join(output["data"]["text/plain"]).startswith("<")]
            plain = "".join("".join(bundle.get("text/plain", "")) for bundle in bundles)
            found.append(("".join(cell["source"]), plain))
    return found


def test_it_runs_in_a_kernel_and_shows_what_is_committed(isolation: Path) -> None:
    committed, now = json.loads(NOTEBOOK.read_text()), executed(isolation)
    if os.environ.get("UPDATE_NOTEBOOK"):
        NOTEBOOK.write_text(json.dumps(now, indent=1, ensure_ascii=False) + "\n")
        committed = now
    assert not [
        output for cell in now["cells"] for output in cell.get("outputs", []) if output["output_type"] != "execute_result"
    ]
    for before, after in zip(outputs(committed), outputs(now), strict=True):
        assert before == after, f"{before[0]}\nUPDATE_NOTEBOOK=1 pytest {Path(__file__).name} writes it anew"
    assert (
        sum("<img " in "".join(one["data"].get("text/html", "")) for cell in now["cells"] for one in cell.get("outputs", [])) == 1
    )


def test_it_is_small_and_says_nothing_of_the_machine_it_was_run_on() -> None:
    text = NOTEBOOK.read_text()
    assert len(text) < LARGEST
    assert not re.search(r"/home/|/root/|/tmp/|Traceback", text)
    assert all(cell["execution_count"] for cell in json.loads(text)["cells"] if cell["cell_type"] == "code")
