"""The header of an .npy array, looked at before memory is taken; what numpy says of bad ones, in one kind of error."""

import math
import tokenize
import zipfile
import zlib
from typing import BinaryIO

import numpy as np

# what numpy and zipfile raise at files that are cut off, changed, or something else
BROKEN = (
    OSError, ValueError, EOFError, OverflowError, MemoryError, SyntaxError, TypeError, KeyError, NotImplementedError,
    RuntimeError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def check_header(file: BinaryIO, available: int) -> None:
    """Raise one of ``BROKEN`` unless the array at the start of ``file`` is of plain numbers or text and fits.

    available: bytes of header and array together. Pickled objects raise :class:`Objects`.
    """
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"version {version} of the .npy format")
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise Objects
    if any(size < 0 for size in shape) or math.prod(shape) * dtype.itemsize > available:
        raise ValueError(f"an array of shape {shape} that the file is too short for")


class Objects(ValueError):
    """The array holds Python objects."""


def reason(error: Exception) -> str:
    """Half a sentence for the user: why an array file could not be read."""
    if isinstance(error, Objects):
        return "it holds Python objects, which are not read because they could run code"
    if isinstance(error, MemoryError):
        return "there is not enough memory for it"
    return "it is not such a file, or was cut off"
