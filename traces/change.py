"""Traces changed as a whole: thinned, resampled, re-blocked, made anonymous. Pure functions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .. import TraceError
from ..kernels import kernel
from .gather import gather
from .generate.streams import stream
from .hashing import numbered
from .prefix_tree import compile_tree
from .schema import Trace
from .transform import take


def thin(trace: Trace, share: float, *, seed: int = 0) -> Trace:
    """Keep that share of the sessions, whole, spread evenly over the order in which they begin.

    So the pattern in time stays: in any stretch, the sessions kept are the share of those that
    begin there, to less than one session. The seed decides where the count starts.

    Raises:
        TraceError: the share is not in (0, 1], or no session is left.
    """
    if not 0 < share <= 1:
        raise TraceError(f"{trace.name}: share to keep must be in (0, 1], got {share:g}")
    n_sessions = int(trace.session.max()) + 1
    start = float(stream(seed, "thin").random())
    steps = np.floor(start + share * np.arange(n_sessions + 1))
    is_kept = np.diff(steps) > 0  # sessions are numbered in the order of their first arrival
    rows = np.flatnonzero(is_kept[trace.session])
    if not len(rows):
        raise TraceError(f"{trace.name}: must keep a session, got share {share:g} of {n_sessions}")
    return take(trace, rows)


def resample(trace: Trace, *, factor: float = 1.0, spread_s: float = 60.0, seed: int = 0) -> Trace:
    """Draw sessions with replacement, `factor` times as many as there are (a bootstrap).

    A copy of a session is moved by up to `spread_s` either way. Blocks that only one session
    has are new in each of its copies after the first; blocks that sessions share stay shared.

    Raises:
        TraceError: the factor is not positive, or so small that no session is drawn.
    """
    if not (factor > 0 and np.isfinite(factor) and spread_s >= 0):
        told = f"factor {factor:g}, spread {spread_s:g} s"
        raise TraceError(
            f"{trace.name}: must have a positive factor and no negative spread: {told}"
        )
    n_sessions = int(trace.session.max()) + 1
    n_drawn = round(factor * n_sessions)
    if n_drawn < 1:
        raise TraceError(
            f"{trace.name}: must draw a session, got factor {factor:g} of {n_sessions}"
        )
    rng = stream(seed, "resample")
    drawn = np.sort(rng.integers(0, n_sessions, n_drawn))
    shift_s = rng.uniform(-spread_s, spread_s, n_drawn)
    return copied(trace, drawn, shift_s, own_blocks(trace))


def own_blocks(trace: Trace) -> NDArray[np.bool_]:
    """Say of every id, up to the largest, whether only one session has it."""
    n_ids = int(trace.block_ids.max(initial=-1)) + 1
    session = np.full(n_ids, -1, np.int64)
    is_own = np.ones(n_ids, np.bool_)
    _mark_shared(trace.block_ids, trace.block_offsets, trace.session, session, is_own)
    return is_own


@kernel
def _mark_shared(
    ids: NDArray[np.int64],
    offsets: NDArray[np.int64],
    session: NDArray[np.int64],
    of_id: NDArray[np.int64],
    is_own: NDArray[np.bool_],
) -> None:
    for r in range(offsets.size - 1):
        for k in range(offsets[r], offsets[r + 1]):
            if of_id[ids[k]] < 0:
                of_id[ids[k]] = session[r]
            elif of_id[ids[k]] != session[r]:
                is_own[ids[k]] = False


def copied(
    trace: Trace,
    sessions: NDArray[np.int64],
    shift_s: NDArray[np.float64],
    is_own: NDArray[np.bool_],
) -> Trace:
    """Return a trace of copies of sessions, (n,) sorted, each later by its shift.

    Ids with `is_own` (as many as there are ids) are new in every copy of a session but its first.
    What would come before the start of the clock comes at it.
    """
    by_session = np.argsort(trace.session, kind="stable")
    size = np.bincount(trace.session)
    first = np.cumsum(size) - size
    n_rows = size[sessions]
    n = int(n_rows.sum())
    copy = np.repeat(np.arange(len(sessions)), n_rows)
    within = np.arange(n) - np.repeat(np.cumsum(n_rows) - n_rows, n_rows)
    rows = by_session[first[sessions][copy] + within]
    is_again = np.concatenate([[False], sessions[1:] == sessions[:-1]])
    start = np.cumsum(n_rows) - n_rows
    place = np.full(len(trace) + 1, -1)  # within its session
    place[by_session] = np.arange(len(trace)) - np.repeat(first, size)
    parent = np.where(trace.parent[rows] < 0, -1, start[copy] + place[trace.parent[rows]])
    ids, offsets = gather(trace.block_ids, trace.block_offsets, rows)
    lengths = np.diff(offsets)
    stride = int(trace.block_ids.max(initial=-1)) + 1
    is_new = is_own[ids] & np.repeat(is_again[copy], lengths)
    ids = ids + np.where(is_new, np.repeat(copy, lengths) + 1, 0) * stride
    unsorted = replace(
        trace,
        request_id=np.arange(n),
        arrival_s=np.maximum(trace.arrival_s[rows] + shift_s[copy], 0.0),
        input_tokens=trace.input_tokens[rows],
        output_tokens=trace.output_tokens[rows],
        parent=parent,
        session=copy,
        turn=trace.turn[rows],
        category=trace.category[rows],
        block_ids=ids,
        block_offsets=offsets,
        covered_tokens=trace.covered_tokens[rows],
        think_s=None if trace.think_s is None else trace.think_s[rows],
    )
    moved = take(unsorted, np.argsort(unsorted.arrival_s, kind="stable"))
    return replace(moved, request_id=np.arange(n), block_ids=numbered(moved.block_ids))


def reblock(trace: Trace, block_size: int) -> Trace:
    """Return the trace with ids that stand for `block_size` tokens, of any size.

    A position of a prompt carries the content (its id, its place in that block), so blocks that
    are equal at the new size are those whose last position is. A partial last block is one of
    its own, equal to no full block.

    Raises:
        TraceError: the block size is not positive.
    """
    whole = replace(trace, input_tokens=np.maximum(trace.covered_tokens, trace.input_tokens))
    tree = compile_tree(whole, block_size, partial_blocks=True)
    n_path = tree.path_blocks
    offsets = np.concatenate([[0], np.cumsum(n_path)])
    ids = np.empty(int(offsets[-1]), np.int64)
    _write_paths(tree.parent, tree.first_key, tree.n_blocks, tree.depth, tree.end, offsets, ids)
    return replace(trace, block_size=block_size, block_ids=ids, block_offsets=offsets)


@kernel
def _write_paths(
    parent: NDArray[np.int32],
    first_key: NDArray[np.int64],
    n_blocks: NDArray[np.int32],
    depth: NDArray[np.int32],
    end: NDArray[np.int32],
    offsets: NDArray[np.int64],
    ids: NDArray[np.int64],
) -> None:
    for r in range(end.size):
        s = end[r]
        while s >= 0:
            for k in range(n_blocks[s]):
                ids[offsets[r] + depth[s] + k] = first_key[s] + k
            s = parent[s]


def anonymise(trace: Trace) -> Trace:
    """Leave out what names anything: request ids and block ids become numbers in order of sight.

    Times start at 0. Lengths, types and who shares what with whom stay: they are the trace.
    """
    return replace(
        trace,
        name="anonymous",
        request_id=np.arange(len(trace)),
        arrival_s=trace.arrival_s - trace.arrival_s[0],
        session=numbered(trace.session),
        block_ids=numbered(trace.block_ids),
        dropped={},
    )
