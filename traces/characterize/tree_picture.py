"""The part of the prefix tree that most requests share, small enough to be drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..schema import Trace
from .reuses import Reuses

MOST_NODES = 150
MOST_LEVELS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class TreePicture:
    """The most used segments; a node is a run of blocks that the same requests share."""

    parent: NDArray[np.int64]
    """(n_nodes,): index of the node above, -1 for one that begins prompts."""
    requests: NDArray[np.int64]
    """(n_nodes,): requests that use it; at least those of all its children together."""
    blocks: NDArray[np.int64]
    """(n_nodes,)"""
    depth: NDArray[np.int64]
    """(n_nodes,): blocks above it."""
    category: NDArray[np.int64]
    """(n_nodes,): type of the request that made it."""
    types: tuple[str, ...]
    n_requests: int
    """Requests of the whole trace that have blocks."""
    n_segments: int
    """Segments of the whole tree."""
    hit_share: float | None
    """Hits on the drawn nodes, of all hits of an unbounded cache."""


def tree_picture_of(trace: Trace, reuses: Reuses) -> TreePicture:
    """Choose the segments that the most requests use; whatever is chosen, so is all above it."""
    tree = reuses.tree
    # as many candidates as needed: a parent has a smaller number and as many uses as its child
    order = np.argsort(-reuses.n_uses, kind="stable")[: 20 * MOST_NODES]
    place: dict[int, int] = {}
    chosen: list[int] = []
    levels: list[int] = []
    for segment in order.tolist():
        above = int(tree.parent[segment])
        if above >= 0 and above not in place:
            continue
        depth = levels[place[above]] + 1 if above >= 0 else 1
        if depth > MOST_LEVELS:
            continue
        place[segment] = len(chosen)
        chosen.append(segment)
        levels.append(depth)
        if len(chosen) == MOST_NODES:
            break
    picked = np.array(chosen, np.int64)
    n_hits = int(reuses.known.sum())
    drawn = int(((reuses.n_uses - 1) * tree.n_blocks)[picked].sum())
    return TreePicture(
        parent=np.array([place.get(int(tree.parent[s]), -1) for s in chosen], np.int64),
        requests=reuses.n_uses[picked],
        blocks=tree.n_blocks[picked].astype(np.int64),
        depth=tree.depth[picked].astype(np.int64),
        category=trace.category[reuses.first_use[picked]],
        types=trace.category_names,
        n_requests=int((tree.end >= 0).sum()),
        n_segments=len(tree.parent),
        hit_share=drawn / n_hits if n_hits else None,
    )
