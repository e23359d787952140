"""Every reuse of blocks, run by run: who used them last, who reuses them, how much later.

The blocks that one request used last are a stretch of a later one's path (see `traces.runs`), so
reuses are counted in runs, weighted by their blocks, and nothing here costs a step per block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...kernels import kernel
from ..compiled import CompiledTrace
from ..prefix_tree import PrefixTree
from ..runs import find_runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuses:
    """All uses of blocks by requests in file order, as an unbounded cache would see them."""

    tree: PrefixTree
    arrival_s: NDArray[np.float64]
    """(n_requests,)"""
    path_blocks: NDArray[np.int64]
    """(n_requests,): blocks of each prompt, a partial last one included."""
    known: NDArray[np.int64]
    """(n_requests,): leading blocks that an earlier request had."""
    row: NDArray[np.int32]
    """(n_runs,): the request that reuses a run; runs are in the order of their gaps."""
    previous: NDArray[np.int32]
    """(n_runs,): the request that used it last."""
    n_blocks: NDArray[np.int32]
    """(n_runs,)"""
    gap_s: NDArray[np.float64]
    """(n_runs,): arrival of the previous user to that of the next."""
    unused: NDArray[np.int64]
    """(n_requests,): blocks that nobody used again after the request."""
    n_uses: NDArray[np.int64]
    """(n_segments,): requests that use each segment."""
    first_use: NDArray[np.int32]
    """(n_segments,): the first of them."""
    last_use: NDArray[np.int32]
    """(n_segments,): the last of them."""

    @property
    def idle_s(self) -> NDArray[np.float64]:
        """(n_requests,): arrival to the end of the trace, how long an absent reuse was awaited."""
        return self.arrival_s[-1] - self.arrival_s


def reuses_of(compiled: CompiledTrace) -> Reuses:
    """Find all reuses."""
    tree = compiled.tree
    arrival_s = compiled.trace.arrival_s
    runs = find_runs(tree, int(tree.path_blocks.max(initial=0)))
    n = len(tree.end)
    row = np.repeat(np.arange(n, dtype=np.int32), np.diff(runs.offsets))
    gap_s = arrival_s[row] - arrival_s[runs.last_use]
    order = np.argsort(gap_s, kind="stable")  # once, so that later sorts find order
    n_uses = np.zeros(len(tree.parent), np.int64)
    first_use = np.full(len(tree.parent), n, np.int32)
    last_use = np.full(len(tree.parent), -1, np.int32)
    _count_uses(tree.parent, tree.end, n_uses, first_use, last_use)
    return Reuses(
        tree=tree,
        arrival_s=arrival_s,
        path_blocks=runs.path_blocks,
        known=_summed(row, runs.n_blocks, n),
        row=row[order],
        previous=runs.last_use[order],
        n_blocks=runs.n_blocks[order],
        gap_s=gap_s[order],
        unused=runs.path_blocks - _summed(runs.last_use, runs.n_blocks, n),
        n_uses=n_uses,
        first_use=first_use,
        last_use=last_use,
    )


def _summed(row: NDArray[np.int32], n_blocks: NDArray[np.int32], n_rows: int) -> NDArray[np.int64]:
    return np.bincount(row, weights=n_blocks, minlength=n_rows).astype(np.int64)


@kernel
def _count_uses(
    parent: NDArray[np.int32],
    end: NDArray[np.int32],
    n_uses: NDArray[np.int64],
    first_use: NDArray[np.int32],
    last_use: NDArray[np.int32],
) -> None:
    """Count a path at its end, then add each segment's count to its parent's, leaves first."""
    for t in range(len(end)):
        s = end[t]
        if s >= 0:
            n_uses[s] += 1
            first_use[s] = min(first_use[s], t)
            last_use[s] = t
    for s in range(len(parent) - 1, -1, -1):
        p = parent[s]
        if p >= 0:
            n_uses[p] += n_uses[s]
            first_use[p] = min(first_use[p], first_use[s])
            last_use[p] = max(last_use[p], last_use[s])
