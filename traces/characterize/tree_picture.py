"""The part of the prefix tree with the most hits, small enough to be drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...kernels import kernel
from ..schema import Trace
from .reuses import Reuses

MOST_NODES = 150
MOST_LEVELS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TreePicture:
    """The segments below which the most hits lie; a node is a run of blocks."""

    parent: NDArray[np.int64]
    """(n_nodes,): index of the node above, -1 for one that begins prompts."""
    requests: NDArray[np.int64]
    """(n_nodes,): requests that use it."""
    blocks: NDArray[np.int64]
    """(n_nodes,)"""
    depth: NDArray[np.int64]
    """(n_nodes,): blocks above it."""
    hits: NDArray[np.int64]
    """(n_nodes,): blocks of it that an unbounded cache hits, over all requests."""
    category: NDArray[np.int64]
    """(n_nodes,): type of the request that made it."""
    types: tuple[str, ...]
    n_segments: int
    """Segments of the whole tree."""
    n_hits: int
    """Hits on the whole tree."""


def tree_picture_of(trace: Trace, reuses: Reuses) -> TreePicture:
    """Choose the segments with the most hits on and below them, so all above a chosen one too."""
    tree = reuses.tree
    hits = (reuses.n_uses - 1) * tree.n_blocks
    below = hits.copy()
    _add_to_parents(tree.parent, below)
    # a parent has at least its child's hits and a smaller number, so it comes first
    order = np.argsort(-below, kind="stable")[: 20 * MOST_NODES]
    place: dict[int, int] = {}
    levels: list[int] = []
    for segment in order.tolist():
        above = int(tree.parent[segment])
        if below[segment] == 0 or len(place) == MOST_NODES:
            break
        if above >= 0 and above not in place:
            continue
        level = levels[place[above]] + 1 if above >= 0 else 1
        if level <= MOST_LEVELS:
            place[segment] = len(levels)
            levels.append(level)
    picked = np.array(list(place), np.int64)
    return TreePicture(
        parent=np.array([place.get(int(tree.parent[s]), -1) for s in place], np.int64),
        requests=reuses.n_uses[picked],
        blocks=tree.n_blocks[picked].astype(np.int64),
        depth=tree.depth[picked].astype(np.int64),
        hits=hits[picked],
        category=trace.category[reuses.first_use[picked]],
        types=trace.category_names,
        n_segments=len(tree.parent),
        n_hits=int(reuses.known.sum()),
    )


@kernel
def _add_to_parents(parent: NDArray[np.int32], weight: NDArray[np.int64]) -> None:
    for s in range(len(parent) - 1, -1, -1):
        if parent[s] >= 0:
            weight[parent[s]] += weight[s]
