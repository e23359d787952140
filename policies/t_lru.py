"""Evict what a conversation can lose without breaking its next TTFT target; then lru."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from ..kernels import inner, view, zeros
from .base import Binding, Block, CompiledPolicy, Setting
from .classes import first_to_go, make_classes, members, put, take
from .order import (
    EVENT_ADD,
    EVENT_EVICT,
    EVENT_INSERT,
    EVENT_REMOVE,
    EVENT_VICTIM,
    MANY,
    numbers_at,
    up_to,
)
from .paths import NONE, enter, leave, make_paths, right_above

THRESHOLD_TOKENS = 9000
"""Tokens of prefill that take 0.2 s, the target of the paper's count of violations, by the
step times of profile h100-llama-3.1-8b: (0.2 - 0.0099) s / 2.11e-5 s."""
NEXT_TOKENS = 200
"""As in the authors' patch for SGLang."""

STATE = np.dtype(
    [(name, "i8") for name in ("n_items", "spare_blocks", "candidates", "lengths", "paths")]
)
"""`candidates` are the classes of those: 0 if the deepest block is safe to lose, else 1. `lengths`:
of the longest conversation through each item; a candidate has it as its mark."""

State = Any  # a record of STATE


@inner
def _offer(s: State, x: int, last: int, depth: int, length: int) -> None:
    """Let an item be a candidate."""
    members(s.candidates)[x].mark = length
    put(s.candidates, x, 0 if depth >= length - s.spare_blocks else 1, last, depth)


@inner
def _evict(s: State, block: Block) -> None:
    """What is left of a conversation stays one of the same length."""
    lengths = numbers_at(s.lengths, s.n_items)
    x = block.block_id
    item = members(s.candidates)[x]
    if item.is_candidate:  # it stays one
        take(s.candidates, x)
        _offer(s, x, item.last, int(block.depth) - int(block.n_blocks), item.mark)
        return
    above = right_above(s.paths, x)
    leave(s.paths, x)
    if above != NONE:
        lengths[above] = max(lengths[above], lengths[x])


def _event(event: int, state: int, block: Block) -> float:
    s = view(state, (1,), STATE)[0]
    lengths = numbers_at(s.lengths, s.n_items)
    if event == EVENT_VICTIM:
        x = first_to_go(s.candidates)
        item = members(s.candidates)[x]
        n_safe = item.depth - (item.mark - s.spare_blocks) + 1
        return up_to(n_safe if item.rank == 0.0 else MANY, x)
    x = block.block_id
    if event == EVENT_INSERT:
        lengths[x] = int(block.depth) + 1
        enter(s.paths, block)
    elif event == EVENT_EVICT:
        _evict(s, block)
    elif event == EVENT_ADD:
        members(s.candidates)[x].is_candidate = 1
        _offer(s, x, int(block.last_access), int(block.depth), lengths[x])
    elif event == EVENT_REMOVE:
        members(s.candidates)[x].is_candidate = 0
        take(s.candidates, x)
    return 0.0


def spare_blocks(name: str, threshold_tokens: int, next_tokens: int, setting: Setting) -> int:
    """Blocks at the end of a path that policy `name` may call safe to lose.

    Raises:
        ConfigError: a parameter is negative.
    """
    for parameter, n in (("threshold_tokens", threshold_tokens), ("next_tokens", next_tokens)):
        if n < 0:
            raise ConfigError(f"{name}: {parameter} must be at least 0, got {n}")
    return max(0, threshold_tokens - next_tokens) // setting.block_size


@dataclass(frozen=True, kw_only=True)
class TLru(CompiledPolicy):
    """Evict what a conversation can lose without breaking its next TTFT target; then lru.

    Tail-Optimized LRU (Zhang, Li, Moallemi, Peng, NeurIPS 2025, arXiv 2510.15152). A conversation
    of L tokens whose next prompt adds about Q computes at most `xi` tokens at its next turn as long
    as

        L + Q - xi

    of them stay. What lies behind is safe to lose, and leaves first, in lru order; then the rest,
    in lru order. L is the longest path through a block since the block was cached, and does not
    shrink when its tail is evicted.

    Deviations: whole blocks, rounded so that no block is called safe that is not; one Q and one xi
    for all, as in the engines. In a tier below the GPU, L is the longest path through a block that
    the GPUs above have worked on. SGLang's, by the nodes of its tree, is `sglang-t-lru`.
    """

    keys_may_grow = True

    threshold_tokens: int = THRESHOLD_TOKENS
    """xi: tokens whose prefill still meets the target."""
    next_tokens: int = NEXT_TOKENS
    """Q: tokens that the next prompt of a conversation adds."""

    hears_hits = False

    def bind(self, setting: Setting) -> Binding:
        if not setting.is_below:
            return super().bind(setting)
        from .t_lru_below import TLruBelow

        return TLruBelow(spare_blocks=self._spare_blocks(setting)).bind(setting)

    def _spare_blocks(self, setting: Setting) -> int:
        return spare_blocks("t-lru", self.threshold_tokens, self.next_tokens, setting)

    def event_function(self) -> Callable[..., float]:
        return _event

    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        state = np.zeros(1, STATE)
        lengths = zeros(setting.n_items, np.int32)
        state["n_items"], state["paths"] = setting.n_items, make_paths(setting)
        state["spare_blocks"] = self._spare_blocks(setting)
        state["candidates"] = make_classes(setting, 2, n_places=setting.n_uses)
        state["lengths"] = lengths.ctypes.data
        setting.keep(lengths)
        return state.view(np.int64)
