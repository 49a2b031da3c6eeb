"""``openrlb.api.worker``: who may join a study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_runner import write_runner

from openrlb.api.worker import worker
from openrlb.errors import UsageError
from openrlb.store import Store
from openrlb_hpo.ledger import Ledger, default_url
from openrlb_hpo.records import StudySettings
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
