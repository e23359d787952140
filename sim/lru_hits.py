"""Exact LRU hits of one prefix cache, segment by segment. Knows no policy and no clock."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..kernels import kernel
from ..traces.prefix_tree import PrefixTree

_PARENT, _BLOCKS, _DEPTH, _CACHED, _KIDS, _LAST = 0, 1, 2, 3, 4, 5
_ROW = 8
STATE_BYTES_PER_SEGMENT = 4 * _ROW
"""Memory of an LRU replay: one row a segment, so that a request touches one cache line."""


def lru_hits(tree: PrefixTree, capacity: int) -> NDArray[np.int32]:
    """Blocks hit by each request, (n_requests,), evicting the least recently used block.

    Equal to `prefix_replay.replay` under a policy that scores blocks by their last use, without
    its heap: in O(1 + segments missed + segments evicted) a request.
    """
    rows = np.zeros((len(tree.parent), _ROW), np.int32)
    rows[:, _PARENT] = tree.parent
    rows[:, _BLOCKS] = tree.n_blocks
    rows[:, _DEPTH] = tree.depth
    rows[:, _LAST] = -1
    hits = np.zeros(len(tree.end), np.int32)
    _lru_replay(rows, tree.end, capacity, hits)
    return hits


@kernel
def _lru_replay(
    rows: NDArray[np.int32], end: NDArray[np.int32], capacity: int, hits: NDArray[np.int32]
) -> None:
    """Replay on segments: `end` itself, read a second time, is the eviction queue.

    Its entry f is stale if the segment was an end again later, and must wait if segments below
    are cached (they are newer, or it would have none). Else its segment is trimmed from the
    tail; when it is gone and was its parent's last cached child, then the parent's newest use
    is the child's, so the parent follows at once, unless it was an end after f.
    """
    n_free = capacity
    front = -1
    victim = np.int32(-1)
    for t in range(len(end)):
        s = end[t]
        if s < 0:
            continue
        n_path = rows[s, _DEPTH] + rows[s, _BLOCKS]
        if n_path > capacity:
            continue
        rows[s, _LAST] = t
        n_missing = 0
        while True:
            n_cached = rows[s, _CACHED]
            n_missing += rows[s, _BLOCKS] - n_cached
            rows[s, _CACHED] = rows[s, _BLOCKS]
            s = rows[s, _PARENT]
            if n_cached > 0 or s < 0:
                break
            rows[s, _KIDS] += 1
        hits[t] = n_path - n_missing
        n_free -= n_missing
        while n_free < 0:
            if victim < 0 or rows[victim, _KIDS] > 0 or rows[victim, _LAST] > front:
                front += 1
                victim = end[front]
                if victim >= 0 and rows[victim, _LAST] != front:
                    victim = np.int32(-1)
                continue
            n_cached = rows[victim, _CACHED]
            if n_cached + n_free > 0:
                rows[victim, _CACHED] = n_cached + n_free
                n_free = 0
            else:
                rows[victim, _CACHED] = 0
                n_free += n_cached
                victim = rows[victim, _PARENT]
                if victim >= 0:
                    rows[victim, _KIDS] -= 1
