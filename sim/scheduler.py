"""The scheduler of one serving instance, compiled: what a step does. Knows no router, no simpy.

Follows the vLLM 0.32 V1 scheduler (first come first served, chunked prefill, one
full-attention cache group, no async scheduling): running requests first, in order of
admission; the last one is preempted when blocks run out; strictly in-order admission after a
look-up capped at the last token; blocks are published when they are allocated.
`tests/sim/test_vllm_oracle.py` compares it with recorded decisions of the real one.

A step has two halves: `schedule` at its start, `commit` at its end.
"""

from __future__ import annotations

import numpy as np

from ..calibration.latency import step_seconds
from ..kernels import inner
from .admission import FCFS, bring_forward
from .kvcache import index_private, lookup, take, tell_misses, touch
from .next_use import next_use
from .promotion import demote_last, finish_promotions, promote
from .recording import log_step, record_event, sample, sign_evictions
from .records import (
    ADMITTED,
    COMING,
    FINISHED,
    LOADING,
    MARK_AWAITED,
    PREEMPTED,
    RUNNING,
    WAITING,
)
from .request_blocks import (
    block_count,
    give_up_blocks,
    grow,
    publish_loaded,
    table_of,
    write_keys,
)
from .ring import leave_ring
from .state import (
    State,
    blocks,
    entries,
    free_tables,
    instances,
    items,
    latency,
    marks,
    orders,
    pools,
    preempted,
    requests,
    running,
    sizes,
    table_keys,
    tables,
)
from .tier_paths import hear_of_turn
from .tiers import WRITE_THROUGH, send, tier_load, tier_load_s, tier_lookup, tier_touch


@inner
def schedule(c: State, i: int) -> None:
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
    if instance.n_loading > 0:
        _finish_loads(c, i, now_s)
    if instance.n_promoted > 0:
        finish_promotions(c, i, now_s)

    instance.step_prefill = 0
    instance.step_prefill_seqs = 0
    instance.step_decode = 0
    instance.step_context = 0
    instance.step_decode_context = 0
    instance.step_pairs = 0.0

    # running requests, in order of admission
    at = 0
    while at < instance.n_running and budget > 0:
        r = np.int64(running(c)[i, at])  # int64, as elsewhere: one specialisation of each function
        request = requests(c)[r]
        n = _chunk(request.known - request.computed, threshold, budget)
        upto = request.computed + n
        n_new = block_count(upto, block_size) - request.n_held
        is_victim = False
        while n_new > pool.n_free:
            if instance.n_promoted > 0 and demote_last(c, i, False, now_s):
                continue
            last = np.int64(running(c)[i, instance.n_running - 1])
            instance.n_running -= 1
            _preempt(c, i, last, now_s)
            if last == r:
                is_victim = True
                break
        if is_victim:
            break
        if n_new > 0 or upto // block_size > request.n_published:
            grow(c, i, r, upto, now_s)
        _enter(c, i, r, n, request.computed)
        budget -= n
        at += 1

    # then those whose blocks have come from a lower tier: they were first in the queue; then the
    # queue, strictly in order
    while (
        instance.n_preempted == 0
        and budget > 0
        and instance.n_ready + instance.n_waiting > 0
        and instance.n_running < sizes(c).max_num_seqs
    ):
        is_ready = instance.n_ready > 0
        if sizes(c).admission != FCFS and not is_ready:
            bring_forward(c, i)
        r = np.int64(instance.ready_head if is_ready else instance.waiting_head)
        request = requests(c)[r]
        limit = (request.known - 1) // block_size if sizes(c).prefix_caching else 0
        n_loading = 0
        idle = 0
        spare = sizes(c).watermark_blocks if instance.n_running > 0 else 0
        is_late = is_ready == 0 and request.is_promoted == COMING
        if is_ready or is_late:
            hits = np.int64(request.n_held)
        else:
            hits = _look_up(c, i, r, limit)
            table = table_of(c, i, r)
            for k in range(request.n_held, hits):
                if blocks(c)[tables(c)[i, table, k]].ref == 0:
                    idle += 1
            if sizes(c).has_tiers and request.is_promoted == 0:
                n_loading = _loadable(c, i, r, hits, limit, now_s)
        if is_ready == 0:
            # who waits for a lower tier has its blocks set aside, or all could wait for each other
            spare += instance.n_owed
        cached = (hits + n_loading) * block_size
        n = _chunk(request.known - cached, threshold, budget)
        is_whole = sizes(c).reserve_full_isl or n_loading > 0 or is_late
        needed_for = request.known if is_whole else cached + n
        if block_count(needed_for, block_size) - hits + idle + spare > pool.n_free:
            if instance.n_promoted > 0 and demote_last(c, i, True, now_s):
                continue
            break
        if is_late:
            _wait_for_promotion(c, i, r, now_s)
            continue
        if is_ready:
            instance.ready_head = request.after
            instance.n_ready -= 1
            instance.n_owed -= block_count(request.known, block_size) - request.n_held
        else:
            if n_loading > 0:  # first of all: holding the hits may store blocks, and so evict these
                _fetch(c, i, r, hits, n_loading, n, now_s)
            _leave_queue(c, i, r, hits, now_s)
            if n_loading > 0:
                _load(c, i, r, n_loading, now_s)
                continue
        _start(c, i, r, limit, now_s)
        grow(c, i, r, cached + n, now_s)
        _enter(c, i, r, n, cached)
        budget -= n

    if sizes(c).prefetch_lead > 0 and instance.n_waiting > 0 and instance.n_preempted == 0:
        promote(c, i, now_s)
    if instance.n_entries == 0:
        return  # everybody waits for a lower tier
    decode = instance.step_decode
    instance.is_quiet = (
        decode == at
        and instance.n_entries == at
        and at == instance.n_running
        and instance.n_preempted == 0
        and (
            sizes(c).has_tiers == 0
            or instance.n_loading + instance.n_ready + instance.n_waiting == 0
        )
    )
    instance.had_waiting = instance.n_waiting > 0
    instance.steps += 1
    instance.prefill_tokens += instance.step_prefill
    instance.decode_tokens += decode
    instance.context_tokens += instance.step_context
    instance.free_blocks = pool.n_free
    sample(c, i)
    dt_s = step_seconds(
        sizes(c).latency_kind,
        latency(c),
        float(instance.step_prefill),
        float(instance.step_prefill_seqs),
        float(decode),
        float(instance.step_context),
        float(instance.step_decode_context),
        instance.step_pairs,
    )
    instance.step_start_s = now_s
    instance.now_s = now_s + dt_s
    instance.busy_s += dt_s
    instance.is_stepping = 1


@inner
def _look_up(c: State, i: int, r: int, limit: int) -> int:
    """Count the blocks of the queue's head that the GPU holds; they go to the table it will get."""
    instance = instances(c)[i]
    held = requests(c)[r].n_held
    table = table_of(c, i, r)
    keys = table_keys(c)[i, table]
    if instance.head_request != r and requests(c)[r].is_promoted == 0:
        write_keys(c, r, keys)
        instance.head_request = r
    found = lookup(c, i, keys[held:], limit - held, tables(c)[i, table][held:])
    return int(held + found)


@inner
def _loadable(c: State, i: int, r: int, hits: int, limit: int, now_s: float) -> int:
    """Count the blocks behind the queue's head's hits that are to be loaded from lower tiers."""
    instance = instances(c)[i]
    request = requests(c)[r]
    keys = table_keys(c)[i, instance.head_table]
    tier_touch(c, i, keys, limit, request.category, now_s)
    if instance.n_loading + instance.n_ready >= sizes(c).max_num_seqs:
        return 0
    n = tier_lookup(c, i, keys, hits, limit, now_s)
    if n > 0 and sizes(c).fetches_cheaper:
        above = hits * sizes(c).block_size
        all_s = _alone_s(c, request.known - above, above)
        kept = (hits + n) * sizes(c).block_size
        rest_s = _alone_s(c, request.known - kept, kept)
        if tier_load_s(c, i, keys, hits, n, now_s) + rest_s > all_s:
            return 0
    return int(n)


@inner
def _alone_s(c: State, n: int, cached: int) -> float:
    """Seconds that `n` tokens of a prompt after `cached` ones take in steps of their own."""
    seconds = 0.0
    while n > 0:
        part = min(n, sizes(c).max_num_batched_tokens)
        pairs = part * (cached + (part + 1) / 2)
        seconds += step_seconds(
            sizes(c).latency_kind,
            latency(c),
            float(part),
            1.0,
            0.0,
            float(cached + part),
            0.0,
            pairs,
        )
        n -= part
        cached += part
    return seconds


@inner
def _fetch(c: State, i: int, r: int, hits: int, n_loading: int, n: int, now_s: float) -> None:
    """Start to load blocks for the queue's head, whose first step then computes `n` tokens.

    Layer by layer, the load of a layer may overlap the computation of those before it: the
    request is ready once what is left to load takes no longer than that step.
    """
    request = requests(c)[r]
    keys = table_keys(c)[i, instances(c)[i].head_table]
    request.overlap_s = 0.0
    if sizes(c).n_layers > 1:
        cached = (hits + n_loading) * sizes(c).block_size
        request.overlap_s = _alone_s(c, n, cached) * (1.0 - 1.0 / sizes(c).n_layers)
    request.loaded_s = tier_load(c, i, r, keys, hits, n_loading, now_s)


@inner
def _chunk(n: int, threshold: int, budget: int) -> int:
    """Tokens of `n` that one step computes; a threshold of 0 is none."""
    if threshold > 0 and n > threshold:
        n = threshold
    return min(n, budget)


@inner
def _enter(c: State, i: int, r: int, n: int, computed: int) -> None:
    """Add an entry to the open step: `n` tokens of a request after `computed` ones."""
    instance = instances(c)[i]
    request = requests(c)[r]
    at = instance.n_entries
    entries(c)[i, at, 0] = r
    entries(c)[i, at, 1] = n
    entries(c)[i, at, 2] = computed
    instance.n_entries = at + 1
    upto = computed + n
    if request.known > request.input_tokens and n == 1 and upto == request.known:
        instance.step_decode += 1
        instance.step_decode_context += upto
    else:
        instance.step_prefill += n
        instance.step_prefill_seqs += 1
        instance.step_pairs += n * (computed + (n + 1) / 2)
        request.prefill_tokens += n
    instance.step_context += upto


@inner
def _take_head_table(c: State, i: int, r: int) -> None:
    """Give the queue's head its table, and put another aside for the next."""
    instance = instances(c)[i]
    requests(c)[r].table = instance.head_table
    instance.n_tables_free -= 1
    instance.head_table = free_tables(c)[i, instance.n_tables_free]
    instance.head_request = -1


@inner
def _leave_queue(c: State, i: int, r: int, hits: int, now_s: float) -> None:
    """Take the head off the queue; it holds a table, and the blocks found for it."""
    instance = instances(c)[i]
    request = requests(c)[r]
    block_size = sizes(c).block_size
    n_admitted = instance.n_admitted
    instance.n_admitted = max(n_admitted, r + 1)
    if sizes(c).tiers_hear:
        hear_of_turn(c, i, r, n_admitted)
    instance.last_admitted = r
    record_event(c, ADMITTED, i, r, -1, now_s)
    table = table_of(c, i, r)
    held = request.n_held
    if request.is_promoted:
        request.is_promoted = 0
        instance.n_promoted -= 1
        if request.first_scheduled_s != request.first_scheduled_s:
            request.in_time_tokens = request.n_loading * block_size
        instance.in_time_blocks += request.n_loading
    else:
        _take_head_table(c, i, r)
        request.n_loading = 0
    instance.waiting_head = request.after
    instance.n_waiting -= 1
    for k in range(held, hits):
        b = np.int64(tables(c)[i, table, k])
        touch(c, i, b, k, request.category, now_s)
        if sizes(c).needs_future:
            items(c)[b].next_use = next_use(c, i, table_keys(c)[i, table, k])
    request.n_held = hits
    request.n_published = hits
    request.computed = hits * block_size
    if sizes(c).ring_window > 0:
        leave_ring(c, i, r, now_s)
    _tell_misses(c, i, r, now_s)


@inner
def _tell_misses(c: State, i: int, r: int, now_s: float) -> None:
    """Tell the policy what a request that leaves the queue lacks, behind the blocks it holds."""
    request = requests(c)[r]
    if orders(c)[i].hears_misses and sizes(c).prefix_caching:
        n_full = request.known // sizes(c).block_size
        keys = table_keys(c)[i, request.table]
        tell_misses(c, i, keys, request.n_held, n_full, request.category, now_s)


@inner
def _load(c: State, i: int, r: int, n: int, now_s: float) -> None:
    """Let a request wait until the `n` blocks behind those it holds have come."""
    request = requests(c)[r]
    table = tables(c)[i, request.table]
    for k in range(request.n_held, request.n_held + n):
        table[k] = take(c, i, now_s)
    if sizes(c).n_events:
        sign_evictions(c, r, now_s)
    request.n_held += n
    request.n_loading = n
    _join_loading(c, i, r)


@inner
def _join_loading(c: State, i: int, r: int) -> None:
    """Put a request that has left the queue behind those that wait for their blocks."""
    instance = instances(c)[i]
    request = requests(c)[r]
    instance.n_owed += block_count(request.known, sizes(c).block_size) - request.n_held
    request.status = LOADING
    request.after = -1
    if instance.n_loading == 0:
        instance.loading_head = r
    else:
        requests(c)[instance.loading_tail].after = r
    instance.loading_tail = r
    instance.n_loading += 1


@inner
def _wait_for_promotion(c: State, i: int, r: int, now_s: float) -> None:
    """The queue's head is to run, and its blocks are still on their way: like a load on demand."""
    instance = instances(c)[i]
    request = requests(c)[r]
    n_admitted = instance.n_admitted
    instance.n_admitted = max(n_admitted, r + 1)
    if sizes(c).tiers_hear:
        hear_of_turn(c, i, r, n_admitted)
    instance.last_admitted = r
    record_event(c, ADMITTED, i, r, -1, now_s)
    request.is_promoted = 0
    instance.n_promoted -= 1
    if request.first_scheduled_s != request.first_scheduled_s:
        request.late_tokens = request.n_loading * sizes(c).block_size
    instance.late_blocks += request.n_loading
    if sizes(c).ring_window > 0:
        leave_ring(c, i, r, now_s)
    _tell_misses(c, i, r, now_s)
    instance.waiting_head = request.after
    instance.n_waiting -= 1
    _join_loading(c, i, r)


@inner
def _finish_loads(c: State, i: int, now_s: float) -> None:
    """Publish what has come from lower tiers by now, and let those who waited for it run."""
    instance = instances(c)[i]
    before = np.int64(-1)
    r = np.int64(instance.loading_head)
    for _ in range(instance.n_loading):
        request = requests(c)[r]
        after = np.int64(request.after)
        if request.loaded_s > now_s:
            before, r = r, after
            continue
        if before < 0:
            instance.loading_head = after
        else:
            requests(c)[before].after = after
        if after < 0:
            instance.loading_tail = before
        instance.n_loading -= 1
        if instance.n_ready == 0:
            instance.ready_head = r
        else:
            requests(c)[instance.ready_tail].after = r
        instance.ready_tail = r
        request.after = -1
        instance.n_ready += 1
        publish_loaded(c, i, r, now_s)
        r = after


@inner
def _start(c: State, i: int, r: int, limit: int, now_s: float) -> None:
    """Make a request that has left the queue a running one."""
    instance = instances(c)[i]
    request = requests(c)[r]
    cached = request.computed
    if request.first_scheduled_s != request.first_scheduled_s:
        request.first_scheduled_s = now_s
        request.cached_tokens = cached
        request.peer_tokens = request.n_from_peer * sizes(c).block_size
        request.host_tokens = request.n_from_host * sizes(c).block_size
        request.disk_tokens = request.n_from_disk * sizes(c).block_size
        instance.lookup_tokens += request.input_tokens
        instance.hit_tokens += cached
        instance.lookup_blocks += limit
        instance.hit_blocks += cached // sizes(c).block_size
    else:
        request.recached_tokens += cached
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
    give_up_blocks(c, i, r, now_s)
    record_event(c, PREEMPTED, i, r, -1, now_s)
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
def _store(c: State, i: int, r: int, now_s: float) -> None:
    """Start to copy the blocks that a request has filled to the first tier, if it filled one."""
    request = requests(c)[r]
    n_full = min(request.computed // sizes(c).block_size, request.n_published)
    if n_full <= request.n_stored:
        return
    keys = table_keys(c)[i, request.table]
    for k in range(request.n_stored, n_full):
        send(c, i, 0, True, keys[k], k, request.category, now_s)
    request.n_stored = n_full


@inner
def commit(c: State, i: int) -> None:
    """End the open step: tokens are sampled, finished requests release their blocks."""
    instance = instances(c)[i]
    now_s = instance.now_s
    n_finished = 0
    for at in range(instance.n_entries):
        request = requests(c)[entries(c)[i, at, 0]]
        request.computed += entries(c)[i, at, 1]
        if sizes(c).has_tiers and sizes(c).first_tier_write == WRITE_THROUGH:
            _store(c, i, np.int64(entries(c)[i, at, 0]), now_s)
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
            give_up_blocks(c, i, r, now_s)
            n_finished += 1
            marks(c)[MARK_AWAITED] += request.is_awaited
    if sizes(c).n_log:
        log_step(c, i, n_finished)
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
