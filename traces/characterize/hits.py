"""What a boundless cache would hit: by definition, by request type, within and across sessions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...kernels import kernel
from ..prefix_tree import PrefixTree
from ..schema import Trace
from .groups import has_turns, ratio, total, types_of
from .reuses import Reuses


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """Hits if nothing were ever evicted; counted in blocks but for the definitions."""

    by_definition: dict[str, float | None]
    """Ideal hit ratio by how it is counted; see `ideal_hit_ratios`."""
    types: tuple[str, ...]
    ratio: NDArray[np.float64]
    """(n_types,): hit blocks of the type's blocks; NaN for a type without blocks."""
    within: NDArray[np.float64] | None
    """(n_types,): hit blocks that the session had used before, of the type's blocks."""
    within_share: float | None
    """Hits on blocks that the same session had used before, of all hits."""
    first_turn_share: float | None
    """Hits of requests that continue no other, of all hits."""
    single_session_ratio: float | None
    """Ideal hit ratio of the requests that are alone in their session."""
    other_session_ratio: float | None
    """Ideal hit ratio of all others."""
    session_ratio: float | None
    """Ideal hit ratio if every session had a boundless cache of its own."""


def hits_of(trace: Trace, reuses: Reuses) -> Hits:
    """Measure ideal hits."""
    kinds = types_of(trace)
    accesses = total(reuses.path_blocks, kinds)
    n_blocks = int(reuses.path_blocks.sum())
    n_hits = int(reuses.known.sum())
    within = within_share = first = single = other = session_ratio = None
    if has_turns(trace):
        own = _known_in_session(trace, reuses.tree)
        is_alone = (np.bincount(trace.session) == 1)[trace.session]
        within = ratio(total(own, kinds), accesses)
        within_share = _share(int(own.sum()), n_hits)
        session_ratio = _share(int(own.sum()), n_blocks)
        first = _share(int(reuses.known[trace.parent < 0].sum()), n_hits)
        single, other = (
            _share(int(reuses.known[rows].sum()), int(reuses.path_blocks[rows].sum()))
            for rows in (is_alone, ~is_alone)
        )
    return Hits(
        by_definition=ideal_hit_ratios(trace, reuses),
        types=kinds.names,
        ratio=ratio(total(reuses.known, kinds), accesses),
        within=within,
        within_share=within_share,
        first_turn_share=first,
        single_session_ratio=single,
        other_session_ratio=other,
        session_ratio=session_ratio,
    )


def ideal_hit_ratios(trace: Trace, reuses: Reuses) -> dict[str, float | None]:
    """Return the ideal hit ratio under each definition in use; None if there is nothing to count.

    - `blocks`: hit blocks of all prompt blocks, partial last ones included; what papers publish.
    - `tokens`: their tokens, of all prompt tokens.
    - `full_blocks`: full blocks only, cached and counted.
    - `engine_tokens`: tokens of full blocks that leave at least one token to compute, of all
      prompt tokens; what an engine can skip.
    - `blocks_with_outputs`: as `blocks`, if outputs are cached as well. What a request generated
      is known from its children: where a child's prompt holds all of a parent's full blocks, its
      next blocks, as far as prompt and output of the parent reach, were cached.
    """
    size = reuses.tree.block_size
    prompt = np.minimum(trace.input_tokens, trace.covered_tokens)
    n_full = prompt // size
    known, n_blocks = reuses.known, reuses.path_blocks
    with_outputs = _known_with_outputs(trace, reuses, n_full)
    usable = np.minimum(known, np.maximum(trace.input_tokens - 1, 0) // size)
    usable = np.minimum(usable, n_full)
    pairs = {
        "blocks": (known.sum(), n_blocks.sum()),
        "tokens": (np.minimum(known * size, prompt).sum(), trace.input_tokens.sum()),
        "full_blocks": (np.minimum(known, n_full).sum(), n_full.sum()),
        "engine_tokens": ((usable * size).sum(), trace.input_tokens.sum()),
        "blocks_with_outputs": (with_outputs.sum(), n_blocks.sum()),
    }
    return {name: _share(int(part), int(whole)) for name, (part, whole) in pairs.items()}


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _known_with_outputs(
    trace: Trace, reuses: Reuses, n_full: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Leading blocks of each request that earlier prompts had, or its parent's output made."""
    known = reuses.known.copy()
    child = np.flatnonzero(trace.parent >= 0)
    if not len(child):
        return known
    parent = trace.parent[child]
    tree = reuses.tree
    shared = np.zeros(len(child), np.int64)
    _common_blocks(
        tree.parent, tree.depth, tree.n_blocks, tree.end[child], tree.end[parent], shared
    )
    # the last sampled token is never computed, so it completes no block
    reach = (trace.total_tokens[parent] - 1) // tree.block_size
    made = np.where(shared >= n_full[parent], np.minimum(reach, n_full[child]), 0)
    known[child] = np.maximum(known[child], made)
    return known


def _known_in_session(trace: Trace, tree: PrefixTree) -> NDArray[np.int64]:
    """Leading blocks of each request that its own session used before, (n_requests,)."""
    known = np.zeros(len(trace), np.int64)
    order = np.argsort(trace.session, kind="stable")
    stamp = np.full(len(tree.parent), -1, np.int64)
    _walk_sessions(
        tree.parent, tree.depth, tree.n_blocks, tree.end, order, trace.session, stamp, known
    )
    return known


@kernel
def _walk_sessions(
    parent: NDArray[np.int32],
    depth: NDArray[np.int32],
    n_blocks: NDArray[np.int32],
    end: NDArray[np.int32],
    order: NDArray[np.int64],
    session: NDArray[np.int64],
    stamp: NDArray[np.int64],
    known: NDArray[np.int64],
) -> None:
    """One session after the other; what a session used is a tree, so the walk up stops in it."""
    for i in range(len(order)):
        row = order[i]
        s = end[row]
        while s >= 0 and stamp[s] != session[row]:
            stamp[s] = session[row]
            s = parent[s]
        if s >= 0:
            known[row] = depth[s] + n_blocks[s]


@kernel
def _common_blocks(
    parent: NDArray[np.int32],
    depth: NDArray[np.int32],
    n_blocks: NDArray[np.int32],
    one: NDArray[np.int32],
    other: NDArray[np.int32],
    shared: NDArray[np.int64],
) -> None:
    """Blocks that two paths, given by their ends, begin with: a child has a larger number."""
    for i in range(len(one)):
        a, b = one[i], other[i]
        while a != b and a >= 0 and b >= 0:
            if a > b:
                a = parent[a]
            else:
                b = parent[b]
        if a == b and a >= 0:
            shared[i] = depth[a] + n_blocks[a]
