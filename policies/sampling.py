"""The candidate of the lowest value in a random sample, compiled. Knows no cache and no queue.

The candidates of a cache stand in no order in the entries of its first heap, entry 0 with their
number, and each knows its place: so one comes or goes, and one is drawn, in a few steps. After a
victim goes the block above it, if it was cached and last used by the same requests, as long as the
request needs room: so a sample is drawn once for a run of blocks, whether they leave one by one or
together.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels import c_call, inner, view
from .records import DEMAND, N_FEATURES, NOT_A_NUMBER, Heaps, Items, Order, features

N_MOMENT = 5
"""Numbers of a `kvsim.policies.sampled.Moment`."""

call_sampled = c_call(3, N_FEATURES - 1 + N_MOMENT)


@inner
def _close(order: Order, items: Items, heaps: Heaps) -> None:
    """Let the last candidate take the place of a victim that nobody followed."""
    if order.hole >= 0:
        base = order.first_heap * order.span
        n = heaps[base].x
        heaps[base].x = n - 1
        last = heaps[base + n].x
        heaps[base + order.hole].x = last
        items[last].place = order.hole
        order.hole = -1


@inner
def join(order: Order, items: Items, heaps: Heaps, x: int) -> None:
    """Put item `x` behind the other candidates, or where the victim was that it follows."""
    base = order.first_heap * order.span
    item = items[x]
    order.named = -1
    order.next_victim = -1
    if (
        order.hole >= 0
        and order.left_inserted == item.inserted
        and order.left_last == item.last
        and order.left_hits == item.hits
    ):
        heaps[base + order.hole].x = x
        item.place = order.hole
        order.hole = -1
        order.next_victim = x
        return
    _close(order, items, heaps)
    n = heaps[base].x + 1
    heaps[base].x = n
    heaps[base + n].x = x
    item.place = n


@inner
def leave(order: Order, items: Items, heaps: Heaps, x: int) -> None:
    """Take item `x` out of the candidates; what follows a victim or the last takes its place."""
    item = items[x]
    _close(order, items, heaps)
    order.hole = item.place
    if x == order.named:
        order.left_inserted = item.inserted
        order.left_last = item.last
        order.left_hits = item.hits
    else:
        _close(order, items, heaps)
    order.named = -1
    order.next_victim = -1


GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""What a generator moves on by at each draw (splitmix64; Steele, Lea, Flood 2014)."""


@inner
def drawn(generator: np.uint64, n: int) -> int:
    """Return the one of 0 ... n - 1 that a generator, already moved on, stands for."""
    z = (generator ^ (generator >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return int(z % np.uint64(n))


@inner
def _value(order: Order, items: Items, x: int, now_s: float) -> float:
    """Ask the policy for the value of item `x` now."""
    item = items[x]
    next_start = np.inf
    n_users = 0.0
    is_fresh = 0.0
    if order.n_scans > 0:
        demand = view(order.demands, (x + 1,), DEMAND)[x]
        if item.inserted >= order.n_known:
            is_fresh = 1.0
        elif demand.scan == order.n_scans:
            next_start = demand.next_start
            n_users = float(demand.n_users)
    row = order.params + 8 * order.n_params * item.category
    moment = (now_s, next_start, n_users, is_fresh, float(order.n_waiting))
    value = call_sampled(order.value, (x, row, order.n_params), features(items, x, 1) + moment)
    if value != value:
        order.error = NOT_A_NUMBER
        order.culprit = x
    return float(value)


@inner
def _goes_first(items: Items, x: int, y: int) -> bool:
    """Whether `x` is evicted before `y` of equal value: longer unused, then deeper."""
    a: Any = items[x]
    b: Any = items[y]
    if a.last != b.last:
        return bool(a.last < b.last)
    if a.depth != b.depth:
        return bool(a.depth > b.depth)
    return x < y


@inner
def lowest(order: Order, items: Items, heaps: Heaps, now_s: float) -> int:
    """Return the candidate of the lowest value among `order.n_samples`, or all if that is 0.

    A sample is drawn without repetition: its members move to the front, in turn.
    """
    if order.next_victim >= 0:
        order.named = order.next_victim
        order.next_victim = -1
        return int(order.named)
    _close(order, items, heaps)
    base = order.first_heap * order.span + 1
    n = heaps[base - 1].x
    n_drawn = order.n_samples if 0 < order.n_samples < n else 0
    best = -1
    best_value = 0.0
    for k in range(n_drawn if n_drawn else n):
        if n_drawn:
            generator = np.uint64(order.generator) + GOLDEN
            order.generator = np.int64(generator)
            other = k + drawn(generator, n - k)
            x, y = heaps[base + other].x, heaps[base + k].x
            heaps[base + k].x, heaps[base + other].x = x, y
            items[x].place, items[y].place = k + 1, other + 1
        item = int(heaps[base + k].x)
        value = _value(order, items, item, now_s)
        if (
            best < 0
            or value < best_value
            or (value == best_value and _goes_first(items, item, best))
        ):
            best, best_value = item, value
    order.named = best
    return best
