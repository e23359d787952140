"""The records of the engine's state: what is kept of a block, an instance, a request, an event."""

from __future__ import annotations

import numpy as np

BLOCK = np.dtype([("ref", "i4"), ("key", "i4"), ("newer", "i4"), ("place", "i4")], align=True)
"""Users, key (-1: none), next newer copy of the same key, place in the lru queue."""
BLOCK_BYTES = BLOCK.itemsize

STRIP_BITS = 4
STRIP_KEYS = 1 << STRIP_BITS
"""Consecutive keys that share a strip of the index, a cache line."""
STRIP_MASK = STRIP_KEYS - 1

POOL = np.dtype(
    [
        ("n_free", "i8"),
        ("n_unkeyed", "i8"),
        ("queue_start", "i8"),
        ("queue_end", "i8"),
        ("n_released", "i8"),
        ("n_inserted", "i8"),
        ("evictions", "i8"),
        ("orphaned", "i8"),
    ],
    align=True,
)
"""One instance's block pool: free blocks, those of them without a key, places given to
the lru queue since the start and those taken from it, counters, blocks cached right below one that
was evicted."""

N_TIERS = 4
"""Tiers below a GPU's own pool; one is a part of the host's memory."""

TIER_BLOCK = np.dtype(
    [
        ("ready_s", "f8"),
        ("key", "i4"),
        ("pins", "i4"),
        ("before", "i4"),
        ("after", "i4"),
        ("depth", "i4"),
        ("category", "i4"),
        ("hits", "i4"),
        ("batch", "i4"),
        ("user", "i4"),
    ],
    align=True,
)
"""A block below the GPU: when its transfer ends, key, loads that need it, neighbours in the lru
list (free: the next free one), what it is to a policy, uses, the batch in which it came; in the
ring, the request that it is kept for."""

TIER = np.dtype(
    [
        ("blocks", "i8"),
        ("slots", "i8"),
        ("items", "i8"),
        ("heaps", "i8"),
        ("params", "i8"),
        ("n_all", "i8"),
        ("first", "i8"),
        ("n_blocks", "i8"),
        ("n_slots", "i8"),
        ("n_heap_entries", "i8"),
        ("n_queues", "i8"),
        ("n_params", "i8"),
        ("write", "i8"),
        ("min_hits", "i8"),
        ("is_exclusive", "i8"),
        ("needs_future", "i8"),
        ("lengths", "i8"),
        ("placement", "i8"),
        ("run_bits", "i8"),
        ("up_s", "f8"),
        ("down_s", "f8"),
        ("start_s", "f8"),
        ("up_free_s", "f8"),
        ("down_free_s", "f8"),
        ("n_used", "i8"),
        ("free_head", "i8"),
        ("lru_head", "i8"),
        ("lru_tail", "i8"),
        ("n_uses", "i8"),
        ("n_pinned", "i8"),
        ("batch", "i8"),
        ("done_batch", "i8"),
        ("n_stored", "i8"),
        ("n_kept", "i8"),
        ("n_loaded", "i8"),
        ("n_evicted", "i8"),
        ("n_refused", "i8"),
        ("n_unloaded", "i8"),
    ],
    align=True,
)
"""One cache of a tier. Addresses of TIER_BLOCK, int32, ITEM, ENTRY and float64; blocks of all its
caches, number of its first one, its size (0: there is no such tier); how it is filled; whether its
policy sees the future, address of the lengths of paths that it is told of (int32; 0: it is not);
its own link: seconds a block each way (0: none), to start, when it is free; blocks ever used,
lists, uses and pins, batches begun and arrived; counters, in blocks (kept: came by on the way from
the disk; refused: not stored because every block was being loaded; unloaded: left on loading)."""

TRANSFER = np.dtype(
    [
        ("cache", "i4"),
        ("instance", "i4"),
        ("request", "i4"),
        ("crosses", "i4"),
        ("n_blocks", "i4"),
        ("batch", "i4"),
    ],
    align=True,
)
"""Blocks to move between a GPU (or the host's memory) and a cache: for a request (-1: a store, of
this batch), over the link between host and GPU or not."""

WAITING = 0
RUNNING = 1
FINISHED = 2
REJECTED = 3
PENDING = 4
"""Not arrived yet."""
LOADING = 5
"""Waits for its blocks from a lower tier, or has them and waits to run."""

COMING = 1
PROMOTED = 2
"""Blocks of a waiting request are on their way from a lower tier, or have come, before its turn."""

REQUEST = np.dtype(
    [
        ("arrival_s", "f8"),
        ("first_scheduled_s", "f8"),
        ("first_token_s", "f8"),
        ("finish_s", "f8"),
        ("loaded_s", "f8"),
        ("overlap_s", "f8"),
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
        ("n_passed", "i4"),
        ("n_loading", "i4"),
        ("is_promoted", "i4"),
        ("in_time_tokens", "i4"),
        ("late_tokens", "i4"),
        ("n_transfers", "i4"),
        ("n_from_peer", "i4"),
        ("n_from_host", "i4"),
        ("n_from_disk", "i4"),
        ("peer_tokens", "i4"),
        ("host_tokens", "i4"),
        ("disk_tokens", "i4"),
        ("n_stored", "i4"),
    ],
    align=True,
)
"""A request: `known` tokens = prompt + sampled, `computed` of them have KV; its block table."""

INSTANCE = np.dtype(
    [
        ("now_s", "f8"),
        ("step_start_s", "f8"),
        ("busy_s", "f8"),
        ("step_pairs", "f8"),
        ("step_prefill", "i8"),
        ("step_prefill_seqs", "i8"),
        ("step_decode", "i8"),
        ("step_context", "i8"),
        ("step_decode_context", "i8"),
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
        ("last_admitted", "i8"),
        ("is_quiet", "i8"),
        ("had_waiting", "i8"),
        ("n_loading", "i8"),
        ("n_ready", "i8"),
        ("n_owed", "i8"),
        ("loading_head", "i8"),
        ("loading_tail", "i8"),
        ("ready_head", "i8"),
        ("ready_tail", "i8"),
        ("up_free_s", "f8"),
        ("down_free_s", "f8"),
        ("n_flows", "i8"),
        ("n_promoted", "i8"),
        ("promoted_blocks", "i8"),
        ("in_time_blocks", "i8"),
        ("late_blocks", "i8"),
        ("useless_blocks", "i8"),
        ("up_blocks", "i8"),
        ("down_blocks", "i8"),
    ],
    align=True,
)
"""One instance: its clock (the end of the open step, if one is open), queue and counters."""

ADMITTED = 0
PREEMPTED = 1
EVICTED = 2
EVENT = np.dtype(
    [
        ("time_s", "f8"),
        ("score", "f8"),
        ("request", "i4"),
        ("key", "i4"),
        ("instance", "i4"),
        ("kind", "i4"),
    ],
    align=True,
)
"""What became of a request, or of a key of which the last copy went, for which request, and by
which score the policy chose it (NaN if by none)."""

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

MARK_LOG = 0
MARK_LOG_STEPS = 1
MARK_ALLOWANCE = 2
MARK_AWAITED = 3
MARK_ROUTED = 4
MARK_EVENTS = 5
MARK_TRANSFERS = 6
N_MARKS = 7
"""Scalars of the run: log in use (numbers, steps), scheduler steps left in this call, awaited
requests that finished in it, requests routed in turn, events in use, transfers noted."""
