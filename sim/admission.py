"""Which of the queue is admitted next, compiled, where that is not simply the first to arrive.

A request that was preempted goes first in any case, and so does one that others were let past
as often as the settings allow.
"""

from __future__ import annotations

import numpy as np

from ..kernels import seldom
from .kvcache import holds
from .request_blocks import write_keys
from .state import (
    State,
    instances,
    requests,
    segment_depth,
    segment_parent,
    sizes,
    table_keys,
)

FCFS, LONGEST_PREFIX, CLUSTER_FIRST = range(3)
"""Places in `config.ADMISSIONS`."""


@seldom
def bring_forward(c: State, i: int) -> None:
    """Move the request that is to be admitted next to the head of the queue.

    Of the first `admission_window`: longest-prefix takes the one with most leading blocks in the
    GPU, as SGLang's lpm does; cluster-first the one that shares most blocks with the request
    admitted last, as PEEK (arXiv 2607.02525) admits clusters together. Ties: the earlier one.
    """
    instance = instances(c)[i]
    head = np.int64(instance.waiting_head)
    first = requests(c)[head]
    if first.preemptions > 0 or first.n_passed >= sizes(c).admission_passes:
        return
    best = head
    before_best = np.int64(-1)
    most = _worth(c, i, head)
    before = head
    r = np.int64(first.after)
    for _ in range(1, min(instance.n_waiting, sizes(c).admission_window)):
        worth = _worth(c, i, r)
        if worth > most:
            best, before_best, most = r, before, worth
        before = r
        r = np.int64(requests(c)[r].after)
    if best == head:
        return
    first.n_passed += 1
    request = requests(c)[best]
    requests(c)[before_best].after = request.after
    if request.after < 0:
        instance.waiting_tail = before_best
    request.after = head
    instance.waiting_head = best


@seldom
def _worth(c: State, i: int, r: int) -> int:
    """Return the blocks that count for a request: in the GPU, or of the last one admitted."""
    instance = instances(c)[i]
    if sizes(c).admission == CLUSTER_FIRST:
        return _n_common(c, r, instance.last_admitted) if instance.last_admitted >= 0 else 0
    keys = table_keys(c)[i, instance.head_table]
    instance.head_request = -1
    write_keys(c, r, keys)
    limit = (requests(c)[r].known - 1) // sizes(c).block_size if sizes(c).prefix_caching else 0
    n = 0
    while n < limit and holds(c, i, keys[n]):
        n += 1
    return n


@seldom
def _n_common(c: State, r: int, s: int) -> int:
    """Count the leading blocks that two requests have in common."""
    a, b = np.int64(requests(c)[r].end), np.int64(requests(c)[s].end)
    n_a, n_b = np.int64(requests(c)[r].n_shared), np.int64(requests(c)[s].n_shared)
    while a != b:
        if b < 0 or (a >= 0 and segment_depth(c)[a] >= segment_depth(c)[b]):
            n_a = np.int64(segment_depth(c)[a])
            a = np.int64(segment_parent(c)[a])
        else:
            n_b = np.int64(segment_depth(c)[b])
            b = np.int64(segment_parent(c)[b])
    return int(min(n_a, n_b))
