"""Segments of a prefix tree joined where paths only ever grow. Knows no cache and no clock.

What a conversation appends with each turn is a segment of its own below the one before. Once the
paths that end above it are all in the past, whoever uses one of the two uses both. Such segments
are one *strand*, as long at any time as the paths so far have made it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import kernel
from .prefix_tree import PrefixTree


class Strands(NamedTuple):
    """Strands by number; a parent has a smaller one than its children.

    A request uses all that there is of each strand on its path: of the last one as much as its path
    is long, of one above what lies above the next, for good.
    """

    parent: NDArray[np.int32]
    """(n_strands,): parent strand, -1 at the root."""
    depth: NDArray[np.int32]
    """(n_strands,): blocks above the strand's first one."""
    end: NDArray[np.int32]
    """(n_requests,): strand where the request's path ends, -1 for an empty path."""


def segments_as_strands(tree: PrefixTree) -> Strands:
    """Leave every segment by itself."""
    return Strands(tree.parent, tree.depth, tree.end)


def strands(tree: PrefixTree) -> Strands:
    """Join a segment with the one above if no other is below that, and no path ends there later."""
    n = len(tree.parent)
    joined = Strands(np.empty(n, np.int32), np.empty(n, np.int32), np.empty_like(tree.end))
    room = np.empty((2, n), np.int32), np.empty(n, np.int32)
    n_strands = _join(tree.parent, tree.depth, tree.end, *room, *joined)
    return Strands(joined.parent[:n_strands], joined.depth[:n_strands], joined.end)


@kernel
def _join(
    parent: NDArray[np.int32],
    depth: NDArray[np.int32],
    end: NDArray[np.int32],
    seen: NDArray[np.int32],
    strand: NDArray[np.int32],
    strand_parent: NDArray[np.int32],
    strand_depth: NDArray[np.int32],
    strand_end: NDArray[np.int32],
) -> int:
    """Write the strands, and return how many there are.

    `seen` is room for the last path that ends at each segment, and how many segments are below it.
    """
    for s in range(len(parent)):
        seen[0, s] = -1
        seen[1, s] = 0
    for s in range(len(parent)):
        if parent[s] >= 0:
            seen[1, parent[s]] += 1
    for r in range(len(end)):
        if end[r] >= 0:
            seen[0, end[r]] = r
    n = 0
    s = 0
    for r in range(len(end)):
        while s <= end[r]:  # segments are numbered in order of first use
            up = parent[s]
            if up >= 0 and seen[1, up] == 1 and seen[0, up] < r:
                strand[s] = strand[up]
            else:
                strand[s] = n
                strand_parent[n] = strand[up] if up >= 0 else -1
                strand_depth[n] = depth[s]
                n += 1
            s += 1
        strand_end[r] = strand[end[r]] if end[r] >= 0 else -1
    return n
