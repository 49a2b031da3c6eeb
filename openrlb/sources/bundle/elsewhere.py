"""Bundles that lie elsewhere, by their address."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from openrlb.sources.bundle.hub import HUB, HubPlace, hub_address
from openrlb.sources.bundle.manifest import loaded
from openrlb.sources.bundle.read import copied, read_bundle
from openrlb.sources.bundle.web import WebPlace
from openrlb.sources.protocol import Unread
from openrlb.types import RunBatch, Selection


def read_elsewhere(
    source: str, wanted: Selection | None = None, on_file: Callable[[Path], None] | None = None
) -> Iterator[RunBatch | Unread]:
    """Reads a bundle that lies on a web server or on the Hugging Face hub.

    Args:
        source: ``http(s)://...`` of its folder or its ``bundle.json``, or ``hf://datasets/OWNER/NAME[@REVISION][/FOLDER]``.
        wanted: Which runs are wanted; files without any of their environments and algorithms are not asked for.
        on_file: Called with each file's path before it is asked for.

    Raises:
        UsageError: An address that means nothing, or the hub's client is not installed.
        NetworkError: Nobody answers, or access is refused.
        SourceError: There is no bundle, or a file of it is not what the manifest says.
        StoreUnwritable: The disk has no room for it.
    """
    told: Callable[[Path], None] = on_file or (lambda _: None)
    address = hub_address(source)
    place: WebPlace | HubPlace = HubPlace(address, told) if address.startswith(HUB) else WebPlace(address, told)
    for record in read_bundle(place, loaded(place.manifest()), wanted):
        yield copied(record) if isinstance(record, RunBatch) else record
    place.clear()
