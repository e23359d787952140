"""The CPU's part of each instance's prefix cache, compiled: what is stored, found and loaded.

A *victim buffer* in pinned memory, behind the GPU's pool and over one link each way. Two ways to
fill it: write-through stores a block as soon as its KV is computed (vLLM's native offloading; the
GPU's copy stays), write-back stores it when the GPU evicts it, and a block that is loaded leaves
the buffer (the tiers are exclusive). A look-up continues where the GPU's ends, and counts only
blocks whose transfer is over. A link serves one transfer after the other.

Host blocks are numbered through: instance i owns `i * n_host ... (i + 1) * n_host - 1`. They are
found through an open-addressing table of each instance.
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
    LRU_LIST,
    add,
    notify,
    remove,
    victim,
)
from .state import (
    State,
    host_blocks,
    host_heaps,
    host_items,
    host_orders,
    host_params,
    host_slots,
    hosts,
    links,
    sizes,
)

WRITE_THROUGH = 0
WRITE_BACK = 1

LINK_UP_BYTES_PER_S, LINK_DOWN_BYTES_PER_S, LINK_START_S, BLOCK_BYTES = range(4)
"""Elements of `links`: to the GPU, from it, time to start a transfer, bytes of a block."""


@inner
def _slot(c: State, i: int, key: int) -> int:
    """Return the slot of the table that names the key's host block, or the free one for it."""
    slots = host_slots(c)[i]
    mask = len(slots) - 1
    slot = (np.int64(key) * np.int64(0x9E3779B1) >> 7) & mask
    while slots[slot] >= 0 and host_blocks(c)[slots[slot]].key != key:
        slot = (slot + 1) & mask
    return int(slot)


@inner
def _free_slot(c: State, i: int, slot: int) -> None:
    """Empty a slot, and close the gap that it leaves in a chain of collisions."""
    slots = host_slots(c)[i]
    mask = len(slots) - 1
    gap = slot
    at = (slot + 1) & mask
    while slots[at] >= 0:
        key = host_blocks(c)[slots[at]].key
        home = (np.int64(key) * np.int64(0x9E3779B1) >> 7) & mask
        if ((at - home) & mask) >= ((at - gap) & mask):
            slots[gap] = slots[at]
            gap = at
        at = (at + 1) & mask
    slots[gap] = -1


@inner
def host_lookup(
    c: State, i: int, keys: NDArray[np.int32], first: int, limit: int, now_s: float
) -> int:
    """Count the keys from `first` on, below `limit`, that the host holds in a row and ready."""
    k = first
    while k < limit:
        x = host_slots(c)[i, _slot(c, i, keys[k])]
        if x < 0 or host_blocks(c)[x].ready_s > now_s:
            break
        k += 1
    return k - first


@inner
def host_touch(c: State, i: int, keys: NDArray[np.int32], n: int, now_s: float) -> None:
    """Note a use of whichever of the first `n` keys the host holds, deepest first."""
    for k in range(n - 1, -1, -1):
        x = np.int64(host_slots(c)[i, _slot(c, i, keys[k])])
        if x >= 0:
            _use(c, i, x, now_s)


@inner
def _use(c: State, i: int, x: int, now_s: float) -> None:
    host = hosts(c)[i]
    order = host_orders(c)[i]
    if order.mode == LRU_LIST:
        if host_blocks(c)[x].pins == 0:
            _unlink(c, i, x)
            _append(c, i, x)
        return
    is_candidate = host_items(c)[x].is_candidate
    if is_candidate:
        remove(order, host_items(c), host_heaps(c), x)
    item = host_items(c)[x]
    item.hits += 1
    item.last = host.n_uses
    item.last_s = now_s
    item.clock = order.clock
    host.n_uses += 1
    if order.mode == HOOKED:
        notify(order, host_items(c), x, EVENT_HIT)
    if is_candidate:
        add(order, host_items(c), host_heaps(c), x)


@inner
def host_store(c: State, i: int, key: int, depth: int, category: int, now_s: float) -> None:
    """Start to copy a block to the host, unless it is there; without room it is left out."""
    slot = _slot(c, i, key)
    if host_slots(c)[i, slot] >= 0:
        return
    host = hosts(c)[i]
    order = host_orders(c)[i]
    if host.n_used < sizes(c).n_host:
        x = i * sizes(c).n_host + host.n_used
        host.n_used += 1
    elif host.free_head >= 0:
        x = host.free_head
        host.free_head = host_blocks(c)[x].after
    else:
        x = _evict(c, i, now_s)
        if x < 0:
            host.n_refused += 1
            return
        slot = _slot(c, i, key)
    seconds = links(c)[BLOCK_BYTES] / links(c)[LINK_DOWN_BYTES_PER_S]
    if host.down_free_s <= now_s:
        host.down_free_s = now_s + links(c)[LINK_START_S]
    host.down_free_s += seconds
    host.n_stored += 1
    block = host_blocks(c)[x]
    block.key = key
    block.pins = 0
    block.ready_s = host.down_free_s
    host_slots(c)[i, slot] = x
    if order.mode == LRU_LIST:
        _append(c, i, x)
        return
    item = host_items(c)[x]
    item.key = key
    item.depth = depth
    item.category = category
    item.hits = 0
    item.inserted = item.last = host.n_uses
    item.inserted_s = item.last_s = now_s
    item.clock = order.clock
    host.n_uses += 1
    if order.mode == HOOKED:
        notify(order, host_items(c), x, EVENT_INSERT)
    add(order, host_items(c), host_heaps(c), x)


@inner
def _evict(c: State, i: int, now_s: float) -> int:
    """Drop the block that the host's policy names; return it, -1 if all are being loaded."""
    order = host_orders(c)[i]
    host = hosts(c)[i]
    if order.mode == LRU_LIST:
        x = host.lru_head
        if x < 0:
            return -1
        _unlink(c, i, x)
    else:
        if host.n_pinned == sizes(c).n_host:
            return -1
        lo = i * sizes(c).n_host
        x = victim(
            order,
            host_items(c),
            host_heaps(c),
            host_params(c),
            lo,
            lo + sizes(c).n_host,
            now_s,
        )
        if x < 0:
            return -1
        remove(order, host_items(c), host_heaps(c), x)
        if order.mode == HOOKED:
            notify(order, host_items(c), x, EVENT_EVICT)
    _free_slot(c, i, _slot(c, i, host_blocks(c)[x].key))
    host.n_evicted += 1
    return int(x)


@inner
def host_load(c: State, i: int, keys: NDArray[np.int32], first: int, n: int, now_s: float) -> float:
    """Start to load `n` keys from `first` on, and pin them; return when they are on the GPU."""
    host = hosts(c)[i]
    for k in range(first, first + n):
        x = np.int64(host_slots(c)[i, _slot(c, i, keys[k])])
        block = host_blocks(c)[x]
        if block.pins == 0:
            host.n_pinned += 1
            if host_orders(c)[i].mode == LRU_LIST:
                _unlink(c, i, x)
            else:
                remove(host_orders(c)[i], host_items(c), host_heaps(c), x)
        block.pins += 1
    host.n_loaded += n
    host.up_free_s = max(host.up_free_s, now_s + links(c)[LINK_START_S])
    host.up_free_s += n * (links(c)[BLOCK_BYTES] / links(c)[LINK_UP_BYTES_PER_S])
    return float(host.up_free_s)


@inner
def host_loaded(c: State, i: int, keys: NDArray[np.int32], first: int, n: int) -> None:
    """Unpin loaded keys, deepest first; with write-back they leave the host."""
    host = hosts(c)[i]
    for k in range(first + n - 1, first - 1, -1):
        slot = _slot(c, i, keys[k])
        x = np.int64(host_slots(c)[i, slot])
        block = host_blocks(c)[x]
        block.pins -= 1
        if block.pins > 0:
            continue
        host.n_pinned -= 1
        if sizes(c).host_write == WRITE_BACK:
            if host_orders(c)[i].mode == HOOKED:
                notify(host_orders(c)[i], host_items(c), x, EVENT_EVICT)
            _free_slot(c, i, slot)
            host.n_unloaded += 1
            block.after = host.free_head
            host.free_head = x
        elif host_orders(c)[i].mode == LRU_LIST:
            _append(c, i, x)
        else:
            add(host_orders(c)[i], host_items(c), host_heaps(c), x)


@inner
def _append(c: State, i: int, x: int) -> None:
    """Put a host block at the recently used end of the lru list."""
    host = hosts(c)[i]
    block = host_blocks(c)[x]
    block.before = host.lru_tail
    block.after = -1
    if host.lru_tail >= 0:
        host_blocks(c)[host.lru_tail].after = x
    else:
        host.lru_head = x
    host.lru_tail = x


@inner
def _unlink(c: State, i: int, x: int) -> None:
    """Take a host block out of the lru list."""
    host = hosts(c)[i]
    before, after = host_blocks(c)[x].before, host_blocks(c)[x].after
    if before >= 0:
        host_blocks(c)[before].after = after
    else:
        host.lru_head = after
    if after >= 0:
        host_blocks(c)[after].before = before
    else:
        host.lru_tail = before
