"""Lists of block ids taken out of JSON lines as text, and read in compiled code.

Ids are most of a line. A JSON parser would make a Python number of each, only for it to become a
64-bit integer; here one pass over a block of lines reads the numbers and leaves a 0 in their place.
Whatever is unusual is left to the parser, which also words the errors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from ...kernels import inner, kernel

_TAB, _NEWLINE, _RETURN, _SPACE, _COMMA = 9, 10, 13, 32, 44
_ZERO, _NINE, _COLON, _OPEN, _CLOSE = 48, 57, 58, 91, 93
_MOST_DIGITS = 18


def split_off(
    block: bytes, name: str
) -> tuple[list[dict[str, Any]], NDArray[np.int64], NDArray[np.int64]] | None:
    """Return the rows of whole lines without their ids, all ids in turn, and their numbers.

    None if any line is not an object with one list of plain integers under `name`.
    """
    text = np.frombuffer(block, np.uint8)
    key = np.frombuffer(f'"{name}"'.encode(), np.uint8)
    rest = np.empty(len(text) + 1, np.uint8)
    ids = np.empty(len(text) // 2 + 1, np.int64)
    counts = np.empty(block.count(b"\n") + 1, np.int64)
    n_rest, n_ids, n_rows = _scanned(text, key, rest, ids, counts)
    if n_rows < 0:
        return None
    rows = []
    try:
        for line in rest[:n_rest].tobytes().split(b"\n")[:n_rows]:
            row = orjson.loads(line)
            if type(row) is not dict or row.pop(name, None) != 0:
                return None
            rows.append(row)
    except orjson.JSONDecodeError:
        return None
    return rows, ids[:n_ids], counts[:n_rows]


@kernel
def _scanned(
    text: NDArray[np.uint8],
    key: NDArray[np.uint8],
    rest: NDArray[np.uint8],
    ids: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Copy `text` but for the lists after `key`, whose numbers go to `ids`.

    A quote within a JSON string is escaped, so the key's bytes are the key (or a value of that
    text, which no list follows). Every line must have it once. Returns bytes left, ids, lines;
    -1 lines if anything is unusual.
    """
    n_rest = n_ids = n_rows = n_lists = 0
    i, end = 0, text.size
    while i < end:
        sign = text[i]
        rest[n_rest] = sign
        n_rest += 1
        i += 1
        if sign == _NEWLINE or i == end:
            if n_lists != 1:
                return 0, 0, -1
            n_rows += 1
            n_lists = 0
            continue
        if sign != key[0] or i + key.size > end or text[i] != key[1]:
            continue
        k = 1
        while k < key.size and text[i + k - 1] == key[k]:
            k += 1
        if k < key.size:
            continue
        for k in range(1, key.size):
            rest[n_rest] = key[k]
            n_rest += 1
        i += key.size - 1
        while i < end and (text[i] == _SPACE or text[i] == _COLON):
            rest[n_rest] = text[i]
            n_rest += 1
            i += 1
        if i == end or text[i] != _OPEN or n_lists:
            return 0, 0, -1
        i, n_here = _numbers(text, i + 1, ids, n_ids)
        if n_here < 0:
            return 0, 0, -1
        counts[n_rows] = n_here
        n_ids += n_here
        n_lists = 1
        rest[n_rest] = _ZERO
        n_rest += 1
    if n_lists:  # the text ends with a list, so within an object
        return 0, 0, -1
    return n_rest, n_ids, n_rows


@inner
def _numbers(
    text: NDArray[np.uint8], start: int, ids: NDArray[np.int64], n_before: int
) -> tuple[int, int]:
    """Read comma-separated numbers up to a bracket; return where it ends and how many, or -1."""
    n, i = n_before, start
    value = np.int64(0)
    n_digits = 0
    is_over = False  # a blank has followed the number
    needs_more = False  # a comma came last
    while i < text.size:
        sign = text[i]
        i += 1
        if _ZERO <= sign <= _NINE:
            if is_over or n_digits == _MOST_DIGITS or (n_digits == 1 and value == 0):
                return i, -1
            value = value * 10 + (np.int64(sign) - _ZERO)
            n_digits += 1
        elif sign in (_COMMA, _CLOSE):
            if n_digits:
                ids[n] = value
                n += 1
            elif sign == _COMMA or needs_more:
                return i, -1
            if sign == _CLOSE:
                return i, n - n_before
            value, n_digits, is_over, needs_more = np.int64(0), 0, False, True
        elif sign in (_SPACE, _TAB, _RETURN):
            is_over = n_digits > 0
        else:
            return i, -1
    return i, -1
