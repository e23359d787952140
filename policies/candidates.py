"""The candidates in a row, to draw from at random, for compiled policies."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, view
from .base import Setting
from .draws import Generator, draw_below

CANDIDATES = np.dtype([(name, "i8") for name in ("n_items", "n", "members", "places")])

Candidates = int  # the address of a record of CANDIDATES


@inner
def _sizes(c: Candidates) -> Any:
    return view(c, (1,), CANDIDATES)[0]


@inner
def _members(c: Candidates) -> NDArray[np.int32]:
    return view(_sizes(c).members, (_sizes(c).n_items,), np.int32)


@inner
def _places(c: Candidates) -> NDArray[np.int32]:
    return view(_sizes(c).places, (_sizes(c).n_items,), np.int32)


@inner
def n_sampled(c: Candidates, n_samples: int) -> int:
    """Count the samples to look at: all candidates if they are no more than that."""
    return int(min(n_samples, _sizes(c).n))


@inner
def drawn(c: Candidates, generator: Generator) -> int:
    """Draw a candidate."""
    return int(_members(c)[draw_below(generator, _sizes(c).n)])


@inner
def sampled(c: Candidates, generator: Generator, i: int, n_samples: int) -> int:
    """Draw the i-th sample with replacement; all candidates in turn if they are no more."""
    if _sizes(c).n <= n_samples:
        return int(_members(c)[i])
    return drawn(c, generator)


@inner
def join(c: Candidates, x: int) -> None:
    """Note that a block became a candidate."""
    n = _sizes(c).n
    _members(c)[n] = x
    _places(c)[x] = n
    _sizes(c).n = n + 1


@inner
def leave(c: Candidates, x: int) -> None:
    """Note that a block is no candidate any more; the last one takes its place."""
    replace(c, x, _members(c)[_sizes(c).n - 1])
    _sizes(c).n -= 1


@inner
def replace(c: Candidates, x: int, y: int) -> None:
    """Put block `y` in the place of block `x`."""
    place = _places(c)[x]
    _members(c)[place] = y
    _places(c)[y] = place


def make_candidates(setting: Setting) -> Candidates:
    """Make an empty row, which lives as long as the run."""
    members, places = np.zeros((2, setting.n_items), np.int32)
    sizes = np.zeros(1, CANDIDATES)
    sizes["n_items"] = setting.n_items
    sizes["members"], sizes["places"] = members.ctypes.data, places.ctypes.data
    setting.keep(members, places, sizes)
    return int(sizes.ctypes.data)
