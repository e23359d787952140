"""Which evictable block leaves next, compiled: pairing heaps, category queues, policy call-outs.

An *item* is what the owner of the order evicts: a block of a serving pool, or a run of blocks
in a cache-only replay. Items in the order are the candidates: idle, with no cached child.
Knows no residency, no pins and no statistics: those are the cache's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from .inner import inner

LRU_LIST = 0
"""The owner keeps a plain least-recently-released list and does not use this module."""
SCORED = 1
"""One heap; an item's rank is its score when it became a candidate."""
QUEUED = 2
"""One heap a category, in order of last use; the heads' values are compared at each eviction."""
HOOKED = 3
"""The policy keeps its own order and is told of every event."""

EVENT_ADD = 0
EVENT_REMOVE = 1
EVENT_VICTIM = 2
EVENT_INSERT = 3
EVENT_HIT = 4
EVENT_EVICT = 5

NOT_A_NUMBER = 1
"""Error: a score or value was NaN, or a Python policy raised."""
NOT_A_CANDIDATE = 2
"""Error: a policy named a victim that is pinned, not resident, or has cached children."""

ITEM = np.dtype(
    [
        ("rank", "f8"),
        ("last_s", "f8"),
        ("inserted_s", "f8"),
        ("clock", "f8"),
        ("next_use", "f8"),
        ("last", "i8"),
        ("inserted", "i8"),
        ("child", "i4"),
        ("left", "i4"),
        ("right", "i4"),
        ("depth", "i4"),
        ("category", "i4"),
        ("hits", "i4"),
        ("key", "i4"),
        ("is_candidate", "i4"),
    ],
    align=True,
)
"""History of an item and its place in a heap (`left` is the previous sibling or the parent)."""

ORDER = np.dtype(
    [
        ("mode", "i8"),
        ("score", "i8"),
        ("value", "i8"),
        ("event", "i8"),
        ("state", "i8"),
        ("n_queues", "i8"),
        ("first_root", "i8"),
        ("is_retagged", "i8"),
        ("needs_future", "i8"),
        ("is_tied", "i8"),
        ("error", "i8"),
        ("culprit", "i8"),
        ("clock", "f8"),
    ],
    align=True,
)
"""One cache's order: its mode, the C addresses of the policy's functions, its ageing clock."""

N_FEATURES = 11
"""Numbers that describe a block to a policy; see `kvsim.policies.base.Block` for their order."""


@intrinsic
def _as_pointer(typing_context: Any, address: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), codegen


@inner
def ints_at(address: int, n: int) -> NDArray[np.int64]:
    """View memory at `address` as n int64: how a compiled policy reaches its state."""
    return carray(_as_pointer(address), (n,), np.int64)


@inner
def items_at(address: int, n: int) -> NDArray[Any]:
    """View memory at `address` as n records of ITEM."""
    return carray(_as_pointer(address), (n,), ITEM)


@inner
def roots_at(address: int, n: int) -> NDArray[np.int32]:
    """View memory at `address` as n int32."""
    return carray(_as_pointer(address), (n,), np.int32)


EVENT_SIGNATURE = types.float64(types.int64, types.int64, types.int64, *[types.float64] * 10)
"""Signature of a compiled policy's event function: event, state address, block id, features."""

Items = NDArray[Any]
Order = Any  # a record of dtype ORDER


def _c_call(n_ints: int, n_floats: int) -> Any:
    """Make an intrinsic that calls the C function at an address: int64s, then doubles."""

    @intrinsic
    def call(typing_context: Any, address: Any, ints: Any, floats: Any) -> Any:
        signature = types.float64(
            types.int64,
            types.UniTuple(types.int64, n_ints),
            types.UniTuple(types.float64, n_floats),
        )

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            double = ir.DoubleType()
            parameters = [ir.IntType(64)] * n_ints + [double] * n_floats
            function = ir.FunctionType(double, parameters)
            values = [builder.extract_value(args[1], i) for i in range(n_ints)]
            values += [builder.extract_value(args[2], i) for i in range(n_floats)]
            return builder.call(builder.inttoptr(args[0], function.as_pointer()), values)

        return signature, codegen

    return call


_call_score = _c_call(1, N_FEATURES - 1)
_call_value = _c_call(1, 4)
_call_event = _c_call(3, N_FEATURES - 1)


@inner
def _features(items: Items, x: int) -> tuple[float, ...]:
    b = items[x]
    return (
        float(b.key),
        float(b.depth),
        float(b.category),
        float(b.last),
        b.last_s,
        float(b.inserted),
        b.inserted_s,
        float(b.hits),
        b.next_use,
        b.clock,
    )


@inner
def goes_first(items: Items, a: int, b: int) -> bool:
    """Whether `a` is evicted before `b`: lower rank, then longer unused, then deeper."""
    p, q = items[a], items[b]
    if p.rank != q.rank:
        return bool(p.rank < q.rank)
    if p.last != q.last:
        return bool(p.last < q.last)
    if p.depth != q.depth:
        return bool(p.depth > q.depth)
    return a < b


@inner
def _meld(items: Items, a: int, b: int) -> int:
    """Join two heaps given by their roots; return the root of the result."""
    if goes_first(items, b, a):
        a, b = b, a
    first = items[a].child
    items[b].left = a
    items[b].right = first
    if first >= 0:
        items[first].left = b
    items[a].child = b
    items[a].left = -1
    items[a].right = -1
    return a


@inner
def _meld_siblings(items: Items, first: int) -> int:
    """Join a list of siblings into one heap (two passes: pairs, then right to left)."""
    done = -1  # melded pairs, linked through `right`, last pair first
    while first >= 0:
        a = first
        b = items[a].right
        if b < 0:
            items[a].right = done
            done = a
            break
        first = items[b].right
        a = _meld(items, a, b)
        items[a].right = done
        done = a
    if done < 0:
        return -1
    root = done
    done = items[root].right
    while done >= 0:
        following = items[done].right
        root = _meld(items, root, done)
        done = following
    items[root].left = -1
    items[root].right = -1
    return root


@inner
def heap_push(items: Items, roots: NDArray[np.int32], q: int, x: int) -> None:
    """Put item `x`, whose rank is set, into heap `q`."""
    items[x].child = -1
    items[x].left = -1
    items[x].right = -1
    root = roots[q]
    roots[q] = x if root < 0 else _meld(items, root, x)


@inner
def heap_remove(items: Items, roots: NDArray[np.int32], q: int, x: int) -> None:
    """Take item `x` out of heap `q`, wherever in it it is."""
    below = _meld_siblings(items, items[x].child)
    if roots[q] == x:
        roots[q] = below
        return
    before, after = items[x].left, items[x].right
    if items[before].child == x:
        items[before].child = after
    else:
        items[before].right = after
    if after >= 0:
        items[after].left = before
    if below >= 0:
        roots[q] = _meld(items, roots[q], below)


@inner
def notify(order: Order, items: Items, x: int, event: int) -> float:
    """Tell a hooked policy of an event of item `x`; NaN from it is its error."""
    answer = _call_event(order.event, (event, order.state, x), _features(items, x))
    if answer != answer:
        order.error = NOT_A_NUMBER
        order.culprit = x
    return float(answer)


@inner
def add(order: Order, items: Items, roots: NDArray[np.int32], x: int) -> None:
    """Item `x` became a candidate."""
    items[x].is_candidate = 1
    if order.mode == QUEUED:
        items[x].rank = float(items[x].last)
        heap_push(items, roots, order.first_root + items[x].category, x)
    elif order.mode == SCORED:
        rank = _call_score(order.score, (x,), _features(items, x))
        if rank != rank:
            order.error = NOT_A_NUMBER
            order.culprit = x
            rank = 0.0
        items[x].rank = rank
        heap_push(items, roots, order.first_root, x)
    else:
        notify(order, items, x, EVENT_ADD)


@inner
def remove(order: Order, items: Items, roots: NDArray[np.int32], x: int) -> None:
    """Item `x` is no candidate any more: in use again, with a cached child, or evicted."""
    items[x].is_candidate = 0
    if order.mode == QUEUED:
        heap_remove(items, roots, order.first_root + items[x].category, x)
    elif order.mode == SCORED:
        heap_remove(items, roots, order.first_root, x)
    else:
        notify(order, items, x, EVENT_REMOVE)


@inner
def victim(
    order: Order,
    items: Items,
    roots: NDArray[np.int32],
    params: NDArray[np.float64],
    lo: int,
    hi: int,
    now_s: float,
) -> int:
    """Name the candidate to evict; changes nothing but the ageing clock. -1 after an error.

    `lo` and `hi` bound the items of this cache; `params` is (n_queues, 3). `order.is_tied`
    tells whether the next victim may belong elsewhere although nothing else changed.
    """
    best = -1
    order.is_tied = 0
    if order.mode == SCORED:
        best = roots[order.first_root]
        order.clock = max(order.clock, items[best].rank)
    elif order.mode == QUEUED:
        best_value = 0.0
        for q in range(order.n_queues):
            x = roots[order.first_root + q]
            if x < 0:
                continue
            value = _call_value(
                order.value,
                (q,),
                (now_s - items[x].last_s, params[q, 0], params[q, 1], params[q, 2]),
            )
            if value != value:
                order.error = NOT_A_NUMBER
                order.culprit = x
            is_lower = best < 0 or value < best_value
            if is_lower:
                order.is_tied = 0
            elif value == best_value:
                order.is_tied = 1
                if items[x].depth != items[best].depth:
                    is_lower = items[x].depth > items[best].depth
                else:
                    is_lower = items[x].last < items[best].last
            if is_lower:
                best, best_value = x, value
    else:
        answer = _call_event(order.event, (EVENT_VICTIM, order.state, -1), _features(items, lo))
        if answer != answer:
            order.error = NOT_A_NUMBER
        elif answer < lo or answer >= hi or items[int(answer)].is_candidate == 0:
            order.error = NOT_A_CANDIDATE
            order.culprit = int(answer)
        else:
            best = int(answer)
    return best
