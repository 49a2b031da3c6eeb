"""A report of 300 noisy runs: small enough to be sent, every number in it, and usable in a real browser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from browser import opened_browser
from reported import packed

import openrlb
from openrlb.api.report import report
from openrlb.store import Store
from openrlb.types import Metric, MetricBatch, Run, RunBatch

pytestmark = pytest.mark.stress

ALGORITHMS, ENVIRONMENTS, SEEDS, POINTS = 10, 10, 3, 1000
METRICS = (
    Metric("charts/episodic_return", "episode", "episodic_return"),
    Metric("losses/value_loss"),
    *(Metric(f"system.{name}", "system") for name in ("cpu", "gpu", "memory")),
)


def noisy(store: Store) -> None:
    """300 runs, five noisy metrics of 1,000 points each, steps that no two runs share, and 60 parameters."""
    rng, batches = np.random.default_rng(0), []
    for number in range(ALGORITHMS * ENVIRONMENTS * SEEDS):
        steps = np.sort(np.arange(1, POINTS + 1, dtype=np.int64) * 1000 + rng.integers(0, 900, POINTS))
        algo, env, seed = number % 10, number // 10 % 10, number // 100
        logged = tuple(MetricBatch(one, steps, np.cumsum(rng.normal(size=POINTS)) + 5 * algo, steps * 3) for one in METRICS)
        about = Run(
            "openrlb", rng.bytes(8).hex(), "project", f"run {number}", f"algo{algo}", f"Env{env}-v1", seed=seed, state="finished",
            step_unit="agent_step", config={f"key_{key}": key * 0.1 for key in range(60)}, git_commit=rng.bytes(20).hex(),
            hardware={"cpu": "a processor", "number": number}, tags=(f"tag {number}",),
            created=f"2026-01-01T00:00:{number % 60:02d}+00:00",
        )  # fmt: skip
        batches.append(RunBatch(about, logged, {}))
    store.write(batches)
    store.fold()


def test_a_report_of_300_noisy_runs_is_under_7_mb_whole_and_alive_in_a_browser(tmp_path: Path) -> None:
    noisy(Store())
    page = tmp_path / "report.html"
    answer = report(options=openrlb.PlotOptions(resamples=200), output=page)
    assert answer.counted == 300 and answer.size == page.stat().st_size < 7_000_000
    saved = packed(page.read_text(encoding="utf-8"), "learning-curves-by-agent-step-numbers-0")
    assert len(saved["x"]) == len(saved["value"]) > 100 * 60, "a hundred curves, every position of them"
    with opened_browser(tmp_path / "profile") as browser:
        browser.open(page)
        assert browser.value("document.querySelectorAll('.plot .main-svg').length") >= 7
        browser.value("location.hash = document.querySelectorAll('a[href^=\"#run=\"]')[137].hash")
        browser.until("document.querySelector('#detail .main-svg')")
        browser.value("document.querySelector('.filters input').value = 'algo3 env7'")
        browser.value("document.querySelector('.filters').dispatchEvent(new Event('input'))")
        assert browser.value("document.querySelector('.filters output').textContent") == "3 of 300 rows"
        browser.value(
            "window.saved = new Promise((done) => {"
            "URL.createObjectURL = (blob) => { blob.text().then(done); return 'data:,'; }; });"
            "document.querySelector('#learning-curves-by-agent-step [data-as=json]').click()"
        )
        assert browser.value("window.saved.then((text) => JSON.parse(text).length)") == len(saved["x"])
        assert browser.said == [] and {address.split("#")[0] for address in browser.asked} == {page.as_uri()}
