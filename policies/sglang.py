"""Evict as SGLang's radix cache does, node after node of its tree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from ..kernels import inner, view
from .base import Binding, Block, CompiledPolicy, Setting
from .classes import first_to_go, make_classes, members, put, take
from .order import EVENT_ADD, EVENT_EVICT, EVENT_HIT, EVENT_INSERT, EVENT_VICTIM
from .radix_nodes import (
    evict,
    hit,
    insert,
    make_tree,
    nodes,
    offer,
    settle,
    taken_cut,
    withdraw,
)
from .t_lru import NEXT_TOKENS, THRESHOLD_TOKENS, spare_blocks
from .t_lru_below import TLruBelow

LRU, LFU, SLRU, PRIORITY, TAILS = range(5)
RESTS = 0
"""The class of what is left of nodes that are leaving."""
PROTECTED_AT = 2
N_QUICK = 16
"""Classes in bitmaps: hardly any candidate is in a higher one."""

STATE = np.dtype(
    [
        (name, "i8")
        for name in ("order", "tree", "candidates", "n_categories", "priorities", "spare_blocks")
    ]
)
"""Priorities of the categories are numbered from 0 on; `spare_blocks` is of TAILS only."""

State = Any  # a record of STATE


@inner
def _class(s: State, n: int, depth: int) -> int:
    """Return the class of a node that ends at `depth`: what goes on leaving, or by the order."""
    order = s.order
    node = nodes(s.tree)[n]
    of_class = RESTS + 1
    if node.is_condemned:
        of_class = RESTS
    elif order == LFU:
        of_class += node.hits
    elif order == SLRU:
        of_class += node.hits >= PROTECTED_AT
    elif order == PRIORITY:
        of_class += int(node.priority)
    elif order == TAILS:
        length = max(node.length, depth + 1)
        of_class += depth + 1 - node.n_blocks < length - s.spare_blocks
    return of_class


@inner
def _put(s: State, n: int, x: int) -> None:
    """Let the end of a node be a candidate, as it was."""
    depth = members(s.candidates)[x].depth
    put(s.candidates, x, _class(s, n, depth), nodes(s.tree)[n].last, depth)


@inner
def _put_cut(s: State) -> None:
    """Give a candidate that was cut its new class: it starts deeper."""
    n = taken_cut(s.tree)
    if n >= 0 and s.order == TAILS:
        x = int(nodes(s.tree)[n].block)
        take(s.candidates, x)
        _put(s, n, x)


def _event(event: int, state: int, block: Block) -> float:
    s = view(state, (1,), STATE)[0]
    if event == EVENT_VICTIM:
        settle(s.tree)
        _put_cut(s)
        first = first_to_go(s.candidates)
        if block.n_blocks == 0 and (first < 0 or members(s.candidates)[first].rank != RESTS):
            return -1.0
        return float(first)
    priority = float(view(s.priorities, (s.n_categories,), np.int64)[int(block.category)])
    touched = -1
    x = block.block_id
    if event == EVENT_HIT:
        touched = hit(s.tree, block, priority)
        if touched >= 0:
            x = nodes(s.tree)[touched].block
            take(s.candidates, x)
    elif event == EVENT_INSERT:
        settle(s.tree)
        _put_cut(s)
        insert(s.tree, block, priority)
    elif event == EVENT_EVICT:
        above = evict(s.tree, block)
        if above >= 0 and members(s.candidates)[above].is_candidate:  # in a tier below the GPU
            item = members(s.candidates)[above]
            take(s.candidates, above)
            put(s.candidates, above, RESTS, item.last, item.depth)
    elif event == EVENT_ADD:
        members(s.candidates)[x].is_candidate = 1
        members(s.candidates)[x].depth = int(block.depth)
        touched = offer(s.tree, block, priority)
    else:
        members(s.candidates)[x].is_candidate = 0
        take(s.candidates, x)
        withdraw(s.tree, block)
    if touched >= 0:
        _put(s, touched, x)
    _put_cut(s)
    return 0.0


@dataclass(frozen=True, kw_only=True)
class SglangLru(CompiledPolicy):
    """Evict the leaf node of SGLang's radix tree that is unused for longest, as a whole.

    `unified_tree_core.py` and `evict_policy.py` of SGLang 0.5.23. A node is a run of blocks; a
    request that matches part of it cuts it in two, and both parts count as used now; a leaf leaves
    whole, which may be thousands of tokens more than are needed, then its parent may. A request
    uses the nodes of its path until it ends.

    Deviations, all of them of the cache that asks. A tier below the GPU asks for a block at a time,
    and drops no more: the rest of the node goes next, unless it is used again. SGLang looks a
    request up again while it waits, which refreshes what it matches. Chunks of a prefill and the
    output are one node here.
    """

    keys_may_grow = True

    order: ClassVar[int] = LRU

    def event_function(self) -> Callable[..., float]:
        return _event

    def priorities_of(self, names: tuple[str, ...]) -> NDArray[np.float64]:
        """(n_categories,): priority of each category."""
        return np.zeros(len(names))

    def bind(self, setting: Setting) -> Binding:
        binding = super().bind(setting)
        binding.is_retagged = True  # a hit is told with the category of who hits
        binding.drops_whole = not setting.is_below
        return binding

    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        state = np.zeros(1, STATE)
        found = self.priorities_of(setting.category_names)
        priorities = np.unique(found, return_inverse=True)[1].astype(np.int64)  # in their order
        state["candidates"] = make_classes(setting, N_QUICK, n_places=2 * setting.n_uses)
        state["tree"], state["order"] = make_tree(setting), self.order
        state["n_categories"] = len(priorities)
        state["priorities"] = priorities.ctypes.data
        setting.keep(priorities)
        return state.view(np.int64)


@dataclass(frozen=True, kw_only=True)
class SglangLfu(SglangLru):
    """Evict the leaf node of SGLang's radix tree used least often, equal ones in lru order.

    As `sglang-lru`. A use is the request that made the node, and each that matched it to its end.
    """

    order = LFU


@dataclass(frozen=True, kw_only=True)
class SglangSlru(SglangLru):
    """Evict leaf nodes of SGLang's radix tree never used again in lru order; then others.

    As `sglang-lru`, and uses as of `sglang-lfu`, of which two protect a node. The two segments have
    no sizes, and nothing is demoted.
    """

    order = SLRU


@dataclass(frozen=True, kw_only=True)
class SglangPriority(SglangLru):
    """Evict the leaf node of SGLang's radix tree of the lowest priority, equal ones in lru order.

    As `sglang-lru`. A node has the highest priority of the requests that used it; here a request
    has that of its category.
    """

    priorities: str = ""
    """CATEGORY:PRIORITY, joined by +; others have 0."""

    order = PRIORITY

    def priorities_of(self, names: tuple[str, ...]) -> NDArray[np.float64]:
        found = np.zeros(len(names))
        for part in filter(None, self.priorities.split("+")):
            name, _, text = part.rpartition(":")
            try:
                found[names.index(name)] = float(text)
            except ValueError:
                raise ConfigError(
                    f"sglang-priority: priorities must be CATEGORY:PRIORITY+..., got {part!r}"
                    f" (categories: {', '.join(names)})"
                ) from None
        if not np.isfinite(found).all():
            raise ConfigError(
                f"sglang-priority: priorities must be finite, got {self.priorities!r}"
            )
        return found


@dataclass(frozen=True, kw_only=True)
class SglangTLru(SglangLru):
    """Evict leaf nodes that a conversation can lose without breaking its next TTFT target first.

    As `sglang-lru`; then the others, in the same order. SGLang's `tlru` (pull request 34012), after
    Tail-Optimized LRU (arXiv 2510.15152), see `t-lru`: a node is safe to lose if it starts behind

        L + next_tokens - threshold_tokens

    tokens of its path, L being the length of the longest path through it since it was cached.

    Deviations: both in whole blocks, so that no node is called safe that is not; in a tier below
    the GPU, blocks leave as under `t-lru`.
    """

    threshold_tokens: int = THRESHOLD_TOKENS
    """xi: tokens whose prefill still meets the target."""
    next_tokens: int = NEXT_TOKENS
    """Q: tokens that the next prompt of a conversation adds."""

    order = TAILS

    def bind(self, setting: Setting) -> Binding:
        if setting.is_below:
            return TLruBelow(spare_blocks=self._spare_blocks(setting)).bind(setting)
        return super().bind(setting)

    def _spare_blocks(self, setting: Setting) -> int:
        return spare_blocks("sglang-t-lru", self.threshold_tokens, self.next_tokens, setting)

    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        state = super().new_state(setting, cache)
        state.view(STATE)["spare_blocks"] = self._spare_blocks(setting)
        return state
