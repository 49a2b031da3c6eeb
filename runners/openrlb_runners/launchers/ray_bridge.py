"""Talks to a Ray cluster for ``ray_launcher.py``: a process of its own, because a driver dies with its cluster, without a word.

Reads a request in each line, ``{"do": ..., ...}``, and answers each with a line. Imports nothing of openrlb: the actor that is
defined here goes to the nodes as a value, and the Python of the cluster need not have openrlb.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

ANSWER_SECONDS = 3.0
"""How long an actor may take to answer; one that has no place yet never does."""
IDLE_SECONDS = 120
"""A driver holds memory here and a place in the cluster's books: one that nobody asks ends."""


class Task:
    """An actor that executes one command of a launch: it holds the resources, ``ray_guard.py`` holds the command.

    Args:
        guard: The text of ``ray_guard.py``.
        asked: What that is told: ``words``, ``folder``, ``out``, ``err``; and ``stem``, the beginning of the records' names.
    """

    def __init__(self, guard: str, asked: dict[str, Any]) -> None:
        self._guard, self._asked = guard, asked
        self._process: subprocess.Popen[str] | None = None
        self._signal: int | None = None
        self._lock = threading.Lock()
        threading.Thread(target=self._execute, daemon=True).start()

    def here(self) -> bool:
        """Answers, which one that waits for a place does not."""
        return True

    def stop(self, number: int) -> None:
        """Signals the command, now or as soon as it is there."""
        with self._lock:
            self._signal = number
            self._pass_on()

    def leave(self) -> None:
        """Gives the resources back."""
        import ray

        ray.actor.exit_actor()

    def _pass_on(self) -> None:
        """Tells the guard what was asked."""
        if self._process is not None and self._signal is not None:
            with suppress(OSError):
                self._process.stdin.write(f"{self._signal}\n")  # type: ignore[union-attr]
                self._process.stdin.flush()  # type: ignore[union-attr]

    def _execute(self) -> None:
        """Executes the command, and leaves."""
        import ray

        try:
            self._supervise()
        finally:
            ray.get_runtime_context().current_actor.leave.remote()

    def _supervise(self) -> None:
        """Starts the guard, and waits for it."""
        import ray

        stem = Path(self._asked["stem"])
        if (stem.parent / "cancelled").exists():
            return
        number = 1
        while True:  # a task that Ray has begun again has a record for each time
            record = stem.with_name(f"{stem.name}.{number}.json")
            try:
                record.open("x").close()
                break
            except FileExistsError:
                number += 1
        node = ray.get_runtime_context().get_node_id()
        asked = json.dumps({**self._asked, "record": str(record), "node": node})
        with self._lock:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", self._guard, asked],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            self._pass_on()
        lines = self._process.stdout.read().split()  # type: ignore[union-attr]
        self._process.wait()
        with suppress(ValueError):
            if json.loads(record.read_text(encoding="utf-8"))["phase"] != "running":
                return
        for pid in lines:  # the guard was killed
            with suppress(OSError):
                os.killpg(int(pid), signal.SIGKILL)
        told = {"node": node, "phase": "ended", "code": None, "signal": int(signal.SIGKILL)}
        record.write_text(json.dumps(told), encoding="utf-8")


def connect(address: str, namespace: str) -> dict[str, Any]:
    """Joins the cluster; what is asked for later belongs to a namespace."""
    import ray

    ray.init(address=address, namespace=namespace, log_to_driver=False, logging_level="ERROR", configure_logging=False)
    found = address if "://" in address else ray.get_runtime_context().gcs_address
    return {"address": found, "ray": ray.__version__}


def submit(names: Sequence[str], options: Mapping[str, Any], asked: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Begins an actor for each task; one that is there already is left as it is. All of them, or none."""
    import ray

    guard = Path(__file__).with_name("ray_guard.py").read_text(encoding="utf-8")
    kind, made = ray.remote(Task), []
    try:
        for name, one in zip(names, asked, strict=True):
            settings = {**options, "name": name, "lifetime": "detached", "get_if_exists": True, "max_concurrency": 4}
            made.append(kind.options(**settings).remote(guard, dict(one)))
    except Exception:
        for actor in made:
            ray.kill(actor)
        raise
    return {}


def look(names: Sequence[str], begun: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Which actors there are; of those whose command was begun also which answer, for a node that is lost takes them along.

    A cluster that none of whose nodes could ever take one is told, as they may wait for ever.
    """
    answered = _answered(dict.fromkeys(begun, "here"))
    others = set(names) - answered
    there = _there() & others if others else set[str]()
    has_room = room(options)["room"] if there else True
    return {"there": sorted(there | answered), "silent": sorted(there & set(begun)), "room": has_room}


def room(options: Mapping[str, Any]) -> dict[str, bool]:
    """Whether a node of the cluster has what one task needs, in use or not."""
    import ray

    wanted = {**options.get("resources", {}), "CPU": options.get("num_cpus", 0), "GPU": options.get("num_gpus", 0)}
    wanted["memory"] = options.get("memory", 0)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return {"room": any(all(node.get(key, 0) >= value for key, value in wanted.items()) for node in nodes)}


def stop(names: Sequence[str], number: int) -> dict[str, Any]:
    """Signals commands; an actor that does not answer has none, and is taken out of the queue."""
    import ray

    there = _there() & set(names)
    for name in there - _answered(dict.fromkeys(there, "stop"), number):
        with suppress(ValueError):  # it has left meanwhile
            ray.kill(ray.get_actor(name))
    return {}


def _there() -> set[str]:
    """The names of the namespace's actors that run or wait."""
    import ray

    return set(ray.util.list_named_actors())


_HANDLES: dict[str, Any] = {}


def _answered(calls: Mapping[str, str], *words: Any) -> set[str]:  # noqa: ANN401
    """Which actors come back well from a call, in time."""
    import ray

    asked: dict[str, Any] = {}
    found: set[str] = set()
    for name, method in calls.items():
        with suppress(ValueError):  # it has left
            if name not in _HANDLES:
                _HANDLES[name] = ray.get_actor(name)
            asked[name] = getattr(_HANDLES[name], method).remote(*words)
    if asked:
        ray.wait(list(asked.values()), num_returns=len(asked), timeout=ANSWER_SECONDS)
    for name, call in asked.items():
        try:
            ray.get(call, timeout=0)
            found.add(name)
        except Exception:
            del _HANDLES[name]
    return found


CALLS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "connect": connect,
    "submit": submit,
    "look": look,
    "room": room,
    "stop": stop,
}


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answers requests until there are no more, or none for a while."""
    signal.signal(signal.SIGALRM, lambda number, frame: sys.exit(0))
    signal.alarm(IDLE_SECONDS)
    for line in requests:
        signal.alarm(0)
        words = json.loads(line)
        try:
            answer = CALLS[words.pop("do")](**words)
        except Exception as error:
            answer = {"error": type(error).__name__, "why": str(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        signal.alarm(IDLE_SECONDS)


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as channel:
        os.dup2(2, 1)  # Ray prints
        serve(sys.stdin, channel)
