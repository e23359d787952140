"""t-lru for a tier below the GPU, which is told how long paths are: it sees blocks alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, view
from .base import Block, CompiledPolicy, Setting
from .heaps import MEMBER, empty_heaps, heap_first, heap_push, heap_remove, members_at
from .order import EVENT_ADD, EVENT_REMOVE, EVENT_VICTIM, heaps_at
from .path_lengths import longest_through

STATE = np.dtype(
    [(name, "i8") for name in ("n_items", "spare_blocks", "items", "heap", "path_lengths")]
)

State = Any  # a record of STATE


@inner
def _offer(s: State, block: Block) -> None:
    """Put a block into the heap: first those that are safe to lose, both in lru order."""
    items = members_at(s.items, s.n_items)
    item = items[block.block_id]
    depth = int(block.depth)
    length = max(depth + 1, longest_through(s.path_lengths, int(block.key)))
    item.rank = 0.0 if depth >= length - s.spare_blocks else 1.0
    item.last = int(block.last_access)
    item.depth = depth
    heap_push(items, heaps_at(s.heap, s.n_items + 2), 0, block.block_id)


def _event(event: int, state: int, block: Block) -> float:
    s = view(state, (1,), STATE)[0]
    items = members_at(s.items, s.n_items)
    heap = heaps_at(s.heap, s.n_items + 2)
    if event == EVENT_VICTIM:
        return float(heap_first(items, heap, 0))
    if event == EVENT_ADD:
        _offer(s, block)
    elif event == EVENT_REMOVE:
        heap_remove(items, heap, 0, block.block_id)
    return 0.0


@dataclass(frozen=True, kw_only=True)
class TLruBelow(CompiledPolicy):
    """Evict first, in lru order, what is no further from the end of the longest path through it."""

    spare_blocks: int
    """Blocks at the end of a path that are safe to lose."""

    hears_hits = False

    def event_function(self) -> Callable[..., float]:
        return _event

    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        assert setting.path_lengths is not None
        state = np.zeros(1, STATE)
        items = np.zeros(setting.n_items, MEMBER)
        heap = empty_heaps(1, setting.n_items + 2)
        state["n_items"], state["spare_blocks"] = setting.n_items, self.spare_blocks
        state["items"], state["heap"] = items.ctypes.data, heap.ctypes.data
        state["path_lengths"] = setting.path_lengths(cache)
        setting.keep(items, heap)
        return state.view(np.int64)
