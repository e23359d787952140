"""What a policy costs in processor time on this machine: measured, so never part of a result."""

from __future__ import annotations

import time
from statistics import median

import numpy as np
from numpy.typing import NDArray

from ..policies import Policy, make_policy
from ..sim.prefix_replay import replay
from ..sim.setup import categories
from ..traces.compiled import CompiledTrace
from ..traces.prefix_tree import PrefixTree

MAX_BLOCKS = 2_000_000
"""Blocks looked up in a measurement: the start of a longer trace is enough."""
ROUNDS = 3


def overhead_us(compiled: CompiledTrace, policy: str, capacity: int, *, seed: int) -> float | None:
    """Return the microseconds a policy takes an eviction more than lru does; None without any.

    The processor time of a cache replay less that of lru's, over the policy's evictions. Both
    run block by block, so that a policy that can treat many blocks as one has no advantage. For
    lru itself it is 0.
    """
    if policy == "lru":
        return 0.0
    n = int(np.searchsorted(np.cumsum(compiled.tree.path_blocks), MAX_BLOCKS)) + 1
    part = compiled.head(n)
    tree = part.tree.per_block()
    chosen, lru = make_policy(policy), make_policy("lru")
    hits, _ = _timed(part, tree, chosen, capacity, seed)  # compiles, if anything has to be
    _timed(part, tree, lru, capacity, seed)
    fits = tree.path_blocks <= capacity
    n_evicted = int((tree.path_blocks - hits)[fits].sum()) - min(capacity, tree.n_keys)
    if n_evicted <= 0:
        return None
    extra_s = [
        _timed(part, tree, chosen, capacity, seed)[1] - _timed(part, tree, lru, capacity, seed)[1]
        for _ in range(ROUNDS)
    ]
    return 1e6 * median(extra_s) / n_evicted


def _timed(
    compiled: CompiledTrace, tree: PrefixTree, policy: Policy, capacity: int, seed: int
) -> tuple[NDArray[np.int32], float]:
    category, names = categories(compiled.trace)
    start_s = time.process_time()
    hits = replay(
        tree,
        policy,
        capacity,
        arrival_s=compiled.trace.arrival_s,
        category=category.astype(np.int64),
        category_names=names,
        seed=seed,
    )
    return hits, time.process_time() - start_s
