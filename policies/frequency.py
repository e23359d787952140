"""A sketch of how often keys were used lately: few counters for many keys, halved in turn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, view
from .base import Setting
from .draws import mixed

N_ROWS = 4
MOST_COUNTED = 15

SKETCH = np.dtype([(name, "i8") for name in ("width", "n_uses", "sample_uses", "counts")])
"""`width` counters a row, a power of two; uses since the last halving, and at which it is due."""

Sketch = int  # the address of a record of SKETCH


@inner
def _sizes(sketch: Sketch) -> Any:
    return view(sketch, (1,), SKETCH)[0]


@inner
def _counts(sketch: Sketch) -> NDArray[np.uint8]:
    """(N_ROWS, width): each key has a counter in every row, which it shares."""
    return view(_sizes(sketch).counts, (N_ROWS, _sizes(sketch).width), np.uint8)


@inner
def _column(sketch: Sketch, key: int, row: int) -> int:
    return int(mixed(np.uint64(key * N_ROWS + row)) & np.uint64(_sizes(sketch).width - 1))


@inner
def estimate(sketch: Sketch, key: int) -> int:
    """Return how often a key was used lately: at least so often, or MOST_COUNTED."""
    least = MOST_COUNTED
    for row in range(N_ROWS):
        least = min(least, int(_counts(sketch)[row, _column(sketch, key, row)]))
    return least


@inner
def count_use(sketch: Sketch, key: int) -> None:
    """Count a use: only its lowest counters, so that keys that share one disturb less."""
    least = estimate(sketch, key)
    if least < MOST_COUNTED:
        for row in range(N_ROWS):
            column = _column(sketch, key, row)
            if _counts(sketch)[row, column] == least:
                _counts(sketch)[row, column] = least + 1
    sizes = _sizes(sketch)
    sizes.n_uses += 1
    if sizes.n_uses >= sizes.sample_uses:
        sizes.n_uses //= 2
        for row in range(N_ROWS):
            for column in range(sizes.width):
                _counts(sketch)[row, column] //= 2


def make_sketch(setting: Setting, sample_uses: int) -> Sketch:
    """Make an empty sketch, halved every `sample_uses`, which lives as long as the run."""
    width = 1 << max(4, setting.capacity_blocks.bit_length())
    counts = np.zeros((N_ROWS, width), np.uint8)
    sizes = np.zeros(1, SKETCH)
    sizes["width"], sizes["sample_uses"] = width, max(2, sample_uses)
    sizes["counts"] = counts.ctypes.data
    setting.keep(counts, sizes)
    return int(sizes.ctypes.data)
