"""One GPU's block pool and prefix cache, compiled. Knows no request, no clock, no policy name.

Follows vLLM 0.32 `BlockPool`: full blocks only; one queue of free blocks whose keyed ones
stay hittable; never-keyed blocks are taken first, the last freed one before the others;
duplicates of a block are kept and the oldest copy answers a lookup; a request's blocks are
released last to first. Differs: block 0 is left out instead of held; a policy other than lru
may order the keyed free blocks, and then only blocks without a cached child are candidates.

All instances share one index: `row_of[key]` names a row of `copies`, which holds, an instance
a column, the oldest copy of that block. Blocks are numbered through: instance i owns
`i * n_blocks ... (i + 1) * n_blocks - 1`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..policies.order import (
    EVENT_EVICT,
    EVENT_HIT,
    EVENT_INSERT,
    HOOKED,
    ITEM,
    LRU_LIST,
    ORDER,
    add,
    notify,
    remove,
    victim,
)

BLOCK = np.dtype(
    [("ref", "i4"), ("key", "i4"), ("after", "i4"), ("before", "i4"), ("newer", "i4")], align=True
)
"""Users, key (-1: none), neighbours in the lru list, next newer copy of the same key."""

POOL = np.dtype(
    [
        ("n_free", "i8"),
        ("n_unkeyed", "i8"),
        ("lru_head", "i8"),
        ("lru_tail", "i8"),
        ("n_released", "i8"),
        ("n_inserted", "i8"),
        ("evictions", "i8"),
    ],
    align=True,
)


class Pools(NamedTuple):
    """State of the block pools of all instances."""

    blocks: NDArray[Any]
    """(n_instances * n_blocks,) of BLOCK."""
    items: NDArray[Any]
    """The same blocks as the policy sees them; (1,) where the lru list does."""
    parent_key: NDArray[np.int32]
    """Key of the block before, by block; (1,) where the lru list orders."""
    pools: NDArray[Any]
    """(n_instances,) of POOL."""
    orders: NDArray[Any]
    """(n_instances,) of ORDER."""
    roots: NDArray[np.int32]
    """(n_instances * n_queues,): heaps of the policy."""
    params: NDArray[np.float64]
    """(n_queues, 3): parameters of category queues."""
    row_of: NDArray[np.int32]
    """(n_keys,): row of `copies`, -1 if no instance holds the key."""
    copies: NDArray[np.int32]
    """(n_rows, n_instances): oldest copy, -1 if none."""
    n_children: NDArray[np.int32]
    """(n_rows, n_instances): cached keys one block deeper; (1, 1) where the lru list orders."""
    n_holders: NDArray[np.int32]
    """(n_rows,): instances that hold the key."""
    free_rows: NDArray[np.int32]
    """(n_rows + 1,): a stack of unused rows; its height is in the last element."""
    unkeyed: NDArray[np.int32]
    """(n_instances, n_blocks): stack of free blocks without a key."""


def make_pools(
    n_instances: int,
    n_blocks: int,
    n_keys: int,
    *,
    mode: int,
    n_queues: int,
    params: NDArray[np.float64],
) -> Pools:
    """Empty pools of `n_blocks` blocks each, the unused block 0 included."""
    n_rows = n_instances * (n_blocks - 1)
    n_all = n_instances * n_blocks
    is_listed = mode == LRU_LIST
    blocks = np.zeros(n_all, BLOCK)
    for name in ("key", "after", "before", "newer"):
        blocks[name] = -1
    items = np.zeros(1 if is_listed else n_all, ITEM)
    items["key"] = -1
    pools = np.zeros(n_instances, POOL)
    pools["n_free"] = pools["n_unkeyed"] = n_blocks - 1
    pools["lru_head"] = pools["lru_tail"] = -1
    orders = np.zeros(n_instances, ORDER)
    orders["mode"] = mode
    orders["n_queues"] = n_queues
    orders["first_root"] = np.arange(n_instances) * n_queues
    first = np.arange(n_instances, dtype=np.int32)[:, None] * n_blocks
    unkeyed = np.zeros((n_instances, n_blocks), np.int32)
    unkeyed[:, : n_blocks - 1] = first + np.arange(n_blocks - 1, 0, -1, dtype=np.int32)
    free_rows = np.append(np.arange(n_rows - 1, -1, -1), n_rows).astype(np.int32)
    return Pools(
        blocks=blocks,
        items=items,
        parent_key=np.full(1 if is_listed else n_all, -1, np.int32),
        pools=pools,
        orders=orders,
        roots=np.full(n_instances * n_queues, -1, np.int32),
        params=params,
        row_of=np.full(n_keys, -1, np.int32),
        copies=np.full((n_rows, n_instances), -1, np.int32),
        n_children=np.zeros((1, 1) if is_listed else (n_rows, n_instances), np.int32),
        n_holders=np.zeros(n_rows, np.int32),
        free_rows=free_rows,
        unkeyed=unkeyed,
    )


@njit(cache=True)
def lookup(c: Pools, instance: int, keys: NDArray[np.int32], limit: int) -> int:
    """Count the leading keys, at most `limit`, that the instance holds. Changes nothing."""
    k = 0
    while k < limit:
        row = c.row_of[keys[k]]
        if row < 0 or c.copies[row, instance] < 0:
            break
        k += 1
    return k


@njit(cache=True)
def touch(c: Pools, instance: int, key: int, category: int, now_s: float) -> int:
    """Take one more reference to the oldest copy of a key that is held; return the block."""
    b = c.copies[c.row_of[key], instance]
    block = c.blocks[b]
    order = c.orders[instance]
    if block.ref == 0:
        c.pools[instance].n_free -= 1
        if order.mode == LRU_LIST:
            _unlink(c, instance, b)
        elif c.items[b].is_candidate:
            remove(order, c.items, c.roots, b)
    block.ref += 1
    if order.mode != LRU_LIST:
        item = c.items[b]
        item.hits += 1
        item.last_s = now_s
        item.clock = order.clock
        if order.is_retagged:
            item.category = category
        if order.mode == HOOKED:
            notify(order, c.items, b, EVENT_HIT)
    return b


@njit(cache=True)
def take(c: Pools, instance: int, now_s: float) -> int:
    """Take a free block, evicting a cached one if no other is left."""
    pool = c.pools[instance]
    pool.n_free -= 1
    if pool.n_unkeyed > 0:
        pool.n_unkeyed -= 1
        b = c.unkeyed[instance, pool.n_unkeyed]
    elif c.orders[instance].mode == LRU_LIST:
        b = pool.lru_head
        _unlink(c, instance, b)
        _forget(c, instance, b)
    else:
        n_blocks = len(c.blocks) // len(c.pools)
        lo = instance * n_blocks
        order = c.orders[instance]
        b = victim(order, c.items, c.roots, c.params, lo, lo + n_blocks, now_s)
        if b < 0:  # the policy failed: stay consistent until the run is stopped
            b = lo
            while c.items[b].is_candidate == 0:
                b += 1
        remove(order, c.items, c.roots, b)
        if order.mode == HOOKED:
            notify(order, c.items, b, EVENT_EVICT)
        _forget(c, instance, b)
    c.blocks[b].ref = 1
    return b


@njit(cache=True)
def publish(
    c: Pools,
    instance: int,
    b: int,
    key: int,
    parent_key: int,
    depth: int,
    category: int,
    now_s: float,
) -> None:
    """Give a block in use its key: from now on lookups find it, behind older copies."""
    row = c.row_of[key]
    if row < 0:
        height = c.free_rows[-1] - 1
        row = c.free_rows[height]
        c.free_rows[-1] = height
        c.row_of[key] = row
    c.blocks[b].key = key
    c.blocks[b].newer = -1
    oldest = c.copies[row, instance]
    order = c.orders[instance]
    if order.mode != LRU_LIST:
        item = c.items[b]
        item.key = key
        item.depth = depth
        item.category = category
        item.hits = 0
        item.inserted = c.pools[instance].n_inserted
        item.inserted_s = now_s
        item.last_s = now_s
        item.clock = order.clock
        c.pools[instance].n_inserted += 1
        c.parent_key[b] = parent_key
        if order.mode == HOOKED:
            notify(order, c.items, b, EVENT_INSERT)
        if oldest < 0 and parent_key >= 0:
            c.n_children[c.row_of[parent_key], instance] += 1
    if oldest < 0:
        c.copies[row, instance] = b
        c.n_holders[row] += 1
        return
    is_second = c.blocks[oldest].newer < 0
    last = oldest
    while c.blocks[last].newer >= 0:
        last = c.blocks[last].newer
    c.blocks[last].newer = b
    if order.mode != LRU_LIST and is_second:
        # with a second copy the first may go although its children are cached
        is_idle = c.blocks[oldest].ref == 0
        if is_idle and c.items[oldest].is_candidate == 0:
            add(order, c.items, c.roots, oldest)


@njit(cache=True)
def release(
    c: Pools, instance: int, table: NDArray[np.int32], n_held: int, n_published: int, now_s: float
) -> None:
    """Give up a request's blocks, last to first.

    table:  0 ............ n_published ............ n_held
            keyed: to the recently      never keyed: on the
            used end of the queue       stack, last on top
    """
    pool = c.pools[instance]
    order = c.orders[instance]
    for k in range(n_published - 1, -1, -1):
        b = table[k]
        block = c.blocks[b]
        block.ref -= 1
        if block.ref > 0:
            continue
        pool.n_free += 1
        if order.mode == LRU_LIST:
            tail = pool.lru_tail
            block.before = tail
            block.after = -1
            if tail >= 0:
                c.blocks[tail].after = b
            else:
                pool.lru_head = b
            pool.lru_tail = b
        else:
            c.items[b].last = pool.n_released
            pool.n_released += 1
            row = c.row_of[block.key]
            oldest = c.copies[row, instance]
            if c.n_children[row, instance] == 0 or c.blocks[oldest].newer >= 0:
                add(order, c.items, c.roots, b)
    for k in range(n_published, n_held):
        b = table[k]
        c.blocks[b].ref = 0
        c.unkeyed[instance, pool.n_unkeyed] = b
        pool.n_unkeyed += 1
        pool.n_free += 1


@njit(cache=True)
def _unlink(c: Pools, instance: int, b: int) -> None:
    """Take a block out of the lru list."""
    before, after = c.blocks[b].before, c.blocks[b].after
    if before >= 0:
        c.blocks[before].after = after
    else:
        c.pools[instance].lru_head = after
    if after >= 0:
        c.blocks[after].before = before
    else:
        c.pools[instance].lru_tail = before


@njit(cache=True)
def _forget(c: Pools, instance: int, b: int) -> None:
    """Drop the key of a block: one eviction. Other copies of the key stay."""
    key = c.blocks[b].key
    row = c.row_of[key]
    newer = c.blocks[b].newer
    oldest = c.copies[row, instance]
    if oldest == b:
        c.copies[row, instance] = newer
    else:
        older = oldest
        while c.blocks[older].newer != b:
            older = c.blocks[older].newer
        c.blocks[older].newer = newer
    c.blocks[b].key = -1
    c.blocks[b].newer = -1
    c.pools[instance].evictions += 1
    oldest = c.copies[row, instance]
    is_ordered = c.orders[instance].mode != LRU_LIST
    if oldest < 0:
        c.n_holders[row] -= 1
        if c.n_holders[row] == 0:
            c.row_of[key] = -1
            height = c.free_rows[-1]
            c.free_rows[height] = row
            c.free_rows[-1] = height + 1
        if is_ordered and c.parent_key[b] >= 0:
            _lose_child(c, instance, c.row_of[c.parent_key[b]])
    elif is_ordered and c.blocks[oldest].newer < 0 and c.items[oldest].is_candidate:
        if c.n_children[row, instance] > 0:
            remove(c.orders[instance], c.items, c.roots, oldest)


@njit(cache=True)
def _lose_child(c: Pools, instance: int, row: int) -> None:
    """Count one cached child less; without any, an idle block becomes a candidate."""
    c.n_children[row, instance] -= 1
    oldest = c.copies[row, instance]
    if (
        c.n_children[row, instance] == 0
        and c.blocks[oldest].ref == 0
        and c.items[oldest].is_candidate == 0
    ):
        add(c.orders[instance], c.items, c.roots, oldest)
