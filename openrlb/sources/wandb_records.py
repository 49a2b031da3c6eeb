"""The records of a ``.wandb`` file: LevelDB's log format with the header of Weights & Biases.

A file is a header of 7 bytes and then blocks of 32 KiB. A block holds fragments: a checksum (CRC-32 of kind and payload),
the payload's length, a kind (1 whole, 2 first, 3 middle, 4 last) and the payload; a record is one whole fragment, or a
first one with all up to a last one. After damage, reading goes on at the next block.

The layout is that of https://github.com/google/leveldb/blob/main/doc/log_format.md, with another checksum.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAGIC = b":W&B"
FILE_HEADER = MAGIC + b"\xe1\xbe\x00"
BLOCK_BYTES = 32 * 1024
MAX_RECORD_BYTES = 64 * 1024**2
"""A longer record is no log row; it is left out."""
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4
_BROKEN = 0
_FRAGMENT = struct.Struct("<IHB")


@dataclass(slots=True)
class Damage:
    """What was wrong with a file.

    Attributes:
        cut: True where the file ends inside a record.
        places: How many blocks are damaged: the rest of such a block cannot be read.
        incomplete: How many records lack some of their fragments, or are too long.
    """

    cut: bool = False
    places: int = 0
    incomplete: int = 0

    def words(self) -> str:
        """The damage in words, empty where there is none.

        >>> Damage(cut=True, places=1).words()
        'the file is cut inside its last record; 1 damaged block of 32 KiB is left out from the damage on'
        """
        parts = ["the file is cut inside its last record"] if self.cut else []
        if self.places:
            blocks = "block of 32 KiB is" if self.places == 1 else "blocks of 32 KiB are"
            parts.append(f"{self.places:,} damaged {blocks} left out from the damage on")
        if self.incomplete:
            parts.append(f"{self.incomplete:,} records are incomplete and left out")
        return "; ".join(parts)


def records(handle: BinaryIO, damage: Damage) -> Iterator[bytes]:
    """The whole records of a ``.wandb`` file, in order; of a truncated one, all before the cut.

    Args:
        handle: The file, opened at its beginning.
        damage: Filled in while the records are taken.

    Yields:
        The serialised ``Record`` messages.

    >>> import io
    >>> [*records(io.BytesIO(FILE_HEADER + fragment(WHOLE, b"a") + fragment(WHOLE, b"bc")), Damage())]
    [b'a', b'bc']
    """
    parts: list[bytes] = []
    open_record = False
    size = 0
    for kind, payload in _fragments(handle, damage):
        if kind == _BROKEN:
            damage.incomplete += open_record
            parts, open_record = [], False
        elif kind in (WHOLE, FIRST):
            damage.incomplete += open_record
            parts, size, open_record = [payload], len(payload), kind == FIRST
        elif open_record:  # else the rest of a record whose beginning was damaged, and counted there
            size += len(payload)
            parts.append(payload)
            open_record = kind == MIDDLE
            if size > MAX_RECORD_BYTES:
                damage.incomplete += 1
                parts, open_record = [], False
        if parts and not open_record:
            yield parts[0] if len(parts) == 1 else b"".join(parts)
            parts = []
    damage.cut |= open_record


def _fragments(handle: BinaryIO, damage: Damage) -> Iterator[tuple[int, bytes]]:
    """The sound fragments of all blocks."""
    at = len(FILE_HEADER)
    handle.seek(at)
    block = handle.read(BLOCK_BYTES - at)
    while block:
        last = at + len(block) < BLOCK_BYTES
        yield from _of_block(block, last, damage)
        at, block = 0, handle.read(BLOCK_BYTES)


def _of_block(block: bytes, last: bool, damage: Damage) -> Iterator[tuple[int, bytes]]:
    """The sound fragments of one block; after the first unsound one nothing in it can be trusted, which is told."""
    at = 0
    while at + _FRAGMENT.size <= len(block):
        checksum, length, kind = _FRAGMENT.unpack_from(block, at)
        if checksum == length == kind == 0:  # room that was reserved and never written
            damage.cut |= last
            break
        end = at + _FRAGMENT.size + length
        if end > len(block):
            damage.cut |= last
            damage.places += not last
            break
        if not WHOLE <= kind <= LAST or zlib.crc32(block[at + 6 : end]) != checksum:
            damage.places += 1
            break
        yield kind, block[at + _FRAGMENT.size : end]
        at = end
    else:
        damage.cut |= last and at < len(block)
        return
    yield _BROKEN, b""


def fragment(kind: int, payload: bytes) -> bytes:
    """One fragment as it stands in a file.

    >>> len(fragment(WHOLE, b"abc"))
    10
    """
    return _FRAGMENT.pack(zlib.crc32(bytes([kind]) + payload), len(payload), kind) + payload
