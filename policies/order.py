"""Which evictable block leaves next, compiled: heaps, category queues, samples, policy call-outs.

An *item* is what the owner of the order evicts: a block of a serving pool, or a run of blocks
in a cache-only replay. Items in the order are the candidates: idle, with no cached child unless
the order takes any.
Knows no residency, no pins and no statistics: those are the cache's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import c_call, inner
from .firsts import Firsts, drop_first, first_of, put_first
from .heaps import empty_heaps, heap_first, heap_push, heap_remove
from .records import (
    ENTRY,
    ITEM,
    N_FEATURES,
    NOT_A_NUMBER,
    ORDER,
    PIECE,
    Entry,
    Heaps,
    Items,
    Order,
    features,
    heaps_at,
    ints_at,
    items_at,
    numbers_at,
)
from .sampling import join, leave, lowest, note_depth

if TYPE_CHECKING:
    from .base import Binding

__all__ = [
    "ENTRY",
    "ITEM",
    "N_FEATURES",
    "ORDER",
    "PIECE",
    "Entry",
    "Heaps",
    "Items",
    "Order",
    "heaps_at",
    "ints_at",
    "items_at",
    "numbers_at",
]

LRU_LIST = 0
"""The owner keeps a plain least-recently-released list and does not use this module."""
SCORED = 1
"""One heap; an item's rank is its score when it became a candidate."""
QUEUED = 2
"""One heap a category, in order of last use; the heads' values are compared at each eviction."""
HOOKED = 3
"""The policy keeps its own order and is told of every event."""
SAMPLED = 4
"""The candidates in no order; at each eviction the values of a random sample are compared."""

EVENT_ADD = 0
EVENT_REMOVE = 1
EVENT_VICTIM = 2
EVENT_INSERT = 3
EVENT_HIT = 4
EVENT_EVICT = 5
EVENT_MISS = 6
N_EVENTS = 7

RUN_BITS = 32
RUN_UNIT = 1 << RUN_BITS
MANY = 1 << 20
"""A policy answers with its victim's number, plus RUN_UNIT for every block that may go of it, up to
MANY; without them all of its run may."""

LONG_AGO_S = -1e15
"""When a block was last used that never was, if hits alone count; finite, for products with 0."""

NOT_A_CANDIDATE = 2
"""Error: a policy named a victim that is pinned, not resident, or has cached children."""


@inner
def up_to(n_blocks: int, x: int) -> float:
    """Answer that the victim is `x`, and asked for again after `n_blocks` of its run."""
    return float(min(n_blocks, MANY) * RUN_UNIT + x)


ITEM_BYTES = ITEM.itemsize

_call_score = c_call(1, N_FEATURES - 1)
_call_value = c_call(1, 4)
_call_event = c_call(3, 1)


@inner
def notify_of_run(order: Order, items: Items, x: int, event: int, n_blocks: float) -> None:
    """Tell a hooked policy of an event of `n_blocks` of item `x`; NaN from it is its error.

    A miss is of no item yet: `x` only describes it.
    """
    block_id = -1 if event == EVENT_MISS else x
    where = items.ctypes.data + x * ITEM_BYTES
    function = ints_at(order.events, N_EVENTS)[event]
    answer = _call_event(function, (order.state, block_id, where), (n_blocks,))
    if answer != answer:
        order.error = NOT_A_NUMBER
        order.culprit = x


@inner
def notify(order: Order, items: Items, x: int, event: int) -> None:
    """Tell a hooked policy of an event of item `x`, a single block."""
    notify_of_run(order, items, x, event, 1)


@inner
def _rank(order: Order, items: Items, x: int) -> float:
    """Return what item `x` is compared by in its heap."""
    if order.mode == QUEUED:
        return float(items[x].last)
    rank = _call_score(order.score, (x,), features(items, x, 1))
    if rank != rank:
        order.error = NOT_A_NUMBER
        order.culprit = x
        rank = 0.0
    return float(rank)


@inner
def _base(order: Order, items: Items, x: int) -> int:
    """Return where the heap of item `x` starts."""
    heap = order.first_heap
    if order.mode == QUEUED:
        heap += items[x].category
    return int(heap * order.span)


@inner
def add(order: Order, items: Items, heaps: Heaps, x: int) -> None:
    """Item `x` became a candidate."""
    items[x].is_candidate = 1
    if order.mode == HOOKED:
        notify(order, items, x, EVENT_ADD)
        return
    if order.mode == SAMPLED:
        join(order, items, heaps, x)
        return
    if order.firsts:
        put_first(order.firsts, items[x].category, items[x].last, x)
        _note_change(order, heaps, items[x].category)
        return
    items[x].rank = _rank(order, items, x)
    heap_push(items, heaps, _base(order, items, x), x)


@inner
def remove(order: Order, items: Items, heaps: Heaps, x: int) -> None:
    """Item `x` is no candidate any more: in use again, with a cached child, or evicted."""
    items[x].is_candidate = 0
    if order.mode == HOOKED:
        notify(order, items, x, EVENT_REMOVE)
    elif order.mode == SAMPLED:
        leave(order, items, heaps, x)
    elif order.firsts:
        drop_first(order.firsts, items[x].category, items[x].last)
        _note_change(order, heaps, items[x].category)
    else:
        heap_remove(items, heaps, _base(order, items, x), x)


@inner
def shorten(order: Order, items: Items, heaps: Heaps, x: int, n_blocks: int) -> None:
    """Candidate `x`, a run, has lost its deepest blocks, and stays one."""
    items[x].depth -= n_blocks
    if order.mode == SAMPLED:
        note_depth(order, items, heaps, x)
    elif order.mode == SCORED and order.has_rising_scores:
        remove(order, items, heaps, x)
        add(order, items, heaps, x)


@inner
def _note_change(order: Order, heaps: Heaps, queue: int) -> None:
    """Note that a category queue may have another head; of queues that are no heaps."""
    if queue != order.lowest_queue:
        order.lowest_queue = -1
    heaps[(order.first_heap + queue) * order.span].depth = 1


@inner
def _head(order: Order, items: Items, heaps: Heaps, queue: int) -> int:
    """Return the head of a category queue; -1 if it is empty."""
    base = (order.first_heap + queue) * order.span
    if order.firsts == 0:
        return heap_first(items, heaps, base)
    known = heaps[base]
    if known.depth:
        known.depth = 0
        known.x = first_of(order.firsts, queue)
    return int(known.x)


@inner
def _lowest_head(
    order: Order, items: Items, heaps: Heaps, params: NDArray[np.float64], now_s: float
) -> int:
    """Return the head of the lowest value of all category queues, and set `order.at_most`."""
    # the same last use at the same time has the same value as in the call before
    is_later = order.valued_s != now_s
    q = order.lowest_queue
    if q >= 0 and not is_later:
        x = _head(order, items, heaps, q)
        if x >= 0 and items[x].last == heaps[(order.first_heap + q) * order.span].last:
            order.at_most = MANY  # mostly it stood above the last victim
            return x
    best = -1
    best_value = 0.0
    at_most = MANY
    for q in range(order.n_queues):
        known = heaps[(order.first_heap + q) * order.span]
        x = _head(order, items, heaps, q)
        if x < 0:
            known.last = -1
            continue
        if is_later or known.last != items[x].last:
            known.last = items[x].last
            a, b, c = params[q, 0], params[q, 1], params[q, 2]
            known.rank = _call_value(order.value, (q,), (now_s - items[x].last_s, a, b, c))
            if known.rank != known.rank:
                order.error = NOT_A_NUMBER
                order.culprit = x
        value = known.rank
        is_lower = best < 0 or value < best_value
        if is_lower:
            at_most = MANY
        elif value == best_value:
            at_most = 1
            if items[x].depth != items[best].depth:
                is_lower = items[x].depth > items[best].depth
            else:
                is_lower = items[x].last < items[best].last
        if is_lower:
            best, best_value = x, value
    order.valued_s = now_s
    order.at_most = at_most
    order.lowest_queue = -1
    if order.firsts and best >= 0 and at_most == MANY:
        order.lowest_queue = items[best].category
    return best


@inner
def victim(
    order: Order,
    items: Items,
    heaps: Heaps,
    params: NDArray[np.float64],
    lo: int,
    hi: int,
    now_s: float,
) -> int:
    """Name the candidate to evict; changes nothing but the ageing clock. -1 after an error.

    `lo` and `hi` bound the items of this cache; `params` is (n_queues, 3). `order.at_most` tells
    how many blocks of its run may go before the next victim may belong elsewhere.
    """
    best = -1
    order.at_most = MANY
    if order.mode == SCORED:
        best = heap_first(items, heaps, order.first_heap * order.span)
        order.clock = max(order.clock, items[best].rank)
    elif order.mode == QUEUED:
        best = _lowest_head(order, items, heaps, params, now_s)
    elif order.mode == SAMPLED:
        best = lowest(order, items, heaps, now_s)
    else:
        best = _checked(order, items, lo, hi, _asked(order, items, lo, 1.0))
    return best


@inner
def rest(order: Order, items: Items, lo: int, hi: int) -> int:
    """Name the candidate that has to go with the last victim, -1 if none, or after an error.

    Of an order that drops nodes whole; asked until there is none.
    """
    answer = _asked(order, items, lo, 0.0)
    return -1 if answer < 0.0 else _checked(order, items, lo, hi, answer)


@inner
def _asked(order: Order, items: Items, lo: int, n_blocks: float) -> float:
    """Ask a hooked policy for its victim; with no blocks, for one that has to go in any case."""
    where = items.ctypes.data + lo * ITEM_BYTES
    function = ints_at(order.events, N_EVENTS)[EVENT_VICTIM]
    return float(_call_event(function, (order.state, -1, where), (n_blocks,)))


@inner
def _checked(order: Order, items: Items, lo: int, hi: int, answer: float) -> int:
    """Return the candidate that a policy answered with, -1 if it is none; set `order.at_most`."""
    order.at_most = MANY
    if answer != answer:
        order.error = NOT_A_NUMBER
        return -1
    whole = int(answer)
    x = whole & (RUN_UNIT - 1)
    if whole >= RUN_UNIT:
        order.at_most = whole >> RUN_BITS
    if x < lo or x >= hi or whole < 0 or items[x].is_candidate == 0:
        order.error = NOT_A_CANDIDATE
        order.culprit = whole if whole < RUN_UNIT else x
        return -1
    return x


@inner
def score_of_victim(order: Order, items: Items, heaps: Heaps, x: int) -> float:
    """Return the number by which item `x` was just chosen as the victim; NaN if there is none."""
    if order.mode == SCORED:
        return float(items[x].rank)
    if order.mode == QUEUED:
        return float(heaps[(order.first_heap + items[x].category) * order.span].rank)
    if order.mode == SAMPLED:
        return float(order.named_value)
    return float(np.nan)


def make_orders(
    binding: Binding, *, n_caches: int, n_items: int, firsts: Firsts = 0
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Empty orders of `n_caches` caches with at most `n_items` items each, and their heaps.

    One of category queues alone may have them as `firsts`, if it has no two candidates of one last
    use: then its heaps have an entry 0 only, with the head in x and whether it is out of date.
    """
    has_heaps = binding.mode not in (LRU_LIST, HOOKED) and not firsts
    n_sampled = min(binding.n_samples or n_items, n_items) if binding.mode == SAMPLED else 0
    span = n_items + 2 + n_sampled if has_heaps else 1
    heaps = empty_heaps(n_caches * binding.n_queues, span)
    orders = np.zeros(n_caches, ORDER)
    orders["valued_s"] = np.nan
    orders["mode"] = binding.mode
    orders["scanned_step"] = -1
    for name in ("named", "next_victim", "hole", "lowest_queue"):
        orders[name] = -1
    orders["n_queues"] = binding.n_queues
    orders["first_heap"] = np.arange(n_caches) * binding.n_queues
    orders["span"] = span
    orders["firsts"] = firsts
    if firsts:
        heaps["depth"] = 1
    binding.apply(orders)
    return orders, heaps
