"""Ghosts: the keys of blocks evicted lately, oldest first, for compiled policies.

A policy holds the address of a record of GHOSTS. A list has no length of its own accord: its
policy drops the oldest ones, and never lets it outgrow the size it was made for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, view
from .base import Setting

GHOSTS = np.dtype(
    [(name, "i8") for name in ("n_places", "n_keys", "n", "start", "end", "ring", "stamps")]
)
"""A ring of keys from `start` to `end`, with gaps where a key was forgotten; by key, 1 + its place
in the ring counted through, or 0."""

Ghosts = int  # the address of a record of GHOSTS


@inner
def _sizes(g: Ghosts) -> Any:
    return view(g, (1,), GHOSTS)[0]


@inner
def _ring(g: Ghosts) -> NDArray[np.int32]:
    return view(_sizes(g).ring, (_sizes(g).n_places,), np.int32)


@inner
def _stamps(g: Ghosts) -> NDArray[np.int32]:
    return view(_sizes(g).stamps, (_sizes(g).n_keys,), np.int32)


@inner
def n_ghosts(g: Ghosts) -> int:
    """Count the keys on the list."""
    return int(_sizes(g).n)


@inner
def is_ghost(g: Ghosts, key: int) -> bool:
    """Whether a key is on the list."""
    return bool(_stamps(g)[key] > 0)


@inner
def forget(g: Ghosts, key: int) -> None:
    """Take a key off the list if it is on it."""
    if _stamps(g)[key] > 0:
        _stamps(g)[key] = 0
        _sizes(g).n -= 1


@inner
def remember(g: Ghosts, key: int) -> None:
    """Put a key at the newest end of the list."""
    forget(g, key)
    ghosts = _sizes(g)
    if ghosts.end - ghosts.start == ghosts.n_places:
        _close_gaps(g)
    _ring(g)[ghosts.end % ghosts.n_places] = key
    ghosts.end += 1
    _stamps(g)[key] = ghosts.end
    ghosts.n += 1


@inner
def oldest_ghost(g: Ghosts) -> int:
    """Return the key that is on the list for longest; there must be one."""
    ghosts = _sizes(g)
    key = _ring(g)[ghosts.start % ghosts.n_places]
    while _stamps(g)[key] != ghosts.start + 1:
        ghosts.start += 1
        key = _ring(g)[ghosts.start % ghosts.n_places]
    return int(key)


@inner
def drop_oldest(g: Ghosts) -> None:
    """Forget the key that is on the list for longest; there must be one."""
    forget(g, oldest_ghost(g))


@inner
def _close_gaps(g: Ghosts) -> None:
    """Move all keys up to the start of the ring: at most half of its places hold one."""
    ghosts = _sizes(g)
    kept = ghosts.start
    for at in range(ghosts.start, ghosts.end):
        key = _ring(g)[at % ghosts.n_places]
        if _stamps(g)[key] == at + 1:
            _ring(g)[kept % ghosts.n_places] = key
            kept += 1
            _stamps(g)[key] = kept
    ghosts.end = kept


def make_ghosts(setting: Setting, most: int) -> Ghosts:
    """Make an empty list of at most `most` keys, which lives as long as the run."""
    ring = np.zeros(2 * most + 2, np.int32)
    stamps = np.zeros(setting.n_keys, np.int32)
    sizes = np.zeros(1, GHOSTS)
    sizes["n_places"], sizes["n_keys"] = len(ring), setting.n_keys
    sizes["ring"], sizes["stamps"] = ring.ctypes.data, stamps.ctypes.data
    setting.keep(ring, stamps, sizes)
    return int(sizes.ctypes.data)
