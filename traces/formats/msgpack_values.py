"""MessagePack values out of a file, one after the other. Knows the encoding and nothing else.

Follows the MessagePack specification. Extension types are returned as their bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ... import TraceError
from .files import opened

_NUMBERS = {
    0xCA: ">f",
    0xCB: ">d",
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">Q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}
_LENGTHS = {  # what follows: (format of its length, kind)
    0xC4: (">B", "bytes"),
    0xC5: (">H", "bytes"),
    0xC6: (">I", "bytes"),
    0xC7: (">B", "extension"),
    0xC8: (">H", "extension"),
    0xC9: (">I", "extension"),
    0xD9: (">B", "text"),
    0xDA: (">H", "text"),
    0xDB: (">I", "text"),
    0xDC: (">H", "list"),
    0xDD: (">I", "list"),
    0xDE: (">H", "map"),
    0xDF: (">I", "map"),
}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_DEEPEST = 64


def msgpack_values(path: Path) -> Iterator[Any]:
    """Yield the values of a file.

    Raises:
        TraceError: the contents are not MessagePack.
    """
    with opened(path) as stream:
        n_found = 0
        while first := stream.read(1):
            n_found += 1
            try:
                yield _value(first[0], stream, 0)
            except (ValueError, struct.error) as error:
                told = f"{path}: value {n_found} must be MessagePack: {error}"
                raise TraceError(told) from None


def _value(first: int, stream: BinaryIO, depth: int) -> Any:  # noqa: ANN401
    if depth > _DEEPEST:
        raise ValueError(f"nested deeper than {_DEEPEST}")
    if first <= 0x7F:
        return first
    if first >= 0xE0:
        return first - 0x100
    if first in _CONSTANTS:
        return _CONSTANTS[first]
    if first in _NUMBERS:
        form = _NUMBERS[first]
        return struct.unpack(form, _taken(stream, struct.calcsize(form)))[0]
    if 0xD4 <= first <= 0xD8:
        return _taken(stream, 1 + (1 << (first - 0xD4)))[1:]
    kind, n = _kind_and_length(first, stream)
    if kind == "text":
        return _taken(stream, n).decode("utf-8", "replace")
    if kind == "bytes":
        return _taken(stream, n)
    if kind == "extension":
        return _taken(stream, n + 1)[1:]
    if kind == "list":
        return [_value(_taken(stream, 1)[0], stream, depth + 1) for _ in range(n)]
    found = {}
    for _ in range(n):
        key = _value(_taken(stream, 1)[0], stream, depth + 1)
        if isinstance(key, list | dict):
            raise ValueError("a key that is a list or a map")
        found[key] = _value(_taken(stream, 1)[0], stream, depth + 1)
    return found


def _kind_and_length(first: int, stream: BinaryIO) -> tuple[str, int]:
    if first <= 0x8F:
        return "map", first & 0x0F
    if first <= 0x9F:
        return "list", first & 0x0F
    if first <= 0xBF:
        return "text", first & 0x1F
    if first not in _LENGTHS:
        raise ValueError(f"no type has the code {first:#x}")
    form, kind = _LENGTHS[first]
    return kind, struct.unpack(form, _taken(stream, struct.calcsize(form)))[0]


def _taken(stream: BinaryIO, n: int) -> bytes:
    """Read `n` bytes, in pieces: a damaged length must not claim the memory for them."""
    parts = []
    while n > 0:
        part = stream.read(min(n, 1 << 20))
        if not part:
            raise ValueError("the file ends within a value")
        parts.append(part)
        n -= len(part)
    return b"".join(parts)
