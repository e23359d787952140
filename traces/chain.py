"""Chained block ids: each names its block and all blocks before it. Knows no lengths or times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..kernels import jitted, kernel
from .hashing import doubled, find, find_pair, grown, grown_pairs, spans

_UNSEEN = -2
_NO_PREVIOUS = -1
_COMES_FIRST, _IN_NUMBER, _JUMPS = 1, 2, 3
_SOME = 1024


def chained_ids(ids: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ids that name whole prefixes: `ids` itself if it does already, else dense new ones.

    Ids name prefixes when each determines its predecessor (or that it comes first). Otherwise
    they name the content of single blocks, and every distinct pair (chained id before it, id)
    gets the next number from 0.
    """
    return ids if is_chained(ids, offsets) else _chain(ids, offsets)


def is_chained(ids: NDArray[np.int64], offsets: NDArray[np.int64]) -> bool:
    """Say whether every id determines its predecessor."""
    span = spans(ids)
    if span is None:
        return bool(_is_chained_hashed(ids, offsets))
    # Most ids follow the one before them in number: a byte tells that, and the others are few.
    block, before = np.empty((2, 4 * len(offsets) + _SOME), np.int64)
    n = _jumps(ids, offsets, np.zeros(span, np.uint8), block, before)
    if n < 0:
        return False
    if n > len(block):
        return _is_chained_small(ids, offsets, np.full(span, _UNSEEN, np.int32))
    order = np.argsort(block[:n], kind="stable")
    block, before = block[order], before[order]
    return not bool(np.any((block[1:] == block[:-1]) & (before[1:] != before[:-1])))


def known_prefixes(ids: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many leading chained ids of each request occurred in an earlier request."""
    span = spans(ids)
    if span is None:
        found: NDArray[np.int64] = _known_hashed(ids, offsets)
        return found
    known = np.zeros(len(offsets) - 1, np.int64)
    _known_small(ids, offsets, np.zeros(span, np.bool_), known)
    return known


@kernel
def _jumps(
    ids: NDArray[np.int64],
    offsets: NDArray[np.int64],
    how: NDArray[np.uint8],
    block: NDArray[np.int64],
    before: NDArray[np.int64],
) -> int:
    """Write the blocks that follow another than the one before them in number, and which.

    Returns how many, one more than there is room for if there is too little, or -1 if a block
    follows in two ways.
    """
    n = 0
    for row in range(offsets.size - 1):
        last = _NO_PREVIOUS
        for position in range(offsets[row], offsets[row + 1]):
            now = ids[position]
            if last == _NO_PREVIOUS:
                way = _COMES_FIRST
            elif last == now - 1:
                way = _IN_NUMBER
            else:
                way = _JUMPS
                if n == block.size:
                    return n + 1
                block[n], before[n] = now, last
                n += 1
            if how[now] == 0:
                how[now] = way
            elif how[now] != way:
                return -1
            last = now
    return n


@kernel
def _is_chained_small(
    ids: NDArray[np.int64], offsets: NDArray[np.int64], previous: NDArray[np.int32]
) -> bool:
    for row in range(offsets.size - 1):
        before = _NO_PREVIOUS
        for position in range(offsets[row], offsets[row + 1]):
            block = ids[position]
            if previous[block] == _UNSEEN:
                previous[block] = before
            elif previous[block] != before:
                return False
            before = block
    return True


@jitted
def _is_chained_hashed(ids: NDArray[np.int64], offsets: NDArray[np.int64]) -> bool:
    slots = np.full(1 << 12, -1, np.int32)
    keys = np.empty(slots.size // 2, np.int64)
    previous = np.empty(keys.size, np.int64)  # number of the key before it, or _NO_PREVIOUS
    n = 0
    for row in range(offsets.size - 1):
        before = _NO_PREVIOUS
        for position in range(offsets[row], offsets[row + 1]):
            if n == keys.size:
                keys, previous = doubled(keys), doubled(previous)
                if keys.size * 2 > slots.size:
                    slots = grown(slots, keys, n)
            slot = find(slots, keys, ids[position])
            number = slots[slot]
            if number < 0:
                number = n
                slots[slot], keys[n], previous[n] = n, ids[position], before
                n += 1
            elif previous[number] != before:
                return False
            before = number
    return True


@jitted
def _chain(ids: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    chained = np.empty(ids.size, np.int64)
    slots = np.full(1 << 12, -1, np.int32)
    parents = np.empty(slots.size // 2, np.int64)
    contents = np.empty(parents.size, np.int64)
    n = 0
    for row in range(offsets.size - 1):
        parent = _NO_PREVIOUS
        for position in range(offsets[row], offsets[row + 1]):
            if n == parents.size:
                parents, contents = doubled(parents), doubled(contents)
                if parents.size * 2 > slots.size:
                    slots = grown_pairs(slots, parents, contents, n)
            slot = find_pair(slots, parents, contents, parent, ids[position])
            number = slots[slot]
            if number < 0:
                number = n
                slots[slot], parents[n], contents[n] = n, parent, ids[position]
                n += 1
            chained[position] = number
            parent = number
    return chained


@kernel
def _known_small(
    ids: NDArray[np.int64],
    offsets: NDArray[np.int64],
    seen: NDArray[np.bool_],
    known: NDArray[np.int64],
) -> None:
    for row in range(offsets.size - 1):
        position, end = offsets[row], offsets[row + 1]
        while position < end and seen[ids[position]]:
            position += 1
        known[row] = position - offsets[row]
        for later in range(position, end):
            seen[ids[later]] = True


@jitted
def _known_hashed(ids: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    known = np.zeros(offsets.size - 1, np.int64)
    slots = np.full(1 << 12, -1, np.int32)
    keys = np.empty(slots.size // 2, np.int64)
    n = 0
    for row in range(offsets.size - 1):
        for position in range(offsets[row], offsets[row + 1]):
            if n == keys.size:
                keys = doubled(keys)
                if keys.size * 2 > slots.size:
                    slots = grown(slots, keys, n)
            slot = find(slots, keys, ids[position])
            if slots[slot] < 0:
                slots[slot], keys[n] = n, ids[position]
                n += 1
            else:
                known[row] += 1
    return known
