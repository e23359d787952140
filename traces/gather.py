"""Rows picked out of a ragged array. Knows nothing of what the values mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..kernels import kernel


def gather(
    values: NDArray[np.int64], offsets: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the values of `rows`, one after the other, and their offsets."""
    picked = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(np.diff(offsets)[rows], out=picked[1:])
    return leading(values, offsets, rows, picked), picked


def leading(
    values: NDArray[np.int64],
    offsets: NDArray[np.int64],
    rows: NDArray[np.int64],
    picked: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the first values of `rows`, as many of each as lie between the offsets `picked`."""
    out = np.empty(picked[-1], np.int64)
    _gather(values, offsets, rows, picked, out)
    return out


@kernel
def _gather(
    values: NDArray[np.int64],
    offsets: NDArray[np.int64],
    rows: NDArray[np.int64],
    picked: NDArray[np.int64],
    out: NDArray[np.int64],
) -> None:
    for place in range(rows.size):
        start = offsets[rows[place]]
        for position in range(picked[place + 1] - picked[place]):
            out[picked[place] + position] = values[start + position]
