"""Numbers in place of keys of any size: hash tables for compiled code. Knows only integers.

A table is an array of `slots`, each -1 or the number of a key; keys are numbered 0, 1, ... in
the order in which they came. Compiled code fills it; between calls it is made larger.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, kernel

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)
_CHUNK = 1 << 20
"""Ids that are numbered at a time; a row with more is a chunk of its own."""


@inner
def mixed(key: int) -> int:
    """Scatter the bits of an int64, so that neighbouring keys fall into distant slots."""
    bits = np.uint64(key) * _GOLDEN
    bits = (bits ^ (bits >> _SHIFT)) * _GOLDEN
    return int(np.int64(bits >> np.uint64(16)))


@inner
def find(slots: NDArray[np.int32], keys: NDArray[np.int64], key: int) -> int:
    """Return the slot that holds `key`, or the free one where it belongs."""
    mask = slots.size - 1
    slot = mixed(key) & mask
    while slots[slot] >= 0 and keys[slots[slot]] != key:
        slot = (slot + 1) & mask
    return slot


class Table:
    """The numbers of distinct int64 keys."""

    def __init__(self) -> None:
        self.slots = np.full(1 << 4, -1, np.int32)
        self.keys = np.empty(1 << 3, np.int64)
        self.n = 0
        """Keys so far."""

    def make_room(self, n: int) -> None:
        """Have room for `n` more keys, and twice as many slots as keys."""
        n_keys = 1 << (self.n + n - 1).bit_length()
        if n_keys > self.keys.size:
            self.keys = longer(self.keys, n_keys, 0)
            self.slots = np.full(2 * n_keys, -1, np.int32)
            _enter(self.slots, self.keys, self.n)

    def numbers(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of each key."""
        self.make_room(keys.size)
        out = np.empty(keys.size, np.int64)
        self.n = _number(keys, self.slots, self.keys, self.n, out)
        return out


def longer(values: NDArray[Any], n: int, fill: int) -> NDArray[Any]:
    """Return an array of at least `n`, which begins with `values` and goes on with `fill`.

    It has room for half as many again, so that one that grows is seldom copied.
    """
    if n <= values.size:
        return values
    out = np.full(max(n, values.size * 3 // 2), fill, values.dtype)
    out[: values.size] = values
    return out


@kernel
def _enter(slots: NDArray[np.int32], keys: NDArray[np.int64], n: int) -> None:
    for number in range(n):
        slots[find(slots, keys, keys[number])] = number


@kernel
def _number(
    values: NDArray[np.int64],
    slots: NDArray[np.int32],
    keys: NDArray[np.int64],
    n: int,
    out: NDArray[np.int64],
) -> int:
    for i in range(values.size):
        slot = find(slots, keys, values[i])
        if slots[slot] < 0:
            slots[slot], keys[n] = n, values[i]
            n += 1
        out[i] = slots[slot]
    return n


def spans(ids: NDArray[np.int64]) -> int | None:
    """Return 1 + the largest id if the ids are small enough to index an array, else None."""
    if ids.size == 0:
        return 1
    low, high = int(ids.min()), int(ids.max())
    return high + 1 if low >= 0 and high < min(max(ids.size, 1 << 20), 2**31) else None


def numbered(names: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return dense numbers for `names`, from 0 in the order of first occurrence."""
    table = Table()
    names = np.ascontiguousarray(names, np.int64)
    out = np.empty(names.size, np.int64)
    for start in range(0, names.size, _CHUNK):
        out[start : start + _CHUNK] = table.numbers(names[start : start + _CHUNK])
    return out


class Rows(NamedTuple):
    """Some rows of a ragged array of ids, as numbers that can index an array."""

    first: int
    """The first of them."""
    offsets: NDArray[np.int64]
    """Where each starts in `numbers`."""
    numbers: NDArray[np.int64]
    n_numbers: int
    """1 + the largest number up to here, or more."""


def small_rows(ids: NDArray[np.int64], offsets: NDArray[np.int64]) -> Iterator[Rows]:
    """Yield all rows in turn, some at a time; where ids are small they are the numbers."""
    span = spans(ids)
    table = Table()
    first, n_rows = 0, offsets.size - 1
    while first < n_rows:
        end = int(np.searchsorted(offsets, offsets[first] + _CHUNK, side="right")) - 1
        end = min(max(end, first + 1), n_rows)
        some = ids[offsets[first] : offsets[end]]
        numbers = some if span is not None else table.numbers(some)
        yield Rows(
            first,
            offsets[first : end + 1] - offsets[first],
            numbers,
            span if span is not None else table.n,
        )
        first = end
