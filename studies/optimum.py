"""The most hits any eviction order can have, at given capacities. Knows no clock, no engine.

Requests are placed, pinned and refused as for LRU in `curves`. The policy is Belady's MIN
(IBM Systems Journal 1966): evict the block whose next use is furthest away, of a tie the
deepest. A request that uses a block uses all blocks above it, so no block is needed sooner than
its parent, the victim is always a leaf, and MIN is optimal among prefix-closed contents too.
Keeping a block from one use to the next is then packing intervals into a capacity that varies
with the running request, for which dropping the furthest end is optimal (Carlisle and Lloyd,
Discrete Applied Mathematics 1995).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, kernel
from ..traces.prefix_tree import PrefixTree
from ..traces.runs import Runs, find_runs
from .curves import checked_capacity

_BITS = 5
"""A word of the set of future requests has 2 ** _BITS bits, and one bit in the level above."""


def optimum_replay(tree: PrefixTree, capacity: int) -> NDArray[np.int32]:
    """Blocks hit by each request, (n_requests,), if the future were known.

    Raises:
        ConfigError: the capacity is not a whole number of blocks, at least 1.
    """
    n_blocks = min(checked_capacity(capacity), max(tree.n_keys, 1))
    runs = find_runs(tree, n_blocks)
    return _hits(_by_last_use(runs), runs.path_blocks, n_blocks)


def optimum_curve(
    tree: PrefixTree, capacities: Sequence[int] | NDArray[np.integer]
) -> NDArray[np.int64]:
    """Most blocks hit in the whole trace at each capacity.

    Capacities that can place every request share the work of finding reuses.

    Raises:
        ConfigError: a capacity is not a whole number of blocks, at least 1.
    """
    wanted = [min(checked_capacity(c), max(tree.n_keys, 1)) for c in capacities]
    longest = int(tree.path_blocks.max(initial=0))
    hits = np.zeros(len(wanted), np.int64)
    if any(c >= longest for c in wanted):
        runs = find_runs(tree, longest)
        reuses = _by_last_use(runs)
    for i, c in enumerate(wanted):
        if c >= longest:
            hits[i] = _hits(reuses, runs.path_blocks, c).sum(dtype=np.int64)
        else:
            hits[i] = optimum_replay(tree, c).sum(dtype=np.int64)
    return hits


class _Reuses(NamedTuple):
    """Runs, grouped by the request that used them last."""

    after: NDArray[np.int64]
    """(n_requests + 1,): where the runs last used by each request start."""
    next_use: NDArray[np.int32]
    """(n_runs,): the request that uses the blocks next."""
    n_blocks: NDArray[np.int32]
    """(n_runs,)"""


def _by_last_use(runs: Runs) -> _Reuses:
    n_runs = len(runs.last_use)
    after = np.zeros(len(runs.offsets), np.int64)
    np.cumsum(np.bincount(runs.last_use, minlength=len(after) - 1), out=after[1:])
    reuses = _Reuses(after, np.empty(n_runs, np.int32), np.empty(n_runs, np.int32))
    _turn_around(runs.offsets, runs.last_use, runs.n_blocks, after[:-1].copy(), reuses)
    return reuses


@kernel
def _turn_around(
    offsets: NDArray[np.int64],
    last_use: NDArray[np.int32],
    n_blocks: NDArray[np.int32],
    free: NDArray[np.int64],
    reuses: _Reuses,
) -> None:
    """Fill `reuses`; `free` is where the next run of each group goes."""
    for t in range(len(offsets) - 1):
        for k in range(offsets[t], offsets[t + 1]):
            i = free[last_use[k]]
            free[last_use[k]] += 1
            reuses.next_use[i] = t
            reuses.n_blocks[i] = n_blocks[k]


def _hits(reuses: _Reuses, path_blocks: NDArray[np.int64], capacity: int) -> NDArray[np.int32]:
    """Blocks hit by each request, (n_requests,)."""
    sizes = [len(path_blocks)]
    while sizes[-1] > 1 or len(sizes) == 1:
        sizes.append(-(-sizes[-1] >> _BITS))
    level_start = np.cumsum([0, *sizes[1:]])
    hits = np.zeros(len(path_blocks), np.int32)
    _furthest_first(
        reuses,
        path_blocks,
        capacity,
        level_start,
        np.zeros(level_start[-1], np.int64),
        np.zeros(len(path_blocks), np.int32),
        hits,
    )
    return hits


@kernel
def _furthest_first(
    reuses: _Reuses,
    path_blocks: NDArray[np.int64],
    capacity: int,
    level_start: NDArray[np.int64],
    words: NDArray[np.int64],
    held: NDArray[np.int32],
    hits: NDArray[np.int32],
) -> None:
    """Hold, for each future request, how many leading blocks of its path are cached for it.

    Blocks without a next use are dropped first and so never held. The requests something is
    held for form a set of bits in levels of `words`, so that the furthest is found from the top.
    """
    after, next_use, n_blocks = reuses
    n_levels = len(level_start) - 1
    n_held = 0
    for t in range(len(path_blocks)):
        if held[t] > 0:
            hits[t] = held[t]
            n_held -= held[t]
            _remove(words, level_start, t)
        n_excess = n_held - (capacity - path_blocks[t])
        while n_excess > 0:
            furthest = _highest(words, level_start, n_levels)
            n_evicted = min(n_excess, held[furthest])
            n_excess -= n_evicted
            n_held -= n_evicted
            held[furthest] -= n_evicted
            if held[furthest] == 0:
                _remove(words, level_start, furthest)
        for k in range(after[t], after[t + 1]):
            if held[next_use[k]] == 0:
                _add(words, level_start, n_levels, next_use[k])
            held[next_use[k]] += n_blocks[k]
            n_held += n_blocks[k]


@inner
def _add(
    words: NDArray[np.int64], level_start: NDArray[np.int64], n_levels: int, member: int
) -> None:
    for level in range(n_levels):
        word = level_start[level] + (member >> _BITS)
        was_empty = words[word] == 0
        words[word] |= 1 << (member & ((1 << _BITS) - 1))
        if not was_empty:
            break
        member >>= _BITS


@inner
def _remove(words: NDArray[np.int64], level_start: NDArray[np.int64], member: int) -> None:
    """Take out a member; one level's empty word is the next level's member to take out."""
    level = 0
    while True:
        word = level_start[level] + (member >> _BITS)
        words[word] &= ~(1 << (member & ((1 << _BITS) - 1)))
        level += 1
        if words[word] != 0 or level_start[level] == len(words):
            break
        member >>= _BITS


@inner
def _highest(words: NDArray[np.int64], level_start: NDArray[np.int64], n_levels: int) -> int:
    member = 0
    for level in range(n_levels - 1, -1, -1):
        rest = words[level_start[level] + member]
        bit = 0
        for shift in (16, 8, 4, 2, 1):
            if rest >> shift:
                bit += shift
                rest >>= shift
        member = (member << _BITS) + bit
    return member
