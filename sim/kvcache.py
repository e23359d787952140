"""One GPU's block pool and prefix cache, compiled. Knows no request, no clock, no policy name.

Follows vLLM 0.32 `BlockPool`: full blocks only; one queue of free blocks whose keyed ones
stay hittable; never-keyed blocks are taken first, the last freed one before the others;
duplicates of a block are kept and the oldest copy answers a lookup; a request's blocks are
released last to first. Differs: block 0 is left out instead of held; a policy other than lru
may order the keyed free blocks, and then only blocks without a cached child are candidates,
unless it takes any: what is cached below an evicted block is out of reach until that is back.

The index names the oldest copy of each block that an instance holds. Keys of a path follow each
other, and are looked up, cached and evicted one after the other: so a *strip* of the index, one
cache line, holds an instance's copies of STRIP_KEYS keys in a row. Blocks are numbered through:
instance i owns `i * n_blocks ... (i + 1) * n_blocks - 1`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, prefetch, seldom
from ..policies.order import (
    EVENT_EVICT,
    EVENT_HIT,
    EVENT_INSERT,
    EVENT_MISS,
    HOOKED,
    add,
    notify,
    remove,
    rest,
    score_of_victim,
    victim,
)
from .recording import record_event
from .records import BLOCK_BYTES, EVICTED, STRIP_BITS, STRIP_KEYS, STRIP_MASK
from .ring import keep_for_queue
from .state import (
    State,
    block_hits,
    blocks,
    copies,
    free_strips,
    heaps,
    items,
    n_children,
    orders,
    params,
    parent_key,
    pools,
    queue,
    sizes,
    strip_of,
    unkeyed,
)
from .tiers import WRITE_BACK, send

BLOCKS_AHEAD = 8
"""How far ahead of its use a block is fetched, since most of them are in no cache of the processor:
enough to cover the way to memory."""

UNINDEXED = -2
"""In place of the next newer copy: a block that nobody can look up, so the index lacks it."""


@inner
def fetch_block(c: State, b: int) -> None:
    """Have the processor fetch a block that is about to be used; any number will do."""
    prefetch(sizes(c).blocks + b * BLOCK_BYTES)


@inner
def place_of(c: State, instance: int, key: int) -> int:
    """Return where in the index the instance's copy of a key is; it may have none there."""
    strip = np.int64(strip_of(c)[key >> STRIP_BITS, instance])
    return int((strip << STRIP_BITS) + (key & STRIP_MASK))


@inner
def holds(c: State, instance: int, key: int) -> bool:
    """Whether the instance has the key cached."""
    return bool(copies(c)[place_of(c, instance, key)] >= 0)


@inner
def lookup(
    c: State, instance: int, keys: NDArray[np.int32], limit: int, found: NDArray[np.int32]
) -> int:
    """Count the leading keys, at most `limit`, that the instance holds: in the blocks `found`."""
    k = 0
    while k < limit:
        b = copies(c)[place_of(c, instance, keys[k])]
        if b < 0:
            break
        fetch_block(c, b)
        found[k] = b
        k += 1
    return k


@inner
def touch(c: State, instance: int, b: int, depth: int, category: int, now_s: float) -> None:
    """Take one more reference to a block that a look-up found."""
    block = blocks(c)[b]
    order = orders(c)[instance]
    if block.ref == 0:
        pools(c)[instance].n_free -= 1
        if sizes(c).is_listed:
            queue(c)[instance, block.place] = -1
        elif items(c)[b].is_candidate:
            remove(order, items(c), heaps(c), b)
    block.ref += 1
    if sizes(c).min_gpu_hits > 0:
        block_hits(c)[b] += 1
        if block_hits(c)[b] == sizes(c).min_gpu_hits:
            send(c, instance, 0, True, block.key, depth, category, now_s)
    if sizes(c).is_listed == 0:
        item = items(c)[b]
        item.hits += 1
        item.last_s = now_s
        item.clock = order.clock
        if order.is_retagged:
            item.category = category
        if order.hears_hits:
            notify(order, items(c), b, EVENT_HIT)


@seldom
def tell_misses(
    c: State,
    instance: int,
    keys: NDArray[np.int32],
    first: int,
    end: int,
    category: int,
    now_s: float,
) -> None:
    """Tell a policy that hears misses which keys, from `first` to before `end`, are not cached.

    The deepest first, and before room is made for any of them.
    """
    order = orders(c)[instance]
    if order.hears_misses == 0:
        return
    none = instance * sizes(c).n_blocks  # the item of the null block, which is left out
    item = items(c)[none]
    item.category = category
    item.hits = 0
    item.inserted = pools(c)[instance].n_inserted
    item.last = pools(c)[instance].n_released
    item.inserted_s = item.last_s = now_s
    item.clock = order.clock
    for k in range(end - 1, first - 1, -1):
        if not holds(c, instance, keys[k]):
            item.key = keys[k]
            item.depth = k
            notify(order, items(c), none, EVENT_MISS)


@inner
def take(c: State, instance: int, now_s: float) -> int:
    """Take a free block, evicting a cached one if no other is left."""
    pool = pools(c)[instance]
    pool.n_free -= 1
    if pool.n_unkeyed > 0:
        pool.n_unkeyed -= 1
        b = unkeyed(c)[instance, pool.n_unkeyed]
    elif sizes(c).is_listed:
        b = _longest_unused(c, instance)
        _demote(c, instance, b, now_s)
        _forget(c, instance, b, np.nan)
    else:
        n_blocks = sizes(c).n_blocks
        lo = instance * n_blocks
        order = orders(c)[instance]
        b = victim(order, items(c), heaps(c), params(c), lo, lo + n_blocks, now_s)
        if b < 0:  # the policy failed: stay consistent until the run is stopped
            b = lo
            while items(c)[b].is_candidate == 0:
                b += 1
        _evict(c, instance, b, now_s)
        if order.drops_whole:
            _evict_rest(c, instance, now_s)
    blocks(c)[b].ref = 1
    if sizes(c).min_gpu_hits > 0:
        block_hits(c)[b] = 0
    return int(b)


@inner
def _evict(c: State, instance: int, b: int, now_s: float) -> None:
    """Evict a block that the policy chose."""
    order = orders(c)[instance]
    score = np.nan
    if sizes(c).n_events > 0:
        score = score_of_victim(order, items(c), heaps(c), b)
    remove(order, items(c), heaps(c), b)
    if order.mode == HOOKED:
        notify(order, items(c), b, EVENT_EVICT)
    _demote(c, instance, b, now_s)
    _forget(c, instance, b, score)


@seldom
def _evict_rest(c: State, instance: int, now_s: float) -> None:
    """Evict, besides the last victim, what has to go with it; those blocks are free for others."""
    pool = pools(c)[instance]
    order = orders(c)[instance]
    lo = instance * sizes(c).n_blocks
    while True:
        b = rest(order, items(c), lo, lo + sizes(c).n_blocks)
        if b < 0:
            break
        _evict(c, instance, b, now_s)
        unkeyed(c)[instance, pool.n_unkeyed] = b
        pool.n_unkeyed += 1


@inner
def _demote(c: State, instance: int, b: int, now_s: float) -> None:
    """Pass an evicted block on to the first tier, if the queue needs it or that is how it fills."""
    if sizes(c).ring_window > 0:
        depth = category = 0
        if sizes(c).is_listed == 0:
            depth, category = items(c)[b].depth, items(c)[b].category
        if keep_for_queue(c, instance, blocks(c)[b].key, depth, category, now_s):
            return
    if sizes(c).has_tiers and sizes(c).first_tier_write == WRITE_BACK:
        if sizes(c).is_listed:
            send(c, instance, 0, True, blocks(c)[b].key, 0, 0, now_s)
        else:
            item = items(c)[b]
            send(c, instance, 0, True, item.key, item.depth, item.category, now_s)


@inner
def _place_for(c: State, instance: int, key: int) -> int:
    """Return the place of a key in the index, taking a free strip if it is the first of its."""
    if strip_of(c)[key >> STRIP_BITS, instance] == 0:
        height = free_strips(c)[-1] - 1
        strip = free_strips(c)[height]
        free_strips(c)[-1] = height
        strip_of(c)[key >> STRIP_BITS, instance] = strip
        for place in range(strip * STRIP_KEYS, (strip + 1) * STRIP_KEYS):
            copies(c)[place] = -1
    return place_of(c, instance, key)


@inner
def _free_if_empty(c: State, instance: int, key: int) -> None:
    """Give back the strip of a key that went if it was the last, and the parent of none."""
    strip = strip_of(c)[key >> STRIP_BITS, instance]
    for place in range(strip * STRIP_KEYS, (strip + 1) * STRIP_KEYS):
        if copies(c)[place] >= 0:
            return
        if sizes(c).is_listed == 0 and n_children(c)[place] > 0:
            return
    strip_of(c)[key >> STRIP_BITS, instance] = 0
    height = free_strips(c)[-1]
    free_strips(c)[height] = strip
    free_strips(c)[-1] = height + 1


@inner
def index_private(c: State, instance: int, b: int) -> None:
    """Let look-ups find a private block: its request is about to be preempted."""
    if blocks(c)[b].newer != UNINDEXED:
        return
    blocks(c)[b].newer = -1
    place = _place_for(c, instance, blocks(c)[b].key)
    oldest = copies(c)[place]
    if oldest < 0:
        copies(c)[place] = b
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
    place = _place_for(c, instance, key)
    blocks(c)[b].key = key
    blocks(c)[b].newer = -1
    oldest = copies(c)[place]
    order = orders(c)[instance]
    if sizes(c).is_listed == 0:
        item = items(c)[b]
        item.key = key
        item.depth = depth
        item.category = category
        item.hits = 0
        item.inserted = pools(c)[instance].n_inserted
        item.inserted_s = now_s
        if order.is_stamped_on_hit == 0:
            item.last_s = now_s
        item.clock = order.clock
        pools(c)[instance].n_inserted += 1
        parent_key(c)[b] = above
        if order.mode == HOOKED:
            notify(order, items(c), b, EVENT_INSERT)
        if oldest < 0 and above >= 0:
            n_children(c)[place_of(c, instance, above)] += 1
    if oldest < 0:
        copies(c)[place] = b
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
        fetch_block(c, table[max(0, k - BLOCKS_AHEAD)])
        b = table[k]
        block = blocks(c)[b]
        block.ref -= 1
        if block.ref > 0:
            continue
        pool.n_free += 1
        if sizes(c).is_listed:
            _append(c, instance, b)
        else:
            items(c)[b].last = pool.n_released
            pool.n_released += 1
            if order.is_stamped_on_release:
                items(c)[b].last_s = now_s
            place = place_of(c, instance, block.key)
            is_leaf = n_children(c)[place] == 0 or blocks(c)[copies(c)[place]].newer >= 0
            if is_leaf or order.takes_any:
                add(order, items(c), heaps(c), b)
    for k in range(n_published, n_held):
        b = table[k]
        blocks(c)[b].ref = 0
        unkeyed(c)[instance, pool.n_unkeyed] = b
        pool.n_unkeyed += 1
        pool.n_free += 1


@inner
def _append(c: State, instance: int, b: int) -> None:
    """Put a block at the recently used end of the lru queue."""
    pool = pools(c)[instance]
    n_places = sizes(c).n_places
    if pool.queue_end - pool.queue_start == n_places:
        _close_gaps(c, instance)
    place = pool.queue_end & (n_places - 1)
    queue(c)[instance, place] = b
    blocks(c)[b].place = place
    pool.queue_end += 1


@inner
def _close_gaps(c: State, instance: int) -> None:
    """Move all blocks of the lru queue up to its start: at most half of its places hold one."""
    pool = pools(c)[instance]
    mask = sizes(c).n_places - 1
    end = pool.queue_start
    for at in range(pool.queue_start, pool.queue_end):
        b = queue(c)[instance, at & mask]
        if b >= 0:
            queue(c)[instance, end & mask] = b
            blocks(c)[b].place = end & mask
            end += 1
    pool.queue_end = end


@inner
def _longest_unused(c: State, instance: int) -> int:
    """Take the first block off the lru queue."""
    pool = pools(c)[instance]
    mask = sizes(c).n_places - 1
    at = pool.queue_start
    while queue(c)[instance, at & mask] < 0:
        at += 1
    pool.queue_start = at + 1
    fetch_block(c, queue(c)[instance, (at + BLOCKS_AHEAD) & mask])
    return int(queue(c)[instance, at & mask])


@inner
def _forget(c: State, instance: int, b: int, score: float) -> None:
    """Drop the key of a block, chosen by `score`: one eviction. Other copies of the key stay."""
    if blocks(c)[b].newer == UNINDEXED:
        blocks(c)[b].key = -1
        blocks(c)[b].newer = -1
        pools(c)[instance].evictions += 1
        return
    key = blocks(c)[b].key
    place = place_of(c, instance, key)
    newer = blocks(c)[b].newer
    oldest = copies(c)[place]
    if oldest == b:
        copies(c)[place] = newer
    else:
        older = oldest
        while blocks(c)[older].newer != b:
            older = blocks(c)[older].newer
        blocks(c)[older].newer = newer
    blocks(c)[b].key = -1
    blocks(c)[b].newer = -1
    pools(c)[instance].evictions += 1
    oldest = copies(c)[place]
    is_ordered = sizes(c).is_listed == 0
    if oldest < 0:
        record_event(c, EVICTED, instance, -1, key, 0.0, score)
        if is_ordered:
            pools(c)[instance].orphaned += n_children(c)[place]
        _free_if_empty(c, instance, key)
        if is_ordered and parent_key(c)[b] >= 0:
            _lose_child(c, instance, parent_key(c)[b])
    elif (
        is_ordered
        and orders(c)[instance].takes_any == 0
        and blocks(c)[oldest].newer < 0
        and items(c)[oldest].is_candidate
        and n_children(c)[place] > 0
    ):
        remove(orders(c)[instance], items(c), heaps(c), oldest)


@inner
def _lose_child(c: State, instance: int, key: int) -> None:
    """Count one cached child of a key less; without any, an idle block becomes a candidate."""
    place = place_of(c, instance, key)
    n_children(c)[place] -= 1
    oldest = copies(c)[place]
    if oldest < 0:  # it went before its children
        _free_if_empty(c, instance, key)
    elif (
        n_children(c)[place] == 0
        and blocks(c)[oldest].ref == 0
        and items(c)[oldest].is_candidate == 0
    ):
        add(orders(c)[instance], items(c), heaps(c), oldest)
