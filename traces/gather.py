"""Rows picked out of a ragged array. Knows nothing of what the values mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..kernels import jitted


def gather(
    values: NDArray[np.int64], offsets: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the values of `rows`, one after the other, and their offsets."""
    picked = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(np.diff(offsets)[rows], out=picked[1:])
    return _gathered(values, offsets, rows, picked), picked


@jitted
def _gathered(
    values: NDArray[np.int64],
    offsets: NDArray[np.int64],
    rows: NDArray[np.int64],
    picked: NDArray[np.int64],
) -> NDArray[np.int64]:
    out = np.empty(picked[-1], np.int64)
    for place in range(rows.size):
        start = offsets[rows[place]]
        for position in range(picked[place + 1] - picked[place]):
            out[picked[place] + position] = values[start + position]
    return out
