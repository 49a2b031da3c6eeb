"""Workers of a study: who may join it, and in which order they begin its runs."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path

import pytest
from fake_runner import fake_runner, item, request, write_runner

from openrlb.api.worker import worker
from openrlb.errors import UsageError
from openrlb.store import Store
from openrlb_hpo.ledger import Ledger, default_url
from openrlb_hpo.records import StudySettings
from openrlb_runners import worker as runs
from openrlb_runners.batch import Batch
from openrlb_runners.locks import lock_digest, lock_files
from openrlb_runners.spec import source_digest, source_files


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"runner_source": "another"}, "runner's source another"),
        ({"lock": "another"}, "lock another"),
        ({"device": "cuda"}, "GPU"),
    ],
)
def test_a_runner_that_is_not_the_studys_is_refused_before_anything_is_built(
    isolation: Path, store: Store, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], told: str
) -> None:
    spec = write_runner(isolation / "runners" / "fake")
    mine = StudySettings(
        "walk", "fake", source_digest(source_files(spec)), lock_digest(lock_files(spec, "any"), spec.python), ("Line-v0",), 50,
        {"name": "n", "algo": "walk", "parameters": {"rate": {"uniform": [0.1, 2.0]}}}, "n", "d",
    )  # fmt: skip
    built: list[str] = []

    def stop(*arguments: object, **more: object) -> None:
        built.append("built")
        raise KeyboardInterrupt

    monkeypatch.setattr("openrlb_runners.environment.build", stop)
    with Ledger(default_url(store.layout.root)) as ledger:
        name = ledger.begin(replace(mine, **changed), 30).name
        plain = ledger.begin(mine, 30).name
    with pytest.raises(UsageError, match="cannot go on here") as refusal:
        worker(name, store=store)
    assert told in f"{refusal.value.why} {refusal.value.fix}" and not built
    with pytest.raises(KeyboardInterrupt):
        worker(plain, store=store)
    assert built


@pytest.mark.parametrize("keeps_order", [True, False])
def test_a_study_waits_for_a_run_that_another_openrlb_trains(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, keeps_order: bool
) -> None:
    """What a study does next hangs on what that run gives; a plain batch goes on beside it."""
    runner = fake_runner(tmp_path / "fake")
    first, second = (item(runner, request(seed=seed, steps=5)) for seed in (1, 2))
    asked: list[str] = []

    def is_elsewhere(self: object, digest: str) -> bool:
        asked.append(digest)
        return digest == first.key.digest and asked.count(digest) <= 3

    monkeypatch.setattr(runs._Worker, "_is_elsewhere", is_elsewhere)
    monkeypatch.setattr(runs, "ELSEWHERE_SECONDS", 0.0)
    source = Batch(deque([first, second]))
    source.keeps_order = keeps_order  # type: ignore[attr-defined]
    begun: list[int] = []

    def note(event: runs.Event) -> None:
        if event.kind == "started" and event.item is not None:
            begun.append(event.item.request.seed)

    runs.work(source, workers=1, store=store, on_event=note)
    assert begun == ([1, 2] if keeps_order else [2, 1])
    assert [outcome.state for _, outcome in source.outcomes] == ["finished", "finished"]
