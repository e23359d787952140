"""Exact LRU hits on a prefix tree, at one capacity or at all. Knows no clock and no engine.

One definition holds for every function here and in `optimum`. Requests come one at a time, in
file order. A request looks up its whole path; what it hits is the leading part that is cached.
Then all its blocks are placed and pinned, and the excess over the capacity is evicted, of
equally old blocks the deepest first. A request with more blocks than the capacity can never be
placed: it is refused, hits nothing and changes nothing, but its blocks count as missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from ..kernels import kernel
from ..sim.lru_hits import lru_hits
from ..traces.compiled import CompiledTrace
from ..traces.prefix_tree import PrefixTree
from ..traces.runs import Runs, find_runs


def check_names_blocks(compiled: CompiledTrace) -> None:
    """Raise if no request of a trace names a block, of which there is nothing to find again.

    Raises:
        ConfigError: so it is.
    """
    tree = compiled.tree
    if len(tree.end) and not tree.path_blocks.any():
        raise ConfigError(f"{compiled.trace.name}: its requests name no blocks to find again")


def checked_capacity(capacity: int) -> int:
    """Return `capacity`, or raise.

    Raises:
        ConfigError: it is not a whole number of blocks, at least 1.
    """
    if isinstance(capacity, bool) or not isinstance(capacity, int | np.integer) or capacity < 1:
        raise ConfigError(
            f"capacity must be a whole number of blocks, at least 1, got {capacity!r}"
        )
    return int(capacity)


def hit_ratio(hit_blocks: NDArray[np.integer] | int, tree: PrefixTree) -> float:
    """Share of all blocks on all paths that were hit; 0 if there are none."""
    n_blocks = int(tree.path_blocks.sum())
    return int(np.sum(hit_blocks, dtype=np.int64)) / n_blocks if n_blocks else 0.0


def lru_replay(tree: PrefixTree, capacity: int) -> NDArray[np.int32]:
    """Blocks hit by each request, (n_requests,), evicting the least recently used block.

    Equal, block for block, to the free queue of an engine that frees a request's blocks in
    reverse order, in O(1 + segments missed + segments evicted) a request.

    Raises:
        ConfigError: the capacity is not a whole number of blocks, at least 1.
    """
    return lru_hits(tree, min(checked_capacity(capacity), max(tree.n_keys, 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class LruCurve:
    """LRU hits as a function of the capacity: exact, and linear between its breakpoints."""

    tree: PrefixTree
    longest: int
    """Blocks of the longest path: from here on every request can be placed."""
    capacity: NDArray[np.int64]
    """(n_points,): where the slope changes, increasing; meaningful from `longest` on."""
    hits: NDArray[np.int64]
    """(n_points,): blocks hit in the whole trace at each capacity."""

    def hits_at(self, capacities: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int64]:
        """Blocks hit in the whole trace at each capacity.

        Below `longest` the cache refuses other requests at every capacity, LRU is no longer a
        stack algorithm, and each value costs one replay.
        """
        n_keys = max(self.tree.n_keys, 1)
        wanted = np.array([min(checked_capacity(c), n_keys) for c in capacities], np.int64)
        at = np.clip(wanted, self.capacity[0], self.capacity[-1])
        left = np.searchsorted(self.capacity, at, side="right") - 1
        right = np.minimum(left + 1, len(self.capacity) - 1)
        width = np.maximum(self.capacity[right] - self.capacity[left], 1)
        slope = (self.hits[right] - self.hits[left]) // width
        hits: NDArray[np.int64] = self.hits[left] + slope * (at - self.capacity[left])
        for i in np.flatnonzero(wanted < self.longest):
            hits[i] = lru_replay(self.tree, int(wanted[i])).sum(dtype=np.int64)
        return hits


def lru_curve(tree: PrefixTree) -> LruCurve:
    """LRU hits at all capacities in one pass over the requests.

    A block is hit iff fewer than `capacity` distinct blocks are at least as recent (Mattson et
    al., IBM Systems Journal 1970). The blocks last used by one request are neighbours in that
    order, so a Fenwick tree over requests takes the place of Olken's tree over accesses, and
    each run of a path adds one ramp to the curve. All lookups of a request see the order
    before it.
    """
    longest = int(tree.path_blocks.max(initial=0))
    runs = find_runs(tree, longest)
    start = newer_blocks(runs)
    # a run is a ramp from `start` to `start + n_blocks`: sort both ends, sum up the slopes
    turns = np.concatenate((start << 1, (start + runs.n_blocks << 1) | 1, np.zeros(1, np.int64)))
    turns.sort()
    slope = np.cumsum(1 - 2 * (turns & 1)) - 1  # the last turn added is no ramp: 0 is a point
    at = turns >> 1
    hits = np.concatenate((np.zeros(1, np.int64), np.cumsum(slope[:-1] * np.diff(at))))
    is_last = np.concatenate((at[1:] != at[:-1], np.ones(1, np.bool_)))
    return LruCurve(tree=tree, longest=longest, capacity=at[is_last], hits=hits[is_last])


def newer_blocks(runs: Runs) -> NDArray[np.int64]:
    """Distinct blocks used since each run was used last, before it is used again: (n_runs,).

    Its blocks are found again, shallow to deep, by an LRU cache of 1, 2, ... blocks more.
    """
    fenwick = np.zeros(len(runs.path_blocks) + 1, np.int64)
    newer = np.empty(len(runs.last_use), np.int64)
    _newer_blocks(runs.offsets, runs.last_use, runs.n_blocks, runs.path_blocks, fenwick, newer)
    return newer


@kernel
def _newer_blocks(
    offsets: NDArray[np.int64],
    last_use: NDArray[np.int32],
    n_blocks: NDArray[np.int32],
    path_blocks: NDArray[np.int64],
    fenwick: NDArray[np.int64],
    newer: NDArray[np.int64],
) -> None:
    """Write to `newer`, for every run, how many distinct blocks were used later: (n_runs,).

    The Fenwick tree holds the blocks last used by each request. It grows by one entry a request,
    made from the entries it covers, so an update climbs no further than the present. Runs are
    deepest and so oldest first: taking one out leaves the counts of the others as they were.
    """
    n_seen = 0
    for t in range(len(path_blocks)):
        for k in range(offsets[t], offsets[t + 1]):
            i = last_use[k] + 1
            not_newer = 0
            j = i
            while j > 0:
                not_newer += fenwick[j]
                j &= j - 1
            newer[k] = n_seen - not_newer
            n_seen -= n_blocks[k]
            while i <= t:
                fenwick[i] -= n_blocks[k]
                i += i & -i
        n_seen += path_blocks[t]
        covered = path_blocks[t]
        j = t
        while j > (t & (t + 1)):
            covered += fenwick[j]
            j &= j - 1
        fenwick[t + 1] = covered
