"""Which earlier request used each part of a path last. Knows no capacity and no policy.

Under tail-first ties the blocks last used by one request are a contiguous stretch of its path
(later requests share prefixes of it, and a union of prefixes is a prefix), so a path falls into
few runs of equal last use, newest at the root. They are the preferred paths of link-cut trees
(Sleator and Tarjan, JCSS 1983), whose number is O(segments + requests x log segments).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..traces.prefix_tree import PrefixTree


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
    offsets, last_use, n_blocks = _find_runs(tree.parent, tree.n_blocks, tree.end, path_blocks)
    return Runs(path_blocks=path_blocks, offsets=offsets, last_use=last_use, n_blocks=n_blocks)


@njit(cache=True)
def _find_runs(
    parent: NDArray[np.int32],
    n_blocks: NDArray[np.int32],
    end: NDArray[np.int32],
    path_blocks: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    n_segments = len(parent)
    rows = np.empty((n_segments, 4), np.int32)  # one cache line: parent, blocks, last use
    for s in range(n_segments):
        rows[s, 0] = parent[s]
        rows[s, 1] = n_blocks[s]
        rows[s, 2] = -1
    offsets = np.zeros(len(end) + 1, np.int64)
    last_use = np.empty(2 * len(end) + 16, np.int32)
    run_blocks = np.empty(2 * len(end) + 16, np.int32)
    n_runs = 0
    for t in range(len(end)):
        s = end[t] if path_blocks[t] > 0 else -1
        used = -1
        length = 0
        while s >= 0:
            if rows[s, 2] != used:
                if used >= 0:
                    last_use[n_runs] = used
                    run_blocks[n_runs] = length
                    n_runs += 1
                    if n_runs == len(last_use):
                        last_use = np.concatenate((last_use, np.empty_like(last_use)))
                        run_blocks = np.concatenate((run_blocks, np.empty_like(run_blocks)))
                used = rows[s, 2]
                length = 0
            length += rows[s, 1]
            rows[s, 2] = t
            s = rows[s, 0]
        if used >= 0:
            last_use[n_runs] = used
            run_blocks[n_runs] = length
            n_runs += 1
            if n_runs == len(last_use):
                last_use = np.concatenate((last_use, np.empty_like(last_use)))
                run_blocks = np.concatenate((run_blocks, np.empty_like(run_blocks)))
        offsets[t + 1] = n_runs
    return offsets, last_use[:n_runs], run_blocks[:n_runs]
