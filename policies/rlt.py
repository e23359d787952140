"""Evict a random block among those unused since the current phase began (randomised marking)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, view
from .base import Block, CompiledPolicy, Setting
from .draws import draw_below, make_generator
from .order import EVENT_ADD, EVENT_HIT, EVENT_INSERT, EVENT_REMOVE, EVENT_VICTIM
from .streaks import NOBODY, came, follower, make_streak, name, see, went

SIZES = ("n_items", "n_candidates", "n_unmarked", "phase", "hole")
STATE = np.dtype(
    [(n, "i8") for n in ("generator", "streak", "members", "places", "phases", *SIZES)]
)
"""The candidates, unmarked ones first; by block its place among them and the phase of its last use.
A block is marked if that is the current phase. `hole`: the place of a victim that left and may be
followed, or -1."""

State = Any  # a record of STATE


@inner
def _numbers(s: State, address: int) -> NDArray[np.int64]:
    return view(address, (s.n_items,), np.int64)


@inner
def _put(s: State, x: int, place: int) -> None:
    _numbers(s, s.members)[place] = x
    _numbers(s, s.places)[x] = place


@inner
def _close(s: State) -> None:
    """Let others move up to the place of a victim that nobody followed."""
    if s.hole >= 0:
        hole = s.hole
        if hole < s.n_unmarked:
            s.n_unmarked -= 1
            _put(s, _numbers(s, s.members)[s.n_unmarked], hole)
            hole = s.n_unmarked
        s.n_candidates -= 1
        if hole < s.n_candidates:
            _put(s, _numbers(s, s.members)[s.n_candidates], hole)
        s.hole = -1


@inner
def _join(s: State, x: int) -> None:
    """Put a block behind the others of its kind."""
    place = s.n_candidates
    if _numbers(s, s.phases)[x] < s.phase:
        if s.n_unmarked < place:
            _put(s, _numbers(s, s.members)[s.n_unmarked], place)
        place = s.n_unmarked
        s.n_unmarked += 1
    _put(s, x, place)
    s.n_candidates += 1


@inner
def _drawn(s: State) -> int:
    """Draw an unmarked candidate; if there is none, a new phase begins."""
    _close(s)
    if s.n_unmarked == 0:
        s.phase += 1
        s.n_unmarked = s.n_candidates
    return int(_numbers(s, s.members)[draw_below(s.generator, s.n_unmarked)])


def _event(event: int, state: int, block: Block) -> float:
    s = view(state, (1,), STATE)[0]
    x = block.block_id
    if event == EVENT_VICTIM:
        y = follower(s.streak)
        return name(s.streak, y if y != NOBODY else _drawn(s))
    if event in (EVENT_INSERT, EVENT_HIT):
        _close(s)
        see(s.streak, block)
        _numbers(s, s.phases)[x] = s.phase
    elif event == EVENT_ADD:
        if came(s.streak, x):
            _put(s, x, s.hole)
            s.hole = -1
        else:
            _close(s)
            _join(s, x)
    elif event == EVENT_REMOVE:
        _close(s)
        s.hole = _numbers(s, s.places)[x]
        if not went(s.streak, x):
            _close(s)
    return 0.0


class Rlt(CompiledPolicy):
    """Evict a random block among those unused since the current phase began (randomised marking).

    RLT (arXiv 2601.18999), the marking algorithm of Fiat et al. (1991) on the leaves of a prefix
    tree: a use marks a block; the victim is drawn evenly from the unmarked leaves; when all are
    marked a new phase begins, and nothing is. Draws come from the run's seed.

    Deviations: leaves are blocks, not tokens; after the victim go the blocks above it that share
    its past, as long as the request needs room; a block in use or with a cached child is passed
    over, and does not hold up the end of a phase.
    """

    keys_may_grow = True

    def event_function(self) -> Callable[..., float]:
        return _event

    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        members, places, phases = np.zeros((3, setting.n_items), np.int64)
        setting.keep(members, places, phases)
        state = np.zeros(1, STATE)
        state["generator"], state["streak"] = make_generator(setting, cache), make_streak(setting)
        state["members"], state["places"] = members.ctypes.data, places.ctypes.data
        state["phases"] = phases.ctypes.data
        state["n_items"] = setting.n_items
        state["hole"] = -1
        return state.view(np.int64)
