"""What a run records as it goes, compiled: log of steps, cache events, time series."""

from __future__ import annotations

import numpy as np

from ..kernels import inner
from .records import EVICTED, FINISHED, MARK_EVENTS, MARK_LOG, MARK_LOG_STEPS, SAMPLE_FIELDS
from .state import (
    State,
    entries,
    events,
    instances,
    log,
    log_start_s,
    marks,
    pools,
    preempted,
    requests,
    sample_every_s,
    samples,
    sizes,
)


@inner
def has_log_room(c: State) -> bool:
    most = 6 + 5 * sizes(c).max_num_seqs
    n_open = sizes(c).n_instances
    return bool(
        marks(c)[MARK_LOG] + n_open * most <= sizes(c).n_log
        and marks(c)[MARK_LOG_STEPS] + n_open <= sizes(c).n_log // 8
    )


@inner
def log_step(c: State, i: int, n_finished: int) -> None:
    """Append: instance, step, counts (entries, preempted, finished), free blocks; then those."""
    instance = instances(c)[i]
    at = marks(c)[MARK_LOG]
    record = log(c)
    record[at] = i
    record[at + 1] = instance.steps - 1
    record[at + 2] = instance.n_entries
    record[at + 3] = instance.n_preempted
    record[at + 4] = n_finished
    record[at + 5] = instance.free_blocks
    at += 6
    for e in range(instance.n_entries):
        for f in range(3):
            record[at] = entries(c)[i, e, f]
            at += 1
    for e in range(instance.n_preempted):
        record[at] = preempted(c)[i, e]
        at += 1
    for e in range(instance.n_entries):
        r = entries(c)[i, e, 0]
        if requests(c)[r].status == FINISHED:
            record[at] = r
            at += 1
    marks(c)[MARK_LOG] = at
    log_start_s(c)[marks(c)[MARK_LOG_STEPS]] = instance.step_start_s
    marks(c)[MARK_LOG_STEPS] += 1


@inner
def has_event_room(c: State) -> bool:
    """Whether the events of one more step surely fit."""
    most = sizes(c).n_blocks + 3 * sizes(c).max_num_seqs
    return bool(marks(c)[MARK_EVENTS] + most <= sizes(c).n_events)


@inner
def record_event(
    c: State, kind: int, i: int, r: int, key: int, now_s: float, score: float = np.nan
) -> None:
    """Append an event, if events are asked for."""
    if sizes(c).n_events == 0:
        return
    event = events(c)[marks(c)[MARK_EVENTS]]
    event.kind = kind
    event.instance = i
    event.request = r
    event.key = key
    event.time_s = now_s
    event.score = score
    marks(c)[MARK_EVENTS] += 1


@inner
def sign_evictions(c: State, r: int, now_s: float) -> None:
    """Say of the latest evictions, which the cache records, for which request they were."""
    at = marks(c)[MARK_EVENTS] - 1
    while at >= 0 and events(c)[at].kind == EVICTED and events(c)[at].request < 0:
        events(c)[at].request = r
        events(c)[at].time_s = now_s
        at -= 1


@inner
def sample(c: State, i: int) -> None:
    """Record the instance's state if this is the first step of a sampling interval."""
    instance = instances(c)[i]
    at = int(instance.now_s / sample_every_s(c)[0])
    if at <= instance.last_sample:
        return
    while at >= sizes(c).n_samples:
        _halve_samples(c)
        at = int(instance.now_s / sample_every_s(c)[0])
    if at <= instance.last_sample:
        return
    instance.last_sample = at
    pool = pools(c)[i]
    row = samples(c)[at, i]
    row[0] = instance.n_running
    row[1] = instance.n_waiting
    row[2] = pool.n_free
    row[3] = pool.n_free - pool.n_unkeyed
    row[4] = sizes(c).n_blocks - 1 - pool.n_free
    row[5] = instance.lookup_tokens
    row[6] = instance.hit_tokens
    row[7] = pool.evictions
    row[8] = instance.preemptions
    row[9] = instance.prefill_tokens
    row[10] = instance.decode_tokens
    row[11] = instance.busy_s


@inner
def _halve_samples(c: State) -> None:
    """Keep the first sample of every two intervals, and make room for as many again."""
    n = sizes(c).n_samples
    for i in range(sizes(c).n_instances):
        for at in range(n):
            kept = samples(c)[at // 2, i]
            if at % 2 == 0 or kept[0] != kept[0]:
                for f in range(len(SAMPLE_FIELDS)):
                    kept[f] = samples(c)[at, i, f]
        for at in range((n + 1) // 2, n):
            for f in range(len(SAMPLE_FIELDS)):
                samples(c)[at, i, f] = np.nan
        instances(c)[i].last_sample //= 2
    sample_every_s(c)[0] *= 2
