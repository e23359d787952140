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

import numpy as np
from numpy.typing import NDArray

from ..calibration.latency import step_seconds
from ..policies.inner import inner
from .kvcache import index_private, lookup, publish, release, take, touch
from .state import (
    FINISHED,
    MARK_ALLOWANCE,
    MARK_AWAITED,
    MARK_LOG,
    MARK_LOG_STEPS,
    RUNNING,
    SAMPLE_FIELDS,
    WAITING,
    State,
    blocks,
    copies,
    entries,
    free_tables,
    instances,
    items,
    latency,
    log,
    log_start_s,
    marks,
    orders,
    pools,
    preempted,
    requests,
    row_of,
    running,
    sample_every_s,
    samples,
    segment_depth,
    segment_first_key,
    segment_of,
    segment_parent,
    sizes,
    table_keys,
    tables,
    use_offsets,
    uses,
)

OK = 0
FULL_LOG = 1
"""The step log has no room for another step: empty it and call again."""
POLICY_ERROR = 2
PAUSED = 3
"""The step allowance of this call is used up: call again."""


LONGEST_COAST = 1 << 20
"""Steps after which a coast pauses, so that a run can be interrupted."""


@inner
def block_count(tokens: int, block_size: int) -> int:
    """Blocks that `tokens` tokens occupy."""
    return (tokens + block_size - 1) // block_size


@inner
def write_keys(c: State, r: int, keys: NDArray[np.int32]) -> None:
    """Write the keys of all full blocks of request `r`, prompt and output, shallow to deep."""
    request = requests(c)[r]
    segment = request.end
    upto = request.n_shared
    while segment >= 0:
        first = segment_depth(c)[segment]
        key = segment_first_key(c)[segment] - first
        for k in range(first, upto):
            keys[k] = key + k
        upto = first
        segment = segment_parent(c)[segment]
    n_full = (request.input_tokens + request.output_tokens - 1) // sizes(c).block_size
    for k in range(request.n_shared, n_full):
        keys[k] = request.private_key + k - request.n_shared


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
            _commit(c, i)
            if instance.is_quiet and sizes(c).n_log == 0:
                _coast(c, i, until_s)
        if instance.n_running + instance.n_waiting == 0 or instance.now_s >= until_s:
            return OK
        status = begin_step(c, i)
        if status != OK:
            return int(status)


@inner
def begin_step(c: State, i: int) -> int:
    """Start a step of an instance that has work, unless something stands against it."""
    if marks(c)[MARK_ALLOWANCE] <= 0:
        return PAUSED
    if sizes(c).n_log and not _has_log_room(c):
        return FULL_LOG
    marks(c)[MARK_ALLOWANCE] -= 1
    _schedule(c, i)
    if orders(c)[i].error:
        return POLICY_ERROR
    return OK


@inner
def next_event_s(c: State, i: int) -> float:
    """Time at which instance `i` does something by itself: infinity while it has no work."""
    instance = instances(c)[i]
    if instance.is_stepping or instance.n_running + instance.n_waiting > 0:
        return float(instance.now_s)
    return np.inf


@inner
def _schedule(c: State, i: int) -> None:
    """Start a step: choose its entries, allocate and publish, and set the clock to its end."""
    instance = instances(c)[i]
    block_size = sizes(c).block_size
    pool = pools(c)[i]
    now_s = instance.now_s
    budget = sizes(c).max_num_batched_tokens
    threshold = sizes(c).long_prefill_token_threshold
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
        r = np.int64(running(c)[i, at])  # int64, as elsewhere: one specialisation of each function
        request = requests(c)[r]
        n = request.known - request.computed
        if threshold > 0 and n > threshold:
            n = threshold
        n = min(n, budget)
        upto = request.computed + n
        n_new = block_count(upto, block_size) - request.n_held
        is_victim = False
        while n_new > pool.n_free:
            last = np.int64(running(c)[i, instance.n_running - 1])
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
        and instance.n_running < sizes(c).max_num_seqs
    ):
        r = instance.waiting_head
        request = requests(c)[r]
        table = instance.head_table
        keys = table_keys(c)[i, table]
        if instance.head_request != r:
            write_keys(c, r, keys)
            instance.head_request = r
        hits = 0
        limit = 0
        if sizes(c).prefix_caching:
            limit = (request.known - 1) // block_size
            hits = lookup(c, i, keys, limit)
        cached = hits * block_size
        n = request.known - cached
        if threshold > 0 and n > threshold:
            n = threshold
        n = min(n, budget)
        idle = 0
        for k in range(hits):
            b = copies(c)[row_of(c)[keys[k]], i]
            if blocks(c)[b].ref == 0:
                idle += 1
        spare = sizes(c).watermark_blocks if instance.n_running > 0 else 0
        needed_for = request.known if sizes(c).reserve_full_isl else cached + n
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

    instance.is_quiet = decode == at and instance.n_entries == at and at == instance.n_running
    instance.had_waiting = instance.n_waiting > 0
    instance.steps += 1
    instance.prefill_tokens += prefill
    instance.decode_tokens += decode
    instance.context_tokens += context
    instance.free_blocks = pool.n_free
    _sample(c, i)
    dt_s = step_seconds(
        sizes(c).latency_kind,
        latency(c),
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


@inner
def _enter(c: State, i: int, r: int, n: int, computed: int) -> None:
    """Record one entry of the open step."""
    at = instances(c)[i].n_entries
    entries(c)[i, at, 0] = r
    entries(c)[i, at, 1] = n
    entries(c)[i, at, 2] = computed
    instances(c)[i].n_entries = at + 1


@inner
def _grow(c: State, i: int, r: int, upto: int, now_s: float) -> None:
    """Allocate blocks for the first `upto` tokens of `r` and publish those that become full."""
    request = requests(c)[r]
    block_size = sizes(c).block_size
    table = tables(c)[i, request.table]
    for k in range(request.n_held, block_count(upto, block_size)):
        table[k] = take(c, i, now_s)
        request.n_held = k + 1
    if sizes(c).prefix_caching:
        keys = table_keys(c)[i, request.table]
        n_full = min(upto, request.known) // block_size
        for k in range(request.n_published, n_full):
            above = keys[k - 1] if k > 0 else -1
            publish(c, i, table[k], keys[k], above, k, request.category, now_s)
            request.n_published = k + 1
            if sizes(c).n_uses > 0:
                items(c)[table[k]].next_use = _next_use(c, i, keys[k])


@inner
def _next_use(c: State, i: int, key: int) -> float:
    """Row of the first request not yet admitted here that touches the key; infinity if none."""
    if key >= sizes(c).n_segment_keys:
        return np.inf
    segment = segment_of(c)[key]
    after = instances(c)[i].n_admitted
    lo, hi = use_offsets(c)[segment], use_offsets(c)[segment + 1]
    end = hi
    while lo < hi:
        middle = (lo + hi) // 2
        if uses(c)[middle] >= after:
            hi = middle
        else:
            lo = middle + 1
    return float(uses(c)[lo]) if lo < end else np.inf


@inner
def _admit(c: State, i: int, r: int, hits: int, limit: int, now_s: float) -> None:
    """Move the head of the queue to the running requests, holding its hit blocks."""
    instance = instances(c)[i]
    request = requests(c)[r]
    block_size = sizes(c).block_size
    instance.n_admitted = max(instance.n_admitted, r + 1)
    table = instance.head_table
    request.table = table
    instance.n_tables_free -= 1
    instance.head_table = free_tables(c)[i, instance.n_tables_free]
    instance.head_request = -1
    instance.waiting_head = request.after
    instance.n_waiting -= 1
    for k in range(hits):
        key = table_keys(c)[i, table, k]
        b = touch(c, i, key, request.category, now_s)
        tables(c)[i, table, k] = b
        if sizes(c).n_uses > 0:
            items(c)[b].next_use = _next_use(c, i, key)
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
    running(c)[i, instance.n_running] = r
    instance.n_running += 1


@inner
def _preempt(c: State, i: int, r: int, now_s: float) -> None:
    """Release everything a running request holds and put it at the front of the queue."""
    instance = instances(c)[i]
    request = requests(c)[r]
    for k in range(request.n_shared, request.n_published):
        index_private(c, i, tables(c)[i, request.table, k])
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
    preempted(c)[i, instance.n_preempted] = r
    instance.n_preempted += 1


@inner
def _leave(c: State, i: int, r: int, now_s: float) -> None:
    """Give back the blocks and the table of a request."""
    instance = instances(c)[i]
    request = requests(c)[r]
    table = tables(c)[i, request.table]
    release(c, i, table, request.n_held, request.n_published, now_s)
    free_tables(c)[i, instance.n_tables_free] = request.table
    instance.n_tables_free += 1
    request.n_held = 0
    request.n_published = 0


@inner
def _commit(c: State, i: int) -> None:
    """End the open step: tokens are sampled, finished requests release their blocks."""
    instance = instances(c)[i]
    now_s = instance.now_s
    n_finished = 0
    for at in range(instance.n_entries):
        request = requests(c)[entries(c)[i, at, 0]]
        request.computed += entries(c)[i, at, 1]
        if request.computed < request.known:
            continue
        request.known += 1
        instance.output_tokens += 1
        sampled = request.known - request.input_tokens
        if sampled == 1:
            request.first_token_s = now_s
        if sampled == request.output_tokens:
            r = np.int64(entries(c)[i, at, 0])
            request.finish_s = now_s
            request.status = FINISHED
            _leave(c, i, r, now_s)
            n_finished += 1
            marks(c)[MARK_AWAITED] += request.is_awaited
    if sizes(c).n_log:
        _log_step(c, i, n_finished)
    if n_finished:
        kept = 0
        for at in range(instance.n_running):
            r = running(c)[i, at]
            if requests(c)[r].status == RUNNING:
                running(c)[i, kept] = r
                kept += 1
        instance.n_running = kept
        instance.finished += n_finished
        instance.is_quiet = False
    instance.is_stepping = 0


@inner
def _coast(c: State, i: int, until_s: float) -> None:
    """Run the steps that must be like a quiet one, as long as they end by `until_s`.

    A step is quiet if all running requests decoded, and nobody was admitted, preempted or
    finished. Until a request fills its block or finishes, the next step differs in its context
    tokens alone: whoever could not be admitted still cannot. If nobody waits, requests are also
    given their next blocks here, in order of admission, while there are enough. The clock is
    added up step by step, so the outcome is that of `_schedule` and `_commit` to the last bit.
    """
    instance = instances(c)[i]
    n = instance.n_running
    if instance.n_waiting > 0 and not instance.had_waiting:
        return
    next_sample_s = (instance.last_sample + 1) * sample_every_s(c)[0]
    while True:
        context = 0
        to_block = LONGEST_COAST
        to_finish = LONGEST_COAST
        for at in range(n):
            request = requests(c)[running(c)[i, at]]
            computed = request.computed
            context += computed
            to_block = min(to_block, request.n_held * sizes(c).block_size - computed)
            if sizes(c).prefix_caching:
                full = (request.n_published + 1) * sizes(c).block_size
                to_block = min(to_block, full - 1 - computed)
            sampled = request.known - request.input_tokens
            to_finish = min(to_finish, request.output_tokens - sampled - 1)
        most = min(to_block, to_finish)
        steps = 0
        total = 0
        now_s = instance.now_s
        dt_s = 0.0
        is_over = False
        while True:
            dt_s = step_seconds(
                sizes(c).latency_kind,
                latency(c),
                0.0,
                0.0,
                float(n),
                float(context + n),
                float(context + n),
                0.0,
            )
            is_over = now_s + dt_s > until_s or now_s >= until_s or now_s >= next_sample_s
            if is_over or steps == most:
                break
            context += n
            now_s = now_s + dt_s
            instance.busy_s += dt_s
            total += context
            steps += 1
        marks(c)[MARK_ALLOWANCE] -= steps >> 4
        can_grow = instance.n_waiting == 0 and to_block < to_finish and most < LONGEST_COAST
        grows = not is_over and can_grow and marks(c)[MARK_ALLOWANCE] > 0
        if grows:
            n_new = 0
            for at in range(n):
                request = requests(c)[running(c)[i, at]]
                upto = request.computed + steps + 1
                n_new += block_count(upto, sizes(c).block_size) - request.n_held
            grows = n_new <= pools(c)[i].n_free
        for at in range(n):
            r = np.int64(running(c)[i, at])
            request = requests(c)[r]
            request.computed += steps
            request.known += steps
            if grows:
                upto = request.computed + 1
                if (
                    block_count(upto, sizes(c).block_size) > request.n_held
                    or upto // sizes(c).block_size > request.n_published
                ):
                    _grow(c, i, r, upto, now_s)
                request.computed = upto
                request.known += 1
        if grows:
            context += n
            now_s = now_s + dt_s
            instance.busy_s += dt_s
            total += context
            steps += 1
        instance.now_s = now_s
        instance.steps += steps
        instance.decode_tokens += steps * n
        instance.output_tokens += steps * n
        instance.context_tokens += total
        if grows:
            continue
        if steps < most and now_s < until_s and now_s < next_sample_s:
            # the step that goes on beyond `until_s`: its entries are those of the last one
            instance.now_s = now_s + dt_s
            instance.busy_s += dt_s
            instance.steps += 1
            instance.decode_tokens += n
            instance.context_tokens += context + n
            instance.is_stepping = 1
        return


@inner
def _has_log_room(c: State) -> bool:
    most = 6 + 5 * sizes(c).max_num_seqs
    n_open = sizes(c).n_instances
    return bool(
        marks(c)[MARK_LOG] + n_open * most <= sizes(c).n_log
        and marks(c)[MARK_LOG_STEPS] + n_open <= sizes(c).n_log // 8
    )


@inner
def _log_step(c: State, i: int, n_finished: int) -> None:
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
def _sample(c: State, i: int) -> None:
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
