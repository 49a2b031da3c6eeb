"""W&B answering in another schema than its client knows: runs come whole, or the failure is named; never a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from stressed import CODES
from typer.testing import Result
from wandb_fixtures import rows, server, service, wandb_run
from wandb_server import Fault, WandbServer

from openrlb.store import Store

__all__ = ["server", "service"]
NAMES = ("node", "config", "historyKeys", "historyLineCount", "name", "tags", "createdAt", "heartbeatAt", "commit")


@pytest.mark.parametrize("name", NAMES)
def test_a_listing_that_lacks_a_field(service: WandbServer, cli: Callable[..., Result], name: str) -> None:
    service.projects["openrlbenchmark/cleanrl"] = [wandb_run(f"r{number}", seed=number, live=rows(20)) for number in range(2)]
    service.faults.append(Fault("Runs", rename=name))
    done = cli("fetch", "cleanrl")
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    assert done.exit_code in (0, *CODES), done.output
    assert not done.exit_code or "error: " in done.stderr
    assert "widen it" not in done.stderr
    if Store().exists:
        assert all(count == 20 for _, count in Store().query("SELECT run, count(*) FROM points GROUP BY run").rows)
    service.faults.clear()
    again = cli("fetch", "cleanrl")
    assert again.exit_code == 0, again.output
    assert Store().query("SELECT run, count(*) FROM points GROUP BY run ORDER BY run").rows == [("r0", 20), ("r1", 20)]


def test_one_run_told_in_another_shape_is_named_and_the_others_come(
    service: WandbServer, cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [wandb_run(f"r{number}", seed=number, live=rows(20)) for number in range(3)]
    service.projects["openrlbenchmark/cleanrl"] = runs
    whole = runs[1].node
    monkeypatch.setattr(runs[1], "node", lambda project: {key: value for key, value in whole(project).items() if key != "tags"})
    done = cli("fetch", "cleanrl")
    assert done.exit_code == 0 and "2 new, 0 changed, 0 unchanged, 1 run damaged" in done.stderr, done.output
    assert "cleanrl/r1: " in done.stderr and "W&B's record of it could not be understood" in done.stderr
    assert [row[0] for row in Store().query("SELECT DISTINCT run FROM points ORDER BY run").rows] == ["r0", "r2"]


def test_a_run_told_in_another_shape_does_not_hide_that_others_are_missing(
    service: WandbServer, cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run that was listed counts once, understood or not: of three W&B gives two here."""
    runs = [wandb_run(f"r{number}", seed=number, live=rows(20)) for number in range(2)]
    service.projects["openrlbenchmark/cleanrl"] = runs
    whole, answer = runs[1].node, service.answer
    monkeypatch.setattr(runs[1], "node", lambda project: {key: value for key, value in whole(project).items() if key != "tags"})
    monkeypatch.setattr(
        service, "answer", lambda *request: json.loads(json.dumps(answer(*request)).replace('"runCount": 2', '"runCount": 3'))
    )
    done = cli("fetch", "cleanrl")
    assert done.exit_code == 0 and "cleanrl/r1: " in done.stderr, done.output
    assert "W&B counts 3 runs that fit and listed 2" in done.stderr
