"""The tiers of the prefix cache behind a GPU's pool, compiled: what is stored, found and loaded.

Three tiers, fastest first, each of which may be absent: memory of peer GPUs, the host's memory
(the *victim buffer*), disk. A part of the host's memory may be a fourth, see `ring`. A tier has one
cache an instance, or one for all: `placement` says which cache a key belongs to. What fills a tier
is its `write`:

- write-through: what enters the tier above, as soon as it is there (for the first tier: a block
  whose KV is computed, as vLLM's native offloading does);
- write-back: what the tier above evicts;
- selective: what was used `min_hits` times in the tier above.

A look-up continues where the GPU's ends and takes each block from the first tier that has it, if
its transfer is over. An exclusive tier gives a block away when it is loaded; from below the
host's memory a block passes through that, and stays there unless the host is exclusive.

A block that moves crosses the tier's own link, and the link between host and GPU where that is
on its way. A link serves one block after the other; or all transfers at once, in fair shares:
then this module only notes what has to be moved (`TRANSFER`), and `links` says when it is there.

The blocks of a tier are numbered through its caches. They are found through an open-addressing
table of each cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, seldom, view
from ..policies.order import (
    EVENT_EVICT,
    EVENT_HIT,
    EVENT_INSERT,
    EVENT_MISS,
    HOOKED,
    LRU_LIST,
    Heaps,
    Items,
    add,
    heaps_at,
    items_at,
    notify,
    numbers_at,
    remove,
    victim,
)
from .next_use import next_use_below
from .records import MARK_TRANSFERS, N_TIERS, TIER_BLOCK
from .state import State, instances, links, marks, requests, sizes, tier_orders, tiers, transfers

PEER, RING, HOST, DISK = range(N_TIERS)

WRITE_THROUGH, WRITE_BACK, SELECTIVE = range(3)

PRIVATE, HASHED, SHARED = range(3)
"""Placement: a cache an instance; a cache an instance, each for its share of all keys; one."""

UP_S, DOWN_S, START_S, BLOCK_BYTES = range(4)
"""Elements of `links`: seconds a block takes to the GPU and from it, seconds to start a transfer,
bytes of a block."""

Tier = Any  # a record of dtype TIER


@inner
def tier_blocks(tier: Tier) -> NDArray[Any]:
    return view(tier.blocks, (tier.n_all,), TIER_BLOCK)


@inner
def _slots(tier: Tier) -> NDArray[np.int32]:
    return numbers_at(tier.slots, tier.n_slots)


@inner
def tier_items(tier: Tier) -> Items:
    return items_at(tier.items, tier.n_all + 1)


@inner
def tier_heaps(tier: Tier) -> Heaps:
    return heaps_at(tier.heaps, tier.n_heap_entries)


@seldom
def cache_of(c: State, t: int, i: int, key: int) -> int:
    """Return the number of the cache of tier `t` that is to hold a key that instance `i` uses."""
    n = sizes(c).n_instances
    tier = tiers(c)[t * n]
    if tier.placement == PRIVATE:
        return int(t * n + i)
    if tier.placement == SHARED:
        return int(t * n)
    mixed = (np.int64(key) >> tier.run_bits) * np.int64(0x9E3779B97F4A7C1)
    return int(t * n + ((mixed >> 20) & 0x7FFFFFFF) % n)


@seldom
def slot_of(tier: Tier, key: int) -> int:
    """Return the slot of the table that names the key's block, or the free one for it."""
    slots = _slots(tier)
    mask = tier.n_slots - 1
    slot = (np.int64(key) * np.int64(0x9E3779B1) >> 7) & mask
    while slots[slot] >= 0 and tier_blocks(tier)[slots[slot]].key != key:
        slot = (slot + 1) & mask
    return int(slot)


@seldom
def held(tier: Tier, key: int) -> int:
    """Return the block of a cache that holds a key, on its way or ready; -1 if none does."""
    return int(_slots(tier)[slot_of(tier, key)])


@seldom
def future_of(c: State, q: int, key: int) -> float:
    """Row of the next request that uses a key, to the policy of cache `q`; 0 if it may not know."""
    tier = tiers(c)[q]
    if tier.needs_future == 0:
        return 0.0
    n = sizes(c).n_instances
    return float(next_use_below(c, q % n if tier.placement == PRIVATE else n, key))


@seldom
def is_in_ring(c: State, i: int, key: int) -> bool:
    """Whether the host's memory keeps a key of instance `i` for a request of the queue."""
    tier = tiers(c)[RING * sizes(c).n_instances + i]
    return bool(tier.n_blocks > 0 and held(tier, key) >= 0)


@seldom
def _has_own_link(c: State, i: int, q: int) -> bool:
    """Whether blocks cross a link of the cache's own between it and instance `i`."""
    tier = tiers(c)[q]
    is_local = tier.placement == HASHED and q % sizes(c).n_instances == i
    return bool(tier.up_s > 0.0 and not is_local)


@seldom
def give_up(tier: Tier, slot: int) -> None:
    """Let a cache hold what is in a slot of its index no more; its block is the first free one."""
    x = _slots(tier)[slot]
    tier_blocks(tier)[x].after = tier.free_head
    tier.free_head = x
    _free_slot(tier, slot)


@seldom
def _free_slot(tier: Tier, slot: int) -> None:
    """Empty a slot, and close the gap that it leaves in a chain of collisions."""
    slots = _slots(tier)
    mask = tier.n_slots - 1
    gap = slot
    at = (slot + 1) & mask
    while slots[at] >= 0:
        key = tier_blocks(tier)[slots[at]].key
        home = (np.int64(key) * np.int64(0x9E3779B1) >> 7) & mask
        if ((at - home) & mask) >= ((at - gap) & mask):
            slots[gap] = slots[at]
            gap = at
        at = (at + 1) & mask
    slots[gap] = -1


@seldom
def find(c: State, i: int, key: int, now_s: float) -> int:
    """Return the first cache below the GPU of instance `i` that has a key ready, -1 if none."""
    for t in range(N_TIERS):
        q = cache_of(c, t, i, key)
        tier = tiers(c)[q]
        if tier.n_blocks == 0:
            continue
        x = held(tier, key)
        if x >= 0:
            block = tier_blocks(tier)[x]
            if block.ready_s <= now_s and block.batch <= tier.done_batch:
                return q
    return -1


@seldom
def has_tier_error(c: State) -> bool:
    """Whether the policy of some tier failed."""
    n_errors = 0
    for q in range(N_TIERS * sizes(c).n_instances):
        n_errors += tier_orders(c)[q].error != 0
    return n_errors > 0


@seldom
def tier_lookup(
    c: State, i: int, keys: NDArray[np.int32], first: int, limit: int, now_s: float
) -> int:
    """Count the keys from `first` on, below `limit`, that the tiers hold in a row and ready."""
    k = first
    while k < limit and find(c, i, keys[k], now_s) >= 0:
        k += 1
    return k - first


@seldom
def tier_touch(
    c: State, i: int, keys: NDArray[np.int32], n: int, category: int, now_s: float
) -> None:
    """Note a use of whichever of the first `n` keys a tier holds, deepest first."""
    for t in range(N_TIERS):
        if t == RING:
            continue
        for k in range(n - 1, -1, -1):
            q = cache_of(c, t, i, keys[k])
            if tiers(c)[q].n_blocks == 0:
                break
            x = held(tiers(c)[q], keys[k])
            if x >= 0:
                _use(c, q, x, now_s)
                next_t = min(t + 1 + (t + 1 == RING), N_TIERS - 1)
                below = tiers(c)[next_t * sizes(c).n_instances]
                block = tier_blocks(tiers(c)[q])[x]
                block.hits += 1
                if t < next_t and below.write == SELECTIVE and block.hits == below.min_hits:
                    send(c, i, next_t, t == PEER, keys[k], k, category, now_s)


@seldom
def _use(c: State, q: int, x: int, now_s: float) -> None:
    tier = tiers(c)[q]
    order = tier_orders(c)[q]
    if order.mode == LRU_LIST:
        if tier_blocks(tier)[x].pins == 0:
            unlink(tier, x)
            append(tier, x)
        return
    item = tier_items(tier)[x]
    is_candidate = item.is_candidate
    if is_candidate:
        remove(order, tier_items(tier), tier_heaps(tier), x)
    item.hits += 1
    item.last = tier.n_uses
    item.last_s = now_s
    item.clock = order.clock
    tier.n_uses += 1
    if order.hears_hits:
        notify(order, tier_items(tier), x, EVENT_HIT)
    if is_candidate:
        add(order, tier_items(tier), tier_heaps(tier), x)


@seldom
def send(
    c: State,
    i: int,
    t: int,
    is_on_gpu: bool,
    key: int,
    depth: int,
    category: int,
    now_s: float,
) -> None:
    """Start to copy a block from instance `i`, or from tier `t` - 1, to tier `t`.

    What that makes the tier evict, or what is to follow to the next, goes on in the same way.
    A block that is there already is left; one for which there is no room is left out.
    """
    at_s = now_s
    while t < N_TIERS:
        q = cache_of(c, t, i, key)
        tier = tiers(c)[q]
        if tier.n_blocks == 0 or t == RING:
            t += 1
            continue
        if held(tier, key) >= 0 or (t == HOST and is_in_ring(c, i, key)):
            return
        _tell_miss(c, q, key, depth, category, now_s)
        dropped, dropped_depth, dropped_category = make_room(c, q, now_s)
        x = tier.free_head
        if x < 0:
            tier.n_refused += 1
            return
        at_s = move_down(c, i, q, is_on_gpu and t != PEER, now_s, at_s)
        settle(c, q, key, depth, category, now_s, at_s)
        is_on_gpu = t == PEER
        t += 1
        while t < N_TIERS and (t == RING or tiers(c)[t * sizes(c).n_instances].n_blocks == 0):
            t += 1
        if t == N_TIERS:
            return
        write = tiers(c)[t * sizes(c).n_instances].write
        if write == WRITE_BACK:
            if dropped < 0:
                return
            key, depth, category = dropped, dropped_depth, dropped_category
            at_s = now_s
        elif write == SELECTIVE:
            return


@seldom
def _tell_miss(c: State, q: int, key: int, depth: int, category: int, now_s: float) -> None:
    """Tell a policy that hears misses that a cache lacks a key, which is about to enter it."""
    tier = tiers(c)[q]
    order = tier_orders(c)[q]
    if order.hears_misses == 0:
        return
    item = tier_items(tier)[tier.n_all]
    item.key = key
    item.depth = depth
    item.category = category
    item.hits = 0
    item.inserted = item.last = tier.n_uses
    item.inserted_s = item.last_s = now_s
    item.next_use = future_of(c, q, key)
    item.clock = order.clock
    notify(order, tier_items(tier), tier.n_all, EVENT_MISS)


@seldom
def make_room(c: State, q: int, now_s: float) -> tuple[int, int, int]:
    """See that the first free block of a cache is one, if that can be.

    Returns (key, depth, category) of what had to go, -1 for the key if nothing had to.
    """
    tier = tiers(c)[q]
    if tier.free_head >= 0:
        return -1, 0, 0
    if tier.n_used < tier.n_blocks:
        x = tier.first + tier.n_used
        tier.n_used += 1
        tier_blocks(tier)[x].after = -1
        tier.free_head = x
        return -1, 0, 0
    order = tier_orders(c)[q]
    if order.mode == LRU_LIST:
        x = tier.lru_head
        if x < 0:
            return -1, 0, 0
        unlink(tier, x)
    else:
        if tier.n_pinned == tier.n_blocks:
            return -1, 0, 0
        params = view(tier.params, (tier.n_queues, tier.n_params), np.float64)
        lo, hi = tier.first, tier.first + tier.n_blocks
        x = victim(order, tier_items(tier), tier_heaps(tier), params, lo, hi, now_s)
        if x < 0:
            return -1, 0, 0
        remove(order, tier_items(tier), tier_heaps(tier), x)
        if order.mode == HOOKED:
            notify(order, tier_items(tier), x, EVENT_EVICT)
    block = tier_blocks(tier)[x]
    give_up(tier, slot_of(tier, block.key))
    tier.n_evicted += 1
    return int(block.key), int(block.depth), int(block.category)


@seldom
def move_down(c: State, i: int, q: int, crosses: bool, now_s: float, at_s: float) -> float:
    """Send one block to a cache, from the GPU if it `crosses` the host's link.

    Returns when it is there; for a transfer that shares its links, the time of its start.
    """
    tier = tiers(c)[q]
    instance = instances(c)[i]
    tier.n_stored += 1
    if crosses:
        instance.down_blocks += 1
    if sizes(c).is_fair:
        note = _note(c, i, q, -1, crosses)
        transfers(c)[note].n_blocks += 1
        return now_s
    if crosses:
        if instance.down_free_s <= now_s:
            instance.down_free_s = now_s + links(c)[START_S]
        instance.down_free_s += links(c)[DOWN_S]
        at_s = max(at_s, instance.down_free_s)
    if _has_own_link(c, i, q):
        if tier.down_free_s <= at_s:
            tier.down_free_s = at_s + tier.start_s
        tier.down_free_s += tier.down_s
        at_s = tier.down_free_s
    return float(at_s)


@seldom
def settle(
    c: State, q: int, key: int, depth: int, category: int, now_s: float, ready_s: float
) -> None:
    """Give the first free block of a cache to a key."""
    tier = tiers(c)[q]
    x = tier.free_head
    block = tier_blocks(tier)[x]
    tier.free_head = block.after
    block.key = key
    block.pins = 0
    block.hits = 0
    block.depth = depth
    block.category = category
    block.ready_s = ready_s
    block.batch = tier.batch
    _slots(tier)[slot_of(tier, key)] = x
    order = tier_orders(c)[q]
    if order.mode == LRU_LIST:
        append(tier, x)
        return
    item = tier_items(tier)[x]
    item.key = key
    item.depth = depth
    item.category = category
    item.hits = 0
    item.inserted = item.last = tier.n_uses
    item.inserted_s = item.last_s = now_s
    item.next_use = future_of(c, q, key)
    item.clock = order.clock
    tier.n_uses += 1
    if order.mode == HOOKED:
        notify(order, tier_items(tier), x, EVENT_INSERT)
    add(order, tier_items(tier), tier_heaps(tier), x)


@seldom
def _note(c: State, i: int, q: int, r: int, crosses: bool) -> int:
    """Return the noted transfer between instance `i` and a cache, for request `r` (-1: a store).

    Stores of one instance to one cache are one transfer, a *batch*, until `links` takes it over.
    """
    n = marks(c)[MARK_TRANSFERS]
    for k in range(n):
        known = transfers(c)[k]
        is_same = known.cache == q and known.request == r and known.instance == i
        if is_same and known.crosses == crosses:
            return k
    note = transfers(c)[n]
    note.cache = q
    note.instance = i
    note.request = r
    note.crosses = crosses
    note.n_blocks = 0
    note.batch = 0
    if r < 0:
        tiers(c)[q].batch += 1
        note.batch = tiers(c)[q].batch
    else:
        requests(c)[r].n_transfers += 1
    marks(c)[MARK_TRANSFERS] = n + 1
    return int(n)


@seldom
def tier_load(
    c: State, i: int, r: int, keys: NDArray[np.int32], first: int, n: int, now_s: float
) -> float:
    """Start to load `n` keys from `first` on for a request, and pin them.

    Returns when they are on the GPU; infinity if that is for `links` to say.
    """
    instance = instances(c)[i]
    request = requests(c)[r]
    request.n_from_peer = 0
    request.n_from_host = 0
    request.n_from_disk = 0
    loaded_s = now_s
    first_s = now_s
    for k in range(first, first + n):
        q = find(c, i, keys[k], now_s)
        tier = tiers(c)[q]
        x = held(tier, keys[k])
        block = tier_blocks(tier)[x]
        if block.pins == 0:
            tier.n_pinned += 1
            if tier_orders(c)[q].mode == LRU_LIST:
                unlink(tier, x)
            else:
                remove(tier_orders(c)[q], tier_items(tier), tier_heaps(tier), x)
        block.pins += 1
        tier.n_loaded += 1
        t = q // sizes(c).n_instances
        request.n_from_peer += t == PEER
        request.n_from_host += t in (RING, HOST)
        request.n_from_disk += t == DISK
        if t != PEER:
            instance.up_blocks += 1
        if sizes(c).is_fair:
            transfers(c)[_note(c, i, q, r, t != PEER)].n_blocks += 1
            continue
        at_s = now_s
        if _has_own_link(c, i, q):
            tier.up_free_s = max(tier.up_free_s, now_s + tier.start_s) + tier.up_s
            at_s = tier.up_free_s
        if t != PEER:
            instance.up_free_s = max(instance.up_free_s, now_s + links(c)[START_S], at_s)
            instance.up_free_s += links(c)[UP_S]
            at_s = instance.up_free_s
        loaded_s = max(loaded_s, at_s)
        if k == first:
            first_s = at_s
    if sizes(c).is_fair:
        return np.inf
    overlap_s = (loaded_s - first_s) * (1.0 - 1.0 / max(1, sizes(c).n_layers))
    return float(loaded_s - min(overlap_s, request.overlap_s))


@seldom
def tier_load_s(
    c: State, i: int, keys: NDArray[np.int32], first: int, n: int, now_s: float
) -> float:
    """Estimate the seconds that a load of `n` keys from `first` on would take.

    What is on its way already comes first on each link, or, where links are shared, slows it down.
    """
    own_s = 0.0
    n_up = 0
    waits_s = 0.0
    for k in range(first, first + n):
        q = find(c, i, keys[k], now_s)
        tier = tiers(c)[q]
        if q // sizes(c).n_instances != PEER:
            n_up += 1
        if _has_own_link(c, i, q):
            own_s += tier.up_s
            waits_s = max(waits_s, tier.up_free_s - now_s)
    up_s = n_up * links(c)[UP_S]
    if sizes(c).is_fair:
        return float(max(own_s, up_s) * (1 + instances(c)[i].n_flows))
    if n_up > 0:
        waits_s = max(waits_s, instances(c)[i].up_free_s - now_s)
    return float(waits_s + max(own_s, up_s))


@seldom
def tier_loaded(
    c: State, i: int, keys: NDArray[np.int32], first: int, n: int, category: int, now_s: float
) -> None:
    """Unpin loaded keys, deepest first; those of an exclusive tier leave it."""
    n_instances = sizes(c).n_instances
    for k in range(first + n - 1, first - 1, -1):
        q = _pinned(c, i, keys[k])
        tier = tiers(c)[q]
        slot = slot_of(tier, keys[k])
        x = np.int64(_slots(tier)[slot])
        block = tier_blocks(tier)[x]
        block.pins -= 1
        if block.pins == 0:
            order = tier_orders(c)[q]
            tier.n_pinned -= 1
            if tier.is_exclusive:
                if order.mode == HOOKED:
                    notify(order, tier_items(tier), x, EVENT_EVICT)
                give_up(tier, slot)
                tier.n_unloaded += 1
            elif order.mode == LRU_LIST:
                append(tier, x)
            else:
                add(order, tier_items(tier), tier_heaps(tier), x)
        if q // n_instances == DISK:
            _keep_on_host(c, i, keys[k], k, category, now_s)


@seldom
def _pinned(c: State, i: int, key: int) -> int:
    """Return the first cache with a load of the key under way.

    Two requests may load a key from different tiers; which of them unpins which does not matter.
    """
    q = np.int64(-1)
    for t in range(N_TIERS):
        q = np.int64(cache_of(c, t, i, key))
        tier = tiers(c)[q]
        if tier.n_blocks > 0:
            x = held(tier, key)
            if x >= 0 and tier_blocks(tier)[x].pins > 0:
                return int(q)
    return int(q)


@seldom
def _keep_on_host(c: State, i: int, key: int, depth: int, category: int, now_s: float) -> None:
    """Let a block that came through the host's memory stay there, if there is room for it."""
    q = cache_of(c, HOST, i, key)
    tier = tiers(c)[q]
    if tier.n_blocks == 0 or tier.is_exclusive or held(tier, key) >= 0 or is_in_ring(c, i, key):
        return
    _tell_miss(c, q, key, depth, category, now_s)
    take_into_host(c, i, q, key, depth, category, now_s, now_s)


@seldom
def take_into_host(
    c: State, i: int, q: int, key: int, depth: int, category: int, now_s: float, ready_s: float
) -> bool:
    """Let a block that is in the host's memory stay in cache `q` of it; False if it has no room.

    What has to go for it goes on to the disk.
    """
    tier = tiers(c)[q]
    dropped, dropped_depth, dropped_category = make_room(c, q, now_s)
    if tier.free_head < 0:
        return False
    x = np.int64(tier.free_head)
    tier.n_kept += 1
    settle(c, q, key, depth, category, now_s, ready_s)
    tier_blocks(tier)[x].batch = 0  # what shares its links is taken to be there
    if dropped >= 0 and tiers(c)[DISK * sizes(c).n_instances].write == WRITE_BACK:
        send(c, i, DISK, False, dropped, dropped_depth, dropped_category, now_s)
    return True


@seldom
def append(tier: Tier, x: int) -> None:
    """Put a block at the recently used end of a cache's lru list."""
    block = tier_blocks(tier)[x]
    block.before = tier.lru_tail
    block.after = -1
    if tier.lru_tail >= 0:
        tier_blocks(tier)[tier.lru_tail].after = x
    else:
        tier.lru_head = x
    tier.lru_tail = x


@seldom
def unlink(tier: Tier, x: int) -> None:
    """Take a block out of a cache's lru list."""
    before, after = tier_blocks(tier)[x].before, tier_blocks(tier)[x].after
    if before >= 0:
        tier_blocks(tier)[before].after = after
    else:
        tier.lru_head = after
    if after >= 0:
        tier_blocks(tier)[after].before = before
    else:
        tier.lru_tail = before
