"""Laws that hold after every run, whatever the policy: checked by tests and by --check."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .kvcache import UNINDEXED
from .records import FINISHED, REJECTED, STRIP_BITS, STRIP_KEYS, STRIP_MASK, TIER_BLOCK
from .setup import Prepared
from .tiers import RING


def check_cluster(prepared: Prepared) -> None:
    """Check the final state of a run.

    INV-1 every request finished or was rejected; INV-2 times are in order; INV-3 tokens are
    conserved; INV-4 every block is free and each is in one place; INV-5 the index names exactly
    the cached blocks; INV-6 a cached block's parent is cached (leaf-first eviction), unless
    the policy takes any; INV-7 the index of each lower tier names exactly its blocks.

    Raises:
        AssertionError: a law is broken, which is a bug of kvsim.
    """
    c = prepared.cluster
    requests = c.requests
    status = requests["status"]
    _law(
        1,
        bool(np.isin(status, (FINISHED, REJECTED)).all()),
        "a request is neither done nor rejected",
    )
    done = requests[status == FINISHED]
    in_order = (
        (done["arrival_s"] <= done["first_scheduled_s"])
        & (done["first_scheduled_s"] <= done["first_token_s"])
        & (done["first_token_s"] <= done["finish_s"])
    )
    _law(2, bool(in_order.all()), "a request's times are out of order")
    alone = done[done["preemptions"] == 0]
    _law(
        3,
        bool((alone["prefill_tokens"] + alone["cached_tokens"] == alone["input_tokens"]).all()),
        "prefilled and cached tokens of a request do not add up to its prompt",
    )
    _law(
        3,
        int(c.instances["output_tokens"].sum()) == int(done["output_tokens"].sum(dtype=np.int64)),
        "sampled tokens do not add up to the requests' outputs",
    )
    n_blocks = prepared.engine.gpu_blocks
    pools = c.pools
    _law(4, bool((pools["n_free"] == n_blocks - 1).all()), "a block is still in use")
    blocks = c.blocks.reshape(len(pools), n_blocks)
    _law(4, bool((blocks["ref"] == 0).all()), "a block still has users")
    is_keyed = blocks["key"] >= 0
    _law(
        4,
        bool((is_keyed.sum(axis=1) + pools["n_unkeyed"] == n_blocks - 1).all()),
        "keyed and never-keyed blocks do not add up",
    )
    for i in range(len(pools)):
        numbers = np.flatnonzero(is_keyed[i] & (blocks["newer"][i] != UNINDEXED))
        keys = blocks["key"][i][numbers]
        strips = c.strip_of[keys >> STRIP_BITS, i]
        _law(5, bool((strips > 0).all()), "a cached block is not in the index")
        oldest = c.copies[(strips << STRIP_BITS) + (keys & STRIP_MASK)]
        _law(5, bool((c.blocks["key"][oldest] == keys).all()), "the index names another block")
        cached = np.unique(keys)
        _law(
            5,
            int((c.copies.reshape(-1, STRIP_KEYS)[np.unique(strips)] >= 0).sum()) == len(cached),
            "the index names blocks that are not cached",
        )
        is_closed = bool(c.orders["takes_any"][i]) or _is_closed(prepared, cached)
        _law(6, is_closed, "a cached block has no cached parent")
    _law(
        4,
        bool((c.instances["n_promoted"] == 0).all()),
        "a request that waits still holds promoted blocks",
    )
    promoted = c.instances["promoted_blocks"] - c.instances["useless_blocks"]
    _law(
        3,
        bool((promoted == c.instances["in_time_blocks"] + c.instances["late_blocks"]).all()),
        "promoted blocks do not add up",
    )
    _check_tiers(prepared)


def _check_tiers(prepared: Prepared) -> None:
    """Check that each lower cache's index names exactly its blocks, once, within its capacity."""
    n = len(prepared.cluster.instances)
    for q, cache in enumerate(prepared.cluster.tiers):
        if not cache["n_blocks"] or not cache["slots"]:
            continue
        slots = _at(int(cache["slots"]), int(cache["n_slots"]), np.dtype(np.int32))
        blocks = _at(int(cache["blocks"]), int(cache["n_all"]), TIER_BLOCK)
        keys = blocks["key"][slots[slots >= 0]]
        _law(7, cache["n_pinned"] == 0, "a block of a lower tier is still being loaded")
        is_ring = RING * n <= q < (RING + 1) * n
        _law(7, not is_ring or not len(keys), "a block is kept for a request that is done")
        _law(
            7,
            len(np.unique(keys)) == len(keys) <= cache["n_blocks"],
            "a lower tier holds a block twice",
        )
        n_left = cache["n_stored"] + cache["n_kept"] - cache["n_evicted"] - cache["n_unloaded"]
        _law(7, len(keys) == n_left, "blocks stored in a lower tier and dropped do not add up")


def _at(address: int, n: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """View n elements of the state's memory."""
    memory = (ctypes.c_char * (n * dtype.itemsize)).from_address(address)
    return np.frombuffer(memoryview(memory).cast("B"), dtype)


def _is_closed(prepared: Prepared, cached: np.ndarray) -> bool:
    """Whether the shared keys in a sorted array all have their parents in it."""
    tree = prepared.tree
    shared = cached[cached < tree.n_keys]
    if not len(shared):
        return True
    segment = np.searchsorted(tree.first_key, shared, side="right") - 1
    first = tree.first_key[segment] == shared
    up = tree.parent[segment]
    last_key = tree.first_key + tree.n_blocks - 1
    parent = np.where(first, np.where(up >= 0, last_key[up], -1), shared - 1)
    needed = parent[parent >= 0]
    return bool(np.isin(needed, shared).all())


def _law(number: int, holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(f"INV-{number}: {what}")
