"""Where in a prompt reuse falls: hits by position, and what caching only the head would give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...kernels import kernel
from ..prefix_tree import PrefixTree
from ..schema import Trace
from .groups import has_turns
from .reuses import Reuses

N_BINS = 20
FEWEST_BLOCKS = 50
HEAD_SHARES = np.round(np.arange(1, 11) / 10, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Locality:
    """Reuse by relative position in the prompt, for all requests, first turns and later turns."""

    groups: tuple[str, ...]
    """"all", and if turns are known "first turns" and "later turns"."""
    position: NDArray[np.float64]
    """(n_bins,): middle of each bin, as a share of the prompt's blocks."""
    hit: NDArray[np.float64]
    """(n_groups, n_bins): block accesses there that an unbounded cache hits."""
    reused: NDArray[np.float64]
    """(n_groups, n_bins): new blocks there that are ever reused, by the request that made them;
    NaN where fewer than `FEWEST_BLOCKS` were made."""
    head_share: NDArray[np.float64]
    """(n_heads,): leading share of every prompt that may be cached."""
    head_hit: NDArray[np.float64]
    """(n_heads,): ideal hit ratio of all blocks if only that is."""


def locality_of(trace: Trace, reuses: Reuses) -> Locality:
    """Measure spatial locality; a block counts in part where a bin cuts it."""
    names = ["all"]
    rows = [np.ones(len(trace), np.bool_)]
    if has_turns(trace) and bool((trace.parent >= 0).any()):
        names += ["first turns", "later turns"]
        rows += [trace.parent < 0, trace.parent >= 0]
    edges = np.arange(N_BINS + 1) / N_BINS
    hit = np.empty((len(rows), N_BINS))
    reused = np.empty((len(rows), N_BINS))
    n_blocks = reuses.path_blocks.astype(np.float64)
    tree = reuses.tree
    made_in = n_blocks[reuses.first_use]
    for i, counted in enumerate(rows):
        blocks, known = n_blocks[counted], reuses.known[counted].astype(np.float64)
        upto = [float(np.minimum(known, edge * blocks).sum()) for edge in edges]
        hit[i] = _ratio(np.diff(upto), blocks.sum() / N_BINS)
        made = counted[reuses.first_use]
        new, again = np.zeros(N_BINS), np.zeros(N_BINS)
        _bin_new_blocks(tree.depth, tree.n_blocks, made_in, made, reuses.n_uses, new, again)
        reused[i] = _ratio(again, np.where(new >= FEWEST_BLOCKS, new, 0.0))
    return Locality(
        groups=tuple(names),
        position=(edges[:-1] + edges[1:]) / 2,
        hit=hit,
        reused=reused,
        head_share=HEAD_SHARES,
        head_hit=np.array([head_hit_ratio(tree, float(share)) for share in HEAD_SHARES]),
    )


def head_hit_ratio(tree: PrefixTree, share: float) -> float:
    """Ideal hit ratio if of every prompt only the leading `share` of its blocks is cached."""
    n_blocks = tree.path_blocks
    # of a share of 0.7 of 10 blocks, 7: not the 7.000000000000001 that rounding up would miss
    n_kept = np.ceil(np.round(share * n_blocks, 6)).astype(np.int64)
    cached = np.zeros(len(tree.parent), np.int32)
    n_hits = _hits_of_heads(tree.parent, tree.depth, tree.n_blocks, tree.end, n_kept, cached)
    whole = int(n_blocks.sum())
    return n_hits / whole if whole else float("nan")


@kernel
def _hits_of_heads(
    parent: NDArray[np.int32],
    depth: NDArray[np.int32],
    n_blocks: NDArray[np.int32],
    end: NDArray[np.int32],
    n_kept: NDArray[np.int64],
    cached: NDArray[np.int32],
) -> int:
    """Cached is always a tree: the deepest segment of a path with anything cached ends its hit."""
    n_hits = 0
    for t in range(len(end)):
        s = end[t]
        while s >= 0 and cached[s] == 0:
            s = parent[s]
        if s >= 0:
            n_hits += depth[s] + cached[s]
        s = end[t]
        while s >= 0 and cached[s] < n_blocks[s]:
            if depth[s] < n_kept[t]:
                cached[s] = max(cached[s], min(n_kept[t] - depth[s], n_blocks[s]))
            s = parent[s]
    return n_hits


@kernel
def _bin_new_blocks(
    depth: NDArray[np.int32],
    n_blocks: NDArray[np.int32],
    made_in: NDArray[np.float64],
    is_counted: NDArray[np.bool_],
    n_uses: NDArray[np.int64],
    new: NDArray[np.float64],
    again: NDArray[np.float64],
) -> None:
    """Add the blocks of each segment to the bins it reaches into, by the prompt that made it."""
    for s in range(len(depth)):
        if not is_counted[s]:
            continue
        per_bin = made_in[s] / len(new)
        start, end = float(depth[s]), float(depth[s] + n_blocks[s])
        first = min(int(start / per_bin), len(new) - 1)
        last = min(int(end / per_bin), len(new) - 1)
        for k in range(first, last + 1):
            overlap = min(end, (k + 1) * per_bin) - max(start, k * per_bin)
            if overlap > 0:
                new[k] += overlap
                if n_uses[s] > 1:
                    again[k] += overlap


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64] | float) -> NDArray[np.float64]:
    out = np.full(len(part), np.nan)
    np.divide(part, whole, out=out, where=np.asarray(whole) > 0)
    return out
