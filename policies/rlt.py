"""Evict a random block among those unused since the current phase began (randomised marking)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner
from .base import Block, CompiledPolicy, Setting
from .order import (
    EVENT_ADD,
    EVENT_HIT,
    EVENT_INSERT,
    EVENT_REMOVE,
    EVENT_VICTIM,
    ints_at,
)
from .sampling import GOLDEN, drawn

GENERATOR, N_ITEMS, N_CANDIDATES, N_UNMARKED, PHASE, HEADER = range(6)
"""State: these numbers; the candidates, unmarked ones first; by block its place among them and the
phase of its last use. A block is marked if that is the current phase."""


@inner
def _swap(s: NDArray[np.int64], i: int, j: int) -> None:
    """Exchange the candidates at two places."""
    x, y = s[HEADER + i], s[HEADER + j]
    s[HEADER + i], s[HEADER + j] = y, x
    s[HEADER + s[N_ITEMS] + y], s[HEADER + s[N_ITEMS] + x] = i, j


def _event(event: int, state: int, block: Block) -> float:
    n_items = ints_at(state, HEADER)[N_ITEMS]
    s = ints_at(state, HEADER + 3 * n_items)
    place = HEADER + n_items
    phase = HEADER + 2 * n_items
    if event in (EVENT_INSERT, EVENT_HIT):
        s[phase + block.block_id] = s[PHASE]
    elif event == EVENT_ADD:
        s[HEADER + s[N_CANDIDATES]] = block.block_id
        s[place + block.block_id] = s[N_CANDIDATES]
        s[N_CANDIDATES] += 1
        if s[phase + block.block_id] < s[PHASE]:
            _swap(s, s[N_CANDIDATES] - 1, s[N_UNMARKED])
            s[N_UNMARKED] += 1
    elif event == EVENT_REMOVE:
        if s[place + block.block_id] < s[N_UNMARKED]:
            s[N_UNMARKED] -= 1
            _swap(s, s[place + block.block_id], s[N_UNMARKED])
        s[N_CANDIDATES] -= 1
        _swap(s, s[place + block.block_id], s[N_CANDIDATES])
    elif event == EVENT_VICTIM:
        if s[N_UNMARKED] == 0:
            s[PHASE] += 1
            s[N_UNMARKED] = s[N_CANDIDATES]
        generator = np.uint64(s[GENERATOR]) + GOLDEN
        s[GENERATOR] = np.int64(generator)
        return float(s[HEADER + drawn(generator, s[N_UNMARKED])])
    return 0.0


class Rlt(CompiledPolicy):
    """Evict a random block among those unused since the current phase began (randomised marking).

    RLT (arXiv 2601.18999), the marking algorithm of Fiat et al. (1991) on the leaves of a prefix
    tree: a use marks a block; the victim is drawn evenly from the unmarked leaves; when all are
    marked a new phase begins, and nothing is. Draws come from the run's seed.

    Deviations: leaves are blocks, not tokens; a block in use or with a cached child is passed
    over, and does not hold up the end of a phase.
    """

    def event_function(self) -> Callable[..., float]:
        return _event

    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        state = np.zeros(HEADER + 3 * setting.n_items, np.int64)
        state[GENERATOR] = np.random.SeedSequence([setting.seed, cache]).generate_state(1)[0]
        state[N_ITEMS] = setting.n_items
        return state
