"""One serving instance, compiled: scheduler, batch loop and clock. Knows no router, no simpy.

Follows the vLLM 0.32 V1 scheduler (first come first served, chunked prefill, one
full-attention cache group, no async scheduling): running requests first, in order of
admission; the last one is preempted when blocks run out; strictly in-order admission after a
look-up capped at the last token; blocks are published when they are allocated.
`tests/sim/test_vllm_oracle.py` compares it with recorded decisions of the real one.

A step has two halves: `_schedule` at its start, `_commit` at its end. Completions come first
among equal times, then arrivals, then the start of a step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..calibration.latency import step_seconds
from .kvcache import Pools, lookup, publish, release, take, touch

OK = 0
FULL_LOG = 1
"""The step log has no room for another step: empty it and call again."""
POLICY_ERROR = 2
PAUSED = 3
"""The step allowance of this call is used up: call again."""

WAITING = 0
RUNNING = 1
FINISHED = 2
REJECTED = 3
PENDING = 4
"""Not arrived yet."""

REQUEST = np.dtype(
    [
        ("arrival_s", "f8"),
        ("first_scheduled_s", "f8"),
        ("first_token_s", "f8"),
        ("finish_s", "f8"),
        ("input_tokens", "i4"),
        ("output_tokens", "i4"),
        ("known", "i4"),
        ("computed", "i4"),
        ("n_held", "i4"),
        ("n_published", "i4"),
        ("table", "i4"),
        ("n_shared", "i4"),
        ("end", "i4"),
        ("private_key", "i4"),
        ("category", "i4"),
        ("after", "i4"),
        ("instance", "i4"),
        ("status", "i4"),
        ("cached_tokens", "i4"),
        ("recached_tokens", "i4"),
        ("prefill_tokens", "i4"),
        ("preemptions", "i4"),
        ("is_awaited", "i4"),
    ],
    align=True,
)
"""A request: `known` tokens = prompt + sampled, `computed` of them have KV; its block table."""

INSTANCE = np.dtype(
    [
        ("now_s", "f8"),
        ("step_start_s", "f8"),
        ("busy_s", "f8"),
        ("is_stepping", "i8"),
        ("n_running", "i8"),
        ("n_waiting", "i8"),
        ("waiting_head", "i8"),
        ("waiting_tail", "i8"),
        ("n_tables_free", "i8"),
        ("head_table", "i8"),
        ("head_request", "i8"),
        ("n_entries", "i8"),
        ("n_preempted", "i8"),
        ("free_blocks", "i8"),
        ("steps", "i8"),
        ("lookup_tokens", "i8"),
        ("hit_tokens", "i8"),
        ("lookup_blocks", "i8"),
        ("hit_blocks", "i8"),
        ("prefill_tokens", "i8"),
        ("decode_tokens", "i8"),
        ("context_tokens", "i8"),
        ("preemptions", "i8"),
        ("output_tokens", "i8"),
        ("finished", "i8"),
        ("last_sample", "i8"),
        ("n_admitted", "i8"),
    ],
    align=True,
)

SAMPLE_FIELDS = (
    "running",
    "waiting",
    "free_blocks",
    "cached_blocks",
    "used_blocks",
    "lookup_tokens",
    "hit_tokens",
    "evictions",
    "preemptions",
    "prefill_tokens",
    "decode_tokens",
    "busy_s",
)
"""Columns of the time series; from `lookup_tokens` on they count from the start of the run."""


class Limits(NamedTuple):
    """Engine settings, as vLLM names them."""

    block_size: int
    n_blocks: int
    max_num_seqs: int
    max_num_batched_tokens: int
    long_prefill_token_threshold: int
    watermark_blocks: int
    reserve_full_isl: int
    prefix_caching: int
    latency_kind: int


class Cluster(NamedTuple):
    """State of all instances and of the requests in them."""

    limits: Limits
    latency: NDArray[np.float64]
    """Coefficients of the latency model."""
    pools: Pools
    requests: NDArray[Any]
    """(n_requests,) of REQUEST."""
    instances: NDArray[Any]
    """(n_instances,) of INSTANCE."""
    segment_parent: NDArray[np.int32]
    segment_depth: NDArray[np.int32]
    segment_first_key: NDArray[np.int64]
    """The prefix tree; see `kvsim.traces.prefix_tree`."""
    segment_of: NDArray[np.int32]
    """(n_keys,): segment of a key; (1,) unless the policy needs the future."""
    uses: NDArray[np.int32]
    use_offsets: NDArray[np.int64]
    """Requests that touch each segment, in order of arrival; (1,) likewise."""
    tables: NDArray[np.int32]
    """(n_instances, max_num_seqs + 1, longest): blocks of running requests."""
    table_keys: NDArray[np.int32]
    """The same shape: keys of a request's full blocks, prompt and output."""
    free_tables: NDArray[np.int32]
    """(n_instances, max_num_seqs + 1): stack of unused rows of `tables`."""
    running: NDArray[np.int32]
    """(n_instances, max_num_seqs): requests in order of admission."""
    entries: NDArray[np.int32]
    """(n_instances, max_num_seqs, 3): request, n tokens, C computed before; of the open step."""
    preempted: NDArray[np.int32]
    """(n_instances, max_num_seqs): preempted in the open step, in order."""
    log: NDArray[np.int32]
    """Records of finished steps; empty if nothing is logged. Its length in use is in `marks`."""
    log_start_s: NDArray[np.float64]
    samples: NDArray[np.float64]
    """(n_samples, n_instances, fields): state at the first step of each interval."""
    marks: NDArray[np.int64]
    """Scalars of the run, by the MARK_ names."""
    sample_every_s: NDArray[np.float64]
    """(1,)"""


MARK_LOG = 0
MARK_LOG_STEPS = 1
MARK_ALLOWANCE = 2
MARK_AWAITED = 3
"""Awaited requests that finished since the caller last looked."""
MARK_ROUTED = 4
N_MARKS = 8


@njit(cache=True)
def block_count(tokens: int, block_size: int) -> int:
    """Blocks that `tokens` tokens occupy."""
    return (tokens + block_size - 1) // block_size


@njit(cache=True)
def write_keys(c: Cluster, r: int, keys: NDArray[np.int32]) -> None:
    """Write the keys of all full blocks of request `r`, prompt and output, shallow to deep."""
    request = c.requests[r]
    segment = request.end
    upto = request.n_shared
    while segment >= 0:
        first = c.segment_depth[segment]
        key = c.segment_first_key[segment] - first
        for k in range(first, upto):
            keys[k] = key + k
        upto = first
        segment = c.segment_parent[segment]
    n_full = (request.input_tokens + request.output_tokens - 1) // c.limits.block_size
    for k in range(request.n_shared, n_full):
        keys[k] = request.private_key + k - request.n_shared


@njit(cache=True)
def enqueue(c: Cluster, i: int, r: int) -> None:
    """Put an arrived request at the back of an instance's queue."""
    instance = c.instances[i]
    request = c.requests[r]
    request.instance = i
    request.status = WAITING
    request.after = -1
    if instance.n_waiting == 0:
        instance.waiting_head = r
    else:
        c.requests[instance.waiting_tail].after = r
    instance.waiting_tail = r
    instance.n_waiting += 1
    if instance.is_stepping == 0 and instance.now_s < request.arrival_s:
        instance.now_s = request.arrival_s


@njit(cache=True)
def advance(c: Cluster, i: int, until_s: float) -> int:
    """Run instance `i`: commit steps that end by `until_s`, start steps before it."""
    instance = c.instances[i]
    while True:
        if instance.is_stepping:
            if instance.now_s > until_s:
                return OK
            _commit(c, i)
        if instance.n_running + instance.n_waiting == 0 or instance.now_s >= until_s:
            return OK
        if c.marks[MARK_ALLOWANCE] <= 0:
            return PAUSED
        if len(c.log) and not _has_log_room(c):
            return FULL_LOG
        c.marks[MARK_ALLOWANCE] -= 1
        _schedule(c, i)
        if c.pools.orders[i].error:
            return POLICY_ERROR


@njit(cache=True)
def next_event_s(c: Cluster, i: int) -> float:
    """Time at which instance `i` does something by itself: infinity while it has no work."""
    instance = c.instances[i]
    if instance.is_stepping or instance.n_running + instance.n_waiting > 0:
        return float(instance.now_s)
    return np.inf


@njit(cache=True)
def _schedule(c: Cluster, i: int) -> None:
    """Start a step: choose its entries, allocate and publish, and set the clock to its end."""
    instance = c.instances[i]
    limits = c.limits
    block_size = limits.block_size
    pool = c.pools.pools[i]
    now_s = instance.now_s
    budget = limits.max_num_batched_tokens
    threshold = limits.long_prefill_token_threshold
    if instance.n_running + instance.n_waiting <= 1:
        threshold = 0
    instance.n_entries = 0
    instance.n_preempted = 0

    prefill = 0
    prefill_seqs = 0
    decode = 0
    context = 0
    decode_context = 0
    pairs = 0.0

    # running requests, in order of admission
    at = 0
    while at < instance.n_running and budget > 0:
        r = c.running[i, at]
        request = c.requests[r]
        n = request.known - request.computed
        if threshold > 0 and n > threshold:
            n = threshold
        n = min(n, budget)
        upto = request.computed + n
        n_new = block_count(upto, block_size) - request.n_held
        is_victim = False
        while n_new > pool.n_free:
            last = c.running[i, instance.n_running - 1]
            instance.n_running -= 1
            _preempt(c, i, last, now_s)
            if last == r:
                is_victim = True
                break
        if is_victim:
            break
        if n_new > 0 or upto // block_size > request.n_published:
            _grow(c, i, r, upto, now_s)
        if request.known > request.input_tokens and n == 1 and upto == request.known:
            decode += 1
            decode_context += upto
        else:
            prefill += n
            prefill_seqs += 1
            pairs += n * (request.computed + (n + 1) / 2)
            request.prefill_tokens += n
        context += upto
        _enter(c, i, r, n, request.computed)
        budget -= n
        at += 1

    # then the queue, strictly in order
    while (
        instance.n_preempted == 0
        and budget > 0
        and instance.n_waiting > 0
        and instance.n_running < limits.max_num_seqs
    ):
        r = instance.waiting_head
        request = c.requests[r]
        table = instance.head_table
        keys = c.table_keys[i, table]
        if instance.head_request != r:
            write_keys(c, r, keys)
            instance.head_request = r
        hits = 0
        limit = 0
        if limits.prefix_caching:
            limit = (request.known - 1) // block_size
            hits = lookup(c.pools, i, keys, limit)
        cached = hits * block_size
        n = request.known - cached
        if threshold > 0 and n > threshold:
            n = threshold
        n = min(n, budget)
        idle = 0
        for k in range(hits):
            b = c.pools.copies[c.pools.row_of[keys[k]], i]
            if c.pools.blocks[b].ref == 0:
                idle += 1
        spare = limits.watermark_blocks if instance.n_running > 0 else 0
        needed_for = request.known if limits.reserve_full_isl else cached + n
        if block_count(needed_for, block_size) - hits + idle + spare > pool.n_free:
            break
        _admit(c, i, r, hits, limit, now_s)
        _grow(c, i, r, cached + n, now_s)
        if request.known > request.input_tokens and n == 1 and cached + n == request.known:
            decode += 1
            decode_context += cached + n
        else:
            prefill += n
            prefill_seqs += 1
            pairs += n * (cached + (n + 1) / 2)
            request.prefill_tokens += n
        context += cached + n
        _enter(c, i, r, n, cached)
        budget -= n

    instance.steps += 1
    instance.prefill_tokens += prefill
    instance.decode_tokens += decode
    instance.context_tokens += context
    instance.free_blocks = pool.n_free
    _sample(c, i)
    dt_s = step_seconds(
        limits.latency_kind,
        c.latency,
        float(prefill),
        float(prefill_seqs),
        float(decode),
        float(context),
        float(decode_context),
        pairs,
    )
    instance.step_start_s = now_s
    instance.now_s = now_s + dt_s
    instance.busy_s += dt_s
    instance.is_stepping = 1


@njit(cache=True)
def _enter(c: Cluster, i: int, r: int, n: int, computed: int) -> None:
    """Record one entry of the open step."""
    at = c.instances[i].n_entries
    c.entries[i, at, 0] = r
    c.entries[i, at, 1] = n
    c.entries[i, at, 2] = computed
    c.instances[i].n_entries = at + 1


@njit(cache=True)
def _grow(c: Cluster, i: int, r: int, upto: int, now_s: float) -> None:
    """Allocate blocks for the first `upto` tokens of `r` and publish those that become full."""
    request = c.requests[r]
    block_size = c.limits.block_size
    table = c.tables[i, request.table]
    for k in range(request.n_held, block_count(upto, block_size)):
        table[k] = take(c.pools, i, now_s)
        request.n_held = k + 1
    if c.limits.prefix_caching:
        keys = c.table_keys[i, request.table]
        n_full = min(upto, request.known) // block_size
        for k in range(request.n_published, n_full):
            parent_key = keys[k - 1] if k > 0 else -1
            publish(c.pools, i, table[k], keys[k], parent_key, k, request.category, now_s)
            request.n_published = k + 1
            if len(c.use_offsets) > 1:
                c.pools.items[table[k]].next_use = _next_use(c, i, keys[k])


@njit(cache=True)
def _next_use(c: Cluster, i: int, key: int) -> float:
    """Row of the first request not yet admitted here that touches the key; infinity if none."""
    if key >= len(c.segment_of):
        return np.inf
    segment = c.segment_of[key]
    after = c.instances[i].n_admitted
    lo, hi = c.use_offsets[segment], c.use_offsets[segment + 1]
    end = hi
    while lo < hi:
        middle = (lo + hi) // 2
        if c.uses[middle] >= after:
            hi = middle
        else:
            lo = middle + 1
    return float(c.uses[lo]) if lo < end else np.inf


@njit(cache=True)
def _admit(c: Cluster, i: int, r: int, hits: int, limit: int, now_s: float) -> None:
    """Move the head of the queue to the running requests, holding its hit blocks."""
    instance = c.instances[i]
    request = c.requests[r]
    block_size = c.limits.block_size
    instance.n_admitted = max(instance.n_admitted, r + 1)
    table = instance.head_table
    request.table = table
    instance.n_tables_free -= 1
    instance.head_table = c.free_tables[i, instance.n_tables_free]
    instance.head_request = -1
    instance.waiting_head = request.after
    instance.n_waiting -= 1
    for k in range(hits):
        key = c.table_keys[i, table, k]
        b = touch(c.pools, i, key, request.category, now_s)
        c.tables[i, table, k] = b
        if len(c.use_offsets) > 1:
            c.pools.items[b].next_use = _next_use(c, i, key)
    request.n_held = hits
    request.n_published = hits
    request.computed = hits * block_size
    if request.first_scheduled_s != request.first_scheduled_s:
        request.first_scheduled_s = now_s
        request.cached_tokens = hits * block_size
        instance.lookup_tokens += request.input_tokens
        instance.hit_tokens += hits * block_size
        instance.lookup_blocks += limit
        instance.hit_blocks += hits
    else:
        request.recached_tokens += hits * block_size
    request.status = RUNNING
    c.running[i, instance.n_running] = r
    instance.n_running += 1


@njit(cache=True)
def _preempt(c: Cluster, i: int, r: int, now_s: float) -> None:
    """Release everything a running request holds and put it at the front of the queue."""
    instance = c.instances[i]
    request = c.requests[r]
    _leave(c, i, r, now_s)
    request.computed = 0
    request.status = WAITING
    request.preemptions += 1
    request.after = instance.waiting_head if instance.n_waiting > 0 else -1
    if instance.n_waiting == 0:
        instance.waiting_tail = r
    instance.waiting_head = r
    instance.n_waiting += 1
    instance.preemptions += 1
    c.preempted[i, instance.n_preempted] = r
    instance.n_preempted += 1


@njit(cache=True)
def _leave(c: Cluster, i: int, r: int, now_s: float) -> None:
    """Give back the blocks and the table of a request."""
    instance = c.instances[i]
    request = c.requests[r]
    table = c.tables[i, request.table]
    release(c.pools, i, table, request.n_held, request.n_published, now_s)
    c.free_tables[i, instance.n_tables_free] = request.table
    instance.n_tables_free += 1
    request.n_held = 0
    request.n_published = 0


@njit(cache=True)
def _commit(c: Cluster, i: int) -> None:
    """End the open step: tokens are sampled, finished requests release their blocks."""
    instance = c.instances[i]
    now_s = instance.now_s
    n_finished = 0
    for at in range(instance.n_entries):
        request = c.requests[c.entries[i, at, 0]]
        request.computed += c.entries[i, at, 1]
        if request.computed < request.known:
            continue
        request.known += 1
        instance.output_tokens += 1
        sampled = request.known - request.input_tokens
        if sampled == 1:
            request.first_token_s = now_s
        if sampled == request.output_tokens:
            r = c.entries[i, at, 0]
            request.finish_s = now_s
            request.status = FINISHED
            _leave(c, i, r, now_s)
            n_finished += 1
            c.marks[MARK_AWAITED] += request.is_awaited
    if len(c.log):
        _log_step(c, i, n_finished)
    if n_finished:
        kept = 0
        for at in range(instance.n_running):
            r = c.running[i, at]
            if c.requests[r].status == RUNNING:
                c.running[i, kept] = r
                kept += 1
        instance.n_running = kept
        instance.finished += n_finished
    instance.is_stepping = 0


@njit(cache=True)
def _has_log_room(c: Cluster) -> bool:
    most = 6 + 5 * c.limits.max_num_seqs
    n_open = len(c.instances)
    return bool(
        c.marks[MARK_LOG] + n_open * most <= len(c.log)
        and c.marks[MARK_LOG_STEPS] + n_open <= len(c.log_start_s)
    )


@njit(cache=True)
def _log_step(c: Cluster, i: int, n_finished: int) -> None:
    """Append: instance, step, counts of entries, preempted and finished, free blocks; then those."""
    instance = c.instances[i]
    at = c.marks[MARK_LOG]
    log = c.log
    log[at] = i
    log[at + 1] = instance.steps - 1
    log[at + 2] = instance.n_entries
    log[at + 3] = instance.n_preempted
    log[at + 4] = n_finished
    log[at + 5] = instance.free_blocks
    at += 6
    for e in range(instance.n_entries):
        for f in range(3):
            log[at] = c.entries[i, e, f]
            at += 1
    for e in range(instance.n_preempted):
        log[at] = c.preempted[i, e]
        at += 1
    for e in range(instance.n_entries):
        r = c.entries[i, e, 0]
        if c.requests[r].status == FINISHED:
            log[at] = r
            at += 1
    c.marks[MARK_LOG] = at
    c.log_start_s[c.marks[MARK_LOG_STEPS]] = instance.step_start_s
    c.marks[MARK_LOG_STEPS] += 1


@njit(cache=True)
def _sample(c: Cluster, i: int) -> None:
    """Record the instance's state if this is the first step of a sampling interval."""
    instance = c.instances[i]
    at = int(instance.now_s / c.sample_every_s[0])
    if at <= instance.last_sample:
        return
    while at >= len(c.samples):
        _halve_samples(c)
        at = int(instance.now_s / c.sample_every_s[0])
    if at <= instance.last_sample:
        return
    instance.last_sample = at
    pool = c.pools.pools[i]
    row = c.samples[at, i]
    row[0] = instance.n_running
    row[1] = instance.n_waiting
    row[2] = pool.n_free
    row[3] = pool.n_free - pool.n_unkeyed
    row[4] = c.limits.n_blocks - 1 - pool.n_free
    row[5] = instance.lookup_tokens
    row[6] = instance.hit_tokens
    row[7] = pool.evictions
    row[8] = instance.preemptions
    row[9] = instance.prefill_tokens
    row[10] = instance.decode_tokens
    row[11] = instance.busy_s


@njit(cache=True)
def _halve_samples(c: Cluster) -> None:
    """Keep the first sample of every two intervals, and make room for as many again."""
    n = len(c.samples)
    for i in range(len(c.instances)):
        for at in range(n):
            kept = c.samples[at // 2, i]
            if at % 2 == 0 or kept[0] != kept[0]:
                for f in range(c.samples.shape[2]):
                    kept[f] = c.samples[at, i, f]
        for at in range((n + 1) // 2, n):
            for f in range(c.samples.shape[2]):
                c.samples[at, i, f] = np.nan
        c.instances[i].last_sample //= 2
    c.sample_every_s[0] *= 2
