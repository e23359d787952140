"""Feature caches of graph sampling, the domain that look-ahead eviction comes from, compiled.

Mini-batches for training a graph network are sampled ahead, so the nodes of the next few are
known. Their features are cached in sets of `WAYS` lines, a line a node. A line knows a static
score of its node, set when it is filled, and how many batches away its next use is, refreshed
before every batch from a window of known ones: NONE if it is not in the window, FRESH if the
line was filled since. As published, the window starts after the batch about to be served, and a
hit changes nothing. Victims are, of equal ones the lowest way:

- dynamic: the furthest next use, NONE before FRESH before known;
- static: the lowest score;
- hybrid: the lowest score of the first class that is not empty: 1 NONE, 2 known and further
  than a threshold, 3 FRESH, 4 known and near; or class 2 before 1, if lines of known use come
  back from a victim buffer.

The victim buffer keeps evicted lines of known next use, and has them ready before their batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, kernel

WAYS = 32
NONE = 0xFFFF
FRESH = 0xFFFE
_NEVER = 1 << 30


class Eviction(IntEnum):
    """Which line of a full set goes."""

    RANDOM = 0
    ROUND_ROBIN = 1
    LRU = 2
    STATIC = 3
    DYNAMIC = 4
    HYBRID = 5
    HYBRID_KNOWN_FIRST = 6
    BELADY = 7


_RANDOM, _ROUND_ROBIN, _LRU, _STATIC, _DYNAMIC, _HYBRID, _KNOWN_FIRST, _BELADY = map(int, Eviction)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """Distinct nodes of each mini-batch."""

    n_nodes: int
    offsets: NDArray[np.int64]
    """(n_batches + 1,): batch b has `nodes[offsets[b]:offsets[b + 1]]`."""
    nodes: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Where the nodes of each batch were found, (n_batches,) each."""

    n_nodes: NDArray[np.int64]
    hits: NDArray[np.int64]
    """In the cache."""
    staged: NDArray[np.int64]
    """Brought back from the victim buffer in time."""

    def hit_ratio(self, first: int = 0) -> float:
        """Share found in the cache or staged, from batch `first` on."""
        found = self.hits[first:].sum() + self.staged[first:].sum()
        return float(found / self.n_nodes[first:].sum())

    def staged_ratio(self, first: int = 0) -> float:
        """Share that was staged, from batch `first` on."""
        return float(self.staged[first:].sum() / self.n_nodes[first:].sum())


def serve(
    batches: Batches,
    n_lines: int,
    eviction: Eviction,
    *,
    score: NDArray[np.uint8] | None = None,
    window: int = 8,
    has_victim_buffer: bool = False,
    seed: int = 0,
) -> Served:
    """Serve the batches in order; `n_lines` are rounded down to whole sets of `WAYS`.

    `score` ranks nodes for static and hybrid; `window` is the number of batches known ahead.
    """
    n_sets = n_lines // WAYS
    found = np.zeros((2, len(batches.offsets) - 1), np.int64)
    shape = (n_sets, WAYS)
    cache = (
        np.full(shape, -1, np.int64),
        np.full(shape, NONE, np.int64),
        np.zeros(shape, np.int64),
        np.zeros(n_sets, np.int64),
        np.full(batches.n_nodes, -1, np.int64),
        np.full(batches.n_nodes, -1, np.int64),
    )
    next_use = _next_uses(batches) if eviction is Eviction.BELADY else np.zeros(1, np.int64)
    scores = np.zeros(batches.n_nodes, np.uint8) if score is None else score
    random = np.random.default_rng(seed).integers(0, WAYS, len(batches.nodes))
    _serve(
        *cache,
        batches.offsets,
        batches.nodes,
        next_use,
        scores,
        random,
        int(eviction),
        window,
        int(has_victim_buffer),
        found,
    )
    return Served(n_nodes=np.diff(batches.offsets), hits=found[0], staged=found[1])


def serve_by_owner(
    batches: Batches, n_lines: int, eviction: Eviction, *, n_owners: int
) -> list[Served]:
    """Serve from `n_owners` caches of `n_lines` each, a node in that of its number's remainder.

    One result an owner: what it served of each batch.
    """
    of_batch = np.repeat(np.arange(len(batches.offsets) - 1), np.diff(batches.offsets))
    found = []
    for owner in range(n_owners):
        is_mine = batches.nodes % n_owners == owner
        sizes = np.bincount(of_batch[is_mine], minlength=len(batches.offsets) - 1)
        mine = Batches(
            n_nodes=-(-batches.n_nodes // n_owners),
            offsets=np.concatenate(([0], np.cumsum(sizes))),
            nodes=batches.nodes[is_mine] // n_owners,
        )
        found.append(serve(mine, n_lines, eviction))
    return found


def _next_uses(batches: Batches) -> NDArray[np.int64]:
    """Position of each node's next use, (n,)."""
    order = np.argsort(batches.nodes, kind="stable")
    found = np.full(len(order), _NEVER)
    is_same = batches.nodes[order[1:]] == batches.nodes[order[:-1]]
    found[order[:-1][is_same]] = order[1:][is_same]
    return found


@kernel
def _serve(
    tag: NDArray[np.int64],
    distance: NDArray[np.int64],
    touched: NDArray[np.int64],
    turn: NDArray[np.int64],
    line_of: NDArray[np.int64],
    staged_for: NDArray[np.int64],
    offsets: NDArray[np.int64],
    nodes: NDArray[np.int64],
    next_use: NDArray[np.int64],
    score: NDArray[np.uint8],
    random: NDArray[np.int64],
    eviction: int,
    window: int,
    has_victim_buffer: int,
    found: NDArray[np.int64],
) -> None:
    """Serve all batches; count in `found`, (2, n_batches), the hits and the staged nodes of each.

    `touched` is the last use of a line, or for belady its next one. `line_of` is the line of a
    cached node; `staged_for` the batch that the victim buffer keeps a node for.
    """
    n_sets = len(tag)
    for b in range(len(offsets) - 1):
        if eviction in (_DYNAMIC, _HYBRID, _KNOWN_FIRST):
            _refresh(distance, line_of, offsets, nodes, b, window)
        for at in range(offsets[b], offsets[b + 1]):
            node = nodes[at]
            line = line_of[node]
            if line >= 0:
                found[0, b] += 1
                s, way = line // WAYS, line % WAYS
            else:
                if staged_for[node] == b:
                    found[1, b] += 1
                staged_for[node] = -1
                s = node % n_sets
                way = _victim(tag, distance, touched, turn, score, random[at], eviction, window, s)
                old = tag[s, way]
                if old >= 0:
                    line_of[old] = -1
                    if has_victim_buffer and distance[s, way] < FRESH:
                        staged_for[old] = b + 1 + distance[s, way]
                tag[s, way] = node
                distance[s, way] = FRESH
                line_of[node] = s * WAYS + way
            touched[s, way] = next_use[at] if eviction == _BELADY else at


@inner
def _refresh(
    distance: NDArray[np.int64],
    line_of: NDArray[np.int64],
    offsets: NDArray[np.int64],
    nodes: NDArray[np.int64],
    b: int,
    window: int,
) -> None:
    """Set the distances of all lines as they are known before batch `b`: 0 is the batch after."""
    for s in range(len(distance)):
        for way in range(WAYS):
            distance[s, way] = NONE
    for ahead in range(window - 1, -1, -1):
        batch = b + 1 + ahead
        if batch >= len(offsets) - 1:
            continue
        for at in range(offsets[batch], offsets[batch + 1]):
            line = line_of[nodes[at]]
            if line >= 0:
                distance[line // WAYS, line % WAYS] = ahead


@inner
def _victim(
    tag: NDArray[np.int64],
    distance: NDArray[np.int64],
    touched: NDArray[np.int64],
    turn: NDArray[np.int64],
    score: NDArray[np.uint8],
    random: int,
    eviction: int,
    window: int,
    s: int,
) -> int:
    """Return the way to fill: an empty one, or the one with the lowest rank."""
    for way in range(WAYS):
        if tag[s, way] < 0:
            return way
    if eviction == _RANDOM:
        return int(random)
    if eviction == _ROUND_ROBIN:
        way = turn[s]
        turn[s] = (way + 1) % WAYS
        return int(way)
    best = 0
    best_rank = np.int64(_NEVER) * 4
    near = window // 8
    for way in range(WAYS):
        d = distance[s, way]
        if eviction == _LRU:
            rank = touched[s, way]
        elif eviction == _BELADY:
            rank = -touched[s, way]
        elif eviction == _STATIC:
            rank = np.int64(score[tag[s, way]])
        elif eviction == _DYNAMIC:
            rank = -d
        else:
            if d == NONE:
                group = 1
            elif d == FRESH:
                group = 3
            elif d > near:
                group = 0 if eviction == _KNOWN_FIRST else 2
            else:
                group = 4
            rank = np.int64(group * 256) + score[tag[s, way]]
        if rank < best_rank:
            best_rank = rank
            best = way
    return best
