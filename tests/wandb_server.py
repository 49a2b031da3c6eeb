"""A local server that the genuine wandb client talks to: GraphQL, history in live rows and Parquet exports, files.

It holds what a test gives it, counts requests by operation, and misbehaves where a test says so. Its semantics are
written from what wandb 0.31 sends; they prove our client's path, not what the hosted service does.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote

KEY = "0123456789abcdef0123456789abcdef01234567"
ENTITY = "tester"

TOGETHER = "HistoriesAndFiles"
"""openrlb's own operation: what RunParquetHistory and RunFiles ask, of several runs at once."""

Row = dict[str, Any]


@dataclass
class WandbRun:
    """One run as the service keeps it.

    Attributes:
        live: History rows that are not yet exported; each holds ``_step``.
        exported: Rows of each Parquet export, in order.
        line_count: What the service claims as ``historyLineCount``; the number of rows by default.
    """

    id: str
    config: Mapping[str, Any] = field(default_factory=dict)
    live: Sequence[Row] = ()
    exported: Sequence[Sequence[Row]] = ()
    name: str = ""
    state: str = "finished"
    tags: Sequence[str] = ()
    username: str = "ann"
    created: str = "2026-01-02T03:04:05Z"
    heartbeat: str = "2026-01-02T04:04:05Z"
    commit: str | None = None
    summary: Mapping[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    events: Sequence[Row] = ()
    line_count: int | None = None

    def __post_init__(self) -> None:
        self._pages: list[str] | None = None
        self._parquet: dict[int, bytes] = {}

    def rows(self) -> list[Row]:
        """All rows, exported first."""
        return [row for part in self.exported for row in part] + list(self.live)

    def pages(self) -> list[str]:
        """All rows as the JSON strings that history requests answer with."""
        if self._pages is None:
            self._pages = [json.dumps(_wire(row)) for row in self.rows()]
        return self._pages

    def parquet(self, index: int) -> bytes:
        """One export's bytes."""
        if index not in self._parquet:
            self._parquet[index] = _parquet(self.exported[index])
        return self._parquet[index]

    def node(self, project: str) -> dict[str, Any]:
        """The run as the ``Runs`` and ``Run`` operations answer it."""
        rows = self.rows()
        kinds: dict[str, set[str]] = {}
        for row in rows:
            for key, value in row.items():
                number = isinstance(value, int | float) and not isinstance(value, bool)
                kinds.setdefault(key, set()).add("number" if number else "string" if isinstance(value, str) else "object")
        keys = {key: {"typeCounts": [{"type": name, "count": 1} for name in sorted(names)]} for key, names in kinds.items()}
        last = max((row["_step"] for row in rows), default=-1)
        return {
            "id": f"id-{self.id}",
            "projectId": 1,
            "tags": list(self.tags),
            "name": self.id,
            "displayName": self.name or self.id,
            "sweepName": None,
            "state": self.state,
            "config": json.dumps({key: {"desc": None, "value": value} for key, value in self.config.items()}),
            "group": None,
            "jobType": None,
            "commit": self.commit,
            "readOnly": False,
            "createdAt": self.created,
            "heartbeatAt": self.heartbeat,
            "description": None,
            "notes": None,
            "systemMetrics": json.dumps(_wire(self.events[-1]) if self.events else {}),
            "summaryMetrics": json.dumps(_wire(self.summary)),
            "historyLineCount": len(rows) if self.line_count is None else self.line_count,
            "user": {"name": self.username.title(), "username": self.username},
            "historyKeys": {"sets": [], "keys": keys, "lastStep": last},
        }


@dataclass
class Fault:
    """One way to misbehave, for requests of one operation and, where named, of one run.

    Attributes:
        operation: ``Runs``, ``RunParquetHistory``, ``HistoryPage``, ``RunFiles``, ``parquet``, ``file`` ...
        status: The HTTP status to answer with; 0 answers normally, after ``delay`` and with ``cut``.
        times: How many requests it hits; -1 for all.
        cut: Answer with only this part of the bytes (a torn file).
        body: Answer with these bytes.
        drip: Answer in pieces of so many bytes, with a pause before each.
        rename: Answer with another schema: this field has another name.
    """

    operation: str
    status: int = 0
    run: str | None = None
    times: int = -1
    retry_after: float | None = None
    delay: float = 0.0
    cut: float | None = None
    body: bytes | None = None
    drip: int = 0
    rename: str = ""

    def changed(self, data: bytes) -> bytes:
        """An answer as this fault gives it."""
        data = data if self.body is None else self.body
        data = data.replace(f'"{self.rename}":'.encode(), f'"{self.rename}V2":'.encode()) if self.rename else data
        return data if self.cut is None else data[: int(len(data) * self.cut)]


class WandbServer:
    """The service. ``projects`` maps ``entity/project`` to runs; change it while the server runs.

    Attributes:
        counts: Requests by operation.
        log: Every request as (operation, run id or None, variables).
        page_limit: The most rows that one history page gives, or None.
    """

    def __init__(self) -> None:
        self.projects: dict[str, list[WandbRun]] = {}
        self.faults: list[Fault] = []
        self.counts: Counter[str] = Counter()
        self.log: list[tuple[str, str | None, dict[str, Any]]] = []
        self.page_limit: int | None = None
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        """The base address for ``WANDB_BASE_URL``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> WandbServer:
        """Starts to answer."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ends, with every connection closed."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def forget(self) -> None:
        """Clears runs, faults and counts."""
        with self.lock:
            self.projects.clear()
            self.faults.clear()
            self.counts.clear()
            self.log.clear()
            self.page_limit = None

    def environment(self, folder: str) -> dict[str, str]:
        """The variables that make the client talk to this server and keep to a folder."""
        return {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": KEY,
            "WANDB_CACHE_DIR": f"{folder}/cache",
            "WANDB_CONFIG_DIR": f"{folder}/config",
            "WANDB_DATA_DIR": f"{folder}/data",
            "WANDB_DIR": folder,
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_SILENT": "true",
            "HOME": folder,
        }

    def requests(self, *operations: str) -> int:
        """How many requests of some operations came in; all, without the client's own greetings, by default."""
        with self.lock:
            own = {"Viewer", "GetDefaultEntity", "ServerFeaturesQuery", "other"}
            return sum(count for name, count in self.counts.items() if (name in operations if operations else name not in own))

    def fault(self, operation: str, run: str | None) -> Fault | None:
        """The fault that hits this request, counted down."""
        with self.lock:
            for item in self.faults:
                if item.operation in (operation, "*") and item.run in (None, run) and item.times != 0:
                    item.times -= item.times > 0
                    return item
        return None

    def fault_together(self, query: str, variables: Mapping[str, Any]) -> Fault | None:
        """The fault that hits a question about several runs: its own, or that of a part of it for one of the runs."""
        found = self.fault(TOGETHER, None)
        for name in _aliases(query) if found is None else ():
            found = found or self.fault("RunParquetHistory", variables[name]) or self.fault("RunFiles", variables[name])
        return found

    def find(self, entity: str, project: str, run: str) -> WandbRun | None:
        """A run by its path."""
        return next((item for item in self.projects.get(f"{entity}/{project}", []) if item.id == run), None)

    def answer(self, operation: str, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The ``data`` of one GraphQL operation."""
        viewer = {
            "id": "viewer", "entity": ENTITY, "username": ENTITY, "name": ENTITY, "email": "t@example.org", "flags": "{}",
            "teams": {"edges": []}, "admin": False,
        }  # fmt: skip
        if operation in ("Viewer", "GetDefaultEntity"):
            return {"viewer": viewer, "serverInfo": {"features": []}}
        if operation == "ServerFeaturesQuery":
            return {"serverInfo": {"features": []}}
        if operation == "Runs":
            return {"project": self._runs(variables)}
        if operation == TOGETHER:
            return {"project": {name: self._told(variables[name], variables) for name in _aliases(query)}}
        run = self.find(variables.get("entity", ""), variables.get("project", ""), _run_id(variables) or "")
        if run is None:
            return {"project": None}
        return {"project": {"internalId": "1", "run": self._run(operation, run, query, variables)}}

    def _told(self, name: str, variables: Mapping[str, Any]) -> dict[str, Any] | None:
        """One run of those that are asked for together."""
        run = self.find(variables["entity"], variables["project"], name)
        if run is None:
            return None
        parts = (self._run(operation, run, "", variables) for operation in ("RunParquetHistory", "RunFiles"))
        return {name: value for part in parts for name, value in part.items() if name != "fileCount"}

    def _runs(self, variables: Mapping[str, Any]) -> dict[str, Any] | None:
        """One page of runs that match the filters."""
        path = f"{variables['entity']}/{variables['project']}"
        if path not in self.projects:
            return None
        wanted = json.loads(variables.get("filters") or "{}")
        found = [run for run in self.projects[path] if matches(run, wanted)]
        start = int(variables.get("cursor") or 0)
        page = found[start : start + int(variables.get("perPage") or 50)]
        edges = [{"node": run.node(path), "cursor": str(start + index + 1)} for index, run in enumerate(page)]
        more = start + len(page) < len(found)
        info = {"endCursor": str(start + len(page)), "hasNextPage": more}
        return {"internalId": "1", "runCount": len(found), "readOnly": False, "runs": {"edges": edges, "pageInfo": info}}

    def _run(self, operation: str, run: WandbRun, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The ``run`` object of an operation on one run."""
        if operation == "RunParquetHistory":
            path = quote(f"{variables['entity']}/{variables['project']}/{run.id}", safe="")
            urls = [f"{self.url}/parquet/{path}/{index}.parquet" for index in range(len(run.exported))]
            live = [{key: row[key] for key in variables["liveKeys"] if key in row} for row in run.live[:1]]
            return {"parquetHistory": {"parquetUrls": urls, "liveData": [_wire(row) for row in live if row]}}
        if operation == "RunHistoryKeys":
            return {"historyKeys": run.node("")["historyKeys"]}
        if operation == "HistoryPage":
            low, high, size = (int(variables[name]) for name in ("minStep", "maxStep", "pageSize"))
            return {"history": self._page(run, low, high, min(size, self.page_limit or size))}
        if operation == "RunFullHistory":
            size = int(variables.get("samples") or 500)
            if "events(" in query:
                return {"events": [json.dumps(_wire(row)) for row in run.events][:size]}
            return {"history": run.pages()[:size]}
        if operation == "RunFiles":
            names = variables.get("fileNames") or list(run.files)
            path = quote(f"{variables['entity']}/{variables['project']}/{run.id}", safe="")
            nodes = [
                {
                    "id": name, "name": name, "url": f"{self.url}/files/{path}/{quote(name, safe='')}", "directUrl": None,
                    "sizeBytes": str(len(run.files[name])), "mimetype": "text/plain", "updatedAt": run.heartbeat,
                    "md5": base64.b64encode(hashlib.md5(run.files[name], usedforsecurity=False).digest()).decode(),
                }
                for name in names
                if name in run.files
            ]  # fmt: skip
            edges = [{"node": node, "cursor": str(index)} for index, node in enumerate(nodes)]
            page = {"endCursor": None, "hasNextPage": False}
            return {"fileCount": len(run.files), "files": {"edges": edges, "pageInfo": page}}
        return run.node("")

    def _page(self, run: WandbRun, low: int, high: int, size: int) -> list[str]:
        """The rows of one range of steps, exported ones too."""
        rows = run.rows()
        if not rows or (low <= rows[0]["_step"] and high > rows[-1]["_step"]):
            return run.pages()[:size]
        return [text for row, text in zip(rows, run.pages(), strict=True) if low <= row["_step"] < high][:size]


def matches(run: WandbRun, wanted: Mapping[str, Any]) -> bool:
    """Whether a run fits a filter of MongoDB's kind, as far as wandb documents it."""
    for key, value in wanted.items():
        if key in ("$and", "$or", "$nor"):
            hits = [matches(run, part) for part in value]
            if not (all(hits) if key == "$and" else any(hits) if key == "$or" else not any(hits)):
                return False
        elif not _fits(_field(run, key), value):
            return False
    return True


_MISSING = object()


def _field(run: WandbRun, key: str) -> Any:
    if key.startswith("config."):
        value: Any = run.config
        for part in key.removeprefix("config.").removesuffix(".value").split("."):
            value = value.get(part, _MISSING) if isinstance(value, Mapping) else _MISSING
        return value
    names = {"createdAt": "created", "displayName": "name", "heartbeatAt": "heartbeat", "name": "id"}
    return getattr(run, names.get(key, key), _MISSING)


def _fits(found: Any, wanted: Any) -> bool:
    if not (isinstance(wanted, Mapping) and any(key.startswith("$") for key in wanted)):
        return wanted in found if isinstance(found, list | tuple) else found == wanted
    several = list(found) if isinstance(found, list | tuple) else [found]
    tests: dict[str, Callable[[Any], bool]] = {
        "$in": lambda value: any(item in value for item in several),
        "$nin": lambda value: not any(item in value for item in several),
        "$eq": lambda value: value in several,
        "$ne": lambda value: value not in several,
        "$gt": lambda value: found is not _MISSING and found > value,
        "$gte": lambda value: found is not _MISSING and found >= value,
        "$lt": lambda value: found is not _MISSING and found < value,
        "$lte": lambda value: found is not _MISSING and found <= value,
        "$exists": lambda value: (found is not _MISSING) == value,
        "$regex": lambda value: any(isinstance(item, str) and re.search(value, item) for item in several),
    }
    return all(tests[key](value) for key, value in wanted.items())


def _aliases(query: str) -> list[str]:
    """The names under which a query asks for several runs."""
    return re.findall(r"(\w+): run\(name: \$\1\)", query)


def _run_id(variables: Mapping[str, Any]) -> str | None:
    """The run that an operation's variables name."""
    return variables.get("name") or variables.get("runName") or variables.get("run")


def _wire(value: Any) -> Any:
    """A value as the service sends it in JSON: what JSON cannot say becomes a string."""
    if isinstance(value, Mapping):
        return {key: _wire(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_wire(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return value


def _parquet(rows: Sequence[Row]) -> bytes:
    """Rows as one export; a column takes the type of its values."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = list(dict.fromkeys(key for row in rows for key in row))
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        numbers = all(item is None or (isinstance(item, int | float) and not isinstance(item, bool)) for item in values)
        kind = (pa.int64() if name == "_step" else pa.float64()) if numbers else None
        columns[name] = pa.array(values, kind, from_pandas=False)
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def _handler(server: WandbServer) -> type[BaseHTTPRequestHandler]:
    """The request handler of one server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body leave together; apart they would wait 40 ms for each other
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                request = json.loads(body)
                query, variables = request["query"], request.get("variables") or {}
                operation = re.search(r"(?:query|mutation)\s+(\w+)", query)[1]  # type: ignore[index]
            except (ValueError, KeyError, TypeError):
                query, variables, operation = "", {}, "other"
            if not self._misbehaves(operation, _run_id(variables), variables, query):
                self._send(json.dumps({"data": server.answer(operation, query, variables)}).encode())

        def do_GET(self) -> None:
            kind, path, name = (unquote(part) for part in self.path.lstrip("/").split("?")[0].split("/"))
            run = server.find(*path.split("/"))
            operation = "parquet" if kind == "parquet" else "file"
            if run is None or self._misbehaves(operation, run.id, {"name": name}):
                return
            data = run.parquet(int(name.split(".")[0])) if kind == "parquet" else run.files[name]
            self._send(data, ranged=True)

        do_HEAD = do_GET  # noqa: N815 -- the name that http.server calls

        def _misbehaves(self, operation: str, run: str | None, variables: dict[str, Any], query: str = "") -> bool:
            """Counts the request; True where a fault answered it."""
            with server.lock:
                server.counts[operation] += 1
                server.log.append((operation, run, variables))
            together = operation == TOGETHER
            self.wrong = fault = server.fault_together(query, variables) if together else server.fault(operation, run)
            if fault is None:
                return False
            time.sleep(fault.delay)
            if not fault.status:
                return False
            headers = {"Retry-After": f"{fault.retry_after:g}"} if fault.retry_after is not None else {}
            self._send(b'{"errors": [{"message": "the server was told to misbehave"}]}', fault.status, headers)
            return True

        def _send(self, data: bytes, status: int = 200, headers: Mapping[str, str] | None = None, ranged: bool = False) -> None:
            extra = dict(headers or {})
            if self.wrong is not None and status == 200:
                data = self.wrong.changed(data)
            span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "") if ranged else None
            if span:
                low, high = int(span[1]), min(int(span[2] or len(data) - 1), len(data) - 1)
                extra["Content-Range"] = f"bytes {low}-{high}/{len(data)}"
                data, status = data[low : high + 1], 206
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if not ranged else "application/octet-stream")
            self.send_header("Content-Length", str(len(data)))
            for name, value in extra.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                piece = (self.wrong.drip if self.wrong else 0) or len(data) or 1
                for start in range(0, len(data), piece):
                    time.sleep(0.002 if piece < len(data) else 0)
                    self.wfile.write(data[start : start + piece])
                    self.wfile.flush()
            self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    return Handler


@contextmanager
def serving() -> Iterator[WandbServer]:
    """A server for the length of a ``with`` block."""
    server = WandbServer().start()
    try:
        yield server
    finally:
        server.stop()
