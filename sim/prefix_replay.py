"""Cache-only replay of one prefix cache under any policy, run by run. Knows no engine.

Each request is looked up, placed at once and released, in file order, at its arrival time; its
blocks are pinned while it is placed. Blocks that are used by the same requests share one
history, so a segment of the prefix tree is handled as a whole; what a segment loses from its
deep end and regains later has a younger history, and is kept as a *piece* of its own. Policies
whose state differs from block to block run on the tree of single blocks, by the same code.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..policies.base import Policy, Setting
from ..policies.order import (
    EVENT_EVICT,
    EVENT_HIT,
    EVENT_INSERT,
    HOOKED,
    ITEM,
    ORDER,
    add,
    notify,
    remove,
    victim,
)
from ..policies.reuse_fit import ReuseFit, make_reuse_fit, observe
from ..traces.prefix_tree import PrefixTree

inlined = njit(cache=True, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)

SEGMENT = np.dtype(
    [
        ("last_s", "f8"),
        ("clock", "f8"),
        ("last", "i4"),
        ("n_cached", "i4"),
        ("n_children", "i4"),
        ("top", "i4"),
        ("uses", "i4"),
        ("category", "i4"),
    ],
    align=True,
)
"""A segment: its last user and the like, blocks cached (a leading part), child segments with
any, deepest piece, uses so far. A use is noted at the end of the path only, and passed on to the
parent when a segment leaves the cache: until then the parent is no candidate, and nobody asks.
"""

PIECE = np.dtype([("segment", "i4"), ("start", "i4"), ("above", "i4"), ("uses", "i4")], align=True)
"""A piece: where in its segment it starts, the next shallower one, uses before it was cached."""


class Cache(NamedTuple):
    """State of the replay."""

    capacity: int
    parent: NDArray[np.int32]
    n_blocks: NDArray[np.int32]
    depth: NDArray[np.int32]
    first_key: NDArray[np.int64]
    segments: NDArray[Any]
    pieces: NDArray[Any]
    items: NDArray[Any]
    free_pieces: NDArray[np.int32]
    """A stack of pieces once used; its height and the pieces never used are the last elements."""
    orders: NDArray[Any]
    roots: NDArray[np.int32]
    params: NDArray[np.float64]
    use_offsets: NDArray[np.int64]
    uses: NDArray[np.int32]
    """Requests that use each segment, in order; empty unless the policy is offline."""


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

    A request of more blocks than the capacity is never placed and touches nothing.

    Raises:
        PolicyError: the policy raised, named a bad victim, or gave NaN.
    """
    path_blocks = tree.path_blocks
    if not policy.is_uniform:
        tree = tree.per_block()
    n_segments = len(tree.parent)
    longest = int(path_blocks[path_blocks <= capacity_blocks].max(initial=0))
    n_pieces = max(1, min(capacity_blocks, tree.n_keys) + longest)
    setting = Setting(
        n_items=n_pieces,
        n_caches=1,
        n_keys=tree.n_keys,
        capacity_blocks=capacity_blocks,
        category_names=category_names,
        seed=seed,
    )
    binding = policy.bind(setting)
    orders = np.zeros(1, ORDER)
    orders["mode"] = binding.mode
    orders["n_queues"] = binding.n_queues
    binding.apply(orders)
    if policy.needs_future:
        use_offsets, uses = tree.uses(path_blocks <= capacity_blocks)
    else:
        use_offsets, uses = np.zeros(0, np.int64), np.zeros(0, np.int32)
    segments = np.zeros(n_segments, SEGMENT)
    segments["top"] = segments["last"] = -1
    fit_arguments = binding.fit_arguments
    fit = make_reuse_fit(
        n_segments if fit_arguments else 0,
        len(category_names),
        **(
            fit_arguments
            or {"refit_s": 1.0, "window_s": 1.0, "min_gap_s": 0.0, "is_shifted": False}
        ),
    )
    free_pieces = np.empty(n_pieces + 2, np.int32)
    free_pieces[-2:] = 0
    cache = Cache(
        capacity=capacity_blocks,
        parent=tree.parent,
        n_blocks=tree.n_blocks,
        depth=tree.depth,
        first_key=tree.first_key,
        segments=segments,
        pieces=np.zeros(n_pieces, PIECE),
        items=np.zeros(n_pieces, ITEM),
        free_pieces=free_pieces,
        orders=orders,
        roots=np.full(binding.n_queues, -1, np.int32),
        params=binding.params,
        use_offsets=use_offsets,
        uses=uses,
    )
    hits = _replay(cache, fit, tree.end, path_blocks, arrival_s, category.astype(np.int32))
    if orders["error"][0]:
        raise binding.failure(name or type(policy).__name__, orders)
    return hits


@njit(cache=True)
def _replay(
    c: Cache,
    fit: ReuseFit,
    end: NDArray[np.int32],
    path_blocks: NDArray[np.int64],
    arrival_s: NDArray[np.float64],
    category: NDArray[np.int32],
) -> NDArray[np.int32]:
    hits = np.zeros(len(end), np.int32)
    order = c.orders[0]
    has_fit = len(fit.last_s) > 0
    n_cached = 0
    for t in range(len(end)):
        now_s = arrival_s[t]
        if has_fit:
            observe(fit, c.parent, c.n_blocks, end[t], category[t], now_s, c.params)
        if end[t] < 0 or path_blocks[t] > c.capacity:
            continue
        clock = order.clock
        held = _touch(c, end[t], t, now_s, category[t])
        if held >= 0:
            hits[t] = c.depth[held] + c.segments[held].n_cached
        n_new = path_blocks[t] - hits[t]
        while n_cached + n_new > c.capacity:
            n_cached -= _evict(c, n_cached + n_new - c.capacity, held, now_s)
            if order.error:
                return hits
        if n_new > 0:
            _insert(c, end[t], t, now_s, category[t], clock)
            n_cached += n_new
        if c.segments[end[t]].n_children == 0:
            _offer(c, end[t])
        if order.error:
            return hits
    return hits


@inlined
def _touch(c: Cache, end: int, t: int, now_s: float, category: int) -> int:
    """Use the cached part of a path, pinning it; return its deepest segment, or -1."""
    order = c.orders[0]
    segment = c.segments[end]
    segment.last = t
    segment.last_s = now_s
    segment.clock = order.clock
    segment.category = category
    held = end
    while held >= 0 and c.segments[held].n_cached == 0:
        held = c.parent[held]
    if held < 0:
        return -1
    segment = c.segments[held]
    if held != end:  # what is above the path's end learns of its use from below, later
        segment.last = t
        segment.last_s = now_s
        segment.clock = order.clock
        segment.category = category
    segment.uses += 1
    if c.items[segment.top].is_candidate:
        remove(order, c.items, c.roots, segment.top)
    if order.mode == HOOKED:  # is told of every use at once
        s = held
        while s >= 0:
            segment = c.segments[s]
            if s != held:
                segment.uses += 1
                segment.last = t
                segment.last_s = now_s
                segment.clock = order.clock
                segment.category = category
            _describe(c, segment.top)
            notify(order, c.items, segment.top, EVENT_HIT)
            s = c.parent[s]
    return held


@inlined
def _insert(c: Cache, end: int, t: int, now_s: float, category: int, clock: float) -> None:
    """Cache the missing part of a path: one piece a segment."""
    s = end
    while s >= 0:
        segment = c.segments[s]
        if segment.n_cached == c.n_blocks[s]:
            break
        if c.free_pieces[-2] > 0:
            c.free_pieces[-2] -= 1
            x = c.free_pieces[c.free_pieces[-2]]
        else:
            x = c.free_pieces[-1]
            c.free_pieces[-1] += 1
        piece = c.pieces[x]
        piece.segment = s
        piece.start = segment.n_cached
        piece.above = segment.top
        piece.uses = segment.uses
        item = c.items[x]
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
            if c.parent[s] >= 0:
                c.segments[c.parent[s]].n_children += 1
        segment.n_cached = c.n_blocks[s]
        if c.orders[0].mode == HOOKED:
            _describe(c, x)
            notify(c.orders[0], c.items, x, EVENT_INSERT)
        s = c.parent[s]


@inlined
def _describe(c: Cache, x: int) -> None:
    """Bring the history of a piece up to date for the policy."""
    item = c.items[x]
    piece = c.pieces[x]
    s = piece.segment
    segment = c.segments[s]
    item.key = c.first_key[s] + segment.n_cached - 1
    item.depth = c.depth[s] + segment.n_cached - 1
    item.last = segment.last
    item.last_s = segment.last_s
    item.clock = segment.clock
    item.hits = segment.uses - piece.uses
    if c.orders[0].is_retagged:
        item.category = segment.category
    if len(c.uses):
        lo, hi = c.use_offsets[s], c.use_offsets[s + 1]
        n_uses = hi
        while lo < hi:  # the first use after the last one
            middle = (lo + hi) // 2
            if c.uses[middle] > segment.last:
                hi = middle
            else:
                lo = middle + 1
        item.next_use = float(c.uses[lo]) if lo < n_uses else np.inf


@inlined
def _offer(c: Cache, s: int) -> None:
    """Make the deepest piece of a segment without cached children a candidate."""
    x = c.segments[s].top
    _describe(c, x)
    add(c.orders[0], c.items, c.roots, x)


@inlined
def _evict(c: Cache, at_most: int, held: int, now_s: float) -> int:
    """Evict up to `at_most` blocks of the piece that the policy names; return how many.

    The segment `held`, the deepest one of the running request, is no candidate.
    """
    order = c.orders[0]
    x = victim(order, c.items, c.roots, c.params, 0, len(c.items), now_s)
    if x < 0:
        return 0
    piece = c.pieces[x]
    s = piece.segment
    segment = c.segments[s]
    n = 1 if order.is_tied else min(at_most, segment.n_cached - piece.start)
    if order.mode == HOOKED:
        remove(order, c.items, c.roots, x)
        notify(order, c.items, x, EVENT_EVICT)
    segment.n_cached -= n
    if segment.n_cached > piece.start:
        c.items[x].depth -= n
        c.items[x].key -= n
        return n
    if order.mode != HOOKED:
        remove(order, c.items, c.roots, x)
    segment.top = piece.above
    c.free_pieces[c.free_pieces[-2]] = x
    c.free_pieces[-2] += 1
    if segment.n_cached > 0:
        _offer(c, s)
        return n
    up = c.parent[s]
    if up >= 0:
        parent = c.segments[up]
        parent.n_children -= 1
        if order.mode != HOOKED:
            parent.uses += segment.uses
        if segment.last > parent.last:
            parent.last = segment.last
            parent.last_s = segment.last_s
            parent.clock = segment.clock
            parent.category = segment.category
        if parent.n_children == 0 and up != held:
            _offer(c, up)
    segment.uses = 0
    return n
