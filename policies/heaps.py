"""Heaps of items, several in one array, compiled: who leaves first is found in a few steps.

The heap that starts at `base` has its entries at 1, 2, ..., four children a node: those of n are
4n - 2 .. 4n + 1. Entry 0 holds how many places are in use, as `x`, and whether the first of them
is empty, as `depth`: mostly an item that goes is the first, and one that goes early too comes in
its place, which is cheaper than to fill the place from the end and the end from the place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, view
from .records import ENTRY, Entry, Heaps

MEMBER = np.dtype(
    [
        ("rank", "f8"),
        ("last", "i8"),
        ("place", "i4"),
        ("depth", "i4"),
        ("is_candidate", "i4"),
        ("mark", "i4"),
    ],
    align=True,
)
"""What a heap needs of an item, for a policy that keeps its own: two in a cache line. Whether it is
a candidate, and `mark`, are the policy's to keep."""

Items = NDArray[Any]
"""Of MEMBER, or of `records.ITEM`, which has the same fields among others."""


@inner
def members_at(address: int, n: int) -> Items:
    """View memory at `address` as n records of MEMBER."""
    return view(address, (n,), MEMBER)


@inner
def _goes_first(a: Entry, b: Entry) -> bool:
    """Whether `a` is evicted before `b`: lower rank, then longer unused, then deeper."""
    if a.rank < b.rank:
        return True
    if b.rank < a.rank:
        return False
    if a.last != b.last:
        return bool(a.last < b.last)
    if a.depth != b.depth:
        return bool(a.depth > b.depth)
    return bool(a.x < b.x)


@inner
def _put(items: Items, heaps: Heaps, base: int, place: int, source: int) -> None:
    """Copy the entry at `source` to `place` of the heap."""
    to, entry = heaps[base + place], heaps[base + source]
    to.rank = entry.rank
    to.last = entry.last
    to.x = entry.x
    to.depth = entry.depth
    items[to.x].place = place


@inner
def _settle(items: Items, heaps: Heaps, base: int, place: int, source: int, size: int) -> None:
    """Move the entry at `source`, outside the heap, to where it belongs, from a hole at `place`."""
    while place > 1:
        up = (place - 2) // 4 + 1
        if not _goes_first(heaps[base + source], heaps[base + up]):
            break
        _put(items, heaps, base, place, up)
        place = up
    while True:
        child = 4 * place - 2
        if child > size:
            break
        first = child
        for other in range(child + 1, min(child + 3, size) + 1):
            if _goes_first(heaps[base + other], heaps[base + first]):
                first = other
        if not _goes_first(heaps[base + first], heaps[base + source]):
            break
        _put(items, heaps, base, place, first)
        place = first
    _put(items, heaps, base, place, source)


@inner
def _fill(items: Items, heaps: Heaps, base: int) -> None:
    """Fill the first place from the end, if it is empty."""
    head = heaps[base]
    if head.depth:
        head.depth = 0
        size = int(head.x)
        head.x = size - 1
        if size > 1:
            _settle(items, heaps, base, 1, size, size - 1)


@inner
def heap_first(items: Items, heaps: Heaps, base: int) -> int:
    """Return the item to evict first, which is then at entry 1; -1 if there is none."""
    _fill(items, heaps, base)
    return int(heaps[base + 1].x) if heaps[base].x > 0 else -1


@inner
def heap_push(items: Items, heaps: Heaps, base: int, x: int) -> None:
    """Put in item `x`, whose rank is set."""
    head, item = heaps[base], items[x]
    spare = head.x + (1 if head.depth else 2)  # beyond the heap
    entry = heaps[base + spare]
    entry.rank = item.rank
    entry.last = item.last
    entry.x = x
    entry.depth = item.depth
    if head.depth:
        head.depth = 0
        _settle(items, heaps, base, 1, spare, spare - 1)
    else:
        head.x = spare - 1
        _settle(items, heaps, base, spare - 1, spare, 0)


@inner
def heap_remove(items: Items, heaps: Heaps, base: int, x: int) -> None:
    """Take out item `x`, wherever it is."""
    head = heaps[base]
    _fill(items, heaps, base)
    place = int(items[x].place)
    if place == 1:
        head.depth = 1
        return
    size = int(head.x)
    head.x = size - 1
    if place != size:
        _settle(items, heaps, base, place, size, size - 1)


def empty_heaps(n_heaps: int, n_entries: int) -> NDArray[Any]:
    """Make heaps of `n_entries` entries each, two more than items.

    They are not initialised beyond their sizes: what is not used costs no memory.
    """
    heaps = np.empty(n_heaps * n_entries, ENTRY)
    heaps["x"][::n_entries] = heaps["depth"][::n_entries] = 0
    heaps["last"][::n_entries] = -1
    return heaps
