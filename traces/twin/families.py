"""Which sessions belong together: those that share more than what is shared by many."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...kernels import jitted

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
    n_sessions = _sessions_of(ids, offsets, session, by_session, n_ids)
    hot, family, known, creator = _families(ids, offsets, session, n_sessions >= many)
    path, source, kept, blocks, last = _hot_paths(ids, offsets, hot, n_ids)
    return Kinship(hot, family, known, creator, path, source, kept, blocks, n_sessions[last])


@jitted
def _sessions_of(ids: Ints, offsets: Ints, session: Ints, by_session: Ints, n_ids: int) -> Ints:
    """Count the sessions that have each block."""
    latest = np.full(n_ids, -1, np.int64)
    count = np.zeros(n_ids, np.int64)
    for i in range(by_session.size):
        r = by_session[i]
        for k in range(offsets[r], offsets[r + 1]):
            if latest[ids[k]] != session[r]:
                latest[ids[k]] = session[r]
                count[ids[k]] += 1
    return count


@jitted
def _families(
    ids: Ints, offsets: Ints, session: Ints, is_hot: NDArray[np.bool_]
) -> tuple[Ints, Ints, Ints, Ints]:
    n = session.size
    hot = np.zeros(n, np.int64)
    known = np.zeros(n, np.int64)
    creator = np.full(n, -1, np.int64)
    creator_of = np.full(is_hot.size, -1, np.int64)
    up = np.arange(session.max() + 1)
    for r in range(n):
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
    return hot, up, known, creator


@jitted
def _hot_paths(
    ids: Ints, offsets: Ints, hot: Ints, n_ids: int
) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """Number the distinct hot paths in order of first sight, each a part of an earlier and more."""
    path = np.full(hot.size, -1, np.int64)
    ending = np.full(n_ids, -1, np.int64)  # the path that ends with a block
    owner = np.full(n_ids, -1, np.int64)  # the first path that has it
    source = np.empty(hot.size, np.int64)
    kept = np.empty(hot.size, np.int64)
    blocks = np.empty(hot.size, np.int64)
    last = np.empty(hot.size, np.int64)
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
            source[n] = owner[ids[offsets[r] + k - 1]] if k > 0 else -1
            kept[n], blocks[n], last[n] = k, hot[r], end
            ending[end] = n
            n += 1
        path[r] = ending[end]
    return path, source[:n].copy(), kept[:n].copy(), blocks[:n].copy(), last[:n].copy()
