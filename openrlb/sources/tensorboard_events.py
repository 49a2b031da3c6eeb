"""TensorBoard event files: TFRecord framing and the few fields of an event that a log of scalars needs.

A record is its length (8 bytes), the length's masked CRC-32C, the payload and the payload's masked CRC-32C
(https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details); the payload is an ``Event`` message
(https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/event.proto). Neither TensorFlow nor
tensorboard is needed: protobuf, which wandb brings, parses the messages from the field numbers below.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

VERSION = b"brain.Event:"
"""What the first event of every file says."""
HEADER_BYTES = 12
MAX_EVENT_BYTES = 64 * 1024**2
"""A longer event holds no scalar; it is passed over."""
MAX_GAP_BYTES = 64 * 1024**2
"""So far the next sound record is looked for; what is behind is left out with the gap."""
_CHUNK = 4096
_CHUNK_BYTES = 8 * 1024**2
_WINDOW = 1 << 20
_ROW = 256
_LONG = 4096
_MANY = 64  # from so many records of one length on, numpy computes their checksums faster than Python

_MESSAGES = {
    "Event": "wall_time=1:double step=2:int64 file_version=3:bytes summary=5:Summary",
    "Summary": "value=1:Value*",
    "Value": "tag=1:bytes simple_value=2:float tensor=8:Tensor metadata=9:Metadata",
    "Metadata": "plugin_data=1:PluginData",
    "PluginData": "plugin_name=1:bytes content=2:bytes",
    "Tensor": "dtype=1:int32 tensor_shape=2:Shape tensor_content=4:bytes float_val=5:float* double_val=6:double* "
    "int_val=7:int32* string_val=8:bytes* int64_val=10:int64*",
    "Shape": "dim=2:Dim*",
    "Dim": "size=1:int64",
    "HParams": "session_start_info=3:SessionStart",
    "SessionStart": "hparams=1:HParam*",
    "HParam": "key=1:bytes value=2:HParamValue",
    "HParamValue": "number_value=2:double string_value=3:bytes bool_value=4:bool",
}
"""Name, number and type of the fields that are read; a star marks a repeated one."""


@dataclass(slots=True)
class Damage:
    """What was wrong with a file.

    Attributes:
        cut: True where the file ends inside a record.
        lost: How many events have a wrong checksum or cannot be understood.
        gaps: How often the framing was lost, so that the bytes up to the next sound record are left out.
    """

    cut: bool = False
    lost: int = 0
    gaps: int = 0

    def words(self) -> str:
        """The damage in words, empty where there is none.

        >>> Damage(cut=True, lost=2).words()
        'the file is cut inside its last record; 2 damaged events are left out'
        """
        parts = ["the file is cut inside its last record"] if self.cut else []
        parts += [f"{self.lost:,} damaged events are left out"] if self.lost else []
        parts += [f"{self.gaps:,} stretches of bytes that are no records are left out"] if self.gaps else []
        return "; ".join(parts)


@lru_cache(maxsize=1)
def messages() -> dict[str, Any]:
    """The message classes by name, from a pool of their own."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]

    kinds = {"double": 1, "float": 2, "int64": 3, "int32": 5, "bool": 8, "bytes": 12}
    file = descriptor_pb2.FileDescriptorProto(name="openrlb_events.proto", package="openrlb", syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for text in fields.split():
            field_name, _, rest = text.partition("=")
            number, _, kind = rest.rstrip("*").partition(":")
            field = message.field.add(name=field_name, number=int(number), label=3 if text.endswith("*") else 1)
            field.type = kinds.get(kind, 11)
            if kind not in kinds:
                field.type_name = f".openrlb.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"openrlb.{name}")) for name in _MESSAGES}


@lru_cache(maxsize=1)
def _table() -> NDArray[np.uint32]:
    """The table of the reflected Castagnoli polynomial."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0x82F63B78), table >> 1).astype(np.uint32)
    return table


@lru_cache(maxsize=1)
def _single() -> tuple[list[int], list[list[int]]]:
    """The table as Python numbers, and for each byte of a CRC what ``_ROW`` zero bytes make of it."""
    table = _table()
    shifted = (np.arange(256, dtype=np.uint32) << np.array([[0], [8], [16], [24]], np.uint32)).reshape(-1)
    for _ in range(_ROW):
        shifted = table[shifted & np.uint32(0xFF)] ^ (shifted >> np.uint32(8))
    return table.tolist(), shifted.reshape(4, 256).tolist()


def checksum(data: bytes) -> int:
    """The masked CRC-32C of TFRecord files.

    >>> hex(checksum(b"123456789"))
    '0xc78ab0e5'
    """
    table, (first, second, third, fourth) = _single()
    crc, rows = 0xFFFFFFFF, len(data) // _ROW if len(data) >= _LONG else 0
    if rows:  # the rows of a long record are computed side by side, then put together
        for part in _crc(np.frombuffer(data, np.uint8, rows * _ROW).reshape(rows, _ROW), 0).tolist():
            crc = first[crc & 0xFF] ^ second[crc >> 8 & 0xFF] ^ third[crc >> 16 & 0xFF] ^ fourth[crc >> 24] ^ part
    for byte in data[rows * _ROW :]:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _crc(rows: NDArray[np.uint8], start: int) -> NDArray[np.uint32]:
    """The CRC-32C of each row before its last inversion, shape ``(n, length)`` to ``(n,)``."""
    table = _table()
    crc = np.full(len(rows), start, np.uint32)
    for column in np.ascontiguousarray(rows.T):
        crc = table[(crc ^ column) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
    return crc


def _checksums(rows: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """The masked CRC-32C of each row, shape ``(n, length)`` to ``(n,)``."""
    crc = ~_crc(rows, 0xFFFFFFFF)
    return ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(0xA282EAD8)


def sound(payloads: Sequence[bytes], stored: Sequence[int]) -> NDArray[np.bool_]:
    """Which payloads have the checksum that was stored with them; equally long ones are checked together."""
    good = np.zeros(len(payloads), bool)
    by_length: dict[int, list[int]] = {}
    for number, payload in enumerate(payloads):
        by_length.setdefault(len(payload), []).append(number)
    for length, places in by_length.items():
        if len(places) < _MANY or not length:
            good[places] = [checksum(payloads[place]) == stored[place] for place in places]
            continue
        rows = np.frombuffer(b"".join([payloads[place] for place in places]), np.uint8).reshape(len(places), length)
        good[places] = _checksums(rows) == np.array([stored[place] for place in places], np.uint32)
    return good


def record(payload: bytes) -> bytes:
    """One record as it stands in a file.

    >>> len(record(b"abc"))
    19
    """
    length = struct.pack("<Q", len(payload))
    return length + struct.pack("<I", checksum(length)) + payload + struct.pack("<I", checksum(payload))


def starts_as_event_file(head: bytes) -> bool:
    """Whether a file's first bytes are a record that names the version of the event format.

    >>> starts_as_event_file(record(b"brain.Event:2")), starts_as_event_file(b"step,value")
    (True, False)
    """
    if len(head) < HEADER_BYTES or checksum(head[:8]) != int.from_bytes(head[8:12], "little"):
        return False
    return VERSION in head[HEADER_BYTES : HEADER_BYTES + int.from_bytes(head[:8], "little")]


def events(handle: BinaryIO, damage: Damage) -> Iterator[Any]:
    """The sound events of a file, in order; of a truncated file, all before the cut.

    Args:
        handle: The file, opened at its beginning.
        damage: Filled in while the events are taken.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    event_class = messages()["Event"]
    chunk: list[tuple[bytes, int, Any]] = []
    size = 0
    for payload, stored in _payloads(handle, damage):
        try:
            event = event_class.FromString(payload)
        except DecodeError:
            damage.lost += 1
            continue
        chunk.append((payload, stored, event))
        size += len(payload)
        if size > _CHUNK_BYTES or len(chunk) == _CHUNK:
            yield from _checked(chunk, damage)
            size = 0
            chunk.clear()
    yield from _checked(chunk, damage)


def _checked(chunk: list[tuple[bytes, int, Any]], damage: Damage) -> Iterator[Any]:
    good = sound([item[0] for item in chunk], [item[1] for item in chunk])
    damage.lost += len(chunk) - int(good.sum())
    yield from (item[2] for item, kept in zip(chunk, good, strict=True) if kept)


def _payloads(handle: BinaryIO, damage: Damage) -> Iterator[tuple[bytes, int]]:
    """Payloads with their stored checksums; where a length is damaged, on from the next sound one."""
    at = 0
    while header := handle.read(HEADER_BYTES):
        if len(header) < HEADER_BYTES:
            damage.cut = True
            return
        length = int.from_bytes(header[:8], "little")
        if checksum(header[:8]) != int.from_bytes(header[8:], "little"):
            damage.gaps += 1
            found = _next_record(handle, at + 1)
            if found is None:
                return
            at = found
            handle.seek(at)
            continue
        if length >= 2**62:  # no file is so long
            damage.cut = True
            return
        if length > MAX_EVENT_BYTES:
            handle.seek(at + HEADER_BYTES + length)
            damage.cut |= not handle.read(4)
        else:
            body = handle.read(length + 4)
            if len(body) < length + 4:
                damage.cut = True
                return
            yield body[:length], int.from_bytes(body[length:], "little")
        at += HEADER_BYTES + length + 4


def _next_record(handle: BinaryIO, start: int) -> int | None:
    """Where the next record with a sound length begins, or None."""
    end = start + MAX_GAP_BYTES
    while start < end:
        handle.seek(start)
        window = np.frombuffer(handle.read(_WINDOW), np.uint8)
        places = len(window) - HEADER_BYTES + 1
        if places <= 0:
            return None
        lengths = np.lib.stride_tricks.sliding_window_view(window, HEADER_BYTES)[:places]
        stored = np.ascontiguousarray(lengths[:, 8:]).view("<u4").reshape(-1)
        found = np.flatnonzero(_checksums(lengths[:, :8]) == stored)
        if len(found):
            return start + int(found[0])
        start += places
    return None
