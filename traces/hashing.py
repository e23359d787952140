"""Open-addressing hash tables over numpy arrays, for compiled code. Knows only integers.

A table is an array of `slots`, each -1 or the number of a key; keys are numbered 0, 1, ...
in the order in which they came. The caller keeps the keys, and grows the slots when half full.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, jitted

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)


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


@jitted
def grown(slots: NDArray[np.int32], keys: NDArray[np.int64], n_keys: int) -> NDArray[np.int32]:
    """Return twice as many slots, holding the first `n_keys` keys."""
    bigger = np.full(slots.size * 2, -1, np.int32)
    for number in range(n_keys):
        bigger[find(bigger, keys, keys[number])] = number
    return bigger


@inner
def find_pair(
    slots: NDArray[np.int32],
    firsts: NDArray[np.int64],
    seconds: NDArray[np.int64],
    first: int,
    second: int,
) -> int:
    """Return the slot that holds the pair (`first`, `second`), or the free one for it."""
    mask = slots.size - 1
    slot = mixed(mixed(first) ^ second) & mask
    while slots[slot] >= 0:
        number = slots[slot]
        if seconds[number] == second and firsts[number] == first:
            break
        slot = (slot + 1) & mask
    return slot


@jitted
def grown_pairs(
    slots: NDArray[np.int32],
    firsts: NDArray[np.int64],
    seconds: NDArray[np.int64],
    n_pairs: int,
) -> NDArray[np.int32]:
    """Return twice as many slots, holding the first `n_pairs` pairs."""
    bigger = np.full(slots.size * 2, -1, np.int32)
    for number in range(n_pairs):
        bigger[find_pair(bigger, firsts, seconds, firsts[number], seconds[number])] = number
    return bigger


@jitted
def doubled(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a copy with as much room again behind it."""
    longer = np.empty(values.size * 2, np.int64)
    longer[: values.size] = values
    return longer


def spans(ids: NDArray[np.int64]) -> int | None:
    """Return 1 + the largest id if the ids are small enough to index an array, else None."""
    if ids.size == 0:
        return 1
    low, high = int(ids.min()), int(ids.max())
    return high + 1 if low >= 0 and high < min(max(ids.size, 1 << 20), 2**31) else None
