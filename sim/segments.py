"""What a cache-only replay knows of its cache: records, and how compiled code reaches them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import array_of, kernel, record_at
from ..policies.order import ENTRY, ITEM, PIECE

SEGMENT = np.dtype(
    [
        ("last_s", "f8"),
        ("clock", "f8"),
        ("seen_s", "f8"),
        ("parent", "i4"),
        ("n_blocks", "i4"),
        ("depth", "i4"),
        ("last", "i4"),
        ("n_cached", "i4"),
        ("n_children", "i4"),
        ("top", "i4"),
        ("uses", "i4"),
        ("category", "i4"),
        ("seen_category", "i4"),
    ],
    align=True,
)
"""A segment or strand, which fills a cache line: its place in the tree, its last user and the like,
blocks as of its last use (0 before the first), blocks cached (a leading part), child segments with
any, deepest piece, uses so far. `seen_...` is what a fit of reuse times keeps of it.

A use is noted at the end of the path only, and passed on to the parent when a segment leaves the
cache: until then the parent is no candidate, and nobody asks.
"""

SIZES = (
    "capacity",
    "n_segments",
    "n_pieces",
    "n_heap_entries",
    "n_queues",
    "n_params",
    "n_uses",
)
ARRAYS = (
    "segments",
    "pieces",
    "items",
    "free_pieces",
    "orders",
    "heaps",
    "params",
    "use_offsets",
    "uses",
)
CACHE = np.dtype([(name, "i8") for name in (*SIZES, *ARRAYS)])
Cache = int  # the address of a record of dtype CACHE


sizes = record_at(CACHE)
"""The record itself: sizes, by the names of SIZES."""


def _array(name: str, shape: str, element: Any) -> Any:
    """Make the compiled function from the record's address to one of its arrays."""
    return array_of(CACHE, name, shape, element, {})


segments = _array("segments", "n_segments", SEGMENT)
"""(n_segments,) of SEGMENT."""
pieces = _array("pieces", "n_pieces", PIECE)
"""(n_pieces,) of PIECE."""
items = _array("items", "n_pieces + 1", ITEM)
"""(n_pieces + 1,) of ITEM: the pieces as the policy sees them, and what a request lacks."""
free_pieces = _array("free_pieces", "n_pieces + 2", np.int32)
"""A stack of pieces once used; its height and the pieces never used are the last elements."""
heaps = _array("heaps", "n_heap_entries", ENTRY)
"""(n_heap_entries,) of ENTRY."""
params = _array("params", "n_queues, n_params", np.float64)
"""(n_queues, n_params): a policy's numbers of each category."""
use_offsets = _array("use_offsets", "n_segments + 1", np.int64)
"""(n_segments + 1,): where the uses of each segment start."""
uses = _array("uses", "n_uses", np.int32)
"""(n_uses,): requests that use each segment, in order; empty unless the policy is offline."""


@kernel
def lay_out(segments: NDArray[Any], parent: NDArray[np.int32], depth: NDArray[np.int32]) -> None:
    """Set up the segments, (n_segments,) of SEGMENT, in one pass: none is cached, or was used."""
    for s in range(len(segments)):
        segment = segments[s]
        segment.last_s = 0.0
        segment.clock = 0.0
        segment.seen_s = np.nan
        segment.parent = parent[s]
        segment.n_blocks = 0
        segment.depth = depth[s]
        segment.last = -1
        segment.n_cached = 0
        segment.n_children = 0
        segment.top = -1
        segment.uses = 0
        segment.category = 0
        segment.seen_category = 0
