"""One serving instance on its clock, compiled: queue, steps, coasting. Knows no router, no simpy.

Completions come first among equal times, then arrivals, then the start of a step.
"""

from __future__ import annotations

import numpy as np

from ..kernels import inner
from .coasting import coast
from .promotion import next_promotion_s
from .recording import has_event_room, has_log_room
from .records import MARK_ALLOWANCE, MARK_TRANSFERS, WAITING
from .scheduler import commit, schedule
from .state import State, instances, marks, orders, requests, sizes
from .tier_paths import hear_of_arrival
from .tiers import has_tier_error

OK = 0
FULL_LOG = 1
"""The step log or the events have no room for another step: empty them and call again."""
POLICY_ERROR = 2
PAUSED = 3
"""The step allowance of this call is used up: call again."""


@inner
def n_alive(c: State, i: int) -> int:
    """Requests of an instance: running, waiting, or for blocks from a lower tier."""
    instance = instances(c)[i]
    return int(instance.n_running + instance.n_waiting + instance.n_loading + instance.n_ready)


@inner
def enqueue(c: State, i: int, r: int) -> None:
    """Put an arrived request at the back of an instance's queue."""
    instance = instances(c)[i]
    request = requests(c)[r]
    request.instance = i
    request.status = WAITING
    request.after = -1
    if instance.n_waiting == 0:
        instance.waiting_head = r
    else:
        requests(c)[instance.waiting_tail].after = r
    instance.waiting_tail = r
    instance.n_waiting += 1
    if sizes(c).tiers_hear:
        hear_of_arrival(c, i, r)
    if instance.is_stepping == 0 and instance.now_s < request.arrival_s:
        instance.now_s = request.arrival_s


@inner
def advance(c: State, i: int, until_s: float) -> int:
    """Run instance `i`: commit steps that end by `until_s`, start steps before it."""
    instance = instances(c)[i]
    while True:
        if instance.is_stepping:
            if instance.now_s > until_s:
                return OK
            commit(c, i)
            if instance.is_quiet and sizes(c).n_log == 0:
                coast(c, i, until_s)
        if n_alive(c, i) == 0 or instance.now_s >= until_s:
            return OK
        status = begin_step(c, i, until_s)
        if status != OK:
            return int(status)


@inner
def begin_step(c: State, i: int, until_s: float) -> int:
    """Start a step of an instance that has work, unless something stands against it.

    If all work waits for blocks from lower tiers, time passes until the next ones are there, or
    until `until_s`.
    """
    if marks(c)[MARK_ALLOWANCE] <= 0:
        return PAUSED
    if sizes(c).n_log and not has_log_room(c):
        return FULL_LOG
    if sizes(c).n_events and not has_event_room(c):
        return FULL_LOG
    marks(c)[MARK_ALLOWANCE] -= 1
    schedule(c, i)
    if orders(c)[i].error or (sizes(c).has_tiers and has_tier_error(c)):
        return POLICY_ERROR
    instance = instances(c)[i]
    # if the last running request was preempted, what is ready, or itself, is admitted at once; and
    # how long a transfer takes that is to begin now is not known yet
    is_waiting = instance.n_ready + instance.n_preempted + marks(c)[MARK_TRANSFERS] == 0
    if instance.is_stepping == 0 and is_waiting:
        instance.now_s = min(until_s, next_promotion_s(c, i))
        r = np.int64(instance.loading_head)
        for _ in range(instance.n_loading):
            instance.now_s = min(instance.now_s, requests(c)[r].loaded_s)
            r = np.int64(requests(c)[r].after)
    return OK


@inner
def next_event_s(c: State, i: int) -> float:
    """Time at which instance `i` does something by itself: infinity while it has no work."""
    instance = instances(c)[i]
    if instance.is_stepping or n_alive(c, i) > 0:
        return float(instance.now_s)
    return np.inf
