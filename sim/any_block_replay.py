"""Cache-only replay under a policy that may evict any block, block by block. Knows no engine.

Each request is looked up, placed at once and released, in file order, at its arrival time; its
blocks are pinned while it is placed. What is cached below a block that was evicted is an *orphan*:
no look-up reaches it. It keeps its place until it is evicted, or a request computes it again,
which puts it in order anew.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import PolicyError
from ..kernels import inner, kernel
from ..policies.base import Policy, Setting
from ..policies.order import ITEM, QUEUED, Heaps, Items, add, make_orders, remove, victim
from ..policies.reuse_fit import ReuseFit, fit_over, observe
from ..traces.prefix_tree import PrefixTree
from .history import first_part_of


def any_block_replay(
    tree: PrefixTree,
    policy: Policy,
    capacity_blocks: int,
    *,
    arrival_s: NDArray[np.float64],
    category: NDArray[np.int64],
    category_names: tuple[str, ...],
    seed: int = 0,
    name: str | None = None,
) -> tuple[NDArray[np.int32], int]:
    """Return the hit blocks of each request, (n_requests,), and how many blocks were orphaned.

    That is the blocks cached right below a block when that was evicted. A request of more blocks
    than the capacity is never placed and touches nothing.

    Raises:
        PolicyError: the policy raised, gave NaN, or has no category queues.
    """
    name = name or type(policy).__name__
    setting = Setting(
        n_items=max(1, capacity_blocks),
        n_caches=1,
        n_keys=max(1, tree.n_keys),
        capacity_blocks=capacity_blocks,
        category_names=category_names,
        seed=seed,
        first_part=first_part_of(tree, arrival_s, category.astype(np.int32)),
        block_size=tree.block_size,
    )
    binding = policy.bind(setting)
    if binding.mode != QUEUED:
        raise PolicyError(f"policy {name}: only a QueuePolicy may take any block")
    orders, heaps = make_orders(binding, n_caches=1, n_items=setting.n_items)
    fit = fit_over(tree.parent, tree.depth, len(category_names), binding.fit_arguments)
    blocks = tree.per_block()
    places = np.full(setting.n_keys, -1, np.int32)
    hits = np.zeros(len(tree.end), np.int32)
    n_orphaned = _replay(
        orders,
        np.zeros(setting.n_items, ITEM),
        heaps,
        binding.params,
        fit,
        blocks.parent,
        places,
        np.zeros(setting.n_keys, np.int32),
        np.arange(setting.n_items, dtype=np.int32),
        capacity_blocks,
        tree.end,
        blocks.end,
        tree.path_blocks,
        np.ascontiguousarray(arrival_s),
        category.astype(np.int32),
        hits,
    )
    if orders["error"][0]:
        raise binding.failure(name, orders)
    return hits, int(n_orphaned)


@kernel
def _replay(
    orders: NDArray[Any],
    items: Items,
    heaps: Heaps,
    params: NDArray[np.float64],
    fit: ReuseFit,
    parent: NDArray[np.int32],
    places: NDArray[np.int32],
    n_children: NDArray[np.int32],
    free: NDArray[np.int32],
    capacity: int,
    end_run: NDArray[np.int32],
    end: NDArray[np.int32],
    path_blocks: NDArray[np.int64],
    arrival_s: NDArray[np.float64],
    category: NDArray[np.int32],
    hits: NDArray[np.int32],
) -> int:
    """Write the hit blocks of each request to `hits`, (n_requests,) of 0; return the orphans.

    `parent` is (n_keys,), like `places`, -1 for what is not cached, and `n_children`, those
    cached; `free` are all places.
    """
    order = orders[0]
    n_free = len(free)
    n_orphaned = 0
    for t in range(len(end)):
        now_s = arrival_s[t]
        if len(fit.segments) > 0:
            observe(fit, end_run[t], path_blocks[t], category[t], now_s, params)
        if end[t] < 0 or path_blocks[t] > capacity:
            continue
        hits[t] = _hits(parent, places, end[t])
        depth = path_blocks[t] - 1
        n_missing = 0
        key = end[t]
        while key >= 0:  # deepest first
            x = places[key]
            if x >= 0:
                remove(order, items, heaps, x)
                if depth >= hits[t] or order.is_retagged:  # computed again, or by choice
                    items[x].category = category[t]
            else:
                n_missing += 1
            depth -= 1
            key = parent[key]
        while n_free < n_missing:
            x = np.int32(victim(order, items, heaps, params, 0, len(items), now_s))
            if x < 0:
                return n_orphaned
            remove(order, items, heaps, x)
            key = items[x].key
            places[key] = -1
            n_orphaned += n_children[key]
            if parent[key] >= 0:
                n_children[parent[key]] -= 1
            free[n_free] = x
            n_free += 1
        depth = path_blocks[t] - 1
        key = end[t]
        while key >= 0:
            x = places[key]
            if x < 0:
                n_free -= 1
                x = free[n_free]
                places[key] = x
                items[x].key = key
                items[x].depth = depth
                items[x].category = category[t]
                if parent[key] >= 0:
                    n_children[parent[key]] += 1
            items[x].last = t
            items[x].last_s = now_s
            add(order, items, heaps, x)
            depth -= 1
            key = parent[key]
    return n_orphaned


@inner
def _hits(parent: NDArray[np.int32], places: NDArray[np.int32], end: int) -> int:
    """Count the leading blocks of a path that are cached."""
    n_hits = 0
    key = end
    while key >= 0:
        n_hits += 1
        if places[key] < 0:
            n_hits = 0
        key = parent[key]
    return n_hits
