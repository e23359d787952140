"""LRU curves estimated from a part of the blocks, or from reuse times: how far they are off.

The exact curve (`curves.lru_curve`) costs no more on a prefix tree, so these serve to judge what
others estimate. A sample is the tree with fewer blocks: its exact curve, with sizes divided by
the share that was kept, is the estimate. Nothing is refused, however small the cache.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from ..traces.prefix_tree import PrefixTree
from ..traces.runs import find_runs
from .curves import LruCurve, lru_curve

Ratios = NDArray[np.float64]
Sizes = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The LRU curve of a part of the blocks."""

    curve: LruCurve
    share: float
    """Blocks kept of all blocks, as it was meant."""
    n_accesses: int
    """Block accesses of the whole trace."""

    def hit_ratio(self, capacities: Sizes, *, is_adjusted: bool = False) -> Ratios:
        """Estimated hit ratio in blocks at each capacity.

        Adjusted as in SHARDS-adj: accesses missing from the sample, or too many, are counted as
        hits at the smallest size.
        """
        n_sampled = int(self.curve.tree.path_blocks.sum())
        sizes = np.maximum(np.rint(capacities * self.share), 1).astype(np.int64)
        hits = self.curve.hits_at(sizes).astype(np.float64)
        n_expected = self.n_accesses * self.share
        if is_adjusted:
            return (hits + n_expected - n_sampled) / n_expected if n_expected else hits * 0.0
        return hits / n_sampled if n_sampled else hits * 0.0


def exact(tree: PrefixTree) -> Sample:
    """The whole trace as its own sample."""
    return _sample(tree, np.ones(tree.n_keys, np.bool_), 1.0)


def shards(tree: PrefixTree, rate: float, *, seed: int = 0) -> Sample:
    """Keep each block with probability `rate`, by a hash of its key.

    SHARDS (Waldspurger et al., FAST 2015) at a fixed rate. A kept block may stand below one that
    was left out, so no policy that trims prefixes could run on such a sample.

    Raises:
        ConfigError: the rate is not above 0 and at most 1.
    """
    if not 0 < rate <= 1:
        raise ConfigError(f"the sampling rate must be in (0, 1], got {rate:g}")
    with np.errstate(over="ignore"):
        z = np.arange(tree.n_keys, dtype=np.uint64) + np.uint64(seed) * np.uint64(2**40)
        z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return _sample(tree, (z >> np.uint64(11)) < np.uint64(int(rate * 2**53)), rate)


def thin_depth(tree: PrefixTree, every: int) -> Sample:
    """Keep the middle one of each k blocks of a path, which stands for them all.

    Raises:
        ConfigError: `every` is below 1.
    """
    if every < 1:
        raise ConfigError(f"every k-th block is kept: k must be at least 1, got {every}")
    segment = np.repeat(np.arange(len(tree.parent)), tree.n_blocks)
    depth = tree.depth[segment] + np.arange(tree.n_keys) - tree.first_key[segment]
    return _sample(tree, depth % every == every // 2, 1.0 / every)


def thin_sessions(tree: PrefixTree, rate: float, *, seed: int = 0) -> Sample:
    """Keep whole families, all paths that start with the same block, with probability `rate`.

    Raises:
        ConfigError: the rate is not above 0 and at most 1.
    """
    if not 0 < rate <= 1:
        raise ConfigError(f"the sampling rate must be in (0, 1], got {rate:g}")
    is_kept = np.random.default_rng([seed, 1]).random(len(tree.parent)) < rate
    root = np.arange(len(tree.parent))
    while (tree.parent[root] >= 0).any():
        root = np.where(tree.parent[root] >= 0, tree.parent[root], root)
    return _sample(tree, np.repeat(is_kept[root], tree.n_blocks), rate)


def aet_hit_ratio(tree: PrefixTree, capacities: Sizes) -> Ratios:
    """Hit ratio by average eviction times, from the reuse times of runs of blocks.

    AET (Hu et al., USENIX ATC 2016): with P(t) the share of accesses whose block is used again
    after more than t accesses, or never, a cache of c blocks evicts at the age T at which P has
    summed up to c, and misses P(T). All blocks of a run have one reuse time, counted in block
    accesses from request to request.
    """
    runs = find_runs(tree, int(tree.path_blocks.max(initial=0)))
    clock = np.concatenate((np.zeros(1, np.int64), np.cumsum(runs.path_blocks)))
    row = np.repeat(np.arange(len(runs.path_blocks)), np.diff(runs.offsets))
    time = clock[row] - clock[runs.last_use]
    n_accesses = int(clock[-1])
    if not n_accesses:
        return np.zeros(len(capacities))
    order = np.argsort(time, kind="stable")
    time, weight = time[order], runs.n_blocks[order].astype(np.int64)
    missed = 1.0 - np.concatenate(([0], np.cumsum(weight))) / n_accesses  # P just after each time
    starts = np.concatenate(([0], time)).astype(np.float64)
    filled = np.concatenate(([0.0], np.cumsum(missed[:-1] * np.diff(starts))))
    at = np.searchsorted(filled, np.asarray(capacities, np.float64), side="right") - 1
    found: Ratios = 1.0 - missed[at]
    return found


def _sample(tree: PrefixTree, is_kept: NDArray[np.bool_], share: float) -> Sample:
    """Take the tree without the blocks that are not kept, whose segments may be empty."""
    n_kept: Sizes = np.concatenate((np.zeros(1, np.int64), np.cumsum(is_kept, dtype=np.int64)))
    n_blocks = n_kept[tree.first_key + tree.n_blocks] - n_kept[tree.first_key]
    depth = np.zeros(len(tree.parent), np.int64)
    level = np.flatnonzero(tree.parent < 0)
    children = np.argsort(tree.parent, kind="stable")
    first = np.searchsorted(tree.parent[children], np.arange(len(tree.parent) + 1))
    while len(level):
        n_below = first[level + 1] - first[level]
        starts = np.repeat(first[level] - np.cumsum(n_below) + n_below, n_below)
        below = children[starts + np.arange(len(starts))]
        up = tree.parent[below]
        depth[below] = depth[up] + n_blocks[up]
        level = below
    thinned = replace(
        tree,
        first_key=n_kept[tree.first_key],
        n_blocks=n_blocks.astype(np.int32),
        depth=depth.astype(np.int32),
    )
    curve = replace(lru_curve(thinned), longest=0)
    return Sample(curve=curve, share=share, n_accesses=int(tree.path_blocks.sum()))
