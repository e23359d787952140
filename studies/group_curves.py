"""The exact LRU curve split by groups of requests. Knows no clock and no engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..traces.prefix_tree import PrefixTree
from ..traces.runs import find_runs
from .curves import checked_capacity, lru_replay, newer_blocks


def lru_hits_by_group(
    tree: PrefixTree, group: NDArray[np.integer], n_groups: int, capacities: Sequence[int]
) -> NDArray[np.int64]:
    """Blocks that each group of requests hits under LRU, (n_groups, n_capacities).

    All requests share one cache; a hit is the requester's. Over the groups the hits add up to
    those of `curves.lru_curve`: a run of blocks is hit up to as many of its blocks as the
    capacity exceeds the distinct blocks used since. Capacities below the longest path cost a
    replay each.

    Raises:
        ConfigError: a capacity is not a whole number of blocks, at least 1.
    """
    wanted = [min(checked_capacity(c), max(tree.n_keys, 1)) for c in capacities]
    longest = int(tree.path_blocks.max(initial=0))
    hits = np.zeros((n_groups, len(wanted)), np.int64)
    if any(c >= longest for c in wanted):
        runs = find_runs(tree, longest)
        newer = newer_blocks(runs)
        of_run = np.repeat(group, np.diff(runs.offsets))
    for i, capacity in enumerate(wanted):
        if capacity >= longest:
            n_hit = np.clip(capacity - newer, 0, runs.n_blocks)
            hits[:, i] = _summed(of_run, n_hit, n_groups)
        else:
            hits[:, i] = _summed(group, lru_replay(tree, capacity), n_groups)
    return hits


def _summed(
    group: NDArray[np.integer], hits: NDArray[np.integer], n_groups: int
) -> NDArray[np.int64]:
    return np.bincount(group, weights=hits, minlength=n_groups).astype(np.int64)
