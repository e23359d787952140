"""Exact LRU hits where requests overlap: what runs is pinned, and counts as used when it ends.

As in an engine's pool: a request looks up its path when it starts, and its blocks stay until it
ends; then those that nobody else uses become the most recent ones, of which the deepest go
first. The blocks released by one end are the tail of its path, so the queue is one of ends, each
trimmed from its segment up. Knows no clock: only the order of starts and ends.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from ..kernels import kernel
from ..traces.prefix_tree import PrefixTree
from .curves import checked_capacity

_PARENT, _BLOCKS, _DEPTH, _CACHED, _USERS, _RELEASED = range(6)


def overlapping_replay(
    tree: PrefixTree, capacity: int, events: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Blocks hit by each request, (n_requests,), at its start; -1 if it could not be placed.

    `events` names a request twice: first its start, then its end; a start without an end runs
    for ever. A request that does not fit beside those that run is refused and changes nothing.

    Raises:
        ConfigError: the capacity is not a whole number of blocks, at least 1, or the events name
            a request more than twice, or one that is not there.
    """
    checked_capacity(capacity)
    events = np.ascontiguousarray(events, np.int64)
    if len(events) and not (events.min() >= 0 and events.max() < len(tree.end)):
        raise ConfigError(f"events must name requests 0..{len(tree.end) - 1}")
    if np.bincount(events, minlength=1).max() > 2:
        raise ConfigError("a request starts once and ends once, events name one more often")
    rows = np.zeros((len(tree.parent), 6), np.int32)
    rows[:, _PARENT], rows[:, _BLOCKS], rows[:, _DEPTH] = tree.parent, tree.n_blocks, tree.depth
    rows[:, _RELEASED] = -1
    hits = np.full(len(tree.end), -2, np.int32)
    _overlapping_replay(rows, tree.end, events, min(capacity, 2**31 - 1), hits)
    return np.maximum(hits, -1)


@kernel
def _overlapping_replay(
    rows: NDArray[np.int32],
    end: NDArray[np.int32],
    events: NDArray[np.int64],
    capacity: int,
    hits: NDArray[np.int32],
) -> None:
    """Write to `hits`, which is -2 before a start."""
    n_free = capacity
    n_pinned = 0
    front = -1
    victim = np.int32(-1)
    for e in range(len(events)):
        r = events[e]
        if hits[r] == -2:
            n_found = 0
            n_missing = 0
            n_idle = 0
            s = end[r]
            while s >= 0:
                n_found += rows[s, _CACHED]
                n_missing += rows[s, _BLOCKS] - rows[s, _CACHED]
                if rows[s, _USERS] == 0:
                    n_idle += rows[s, _BLOCKS]
                s = rows[s, _PARENT]
            if n_pinned + n_idle > capacity:
                hits[r] = -1
                continue
            n_pinned += n_idle
            hits[r] = n_found
            s = end[r]
            while s >= 0:
                rows[s, _USERS] += 1
                rows[s, _CACHED] = rows[s, _BLOCKS]
                s = rows[s, _PARENT]
            n_free -= n_missing
            while n_free < 0:
                if (
                    victim < 0
                    or rows[victim, _RELEASED] != front
                    or rows[victim, _USERS] > 0
                    or rows[victim, _CACHED] == 0
                ):
                    if victim >= 0 and rows[victim, _PARENT] >= 0:
                        victim = rows[victim, _PARENT]
                    else:
                        front += 1
                        victim = end[events[front]]
                    continue
                n = min(rows[victim, _CACHED], -n_free)
                rows[victim, _CACHED] -= n
                n_free += n
        elif hits[r] >= 0:
            s = end[r]
            while s >= 0:
                rows[s, _USERS] -= 1
                if rows[s, _USERS] == 0:
                    rows[s, _RELEASED] = e
                    n_pinned -= rows[s, _BLOCKS]
                s = rows[s, _PARENT]
