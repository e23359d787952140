"""A pinned part of the host's memory for blocks that the queue is about to need, compiled.

The victim buffer of LSM-GNN's preemptive prefetcher, for a queue of requests: a block that the GPU
gives up although one of the first waiting requests uses it goes here, and no eviction policy takes
it away before that request has had its turn. The blocks stand in order of the expected start of
their users, which is that of the requests' rows: first come, first served. If there is no room,
the one whose user starts last falls into the normal part of the host's memory; so does what a
request leaves here when its turn has come. What is loaded leaves the ring: one prefetch serves one
use. A block is in one part of the host's memory only.
"""

from __future__ import annotations

import numpy as np

from ..kernels import seldom
from ..policies.order import EVENT_EVICT, HOOKED, LRU_LIST, notify, remove
from .state import (
    State,
    instances,
    requests,
    segment_depth,
    segment_first_key,
    segment_parent,
    sizes,
    tier_orders,
    tiers,
)
from .tiers import (
    HOST,
    RING,
    Tier,
    give_up,
    held,
    make_room,
    move_down,
    settle,
    slot_of,
    take_into_host,
    tier_blocks,
    tier_heaps,
    tier_items,
    unlink,
)


@seldom
def _uses(c: State, r: int, key: int) -> bool:
    """Whether a look-up for request `r` would try a key."""
    request = requests(c)[r]
    limit = (request.known - 1) // sizes(c).block_size
    if key >= sizes(c).n_shared_keys:
        return bool(0 <= key - request.private_key < limit - request.n_shared)
    upto = np.int64(min(limit, request.n_shared))
    segment = np.int64(request.end)
    while segment >= 0:
        first = np.int64(segment_depth(c)[segment])
        place = key - segment_first_key(c)[segment]
        if 0 <= place < upto - first:
            return True
        upto = min(upto, first)
        segment = np.int64(segment_parent(c)[segment])
    return False


@seldom
def _first_user(c: State, i: int, key: int) -> int:
    """Return the first of the waiting requests looked at that uses a key, -1 if none does."""
    r = np.int64(instances(c)[i].waiting_head)
    for _ in range(min(instances(c)[i].n_waiting, sizes(c).ring_window)):
        if _uses(c, r, key):
            return int(r)
        r = np.int64(requests(c)[r].after)
    return -1


@seldom
def _leave_host(c: State, q: int, x: int) -> None:
    """Take a block out of the normal part of the host's memory."""
    tier = tiers(c)[q]
    order = tier_orders(c)[q]
    if order.mode == LRU_LIST:
        unlink(tier, x)
    else:
        remove(order, tier_items(tier), tier_heaps(tier), x)
        if order.mode == HOOKED:
            notify(order, tier_items(tier), x, EVENT_EVICT)
    give_up(tier, slot_of(tier, tier_blocks(tier)[x].key))
    tier.n_unloaded += 1


@seldom
def _fall(c: State, i: int, x: int, now_s: float) -> None:
    """Move a block of the ring to the normal part of the host's memory, if that has room."""
    ring = tiers(c)[RING * sizes(c).n_instances + i]
    block = tier_blocks(ring)[x]
    key, depth, category = np.int64(block.key), np.int64(block.depth), np.int64(block.category)
    ready_s = block.ready_s
    unlink(ring, x)
    give_up(ring, slot_of(ring, key))
    ring.n_evicted += 1
    q = HOST * sizes(c).n_instances + i
    if not take_into_host(c, i, q, key, depth, category, now_s, ready_s):
        tiers(c)[q].n_refused += 1


@seldom
def _line_up(ring: Tier, x: int, user: int) -> None:
    """Move a block from the end of the ring to behind those whose users start as late or later."""
    unlink(ring, x)
    block = tier_blocks(ring)[x]
    block.user = user
    before = np.int64(-1)
    after = np.int64(ring.lru_head)
    while after >= 0 and tier_blocks(ring)[after].user >= user:
        before = after
        after = np.int64(tier_blocks(ring)[after].after)
    block.before = before
    block.after = after
    if before >= 0:
        tier_blocks(ring)[before].after = x
    else:
        ring.lru_head = x
    if after >= 0:
        tier_blocks(ring)[after].before = x
    else:
        ring.lru_tail = x


@seldom
def keep_for_queue(c: State, i: int, key: int, depth: int, category: int, now_s: float) -> bool:
    """Keep a block that the GPU evicts in the ring, if it is for that; else False.

    What the host's memory has ready only changes its part; what is on its way there or from there
    is left to it.
    """
    n = sizes(c).n_instances
    ring = tiers(c)[RING * n + i]
    user = _first_user(c, i, key)
    if user < 0:
        return False
    if held(ring, key) >= 0:
        return True
    host = tiers(c)[HOST * n + i]
    known = held(host, key)
    if known >= 0:
        block = tier_blocks(host)[known]
        if block.pins > 0 or block.ready_s > now_s or block.batch > host.done_batch:
            return True
    if ring.free_head < 0 and ring.n_used == ring.n_blocks:
        last = np.int64(ring.lru_head)
        if last < 0 or tier_blocks(ring)[last].user < user:
            return False
        if known >= 0:  # first, as what falls may push it out
            _leave_host(c, HOST * n + i, known)
        _fall(c, i, last, now_s)
    elif known >= 0:
        _leave_host(c, HOST * n + i, known)
    make_room(c, RING * n + i, now_s)
    x = np.int64(ring.free_head)
    ready_s = now_s
    if known >= 0:
        ring.n_kept += 1
    else:
        ready_s = move_down(c, i, RING * n + i, True, now_s, now_s)
    settle(c, RING * n + i, key, depth, category, now_s, ready_s)
    if known >= 0:
        tier_blocks(ring)[x].batch = 0
    _line_up(ring, x, user)
    return True


@seldom
def leave_ring(c: State, i: int, r: int, now_s: float) -> None:
    """Let what is kept for a request that has its turn, and is not being loaded, fall."""
    ring = tiers(c)[RING * sizes(c).n_instances + i]
    x = np.int64(ring.lru_tail)
    while x >= 0 and tier_blocks(ring)[x].user <= r:
        before = np.int64(tier_blocks(ring)[x].before)
        if tier_blocks(ring)[x].user == r:
            _fall(c, i, x, now_s)
        x = before
