"""The first part of a trace, for a policy that learns before a run. Knows no cache."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..policies.base import History
from ..traces.prefix_tree import PrefixTree


def first_part_of(
    tree: PrefixTree, arrival_s: NDArray[np.float64], category: NDArray[np.int32]
) -> Callable[[float], History]:
    """Return a function that gives a share of the requests, from the first on."""

    def first_part(share: float) -> History:
        n = int(len(tree.end) * share)
        head = tree.head(n)
        return History(
            arrival_s=arrival_s[:n],
            category=category[:n],
            end=head.end,
            parent=head.parent,
            n_blocks=head.n_blocks,
            depth=head.depth,
        )

    return first_part
