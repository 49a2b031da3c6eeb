"""Runs a script that knows nothing of openrlb, and turns what it logs into rows while it trains. Standard library."""

from __future__ import annotations

import csv
import dataclasses
import os
import queue
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from contract import BadSpec, Task

CHECKOUT = "checkout.tar"
WAIT_SECONDS = 0.2


def train_by(
    task: Task,
    hyperparameters: Any,  # noqa: ANN401 - a dataclass
    commit: str,
    command: Sequence[str],
    flag: str,
    rows: Sequence[Stdout | Csv | Tensorboard],
    environments: Sequence[str] | None = None,
) -> None:
    """Trains by a command.

    Args:
        task: What is asked for.
        hyperparameters: All of them are passed.
        commit: What ``checkout.tar`` must be.
        command: The script and its arguments, with ``{env}``, ``{seed}``, ``{steps}``, ``{threads}`` and ``{device}``.
        flag: How one hyperparameter is passed.
        rows: Where returns are found.
        environments: What the script can train in, where gymnasium cannot tell.

    Raises:
        BadSpec: Something is asked for that the command cannot be told.
        NoSuchEnvironment: gymnasium does not know the environment.
    """
    if task.env_kwargs:
        raise BadSpec(f"{task.algo} takes no arguments of the environment")
    if task.spec["device"] != "cpu" and not any("{device}" in word for word in command):
        raise BadSpec(f"{task.algo} trains on the cpu: its command has no {{device}}")
    if environments is not None and task.env not in environments:
        from contract import NoSuchEnvironment

        raise NoSuchEnvironment(f"{task.env} cannot be made: the script knows {', '.join(environments)}")
    if environments is None:
        look_at_environment(task)
    told = {key: task.spec[key] for key in ("env", "seed", "steps", "threads", "device")}
    words = [word.format(**told) for word in command]
    for name, value in dataclasses.asdict(hyperparameters).items():
        words.append(flag.format(name=name, dashed=name.replace("_", "-"), value=value))
    task.begin()
    place = task.out / "checkout"
    try:
        unpack(place, commit)
        code, said = follow(task, [sys.executable, *words], place, rows)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if code:
        print(f"the script ended with {f'exit code {code}' if code > 0 else f'signal {-code}'}{said}", file=sys.stderr)
        raise SystemExit(1)  # its own codes mean other things than the contract's
    task.steps = max(task.steps, task.total)  # it was told to train so many, and ended well


def look_at_environment(task: Task) -> None:
    """Asks gymnasium for the environment, where there is one, so that a wrong name is refused before anything is trained."""
    try:
        import gymnasium  # noqa: F401
    except ImportError:
        return
    task.make_env().close()


def unpack(place: Path, commit: str) -> None:
    """A fresh copy of the checkout.

    Raises:
        BadSpec: ``checkout.tar`` is of another commit.
    """
    with tarfile.open(Path(__file__).with_name(CHECKOUT)) as archive:
        if archive.pax_headers.get("comment") != commit:
            raise BadSpec(f"{CHECKOUT} is commit {archive.pax_headers.get('comment')}, not {commit}")
        archive.extractall(place, filter="data")


def follow(task: Task, command: Sequence[str], place: Path, rows: Sequence[Any]) -> tuple[int, str]:
    """Runs a command in a folder, reading its logs as they grow; returns its exit code and its last words, after a colon."""
    lines: queue.Queue[str | None] = queue.Queue()
    last = ""
    path = os.pathsep.join([str(place), *filter(None, [os.environ.get("PYTHONPATH")])])
    variables = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": path}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
    with subprocess.Popen(command, cwd=place, env=variables, **pipes) as process:

        def read() -> None:
            for line in process.stdout or ():
                lines.put(line)
            lines.put(None)

        def complain() -> None:
            nonlocal last
            for line in process.stderr or ():
                print(line, end="", file=sys.stderr, flush=True)
                last = f": {line.strip()}" if line.strip() else last

        complaints = threading.Thread(target=complain, daemon=True)
        for thread in (threading.Thread(target=read, daemon=True), complaints):
            thread.start()
        talking = True
        try:
            while talking:
                try:
                    line = lines.get(timeout=WAIT_SECONDS)
                    talking = line is not None
                    for one in rows:
                        one.hear(task, line or "")
                    print(line or "", end="", flush=True)
                except queue.Empty:
                    look(task, place, rows)
            process.wait()
            complaints.join()
            look(task, place, rows)
        except BaseException:
            process.kill()
            raise
    return process.returncode, last


def look(task: Task, place: Path, rows: Sequence[Any]) -> None:
    """Reads what log files have grown by."""
    for one in rows:
        one.look(task, place)


@dataclasses.dataclass
class Stdout:
    """Rows from lines of standard output: patterns with the groups ``step`` and ``return``, and perhaps ``length``."""

    episode: str = ""
    eval: str = ""

    def hear(self, task: Task, line: str) -> None:
        """Takes one line."""
        for kind, pattern in (("episode", self.episode), ("eval", self.eval)):
            found = re.search(pattern, line) if pattern else None
            if found:
                length = found.groupdict().get("length")
                write(task, kind, int(float(found["step"])), float(found["return"]), None if length is None else int(length))

    def look(self, task: Task, place: Path) -> None:
        """There is no file."""


@dataclasses.dataclass
class Files:
    """Log files that grow."""

    pattern: str
    offsets: dict[Path, int] = dataclasses.field(default_factory=dict, kw_only=True)

    def hear(self, task: Task, line: str) -> None:
        """Lines say nothing."""

    def grown(self, place: Path) -> Iterator[tuple[Path, bytes]]:
        """Each file and what of it was not read yet."""
        for path in sorted(place.glob(self.pattern)):
            with path.open("rb") as file:
                file.seek(self.offsets.get(path, 0))
                yield path, file.read()


@dataclasses.dataclass
class Csv(Files):
    """Rows from CSV files; lines that begin with # are left out. Columns are named as their header names them."""

    step: str = "step"
    episode: str = ""
    eval: str = ""
    length: str = ""
    headers: dict[Path, list[str]] = dataclasses.field(default_factory=dict, kw_only=True)

    def look(self, task: Task, place: Path) -> None:
        """Takes whole lines."""
        for path, data in self.grown(place):
            whole = data[: data.rfind(b"\n") + 1]
            self.offsets[path] = self.offsets.get(path, 0) + len(whole)
            for values in csv.reader(line for line in whole.decode("utf-8", "replace").splitlines() if not line.startswith("#")):
                header = self.headers.setdefault(path, values)
                if header is not values:
                    self.take(task, dict(zip(header, values, strict=False)))

    def take(self, task: Task, row: dict[str, str]) -> None:
        """Takes one row."""
        length = row.get(self.length)
        for kind, column in (("episode", self.episode), ("eval", self.eval)):
            if column and row.get(column):
                write(task, kind, int(float(row[self.step])), float(row[column]), int(float(length)) if length else None)


@dataclasses.dataclass
class Tensorboard(Files):
    """Rows from tensorboard's event files; tags that are neither ``episode`` nor ``eval`` are kept under their own names."""

    episode: str = ""
    eval: str = ""

    def look(self, task: Task, place: Path) -> None:
        """Takes whole records: a length, its checksum, the event, its checksum."""
        for path, data in self.grown(place):
            at = 0
            while len(data) - at >= 12 and len(data) - at >= 16 + (size := struct.unpack_from("<Q", data, at)[0]):
                self.take(task, data[at + 12 : at + 12 + size])
                at += 16 + size
            self.offsets[path] = self.offsets.get(path, 0) + at

    def take(self, task: Task, event: bytes) -> None:
        """Takes one event."""
        fields = dict(fields_of(event))
        step = fields.get(2, 0)
        for number, summary in fields_of(fields.get(5, b"")):
            told = dict(fields_of(summary)) if number == 1 else {}
            if 1 in told and 2 in told:
                tag, value = told[1].decode(), struct.unpack("<f", told[2])[0]
                kind = {self.episode: "episode", self.eval: "eval"}.get(tag)
                if kind:
                    write(task, kind, step, value, None)
                else:
                    task.write({"t": "scalar", "step": step, "k": tag, "v": value})


def fields_of(message: bytes) -> Iterator[tuple[int, Any]]:
    """The numbers and values of a protobuf message's fields: varints as numbers, everything else as bytes."""
    at = 0

    def varint() -> int:
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = message[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
        else:
            size = {1: 8, 5: 4}.get(kind) or varint()
            yield key >> 3, message[at : at + size]
            at += size


def write(task: Task, kind: str, step: int, value: float, length: int | None) -> None:
    """A row at a step."""
    task.steps = max(task.steps, step)
    if kind == "episode":
        task.episodes += 1
    task.row(kind, value, length, step=step)
