"""What is taken out of runs before they are handed on: secrets, logins, home folders, and who and where somebody is."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from openrlb.scrubbing import Scrubber, distinct, is_secret_name
from openrlb.sources.identity import is_personal
from openrlb.store.segment import storable
from openrlb.types import Run, RunBatch

NOTE = "taken out before it was handed on: "
"""How the note of a run begins of which something was taken out; it stays with the run wherever that goes."""
PERSONAL, SECRET = "[personal]", "[secret]"
BY_HASH = ("files", "requirements")
"""Fields of a record that hold the sha256 of kept files."""


class Remover:
    """Takes out what nobody else should read. Kept files that runs share are looked at once.

    Names that differ in nothing but what is taken out (two home folders, say) stay apart, the later ones numbered: metrics,
    settings and kept files of one run, and the ids of runs that come one after the other.
    """

    def __init__(self) -> None:
        self._scrubber = Scrubber()
        self._clean: set[str] = set()
        self._ids: dict[tuple[str, str], str] = {}
        self._taken: set[tuple[str, str]] = set()

    def cleaned(self, batch: RunBatch) -> RunBatch:
        """A run without secrets and personal data; where something was taken out, a note of it says what.

        Numbers are never touched, and a run in which there is nothing to take out comes back as it is.
        """
        old = storable(batch.run.to_json())
        names = distinct([*batch.blobs, *(name for name in old.get("files") or {} if name not in batch.blobs)], self._text)
        titles = distinct((one.metric.name for one in batch.metrics), self._text)
        files = {name: self._file(name, data) for name, data in batch.blobs.items()}
        new = {name: self._value(value) for name, value in old.items() if name not in BY_HASH}
        digests = {_sha256(batch.blobs[name]): _sha256(data) for name, data in files.items()}
        new["run"] = self._id(old["source"], new["source"], old["run"])
        new["files"] = {names[name]: digests.get(digest, digest) for name, digest in (old.get("files") or {}).items()}
        new["requirements"] = digests.get(old.get("requirements"), old.get("requirements"))
        metrics = tuple(replace(one, metric=replace(one.metric, name=titles[one.metric.name])) for one in batch.metrics)
        fields = [*_differing(old, new), *(f"file {names[name]}" for name, data in files.items() if data != batch.blobs[name])]
        renamed = zip(metrics, batch.metrics, strict=True)
        fields += [f"metric {one.metric.name}" for one, was in renamed if one.metric.name != was.metric.name]
        fields += [f"file {new_name}" for name, new_name in names.items() if new_name != name]
        if not fields:
            return batch
        new["notes"] = [*new["notes"], NOTE + ", ".join(sorted(set(fields)))]
        return RunBatch(Run.from_json(new), metrics, {names[name]: data for name, data in files.items()})

    def cleaned_run(self, run: Run) -> Run:
        """The same of a record alone, without its values and kept files."""
        return self.cleaned(RunBatch(run, (), {})).run

    def value(self, value: dict[str, Any]) -> dict[str, Any]:
        """The same of settings."""
        cleaned: dict[str, Any] = self._value(value)
        return cleaned

    def _text(self, text: str) -> str:
        """A text."""
        return self._scrubber.text(text)

    def _id(self, source: str, new_source: str, run: str) -> str:
        """A run's id, which no other run of its source has."""
        if (source, run) not in self._ids:
            new, number = self._text(run), 1
            while ((name := new if number == 1 else f"{new} ({number})"), new_source) in self._taken:
                number += 1
            self._ids[source, run] = name
            self._taken.add((name, new_source))
        return self._ids[source, run]

    def _file(self, name: str, data: bytes) -> bytes:
        """A kept file's bytes."""
        digest = _sha256(data)
        if digest in self._clean:
            return data
        changed = self._json(data) if name.endswith(".json") else self._text_of(data, program=name.endswith(".py"))
        if changed == data:
            self._clean.add(digest)
        return changed

    def _text_of(self, data: bytes, program: bool = False) -> bytes:
        """A file's bytes without secrets; every other byte stays, of whatever encoding it is."""
        return self._scrubber.text(data.decode("utf-8", "surrogateescape"), program).encode("utf-8", "surrogateescape")

    def _json(self, data: bytes) -> bytes:
        """A JSON file without secrets and personal values; as it was where there are none."""
        try:
            document = json.loads(data)
            cleaned = self._value(document)
        except (ValueError, RecursionError):
            return self._text_of(data)
        return data if cleaned == document else json.dumps(cleaned, indent=1, sort_keys=True).encode() + b"\n"

    def _value(self, value: Any) -> Any:  # noqa: ANN401 - any JSON value
        """A JSON value without what names a person or a machine, and without secrets."""
        if isinstance(value, dict):
            names = distinct(value, self._text)
            return {names[key]: self._entry(key, item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._value(item) for item in self._words(value)]
        return self._scrubber.text(value) if isinstance(value, str) else value

    def _entry(self, key: str, item: Any) -> Any:  # noqa: ANN401 - any JSON value
        """The value of a key, which may say that it is a secret, or a person's or machine's name."""
        if isinstance(item, str) and item:
            return PERSONAL if is_personal(key) else SECRET if is_secret_name(key) else self._scrubber.text(item)
        return self._value(item)

    def _words(self, words: list[Any]) -> list[Any]:
        """The words of a command line, where a flag may say that the next one is a secret."""
        flags = [isinstance(word, str) and word.startswith("-") and is_secret_name(word) for word in words]
        return [SECRET if flag and isinstance(word, str) else word for word, flag in zip(words, [False, *flags], strict=False)]


def removed(runs: Iterable[Run]) -> dict[str, int]:
    """What was taken out of how many runs, by field, as their notes say.

    >>> run = Run("folder", "a", "p", "a", "ppo", "Hopper-v4", notes=(NOTE + "config.path, file run.py",))
    >>> removed([run, run])
    {'config.path': 2, 'file run.py': 2}
    """
    notes = (note.removeprefix(NOTE) for run in runs for note in run.notes if note.startswith(NOTE))
    return dict(sorted(Counter(field for note in notes for field in note.split(", ")).items()))


def _differing(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted names of values that are not as they were, by their new names."""
    found: list[str] = []
    before, after = ({key: item for key, item in one.items() if prefix or key not in BY_HASH} for one in (old, new))
    for (key, was), (name, value) in zip(before.items(), after.items(), strict=True):
        if isinstance(was, dict) and isinstance(value, dict) and len(was) == len(value):
            found += _differing(was, value, f"{prefix}{name}.")
        elif was != value or key != name:
            found.append(prefix + name)
    return [field.replace(", ", " ") for field in found]


def _sha256(data: bytes) -> str:
    """A file's hash."""
    return hashlib.sha256(data).hexdigest()
