"""Which cached item stands right above another one, for compiled policies that follow paths.

If the owner keeps no record of that (`Setting.pieces`), it is followed here: the items of one key
stand one above the other; above them stands the deepest item of the key above. An item that is a
second copy of blocks, as a timed run may have them, is not followed: nothing stands below it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import array_of, inner, record_at, zeros
from .base import Setting
from .block import Block
from .records import PIECE

PLACE = np.dtype([("key", "i4"), ("start", "i4"), ("upper", "i4"), ("none", "i4")])
"""An item: its key, depth of its shallowest block, and the item of its key above it, or NONE."""

PATHS = np.dtype([(n, "i8") for n in ("n_items", "n_keys", "pieces", "places", "deepest", "above")])
"""Sizes and addresses; if there are `pieces`, nothing else is used."""

NONE = -1

Paths = int  # the address of a record of PATHS

_sizes = record_at(PATHS)
"""The record itself."""


def _array(name: str, shape: str, element: Any) -> Any:
    """Make the compiled function from the record's address to one of its arrays."""
    return array_of(PATHS, name, shape, element, {})


_pieces = _array("pieces", "n_items", PIECE)
_places = _array("places", "n_items", PLACE)
_deepest = _array("deepest", "n_keys", np.int32)
"""(n_keys,): the deepest item of each key, or NONE."""
_above = _array("above", "n_keys", np.int32)
"""(n_keys,): the key above, or NONE."""


@inner
def enter(p: Paths, block: Block) -> bool:
    """Follow an inserted item; whether it is no second copy."""
    if _sizes(p).pieces:
        return True
    x, key = block.block_id, int(block.key)
    place = _places(p)[x]
    place.key = key
    place.start = int(block.depth) - int(block.n_blocks) + 1
    upper = int(_deepest(p)[key])
    if upper != NONE and _places(p)[upper].start >= place.start:
        place.upper = NONE
        return False
    place.upper = upper
    _deepest(p)[key] = x
    return True


@inner
def leave(p: Paths, x: int) -> None:
    """Follow an item, of which all blocks were evicted, no longer."""
    if _sizes(p).pieces:
        return
    gone = _places(p)[x]
    y = int(_deepest(p)[gone.key])
    if y == x:
        _deepest(p)[gone.key] = gone.upper
        return
    while y != NONE:
        place = _places(p)[y]
        if place.upper == x:
            place.upper = gone.upper
            return
        y = int(place.upper)


@inner
def right_above(p: Paths, x: int) -> int:
    """Return the item right above a cached one, or NONE."""
    if _sizes(p).pieces:
        return int(_pieces(p)[x].above)
    place = _places(p)[x]
    if place.upper != NONE:
        return int(place.upper)
    above = int(_above(p)[place.key])
    return int(_deepest(p)[above]) if above != NONE else NONE


def make_paths(setting: Setting) -> Paths:
    """Make what follows the items of an empty cache; it lives as long as the run."""
    arrays: dict[str, NDArray[Any]] = {}
    if not setting.pieces:
        arrays = {
            "places": zeros(setting.n_items, PLACE),
            "deepest": np.full(setting.n_keys, NONE, np.int32),
            "above": setting.above(),
        }
    sizes = np.zeros(1, PATHS)
    sizes["n_items"], sizes["n_keys"] = setting.n_items, setting.n_keys
    sizes["pieces"] = setting.pieces
    for name, array in arrays.items():
        sizes[name] = array.ctypes.data
    setting.keep(*arrays.values(), sizes)
    return int(sizes.ctypes.data)
