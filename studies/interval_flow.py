"""Which uses to keep blocks for, if they are worth different amounts: a min-cost flow, exactly.

A bundle of blocks kept from its use by one request to its use by a later one takes room while
every request in between is placed, and is worth what its blocks would cost to compute again.
Choosing bundles, in part if need be, is a flow along the requests: beside request t run as many
units as there are blocks left over; a bundle is an arc that jumps from after its first use to
its next one. All right-hand sides are whole, so the best flow keeps whole blocks (Carlisle and
Lloyd, Discrete Applied Mathematics 1995). Solved by the primal network simplex method with
strongly feasible trees (Cunningham, Mathematical Programming 1976), which cannot cycle.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, kernel

_BLOCK_SHARE = 16
"""Arcs priced before the best of them enters: this many times the root of their number."""


class Bundles(NamedTuple):
    """Blocks that the same two requests use one after the other."""

    first: NDArray[np.int64]
    """(n,): the request that uses them first."""
    next_use: NDArray[np.int64]
    """(n,): the request that uses them next."""
    n_blocks: NDArray[np.int64]
    """(n,)"""
    worth: NDArray[np.float64]
    """(n,): what keeping one of the blocks saves."""


class _Network(NamedTuple):
    """Arcs, bundles first, then one beside each request; a spanning tree of the nodes."""

    tail: NDArray[np.int64]
    head: NDArray[np.int64]
    room: NDArray[np.int64]
    worth: NDArray[np.float64]
    flow: NDArray[np.int64]
    state: NDArray[np.int64]
    """1: no flow; -1: as much as fits; 0: in the tree."""
    parent: NDArray[np.int64]
    arc: NDArray[np.int64]
    """Arc to the parent."""
    depth: NDArray[np.int64]
    price: NDArray[np.float64]
    child: NDArray[np.int64]
    """First child, -1 if none; the others follow by `younger` and back by `older`."""
    younger: NDArray[np.int64]
    older: NDArray[np.int64]


def most_worth(bundles: Bundles, room_beside: NDArray[np.int64]) -> NDArray[np.int64]:
    """Blocks of each bundle to keep, (n,), so that they are worth the most.

    `room_beside`, (n_requests,), is how many blocks can stay while each request is placed.
    """
    kept = bundles.n_blocks.copy()
    is_crossing = bundles.next_use > bundles.first + 1
    tail, head = bundles.first[is_crossing] + 1, bundles.next_use[is_crossing]
    if not len(tail):
        return kept
    n_arcs, n_nodes = len(tail), len(room_beside) + 1
    path = np.arange(n_nodes - 1)
    network = _Network(
        tail=np.concatenate((tail, path)),
        head=np.concatenate((head, path + 1)),
        room=np.concatenate((bundles.n_blocks[is_crossing], np.full(n_nodes - 1, 2**62))),
        worth=np.concatenate((bundles.worth[is_crossing], np.zeros(n_nodes - 1))),
        flow=np.concatenate((np.zeros(n_arcs, np.int64), room_beside)),
        state=np.concatenate((np.ones(n_arcs, np.int64), np.zeros(n_nodes - 1, np.int64))),
        parent=np.append(path + 1, -1),
        arc=np.append(path + n_arcs, -1),
        depth=np.arange(n_nodes - 1, -1, -1),
        price=np.zeros(n_nodes),
        child=np.arange(-1, n_nodes - 1),
        younger=np.full(n_nodes, -1),
        older=np.full(n_nodes, -1),
    )
    block = _BLOCK_SHARE * int(np.sqrt(n_arcs + n_nodes)) + 1
    _simplex(network, block, 1e-11 * float(bundles.worth.max()))
    kept[is_crossing] = network.flow[:n_arcs]
    return kept


@kernel
def _simplex(network: _Network, block: int, tolerance: float) -> None:
    """Push flow around cycles until no arc would gain more than `tolerance` a block."""
    tail, head, worth = network.tail, network.head, network.worth
    state, price = network.state, network.price
    n_arcs = len(tail)
    at = 0
    n_priced = 0
    best_gain = tolerance
    entering = -1
    n_left = block
    while True:
        gain = state[at] * (worth[at] - price[tail[at]] + price[head[at]])
        if gain > best_gain:
            best_gain = gain
            entering = at
        at = at + 1 if at + 1 < n_arcs else 0
        n_priced += 1
        n_left -= 1
        if entering < 0 and n_priced >= n_arcs:
            return
        if n_left > 0 and n_priced < n_arcs:
            continue
        n_left = block
        if entering < 0:
            continue
        _pivot(network, entering)
        n_priced = 0
        best_gain = tolerance
        entering = -1


@inner
def _pivot(network: _Network, entering: int) -> None:
    """Push as much as fits around the cycle that an arc closes; the last arc in the way leaves."""
    tail, head, room, worth = network.tail, network.head, network.room, network.worth
    flow, state, arc = network.flow, network.state, network.arc
    parent, depth, price = network.parent, network.depth, network.price
    child, younger = network.child, network.younger
    first, second = tail[entering], head[entering]
    if state[entering] < 0:
        first, second = second, first
    u, v = first, second
    while u != v:
        if depth[u] >= depth[v]:
            u = parent[u]
        else:
            v = parent[v]
    apex = u

    n_pushed = room[entering]
    leaving_node = np.int64(-1)
    is_first_side = False
    u = first
    while u != apex:  # here flow comes down the tree
        e = arc[u]
        fits = flow[e] if tail[e] == u else room[e] - flow[e]
        if fits < n_pushed:
            n_pushed = fits
            leaving_node = u
            is_first_side = True
        u = parent[u]
    u = second
    while u != apex:  # and here it goes up
        e = arc[u]
        fits = room[e] - flow[e] if tail[e] == u else flow[e]
        if fits <= n_pushed:
            n_pushed = fits
            leaving_node = u
            is_first_side = False
        u = parent[u]

    if n_pushed > 0:
        flow[entering] += state[entering] * n_pushed
        u = first
        while u != apex:
            flow[arc[u]] += -n_pushed if tail[arc[u]] == u else n_pushed
            u = parent[u]
        u = second
        while u != apex:
            flow[arc[u]] += n_pushed if tail[arc[u]] == u else -n_pushed
            u = parent[u]
    if leaving_node < 0:
        state[entering] = -state[entering]
        return
    leaving = arc[leaving_node]
    state[leaving] = 1 if flow[leaving] == 0 else -1
    state[entering] = 0
    moved, onto = (first, second) if is_first_side else (second, first)
    _hang(network, moved, onto, entering, leaving_node)

    rise = worth[entering] - price[tail[entering]] + price[head[entering]]
    if moved != tail[entering]:
        rise = -rise
    u = moved
    while True:  # the subtree, parents first
        price[u] += rise
        depth[u] = depth[parent[u]] + 1
        if child[u] >= 0:
            u = child[u]
            continue
        while u != moved and younger[u] < 0:
            u = parent[u]
        if u == moved:
            return
        u = younger[u]


@inner
def _hang(network: _Network, moved: int, onto: int, entering: int, leaving_node: int) -> None:
    """Cut the subtree of `leaving_node` off, root it at `moved`, hang it on `onto`."""
    parent, arc = network.parent, network.arc
    child, younger, older = network.child, network.younger, network.older
    u = moved
    above, by = onto, entering
    while True:
        old_parent, old_arc = parent[u], arc[u]
        if older[u] >= 0:  # take u from its siblings
            younger[older[u]] = younger[u]
        else:
            child[old_parent] = younger[u]
        if younger[u] >= 0:
            older[younger[u]] = older[u]
        parent[u] = above
        arc[u] = by
        older[u] = -1
        younger[u] = child[above]
        if child[above] >= 0:
            older[child[above]] = u
        child[above] = u
        if u == leaving_node:
            return
        above, by = u, old_arc
        u = old_parent
