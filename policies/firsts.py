"""Which of the numbered places are taken by a candidate, and the first of them: bitmaps, compiled.

One bitmap a queue, over the places of all queues, and above it one of its words that are not 0: so
a candidate comes, goes and is found in a few steps, however many there are. A heap would compare
and move a dozen entries each time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import array_of, inner, lowest_bit, record_at, zeros
from .base import Setting
from .lines import NOBODY

SIZES = ("n_queues", "n_words", "n_tops")
FIRSTS = np.dtype([(name, "i8") for name in (*SIZES, "words", "tops", "hints", "members")])

Firsts = int  # the address of a record of FIRSTS

_sizes = record_at(FIRSTS)
"""The record itself."""


def _array(name: str, shape: str, element: Any) -> Any:
    """Make the compiled function from the record's address to one of its arrays."""
    return array_of(FIRSTS, name, shape, element, {})


_words = _array("words", "n_queues * n_words", np.int64)
"""(n_queues * n_words,): a bit for each place."""
_tops = _array("tops", "n_queues * n_tops", np.int64)
"""(n_queues * n_tops,): a bit for each word that is not 0."""
_hints = _array("hints", "n_queues", np.int64)
"""(n_queues,): a word of `tops`, before which all are 0."""
_members = _array("members", "n_words * 64", np.int32)
"""(n_words * 64,): who is at a place; what it was at last, if nobody is."""


@inner
def put_first(f: Firsts, queue: int, place: int, member: int) -> None:
    """Note that a candidate is at a place of a queue."""
    word = place >> 6
    top = word >> 6
    _members(f)[place] = member
    _words(f)[queue * _sizes(f).n_words + word] |= 1 << (place & 63)
    _tops(f)[queue * _sizes(f).n_tops + top] |= 1 << (word & 63)
    _hints(f)[queue] = min(_hints(f)[queue], top)


@inner
def drop_first(f: Firsts, queue: int, place: int) -> None:
    """Note that none is there any more."""
    word = place >> 6
    at = queue * _sizes(f).n_words + word
    _words(f)[at] &= ~(1 << (place & 63))
    if _words(f)[at] == 0:
        _tops(f)[queue * _sizes(f).n_tops + (word >> 6)] &= ~(1 << (word & 63))


@inner
def first_of(f: Firsts, queue: int) -> int:
    """Return the candidate at the lowest place of a queue, or NOBODY."""
    base, n = queue * _sizes(f).n_tops, int(_sizes(f).n_tops)
    top = int(_hints(f)[queue])
    while top < n and _tops(f)[base + top] == 0:
        top += 1
    _hints(f)[queue] = top
    if top == n:
        return NOBODY
    word = 64 * top + lowest_bit(_tops(f)[base + top])
    place = 64 * word + lowest_bit(_words(f)[queue * _sizes(f).n_words + word])
    return int(_members(f)[place])


@inner
def clear_firsts(f: Firsts, n_places: int) -> None:
    """Note that none of the first places, more than there were ever taken, has a candidate."""
    n_words = min(int(_sizes(f).n_words), (n_places >> 6) + 1)
    n_tops = min(int(_sizes(f).n_tops), (n_words >> 6) + 1)
    for queue in range(_sizes(f).n_queues):
        _hints(f)[queue] = 0
        for word in range(n_words):
            _words(f)[queue * _sizes(f).n_words + word] = 0
        for top in range(n_tops):
            _tops(f)[queue * _sizes(f).n_tops + top] = 0


def make_firsts(setting: Setting, n_queues: int, n_places: int) -> Firsts:
    """Make empty bitmaps of so many places, which live as long as the run."""
    n_words = -(-n_places // 64)
    n_tops = -(-n_words // 64)
    arrays: dict[str, NDArray[Any]] = {
        "words": zeros(n_queues * n_words, np.int64),
        "tops": np.zeros(n_queues * n_tops, np.int64),
        "hints": np.zeros(n_queues, np.int64),
        "members": np.empty(n_words * 64, np.int32),
    }
    sizes = np.zeros(1, FIRSTS)
    sizes["n_queues"], sizes["n_words"], sizes["n_tops"] = n_queues, n_words, n_tops
    for name, array in arrays.items():
        sizes[name] = array.ctypes.data
    setting.keep(*arrays.values(), sizes)
    return int(sizes.ctypes.data)
