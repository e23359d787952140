"""One pass over all ids: how many there are, and what precedes each. Knows only integers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...kernels import kernel
from ..hashing import longer, small_rows


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


class _Seen(NamedTuple):
    """What was seen of each id, by its number; marks 0 is one not seen yet."""

    before: NDArray[np.int64]
    place: NDArray[np.int64]
    latest_row: NDArray[np.int64]
    marks: NDArray[np.int64]


_SEEN, _SEVERAL_BEFORE, _SEVERAL_PLACES = 1, 2, 4


def scan_ids(ids: NDArray[np.int64], offsets: NDArray[np.int64]) -> IdScan:
    """Look at every id once."""
    seen = _Seen(*(np.empty(0, np.int64) for _ in _Seen._fields))
    scan = np.zeros(len(IdScan._fields), np.int64)
    scan[_FIRST_ROW] = -1
    for rows in small_rows(ids, offsets):
        seen = _Seen(*(longer(values, rows.n_numbers, 0) for values in seen))
        _scan(rows.numbers, rows.offsets, rows.first, seen, scan)
    return IdScan(*scan.tolist())


_DISTINCT, _AMBIGUOUS, _MOVING, _REPEATED, _FIRST_ROW, _ROWS = range(len(IdScan._fields))


@kernel
def _scan(
    ids: NDArray[np.int64],
    offsets: NDArray[np.int64],
    first: int,
    seen: _Seen,
    scan: NDArray[np.int64],
) -> None:
    """Add rows `first`, ... to `scan`, the fields of an `IdScan`. Ids are their numbers."""
    for row in range(offsets.size - 1):
        before = -1
        is_ambiguous = False
        for position in range(offsets[row], offsets[row + 1]):
            number = ids[position]
            place = position - offsets[row]
            if seen.marks[number] == 0:
                seen.marks[number] = _SEEN
                seen.before[number], seen.place[number] = before, place
                scan[_DISTINCT] += 1
            else:
                if seen.latest_row[number] == first + row:
                    scan[_REPEATED] += 1
                if seen.before[number] != before:
                    is_ambiguous = True
                    if not seen.marks[number] & _SEVERAL_BEFORE:
                        seen.marks[number] |= _SEVERAL_BEFORE
                        scan[_AMBIGUOUS] += 1
                        if scan[_FIRST_ROW] < 0:
                            scan[_FIRST_ROW] = first + row
                if seen.place[number] != place and not seen.marks[number] & _SEVERAL_PLACES:
                    seen.marks[number] |= _SEVERAL_PLACES
                    scan[_MOVING] += 1
            seen.latest_row[number] = first + row
            before = number
        scan[_ROWS] += is_ambiguous
