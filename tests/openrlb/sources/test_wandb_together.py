"""What is asked of several W&B runs at once: the same runs come as when each is asked for by itself, with fewer requests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from wandb_fixtures import METADATA, QUERY, fetch, rows, server, service, wandb_run
from wandb_server import TOGETHER, Fault, WandbServer

from openrlb.sources.wandb import plan, read, together
from openrlb.store import content_digest
from openrlb.types import RunBatch, Skipped

__all__ = ["server", "service"]
SINGLE = ("RunParquetHistory", "RunFiles")


def runs(count: int) -> list[Any]:
    """Live runs, exported ones and runs that are both, with the same requirements and metadata of their own."""
    found = []
    for number in range(count):
        table = rows(30, scale=number + 1)
        history = [{"live": table}, {"exported": [table]}, {"exported": [table[:20]], "live": table[20:]}][number % 3]
        files = {"requirements.txt": b"torch==2.4.1\n", "wandb-metadata.json": METADATA.replace(b"c0ffee", b"c%d" % number)}
        found.append(wandb_run(f"r{number:02d}", seed=number, files=files, **history))
    return found


def digests(found: dict[str, RunBatch | Skipped]) -> dict[str, str]:
    """What came, run by run."""
    assert all(isinstance(item, RunBatch) for item in found.values()), found
    return {name: content_digest(item) for name, item in found.items() if isinstance(item, RunBatch)}


def test_the_same_runs_come_with_fewer_requests(service: WandbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    service.projects["lab/runs"] = runs(30)
    at_once = digests(fetch())
    assert service.counts[TOGETHER] == 2 and service.counts["RunFiles"] == 0
    assert service.counts["RunParquetHistory"] == 20 and service.counts["HistoryPage"] == 20  # two thirds each
    assert 31 <= service.counts["file"] <= 30 + 17  # each metadata once; requirements once, and by those that began together
    service.counts.clear()
    monkeypatch.setattr(together, "RUNS_TOGETHER", 1)
    monkeypatch.setattr(together, "_told", lambda run: None)
    assert digests(fetch()) == at_once
    assert service.counts["RunFiles"] == 30 and service.counts["RunParquetHistory"] == 30


@pytest.mark.parametrize(
    "fault", [Fault(TOGETHER, status=400), Fault(TOGETHER, status=502), Fault(TOGETHER, body=b'{"data": 7}')]
)
def test_a_service_that_does_not_answer_it_is_asked_run_by_run(service: WandbServer, fault: Fault) -> None:
    service.projects["lab/runs"] = runs(30)
    expected = digests(fetch())
    service.counts.clear()
    service.faults.append(fault)
    assert digests(fetch()) == expected
    assert all(service.counts[operation] == 30 for operation in SINGLE)
    assert service.counts[TOGETHER] <= 4


def test_rows_that_are_counted_and_lie_nowhere_are_asked_for_by_wandb_itself(
    service: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.projects["lab/runs"] = runs(6)
    expected = digests(fetch())
    really = together._told

    def elsewhere(run: Any) -> together.Told | None:
        """As a service would that shows no live rows here."""
        told = really(run)
        return told and replace(told, live=False)

    monkeypatch.setattr(together, "_told", elsewhere)
    service.counts.clear()
    assert digests(fetch()) == expected
    assert service.counts["RunParquetHistory"] == 6


@pytest.mark.parametrize("name", ["parquetHistory", "files", "edges", "parquetUrls", "liveData", "url", "sizeBytes"])
def test_an_answer_of_another_shape_is_asked_for_again_run_by_run(service: WandbServer, name: str) -> None:
    service.projects["lab/runs"] = runs(3)
    expected = digests(fetch())
    service.counts.clear()
    service.faults.append(Fault(TOGETHER, rename=name))
    assert digests(fetch()) == expected and service.counts["RunFiles"] == 3


def test_a_run_that_is_gone_is_named_and_costs_the_others_nothing(service: WandbServer) -> None:
    service.projects["lab/runs"] = runs(4)
    made = plan(QUERY, {})
    del service.projects["lab/runs"][1]
    items = list(read(QUERY, made))
    assert sorted(item.run.run for item in items if isinstance(item, RunBatch)) == ["r00", "r02", "r03"]
    (gone,) = (item for item in items if isinstance(item, Skipped))
    assert gone.location == "wandb:lab/runs/r01" and gone.damaged


def test_a_file_is_only_taken_for_another_where_its_checksum_says_so(service: WandbServer) -> None:
    """Requirements that differ by one byte, and a service that tells no checksums or wrong ones."""
    service.projects["lab/runs"] = [
        wandb_run(f"r{number}", seed=number, files={"requirements.txt": b"torch==2.4.%d\n" % (number % 2)})
        for number in range(40)
    ]
    for fault in (None, Fault(TOGETHER, rename="md5"), Fault("file", cut=0.5)):
        service.counts.clear()
        service.faults[:] = [] if fault is None else [fault]
        found = fetch()
        for name, item in found.items():
            assert isinstance(item, RunBatch)
            whole = b"torch==2.4.%d\n" % (int(name[1:]) % 2)
            if fault is None or fault.rename:
                assert item.blobs["requirements.txt"] == whole
            else:
                assert item.blobs.get("requirements.txt", b"") != whole  # what arrives torn is never taken for the whole
        assert service.counts["file"] < 40 if fault is None else service.counts["file"] >= 40
