"""Runs that enter and leave queues, and what ghosts remember of them, for compiled policies."""

from __future__ import annotations

from ..kernels import inner
from .block import Block
from .ghosts import (
    Ghosts,
    cut_once,
    deepest_ghost,
    forget,
    ghosts,
    is_at,
    n_alike,
    remember,
)
from .queues import Queues, deepest, enter, leave, spans


@inner
def enter_by_ghosts(q: Queues, g: Ghosts, block: Block, known: int, new: int) -> None:
    """Put the blocks of an inserted run that ghosts tell of into one queue, the rest into another.

    The ghosts are forgotten.
    """
    depth, n = int(block.depth), int(block.n_blocks)
    known_deepest = ghost = deepest_ghost(g, int(block.key))
    done = 0
    while done < n:
        is_known = is_at(g, ghost, depth - done)
        n_part = n_alike(g, ghost, depth - done, n - done)
        if is_known:
            ghost = int(ghosts(g)[ghost].above)
        enter(q, block, done, n_part, known if is_known else new)
        done += n_part
    forget(g, known_deepest)


@inner
def leave_to_ghosts(q: Queues, g: Ghosts, block: Block, queue: int) -> None:
    """Note that the deepest blocks of an item were evicted, and remember them if of `queue`.

    The list of ghosts is cut to its length before the first eviction of a request.
    """
    cut_once(g)
    span = spans(q)[deepest(q, block.block_id)]
    if span.queue == queue:
        remember(g, span.home, int(block.depth), int(block.n_blocks), 0, 0)
    leave(q, block)
