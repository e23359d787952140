"""Which earlier request used each part of a path last. Knows no capacity and no policy.

Under tail-first ties the blocks last used by one request are a contiguous stretch of its path
(later requests share prefixes of it, and a union of prefixes is a prefix), so a path falls into
few runs of equal last use, newest at the root. They are the preferred paths of link-cut trees
(Sleator and Tarjan, JCSS 1983), whose number is O(segments + requests x log segments).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..kernels import kernel
from .prefix_tree import PrefixTree


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Stretches of each request's path by the request that used them last."""

    path_blocks: NDArray[np.int64]
    """(n_requests,): blocks on each path, 0 for a request that was left out."""
    offsets: NDArray[np.int64]
    """(n_requests + 1,): request r has runs `offsets[r] .. offsets[r + 1] - 1`, deepest first."""
    last_use: NDArray[np.int32]
    """(n_runs,): the request that used the blocks last."""
    n_blocks: NDArray[np.int32]
    """(n_runs,): blocks in the run."""


def find_runs(tree: PrefixTree, longest: int) -> Runs:
    """Cut every path into runs, as if requests of more than `longest` blocks did not exist.

    Blocks never used before are in no run.
    """
    path_blocks = tree.path_blocks
    path_blocks[path_blocks > longest] = 0
    segments = np.full((len(tree.parent), 4), -1, np.int32)  # a row is in one cache line
    segments[:, 0] = tree.parent
    segments[:, 1] = tree.n_blocks
    offsets = np.zeros(len(tree.end) + 1, np.int64)
    runs = np.empty((2 * len(tree.end) + 16, 2), np.int32)
    t = 0
    while t < len(tree.end):
        t = _find_runs(segments, tree.end, path_blocks, t, offsets, runs)
        if t < len(tree.end):
            runs = np.concatenate((runs, np.empty((len(runs) + path_blocks.max(), 2), np.int32)))
    n_runs = offsets[-1]
    return Runs(
        path_blocks=path_blocks,
        offsets=offsets,
        last_use=runs[:n_runs, 0].copy(),
        n_blocks=runs[:n_runs, 1].copy(),
    )


@kernel
def _find_runs(
    segments: NDArray[np.int32],
    end: NDArray[np.int32],
    path_blocks: NDArray[np.int64],
    first: int,
    offsets: NDArray[np.int64],
    runs: NDArray[np.int32],
) -> int:
    """Write the runs of requests `first` .. n - 1 as (last use, blocks); return n.

    A row of `segments` is its parent, blocks and last use. n is less than all when `runs` is full.
    """
    for t in range(first, len(end)):
        n_runs = offsets[t]
        s = end[t] if path_blocks[t] > 0 else -1
        if n_runs + path_blocks[t] > len(runs):
            most = 0  # a path has as many runs as segments, at most
            while s >= 0:
                most += 1
                s = segments[s, 0]
            if n_runs + most > len(runs):
                return t
            s = end[t]
        used = -1
        length = 0
        while s >= 0:
            if segments[s, 2] != used:
                if used >= 0:
                    runs[n_runs, 0] = used
                    runs[n_runs, 1] = length
                    n_runs += 1
                used = segments[s, 2]
                length = 0
            length += segments[s, 1]
            segments[s, 2] = t
            s = segments[s, 0]
        if used >= 0:
            runs[n_runs, 0] = used
            runs[n_runs, 1] = length
            n_runs += 1
        offsets[t + 1] = n_runs
    return len(end)
