"""What a run was made with: requirements.txt, wandb-metadata.json, the final summary; without names of people and machines."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from openrlb.sources.identity import clean_settings, without_personal
from openrlb.sources.protocol import MAX_SETTINGS_BYTES
from openrlb.sources.wandb.client import Client, RefusedError
from openrlb.sources.wandb.together import METADATA, REQUIREMENTS, Told

SUMMARY = "summary.json"
_PERSONAL_PART = re.compile(r"host|user|mail|login|account|node|root$|cwd", re.IGNORECASE)
_HARDWARE = ("cpu_count", "cpu_count_logical", "gpu", "gpu_count", "gpu_nvidia", "memory", "os", "python")


@dataclass(slots=True)
class Provenance:
    """What was kept beside a run's record.

    Attributes:
        blobs: The kept files by name.
        commit: The commit of the training code, where the metadata tell it.
        hardware: A fingerprint of the machine.
        notes: What was noticed.
    """

    blobs: dict[str, bytes] = field(default_factory=dict)
    commit: str | None = None
    hardware: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_provenance(client: Client, remote: Any, keep_personal: bool, told: Told | None = None) -> Provenance:  # noqa: ANN401
    """Fetches the two files that tell how a run was made: one request for both their places, one for each.

    Args:
        client: The connection.
        remote: The wandb client's run.
        keep_personal: Keep names of people and machines.
        told: The files' places, where they were asked for already.

    Raises:
        TransientError: W&B does not give them for the moment.
        RefusedError: W&B refuses the list.
    """
    found = Provenance()
    files = _download(client, remote, told, found.notes)
    if REQUIREMENTS in files:
        text = files[REQUIREMENTS].decode("utf-8", "replace")
        found.blobs[REQUIREMENTS] = (text if keep_personal else without_personal(text)).encode()
    else:
        found.notes.append("wandb keeps no requirements.txt of it: its dependencies are not known")
    if METADATA in files:
        _take_metadata(files[METADATA], found, keep_personal)
    summary = remote.summary_metrics
    if isinstance(summary, Mapping) and summary:
        found.blobs[SUMMARY] = _json(summary, keep_personal, found.notes, SUMMARY)
    return found


def _download(client: Client, remote: Any, told: Told | None, notes: list[str]) -> dict[str, bytes]:  # noqa: ANN401
    """The bytes of the two files, as far as they are there and of a sensible size."""
    kept: dict[str, bytes] = {}
    for file in client.step(lambda: _files(remote, told)):
        name = str(file.name)
        if name not in (REQUIREMENTS, METADATA) or not file.size:
            continue
        if file.size > MAX_SETTINGS_BYTES:
            notes.append(f"{name} was left out: {file.size:,} bytes are more than such a file has")
            continue
        try:
            data = client.same_file(_sum(file)) or client.step(partial(_saved, client, file))
        except (RefusedError, OSError) as error:
            notes.append(f"{name} could not be fetched: {error}")
            continue
        if len(data) <= MAX_SETTINGS_BYTES:
            kept[name] = data
    return kept


def _files(remote: Any, told: Told | None) -> list[Any]:  # noqa: ANN401
    """The client's files of the two names."""
    if told is None:
        return list(remote.files(names=[REQUIREMENTS, METADATA]))
    from wandb.apis.public import File

    return [File(remote._service_api, dict(attributes), remote) for attributes in told.files]


def _sum(file: Any) -> str:  # noqa: ANN401
    """The checksum of a file as the service tells it (MD5 in base 64); empty where it tells none."""
    return str(getattr(file, "md5", None) or "")


def _saved(client: Client, file: Any) -> bytes:  # noqa: ANN401
    """A file's bytes; kept for other runs if they have the checksum that was told: a project's requirements are often alike."""
    folder = client.new_folder()
    file.download(root=str(folder), replace=True).close()
    place = folder / str(file.name)
    data = place.read_bytes()
    place.unlink()
    folder.rmdir()
    own = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    if own == _sum(file):
        client.keep_file(own, data)
    return data


def _take_metadata(data: bytes, found: Provenance, keep_personal: bool) -> None:
    """The metadata as they are kept, and what of them goes into the record."""
    try:
        metadata = json.loads(data)
    except (ValueError, RecursionError) as error:
        found.notes.append(f"{METADATA} was left out: {error}")
        return
    if not isinstance(metadata, dict):
        found.notes.append(f"{METADATA} was left out: it is no mapping")
        return
    git = metadata.get("git")
    if isinstance(git, Mapping) and isinstance(git.get("commit"), str):
        found.commit = git["commit"]
    kept = metadata if keep_personal else impersonal(metadata)
    if not keep_personal and isinstance(git, Mapping) and isinstance(git.get("remote"), str):
        kept["git"] = {**kept["git"], "remote": without_login(git["remote"])}
    found.blobs[METADATA] = _json(kept, keep_personal, found.notes, METADATA)
    found.hardware = {key: kept[key] for key in _HARDWARE if key in kept}


def impersonal(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata without what names a person or a machine, at any depth.

    >>> impersonal({"host": "box7", "email": "a@b.org", "git": {"commit": "c1", "remote": "https://x"}, "root": "/home/ann/x"})
    {'git': {'commit': 'c1', 'remote': 'https://x'}}
    """
    kept: dict[str, Any] = {}
    for key, value in metadata.items():
        if not _PERSONAL_PART.search(str(key)):
            kept[key] = impersonal(value) if isinstance(value, Mapping) else value
    return kept


def without_login(remote: str) -> str:
    """A git remote without the login, or token, that may stand before the host.

    >>> without_login("git@github.com:a/b.git"), without_login("https://ann:token@github.com/a/b"), without_login("https://x/y")
    ('github.com:a/b.git', 'https://github.com/a/b', 'https://x/y')
    """
    return re.sub(r"^(\w+://)?[^@/]*@", r"\1", remote)


def _json(value: Mapping[str, Any], keep_personal: bool, notes: list[str], name: str) -> bytes:
    """A mapping as JSON, without personal texts unless they are asked for."""
    try:
        plain = value if keep_personal else clean_settings(value)
    except ValueError as error:
        notes.append(f"{name} was left out: {error}")
        plain = {}
    return (json.dumps(plain, sort_keys=True, indent=1, default=str) + "\n").encode()
