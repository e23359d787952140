"""Candidates in a few classes, each in order of last use: who leaves first, compiled.

The first of the lowest class that has a candidate. Where no two candidates can have the same last
use, the lowest classes are bitmaps over the last uses (`firsts`). All others are in one heap, where
the deeper one of two that were used together leaves first. A policy holds the address of a record
of CLASSES.
"""

from __future__ import annotations

import numpy as np

from ..kernels import array_of, inner, record_at, zeros
from .base import Setting
from .firsts import drop_first, first_of, make_firsts, put_first
from .heaps import MEMBER, empty_heaps, heap_first, heap_push, heap_remove
from .lines import NOBODY
from .records import ENTRY

CLASSES = np.dtype([(name, "i8") for name in ("n_items", "n_classes", "items", "heap", "firsts")])
"""Sizes and addresses; the first `n_classes` are in `firsts`."""

Classes = int  # the address of a record of CLASSES

_sizes = record_at(CLASSES)
"""The record itself."""

members = array_of(CLASSES, "items", "n_items", MEMBER, {})
"""(n_items,) of MEMBER: the rank of a candidate is its class."""
_heap = array_of(CLASSES, "heap", "n_items + 2", ENTRY, {})


@inner
def put(c: Classes, x: int, of_class: int, last: int, depth: int) -> None:
    """Put in a candidate; its last use is at least 0 and, if there are any, below the places."""
    item = members(c)[x]
    item.rank = float(of_class)
    item.last = last
    item.depth = depth
    if of_class < _sizes(c).n_classes:
        put_first(_sizes(c).firsts, of_class, last, x)
    else:
        heap_push(members(c), _heap(c), 0, x)


@inner
def take(c: Classes, x: int) -> None:
    """Take out a candidate."""
    item = members(c)[x]
    if item.rank < _sizes(c).n_classes:
        drop_first(_sizes(c).firsts, int(item.rank), item.last)
    else:
        heap_remove(members(c), _heap(c), 0, x)


@inner
def first_to_go(c: Classes) -> int:
    """Return the candidate that leaves first; there is one."""
    for of_class in range(_sizes(c).n_classes):
        x = first_of(_sizes(c).firsts, of_class)
        if x != NOBODY:
            return x
    return heap_first(members(c), _heap(c), 0)


def make_classes(setting: Setting, n_classes: int, *, n_places: int) -> Classes:
    """Make empty classes, which live as long as the run: `n_classes` bitmaps, if of any places."""
    sizes = np.zeros(1, CLASSES)
    items = zeros(setting.n_items, MEMBER)
    heap = empty_heaps(1, setting.n_items + 2)
    sizes["n_items"] = setting.n_items
    sizes["items"], sizes["heap"] = items.ctypes.data, heap.ctypes.data
    if n_places:
        sizes["n_classes"] = n_classes
        sizes["firsts"] = make_firsts(setting, n_classes, n_places)
    setting.keep(items, heap, sizes)
    return int(sizes.ctypes.data)
