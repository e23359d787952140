"""Cache-only replay of one prefix cache under any policy, run by run. Knows no engine.

Each request is looked up, placed at once and released, in file order, at its arrival time; its
blocks are pinned while it is placed. Blocks that are used by the same requests share one
history, so a segment of the prefix tree is handled as a whole; what a segment loses from its
deep end and regains later has a younger history, and is kept as a *piece* of its own. A strand,
segments that became one, is handled as a segment that grows, unless the policy tells its parts
apart. Policies whose state differs from block to block run on the tree of single blocks, by the
same code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, kernel, prefetch, view, zeros
from ..policies.base import Policy, Setting
from ..policies.firsts import make_firsts
from ..policies.lru import Lru
from ..policies.order import (
    EVENT_EVICT,
    EVENT_HIT,
    EVENT_INSERT,
    EVENT_MISS,
    HOOKED,
    ITEM,
    MANY,
    ORDER,
    PIECE,
    QUEUED,
    add,
    make_orders,
    notify_of_run,
    remove,
    rest,
    shorten,
    victim,
)
from ..policies.reuse_fit import ReuseFit, make_reuse_fit, no_reuse_fit, observe
from ..traces.prefix_tree import PrefixTree, uses_of
from ..traces.strands import segments_as_strands, strands
from .any_block_replay import any_block_replay
from .history import first_part_of, rehearsal_of
from .lru_hits import lru_hits
from .pointers import Pointers, lines
from .segments import (
    CACHE,
    SEGMENT,
    Cache,
    free_pieces,
    heaps,
    items,
    lay_out,
    params,
    pieces,
    segments,
    sizes,
    use_offsets,
    uses,
)

SEGMENT_BYTES = SEGMENT.itemsize
SEGMENTS_AHEAD = 3
REQUESTS_AHEAD = 4
"""How much of a path is fetched before its request comes, and how many requests before that one."""


@inner
def _order(c: Cache) -> Any:
    """The order of the pieces, a record of ORDER."""
    return view(sizes(c).orders, (1,), ORDER)[0]


def replay(
    tree: PrefixTree,
    policy: Policy,
    capacity_blocks: int,
    *,
    arrival_s: NDArray[np.float64],
    category: NDArray[np.int64],
    category_names: tuple[str, ...],
    seed: int = 0,
    name: str | None = None,
) -> NDArray[np.int32]:
    """Return the hit blocks of each request, (n_requests,); a request that cannot fit hits none.

    A request of more blocks than the capacity is never placed and touches nothing. The policy `lru`
    takes a shorter way to the same hits, `lru_hits`; one that `takes_any` goes block by block.

    Raises:
        PolicyError: the policy raised, named a bad victim, or gave NaN.
    """
    if type(policy) is Lru:
        return lru_hits(tree, capacity_blocks)
    if policy.takes_any:
        return any_block_replay(
            tree,
            policy,
            capacity_blocks,
            arrival_s=arrival_s,
            category=category,
            category_names=category_names,
            seed=seed,
            name=name,
        )[0]
    path_blocks = tree.path_blocks
    first_part = first_part_of(tree, arrival_s, category.astype(np.int32))
    rehearse = rehearsal_of(
        tree,
        arrival_s,
        category.astype(np.int32),
        category_names,
        seed=seed,
    )
    if not policy.is_uniform:
        tree = tree.per_block()
    grows = policy.is_uniform and policy.keys_may_grow
    parent, depth, end = strands(tree) if grows else segments_as_strands(tree)
    n_segments = len(parent)
    longest = int(path_blocks[path_blocks <= capacity_blocks].max(initial=0))
    # a request's evictions leave at most a piece a queue in part, and only such a one is split
    n_splits = len(path_blocks) * max(1, len(category_names))
    most_pieces = min(capacity_blocks + longest, tree.n_keys, len(tree.parent) + n_splits)
    n_pieces = max(1, most_pieces)
    piece_rows = zeros(n_pieces, PIECE)
    setting = Setting(
        n_items=n_pieces,
        n_caches=1,
        n_keys=max(1, n_segments),
        capacity_blocks=capacity_blocks,
        category_names=category_names,
        seed=seed,
        first_part=first_part,
        rehearse=rehearse,
        parent_keys=lambda: parent,
        block_size=tree.block_size,
        pieces=piece_rows.ctypes.data,
        n_uses=len(path_blocks),
    )
    binding = policy.bind(setting)
    firsts = 0
    if binding.mode == QUEUED and setting.n_uses:
        firsts = make_firsts(setting, binding.n_queues, setting.n_uses)
    orders, heap_rows = make_orders(binding, n_caches=1, n_items=n_pieces, firsts=firsts)
    if policy.needs_future:
        offsets, users = uses_of(parent, end, path_blocks <= capacity_blocks)
    else:
        offsets, users = np.zeros(0, np.int64), np.zeros(0, np.int32)
    rows = lines(n_segments, SEGMENT, make=np.empty)
    lay_out(rows, parent, depth)
    fit = no_reuse_fit(SEGMENT)
    if binding.fit_arguments is not None:
        fit = make_reuse_fit(rows, len(category_names), **binding.fit_arguments)
    free = np.empty(n_pieces + 2, np.int32)
    free[-2:] = 0
    n_of = {
        "capacity": capacity_blocks,
        "n_segments": n_segments,
        "n_pieces": n_pieces,
        "n_heap_entries": len(heap_rows),
        "n_queues": binding.n_queues,
        "n_params": binding.params.shape[1],
        "n_uses": len(users),
    }
    arrays = {
        "segments": rows,
        "pieces": piece_rows,
        "items": zeros(n_pieces + 1, ITEM),
        "free_pieces": free,
        "orders": orders,
        "heaps": heap_rows,
        "params": binding.params,
        "use_offsets": offsets,
        "uses": users,
    }
    cache = Pointers(CACHE, n_of, arrays)
    hits = np.zeros(len(path_blocks), np.int32)
    now_s = np.ascontiguousarray(arrival_s)
    _replay(cache.address, fit, end, path_blocks, now_s, category.astype(np.int32), hits)
    if orders["error"][0]:
        raise binding.failure(name or type(policy).__name__, orders)
    return hits


@kernel
def _replay(
    c: Cache,
    fit: ReuseFit,
    end: NDArray[np.int32],
    path_blocks: NDArray[np.int64],
    arrival_s: NDArray[np.float64],
    category: NDArray[np.int32],
    hits: NDArray[np.int32],
) -> None:
    """Write the hit blocks of each request to `hits`, (n_requests,) of 0."""
    order = _order(c)
    has_fit = len(fit.segments) > 0
    n_cached = 0
    for t in range(len(end)):
        _fetch_ahead(c, end, t)
        now_s = arrival_s[t]
        if has_fit:
            observe(fit, end[t], path_blocks[t], category[t], now_s, params(c))
        if end[t] < 0 or path_blocks[t] > sizes(c).capacity:
            continue
        _grow(c, end[t], path_blocks[t])
        clock = order.clock
        held = _touch(c, end[t], t, now_s, category[t])
        if held >= 0:
            hits[t] = segments(c)[held].depth + segments(c)[held].n_cached
        n_new = path_blocks[t] - hits[t]
        if n_new > 0 and order.hears_misses:
            _miss(c, end[t], t, now_s, category[t])
        while n_cached + n_new > sizes(c).capacity:
            x = victim(order, items(c), heaps(c), params(c), 0, sizes(c).n_pieces, now_s)
            at_most = n_cached + n_new - sizes(c).capacity
            if order.drops_whole:
                at_most = MANY
            while x >= 0:
                n_cached -= _evict(c, x, at_most, held)
                x = -1
                if order.drops_whole:
                    x = rest(order, items(c), 0, sizes(c).n_pieces)
            if order.error:
                return
        if n_new > 0:
            _insert(c, end[t], t, now_s, category[t], clock)
            n_cached += n_new
        if segments(c)[end[t]].n_children == 0:
            _offer(c, end[t])
        if order.error:
            return


@inner
def _fetch_ahead(c: Cache, end: NDArray[np.int32], t: int) -> None:
    """Have the processor fetch the deep segments of coming paths: most are in none of its caches.

    The end of a path first, and each segment above when the one below is there to name it.
    """
    for above in range(SEGMENTS_AHEAD):
        coming = t + (SEGMENTS_AHEAD - above) * REQUESTS_AHEAD
        s = end[coming] if coming < len(end) else -1
        for _ in range(above):
            s = segments(c)[s].parent if s >= 0 else -1
        if s >= 0:
            prefetch(sizes(c).segments + s * SEGMENT_BYTES)


@inner
def _grow(c: Cache, end: int, path_blocks: int) -> None:
    """Let the segments of a path be as long as it needs them, if they never were before."""
    s = end
    while s >= 0:
        segment = segments(c)[s]
        if segment.n_blocks == path_blocks - segment.depth:
            break
        segment.n_blocks = path_blocks - segment.depth
        path_blocks = segment.depth
        s = segment.parent


@inner
def _touch(c: Cache, end: int, t: int, now_s: float, category: int) -> int:
    """Use the cached part of a path, pinning it; return its deepest segment, or -1."""
    order = _order(c)
    segment = segments(c)[end]
    segment.last = t
    segment.last_s = now_s
    segment.clock = order.clock
    segment.category = category
    held = end
    while held >= 0 and segments(c)[held].n_cached == 0:
        held = segments(c)[held].parent
    if held < 0:
        return -1
    segment = segments(c)[held]
    if held != end:  # what is above the path's end learns of its use from below, later
        segment.last = t
        segment.last_s = now_s
        segment.clock = order.clock
        segment.category = category
    segment.uses += 1
    if items(c)[segment.top].is_candidate:
        remove(order, items(c), heaps(c), segment.top)
    if order.hears_hits:  # is told of every use at once
        s = held
        while s >= 0:
            segment = segments(c)[s]
            if s != held:
                segment.uses += 1
                segment.last = t
                segment.last_s = now_s
                segment.clock = order.clock
                segment.category = category
            x = segment.top
            n_cached = segment.n_cached
            while True:  # its pieces, from the deepest one up
                _describe(c, x)
                start = pieces(c)[x].start
                notify_of_run(order, items(c), x, EVENT_HIT, segment.n_cached - start)
                if start == 0:
                    break
                segment.n_cached = start
                x = pieces(c)[x].above
            segment.n_cached = n_cached
            s = segments(c)[s].parent
    return held


@inner
def _miss(c: Cache, end: int, t: int, now_s: float, category: int) -> None:
    """Tell the policy what part of a path is missing, segment by segment from the deepest."""
    item = items(c)[sizes(c).n_pieces]
    item.category = category
    item.inserted = t
    item.inserted_s = now_s
    item.last = t
    item.last_s = now_s
    s = end
    while s >= 0:
        segment = segments(c)[s]
        if segment.n_cached == segment.n_blocks:
            break
        item.key = s
        item.depth = segment.depth + segment.n_blocks - 1
        n_missing = segment.n_blocks - segment.n_cached
        notify_of_run(_order(c), items(c), sizes(c).n_pieces, EVENT_MISS, n_missing)
        s = segment.parent


@inner
def _insert(c: Cache, end: int, t: int, now_s: float, category: int, clock: float) -> None:
    """Cache the missing part of a path: one piece a segment."""
    s = end
    below = -1
    while s >= 0:
        segment = segments(c)[s]
        if segment.n_cached == segment.n_blocks:
            break
        if free_pieces(c)[-2] > 0:
            free_pieces(c)[-2] -= 1
            x = free_pieces(c)[free_pieces(c)[-2]]
        else:
            x = free_pieces(c)[-1]
            free_pieces(c)[-1] += 1
        piece = pieces(c)[x]
        piece.segment = s
        piece.start = segment.n_cached
        piece.uses = segment.uses
        piece.above = segment.top
        if below >= 0:
            pieces(c)[below].above = x
        below = x
        item = items(c)[x]
        item.key = s
        item.category = category
        item.inserted = t
        item.inserted_s = now_s
        item.is_candidate = 0
        segment.top = x
        if segment.n_cached == 0:
            segment.last = t
            segment.last_s = now_s
            segment.clock = clock
            segment.category = category
            piece.above = -1
            if segment.parent >= 0:
                parent = segments(c)[segment.parent]
                parent.n_children += 1
                if parent.n_cached == parent.n_blocks:
                    piece.above = parent.top
        segment.n_cached = segment.n_blocks
        if _order(c).mode == HOOKED:
            _describe(c, x)
            n_new = segment.n_blocks - piece.start
            notify_of_run(_order(c), items(c), x, EVENT_INSERT, n_new)
        s = segment.parent


@inner
def _describe(c: Cache, x: int) -> None:
    """Bring the history of a piece up to date for the policy."""
    item = items(c)[x]
    piece = pieces(c)[x]
    s = piece.segment
    segment = segments(c)[s]
    item.depth = segment.depth + segment.n_cached - 1
    item.last = segment.last
    item.last_s = segment.last_s
    item.clock = segment.clock
    item.hits = segment.uses - piece.uses
    if _order(c).is_retagged:
        item.category = segment.category
    if sizes(c).n_uses:
        lo, hi = use_offsets(c)[s], use_offsets(c)[s + 1]
        n_uses = hi
        while lo < hi:  # the first use after the last one
            middle = (lo + hi) // 2
            if uses(c)[middle] > segment.last:
                hi = middle
            else:
                lo = middle + 1
        item.next_use = float(uses(c)[lo]) if lo < n_uses else np.inf


@inner
def _offer(c: Cache, s: int) -> None:
    """Make the deepest piece of a segment without cached children a candidate."""
    x = segments(c)[s].top
    _describe(c, x)
    add(_order(c), items(c), heaps(c), x)


@inner
def _evict(c: Cache, x: int, at_most: int, held: int) -> int:
    """Evict up to `at_most` blocks of piece `x`, which the policy named; return how many.

    The segment `held`, the deepest one of the running request, is no candidate.
    """
    order = _order(c)
    piece = pieces(c)[x]
    s = piece.segment
    segment = segments(c)[s]
    n = min(at_most, order.at_most, segment.n_cached - piece.start)
    segment.n_cached -= n
    is_gone = segment.n_cached == piece.start
    if is_gone:
        remove(order, items(c), heaps(c), x)
    if order.mode == HOOKED:
        notify_of_run(order, items(c), x, EVENT_EVICT, n)
    if not is_gone:
        shorten(order, items(c), heaps(c), x, n)
        return n
    segment.top = piece.above
    free_pieces(c)[free_pieces(c)[-2]] = x
    free_pieces(c)[-2] += 1
    offered = s
    if segment.n_cached == 0:
        offered = -1
        up = segment.parent
        if up >= 0:
            parent = segments(c)[up]
            parent.n_children -= 1
            if order.hears_hits == 0:
                parent.uses += segment.uses
            if segment.last > parent.last:
                parent.last = segment.last
                parent.last_s = segment.last_s
                parent.clock = segment.clock
                parent.category = segment.category
            if parent.n_children == 0 and up != held:
                offered = up
        segment.uses = 0
    if offered >= 0:
        _offer(c, offered)
    return n
