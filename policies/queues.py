"""Queues of spans of blocks, oldest to newest, for compiled policies with an order of their own.

A span is a number of consecutive blocks of one item that moved together, deepest first: as if its
blocks stood in the queue one by one, the deepest the oldest. An item, which may be a single block,
is one span or several, from its deepest end up; a span may be cut in two. Lengths of queues count
blocks. Every queue also knows its oldest *candidate*, the deepest span of an item that is one:
what is in use or has a cached child keeps its place, and only `first` passes over it. A move gives
a span the next free place of all; when there is none left, the places are numbered anew. A policy
holds the address of a record of QUEUES; no function here takes anything else.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import array_of, inner, record_at, zeros
from .base import Setting
from .block import Block
from .firsts import clear_firsts, drop_first, first_of, make_firsts, put_first
from .lines import LINE, line_up, line_up_behind, take_out
from .lines import NOBODY as NOBODY
from .order import up_to

SPAN = np.dtype(
    [
        ("inserted", "i8"),
        ("mark", "i8"),
        ("place", "i4"),
        ("depth", "i4"),
        ("n_blocks", "i4"),
        ("item", "i4"),
        ("above", "i4"),
        ("older", "i4"),
        ("newer", "i4"),
        ("queue", "i4"),
        ("uses", "i4"),
        ("home", "i4"),
    ],
    align=True,
)
"""A span: the depth of its deepest block, the next shallower span of its item, its neighbours and
its queue; the place that its last move gave it; when its item was inserted, and `home`, the key it
was inserted with; `uses` and `mark` are the policy's to keep, the same
for all its blocks."""

ITEM = np.dtype([("deepest", "i4"), ("shallowest", "i4"), ("is_candidate", "i4")], align=True)

SIZES = ("n_items", "n_spans", "n_queues", "n_places", "next_place", "n_used", "n_free")
QUEUES = np.dtype([(name, "i8") for name in (*SIZES, "items", "spans", "free", "queues", "firsts")])
"""Sizes and addresses; there is no `firsts` if `first` will not be asked. Spans from `n_used` on
were never used, and `n_free` others are on the stack `free`. `n_places`, of which `next_place` is
free, is some times the spans in use: few enough to be in the processor's caches."""

FEWEST_PLACES = 1 << 12
PLACES_A_SPAN = 4

Queues = int  # the address of a record of QUEUES


_sizes = record_at(QUEUES)
"""The record itself."""


def _array(name: str, shape: str, element: Any) -> Any:
    """Make the compiled function from the record's address to one of its arrays."""
    return array_of(QUEUES, name, shape, element, {})


spans = _array("spans", "n_spans", SPAN)
"""(n_spans,) of SPAN."""
_items = _array("items", "n_items", ITEM)
_free = _array("free", "n_spans", np.int32)
_queues = _array("queues", "n_queues", LINE)


# what there is


@inner
def n_blocks(q: Queues, queue: int) -> int:
    """Count the blocks of a queue."""
    return int(_queues(q)[queue].n_blocks)


@inner
def oldest(q: Queues, queue: int) -> int:
    """Return the oldest span of a queue, candidate or not; NOBODY if it is empty."""
    return int(_queues(q)[queue].oldest)


@inner
def first(q: Queues, queue: int) -> int:
    """Return the oldest candidate of a queue; NOBODY if it has none."""
    return first_of(_sizes(q).firsts, queue)


@inner
def deepest(q: Queues, x: int) -> int:
    """Return the deepest span of an item."""
    return int(_items(q)[x].deepest)


@inner
def is_candidate(q: Queues, s: int) -> bool:
    """Whether the deepest block of a span may leave."""
    item = _items(q)[spans(q)[s].item]
    return bool(item.is_candidate and item.deepest == s)


@inner
def continued(q: Queues, s: int) -> int:
    """Return the next newer span if it is right above a span and shares its past, or NOBODY."""
    span = spans(q)[s]
    t = span.newer
    if t != NOBODY:
        other = spans(q)[t]
        if (
            other.inserted == span.inserted
            and other.uses == span.uses
            and other.depth == span.depth - span.n_blocks
        ):
            return int(t)
    return NOBODY


@inner
def leaving(q: Queues, s: int, at_most: int) -> float:
    """Answer that a span is the victim, of which `at_most` blocks may go for now."""
    return up_to(max(1, min(at_most, spans(q)[s].n_blocks)), spans(q)[s].item)


# what changes


@inner
def _may_be_first(q: Queues, s: int) -> bool:
    return bool(_sizes(q).firsts and is_candidate(q, s))


@inner
def _number(q: Queues) -> None:
    """Number the places anew, from 0 on."""
    clear_firsts(_sizes(q).firsts, _sizes(q).n_places)
    place = 0
    for queue in range(_sizes(q).n_queues):
        s = int(_queues(q)[queue].oldest)
        while s != NOBODY:
            spans(q)[s].place = place
            if is_candidate(q, s):
                put_first(_sizes(q).firsts, queue, place, s)
            place += 1
            s = int(spans(q)[s].newer)
    _sizes(q).next_place = place
    while _sizes(q).n_places < PLACES_A_SPAN * place:
        _sizes(q).n_places *= 2


@inner
def _append(q: Queues, s: int, queue: int) -> None:
    """Put a span that is in no queue at the newest end of one."""
    span = spans(q)[s]
    span.queue = queue
    if _sizes(q).firsts == 0:
        line_up(spans(q), _queues(q)[queue], s)
        return
    if _sizes(q).next_place == _sizes(q).n_places:
        _number(q)
    line_up(spans(q), _queues(q)[queue], s)
    span.place = _sizes(q).next_place
    _sizes(q).next_place += 1
    if is_candidate(q, s):
        put_first(_sizes(q).firsts, queue, span.place, s)


@inner
def _unlink(q: Queues, s: int) -> None:
    """Take a span out of its queue."""
    queue = int(spans(q)[s].queue)
    if _may_be_first(q, s):
        drop_first(_sizes(q).firsts, queue, spans(q)[s].place)
    take_out(spans(q), _queues(q)[queue], s)


@inner
def move(q: Queues, s: int, queue: int) -> None:
    """Move a span to the newest end of a queue, its own or another one."""
    _unlink(q, s)
    _append(q, s, queue)


@inner
def _new_span(q: Queues) -> int:
    sizes = _sizes(q)
    if sizes.n_free > 0:
        sizes.n_free -= 1
        return int(_free(q)[sizes.n_free])
    sizes.n_used += 1
    return int(sizes.n_used - 1)


@inner
def _give_back(q: Queues, s: int) -> None:
    _free(q)[_sizes(q).n_free] = s
    _sizes(q).n_free += 1


@inner
def enter(q: Queues, block: Block, start: int, n: int, queue: int) -> int:
    """Put n blocks of an inserted run at the newest end of a queue: a span, which is returned.

    `start` blocks of the run, the deepest ones, entered before.
    """
    s = _new_span(q)
    span, item = spans(q)[s], _items(q)[block.block_id]
    span.inserted = int(block.inserted)
    span.mark = 0
    span.depth = int(block.depth) - start
    span.n_blocks = n
    span.item = block.block_id
    span.above = NOBODY
    span.uses = 0
    span.home = int(block.key)
    if start == 0:
        item.deepest = s
        item.is_candidate = 0
    else:
        spans(q)[item.shallowest].above = s
    item.shallowest = s
    _append(q, s, queue)
    return s


@inner
def cut(q: Queues, s: int, n: int) -> None:
    """Let a span end above its n deepest blocks, if it has more; the others follow it."""
    span = spans(q)[s]
    if span.n_blocks <= n:
        return
    t = _new_span(q)
    rest = spans(q)[t]
    rest.place = span.place
    rest.inserted = span.inserted
    rest.mark = span.mark
    rest.depth = span.depth - n
    rest.n_blocks = span.n_blocks - n
    rest.item = span.item
    rest.above = span.above
    rest.queue = span.queue
    rest.uses = span.uses
    rest.home = span.home
    line = _queues(q)[span.queue]
    line.n_blocks -= rest.n_blocks
    span.n_blocks = n
    span.above = t
    line_up_behind(spans(q), line, t, s)
    if rest.above == NOBODY:
        _items(q)[span.item].shallowest = t


@inner
def join_above(q: Queues, s: int) -> None:
    """Make a span one with the spans of its item above it that follow it in its queue."""
    span = spans(q)[s]
    while span.above != NOBODY and span.above == span.newer:
        rest = spans(q)[span.above]
        if rest.uses != span.uses or rest.mark != span.mark:
            return
        line = _queues(q)[span.queue]
        take_out(spans(q), line, int(span.above))
        _give_back(q, span.above)
        line.n_blocks += rest.n_blocks
        span.n_blocks += rest.n_blocks
        span.above = rest.above
        if rest.above == NOBODY:
            _items(q)[span.item].shallowest = s


@inner
def leave(q: Queues, block: Block) -> None:
    """Note that the deepest blocks of an item were evicted."""
    item = _items(q)[block.block_id]
    n = int(block.n_blocks)
    while n > 0:
        s = item.deepest
        span = spans(q)[s]
        if n < span.n_blocks:
            span.n_blocks -= n
            span.depth -= n
            _queues(q)[span.queue].n_blocks -= n
            return
        n -= span.n_blocks
        _unlink(q, s)
        _give_back(q, s)
        item.deepest = span.above
        if span.above != NOBODY and _may_be_first(q, span.above):
            above = spans(q)[span.above]
            put_first(_sizes(q).firsts, above.queue, above.place, span.above)


@inner
def offer(q: Queues, x: int) -> None:
    """Note that an item became a candidate."""
    item = _items(q)[x]
    item.is_candidate = 1
    if _sizes(q).firsts:
        span = spans(q)[item.deepest]
        put_first(_sizes(q).firsts, span.queue, span.place, item.deepest)


@inner
def withdraw(q: Queues, x: int) -> None:
    """Note that an item is no candidate any more."""
    item = _items(q)[x]
    if _sizes(q).firsts:
        span = spans(q)[item.deepest]
        drop_first(_sizes(q).firsts, span.queue, span.place)
    item.is_candidate = 0


def make_queues(setting: Setting, n_queues: int, *, has_first: bool = True) -> Queues:
    """Make empty queues, which live as long as the run; `has_first` if `first` will be asked."""
    n_spans = max(setting.n_items, setting.capacity_blocks) + 1  # each has a block, cut or not
    arrays: dict[str, NDArray[Any]] = {
        "items": zeros(setting.n_items, ITEM),
        "spans": zeros(n_spans, SPAN),
        "free": zeros(n_spans, np.int32),
        "queues": np.zeros(n_queues, LINE),
    }
    arrays["queues"]["oldest"] = arrays["queues"]["newest"] = NOBODY
    sizes = np.zeros(1, QUEUES)
    sizes["n_items"], sizes["n_spans"], sizes["n_queues"] = setting.n_items, n_spans, n_queues
    sizes["n_places"] = FEWEST_PLACES
    if has_first:
        most_places = FEWEST_PLACES
        while most_places < PLACES_A_SPAN * n_spans:
            most_places *= 2
        sizes["firsts"] = make_firsts(setting, n_queues, most_places)
    for name, array in arrays.items():
        sizes[name] = array.ctypes.data
    setting.keep(*arrays.values(), sizes)
    return int(sizes.ctypes.data)
