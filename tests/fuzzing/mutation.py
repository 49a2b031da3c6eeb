"""Inputs that are almost right: a valid one with a few bytes, words or numbers changed."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from random import Random

LARGEST = 64 * 1024
"""No input is longer, beyond what it was made of: bombs are tried by tests of their own."""

NUMBERS = (
    *(b"0", b"-1", b"1e309", b"-1e309", b"nan", b"NaN", b"Infinity", b"-0.0", b"1e-320", b"0x10", b"1_000", b"\xd9\xa3"),
    *(str(number).encode() for number in (2**31, 2**53 + 1, 2**62, -(2**62), 2**63, 2**64, 10**30)),
    *(b"9" * 400, b"9" * 5000, b"1." + b"0" * 300 + b"1"),
)
WORDS = (
    *(b"\x00", b"\r", b"\n", b"\r\n", b"\t", b'"', b"'", b"`", b",", b"|", b"=", b":", b"\\", b"/", b"../", b"%", b"&", b"?"),
    *(b"{", b"}", b"[", b"]", b"(", b")", b"*", b"#", b"--", b";", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\xaf"),
    *(b"null", b"true", b"None", b"{}", b"[]", b'""', b"\\ud800", b"\\u0000", b"__class__", b"\xe2\x80\xae", b"\x1b[2J"),
    *(b"[" * 3000, b"{" * 3000, b'{"a":' * 3000, b"(" * 3000, b"((((1))))", b"-" * 3000, b"a." * 3000, b"x" * 5000),
)
_NUMBER = re.compile(rb"-?\d+(\.\d+)?([eE][-+]?\d+)?")


def mutated(data: bytes, others: Sequence[bytes], words: Sequence[bytes], rng: Random) -> bytes:
    """A changed input.

    Args:
        data: A valid one.
        others: More of the same kind, to take pieces from.
        words: What means something in this format.
        rng: The only source of chance: the same state gives the same input.
    """
    out = bytearray(data)
    limit = max(LARGEST, len(data) + 4096)
    for _ in range(1 + min(7, int(rng.expovariate(0.7)))):
        rng.choice(_CHANGES)(out, others, words, rng)
        del out[limit:]
    return bytes(out)


def _place(out: bytearray, rng: Random) -> int:
    return rng.randrange(len(out) + 1)


def _stretch(out: bytearray, rng: Random) -> slice:
    start = _place(out, rng)
    return slice(start, min(len(out), start + 1 + int(rng.expovariate(0.05))))


def _flip(out: bytearray, others: Sequence[bytes], words: Sequence[bytes], rng: Random) -> None:
    if out:
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)


def _byte(out: bytearray, others: Sequence[bytes], words: Sequence[bytes], rng: Random) -> None:
    if out:
        out[rng.randrange(len(out))] = rng.choice((0, 1, 0x20, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _integer(out: bytearray, others: Sequence[bytes], words: Sequence[bytes], rng: Random) -> None:
    """A whole number of a binary header: an extreme one, little or big endian."""
    layout = rng.choice(("<H", "<I", "<Q", ">H", ">I"))
    size = struct.calcsize(layout)
    if len(out) >= size:
        at = rng.randrange(len(out) - size + 1)
        top = 256**size
        number = rng.choice((0, 1, top - 1, top // 2, top // 2 - 1, rng.randrange(top), len(out), len(out) + 1))
        out[at : at + size] = struct.pack(layout, number % top)


def _cut(out: bytearray, others: Sequence[bytes], words: Sequence[bytes], rng: Random) -> None:
    del out[_place(out, rng) :]


def _remove(out: bytearray, others: Sequence[bytes], words: Sequence[bytes], rng: Random) -> None:
    del out[_stretch(out, rng)]


def _repeat(out: bytearray, others: Sequence[bytes], words: Sequence[bytes], rng: Random) -> None:
    piece = out[_stretch(out, rng)] * rng.choice((1, 1, 2, 50))
    at = _place(out, rng)
    out[at:at] = piece[:LARGEST]


def _random(out: bytearray, others: Sequence[bytes], words: Sequence[bytes], rng: Random) -> None:
    out[_stretch(out, rng)] = rng.randbytes(rng.randrange(24))


def _word(out: bytearray, others: Sequence[bytes], words: Sequence[bytes], rng: Random) -> None:
    at = _place(out, rng)
    end = at if rng.random() < 0.5 else min(len(out), at + rng.randrange(8))
    out[at:end] = rng.choice(words) if words and rng.random() < 0.6 else rng.choice(WORDS)


def _number(out: bytearray, others: Sequence[bytes], words: Sequence[bytes], rng: Random) -> None:
    found = list(_NUMBER.finditer(bytes(out)))
    if found:
        match = rng.choice(found)
        out[match.start() : match.end()] = rng.choice(NUMBERS)


def _splice(out: bytearray, others: Sequence[bytes], words: Sequence[bytes], rng: Random) -> None:
    other = rng.choice(others)
    start = rng.randrange(len(other) + 1)
    out[_stretch(out, rng)] = other[start : start + rng.choice((8, 64, 4096))]


_CHANGES = (_flip, _flip, _byte, _integer, _integer, _cut, _remove, _repeat, _random, _word, _word, _number, _number, _splice)
