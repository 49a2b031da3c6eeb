"""What is asked of several runs in one request: where their history is, and which of the two files that tell of a run exist.

The fields and what is given to them are those with which wandb's client asks of one run at a time (``RunParquetHistory`` and
``RunFiles``), beside each other under aliases. A service that refuses the question is asked run by run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openrlb.sources.wandb.client import Client, RefusedError, TransientError, translated
from openrlb.sources.wandb.rows import STEP

RUNS_TOGETHER = 25
"""Runs in one request."""
REQUIREMENTS, METADATA = "requirements.txt", "wandb-metadata.json"
_QUERY = """query HistoriesAndFiles($entity: String!, $project: String!, $liveKeys: [String!]!, $fileNames: [String], %s) {
    project(name: $project, entityName: $entity) { %s }
}
fragment HistoryAndFiles on Run {
    parquetHistory(liveKeys: $liveKeys) { parquetUrls liveData }
    files(names: $fileNames, first: 2) { edges { node { id name url directUrl sizeBytes mimetype updatedAt md5 } } }
}"""


@dataclass(frozen=True, slots=True)
class Told:
    """What the service tells of one run's data.

    Attributes:
        exported: Whether a part of its history is exported.
        live: Whether a part is not.
        files: The client's attributes of each of the two files that exists.
    """

    exported: bool
    live: bool
    files: tuple[Mapping[str, Any], ...]


def ask_together(client: Client, remotes: Sequence[Any]) -> dict[str, Told]:
    """Asks for several runs of one project at once.

    Args:
        client: The connection.
        remotes: The wandb client's runs; at most :data:`RUNS_TOGETHER`.

    Returns:
        What is told, by run id. A run that is not among them is to be asked for by itself: it alone then fails, or is named.
    """
    if not client.asks_together or len(remotes) < 2:
        return {}
    variables = {f"run{number}": remote.id for number, remote in enumerate(remotes)}
    declared = ", ".join(f"${name}: String!" for name in variables)
    asked = " ".join(f"{name}: run(name: ${name}) {{ ...HistoryAndFiles }}" for name in variables)
    place = {
        "entity": remotes[0].entity,
        "project": remotes[0].project,
        "liveKeys": [STEP],
        "fileNames": [REQUIREMENTS, METADATA],
    }
    query = _QUERY % (declared, asked)
    try:
        answer = translated(lambda: remotes[0]._service_api.execute_graphql(query, {**place, **variables}))
        runs = answer["project"]
        return {run: told for name, run in variables.items() if (told := _told(runs[name])) is not None}
    except RefusedError:
        client.asks_together = False
    except (TransientError, LookupError, TypeError):  # which of the runs it is that cannot be had is found one by one
        pass
    return {}


def _told(run: Any) -> Told | None:  # noqa: ANN401 -- an answer
    """The answer for one run; None where it is of another shape."""
    try:
        history, edges = run["parquetHistory"], run["files"]["edges"]
        files = [edge["node"] for edge in edges]
        usable = all(isinstance(file["name"], str) and isinstance(file["url"], str) and "sizeBytes" in file for file in files)
        return Told(bool(history["parquetUrls"]), bool(history["liveData"]), tuple(files)) if usable else None
    except (LookupError, TypeError):
        return None
