"""Keep blocks whose last two uses are close together: inter-reference recency (LIRS)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, view
from .base import Block, CompiledPolicy, Setting
from .ghosts import (
    drop_oldest,
    forget,
    is_ghost,
    make_ghosts,
    n_ghosts,
    oldest_ghost,
    remember,
)
from .order import (
    EVENT_ADD,
    EVENT_EVICT,
    EVENT_HIT,
    EVENT_INSERT,
    EVENT_REMOVE,
    EVENT_VICTIM,
)
from .queues import (
    NOBODY,
    append,
    first,
    make_queues,
    move,
    n_blocks,
    nodes,
    offer,
    oldest,
    unlink,
    withdraw,
)

HOT, COLD = 0, 1

SIZES = ("n_items", "n_keys", "hot_blocks", "ghost_blocks", "n_uses", "bottom")
STATE = np.dtype([(name, "i8") for name in ("queues", "ghosts", "used", "ghost_used", *SIZES)])
"""`used`, by block, and `ghost_used`, by key: number of the last use. `bottom`: that of the hot
block unused for longest. What was used after it is on the stack of the paper, and only that."""

StateAddress = int  # the address of a record of STATE


@inner
def _sizes(state: StateAddress) -> Any:
    return view(state, (1,), STATE)[0]


@inner
def _used(state: StateAddress) -> NDArray[np.int64]:
    return view(_sizes(state).used, (_sizes(state).n_items,), np.int64)


@inner
def _ghost_used(state: StateAddress) -> NDArray[np.int64]:
    return view(_sizes(state).ghost_used, (_sizes(state).n_keys,), np.int64)


@inner
def _prune(state: StateAddress) -> None:
    """Cut the stack below the hot block unused for longest; ghosts that fall off are forgotten."""
    s = _sizes(state)
    x = oldest(s.queues, HOT)
    if x != NOBODY:
        s.bottom = max(s.bottom, _used(state)[x])
    while n_ghosts(s.ghosts) and _ghost_used(state)[oldest_ghost(s.ghosts)] < s.bottom:
        drop_oldest(s.ghosts)


@inner
def _cool(state: StateAddress) -> None:
    """Turn the hot blocks unused for longest cold while there are too many."""
    s = _sizes(state)
    while n_blocks(s.queues, HOT) > s.hot_blocks:
        x = oldest(s.queues, HOT)
        s.bottom = max(s.bottom, _used(state)[x] + 1)
        move(s.queues, x, COLD)


@inner
def _insert(state: StateAddress, x: int, key: int) -> None:
    s = _sizes(state)
    is_hot = n_blocks(s.queues, HOT) < s.hot_blocks
    if is_ghost(s.ghosts, key):
        is_hot = is_hot or _ghost_used(state)[key] > s.bottom
        forget(s.ghosts, key)
    append(s.queues, x, HOT if is_hot else COLD)
    _used(state)[x] = s.n_uses
    _cool(state)
    _prune(state)
    while n_ghosts(s.ghosts) > s.ghost_blocks:
        drop_oldest(s.ghosts)


@inner
def _hit(state: StateAddress, x: int) -> None:
    s = _sizes(state)
    is_hot = nodes(s.queues)[x].queue == HOT or _used(state)[x] > s.bottom
    move(s.queues, x, HOT if is_hot else COLD)
    _used(state)[x] = s.n_uses
    _cool(state)
    _prune(state)


@inner
def _evict(state: StateAddress, x: int, key: int) -> None:
    s = _sizes(state)
    unlink(s.queues, x)
    if nodes(s.queues)[x].queue == COLD and _used(state)[x] > s.bottom:
        remember(s.ghosts, key)
        _ghost_used(state)[key] = _used(state)[x]
    _prune(state)


def _event(event: int, state: int, block: Block) -> float:
    s = _sizes(state)
    q = s.queues
    if event == EVENT_VICTIM:
        x = first(q, COLD)
        return float(x if x != NOBODY else first(q, HOT))
    s.n_uses += event in (EVENT_INSERT, EVENT_HIT)
    if event == EVENT_INSERT:
        _insert(state, block.block_id, int(block.key))
    elif event == EVENT_HIT:
        _hit(state, block.block_id)
    elif event == EVENT_ADD:
        offer(q, block.block_id)
    elif event == EVENT_REMOVE:
        withdraw(q, block.block_id)
    elif event == EVENT_EVICT:
        _evict(state, block.block_id, int(block.key))
    return 0.0


@dataclass(frozen=True, kw_only=True)
class Lirs(CompiledPolicy):
    """Keep blocks whose last two uses are close together: inter-reference recency (LIRS).

    Jiang and Zhang, "LIRS: An Efficient Low Inter-reference Recency Set Replacement Policy to
    Improve Buffer Cache Performance" (SIGMETRICS 2002): most of the cache holds hot blocks, and
    only cold ones leave. A cold block, cached or evicted lately, that is used again after the
    hot block unused for longest was turns hot, and that one turns cold. Deviation: if no cold
    block is a candidate, the hot candidate unused for longest leaves.
    """

    cold_share: float = 0.01
    """Share of the cache that is left to cold blocks; one block at least."""
    ghost_share: float = 1.0
    """Evicted blocks that are remembered at most, as a share of the cache."""

    def event_function(self) -> Callable[..., float]:
        return _event

    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        capacity = setting.capacity_blocks
        ghost_blocks = int(capacity * self.ghost_share)
        used = np.zeros(setting.n_items, np.int64)
        ghost_used = np.zeros(setting.n_keys, np.int64)
        state = np.zeros(1, STATE)
        state["queues"] = make_queues(setting, 2)
        state["ghosts"] = make_ghosts(setting, ghost_blocks + capacity)
        state["used"], state["ghost_used"] = used.ctypes.data, ghost_used.ctypes.data
        state["n_items"], state["n_keys"] = setting.n_items, setting.n_keys
        state["hot_blocks"] = capacity - max(1, int(capacity * self.cold_share))
        state["ghost_blocks"] = ghost_blocks
        setting.keep(used, ghost_used)
        return state.view(np.int64)
