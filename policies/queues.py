"""Queues of blocks, oldest to newest, for compiled policies with an order of their own.

A block is in at most one of a policy's queues. Every queue also knows its oldest *candidate*:
blocks that are in use or have a cached child keep their place, and only `first` passes over
them. A policy holds the address of a record of QUEUES; no function here takes anything else.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, view
from .base import Setting
from .order import ENTRY, Heaps, heap_first, heap_push, heap_remove

NODE = np.dtype(
    [
        ("rank", "f8"),
        ("last", "i8"),
        ("place", "i4"),
        ("depth", "i4"),
        ("older", "i4"),
        ("newer", "i4"),
        ("queue", "i4"),
        ("is_candidate", "i4"),
        ("uses", "i4"),
        ("key", "i4"),
    ],
    align=True,
)
"""A block's neighbours, its queue, and `uses` and `key`, which are the policy's to keep. It is
compared by its rank, the number of its last move; `last` and `depth` are never reached."""

QUEUE = np.dtype([("n_blocks", "i8"), ("oldest", "i4"), ("newest", "i4")], align=True)

QUEUES = np.dtype(
    [
        (name, "i8")
        for name in ("n_items", "n_queues", "span", "n_moves", "nodes", "queues", "heaps")
    ]
)
"""Sizes and addresses; `span` is the length of a queue's heap of candidates, 0 if there is none."""

NOBODY = -1

Queues = int  # the address of a record of QUEUES


@inner
def _sizes(q: Queues) -> Any:
    return view(q, (1,), QUEUES)[0]


@inner
def nodes(q: Queues) -> NDArray[Any]:
    """(n_items,) of NODE, by block."""
    return view(_sizes(q).nodes, (_sizes(q).n_items,), NODE)


@inner
def _queues(q: Queues) -> NDArray[Any]:
    return view(_sizes(q).queues, (_sizes(q).n_queues,), QUEUE)


@inner
def _heaps(q: Queues) -> Heaps:
    return view(_sizes(q).heaps, (_sizes(q).n_queues * _sizes(q).span,), ENTRY)


@inner
def n_blocks(q: Queues, queue: int) -> int:
    """Count the blocks of a queue."""
    return int(_queues(q)[queue].n_blocks)


@inner
def oldest(q: Queues, queue: int) -> int:
    """Return the oldest block of a queue, candidate or not; NOBODY if it is empty."""
    return int(_queues(q)[queue].oldest)


@inner
def first(q: Queues, queue: int) -> int:
    """Return the oldest candidate of a queue; NOBODY if it has none."""
    return heap_first(_heaps(q), queue * _sizes(q).span)


@inner
def append(q: Queues, x: int, queue: int) -> None:
    """Put a block that is in no queue at the newest end of one."""
    node, line = nodes(q)[x], _queues(q)[queue]
    node.queue = queue
    node.newer = NOBODY
    node.older = line.newest
    if line.newest == NOBODY:
        line.oldest = x
    else:
        nodes(q)[line.newest].newer = x
    line.newest = x
    line.n_blocks += 1
    _sizes(q).n_moves += 1
    node.rank = float(_sizes(q).n_moves)
    if node.is_candidate and _sizes(q).span:
        heap_push(nodes(q), _heaps(q), queue * _sizes(q).span, x)


@inner
def unlink(q: Queues, x: int) -> None:
    """Take a block out of its queue."""
    node = nodes(q)[x]
    line = _queues(q)[node.queue]
    if node.is_candidate and _sizes(q).span:
        heap_remove(nodes(q), _heaps(q), node.queue * _sizes(q).span, x)
    if node.older == NOBODY:
        line.oldest = node.newer
    else:
        nodes(q)[node.older].newer = node.newer
    if node.newer == NOBODY:
        line.newest = node.older
    else:
        nodes(q)[node.newer].older = node.older
    line.n_blocks -= 1


@inner
def move(q: Queues, x: int, queue: int) -> None:
    """Move a block to the newest end of a queue, its own or another one."""
    unlink(q, x)
    append(q, x, queue)


@inner
def offer(q: Queues, x: int) -> None:
    """Note that a block became a candidate."""
    node = nodes(q)[x]
    node.is_candidate = 1
    if _sizes(q).span:
        heap_push(nodes(q), _heaps(q), node.queue * _sizes(q).span, x)


@inner
def withdraw(q: Queues, x: int) -> None:
    """Note that a block is no candidate any more."""
    node = nodes(q)[x]
    node.is_candidate = 0
    if _sizes(q).span:
        heap_remove(nodes(q), _heaps(q), node.queue * _sizes(q).span, x)


def make_queues(setting: Setting, n_queues: int, *, has_first: bool = True) -> Queues:
    """Make empty queues, which live as long as the run; `has_first` if `first` will be asked."""
    span = setting.n_items + 2 if has_first else 0
    blocks = np.zeros(setting.n_items, NODE)
    queues = np.zeros(n_queues, QUEUE)
    queues["oldest"] = queues["newest"] = NOBODY
    heaps = np.empty(n_queues * span, ENTRY)
    if has_first:
        heaps["x"][::span] = 0
    sizes = np.zeros(1, QUEUES)
    sizes["n_items"], sizes["n_queues"], sizes["span"] = setting.n_items, n_queues, span
    sizes["nodes"], sizes["queues"] = blocks.ctypes.data, queues.ctypes.data
    sizes["heaps"] = heaps.ctypes.data
    setting.keep(blocks, queues, heaps, sizes)
    return int(sizes.ctypes.data)
