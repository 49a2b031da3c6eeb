"""Weights & Biases misbehaving in every way at once, and the genuine client: each run comes whole, once, or is named."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest
from stressed import CODES, Tally
from typer.testing import Result
from wandb_fixtures import RETURN, rows, server, service, wandb_run
from wandb_server import TOGETHER, Fault, WandbServer

from openrlb.store import Store

pytestmark = pytest.mark.stress
__all__ = ["server", "service"]
RUNS, POINTS, STORMS = 8, 40, 20
OPERATIONS = ("Runs", TOGETHER, "RunParquetHistory", "HistoryPage", "RunFiles", "parquet", "file", "*")
BODIES = (
    b"",
    b"<html>502</html>",
    b'{"data": ',
    b"[1, 2",
    b'{"data": null}',
    b'{"data": {"project": 7}}',
    b"\xff\xfe\x00",
    b'"text"',
)


def fault(chance: random.Random) -> tuple[str, Fault]:
    """One way to misbehave, for some requests or for all."""
    operation = chance.choice(OPERATIONS)
    times = chance.choice((1, 2, 5, -1))
    run = chance.choice((None, None, f"r{chance.randrange(RUNS)}")) if operation not in ("Runs", TOGETHER, "*") else None
    kind = chance.choice(("429", "5xx", "4xx", "cut body", "slow drip", "malformed JSON", "other schema"))
    same = {"operation": operation, "run": run, "times": times}
    if kind == "429":
        return kind, Fault(status=429, retry_after=chance.choice((None, 0.0, 0.2)), **same)
    if kind in ("5xx", "4xx"):
        return kind, Fault(status=chance.choice((500, 502, 503, 504) if kind == "5xx" else (400, 403, 404, 410)), **same)
    if kind == "cut body":
        return kind, Fault(cut=chance.random(), **same)
    if kind == "slow drip":
        return kind, Fault(drip=chance.choice((16, 256)), **same)
    if kind == "malformed JSON":
        return kind, Fault(body=chance.choice(BODIES), **same)
    return kind, Fault(
        rename=chance.choice(("runs", "edges", "node", "config", "historyKeys", "history", "pageInfo", "summaryMetrics")), **same
    )


def project(generation: int) -> list[object]:
    """Half of the runs as live rows, half as exports; each generation changes the half of them."""
    found: list[object] = []
    for number in range(RUNS):
        values = [{**row, RETURN: row[RETURN] + number + (generation if number % 2 else 0)} for row in rows(POINTS)]
        beat = f"2026-01-02T04:{generation // 60 % 60:02d}:{generation % 60:02d}Z" if number % 2 else "2026-01-02T04:04:05Z"
        kept = {"files": {"requirements.txt": b"torch==2.0\n"}, "heartbeat": beat, "seed": number}
        found.append(
            wandb_run(f"r{number}", **kept, **({"live": values} if number % 4 < 2 else {"live": (), "exported": [values]}))
        )
    return found


def test_storms(service: WandbServer, cli: Callable[..., Result], chance: random.Random, tally: Tally) -> None:
    store, words = Store(), ("fetch", "cleanrl")
    for storm in range(1, STORMS + 1):
        service.projects["openrlbenchmark/cleanrl"] = project(storm)  # type: ignore[assignment]
        made = [fault(chance) for _ in range(chance.choice((1, 1, 2, 3)))]
        service.faults[:] = [one for _, one in made]
        asked = service.requests()
        done = cli(*words)
        assert done.exit_code in (0, *CODES), done.output
        assert "Traceback" not in done.output and "itself failed" not in done.output, f"{made}: {done.output}"
        assert done.exception is None or isinstance(done.exception, SystemExit), f"{made}: {done.exception!r}"
        assert service.requests() - asked < 60 * RUNS  # it gives up
        if done.exit_code:
            assert done.stderr.count("error: ") <= 1 and done.stderr.strip(), f"{made}: {done.output}"
        if store.exists:
            found = store.query("SELECT run, count(*), count(DISTINCT value), min(value) FROM points GROUP BY run").rows
            for run, count, distinct, _ in found:  # whole, or short and said to be
                notes = store.query(f"SELECT len(notes) FROM runs WHERE run = '{run}'").rows[0][0]
                assert count == distinct and (count == POINTS or notes or run in done.stderr), f"{made}: {found} {done.output}"
        service.faults.clear()
        again = cli(*words)
        assert again.exit_code == 0, f"{made}: {again.output}"
        found = store.query("SELECT run, count(*), min(value) FROM points GROUP BY run ORDER BY run").rows
        assert found == [(f"r{n}", POINTS, float(n + (storm if n % 2 else 0))) for n in range(RUNS)], f"{made}: {again.output}"
        listed = [row["run"] for row in json.loads(cli("list", "--json").stdout)]
        assert sorted(listed) == [f"r{n}" for n in range(RUNS)]
        for kind, _ in made:
            tally.add(
                f"W&B server: {kind}", hit=bool(done.exit_code), remark="hit: named, exit code 1 or 5; else it came through"
            )
