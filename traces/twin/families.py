"""Which sessions belong together: those that share more than what is shared by many."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...kernels import kernel

Ints = NDArray[np.int64]


class Kinship(NamedTuple):
    """Who shares what, of a trace with dense ids."""

    hot_blocks: Ints
    """(n_requests,): leading blocks of each request that many sessions have."""
    family: Ints
    """(n_sessions,): the lowest session of those it shares other blocks with, directly or not."""
    n_known: Ints
    """(n_requests,): leading blocks that an earlier request had."""
    creator: Ints
    """(n_requests,): the request that first had the last known block; -1: none known."""
    hot_path: Ints
    """(n_requests,): number of the path of its hot blocks, -1: none."""
    path_source: Ints
    """(n_paths,): an earlier hot path that this one begins as, -1: none."""
    path_kept: Ints
    """(n_paths,): how many blocks of that."""
    path_blocks: Ints
    """(n_paths,): blocks of the path."""
    path_sessions: Ints
    """(n_paths,): sessions that have its last block."""


def kinship(ids: Ints, offsets: Ints, session: Ints, *, many: int) -> Kinship:
    """Find families, with blocks of at least `many` sessions counting as common to all."""
    n_ids = int(ids.max(initial=-1)) + 1
    by_session = np.argsort(session, kind="stable")
    n_sessions = np.zeros(n_ids, np.int64)
    _count_sessions(ids, offsets, session, by_session, np.full(n_ids, -1, np.int64), n_sessions)
    hot, known = np.zeros((2, session.size), np.int64)
    creator = np.full(session.size, -1, np.int64)
    family = np.arange(session.max(initial=-1) + 1)
    creator_of = np.full(n_ids, -1, np.int64)
    is_hot = n_sessions >= many
    _find_families(ids, offsets, session, is_hot, creator_of, hot, family, known, creator)
    paths = _HotPaths(*(np.full(session.size, -1, np.int64) for _ in _HotPaths._fields))
    ending, owner = np.full((2, n_ids), -1, np.int64)
    n = _find_hot_paths(ids, offsets, hot, ending, owner, paths)
    source, kept, blocks, last = (values[:n].copy() for values in paths[1:])
    return Kinship(hot, family, known, creator, paths.path, source, kept, blocks, n_sessions[last])


class _HotPaths(NamedTuple):
    """Room for what `Kinship` says of hot paths, as many as there may be."""

    path: Ints
    source: Ints
    kept: Ints
    blocks: Ints
    last: Ints
    """The last block of each."""


@kernel
def _count_sessions(
    ids: Ints, offsets: Ints, session: Ints, by_session: Ints, latest: Ints, count: Ints
) -> None:
    """Count the sessions that have each block; `latest` is all -1."""
    for i in range(by_session.size):
        r = by_session[i]
        for k in range(offsets[r], offsets[r + 1]):
            if latest[ids[k]] != session[r]:
                latest[ids[k]] = session[r]
                count[ids[k]] += 1


@kernel
def _find_families(
    ids: Ints,
    offsets: Ints,
    session: Ints,
    is_hot: NDArray[np.bool_],
    creator_of: Ints,
    hot: Ints,
    up: Ints,
    known: Ints,
    creator: Ints,
) -> None:
    """Fill the last four; `up` is each session's family, at first itself."""
    for r in range(session.size):
        start, end = offsets[r], offsets[r + 1]
        k = start
        while k < end and is_hot[ids[k]]:
            k += 1
        hot[r] = k - start
        if k < end and creator_of[ids[k]] >= 0:  # the first block that is not common to all
            a, b = session[r], session[creator_of[ids[k]]]
            while up[a] != a:
                up[a] = up[up[a]]
                a = up[a]
            while up[b] != b:
                up[b] = up[up[b]]
                b = up[b]
            up[max(a, b)] = min(a, b)
        k = start
        while k < end and creator_of[ids[k]] >= 0:
            k += 1
        known[r] = k - start
        if k > start:
            creator[r] = creator_of[ids[k - 1]]
        while k < end:
            creator_of[ids[k]] = r
            k += 1
    for s in range(up.size):
        up[s] = up[up[s]]  # smaller sessions are done: one step reaches the lowest


@kernel
def _find_hot_paths(
    ids: Ints, offsets: Ints, hot: Ints, ending: Ints, owner: Ints, out: _HotPaths
) -> int:
    """Number the distinct hot paths in order of first sight, each a part of an earlier and more.

    Of each block, `ending` is the path that ends with it and `owner` the first that has it, at
    first -1. Returns how many there are.
    """
    n = 0
    for r in range(hot.size):
        if hot[r] == 0:
            continue
        end = ids[offsets[r] + hot[r] - 1]
        if ending[end] < 0:
            k = hot[r]
            while k > 0 and owner[ids[offsets[r] + k - 1]] < 0:
                owner[ids[offsets[r] + k - 1]] = n
                k -= 1
            out.source[n] = owner[ids[offsets[r] + k - 1]] if k > 0 else -1
            out.kept[n], out.blocks[n], out.last[n] = k, hot[r], end
            ending[end] = n
            n += 1
        out.path[r] = ending[end]
    return n
