"""The blocks of one request, compiled: their keys, its table, how it grows and gives them up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner
from .kvcache import publish, release, take
from .look_ahead import look_ahead
from .next_use import next_use
from .recording import sign_evictions
from .state import (
    State,
    free_tables,
    instances,
    items,
    pools,
    requests,
    segment_depth,
    segment_first_key,
    segment_parent,
    sizes,
    table_keys,
    tables,
)
from .tier_paths import hear_of_length
from .tiers import tier_loaded


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
def grow(c: State, i: int, r: int, upto: int, now_s: float) -> None:
    """Allocate blocks for the first `upto` tokens of `r` and publish those that become full."""
    request = requests(c)[r]
    block_size = sizes(c).block_size
    table = tables(c)[i, request.table]
    n_blocks = block_count(upto, block_size)
    if sizes(c).looks_ahead and n_blocks - request.n_held > pools(c)[i].n_unkeyed:
        look_ahead(c, i)  # some cached block is about to be evicted
    for k in range(request.n_held, n_blocks):
        table[k] = take(c, i, now_s)
        request.n_held = k + 1
    if sizes(c).n_events:
        sign_evictions(c, r, now_s)
    if sizes(c).prefix_caching:
        keys = table_keys(c)[i, request.table]
        n_full = min(upto, request.known) // block_size
        for k in range(request.n_published, n_full):
            above = keys[k - 1] if k > 0 else -1
            publish(c, i, table[k], keys[k], above, k, request.category, now_s)
            request.n_published = k + 1
            if sizes(c).needs_future:
                items(c)[table[k]].next_use = next_use(c, i, keys[k])


@inner
def table_of(c: State, i: int, r: int) -> int:
    """Return the table of a promoted request, or the one that the queue's head is to get."""
    if requests(c)[r].is_promoted:
        return int(requests(c)[r].table)
    return int(instances(c)[i].head_table)


@inner
def publish_loaded(c: State, i: int, r: int, now_s: float) -> None:
    """Publish the blocks that a request waited for."""
    request = requests(c)[r]
    keys = table_keys(c)[i, request.table]
    first = request.n_held - request.n_loading
    tier_loaded(c, i, keys, first, request.n_loading, request.category, now_s)
    request.computed = request.n_held * sizes(c).block_size
    grow(c, i, r, request.computed, now_s)


@inner
def give_up_blocks(c: State, i: int, r: int, now_s: float) -> None:
    """Give back the blocks and the table of a request."""
    instance = instances(c)[i]
    request = requests(c)[r]
    table = tables(c)[i, request.table]
    if sizes(c).tiers_hear:
        hear_of_length(c, i, r, request.n_published)
    release(c, i, table, request.n_held, request.n_published, now_s)
    request.n_stored = 0
    free_tables(c)[i, instance.n_tables_free] = request.table
    instance.n_tables_free += 1
    request.n_held = 0
    request.n_published = 0
