"""The pauses of a resumed run are no wall time: what is taken out of the clock, and what is not."""

from __future__ import annotations

import json
from array import array
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import load, metrics

from openrlb.sources.pauses import SHORTEST, pauses_of
from openrlb.sources.tensorboard_log import Events, joined

LENGTHS = st.lists(st.floats(SHORTEST, 1e6), max_size=5)


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 20), st.randoms(use_true_random=False))
def test_sessions_with_pauses_read_as_one_run_without_them(gaps: list[float], each: int, random: object) -> None:
    """A run of one value a second, cut into sessions that begin half a second before their first value."""
    whole, real, now = [], [], 0.0
    sessions = [0.0]
    for number, gap in enumerate([0.0, *gaps]):
        now += gap
        if number:
            sessions.append(now)
        for _ in range(each):
            now += 1.0
            whole.append(now)
            real.append(now - sum(gaps[:number]))
    shuffled = np.random.default_rng(0).permutation(whole)
    found = pauses_of(shuffled, sessions)
    assert found.lengths == pytest.approx(gaps)
    assert found.without(np.array(whole)) == pytest.approx(real, abs=1e-6 * max(now, 1.0))
    assert len(found.note()) == bool(gaps)


def test_what_runs_in_parallel_or_goes_on_at_once_is_no_pause() -> None:
    times = np.arange(0.0, 1000.0, 10.0)
    for sessions in ([0.0, 500.0], [0.0, 999.0], [-5.0], [2000.0]):
        assert pauses_of(times, sessions).ends == ()


def test_a_session_without_a_value_is_part_of_the_pause() -> None:
    found = pauses_of(np.array([10.0, 5000.0]), [0.0, 1000.0, 4990.0])
    assert (found.ends, found.lengths) == ((4990.0,), (4980.0,))


def test_tensorboard_files_of_a_resumed_run() -> None:
    def events(start: float, steps: list[int]) -> Events:
        seconds = array("d", [start + 10.0 * (at + 1) for at in range(len(steps))])
        return Events(tags={"r": (array("q", steps), array("d", [1.0] * len(steps)), seconds)}, started=start)

    whole = joined([events(100_000.0, [3, 4]), events(0.0, [1, 2])])
    assert list(whole.tags["r"][0]) == [1, 2, 3, 4] and list(whole.tags["r"][2]) == [10.0, 20.0, 30.0, 40.0]
    assert whole.notes == ["resumed: a pause of 27.8 hours between its sessions is not counted in its times"]


def test_a_monitor_file_that_a_second_session_went_on_with(tmp_path: Path) -> None:
    headers = [f"#{json.dumps({'t_start': start, 'env_id': 'Hopper-v4'})}\n" for start in (1000.0, 9000.0)]
    folder = tmp_path / "ppo-Hopper-v4"
    folder.mkdir()
    text = f"{headers[0]}r,l,t\n1,10,5.0\n2,10,20.0\n{headers[1]}3,10,4.0\n"
    (folder / "0.monitor.csv").write_text(text, encoding="utf-8")
    (run,), _, _ = load(tmp_path)
    found = metrics(run)["r"]
    assert found.steps.tolist() == [10, 20, 30]
    assert found.times_ms is not None and found.times_ms.tolist() == [5000, 20_000, 24_000]
    assert any("a pause of 2.22 hours" in note for note in run.run.notes)
