"""The most recompute time that a cache can save, where deep blocks cost more than shallow ones.

A block's worth grows with its depth, so fewest misses is no longer least time. The bound drops
the demand that a block is of use only below cached ones, which makes the rest a flow
(`interval_flow`), exact for that; if worth does not grow with depth nothing was dropped, and it
is the optimum. Bundles are cut into pieces, each worth as much as its dearest block, so the
bound stays one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..traces.prefix_tree import PrefixTree
from ..traces.runs import find_runs
from .interval_flow import Bundles, most_worth

MAX_PIECES = 60_000
"""Pieces are as short as keeps their number below this, or one a bundle."""
MAX_FLOW_REQUESTS = 50_000
"""With more requests, the budget form takes the place of the flow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedBound:
    """No prefix cache of the capacity saves more than `saved`."""

    saved: float
    """In the unit of the worths."""
    method: str
    """flow, or budget."""
    piece_blocks: int
    """Longest piece."""


def weighted_bound(
    tree: PrefixTree,
    capacity: int,
    worth: NDArray[np.float64],
    *,
    longest: int | None = None,
    piece_blocks: int = 1,
    max_flow_requests: int = MAX_FLOW_REQUESTS,
) -> WeightedBound:
    """Bound what hits save if a hit block at depth d is worth `worth[d]`, all requests included.

    Requests of more than `longest` blocks, by default the capacity, are refused. Pieces have
    at least `piece_blocks` blocks.
    """
    most = capacity if longest is None else longest
    pieces, piece_blocks = _pieces(tree, most, worth, piece_blocks)
    path_blocks = tree.path_blocks
    room = capacity - np.where(path_blocks <= most, path_blocks, 0)
    if len(tree.end) > max_flow_requests:
        saved = budget_bound(pieces, room)
        return WeightedBound(saved=saved, method="budget", piece_blocks=piece_blocks)
    kept = most_worth(pieces, room)
    saved = float(kept @ pieces.worth)
    return WeightedBound(saved=saved, method="flow", piece_blocks=piece_blocks)


def budget_bound(bundles: Bundles, room_beside: NDArray[np.int64]) -> float:
    """Bound the same by the total room alone: block-requests held against those there are.

    Looser than the flow, but one sort (PFOO-L of Berger, Beckmann and Harchol-Balter,
    POMACS 2018, with the running request's own blocks taken off the room).
    """
    n_beside = bundles.next_use - bundles.first - 1
    free = n_beside == 0
    total = float(bundles.n_blocks[free] @ bundles.worth[free])
    held = n_beside[~free].astype(np.float64)
    order = np.argsort(-bundles.worth[~free] / held, kind="stable")
    volume = (held * bundles.n_blocks[~free])[order]
    value = (bundles.worth[~free] * bundles.n_blocks[~free])[order]
    left = float(room_beside.sum()) - (np.cumsum(volume) - volume)
    share = np.clip(left / np.maximum(volume, 1.0), 0.0, 1.0)
    return total + float(share @ value)


def bundles(tree: PrefixTree, longest: int) -> tuple[Bundles, NDArray[np.int64]]:
    """Return all reuses of the requests that fit, worth 1 a block, and the depth of each's top."""
    runs = find_runs(tree, longest)
    n_blocks = runs.n_blocks.astype(np.int64)
    request = np.repeat(np.arange(len(runs.path_blocks)), np.diff(runs.offsets))
    # deepest first: above a run lie all that follow it in its request
    upto = np.append(np.cumsum(n_blocks), 0)
    end_of_request = upto[runs.offsets[request + 1] - 1] if len(request) else request
    depth = end_of_request - upto[:-1]
    found = Bundles(runs.last_use.astype(np.int64), request, n_blocks, np.ones(len(request)))
    return found, depth


def _pieces(
    tree: PrefixTree, longest: int, worth: NDArray[np.float64], piece_blocks: int
) -> tuple[Bundles, int]:
    """Cut bundles into pieces, each with its dearest block's worth; return their length too."""
    whole, depth = bundles(tree, longest)
    while (-(-whole.n_blocks // piece_blocks)).sum() > max(MAX_PIECES, len(depth)):
        piece_blocks *= 2
    n_pieces = -(-whole.n_blocks // piece_blocks)
    of = np.repeat(np.arange(len(depth)), n_pieces)
    nth = np.arange(len(of)) - np.repeat(np.cumsum(n_pieces) - n_pieces, n_pieces)
    start = nth * piece_blocks
    n_blocks = np.minimum(piece_blocks, whole.n_blocks[of] - start)
    top = depth[of] + start
    dearest = np.zeros(len(of))
    for k in range(piece_blocks):
        at = np.minimum(k, n_blocks - 1)
        dearest = np.maximum(dearest, worth[top + at])
    return Bundles(whole.first[of], whole.next_use[of], n_blocks, dearest), piece_blocks
