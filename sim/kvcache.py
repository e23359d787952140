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

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner
from ..policies.order import (
    EVENT_EVICT,
    EVENT_HIT,
    EVENT_INSERT,
    HOOKED,
    add,
    notify,
    remove,
    victim,
)
from .state import (
    State,
    blocks,
    copies,
    free_rows,
    heaps,
    items,
    n_children,
    n_holders,
    orders,
    params,
    parent_key,
    pools,
    row_of,
    sizes,
    unkeyed,
)

UNINDEXED = -2
"""In place of the next newer copy: a block that nobody can look up, so the index lacks it."""


@inner
def lookup(c: State, instance: int, keys: NDArray[np.int32], limit: int) -> int:
    """Count the leading keys, at most `limit`, that the instance holds. Changes nothing."""
    k = 0
    while k < limit:
        row = row_of(c)[keys[k]]
        if row < 0 or copies(c)[row, instance] < 0:
            break
        k += 1
    return k


@inner
def touch(c: State, instance: int, key: int, category: int, now_s: float) -> int:
    """Take one more reference to the oldest copy of a key that is held; return the block."""
    b = copies(c)[row_of(c)[key], instance]
    block = blocks(c)[b]
    order = orders(c)[instance]
    if block.ref == 0:
        pools(c)[instance].n_free -= 1
        if sizes(c).is_listed:
            _unlink(c, instance, b)
        elif items(c)[b].is_candidate:
            remove(order, items(c), heaps(c), b)
    block.ref += 1
    if sizes(c).is_listed == 0:
        item = items(c)[b]
        item.hits += 1
        item.last_s = now_s
        item.clock = order.clock
        if order.is_retagged:
            item.category = category
        if order.mode == HOOKED:
            notify(order, items(c), b, EVENT_HIT)
    return int(b)


@inner
def take(c: State, instance: int, now_s: float) -> int:
    """Take a free block, evicting a cached one if no other is left."""
    pool = pools(c)[instance]
    pool.n_free -= 1
    if pool.n_unkeyed > 0:
        pool.n_unkeyed -= 1
        b = unkeyed(c)[instance, pool.n_unkeyed]
    elif sizes(c).is_listed:
        b = pool.lru_head
        _unlink(c, instance, b)
        _forget(c, instance, b)
    else:
        n_blocks = sizes(c).n_blocks
        lo = instance * n_blocks
        order = orders(c)[instance]
        b = victim(order, items(c), heaps(c), params(c), lo, lo + n_blocks, now_s)
        if b < 0:  # the policy failed: stay consistent until the run is stopped
            b = lo
            while items(c)[b].is_candidate == 0:
                b += 1
        remove(order, items(c), heaps(c), b)
        if order.mode == HOOKED:
            notify(order, items(c), b, EVENT_EVICT)
        _forget(c, instance, b)
    blocks(c)[b].ref = 1
    return int(b)


@inner
def _row_for(c: State, key: int) -> int:
    """Return the row of the index that holds a key, taking a free one if it is new."""
    row = row_of(c)[key]
    if row < 0:
        height = free_rows(c)[-1] - 1
        row = free_rows(c)[height]
        free_rows(c)[-1] = height
        row_of(c)[key] = row
    return int(row)


@inner
def index_private(c: State, instance: int, b: int) -> None:
    """Let look-ups find a private block: its request is about to be preempted."""
    if blocks(c)[b].newer != UNINDEXED:
        return
    blocks(c)[b].newer = -1
    row = _row_for(c, blocks(c)[b].key)
    oldest = copies(c)[row, instance]
    if oldest < 0:
        copies(c)[row, instance] = b
        n_holders(c)[row] += 1
    else:
        _append_copy(c, oldest, b)


@inner
def _append_copy(c: State, oldest: int, b: int) -> None:
    """Put a copy of a key behind the older ones."""
    last = oldest
    while blocks(c)[last].newer >= 0:
        last = blocks(c)[last].newer
    blocks(c)[last].newer = b


@inner
def publish(
    c: State,
    instance: int,
    b: int,
    key: int,
    above: int,
    depth: int,
    category: int,
    now_s: float,
) -> None:
    """Give a block in use its key: from now on lookups find it, behind older copies."""
    if sizes(c).is_listed and key >= sizes(c).n_shared_keys:
        # private: only its own request can look it up, and only after a preemption
        blocks(c)[b].key = key
        blocks(c)[b].newer = UNINDEXED
        return
    row = _row_for(c, key)
    blocks(c)[b].key = key
    blocks(c)[b].newer = -1
    oldest = copies(c)[row, instance]
    order = orders(c)[instance]
    if sizes(c).is_listed == 0:
        item = items(c)[b]
        item.key = key
        item.depth = depth
        item.category = category
        item.hits = 0
        item.inserted = pools(c)[instance].n_inserted
        item.inserted_s = now_s
        item.last_s = now_s
        item.clock = order.clock
        pools(c)[instance].n_inserted += 1
        parent_key(c)[b] = above
        if order.mode == HOOKED:
            notify(order, items(c), b, EVENT_INSERT)
        if oldest < 0 and above >= 0:
            n_children(c)[row_of(c)[above], instance] += 1
    if oldest < 0:
        copies(c)[row, instance] = b
        n_holders(c)[row] += 1
        return
    is_second = blocks(c)[oldest].newer < 0
    _append_copy(c, oldest, b)
    if sizes(c).is_listed == 0 and is_second:
        # with a second copy the first may go although its children are cached
        is_idle = blocks(c)[oldest].ref == 0
        if is_idle and items(c)[oldest].is_candidate == 0:
            add(order, items(c), heaps(c), oldest)


@inner
def release(
    c: State, instance: int, table: NDArray[np.int32], n_held: int, n_published: int, now_s: float
) -> None:
    """Give up a request's blocks, last to first.

    table:  0 ............ n_published ............ n_held
            keyed: to the recently      never keyed: on the
            used end of the queue       stack, last on top
    """
    pool = pools(c)[instance]
    order = orders(c)[instance]
    for k in range(n_published - 1, -1, -1):
        b = table[k]
        block = blocks(c)[b]
        block.ref -= 1
        if block.ref > 0:
            continue
        pool.n_free += 1
        if sizes(c).is_listed:
            tail = pool.lru_tail
            block.before = tail
            block.after = -1
            if tail >= 0:
                blocks(c)[tail].after = b
            else:
                pool.lru_head = b
            pool.lru_tail = b
        else:
            items(c)[b].last = pool.n_released
            pool.n_released += 1
            row = row_of(c)[block.key]
            oldest = copies(c)[row, instance]
            if n_children(c)[row, instance] == 0 or blocks(c)[oldest].newer >= 0:
                add(order, items(c), heaps(c), b)
    for k in range(n_published, n_held):
        b = table[k]
        blocks(c)[b].ref = 0
        unkeyed(c)[instance, pool.n_unkeyed] = b
        pool.n_unkeyed += 1
        pool.n_free += 1


@inner
def _unlink(c: State, instance: int, b: int) -> None:
    """Take a block out of the lru list."""
    before, after = blocks(c)[b].before, blocks(c)[b].after
    if before >= 0:
        blocks(c)[before].after = after
    else:
        pools(c)[instance].lru_head = after
    if after >= 0:
        blocks(c)[after].before = before
    else:
        pools(c)[instance].lru_tail = before


@inner
def _forget(c: State, instance: int, b: int) -> None:
    """Drop the key of a block: one eviction. Other copies of the key stay."""
    if blocks(c)[b].newer == UNINDEXED:
        blocks(c)[b].key = -1
        blocks(c)[b].newer = -1
        pools(c)[instance].evictions += 1
        return
    key = blocks(c)[b].key
    row = row_of(c)[key]
    newer = blocks(c)[b].newer
    oldest = copies(c)[row, instance]
    if oldest == b:
        copies(c)[row, instance] = newer
    else:
        older = oldest
        while blocks(c)[older].newer != b:
            older = blocks(c)[older].newer
        blocks(c)[older].newer = newer
    blocks(c)[b].key = -1
    blocks(c)[b].newer = -1
    pools(c)[instance].evictions += 1
    oldest = copies(c)[row, instance]
    is_ordered = sizes(c).is_listed == 0
    if oldest < 0:
        n_holders(c)[row] -= 1
        if n_holders(c)[row] == 0:
            row_of(c)[key] = -1
            height = free_rows(c)[-1]
            free_rows(c)[height] = row
            free_rows(c)[-1] = height + 1
        if is_ordered and parent_key(c)[b] >= 0:
            _lose_child(c, instance, row_of(c)[parent_key(c)[b]])
    elif (
        is_ordered
        and blocks(c)[oldest].newer < 0
        and items(c)[oldest].is_candidate
        and n_children(c)[row, instance] > 0
    ):
        remove(orders(c)[instance], items(c), heaps(c), oldest)


@inner
def _lose_child(c: State, instance: int, row: int) -> None:
    """Count one cached child less; without any, an idle block becomes a candidate."""
    n_children(c)[row, instance] -= 1
    oldest = copies(c)[row, instance]
    if (
        n_children(c)[row, instance] == 0
        and blocks(c)[oldest].ref == 0
        and items(c)[oldest].is_candidate == 0
    ):
        add(orders(c)[instance], items(c), heaps(c), oldest)
