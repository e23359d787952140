"""Records that the owner of an order and its policy share, and views of them. Knows no rule."""

from __future__ import annotations

import ctypes
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, view
from .block import Block

ITEM = np.dtype(
    [
        ("rank", "f8"),
        ("last", "i8"),
        ("place", "i4"),
        ("depth", "i4"),
        ("is_candidate", "i4"),
        ("category", "i4"),
        ("hits", "i4"),
        ("key", "i4"),
        ("last_s", "f8"),
        ("inserted_s", "f8"),
        ("inserted", "i8"),
        ("clock", "f8"),
        ("next_use", "f8"),
    ],
    align=True,
)
"""History of an item, and its place in its heap."""

PIECE = np.dtype([("segment", "i4"), ("start", "i4"), ("above", "i4"), ("uses", "i4")], align=True)
"""An item of a cache-only replay: its segment of the prefix tree, where in it it starts, the item
right above (-1 at the root, and before that is cached), uses of the segment before."""

ENTRY = np.dtype([("rank", "f8"), ("last", "i8"), ("x", "i4"), ("depth", "i4")], align=True)
"""An entry of a heap: the item, and what it is compared by. Entry 0 holds the heap's size in x, and
the value of a queue's head, last used at `last`, in rank."""

ORDER = np.dtype(
    [
        ("mode", "i8"),
        ("score", "i8"),
        ("value", "i8"),
        ("events", "i8"),
        ("state", "i8"),
        ("n_queues", "i8"),
        ("first_heap", "i8"),
        ("span", "i8"),
        ("is_retagged", "i8"),
        ("is_stamped_on_release", "i8"),
        ("is_stamped_on_hit", "i8"),
        ("takes_any", "i8"),
        ("drops_whole", "i8"),
        ("has_rising_scores", "i8"),
        ("at_most", "i8"),
        ("hears_misses", "i8"),
        ("hears_hits", "i8"),
        ("error", "i8"),
        ("culprit", "i8"),
        ("clock", "f8"),
        ("valued_s", "f8"),
        ("params", "i8"),
        ("n_params", "i8"),
        ("n_samples", "i8"),
        ("is_searched", "i8"),
        ("generator", "i8"),
        ("window", "i8"),
        ("refresh_steps", "i8"),
        ("demands", "i8"),
        ("n_scans", "i8"),
        ("n_known", "i8"),
        ("n_waiting", "i8"),
        ("scanned_step", "i8"),
        ("scanned_preemptions", "i8"),
        ("scanned_head", "i8"),
        ("scanned_waiting", "i8"),
        ("named_value", "f8"),
        ("named", "i8"),
        ("next_victim", "i8"),
        ("hole", "i8"),
        ("left_inserted", "i8"),
        ("left_last", "i8"),
        ("left_hits", "i8"),
        ("firsts", "i8"),
        ("lowest_queue", "i8"),
    ],
    align=True,
)
"""One cache's order: its mode, the C addresses of the policy's functions (at `events` those of one
for each event), its ageing clock. From `params` on, what a sampled policy needs: the address of
its parameters, whether `value` searches the sample itself instead of giving one value, its
random numbers, and its last look at the waiting queue (see `kvsim.sim.look_ahead`). `at_most`:
blocks of the last victim's run that may go before the policy is asked again. From `named_value`
on: the lowest value of the last sample, and what follows its victim (see
`kvsim.policies.sampling`). `firsts`: category queues that are no heaps (see
`kvsim.policies.firsts`), or 0; `lowest_queue`: that of the last victim if its value alone was the
lowest, and no other queue changed since, else -1."""

DEMAND = np.dtype([("next_start", "f8"), ("n_users", "i4"), ("scan", "i4")], align=True)
"""What the queue scan number `scan` found of an item: place of the first waiting request that
uses it, and how many do."""

NOT_A_NUMBER = 1
"""Error: a score or value was NaN, or a Python policy raised."""

_ITEM_AS_C = Struct("=dqiiiiiiddqdd")
"""An item in native byte order; ITEM has no gaps."""

N_FEATURES = 12
"""Numbers that describe a block to a policy; see `kvsim.policies.base.Block` for their order."""


@inner
def ints_at(address: int, n: int) -> NDArray[np.int64]:
    """View memory at `address` as n int64: how a compiled policy reaches its state."""
    return view(address, (n,), np.int64)


@inner
def items_at(address: int, n: int) -> NDArray[Any]:
    """View memory at `address` as n records of ITEM."""
    return view(address, (n,), ITEM)


@inner
def heaps_at(address: int, n: int) -> NDArray[Any]:
    """View memory at `address` as n records of ENTRY."""
    return view(address, (n,), ENTRY)


@inner
def numbers_at(address: int, n: int) -> NDArray[np.int32]:
    """View memory at `address` as n int32."""
    return view(address, (n,), np.int32)


Items = NDArray[Any]
Heaps = NDArray[Any]
Entry = Any  # a record of dtype ENTRY
Order = Any  # a record of dtype ORDER


@inner
def features(items: Items, x: int, n_blocks: float) -> tuple[float, ...]:
    """Return what describes `n_blocks` blocks of an item to a policy, but for its number."""
    b = items[x]
    return (
        float(b.key),
        float(b.depth),
        float(b.category),
        float(b.last),
        b.last_s,
        float(b.inserted),
        b.inserted_s,
        float(b.hits),
        b.next_use,
        b.clock,
        n_blocks,
    )


def block_at(block_id: int, where: int, n_blocks: int) -> Block:
    """Describe `n_blocks` blocks of the item at an address to a policy in Python."""
    item = _ITEM_AS_C.unpack(ctypes.string_at(where, _ITEM_AS_C.size))
    _, last, _, depth, _, category, hits, key, last_s, inserted_s, inserted, clock, next_use = item
    return Block(
        block_id=block_id,
        key=key,
        depth=depth,
        category=category,
        last_access=last,
        last_access_s=last_s,
        inserted=inserted,
        inserted_s=inserted_s,
        n_hits=hits,
        next_use=next_use,
        clock=clock,
        n_blocks=n_blocks,
    )
