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
    ],
    align=True,
)
"""One instance's block pool: free blocks, those of them without a key, places given to
the lru queue since the start and those taken from it, counters."""

HOST_BLOCK = np.dtype(
    [("ready_s", "f8"), ("key", "i4"), ("pins", "i4"), ("before", "i4"), ("after", "i4")],
    align=True,
)
"""A host block: when its transfer ends, key, loads that need it, neighbours in the lru list (free:
the next free one)."""

HOST = np.dtype(
    [
        ("up_free_s", "f8"),
        ("down_free_s", "f8"),
        ("n_used", "i8"),
        ("free_head", "i8"),
        ("lru_head", "i8"),
        ("lru_tail", "i8"),
        ("n_uses", "i8"),
        ("n_pinned", "i8"),
        ("n_stored", "i8"),
        ("n_loaded", "i8"),
        ("n_evicted", "i8"),
        ("n_refused", "i8"),
        ("n_unloaded", "i8"),
    ],
    align=True,
)
"""One instance's host buffer: when its links are free, blocks ever used, lists, counters (in
blocks; refused: not stored because every block was being loaded; unloaded: left on loading)."""

WAITING = 0
RUNNING = 1
FINISHED = 2
REJECTED = 3
PENDING = 4
"""Not arrived yet."""
LOADING = 5
"""Waits for its blocks from the host."""

REQUEST = np.dtype(
    [
        ("arrival_s", "f8"),
        ("first_scheduled_s", "f8"),
        ("first_token_s", "f8"),
        ("finish_s", "f8"),
        ("loaded_s", "f8"),
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
        ("host_tokens", "i4"),
        ("n_loading", "i4"),
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
        ("is_quiet", "i8"),
        ("had_waiting", "i8"),
        ("n_loading", "i8"),
        ("n_owed", "i8"),
        ("loading_head", "i8"),
        ("loading_tail", "i8"),
        ("host_tokens", "i8"),
    ],
    align=True,
)
"""One instance: its clock (the end of the open step, if one is open), queue and counters."""

ADMITTED = 0
PREEMPTED = 1
EVICTED = 2
EVENT = np.dtype(
    [("time_s", "f8"), ("request", "i4"), ("key", "i4"), ("instance", "i4"), ("kind", "i4")],
    align=True,
)
"""What became of a request, or of a key of which the last copy went, and for which request."""

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
N_MARKS = 6
"""Scalars of the run: log in use (numbers, steps), scheduler steps left in this call, awaited
requests that finished in it, requests routed in turn, events in use."""
