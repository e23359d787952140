"""What eviction left: hits of the optimum on a run's own admissions, beside the run's, and where.

For each instance the requests it finished are placed one at a time, in order of admission, in a
cache of the same blocks under the optimum. The real run also loses blocks to requests that run
at the same time, and computes at least one token of every prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..sim.config import EngineConfig
from ..sim.records import FINISHED
from ..traces.prefix_tree import PrefixTree
from .optimum import optimum_replay

Tokens = NDArray[np.int64]


def bound_tokens(
    tree: PrefixTree,
    requests: NDArray[Any],
    engine: EngineConfig,
    n_instances: int,
    *,
    n_lower_blocks: int = 0,
    is_shared: bool = False,
) -> Tokens:
    """Prompt tokens of each request that the optimum hits, (n_requests,); 0 if it never ran.

    Lower tiers add their blocks, `n_lower_blocks` in all: tiers hold no more between them, however
    they are filled. Where instances share a tier (`is_shared`) the bound is one cache of all.
    """
    tokens = np.zeros(len(requests), np.int64)
    if not engine.prefix_caching:
        return tokens
    for order, own, capacity in placements(
        tree, requests, engine, n_instances, n_lower_blocks=n_lower_blocks, is_shared=is_shared
    ):
        hits = optimum_replay(own, capacity)
        prompt_blocks = requests["input_tokens"][order] // engine.block_size
        tokens[order] = np.minimum(hits, prompt_blocks).astype(np.int64) * engine.block_size
    return tokens


def placements(
    tree: PrefixTree,
    requests: NDArray[Any],
    engine: EngineConfig,
    n_instances: int,
    *,
    n_lower_blocks: int = 0,
    is_shared: bool = False,
) -> Iterator[tuple[NDArray[np.int64], PrefixTree, int]]:
    """Give for each cache the rows of its requests in order of admission, their tree, its blocks.

    Arguments as of `bound_tokens`.
    """
    is_done = requests["status"] == FINISHED
    capacity = engine.gpu_blocks - 1 + n_lower_blocks // n_instances
    group = requests["instance"]
    if is_shared:
        capacity = n_instances * (engine.gpu_blocks - 1) + n_lower_blocks
        group = np.zeros_like(group)
    for i in range(1 if is_shared else n_instances):
        mine = np.flatnonzero((group == i) & is_done)
        order = mine[np.argsort(requests["first_scheduled_s"][mine], kind="stable")]
        yield order, replace(tree, end=np.ascontiguousarray(tree.end[order])), capacity


def regret_tables(
    requests: NDArray[Any],
    bound: Tokens,
    *,
    groups: dict[str, tuple[NDArray[Any], list[str]]],
    block_size: int,
) -> dict[str, list[dict[str, Any]]]:
    """Split lookups, hits and bound of the finished requests; regrets of a table add up.

    `groups` gives each split's code of every request and the codes' names; depth comes on top.
    """
    is_done = requests["status"] == FINISHED
    lookups, hits = (
        requests[name].astype(np.int64) * is_done for name in ("input_tokens", "cached_tokens")
    )
    total = int(lookups.sum())
    tables = {}
    for split, (code, names) in groups.items():
        sums = [
            np.bincount(code, weights=tokens, minlength=len(names)).astype(np.int64).tolist()
            for tokens in (lookups, hits, bound)
        ]
        n_requests = np.bincount(code[is_done], minlength=len(names)).tolist()
        tables[split] = [
            _row(name, found, total)
            for name, n, *found in zip(names, n_requests, *sums, strict=True)
            if n
        ]
    tables["depth"] = _by_depth(lookups, hits, bound, block_size, total)
    return tables


def regret_by_tier(
    requests: NDArray[Any], bounds: dict[str, Tokens], hits: dict[str, Tokens]
) -> list[dict[str, Any]]:
    """Split the hits of the finished requests by tier, fastest first; the regrets add up.

    `bounds` are what the optimum hits in each tier and those above it: its hits in a tier alone
    are the difference to the tier above, which no policy exceeds in all tiers down to one (Gill,
    FAST 2008). `hits` are the run's in each tier alone. What is not found in a tier is looked up
    in the next.
    """
    is_done = requests["status"] == FINISHED
    rows = []
    lookups = int(requests["input_tokens"].astype(np.int64)[is_done].sum())
    total = lookups
    above = 0
    for name, bound in bounds.items():
        found = int(hits[name].astype(np.int64)[is_done].sum())
        best = int(bound[is_done].sum())
        rows.append(_row(name, (lookups, found, best - above), total))
        lookups -= found
        above = best
    return rows


def _by_depth(
    lookups: Tokens, hits: Tokens, bound: Tokens, block_size: int, total: int
) -> list[dict[str, Any]]:
    """Split by distance from the prompt's start, in blocks: each range as deep as all before."""
    longest = int(lookups.max(initial=0))
    rows = []
    start = 0
    while start * block_size < longest:
        end = max(2 * start, 16)
        low, high = start * block_size, end * block_size
        found = [
            int(np.clip(tokens - low, 0, high - low).sum()) for tokens in (lookups, hits, bound)
        ]
        rows.append(_row(f"{start}-{end - 1}", found, total))
        start = end
    return rows


def _row(name: str, found: Sequence[int], total: int) -> dict[str, Any]:
    lookups, hits, bound = found
    return {
        "name": name,
        "lookup_tokens": lookups,
        "hit_tokens": hits,
        "bound_tokens": bound,
        "regret_tokens": (bound - hits) / total if total else None,
    }
