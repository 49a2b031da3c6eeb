"""The core's dependencies work together, and nothing heavier is among them."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIRED = {"typer", "wandb", "pandas", "polars", "rliable", "optuna", "plotly", "duckdb"}


def core() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {re.split(r"[<>=!~\[; ]", line)[0]: line for line in project["dependencies"]}


def test_rliable_imports_and_computes_with_the_pinned_pandas_and_arch() -> None:
    code = """
import warnings; warnings.simplefilter("ignore")
import numpy as np
from rliable import library, metrics
scores = np.random.default_rng(0).normal(size=(5, 3))
points, intervals = library.get_interval_estimates({"a": scores}, lambda x: np.array([metrics.aggregate_iqm(x)]), reps=50)
assert intervals["a"].shape == (2, 1)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_required_packages_are_in_the_core_and_torch_is_not() -> None:
    names = set(core())
    assert names >= REQUIRED
    assert "torch" not in names
    for name in names:
        assert importlib.metadata.version(name)


def test_bounds_keep_out_what_breaks_rliable() -> None:
    assert "<3" in core()["pandas"]
    assert "<8" in core()["arch"]


def test_import_openrlb_is_light_and_every_public_name_resolves() -> None:
    code = """
import sys, openrlb
heavy = set("torch wandb pandas polars optuna plotly duckdb scipy matplotlib rliable pyarrow numpy typer".split())
assert not heavy & set(sys.modules), heavy & set(sys.modules)
for name in openrlb.__all__:
    assert getattr(openrlb, name) is not None
assert set(openrlb.__all__) <= set(dir(openrlb))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
