"""Who had blocks first, and how soon they were used again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...kernels import kernel
from ..schema import Trace
from .reuses import Reuses


def made_in_session(trace: Trace, reuses: Reuses) -> NDArray[np.int64]:
    """Hit blocks of each request that a request of its own session had first, (n_requests,).

    Fewer than what the session had used before: a prefix that all sessions share belongs to the
    one that had it first.
    """
    made = np.zeros(len(trace), np.int64)
    tree = reuses.tree
    _count_made(tree.parent, tree.n_blocks, tree.end, reuses.first_use, trace.session, made)
    return made


def first_gaps_s(reuses: Reuses) -> NDArray[np.float64]:
    """Time from the first to the second use of each segment's blocks, (n_segments,), or NaN."""
    tree = reuses.tree
    second = np.full(len(tree.parent), -1, np.int32)
    _find_second(tree.parent, tree.end, reuses.first_use, second)
    gaps_s = np.full(len(second), np.nan)
    used = second >= 0
    gaps_s[used] = reuses.arrival_s[second[used]] - reuses.arrival_s[reuses.first_use[used]]
    return gaps_s


@kernel
def _count_made(
    parent: NDArray[np.int32],
    n_blocks: NDArray[np.int32],
    end: NDArray[np.int32],
    first_use: NDArray[np.int32],
    session: NDArray[np.int64],
    made: NDArray[np.int64],
) -> None:
    for row in range(len(end)):
        s = end[row]
        while s >= 0:
            first = first_use[s]
            if first < row and session[first] == session[row]:
                made[row] += n_blocks[s]
            s = parent[s]


@kernel
def _find_second(
    parent: NDArray[np.int32],
    end: NDArray[np.int32],
    first_use: NDArray[np.int32],
    second: NDArray[np.int32],
) -> None:
    """A segment with a second use is on a path whose upper segments have one too: stop there."""
    for row in range(len(end)):
        s = end[row]
        while s >= 0 and second[s] < 0:
            if first_use[s] < row:
                second[s] = row
            s = parent[s]
