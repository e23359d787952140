"""Chained block ids: each names its block and all blocks before it. Knows no lengths or times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..kernels import kernel
from .hashing import Table, find, longer, small_rows

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
    if is_chained(ids, offsets):
        return ids
    chained = np.empty(ids.size, np.int64)
    pairs = Table()
    for rows in small_rows(ids, offsets):
        pairs.make_room(rows.numbers.size)
        out = chained[offsets[rows.first] :][: rows.numbers.size]
        pairs.n = _chain(rows.numbers, rows.offsets, pairs.slots, pairs.keys, pairs.n, out)
    return chained


def is_chained(ids: NDArray[np.int64], offsets: NDArray[np.int64]) -> bool:
    """Say whether every id determines its predecessor."""
    # Most ids follow the one before them in number: a byte tells that, and the others are few.
    how = np.empty(0, np.uint8)
    jumps = np.empty((2, 4 * len(offsets) + _SOME), np.int64)
    n = 0
    for rows in small_rows(ids, offsets):
        how = longer(how, rows.n_numbers, 0)
        n = _note_jumps(rows.numbers, rows.offsets, how, jumps, n)
        if n < 0:
            return False
        if n > jumps.shape[1]:
            return _always_follow_one(ids, offsets)
    block, before = jumps[:, :n]
    order = np.argsort(block, kind="stable")
    block, before = block[order], before[order]
    return not bool(np.any((block[1:] == block[:-1]) & (before[1:] != before[:-1])))


def _always_follow_one(ids: NDArray[np.int64], offsets: NDArray[np.int64]) -> bool:
    previous = np.empty(0, np.int32)
    for rows in small_rows(ids, offsets):
        previous = longer(previous, rows.n_numbers, _UNSEEN)
        if not _follow_one(rows.numbers, rows.offsets, previous):
            return False
    return True


def known_prefixes(ids: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many leading chained ids of each request occurred in an earlier request."""
    known = np.zeros(offsets.size - 1, np.int64)
    seen = np.empty(0, np.bool_)
    for rows in small_rows(ids, offsets):
        seen = longer(seen, rows.n_numbers, False)
        _count_known(rows.numbers, rows.offsets, seen, known[rows.first :])
    return known


@kernel
def _note_jumps(
    ids: NDArray[np.int64],
    offsets: NDArray[np.int64],
    how: NDArray[np.uint8],
    jumps: NDArray[np.int64],
    n: int,
) -> int:
    """Write the ids that follow another than the one before them in number, and which.

    There are `n` so far. Returns how many, one more than there is room for if there is too
    little, or -1 if an id follows in two ways; `how` is the way of each.
    """
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
                if n == jumps.shape[1]:
                    return n + 1
                jumps[0, n], jumps[1, n] = now, last
                n += 1
            if how[now] == 0:
                how[now] = way
            elif how[now] != way:
                return -1
            last = now
    return n


@kernel
def _follow_one(
    ids: NDArray[np.int64], offsets: NDArray[np.int64], previous: NDArray[np.int32]
) -> bool:
    """Say whether each id follows what it followed before; `previous` is what that was."""
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


@kernel
def _chain(
    ids: NDArray[np.int64],
    offsets: NDArray[np.int64],
    slots: NDArray[np.int32],
    keys: NDArray[np.int64],
    n: int,
    chained: NDArray[np.int64],
) -> int:
    """Number pairs of a chained id and an id, both below 2**31; return how many there are now."""
    for row in range(offsets.size - 1):
        parent = _NO_PREVIOUS
        for position in range(offsets[row], offsets[row + 1]):
            pair = ((parent + 1) << 32) | ids[position]
            slot = find(slots, keys, pair)
            if slots[slot] < 0:
                slots[slot], keys[n] = n, pair
                n += 1
            parent = slots[slot]
            chained[position] = parent
    return n


@kernel
def _count_known(
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
