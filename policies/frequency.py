"""Counts of how often blocks were used lately, by content and beyond their time in the cache.

Blocks that are told of together have one key, and share a count under it. All counts are halved in
turn, between two requests.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, view, zeros
from .base import Setting
from .block import Block

MOST_COUNTED = 15

COUNT = np.dtype([("n_uses", "i4"), ("n_halvings", "i4"), ("request", "i8")])
"""Uses as of the latest use, how often all counts had been halved, and the request it was of."""

COUNTS = np.dtype(
    [(n, "i8") for n in ("n_keys", "n_uses", "sample_uses", "n_halvings", "request", "last")]
    + [("counts", "i8")]
)
"""Uses of blocks since the last halving, and at which the next is due; halvings and requests so
far, and the order number of the current one."""

Counts = int  # the address of a record of COUNTS


@inner
def _sizes(counts: Counts) -> Any:
    return view(counts, (1,), COUNTS)[0]


@inner
def _counts(counts: Counts) -> NDArray[Any]:
    return view(_sizes(counts).counts, (_sizes(counts).n_keys,), COUNT)


@inner
def estimate(counts: Counts, home: int) -> int:
    """Return how often blocks were used lately, up to MOST_COUNTED."""
    count = _counts(counts)[home]
    return int(count.n_uses >> min(_sizes(counts).n_halvings - count.n_halvings, 31))


@inner
def begin(counts: Counts, block: Block) -> None:
    """Halve all counts if it is time and `block` is the first that a request hits or misses."""
    s = _sizes(counts)
    if int(block.last_access) != s.last:
        s.last = int(block.last_access)
        s.request += 1
        if s.n_uses >= s.sample_uses:
            s.n_uses //= 2
            s.n_halvings += 1


@inner
def count_use(counts: Counts, home: int, block: Block) -> None:
    """Count a use of a run, or a part of it; the parts of one run count once a request."""
    begin(counts, block)
    s = _sizes(counts)
    s.n_uses += int(block.n_blocks)
    count = _counts(counts)[home]
    if count.request != s.request:
        count.n_uses = min(estimate(counts, home) + 1, MOST_COUNTED)
        count.n_halvings = s.n_halvings
        count.request = s.request


def make_counts(setting: Setting, sample_uses: int) -> Counts:
    """Make counts of 0, halved every `sample_uses`, which live as long as the run."""
    counts = zeros(setting.n_keys, COUNT)
    sizes = np.zeros(1, COUNTS)
    sizes["n_keys"], sizes["sample_uses"] = setting.n_keys, max(1, sample_uses)
    sizes["last"] = -1
    sizes["counts"] = counts.ctypes.data
    setting.keep(counts, sizes)
    return int(sizes.ctypes.data)
