"""The candidates in a row, to draw from at random, for compiled policies.

Who follows a victim (see `streaks`) takes its place in the row, as if it were one run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, view
from . import streaks
from .base import Setting
from .block import Block
from .draws import Generator, draw_below
from .order import EVENT_ADD, EVENT_HIT, EVENT_INSERT, EVENT_REMOVE
from .streaks import NOBODY as NOBODY
from .streaks import make_streak

CANDIDATES = np.dtype(
    [(name, "i8") for name in ("n_items", "n", "members", "places", "streak", "hole")]
)
"""`hole`: the place of a victim that left and may be followed, or -1."""

Candidates = int  # the address of a record of CANDIDATES


@inner
def _sizes(c: Candidates) -> Any:
    return view(c, (1,), CANDIDATES)[0]


@inner
def members(c: Candidates) -> NDArray[np.int32]:
    """(n_items,): the candidates, in no order; the first `n_candidates` of them."""
    return view(_sizes(c).members, (_sizes(c).n_items,), np.int32)


@inner
def _places(c: Candidates) -> NDArray[np.int32]:
    return view(_sizes(c).places, (_sizes(c).n_items,), np.int32)


@inner
def follower(c: Candidates) -> int:
    """Return the candidate that goes next whatever is drawn, or NOBODY."""
    return streaks.follower(_sizes(c).streak)


@inner
def named(c: Candidates, x: int) -> float:
    """Note, and answer, that a candidate is the victim."""
    return streaks.name(_sizes(c).streak, x)


@inner
def n_candidates(c: Candidates) -> int:
    """Count the candidates."""
    _close(c)
    return int(_sizes(c).n)


@inner
def drawn(c: Candidates, generator: Generator) -> int:
    """Draw a candidate."""
    return int(members(c)[draw_below(generator, n_candidates(c))])


@inner
def place_of_sample(i: int, n: int, n_samples: int, generator: Generator) -> int:
    """Return the place of the i-th of `n_samples` samples of n candidates, at most n of them.

    Drawn with replacement; all candidates in turn if they are no more.
    """
    return draw_below(generator, n) if n > n_samples else i


@inner
def _put(c: Candidates, x: int, place: int) -> None:
    members(c)[place] = x
    _places(c)[x] = place


@inner
def _close(c: Candidates) -> None:
    """Let the last candidate take the place of a victim that nobody followed."""
    s = _sizes(c)
    if s.hole >= 0:
        s.n -= 1
        _put(c, members(c)[s.n], s.hole)
        s.hole = -1


@inner
def hear(c: Candidates, event: int, block: Block) -> None:
    """Follow any event but the question for a victim."""
    s, x = _sizes(c), block.block_id
    if event == EVENT_REMOVE:
        _close(c)
        s.hole = _places(c)[x]
        if not streaks.went(s.streak, x):
            _close(c)
    elif event == EVENT_ADD:
        if streaks.came(s.streak, x):
            _put(c, x, s.hole)
            s.hole = -1
        else:
            _close(c)
            _put(c, x, s.n)
            s.n += 1
    elif event in (EVENT_INSERT, EVENT_HIT):
        _close(c)
        streaks.see(s.streak, block)


def make_candidates(setting: Setting) -> Candidates:
    """Make an empty row, which lives as long as the run."""
    members, places = np.zeros((2, setting.n_items), np.int32)
    sizes = np.zeros(1, CANDIDATES)
    sizes["n_items"], sizes["streak"] = setting.n_items, make_streak(setting)
    sizes["members"], sizes["places"] = members.ctypes.data, places.ctypes.data
    sizes["hole"] = -1
    setting.keep(members, places, sizes)
    return int(sizes.ctypes.data)
