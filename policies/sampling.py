"""The candidate of the lowest value in a random sample, compiled. Knows no cache and no queue.

The candidates of a cache stand in no order in the entries of its first heap, entry 0 with their
number, and each knows its place: so one comes or goes, and one is drawn, in a few steps. An entry
has the time of its candidate's last use as its rank, until a search of all notes values there, and
its depth. After a
victim goes the block above it, if it was cached and last used by the same requests, as long as the
request needs room: so a sample is drawn once for a run of blocks, whether they leave one by one or
together.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels import c_call, inner, prefetch, view
from .draws import GOLDEN, below, mixed
from .records import (
    DEMAND,
    ENTRY,
    ITEM,
    N_FEATURES,
    NOT_A_NUMBER,
    Entry,
    Heaps,
    Items,
    Order,
    features,
)

N_MOMENT = 5
"""Numbers of a `kvsim.policies.sampled.Moment`."""

ENTRY_BYTES = ENTRY.itemsize
ITEM_BYTES = ITEM.itemsize
LINE_BYTES = 64
"""Of the processor's caches: an item is in two lines."""

call_search = c_call(10, 2)
"""The search of a compiled policy: see `lowest_by`."""

call_sampled = c_call(3, N_FEATURES - 1 + N_MOMENT)


@inner
def stand(items: Items, entry: Entry, x: int) -> None:
    """Let an entry stand for a candidate."""
    entry.x = x
    entry.rank = items[x].last_s
    entry.depth = items[x].depth


@inner
def note_depth(order: Order, items: Items, heaps: Heaps, x: int) -> None:
    """Note that candidate `x` has lost its deepest blocks."""
    stand(items, heaps[order.first_heap * order.span + items[x].place], x)


@inner
def _close(order: Order, items: Items, heaps: Heaps) -> None:
    """Let the last candidate take the place of a victim that nobody followed."""
    if order.hole >= 0:
        base = order.first_heap * order.span
        n = heaps[base].x
        heaps[base].x = n - 1
        last = heaps[base + n].x
        stand(items, heaps[base + order.hole], last)
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
        stand(items, heaps[base + order.hole], x)
        item.place = order.hole
        order.hole = -1
        order.next_victim = x
        return
    _close(order, items, heaps)
    n = heaps[base].x + 1
    heaps[base].x = n
    stand(items, heaps[base + n], x)
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


@inner
def moment(items: Items, x: int, looked_at: Any) -> tuple[float, ...]:
    """Return the numbers of a `Moment` for item `x`."""
    _, _, _, demands, n_scans, n_known, now_s, n_waiting = looked_at
    next_start = np.inf
    n_users = 0.0
    is_fresh = 0.0
    if n_scans > 0:
        demand = view(demands, (x + 1,), DEMAND)[x]
        if items[x].inserted >= n_known:
            is_fresh = 1.0
        elif demand.scan == n_scans:
            next_start = demand.next_start
            n_users = float(demand.n_users)
    return (now_s, next_start, n_users, is_fresh, n_waiting)


@inner
def _called_value(items: Items, x: int, looked_at: Any) -> float:
    """Ask a policy in Python for the value of item `x` now."""
    function, params, n_params, _, _, _, _, _ = looked_at
    row = params + 8 * n_params * items[x].category
    numbers = features(items, x, 1.0) + moment(items, x, looked_at)
    return float(call_sampled(function, (x, row, n_params), numbers))


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
def stretch_of(n: int, n_drawn: int) -> int:
    """Return how long each of the stretches of n places is that one is drawn of: in 2**-32 of one.

    They begin anywhere and are as long, so all candidates are as likely and none comes twice.
    """
    return ((n << 32) + n_drawn - 1) // n_drawn  # rounded up


@inner
def first_place(generator: int, n: int) -> int:
    """Draw where the first stretch begins."""
    return below(mixed(np.uint64(generator) + GOLDEN), n)


@inner
def place_in(k: int, first: int, stretch: int, n: int, generator: int) -> int:
    """Draw a place of stretch k."""
    low = (k * stretch) >> 32
    bits = mixed(np.uint64(generator) + np.uint64(k + 2) * GOLDEN)
    place = first + low + below(bits, (((k + 1) * stretch) >> 32) - low)
    return place if place < n else place - n


@inner
def draw_sample(items: Items, row: Heaps, n: int, n_drawn: int, generator: int) -> None:
    """Note one candidate out of each of `n_drawn` stretches of the row behind it, from entry n on.

    The processor fetches those that are noted while the others are drawn.
    """
    stretch = stretch_of(n, n_drawn)
    first = first_place(generator, n)
    for k in range(n_drawn):
        x = row[place_in(k, first, stretch, n, generator)].x
        row[n + k].x = x
        prefetch(items.ctypes.data + x * ITEM_BYTES)
        prefetch(items.ctypes.data + x * ITEM_BYTES + LINE_BYTES)


def lowest_by(value_of: Any) -> Any:
    """Make the compiled search for the candidate of the lowest value.

    `value_of(x)` with what else `looked_at` holds is the value of item `x`. The search gets the
    items, the entries of the candidates, how many there are and how many of them to draw (0 for
    all), and the generator. It returns the candidate, or NaN if a value is not a number.
    """

    def search(
        items: Items, row: Heaps, n: int, n_drawn: int, generator: int, looked_at: Any
    ) -> float:
        best = -1
        first = n if n_drawn else 0
        size = n_drawn if n_drawn else n
        if n_drawn:
            draw_sample(items, row, n, n_drawn, generator)
        lowest_value = np.inf
        is_bad = False
        for k in range(size):
            value = value_of(items, int(row[first + k].x), looked_at)
            row[first + k].rank = value
            is_bad |= value != value
            lowest_value = min(lowest_value, value)
        if is_bad:
            return np.nan
        for k in range(size):
            if row[first + k].rank == lowest_value:
                item = int(row[first + k].x)
                if best < 0 or _goes_first(items, item, best):
                    best = item
        row[first].rank = lowest_value  # for who asks by which value it was chosen
        return float(best)

    return inner(search)


_lowest_by_call = lowest_by(_called_value)


@inner
def lowest(order: Order, items: Items, heaps: Heaps, now_s: float) -> int:
    """Return the candidate of the lowest value among `order.n_samples`, or all if that is 0.

    A sample is one candidate out of each of `n_samples` stretches of the row, which begin anywhere:
    so none is drawn twice, all are as likely, and those that came together, alike as they mostly
    are, do not come together again.
    """
    if order.next_victim >= 0:
        order.named = order.next_victim
        order.next_victim = -1
        return int(order.named)
    _close(order, items, heaps)
    base = order.first_heap * order.span + 1
    n = heaps[base - 1].x
    n_drawn = order.n_samples if 0 < order.n_samples < n else 0
    seen = (order.params, order.n_params, order.demands, order.n_scans, order.n_known)
    best = np.nan
    if order.is_searched:
        where = (items.ctypes.data, heaps.ctypes.data + base * ENTRY_BYTES)
        how = (n, n_drawn, order.generator)
        best = call_search(order.value, where + how + seen, (now_s, float(order.n_waiting)))
    else:
        looked_at = (order.value, *seen, now_s, float(order.n_waiting))
        best = _lowest_by_call(items, heaps[base:], n, n_drawn, order.generator, looked_at)
    if n_drawn:
        order.generator = np.int64(np.uint64(order.generator) + GOLDEN * np.uint64(n_drawn + 1))
    if best != best:
        order.error = NOT_A_NUMBER
        order.named = -1
        return -1
    order.named = int(best)
    first = heaps[base + (n if n_drawn else 0)]
    order.named_value = first.rank
    if n_drawn == 0:
        stand(items, first, first.x)
    return int(best)
