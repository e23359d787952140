"""One pass over all ids: how many there are, and what precedes each. Knows only integers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...kernels import jitted
from ..hashing import doubled, find, grown


class IdScan(NamedTuple):
    """What the ids of a trace look like."""

    n_distinct: int
    n_ambiguous: int
    """Distinct ids after more than one predecessor, or sometimes first and sometimes not."""
    n_moving: int
    """Distinct ids at more than one position."""
    n_repeated: int
    """Times an id occurred again within its own row."""
    first_row: int
    """Row where the first ambiguous id showed, -1 for none."""
    n_ambiguous_rows: int
    """Rows with an id after another predecessor than when it was first seen."""


def scan_ids(ids: NDArray[np.int64], offsets: NDArray[np.int64]) -> IdScan:
    """Look at every id once."""
    return IdScan(*(int(value) for value in _scan(ids, offsets)))


@jitted
def _scan(
    ids: NDArray[np.int64], offsets: NDArray[np.int64]
) -> tuple[int, int, int, int, int, int]:
    slots = np.full(1 << 12, -1, np.int32)
    keys = np.empty(slots.size // 2, np.int64)
    before_of = np.empty(keys.size, np.int64)
    place_of = np.empty(keys.size, np.int64)
    latest_row = np.empty(keys.size, np.int64)
    marks = np.zeros(keys.size, np.int64)  # 1: several predecessors, 2: several positions
    n = n_ambiguous = n_moving = n_repeated = n_rows = 0
    first_row = -1
    for row in range(offsets.size - 1):
        before = -1
        is_ambiguous = False
        for position in range(offsets[row], offsets[row + 1]):
            if n == keys.size:
                keys, before_of, place_of = doubled(keys), doubled(before_of), doubled(place_of)
                latest_row, marks = doubled(latest_row), doubled(marks)
                if keys.size * 2 > slots.size:
                    slots = grown(slots, keys, n)
            slot = find(slots, keys, ids[position])
            number = slots[slot]
            place = position - offsets[row]
            if number < 0:
                number = n
                slots[slot], keys[n], before_of[n], place_of[n] = n, ids[position], before, place
                latest_row[n] = row
                marks[n] = 0
                n += 1
            else:
                if latest_row[number] == row:
                    n_repeated += 1
                latest_row[number] = row
                if before_of[number] != before:
                    is_ambiguous = True
                    if not marks[number] & 1:
                        marks[number] |= 1
                        n_ambiguous += 1
                        if first_row < 0:
                            first_row = row
                if place_of[number] != place and not marks[number] & 2:
                    marks[number] |= 2
                    n_moving += 1
            before = number
        n_rows += is_ambiguous
    return n, n_ambiguous, n_moving, n_repeated, first_row, n_rows
