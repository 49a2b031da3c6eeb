"""The coverage study: its fast paths are the shipped code, its truths are true, and the default covers in a small run."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from openrlb_analysis.aggregates import AGGREGATES
from openrlb_analysis.bootstrap import Draws
from openrlb_analysis.calibration import contributions
from openrlb_analysis.intervals import METHODS, interval_method, interval_of

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def study() -> Iterator[ModuleType]:
    """benchmarks/coverage.py, under a name of its own: a package is called coverage too."""
    sys.path.insert(0, str(FOLDER))
    spec = importlib.util.spec_from_file_location("openrlb_coverage_study", FOLDER / "coverage.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.populations_module = sys.modules["coverage_populations"]
    module.populations_module.POOL = 100_000
    yield module
    sys.path.remove(str(FOLDER))
    for name in (spec.name, "coverage_populations", "coverage_report"):
        sys.modules.pop(name, None)


def groups(study: ModuleType, population: str, tasks: int, layout: str, seeds: str, resamples: int = 60) -> tuple:
    generator = np.random.default_rng(1)
    known, _ = study.populations(None)
    one, other = known[population].arrange(tasks, layout, generator)
    sizes = [study.sizes_of(seeds, tasks, second) for second in (False, True)]
    return tuple(study.simulate(at, size, resamples, generator) for at, size in zip((one, other), sizes, strict=True))


@pytest.mark.parametrize("name", AGGREGATES)
@pytest.mark.parametrize("seeds", ["5", "3|10"])
def test_all_simulations_at_once_are_the_shipped_intervals(study: ModuleType, name: str, seeds: str) -> None:
    group, _ = groups(study, "gamma, skewness 1.4", 6, "spread", seeds)
    _, found = study.STATISTICS[name](group, group)
    for index in (0, 17, 99):
        tasks = [group.scores[index, part] for part in group.slices()]
        flat = np.concatenate(tasks)
        draws = np.array([AGGREGATES[name]([flat[row[part]] for part in group.slices()]) for row in group.drawn])
        parts = np.split(contributions(name, flat, group.sizes), np.cumsum(group.sizes)[:-1])
        for method in METHODS:
            ends = interval_of(AGGREGATES[name](tasks), Draws(draws), parts, interval_method(method, 0.95, 60, 0))
            if (name, method) == ("optimality-gap", "calibrated"):
                ends = (max(ends[0], 0.0), ends[1])
            assert (found[method][0][index], found[method][1][index]) == pytest.approx(ends, abs=1e-9), method


@pytest.mark.parametrize("population", ["normal", "log-normal, skewness 1.75", "one run in ten fails"])
def test_truths_are_those_of_a_large_sample(study: ModuleType, population: str) -> None:
    known, _ = study.populations(None)
    one, other = known[population].arrange(6, "spread", np.random.default_rng(2))
    generator = np.random.default_rng(3)
    scores, theirs = (
        [part.reshape(-1) for part in np.split(at.sample((1,) * 6, 200_000, generator).T, 6)] for at in (one, other)
    )
    for name, function in AGGREGATES.items():
        assert one.truth(name) == pytest.approx(function(scores), abs=0.004), name
    assert one.share_above(0.9) == pytest.approx(np.mean([(part > 0.9).mean() for part in scores]), abs=0.003)
    shifts = np.full(6, 0.1)
    wins = np.mean([(mine > rival + 0.1).mean() for mine, rival in zip(scores, theirs, strict=True)])
    assert one.improvement(other, shifts) == pytest.approx(wins, abs=0.003)


def test_real_populations_are_the_published_scores(study: ModuleType, shared_data: Path) -> None:
    known, missing = study.populations(shared_data)
    assert missing == []
    one, other = known["Atari 100k: SPR, DER"].arrange(26, "spread", np.random.default_rng(0))
    assert one.truth("iqm") == pytest.approx(0.336649, abs=1e-6)
    assert one.truth("median") == pytest.approx(0.39562938291779215)
    assert one.truth("optimality-gap") == pytest.approx(0.577302, abs=1e-6)
    assert one.improvement(other, np.zeros(26)) == pytest.approx(0.6858, abs=1e-4)


@pytest.mark.parametrize(("population", "lowest"), [("normal", 93.0), ("gamma, skewness 1.4", 90.5), ("Student's t3", 93.0)])
def test_the_default_covers_where_the_percentile_interval_does_not(study: ModuleType, population: str, lowest: float) -> None:
    """3 seeds of one environment, 2,000 studies: two standard errors are 1 point."""
    known, _ = study.populations(None)
    cells = [study.Cell(name, population, 1, "alone", "3") for name in ("mean", "iqm", "mean difference")]
    for record in study.run_cells(known[population], cells, 2_000, 200, 0):
        covered = {
            name: 100 - 100 * (tally["below"] + tally["above"]) / record["simulations"]
            for name, tally in record["methods"].items()
        }
        assert lowest < covered["calibrated"] < 99 and covered["percentile"] < 82, record["statistic"]
        assert record["methods"]["calibrated"]["width"] < 1.5 * record["methods"]["t"]["width"]


def test_a_study_goes_on_where_it_stopped(
    study: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "coverage.py",
        "--results",
        str(tmp_path / "r.jsonl"),
        "--simulations",
        "100",
        "--resamples",
        "50",
        "--only",
        "normal/1/",
    ]
    monkeypatch.setattr(sys, "argv", [*words, "--report", str(tmp_path / "coverage.md")])
    study.main()
    first = (tmp_path / "r.jsonl").read_text()
    said = capsys.readouterr().out
    assert "no cells of Atari 100k" in said and "normal/1/alone/3: 9 cells" in said
    lines = first.splitlines()
    (tmp_path / "r.jsonl").write_text("\n".join(line for line in lines if json.loads(line)["statistic"] != "mean") + "\n")
    study.main()
    again = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    seconds = {"seconds": 0}
    before = sorted(json.dumps(json.loads(line) | seconds) for line in lines)
    assert sorted(json.dumps(record | seconds) for record in again) == before
    assert "1 cells" in capsys.readouterr().out
    report = (tmp_path / "coverage.md").read_text()
    assert "## The methods" in report and "| calibrated |" in report and "3\\|10 x 1" in report
