"""Which cached blocks the waiting queue of an instance asks for, compiled. Knows no policy name.

Looks at requests that have arrived and wait, and at nothing later: of a request the blocks that
a look-up for it would try, which are those of its prompt, and of what it had sampled before a
preemption. With a policy's own order what an instance holds of a path is a leading part of it.
"""

from __future__ import annotations

from ..kernels import seldom, view
from ..policies.records import DEMAND
from .kvcache import holds, place_of
from .state import (
    State,
    copies,
    instances,
    orders,
    pools,
    requests,
    segment_depth,
    segment_first_key,
    segment_parent,
    sizes,
)


@seldom
def look_ahead(c: State, i: int) -> None:
    """Look at the queue if `refresh_steps` steps have begun since, or somebody was preempted.

    If neither the queue nor what is cached has changed, the last look still holds. While nobody
    waits a look costs nothing, and is taken every time: so steps that coast, whose number is not
    counted yet, see what others see.
    """
    order = orders(c)[i]
    instance = instances(c)[i]
    n_inserted = pools(c)[i].n_inserted
    is_due = (
        order.scanned_step < 0
        or instance.n_waiting == 0
        or instance.steps >= order.scanned_step + order.refresh_steps
        or instance.preemptions != order.scanned_preemptions
    )
    if not is_due:
        return
    head = instance.waiting_head if instance.n_waiting > 0 else -1
    has_changed = (
        order.scanned_step < 0
        or n_inserted != order.n_known
        or head != order.scanned_head
        or instance.n_waiting != order.scanned_waiting
    )
    order.scanned_step = instance.steps if instance.n_waiting > 0 else -1
    order.scanned_preemptions = instance.preemptions
    if not has_changed:
        return
    order.n_known = n_inserted
    order.scanned_head = head
    order.scanned_waiting = instance.n_waiting
    order.n_scans += 1
    n = min(instance.n_waiting, order.window)
    order.n_waiting = n
    r = head
    for place in range(n):
        _ask_for_all(c, i, r, place)
        r = requests(c)[r].after


@seldom
def _ask_for_all(c: State, i: int, r: int, place: int) -> None:
    """Note what request `r`, at `place` in the queue, would find cached."""
    request = requests(c)[r]
    limit = (request.known - 1) // sizes(c).block_size
    for k in range(request.n_shared, limit):
        key = request.private_key + k - request.n_shared
        if not holds(c, i, key):
            break
        _ask_for(c, i, key, place)
    upto = min(limit, request.n_shared)
    segment = request.end
    while segment >= 0:
        first = segment_depth(c)[segment]
        first_key = segment_first_key(c)[segment]
        for k in range(first, upto):
            if not holds(c, i, first_key + k - first):
                break
            _ask_for(c, i, first_key + k - first, place)
        upto = min(upto, first)
        segment = segment_parent(c)[segment]


@seldom
def _ask_for(c: State, i: int, key: int, place: int) -> None:
    """Count one more waiting user of a cached key, whose oldest copy a look-up would find."""
    order = orders(c)[i]
    b = copies(c)[place_of(c, i, key)]
    demand = view(order.demands, (b + 1,), DEMAND)[b]
    if demand.scan != order.n_scans:
        demand.scan = order.n_scans
        demand.next_start = place
        demand.n_users = 0
    demand.n_users += 1
