"""Hit ratio against cache size, exact, as one table. Knows no clock, no engine, no file format."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..policies import make_policy
from ..sim.prefix_replay import replay
from ..sim.setup import categories
from ..traces.compiled import CompiledTrace
from ..traces.prefix_tree import PrefixTree
from .curves import checked_capacity, hit_ratio, lru_curve
from .optimum import optimum_curve

MAX_POINTS = 200
"""Capacities in a table for which none were asked."""
MAX_POLICY_POINTS = 24
"""Likewise, if a policy has to be replayed at each."""

Curve = list[tuple[int, float]]


def miss_ratio_curve(
    compiled: CompiledTrace,
    capacities: Sequence[int] | None = None,
    policies: Sequence[str] = (),
    *,
    seed: int = 0,
) -> dict[str, Curve]:
    """Tabulate [capacity in blocks, hit ratio] by policy: "lru" and the "optimum" no policy beats.

    Without `capacities` the table runs from the longest path, the smallest cache that can place
    every request, to the size at which nothing is evicted. Compile the trace with
    `partial_blocks=True` to count every block of every prompt, as published ratios do. Other
    `policies` are replayed at each capacity: in file order, at the trace's times, each request
    placed at once.

    Raises:
        ConfigError: a capacity is not a whole number of blocks, at least 1, or an unknown policy.
        PolicyError: a policy failed.
    """
    tree = compiled.tree
    chosen = {name: make_policy(name) for name in policies}
    if capacities is None:
        points = curve_points(tree, MAX_POLICY_POINTS if chosen else MAX_POINTS).tolist()
    else:
        points = [checked_capacity(c) for c in capacities]
    hits_by_policy: dict[str, Sequence[int] | NDArray[np.int64]] = {
        "lru": lru_curve(tree).hits_at(points),
        "optimum": optimum_curve(tree, points),
    }
    category, names = categories(compiled.trace)
    for name, policy in chosen.items():
        hits_by_policy[name] = [
            int(
                replay(
                    tree,
                    policy,
                    max(capacity, tree.n_keys) if policy.is_unbounded else capacity,
                    arrival_s=compiled.trace.arrival_s,
                    category=category.astype(np.int64),
                    category_names=names,
                    seed=seed,
                    name=name,
                ).sum(dtype=np.int64)
            )
            for capacity in points
        ]
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
