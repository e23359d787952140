"""The state of a whole cluster, as compiled code sees it: one record of sizes and addresses.

Compiled functions take the address of that record and reach an array by the function of its
name: `blocks(c)[b].ref`, and a number by `sizes(c).block_size`. Python reaches the same arrays
as attributes of `Cluster`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, view
from ..policies.order import ENTRY, ITEM, ORDER
from .pointers import Pointers
from .records import (
    BLOCK,
    EVENT,
    HOST,
    HOST_BLOCK,
    INSTANCE,
    N_MARKS,
    POOL,
    REQUEST,
    SAMPLE_FIELDS,
    STRIP_BITS,
    STRIP_KEYS,
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
    "n_tables",
    "n_table_blocks",
    "n_log",
    "n_samples",
    "n_events",
    "is_listed",
    "block_size",
    "n_blocks",
    "max_num_seqs",
    "max_num_batched_tokens",
    "long_prefill_token_threshold",
    "watermark_blocks",
    "reserve_full_isl",
    "prefix_caching",
    "latency_kind",
    "n_host",
    "n_host_slots",
    "n_host_queues",
    "n_host_heap_entries",
    "host_write",
    "host_min_hits",
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
    "hosts": HOST,
    "host_blocks": HOST_BLOCK,
    "host_slots": np.int32,
    "host_items": ITEM,
    "host_orders": ORDER,
    "host_heaps": ENTRY,
    "host_params": np.float64,
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


@inner
def sizes(c: State) -> Any:
    """The record itself: sizes and settings, by the names of SIZES."""
    return view(c, (1,), STATE)[0]


# The pools: instance i owns blocks i * n_blocks .. (i + 1) * n_blocks - 1.


@inner
def blocks(c: State) -> NDArray[Any]:
    """(n_instances * n_blocks,) of BLOCK."""
    s = sizes(c)
    return view(s.blocks, (s.n_instances * s.n_blocks,), BLOCK)


@inner
def items(c: State) -> NDArray[Any]:
    """The same blocks as a policy sees them, ITEM; (1,) where the lru queue orders."""
    s = sizes(c)
    return view(s.items, (s.n_instances * s.n_blocks,), ITEM)


@inner
def parent_key(c: State) -> NDArray[np.int32]:
    """Key of the block before, by block; (1,) where the lru queue orders."""
    s = sizes(c)
    return view(s.parent_key, (s.n_instances * s.n_blocks,), np.int32)


@inner
def pools(c: State) -> NDArray[Any]:
    """(n_instances,) of POOL."""
    s = sizes(c)
    return view(s.pools, (s.n_instances,), POOL)


@inner
def orders(c: State) -> NDArray[Any]:
    """(n_instances,) of ORDER."""
    s = sizes(c)
    return view(s.orders, (s.n_instances,), ORDER)


@inner
def heaps(c: State) -> NDArray[Any]:
    """(n_heap_entries,) of ENTRY: heaps of the policy."""
    s = sizes(c)
    return view(s.heaps, (s.n_heap_entries,), ENTRY)


@inner
def params(c: State) -> NDArray[np.float64]:
    """(n_queues, n_params): a policy's numbers of each category."""
    s = sizes(c)
    return view(s.params, (s.n_queues, s.n_params), np.float64)


@inner
def strip_of(c: State) -> NDArray[np.int32]:
    """(n_keys / STRIP_KEYS, n_instances): strip with an instance's copies of those keys; 0,
    which stays empty, if it has none."""
    s = sizes(c)
    return view(s.strip_of, ((s.n_keys >> STRIP_BITS) + 1, s.n_instances), np.int32)


@inner
def copies(c: State) -> NDArray[np.int32]:
    """(n_strips * STRIP_KEYS,): oldest copy of a key, -1 if none."""
    s = sizes(c)
    return view(s.copies, (s.n_strips * STRIP_KEYS,), np.int32)


@inner
def n_children(c: State) -> NDArray[np.int32]:
    """The same shape: cached keys one block deeper; (1,) where the lru queue orders."""
    s = sizes(c)
    return view(s.n_children, (s.n_strips * STRIP_KEYS,), np.int32)


@inner
def free_strips(c: State) -> NDArray[np.int32]:
    """(n_strips + 1,): a stack of unused strips; its height is in the last element."""
    s = sizes(c)
    return view(s.free_strips, (s.n_strips + 1,), np.int32)


@inner
def unkeyed(c: State) -> NDArray[np.int32]:
    """(n_instances, n_blocks): stack of free blocks without a key."""
    s = sizes(c)
    return view(s.unkeyed, (s.n_instances, s.n_blocks), np.int32)


@inner
def queue(c: State) -> NDArray[np.int32]:
    """(n_instances, n_places): ring of keyed free blocks, longest unused first, -1 for one that is
    used again; (n_instances, 1) where a policy orders."""
    s = sizes(c)
    return view(s.queue, (s.n_instances, s.n_places), np.int32)


# The requests and their prefix tree (see kvsim.traces.prefix_tree).


@inner
def requests(c: State) -> NDArray[Any]:
    """(n_requests,) of REQUEST."""
    s = sizes(c)
    return view(s.requests, (s.n_requests,), REQUEST)


@inner
def instances(c: State) -> NDArray[Any]:
    """(n_instances,) of INSTANCE."""
    s = sizes(c)
    return view(s.instances, (s.n_instances,), INSTANCE)


@inner
def segment_parent(c: State) -> NDArray[np.int32]:
    """(n_segments,)"""
    s = sizes(c)
    return view(s.segment_parent, (s.n_segments,), np.int32)


@inner
def segment_depth(c: State) -> NDArray[np.int32]:
    """(n_segments,)"""
    s = sizes(c)
    return view(s.segment_depth, (s.n_segments,), np.int32)


@inner
def segment_first_key(c: State) -> NDArray[np.int64]:
    """(n_segments,)"""
    s = sizes(c)
    return view(s.segment_first_key, (s.n_segments,), np.int64)


@inner
def segment_of(c: State) -> NDArray[np.int32]:
    """(n_segment_keys,): segment of a key; empty unless the policy needs the future."""
    s = sizes(c)
    return view(s.segment_of, (s.n_segment_keys,), np.int32)


@inner
def uses(c: State) -> NDArray[np.int32]:
    """(n_uses,): requests that touch each segment, in order of arrival; empty likewise."""
    s = sizes(c)
    return view(s.uses, (s.n_uses,), np.int32)


@inner
def use_offsets(c: State) -> NDArray[np.int64]:
    """(n_segments + 1,): where the uses of each segment start."""
    s = sizes(c)
    return view(s.use_offsets, (s.n_segments + 1,), np.int64)


# The open step and the running requests of each instance.


@inner
def tables(c: State) -> NDArray[np.int32]:
    """(n_instances, n_tables, n_table_blocks): blocks of running requests."""
    s = sizes(c)
    shape = (s.n_instances, s.n_tables, s.n_table_blocks)
    return view(s.tables, shape, np.int32)


@inner
def table_keys(c: State) -> NDArray[np.int32]:
    """The same shape: keys of a request's full blocks, prompt and output."""
    s = sizes(c)
    shape = (s.n_instances, s.n_tables, s.n_table_blocks)
    return view(s.table_keys, shape, np.int32)


@inner
def free_tables(c: State) -> NDArray[np.int32]:
    """(n_instances, n_tables): stack of unused tables."""
    s = sizes(c)
    return view(s.free_tables, (s.n_instances, s.n_tables), np.int32)


@inner
def running(c: State) -> NDArray[np.int32]:
    """(n_instances, max_num_seqs): requests in order of admission."""
    s = sizes(c)
    return view(s.running, (s.n_instances, s.max_num_seqs), np.int32)


@inner
def entries(c: State) -> NDArray[np.int32]:
    """(n_instances, max_num_seqs, 3): request, n tokens, C computed before; of the open step."""
    s = sizes(c)
    return view(s.entries, (s.n_instances, s.max_num_seqs, 3), np.int32)


@inner
def preempted(c: State) -> NDArray[np.int32]:
    """(n_instances, max_num_seqs): preempted in the open step, in order."""
    s = sizes(c)
    return view(s.preempted, (s.n_instances, s.max_num_seqs), np.int32)


# What is recorded.


@inner
def log(c: State) -> NDArray[np.int32]:
    """(n_log,): records of finished steps; empty if nothing is logged."""
    s = sizes(c)
    return view(s.log, (s.n_log,), np.int32)


@inner
def log_start_s(c: State) -> NDArray[np.float64]:
    """(n_log // 8,): start of each logged step."""
    s = sizes(c)
    return view(s.log_start_s, (s.n_log // 8,), np.float64)


@inner
def samples(c: State) -> NDArray[np.float64]:
    """(n_samples, n_instances, fields): state at the first step of each interval."""
    s = sizes(c)
    shape = (s.n_samples, s.n_instances, len(SAMPLE_FIELDS))
    return view(s.samples, shape, np.float64)


@inner
def events(c: State) -> NDArray[Any]:
    """(n_events,) of EVENT; empty unless they are asked for."""
    s = sizes(c)
    return view(s.events, (s.n_events,), EVENT)


@inner
def marks(c: State) -> NDArray[np.int64]:
    """(N_MARKS,)"""
    s = sizes(c)
    return view(s.marks, (N_MARKS,), np.int64)


@inner
def sample_every_s(c: State) -> NDArray[np.float64]:
    """(1,): seconds of a sampling interval."""
    s = sizes(c)
    return view(s.sample_every_s, (1,), np.float64)


@inner
def latency(c: State) -> NDArray[np.float64]:
    """(8,): coefficients of the latency model."""
    s = sizes(c)
    return view(s.latency, (8,), np.float64)


# The host's part of the cache.


@inner
def hosts(c: State) -> NDArray[Any]:
    """(n_instances,) of HOST."""
    s = sizes(c)
    return view(s.hosts, (s.n_instances,), HOST)


@inner
def host_blocks(c: State) -> NDArray[Any]:
    """(n_instances * n_host,) of HOST_BLOCK."""
    s = sizes(c)
    return view(s.host_blocks, (s.n_instances * s.n_host,), HOST_BLOCK)


@inner
def host_slots(c: State) -> NDArray[np.int32]:
    """(n_instances, n_host_slots): hash table of host blocks by key, -1 where free."""
    s = sizes(c)
    return view(s.host_slots, (s.n_instances, s.n_host_slots), np.int32)


@inner
def host_items(c: State) -> NDArray[Any]:
    """The host blocks as the host's policy sees them, ITEM; (1,) where the lru list orders."""
    s = sizes(c)
    return view(s.host_items, (s.n_instances * s.n_host,), ITEM)


@inner
def host_orders(c: State) -> NDArray[Any]:
    """(n_instances,) of ORDER."""
    s = sizes(c)
    return view(s.host_orders, (s.n_instances,), ORDER)


@inner
def host_heaps(c: State) -> NDArray[Any]:
    """(n_host_heap_entries,) of ENTRY."""
    s = sizes(c)
    return view(s.host_heaps, (s.n_host_heap_entries,), ENTRY)


@inner
def host_params(c: State) -> NDArray[np.float64]:
    """(n_host_queues, 3): parameters of the host policy's category queues."""
    s = sizes(c)
    return view(s.host_params, (s.n_host_queues, 3), np.float64)


@inner
def block_hits(c: State) -> NDArray[np.int32]:
    """(n_instances * n_blocks,): uses of a GPU block since it was taken; (1,) unless the host
    stores only what was used several times."""
    s = sizes(c)
    return view(s.block_hits, (s.n_instances * s.n_blocks,), np.int32)


@inner
def links(c: State) -> NDArray[np.float64]:
    """(4,): see `host_tier`."""
    s = sizes(c)
    return view(s.links, (4,), np.float64)
