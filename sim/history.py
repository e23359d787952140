"""What a policy may know of a trace before a run: its first part, and which block follows which."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..policies.base import History, Policy
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


def rehearsal_of(
    tree: PrefixTree,
    arrival_s: NDArray[np.float64],
    category: NDArray[np.int32],
    category_names: tuple[str, ...],
    *,
    seed: int,
) -> Callable[[Policy, float, int], int]:
    """Return a function that replays a share of the requests under a policy: blocks hit."""

    def rehearse(policy: Policy, share: float, capacity_blocks: int) -> int:
        from .prefix_replay import replay  # which offers rehearsals itself

        n = int(len(tree.end) * share)
        hits = replay(
            tree.head(n),
            policy,
            capacity_blocks,
            arrival_s=arrival_s[:n],
            category=category[:n].astype(np.int64),
            category_names=category_names,
            seed=seed,
        )
        return int(hits.sum(dtype=np.int64))

    return rehearse


def parent_keys_of(
    tree: PrefixTree, n_private: NDArray[np.int64] | None = None
) -> Callable[[], NDArray[np.int32]]:
    """Return a function that gives the key above each key of a tree, -1 for none.

    Behind the tree's keys come `n_private` keys of each request, if given: what it computes
    beyond its path, one below the other.
    """

    def parent_keys() -> NDArray[np.int32]:
        above = np.arange(-1, tree.n_keys - 1, dtype=np.int32)
        last = (tree.first_key + tree.n_blocks - 1).astype(np.int32)
        above[tree.first_key] = np.where(tree.parent >= 0, last[tree.parent], -1)
        if n_private is None:
            return above
        private = np.arange(tree.n_keys - 1, tree.n_keys + int(n_private.sum()) - 1, dtype=np.int32)
        first = np.cumsum(n_private) - n_private
        last_key = (tree.first_key + tree.n_blocks - 1)[tree.end] if len(tree.parent) else 0
        has_any = n_private > 0
        private[first[has_any]] = np.where(tree.end >= 0, last_key, -1)[has_any]
        return np.concatenate((above, private))

    return parent_keys
