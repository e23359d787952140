"""Hit ratio against cache size, exact, as one table. Knows no clock, no engine, no file format."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..traces.prefix_tree import PrefixTree, compile_tree
from ..traces.schema import Trace
from .curves import checked_capacity, hit_ratio, lru_curve
from .optimum import optimum_curve

MAX_POINTS = 200
"""Capacities in a table for which none were asked."""


def miss_ratio_curve(
    trace: Trace, block_size: int, capacities: Sequence[int] | None = None
) -> dict[str, list[tuple[int, float]]]:
    """Tabulate [capacity in blocks, hit ratio] by policy: "lru" and the "optimum" no policy beats.

    Without `capacities` the table runs from the longest path, the smallest cache that can place
    every request, to the size at which nothing is evicted. Counts every block of every prompt,
    a partial last one included, as published ratios do.

    Raises:
        ConfigError: a capacity is not a whole number of blocks, at least 1.
        TraceError: the block size is not positive.
    """
    points = None if capacities is None else [checked_capacity(c) for c in capacities]
    tree = compile_tree(trace, block_size, partial_blocks=True)
    if points is None:
        points = curve_points(tree).tolist()
    hits_by_policy = {
        "lru": lru_curve(tree).hits_at(points),
        "optimum": optimum_curve(tree, points),
    }
    return {
        policy: [(c, hit_ratio(int(h), tree)) for c, h in zip(points, hits, strict=True)]
        for policy, hits in hits_by_policy.items()
    }


def curve_points(tree: PrefixTree, max_points: int = MAX_POINTS) -> NDArray[np.int64]:
    """Choose capacities from the longest path to all blocks, evenly spaced in their logarithm."""
    longest = max(int(tree.path_blocks.max(initial=0)), 1)
    n_keys = max(tree.n_keys, 1)
    spaced = np.rint(np.geomspace(longest, n_keys, max_points)).astype(np.int64)
    return np.unique(np.clip(spaced, longest, n_keys))
