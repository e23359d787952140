"""The state of a whole cluster, as compiled code sees it: one record of sizes and addresses.

Compiled functions take the address of that record and reach an array by the function of its
name: `blocks(c)[b].ref`, and a number by `sizes(c).block_size`. Python reaches the same arrays
as attributes of `Cluster`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import array_of, record_at
from ..policies.order import ENTRY, ITEM, ORDER
from . import records
from .pointers import Pointers
from .records import (
    BLOCK,
    EVENT,
    INSTANCE,
    POOL,
    REQUEST,
    TIER,
    TRANSFER,
)

SIZES = (
    "n_instances",
    "n_queues",
    "n_params",
    "n_heap_entries",
    "n_keys",
    "n_shared_keys",
    "n_strips",
    "n_places",
    "n_requests",
    "n_segments",
    "n_uses",
    "n_segment_keys",
    "n_users",
    "n_heard",
    "n_tables",
    "n_table_blocks",
    "n_log",
    "n_samples",
    "n_events",
    "is_listed",
    "needs_future",
    "tiers_hear",
    "block_size",
    "n_blocks",
    "max_num_seqs",
    "max_num_batched_tokens",
    "long_prefill_token_threshold",
    "watermark_blocks",
    "reserve_full_isl",
    "prefix_caching",
    "admission",
    "admission_window",
    "admission_passes",
    "latency_kind",
    "has_tiers",
    "first_tier_write",
    "min_gpu_hits",
    "is_fair",
    "fetches_cheaper",
    "n_layers",
    "prefetch_lead",
    "ring_window",
    "n_transfers",
    "n_tier_queues",
    "looks_ahead",
)
"""Whole numbers of the state record: array sizes and engine settings."""

ARRAYS: dict[str, Any] = {
    "blocks": BLOCK,
    "items": ITEM,
    "parent_key": np.int32,
    "pools": POOL,
    "orders": ORDER,
    "heaps": ENTRY,
    "params": np.float64,
    "strip_of": np.int32,
    "copies": np.int32,
    "n_children": np.int32,
    "free_strips": np.int32,
    "unkeyed": np.int32,
    "queue": np.int32,
    "requests": REQUEST,
    "instances": INSTANCE,
    "segment_parent": np.int32,
    "segment_depth": np.int32,
    "segment_first_key": np.int64,
    "segment_of": np.int32,
    "uses": np.int32,
    "use_offsets": np.int64,
    "n_over": np.int32,
    "was_admitted": np.int32,
    "tables": np.int32,
    "table_keys": np.int32,
    "free_tables": np.int32,
    "running": np.int32,
    "entries": np.int32,
    "preempted": np.int32,
    "log": np.int32,
    "log_start_s": np.float64,
    "samples": np.float64,
    "events": EVENT,
    "marks": np.int64,
    "sample_every_s": np.float64,
    "latency": np.float64,
    "tiers": TIER,
    "tier_orders": ORDER,
    "tier_params": np.float64,
    "transfers": TRANSFER,
    "block_hits": np.int32,
    "links": np.float64,
}
"""Element type of each array; its meaning and shape stand at the function of its name."""

STATE = np.dtype([(name, "i8") for name in (*SIZES, *ARRAYS)])
State = int  # the address of a record of dtype STATE


class Cluster(Pointers):
    """The arrays of a cluster, kept alive, and the record that compiled code gets."""

    def __init__(self, sizes: dict[str, int], arrays: dict[str, NDArray[Any]]) -> None:
        for name, dtype in ARRAYS.items():
            if arrays[name].dtype != np.dtype(dtype):
                raise TypeError(f"{name}: must be {np.dtype(dtype)}, is {arrays[name].dtype}")
        super().__init__(STATE, sizes, arrays)


sizes = record_at(STATE)
"""The record itself: sizes and settings, by the names of SIZES."""


def _array(name: str, shape: str) -> Any:
    """Make the compiled function from the state's address to one of its arrays.

    `shape` is the array's, in terms of SIZES and of the constants in `records`.
    """
    return array_of(STATE, name, shape, ARRAYS[name], vars(records))


# The pools: instance i owns blocks i * n_blocks .. (i + 1) * n_blocks - 1.
blocks = _array("blocks", "n_instances * n_blocks")
"""(n_instances * n_blocks,) of BLOCK."""
items = _array("items", "n_instances * n_blocks")
"""The same blocks as a policy sees them, ITEM; (1,) where the lru queue orders."""
parent_key = _array("parent_key", "n_instances * n_blocks")
"""Key of the block before, by block; (1,) where the lru queue orders."""
pools = _array("pools", "n_instances")
"""(n_instances,) of POOL."""
orders = _array("orders", "n_instances")
"""(n_instances,) of ORDER."""
heaps = _array("heaps", "n_heap_entries")
"""(n_heap_entries,) of ENTRY: heaps of the policy."""
params = _array("params", "n_queues, n_params")
"""(n_queues, n_params): a policy's numbers of each category."""
strip_of = _array("strip_of", "(n_keys >> STRIP_BITS) + 1, n_instances")
"""(n_keys / STRIP_KEYS, n_instances): strip with an instance's copies of those keys; 0,
which stays empty, if it has none."""
copies = _array("copies", "n_strips * STRIP_KEYS")
"""(n_strips * STRIP_KEYS,): oldest copy of a key, -1 if none."""
n_children = _array("n_children", "n_strips * STRIP_KEYS")
"""The same shape: cached keys one block deeper; (1,) where the lru queue orders."""
free_strips = _array("free_strips", "n_strips + 1")
"""(n_strips + 1,): a stack of unused strips; its height is in the last element."""
unkeyed = _array("unkeyed", "n_instances, n_blocks")
"""(n_instances, n_blocks): stack of free blocks without a key."""
queue = _array("queue", "n_instances, n_places")
"""(n_instances, n_places): ring of keyed free blocks, longest unused first, -1 for one that is
used again; (n_instances, 1) where a policy orders."""


# The requests and their prefix tree (see kvsim.traces.prefix_tree).
requests = _array("requests", "n_requests")
"""(n_requests,) of REQUEST."""
instances = _array("instances", "n_instances")
"""(n_instances,) of INSTANCE."""
segment_parent = _array("segment_parent", "n_segments")
"""(n_segments,)"""
segment_depth = _array("segment_depth", "n_segments")
"""(n_segments,)"""
segment_first_key = _array("segment_first_key", "n_segments")
"""(n_segments,)"""
segment_of = _array("segment_of", "n_segment_keys")
"""(n_segment_keys,): segment of a key; empty unless a policy needs the future."""
uses = _array("uses", "n_uses")
"""(n_uses,): requests that touch each segment, in order of arrival; empty likewise."""
use_offsets = _array("use_offsets", "n_segments + 1")
"""(n_segments + 1,): where the uses of each segment start."""
n_over = _array("n_over", "n_users, n_segments")
"""(n_users, n_segments): uses of each segment that are over, by instance, and for caches of all:
see `next_use`. n_users is 0 unless a tier's policy needs the future."""
was_admitted = _array("was_admitted", "n_heard")
"""(n_heard,): whether a request has had a turn; empty unless a tier's policy hears of that."""


# The open step and the running requests of each instance.
tables = _array("tables", "n_instances, n_tables, n_table_blocks")
"""(n_instances, n_tables, n_table_blocks): blocks of running requests."""
table_keys = _array("table_keys", "n_instances, n_tables, n_table_blocks")
"""The same shape: keys of a request's full blocks, prompt and output."""
free_tables = _array("free_tables", "n_instances, n_tables")
"""(n_instances, n_tables): stack of unused tables."""
running = _array("running", "n_instances, max_num_seqs")
"""(n_instances, max_num_seqs): requests in order of admission."""
entries = _array("entries", "n_instances, max_num_seqs, 3")
"""(n_instances, max_num_seqs, 3): request, n tokens, C computed before; of the open step."""
preempted = _array("preempted", "n_instances, max_num_seqs")
"""(n_instances, max_num_seqs): preempted in the open step, in order."""


# What is recorded.
log = _array("log", "n_log")
"""(n_log,): records of finished steps; empty if nothing is logged."""
log_start_s = _array("log_start_s", "n_log >> 3")
"""(n_log // 8,): start of each logged step."""
samples = _array("samples", "n_samples, n_instances, len(SAMPLE_FIELDS)")
"""(n_samples, n_instances, fields): state at the first step of each interval."""
events = _array("events", "n_events")
"""(n_events,) of EVENT; empty unless they are asked for."""
marks = _array("marks", "N_MARKS")
"""(N_MARKS,)"""
sample_every_s = _array("sample_every_s", "1")
"""(1,): seconds of a sampling interval."""
latency = _array("latency", "8")
"""(8,): coefficients of the latency model."""


# The tiers below the GPUs: cache t * n_instances + i is that of instance i, or the i-th, of tier t.
tiers = _array("tiers", "n_instances * N_TIERS")
"""(N_TIERS * n_instances,) of TIER."""
tier_orders = _array("tier_orders", "n_instances * N_TIERS")
"""(N_TIERS * n_instances,) of ORDER."""
tier_params = _array("tier_params", "n_tier_queues, 3")
"""(n_tier_queues, 3): numbers of each category, of the tiers whose policy follows the arrivals."""
transfers = _array("transfers", "n_transfers")
"""(n_transfers,) of TRANSFER: noted, and not yet taken over by `links`."""
block_hits = _array("block_hits", "n_instances * n_blocks")
"""(n_instances * n_blocks,): uses of a GPU block since it was taken; (1,) unless the first tier
stores only what was used several times."""
links = _array("links", "4")
"""(4,): see `tiers`."""
