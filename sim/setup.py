"""A cluster's state before the first arrival, from a trace and a configuration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from ..calibration.latency import LatencyModel
from ..policies import Policy
from ..policies.base import Binding, Setting
from ..policies.infinite import Infinite
from ..policies.lru import Lru
from ..policies.order import ITEM, LONG_AGO_S, LRU_LIST, make_orders
from ..policies.reuse_fit import ReuseFit, fit_over
from ..traces.prefix_tree import PrefixTree, uses_of
from ..traces.schema import Trace
from .config import ADMISSIONS, EngineConfig
from .history import first_part_of, parent_keys_of, rehearsal_of
from .pointers import lines
from .records import (
    BLOCK,
    EVENT,
    INSTANCE,
    N_MARKS,
    PENDING,
    POOL,
    REJECTED,
    REQUEST,
    SAMPLE_FIELDS,
    STRIP_BITS,
    STRIP_KEYS,
)
from .state import Cluster
from .tier_setup import TierChoices, tier_state

MOST_TURNS = 6
"""Turns from this one on are one category."""
N_SAMPLES = 1024
LOG_INTS = 1 << 20
EVENTS = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Everything a run needs, before its first event."""

    trace: Trace
    tree: PrefixTree
    engine: EngineConfig
    latency: LatencyModel
    cluster: Cluster
    binding: Binding
    fit: ReuseFit
    tier_bindings: dict[str, Binding]
    """By tier; they keep its blocks alive."""
    tier_fit: ReuseFit
    category: NDArray[np.int32]
    """(n_requests,): what the policy sees."""
    category_names: tuple[str, ...]
    longest_blocks: int
    """Blocks of the longest request that fits."""


def categories(trace: Trace) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Return the categories that policies see: request type and turn, 1 to 6 or more."""
    turn = np.minimum(np.maximum(trace.turn, 1), MOST_TURNS) - 1
    code = trace.category * MOST_TURNS + turn
    labels = [*(str(t) for t in range(1, MOST_TURNS)), f"{MOST_TURNS}+"]
    names = tuple(f"{kind}-{label}" for kind in trace.category_names for label in labels)
    return code.astype(np.int32), names


def prepare(
    trace: Trace,
    tree: PrefixTree,
    policy: Policy,
    *,
    engine: EngineConfig,
    n_instances: int,
    latency: LatencyModel,
    seed: int,
    is_logged: bool,
    tiers: TierChoices | None = None,
    has_events: bool = False,
) -> Prepared:
    """Lay out the state of `n_instances` idle instances and of all requests.

    Steps are logged if `is_logged`, cache events recorded if `has_events`.

    Raises:
        ConfigError: sizes beyond what the compiled state can number.
    """
    n = len(trace)
    block_size = engine.block_size
    n_blocks = engine.gpu_blocks
    if n_instances * n_blocks >= 2**31:
        raise ConfigError(
            f"engine.gpu_blocks: {n_instances} instances of {n_blocks} blocks are more than"
            f" {2**31 - 1} blocks in all"
        )
    last_computed = trace.total_tokens - 1
    needed = -(-last_computed // block_size)
    fits = needed <= n_blocks - 1
    category, names = categories(trace)
    path_blocks = tree.path_blocks
    n_private = np.where(fits, last_computed // block_size - path_blocks, 0)
    n_keys = tree.n_keys + int(n_private.sum())
    if n_keys >= 2**31:
        raise ConfigError(f"engine.block_size: {n_keys} distinct blocks are more than {2**31 - 1}")

    requests = np.zeros(n, REQUEST)
    requests["arrival_s"] = trace.arrival_s
    for name in ("first_scheduled_s", "first_token_s", "finish_s", "loaded_s"):
        requests[name] = np.nan
    requests["input_tokens"] = requests["known"] = trace.input_tokens
    requests["output_tokens"] = trace.output_tokens
    requests["n_shared"] = path_blocks
    requests["end"] = tree.end
    requests["private_key"] = tree.n_keys + np.cumsum(n_private) - n_private
    requests["category"] = category
    requests["after"] = requests["instance"] = -1
    requests["status"] = np.where(fits, PENDING, REJECTED)

    setting = Setting(
        n_items=n_instances * n_blocks,
        n_caches=n_instances,
        n_keys=n_keys,
        capacity_blocks=n_blocks - 1,
        category_names=names,
        seed=seed,
        first_part=first_part_of(tree, trace.arrival_s, category),
        rehearse=rehearsal_of(tree, trace.arrival_s, category, names, seed=seed),
        parent_keys=parent_keys_of(tree, n_private),
        block_size=block_size,
        hits_go_down=True,
    )
    # the list keeps nothing of a block that a tier below could be told
    is_list = type(policy) in (Lru, Infinite) and not (tiers and tiers.need_history)
    binding = Binding(mode=LRU_LIST) if is_list else policy.bind(setting)

    def make_fit(binding: Binding) -> ReuseFit:
        return fit_over(tree.parent, tree.depth, len(names), binding.fit_arguments)

    fit = make_fit(binding)
    n_segments = len(tree.parent)
    segments = np.arange(n_segments, dtype=np.int32)
    if policy.needs_future or (tiers and tiers.need_future):
        use_offsets, uses = uses_of(tree.parent, tree.end, fits)
        segment_of = np.repeat(segments, tree.n_blocks)
    else:
        use_offsets, uses = np.zeros(1, np.int64), np.zeros(0, np.int32)
        segment_of = np.zeros(0, np.int32)

    longest = max(1, int(needed[fits].max(initial=1)))
    n_tables = engine.max_num_seqs + 1
    if tiers:  # who waits for a lower tier has one
        n_tables += engine.max_num_seqs + 2 * tiers.prefetch_lead

    def run_of() -> NDArray[np.int32]:
        """(n_keys,): the segment of each shared key; a request's private keys are a run too."""
        rows = np.arange(n_segments, n_segments + n, dtype=np.int32)
        return np.concatenate((np.repeat(segments, tree.n_blocks), np.repeat(rows, n_private)))

    below = tier_state(
        tiers,
        setting,
        n_gpu_blocks=n_blocks,
        max_num_seqs=engine.max_num_seqs,
        n_runs=n_segments + n,
        run_of=run_of,
    )
    n_users = n_instances + 1 if tiers and tiers.need_future else 0
    n_heard = n if below.sizes["tiers_hear"] else 0
    instances = np.zeros(n_instances, INSTANCE)
    instances["waiting_head"] = instances["waiting_tail"] = -1
    instances["head_request"] = instances["last_sample"] = -1
    instances["loading_head"] = instances["last_admitted"] = -1
    instances["n_tables_free"] = n_tables - 1
    instances["head_table"] = n_tables - 1
    span_s = float(trace.arrival_s[-1] - trace.arrival_s[0]) or 1.0
    every_s = 2.0 ** np.floor(np.log2(span_s / (N_SAMPLES / 4)))
    n_log = max(LOG_INTS, 16 * n_instances * (6 + 5 * engine.max_num_seqs)) if is_logged else 0
    n_events = max(EVENTS, 2 * (n_blocks + 2 * engine.max_num_seqs)) if has_events else 0
    is_listed = binding.mode == LRU_LIST
    # a power of two, and at least two a block, so that gaps are rarely closed
    n_places = 1 << (2 * n_blocks - 1).bit_length() if is_listed else 1
    n_items = 1 if is_listed else n_instances * n_blocks
    n_strip_rows = (n_keys >> STRIP_BITS) + 1
    # strip 0 stands for none; the others are enough if all keys are far from each other, and from
    # their parents, which may have gone before them
    n_strips = 1 + n_instances * min((n_blocks - 1) * (1 + policy.takes_any), n_strip_rows)
    blocks = np.zeros(n_instances * n_blocks, BLOCK)
    blocks["key"] = blocks["newer"] = -1
    pools = np.zeros(n_instances, POOL)
    pools["n_free"] = pools["n_unkeyed"] = n_blocks - 1
    # item numbers run through all instances, but a heap only holds blocks of its own
    orders, heaps = make_orders(binding, n_caches=n_instances, n_items=n_blocks)
    orders["takes_any"] = policy.takes_any
    unkeyed = np.zeros((n_instances, n_blocks), np.int32)
    unkeyed[:, : n_blocks - 1] = np.arange(n_blocks - 1, 0, -1)
    unkeyed += np.arange(n_instances, dtype=np.int32)[:, None] * n_blocks
    copies = lines(n_strips << STRIP_BITS, np.int32)
    copies[:STRIP_KEYS] = -1
    n_children = np.zeros(1 if is_listed else len(copies), np.int32)
    free_strips = np.arange(n_strips - 1, -2, -1, dtype=np.int32)
    free_strips[-1] = n_strips - 1  # the height of the stack
    items = np.zeros(n_items, ITEM)
    if binding.is_stamped_on_hit:
        items["last_s"] = LONG_AGO_S
    arrays = {
        "blocks": blocks,
        "items": items,
        "parent_key": np.full(n_items, -1, np.int32),
        "pools": pools,
        "orders": orders,
        "heaps": heaps,
        "params": binding.params,
        "strip_of": np.zeros((n_strip_rows, n_instances), np.int32),
        "copies": copies,
        "n_children": n_children,
        "free_strips": free_strips,
        "unkeyed": unkeyed,
        "queue": np.zeros((n_instances, n_places), np.int32),
        "requests": requests,
        "instances": instances,
        "segment_parent": tree.parent,
        "segment_depth": tree.depth,
        "segment_first_key": tree.first_key,
        "segment_of": segment_of,
        "uses": uses,
        "use_offsets": use_offsets,
        "n_over": np.zeros((n_users, n_segments), np.int32),
        "was_admitted": np.zeros(n_heard, np.int32),
        "tables": np.empty((n_instances, n_tables, longest), np.int32),
        "table_keys": np.empty((n_instances, n_tables, longest), np.int32),
        "free_tables": np.tile(np.arange(n_tables, dtype=np.int32), (n_instances, 1)),
        "running": np.zeros((n_instances, engine.max_num_seqs), np.int32),
        "entries": np.zeros((n_instances, engine.max_num_seqs, 3), np.int32),
        "preempted": np.zeros((n_instances, engine.max_num_seqs), np.int32),
        "log": np.zeros(n_log, np.int32),
        "log_start_s": np.zeros(n_log // 8),
        "samples": np.full((N_SAMPLES, n_instances, len(SAMPLE_FIELDS)), np.nan),
        "events": np.zeros(n_events, EVENT),
        "marks": np.zeros(N_MARKS, np.int64),
        "sample_every_s": np.array([every_s]),
        "latency": latency.coefficients,
        **below.arrays,
    }
    sizes = {
        "n_instances": n_instances,
        "n_queues": binding.n_queues,
        "n_params": binding.params.shape[1],
        "n_heap_entries": len(heaps),
        "n_keys": n_keys,
        "n_shared_keys": tree.n_keys,
        "n_strips": n_strips,
        "n_places": n_places,
        "n_requests": n,
        "n_segments": n_segments,
        "n_uses": len(uses),
        "n_segment_keys": len(segment_of),
        "n_users": n_users,
        "n_heard": n_heard,
        "n_tables": n_tables,
        "n_table_blocks": longest,
        "n_log": n_log,
        "n_samples": N_SAMPLES,
        "n_events": n_events,
        "is_listed": int(is_listed),
        "needs_future": int(policy.needs_future),
        "block_size": block_size,
        "n_blocks": n_blocks,
        "max_num_seqs": engine.max_num_seqs,
        "max_num_batched_tokens": engine.max_num_batched_tokens,
        "long_prefill_token_threshold": engine.long_prefill_token_threshold,
        "watermark_blocks": int(engine.watermark * n_blocks),
        "reserve_full_isl": int(engine.reserve_full_isl),
        "prefix_caching": int(engine.prefix_caching),
        "admission": ADMISSIONS.index(engine.admission),
        "admission_window": engine.admission_window,
        "admission_passes": engine.admission_passes,
        "latency_kind": latency.kind_code,
        **below.sizes,
        "looks_ahead": int(binding.window > 0),
    }
    cluster = Cluster(sizes, arrays)
    return Prepared(
        trace=trace,
        tree=tree,
        engine=engine,
        latency=latency,
        cluster=cluster,
        binding=binding,
        fit=fit,
        tier_bindings=below.bindings,
        tier_fit=make_fit(below.fitted),
        category=category,
        category_names=names,
        longest_blocks=longest,
    )
