"""How requests are grouped: by request type, and by category, type and turn together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..schema import Sessions, Trace

MOST_TURNS = 6
"""Turns told apart; the last of them stands for all later ones, as in the policies' categories."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """A partition of the requests."""

    code: NDArray[np.int64]
    """(n_requests,): index into `names`."""
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)


def types_of(trace: Trace) -> Groups:
    """Group by request type, as the file names it."""
    return Groups(code=trace.category, names=trace.category_names)


def categories_of(trace: Trace) -> Groups:
    """Group by type and turn, 1 to 5 and all later ones; by type alone if turns are unknown."""
    if not has_turns(trace):
        return types_of(trace)
    turn = np.clip(trace.turn, 1, MOST_TURNS) - 1
    labels = [*(str(t) for t in range(1, MOST_TURNS)), f"{MOST_TURNS}+"]
    return Groups(
        code=trace.category * MOST_TURNS + turn,
        names=tuple(f"{kind}-{label}" for kind in trace.category_names for label in labels),
    )


def has_turns(trace: Trace) -> bool:
    """Say whether turns mean something: they were given, or block ids were there to infer from."""
    if trace.sessions is Sessions.NONE:
        return False
    return trace.sessions is Sessions.GIVEN or bool(trace.covered_tokens.any())


def by_code(
    code: NDArray[np.integer], n_groups: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return entries group by group, each in order, and where groups start, (n_groups + 1,)."""
    small = code.astype(np.uint16) if n_groups < 2**16 else code  # numpy's radix sort
    order = np.argsort(small, kind="stable")
    starts = np.zeros(n_groups + 1, np.int64)
    np.cumsum(np.bincount(code, minlength=n_groups), out=starts[1:])
    return order, starts


def total(weight: NDArray[np.integer] | NDArray[np.float64], groups: Groups) -> NDArray[np.float64]:
    """Sum a column over each group: (n_groups,)."""
    return np.bincount(groups.code, weight.astype(np.float64), len(groups)).astype(np.float64)


def ratio(
    part: NDArray[np.float64], whole: NDArray[np.float64] | NDArray[np.integer]
) -> NDArray[np.float64]:
    """Divide, NaN where there is nothing to divide by."""
    out = np.full(len(part), np.nan)
    np.divide(part, whole, out=out, where=np.asarray(whole) > 0)
    return out
