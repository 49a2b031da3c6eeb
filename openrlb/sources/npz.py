"""NumPy's files, read without opening a pickle and without believing what a header claims."""

from __future__ import annotations

import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from openrlb.errors import SourceError
from openrlb.sources.files import UNPACKED_BYTES, UNPACKED_SHARE, check_rows, open_regular, too_large
from openrlb.sources.protocol import MAX_TABLE_BYTES

_DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError, SyntaxError, EOFError, ValueError, TypeError,
    OverflowError, KeyError, NotImplementedError, RuntimeError,
)  # fmt: skip
"""What zipfile and NumPy raise for damaged files; RuntimeError: an encrypted archive."""
_FIX = "save it again with numpy.save(..., allow_pickle=False)"


def members(path: Path) -> tuple[str, ...]:
    """The names of an npz file's arrays, in their order.

    Raises:
        SourceError: Damaged.
        OSError: The file cannot be opened.
    """
    with open_regular(path) as handle:
        try:
            with zipfile.ZipFile(handle) as archive:
                return tuple(name.removesuffix(".npy") for name in archive.namelist())
        except _DAMAGE as error:
            raise SourceError(f"{path.name} is damaged", f"{error}", _FIX) from error


def read_member(path: Path, name: str) -> NDArray[Any]:
    """One array of an npz file.

    Raises:
        SourceError: Damaged, too large, or holding Python objects.
        OSError: The file cannot be opened.
    """
    with open_regular(path) as handle:
        try:
            with zipfile.ZipFile(handle) as archive:
                known = archive.namelist()
                info = archive.getinfo(f"{name}.npy" if f"{name}.npy" in known else name)
                with archive.open(info) as stream:
                    _check(path, name, stream, info.file_size)
                with archive.open(info) as stream:
                    return _array(stream)
        except _DAMAGE as error:
            raise SourceError(f"{path.name}: {name} is damaged", f"{error}", _FIX) from error


def read_npy(path: Path) -> NDArray[Any]:
    """The array of an npy file.

    Raises:
        SourceError: Damaged, too large, or holding Python objects.
        OSError: The file cannot be opened.
    """
    with open_regular(path) as handle:
        try:
            _check(path, path.name, handle, path.stat().st_size)
            handle.seek(0)
            return _array(handle)
        except _DAMAGE as error:
            raise SourceError(f"{path.name} is damaged", f"{error}", _FIX) from error


def _array(stream: IO[bytes]) -> NDArray[Any]:
    """Reads an array whose header was checked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a header that Python 2 wrote
        array: NDArray[Any] = np.lib.format.read_array(cast("Any", stream), allow_pickle=False)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _check(path: Path, name: str, stream: IO[bytes], size: int) -> None:
    """Refuses an array of objects, and one that claims more bytes than there are, before any memory is taken.

    Raises:
        SourceError: Refused.
        ValueError: The header is not NumPy's.
    """
    version = np.lib.format.read_magic(cast("Any", stream))
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a header that Python 2 wrote
        shape, _, dtype = reader(cast("Any", stream))
    if dtype.hasobject:
        raise SourceError(f"{path.name} is not read", f"{name} holds Python objects: pickles are never opened", _FIX)
    claimed = math.prod(shape) * dtype.itemsize
    most = MAX_TABLE_BYTES if dtype.kind in "iufb" else UNPACKED_BYTES + UNPACKED_SHARE * path.stat().st_size
    if claimed > most:
        raise too_large(path, most)
    check_rows(path, math.prod(shape))
    if claimed > size:
        why = f"{name} should hold {claimed:,} bytes, and {size:,} are there"
        raise SourceError(f"{path.name} is cut short", why, "get the file again")
