"""What tiers below the GPU are told of whole requests, compiled: their order, and their lengths.

A tier sees blocks, one by one as they come to it. A policy that needs to know which request uses a
block next, or how long the requests through it are, is told when that changes: when a request
arrives, has its turn, or gives its blocks back. What a tier holds of the request's path is then
offered anew, as it would be now.
"""

from __future__ import annotations

from ..kernels import seldom
from ..policies.order import HOOKED, SCORED, add, numbers_at, remove
from .records import N_TIERS
from .state import (
    State,
    instances,
    requests,
    segment_depth,
    segment_first_key,
    segment_parent,
    sizes,
    tier_orders,
    tiers,
    was_admitted,
)
from .tiers import PRIVATE, cache_of, future_of, held, tier_heaps, tier_items


@seldom
def hear_of_arrival(c: State, i: int, r: int) -> None:
    """Request `r` goes to instance `i`; who has admitted later rows need not wait for it now."""
    n = sizes(c).n_instances
    for t in range(N_TIERS):
        tier = tiers(c)[t * n]
        if tier.needs_future and tier.placement == PRIVATE:
            for other in range(n):
                if other != i and r < instances(c)[other].n_admitted:
                    _look_on(c, t, other, r)


@seldom
def hear_of_turn(c: State, i: int, r: int, before: int) -> None:
    """Request `r` is admitted, where rows below `before` were: those up to it are over now."""
    is_first = was_admitted(c)[r] == 0
    was_admitted(c)[r] = 1
    for t in range(N_TIERS):
        tier = tiers(c)[t * sizes(c).n_instances]
        if tier.needs_future:
            if is_first:
                _look_on(c, t, i, r)
            if tier.placement == PRIVATE:
                for row in range(before, r):
                    where = requests(c)[row].instance
                    if where >= 0 and where != i:
                        _look_on(c, t, i, row)
    hear_of_length(c, i, r, requests(c)[r].known // sizes(c).block_size)


@seldom
def hear_of_length(c: State, i: int, r: int, n_blocks: int) -> None:
    """Request `r` has at least `n_blocks` full blocks."""
    for t in range(N_TIERS):
        if tiers(c)[t * sizes(c).n_instances].lengths:
            _lengthen(c, t, i, r, n_blocks)


@seldom
def _look_on(c: State, t: int, i: int, r: int) -> None:
    """Find the next use of what the cache of tier `t` that instance `i` uses holds of a path."""
    upto = requests(c)[r].n_shared
    segment = requests(c)[r].end
    while segment >= 0:
        first = segment_depth(c)[segment]
        _offer_run(c, t, i, segment_first_key(c)[segment], upto - first, False)
        upto = first
        segment = segment_parent(c)[segment]


@seldom
def _lengthen(c: State, t: int, i: int, r: int, n_blocks: int) -> None:
    """Note that a path is at least `n_blocks` long.

    What is above a run is in all paths through that, so it is no shorter: the walk ends early.
    """
    n = sizes(c).n_instances
    tier = tiers(c)[t * n + (i if tiers(c)[t * n].placement == PRIVATE else 0)]
    lengths = numbers_at(tier.lengths, sizes(c).n_segments + sizes(c).n_requests)
    request = requests(c)[r]
    upto = request.n_shared
    own = sizes(c).n_segments + r
    if lengths[own] < n_blocks:
        lengths[own] = n_blocks
        _offer_run(c, t, i, request.private_key, n_blocks - upto, True)
    segment = request.end
    while segment >= 0 and lengths[segment] < n_blocks:
        lengths[segment] = n_blocks
        first = segment_depth(c)[segment]
        _offer_run(c, t, i, segment_first_key(c)[segment], upto - first, True)
        upto = first
        segment = segment_parent(c)[segment]


@seldom
def _offer_run(c: State, t: int, i: int, first_key: int, n: int, has_grown: bool) -> None:
    """Put the blocks of n keys in a row in their places anew, in a tier of instance `i`."""
    for key in range(first_key, first_key + n):
        _offer_anew(c, cache_of(c, t, i, key), key, has_grown)


@seldom
def _offer_anew(c: State, q: int, key: int, has_grown: bool) -> None:
    """Put a key's block in its place among the candidates anew, if a cache holds it."""
    tier = tiers(c)[q]
    x = held(tier, key)
    if x < 0:
        return
    order = tier_orders(c)[q]
    item = tier_items(tier)[x]
    next_use = future_of(c, q, key)
    if next_use == item.next_use and not has_grown:
        return
    moves = item.is_candidate and (order.mode == SCORED or order.mode == HOOKED)
    if moves:
        remove(order, tier_items(tier), tier_heaps(tier), x)
    item.next_use = next_use
    if moves:
        add(order, tier_items(tier), tier_heaps(tier), x)
