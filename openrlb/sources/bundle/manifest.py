"""A bundle's manifest: which files it has and what each must be. It vouches for itself too."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from openrlb.errors import SourceError

NAME = "bundle.json"
CARD = "README.md"
STAGING = ".openrlb-unfinished"
"""Where a bundle is made, inside its folder; hidden, so that nobody reads it."""
FORMAT = "openrlb-bundle"
SCHEMA = 2
FIX = "get the bundle again from where it came from"

MAX_MANIFEST_BYTES = 64 * 1024**2
MAX_FILE_BYTES = 4 * 1024**3
"""The largest file of a bundle: it is held in memory while it is read."""
MAX_KEPT_BYTES = 64 * 1024**2
"""The largest file kept with a run."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Listed:
    """What a file must be: its sha256 and its size in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Part:
    """Some runs of one algorithm in one environment: the least that is read at once.

    Attributes:
        env: Their environment.
        algo: Their algorithm.
        runs: How many they are.
        values: How many values they logged.
        files: The Parquet files, the one with the runs first.
    """

    env: str
    algo: str
    runs: int
    values: int
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What ``bundle.json`` says.

    Attributes:
        parts: All runs.
        files: Every file but the manifest, by its path with forward slashes.
        license: The license of the data, by its SPDX or Hugging Face identifier, or ``unknown``.
        removed: What was taken out before it was written: in how many runs, by field.
        openrlb: The version that wrote it.
        schema: The format's version.
    """

    parts: tuple[Part, ...]
    files: Mapping[str, Listed]
    license: str = "unknown"
    removed: Mapping[str, int] = field(default_factory=dict)
    openrlb: str = ""
    schema: int = SCHEMA


def dumped(manifest: Manifest) -> bytes:
    """A manifest as the bytes of ``bundle.json``; equal manifests give equal bytes."""
    document: dict[str, Any] = {"format": FORMAT, "schema": manifest.schema, "openrlb": manifest.openrlb}
    document |= {"license": manifest.license, "removed": dict(sorted(manifest.removed.items()))}
    document["parts"] = [asdict(part) for part in manifest.parts]
    document["files"] = {path: asdict(one) for path, one in sorted(manifest.files.items())}
    return sealed(document)


def sealed(document: Mapping[str, Any]) -> bytes:
    """A document as JSON, with the sha256 of its other keys as the last one."""
    bare = json.dumps(document, indent=1).encode()
    return json.dumps({**document, "sha256": hashlib.sha256(bare).hexdigest()}, indent=1).encode() + b"\n"


def loaded(data: bytes) -> Manifest:
    """The manifest in the bytes of ``bundle.json``.

    Raises:
        SourceError: It is none, it is of a newer or an older format, a byte of it was changed, or a path in it leads out.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise _refused(f"it is larger than {MAX_MANIFEST_BYTES // 1024**2} MiB")
    try:
        document = json.loads(data)
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ValueError("it is no manifest of openrlb")
    except (ValueError, RecursionError) as error:
        raise _refused(f"it is damaged, or no manifest: {error}") from error
    if document.get("schema") != SCHEMA:
        raise _of_another_schema(document)
    bare = {key: value for key, value in document.items() if key != "sha256"}
    try:
        if sealed(bare) != data:
            raise _refused("its sha256 differs: something in it was changed")
        return _checked(bare)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _refused(f"it is no manifest: {type(error).__name__} {error}") from error


def _of_another_schema(document: Mapping[str, Any]) -> SourceError:
    """The error for a manifest of an older or a newer format."""
    schema, by = document.get("schema"), document.get("openrlb")
    why = f"its schema is {schema!r}, and {SCHEMA} is the one this openrlb reads"
    fix = "install a newer openrlb: pip install --upgrade openrlb"
    if isinstance(schema, int) and 0 <= schema < SCHEMA:
        written = f"openrlb {by}" if isinstance(by, str) and by else "an older openrlb"
        why = f"{why}: it was written by {written}"
        fix = "export it again with this openrlb from the store that it came from, or get a newer copy of it"
    elif not _is_count(schema):
        fix = FIX
    return SourceError(f"{NAME} is not read", why, fix)


def _checked(document: Mapping[str, Any]) -> Manifest:
    """The document's fields, each of its type and in its range.

    Raises:
        ValueError: One that is not, as KeyError, TypeError and AttributeError.
        SourceError: A path that leads out.
    """
    files: dict[str, Listed] = {}
    for path, one in document["files"].items():
        digest, size = one["sha256"], one["bytes"]
        if not (_is_count(size) and size <= MAX_FILE_BYTES):
            raise ValueError(f"{path} has {size!r} bytes")
        if not (isinstance(digest, str) and _SHA256.fullmatch(digest)):
            raise ValueError(f"{path} has no sha256")
        files[inside(path)] = Listed(digest, size)
    parts = []
    if not isinstance(document["parts"], list):
        raise ValueError("its parts are no list")
    for one in document["parts"]:
        part = Part(one["env"], one["algo"], one["runs"], one["values"], tuple(one["files"]))
        if not all(isinstance(name, str) and name for name in (part.env, part.algo)):
            raise ValueError("a part names no environment or no algorithm")
        if not (_is_count(part.runs) and _is_count(part.values) and part.files):
            raise ValueError(f"the part of {part.env} and {part.algo} has no runs")
        for path in part.files:
            if path not in files:
                raise ValueError(f"{path!r} is not among its files")
        parts.append(part)
    removed = {str(name): int(count) for name, count in document["removed"].items()}
    return Manifest(tuple(parts), files, str(document["license"]), removed, str(document["openrlb"]))


def inside(path: object) -> str:
    """A path of the manifest, where it is relative and stays in the bundle.

    Raises:
        SourceError: It does not.
    """
    if isinstance(path, str) and path and "\0" not in path:
        parts, foreign = PurePosixPath(path).parts, PureWindowsPath(path)
        plain = not (PurePosixPath(path).is_absolute() or foreign.drive or foreign.root or "\\" in path or ".." in parts)
        if plain and "/".join(parts) == path:
            return path
    raise leads_out(path)


def leads_out(path: object) -> SourceError:
    """The error for a path that leads out of the bundle."""
    return SourceError(f"{NAME} is refused", f"the path {path!r} leads out of the bundle", "do not use this bundle")


def _is_count(value: object) -> bool:
    """True for a whole number that counts something."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _refused(why: str) -> SourceError:
    """The error for a manifest that cannot be used."""
    return SourceError(f"{NAME} is not read", why, FIX)
