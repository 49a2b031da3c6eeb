"""Fetches the runs of a plan, several at once, each handed over as soon as it is complete."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import islice

from openrlb.sources.protocol import MAX_COLUMNS
from openrlb.sources.wandb.client import Client, RefusedError, TransientError
from openrlb.sources.wandb.history import read_events, read_history
from openrlb.sources.wandb.pages import Wanted
from openrlb.sources.wandb.provenance import Provenance, read_provenance
from openrlb.sources.wandb.query import Plan, WandbQuery
from openrlb.sources.wandb.records import Listed
from openrlb.sources.wandb.rows import INTERNAL
from openrlb.sources.wandb.series import batches, system_batches
from openrlb.sources.wandb.together import REQUIREMENTS, RUNS_TOGETHER, Told, ask_together
from openrlb.sources.wandb.wanted import describe, shown
from openrlb.types import Run, RunBatch, Skipped

WORKERS = 16
"""Runs that are fetched at the same time; wandb-core slows them all down where the service says so."""
AHEAD = 2
"""Runs for each worker that are begun before the first of them is taken: a slow taker does not fill the memory."""


def read_plan(query: WandbQuery, plan: Plan, on_run: Callable[[str], None] | None = None) -> Iterator[RunBatch | Skipped]:
    """Fetches what a plan found to be new or changed.

    Yields:
        Each run once its history and files are complete, or what was left out and why. The order is that of arrival.
    """
    client = plan.client
    if client is None or not plan.listed:
        return
    stopped = threading.Event()
    with client.quiet():
        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="wandb")
        waiting = _asked(client, plan.listed, pool, stopped)
        running: set[Future[RunBatch | Skipped]] = set()
        try:
            while True:
                for listed, told in islice(waiting, WORKERS * AHEAD - len(running)):
                    running.add(pool.submit(_fetch, client, listed, told, query, stopped))
                if not running:
                    break
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    item = future.result()
                    if on_run is not None:
                        on_run(item.run.name if isinstance(item, RunBatch) else item.location)
                    yield item
        finally:
            stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)
            client.close()


def _asked(
    client: Client, listed: Sequence[Listed], pool: ThreadPoolExecutor, stopped: threading.Event
) -> Iterator[tuple[Listed, Future[dict[str, Told]]]]:
    """Each run with what is asked of several at once; of the next ones that is asked before it is needed."""
    groups = [listed[start : start + RUNS_TOGETHER] for start in range(0, len(listed), RUNS_TOGETHER)]
    answers = [_ask(client, group, pool, stopped) for group in groups[:1]]
    for number, group in enumerate(groups):
        answers += [_ask(client, other, pool, stopped) for other in groups[number + 1 : number + 2]]
        answer = answers.pop(0)
        yield from ((one, answer) for one in group)


def _ask(client: Client, group: Sequence[Listed], pool: ThreadPoolExecutor, stopped: threading.Event) -> Future[dict[str, Told]]:
    """The answer for one handful of runs, to come; empty once the fetch is stopped."""
    return pool.submit(lambda: {} if stopped.is_set() else ask_together(client, [one.remote for one in group]))


def _fetch(
    client: Client, listed: Listed, answer: Future[dict[str, Told]], query: WandbQuery, stopped: threading.Event
) -> RunBatch | Skipped:
    """One run; a failure of its own leaves out this run alone."""
    location = f"{query.source}/{listed.run.run}"
    if stopped.is_set():
        return Skipped(location, "the fetch was interrupted", damaged=True)
    try:
        return _batch(client, listed, answer.result().get(listed.remote.id), query)
    except (TransientError, RefusedError) as error:
        return Skipped(location, f"wandb did not give it: {error}", damaged=True)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:  # an answer of another shape
        told = " ".join(str(error).split())[:200]
        return Skipped(location, f"what wandb gave of it could not be understood: {type(error).__name__}: {told}", damaged=True)


def _batch(client: Client, listed: Listed, told: Told | None, query: WandbQuery) -> RunBatch | Skipped:
    """One run with its metrics and files.

    Raises:
        TransientError: W&B does not give it for the moment.
        RefusedError: W&B refuses.
    """
    metrics = dict(listed.metrics)
    taken = {*metrics, listed.step_key}
    ended = listed.last_step if listed.run.state != "running" else None
    history = read_history(client, listed.remote, Wanted(None if query.all_metrics else frozenset(taken)), ended, told)
    if query.all_metrics:
        others = sorted(name for name in history.columns if name not in metrics and name not in INTERNAL)
        names = [name for name in others if not name.startswith("_")]
        metrics |= {name: describe(name, query) for name in names[:MAX_COLUMNS]}
        if len(names) > MAX_COLUMNS:
            history.notes.append(f"{len(names):,} metrics are more than a log has: the first {MAX_COLUMNS:,} by name were taken")
    found, notes = batches(history, metrics, listed.step_key)
    if listed.system and listed.has_events:
        events, said = read_events(client, listed.remote)
        found += system_batches(events, history, listed.step_key)
        notes += said
    texts = sorted(name for name in history.texts if query.all_metrics or name in metrics)
    if texts:
        count = sum(history.texts[name] for name in texts)
        notes.append(f"{count:,} values of {shown(texts)} are no numbers and were left out")
    if not found:
        said = ["it gave no value of the wanted metrics", *history.notes, *notes]
        return Skipped(f"{query.source}/{listed.run.run}", "; ".join(said))
    provenance = read_provenance(client, listed.remote, query.keep_personal, told)
    return RunBatch(_completed(listed, provenance, [*history.notes, *notes]), tuple(found), provenance.blobs)


def _completed(listed: Listed, provenance: Provenance, notes: list[str]) -> Run:
    """The run's record with what the files and the history told."""
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(provenance.blobs.items())}
    return replace(
        listed.run,
        git_commit=listed.run.git_commit or provenance.commit,
        requirements=hashes.get(REQUIREMENTS),
        files=hashes,
        hardware=provenance.hardware,
        notes=(*listed.run.notes, *notes, *provenance.notes),
    )
