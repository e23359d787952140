"""Blocks of waiting requests, loaded from lower tiers before their turn, compiled.

The preemptive prefetcher of LSM-GNN's victim buffer, for a queue of requests: who is about to run
gets the rest of its prefix moved up while others compute. A promoted request keeps its place in the
queue, and holds its blocks; if the room is needed before its turn, the last of the queue gives them
up first. At its turn the blocks are there (in time), or on their way (late): then it waits as for
a load on demand.
"""

from __future__ import annotations

import numpy as np

from ..kernels import seldom
from .kvcache import lookup, take, tell_misses, touch
from .recording import sign_evictions
from .records import COMING, PROMOTED
from .request_blocks import block_count, give_up_blocks, publish_loaded, write_keys
from .state import State, blocks, free_tables, instances, pools, requests, sizes, table_keys, tables
from .tiers import tier_load, tier_lookup


@seldom
def promote(c: State, i: int, now_s: float) -> None:
    """Start to load what lower tiers hold for the next few of the queue, before their turn.

    Only as far as there is room beside what the head will need, and, unless transfers share it,
    only while the link is idle: loads on demand come first.
    """
    instance = instances(c)[i]
    block_size = sizes(c).block_size
    room = pools(c)[i].n_free - instance.n_owed
    r = np.int64(instance.waiting_head)
    for place in range(min(instance.n_waiting, sizes(c).prefetch_lead)):
        if sizes(c).is_fair == 0 and instance.up_free_s > now_s:
            return
        request = requests(c)[r]
        if request.is_promoted == 0 and instance.n_promoted < sizes(c).prefetch_lead:
            table = np.int64(free_tables(c)[i, instance.n_tables_free - 1])
            keys = table_keys(c)[i, table]
            write_keys(c, r, keys)
            limit = (request.known - 1) // block_size
            hits = lookup(c, i, keys, limit, tables(c)[i, table])
            n = tier_lookup(c, i, keys, hits, limit, now_s)
            idle = 0
            for k in range(hits):
                if blocks(c)[tables(c)[i, table, k]].ref == 0:
                    idle += 1
            if n > 0 and n + idle <= room:
                instance.n_tables_free -= 1
                instance.n_promoted += 1
                request.table = table
                request.is_promoted = COMING
                request.overlap_s = 0.0
                request.loaded_s = tier_load(c, i, r, keys, hits, n, now_s)
                for k in range(hits):
                    b = np.int64(tables(c)[i, table, k])
                    touch(c, i, b, k, request.category, now_s)
                request.n_held = hits
                request.n_published = hits
                tell_misses(c, i, keys, hits, hits + n, request.category, now_s)
                for k in range(hits, hits + n):
                    tables(c)[i, table, k] = take(c, i, now_s)
                if sizes(c).n_events:
                    sign_evictions(c, r, now_s)
                request.n_held = hits + n
                request.n_loading = n
                instance.promoted_blocks += n
                room -= n + idle
        if place == 0:
            room -= block_count(request.known, block_size) - request.n_held
        r = np.int64(request.after)


@seldom
def finish_promotions(c: State, i: int, now_s: float) -> None:
    """Publish the promoted blocks that have come by now."""
    left = instances(c)[i].n_promoted
    r = np.int64(instances(c)[i].waiting_head)
    while left > 0:
        request = requests(c)[r]
        if request.is_promoted:
            left -= 1
            if request.is_promoted == COMING and request.loaded_s <= now_s:
                request.is_promoted = PROMOTED
                publish_loaded(c, i, r, now_s)
        r = np.int64(request.after)


@seldom
def next_promotion_s(c: State, i: int) -> float:
    """Return when the next promoted blocks come; infinity if none are on their way."""
    next_s = np.inf
    left = instances(c)[i].n_promoted
    r = np.int64(instances(c)[i].waiting_head)
    while left > 0:
        request = requests(c)[r]
        if request.is_promoted:
            left -= 1
            if request.is_promoted == COMING:
                next_s = min(next_s, request.loaded_s)
        r = np.int64(request.after)
    return float(next_s)


@seldom
def demote_last(c: State, i: int, but_head: bool, now_s: float) -> bool:
    """Let the last of the queue whose promoted blocks are there give them up; False: nobody."""
    instance = instances(c)[i]
    found = np.int64(-1)
    left = instance.n_promoted
    r = np.int64(instance.waiting_head)
    while left > 0:
        request = requests(c)[r]
        if request.is_promoted:
            left -= 1
            if request.is_promoted == PROMOTED and not (but_head and r == instance.waiting_head):
                found = r
        r = np.int64(request.after)
    if found < 0:
        return False
    request = requests(c)[found]
    give_up_blocks(c, i, found, now_s)
    request.computed = 0
    request.is_promoted = 0
    request.n_from_peer = 0
    request.n_from_host = 0
    request.n_from_disk = 0
    instance.n_promoted -= 1
    instance.useless_blocks += request.n_loading
    request.n_loading = 0
    return True
