"""What follows a victim: the blocks above it that share its past, for compiled policies.

A policy that draws or weighs its victims does so once for a *streak*: after a victim goes the block
above it, if it was cached and last used by the same requests, as long as the request needs
room. So it makes no difference whether the cache asks block by block or run by run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, view
from .base import Setting
from .block import Block

PAST = np.dtype([("inserted", "i8"), ("last", "i8"), ("hits", "i8")])
STREAK = np.dtype(
    [(name, "i8") for name in ("n_items", "pasts", "named", "follower", "is_leaving")]
    + [(f"left_{name}", "i8") for name in ("inserted", "last", "hits")]
)
"""`named` is the last victim; once it is no candidate any more it `is_leaving`, with its past kept,
until the next event tells whether a `follower` took its place."""

NOBODY = -1

Streak = int  # the address of a record of STREAK
Record = Any  # of STREAK


@inner
def _sizes(k: Streak) -> Record:
    return view(k, (1,), STREAK)[0]


@inner
def _pasts(k: Streak) -> NDArray[Any]:
    return view(_sizes(k).pasts, (_sizes(k).n_items,), PAST)


@inner
def follower(k: Streak) -> int:
    """Return the candidate that goes next whatever else there is, or NOBODY."""
    return int(_sizes(k).follower)


@inner
def name(k: Streak, x: int) -> float:
    """Note, and answer, that a candidate is the victim."""
    _sizes(k).named = x
    _sizes(k).follower = NOBODY
    return float(x)


@inner
def _end(k: Streak) -> None:
    s = _sizes(k)
    s.named = s.follower = NOBODY
    s.is_leaving = 0


@inner
def see(k: Streak, block: Block) -> None:
    """Note the past of a block that was cached or used."""
    past = _pasts(k)[block.block_id]
    past.inserted = int(block.inserted)
    past.last = int(block.last_access)
    past.hits = int(block.n_hits)
    _end(k)


@inner
def went(k: Streak, x: int) -> bool:
    """Note that a block is no candidate any more; whether it is the one that was named."""
    s, past = _sizes(k), _pasts(k)[x]
    if x != s.named:
        _end(k)
        return False
    _end(k)
    s.is_leaving = 1
    s.left_inserted, s.left_last, s.left_hits = past.inserted, past.last, past.hits
    return True


@inner
def came(k: Streak, x: int) -> bool:
    """Note that a block became a candidate; whether it takes the place of the one that left."""
    s, past = _sizes(k), _pasts(k)[x]
    is_next = bool(
        s.is_leaving
        and s.left_inserted == past.inserted
        and s.left_last == past.last
        and s.left_hits == past.hits
    )
    _end(k)
    if is_next:
        s.follower = x
    return is_next


def make_streak(setting: Setting) -> Streak:
    """Make an empty record, which lives as long as the run."""
    pasts = np.zeros(setting.n_items, PAST)
    sizes = np.zeros(1, STREAK)
    sizes["n_items"], sizes["pasts"] = setting.n_items, pasts.ctypes.data
    sizes["named"] = sizes["follower"] = NOBODY
    setting.keep(pasts, sizes)
    return int(sizes.ctypes.data)
