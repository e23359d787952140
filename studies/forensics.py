"""Why look-ups missed: found after a run from its cache events. Knows no policy.

For each instance the events say, key by key, which request brought a block last and whether it
was evicted since. Of a block that a first admission looked up and missed, the reason is

- capacity: it was here, and was evicted;
- in flight: a running request computes it just now;
- preemption: a request would have left it here, but was preempted before it computed it; it
  is at the front of the queue then, so this needs a scheduler that lets others overtake;
- gap: it is here, but a block before it is not;
- routing: it was never here, but is cached on another instance;
- cold: it was never here, and is nowhere.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..calibration.latency import LatencyModel
from ..kernels import inner, kernel
from ..sim.records import EVICTED, PREEMPTED
from ..traces.prefix_tree import PrefixTree

REASONS = ("cold", "capacity", "routing", "preemption", "in_flight", "gap")
_COLD, _CAPACITY, _ROUTING, _PREEMPTION, _IN_FLIGHT, _GAP = range(6)
N_COSTLIEST = 10

_COSTLY = np.dtype(
    [
        ("cost_s", "f8"),
        ("score", "f8"),
        ("last_used_s", "f8"),
        ("evicted_s", "f8"),
        ("missed_s", "f8"),
        ("evicted_for", "i4"),
        ("missed_by", "i4"),
        ("instance", "i4"),
        ("depth", "i4"),
        ("blocks", "i8"),
    ],
    align=True,
)


def explain_misses(
    tree: PrefixTree,
    requests: NDArray[Any],
    events: NDArray[Any],
    *,
    n_instances: int,
    block_size: int,
    latency: LatencyModel,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the entries `misses` and `costly_evictions` of a summary, and columns of requests.

    A missed block costs what computing it adds to a full step. Blocks that were evicted for
    one request and missed by one request count as one eviction, with time, depth, score and last
    use of the shallowest. The columns, (n_requests,), split what each request's first look-up
    missed: blocks by reason, what they cost, and prompt tokens that no look-up covers.
    """
    n_looked_up = (requests["input_tokens"].astype(np.int64) - 1) // block_size
    cost_s = latency.block_s(np.arange(max(int(n_looked_up.max(initial=0)), 1)), block_size)
    n_missed = np.zeros((len(requests), len(REASONS)), np.int32)
    lost_s = np.zeros((len(requests), len(REASONS)))
    costly = np.zeros(N_COSTLIEST, _COSTLY)
    longest = int(tree.path_blocks.max(initial=0))
    nothing = np.full((n_instances, tree.n_keys), -1, np.int32)
    past = _Past(
        events=events,
        requests=np.ascontiguousarray(requests),
        brought=nothing,
        evicted=nothing.copy(),
        status=np.full(len(requests), _PENDING, np.int32),
    )
    _explain(
        past,
        tree.parent,
        tree.first_key,
        tree.depth,
        block_size,
        cost_s,
        np.zeros(longest + 1, np.int64),
        n_missed,
        lost_s,
        _OpenRows(np.zeros(longest + 1, _COSTLY), np.full(len(requests), -1, np.int32)),
        costly,
    )
    admitted = past.status != _PENDING
    uncovered = requests["input_tokens"] - n_looked_up * block_size
    prompt_tokens = requests["input_tokens"][admitted].astype(np.int64)
    computed = requests["prefill_tokens"][admitted].astype(np.int64)
    reasons = [
        {"name": name, "blocks": int(n), "cost_s": float(s)}
        for name, n, s in zip(
            REASONS, n_missed.sum(axis=0, dtype=np.int64), lost_s.sum(axis=0), strict=True
        )
    ]
    misses = {
        "lookup_blocks": int(n_looked_up[admitted].sum()),
        "hit_blocks": int(requests["cached_tokens"][admitted].sum(dtype=np.int64)) // block_size,
        "partial_tokens": int(uncovered[admitted].sum()),
        "recomputed_tokens": int(
            (computed - prompt_tokens + requests["cached_tokens"][admitted]).sum()
        ),
        "reasons": reasons,
    }
    found = costly[costly["blocks"] > 0]
    found = found[np.lexsort((found["depth"], found["missed_by"], -found["cost_s"]))]
    rows = [{name: _known(row[name].item()) for name in _COSTLY.names or ()} for row in found]
    columns: dict[str, NDArray[Any]] = {
        f"missed_{name}_blocks": np.ascontiguousarray(n_missed[:, k])
        for k, name in enumerate(REASONS)
    }
    columns["partial_tokens"] = np.where(admitted, uncovered, 0).astype(np.int32)
    columns["missed_cost_s"] = lost_s.sum(axis=1)
    return {"misses": misses, "costly_evictions": rows}, columns


def _known(value: float) -> float | None:
    return None if value != value else value


class _Past(NamedTuple):
    """What happened up to an event."""

    events: NDArray[Any]
    requests: NDArray[Any]
    brought: NDArray[np.int32]
    """(n_instances, n_keys): last event that brought each key, -1 for none."""
    evicted: NDArray[np.int32]
    """(n_instances, n_keys): likewise, that evicted it."""
    status: NDArray[np.int32]
    """(n_requests,)"""


class _OpenRows(NamedTuple):
    """Evictions that one request suffers from, while they are put together."""

    rows: NDArray[Any]
    """(longest path + 1,) of _COSTLY"""
    row_of: NDArray[np.int32]
    """(n_requests,): row of the evictions for each request, -1 for none."""


_PENDING, _ADMITTED, _PREEMPTED = range(3)


@kernel
def _explain(
    past: _Past,
    parent: NDArray[np.int32],
    first_key: NDArray[np.int64],
    depth: NDArray[np.int32],
    block_size: int,
    cost_s: NDArray[np.float64],
    keys: NDArray[np.int64],
    n_missed: NDArray[np.int32],
    lost_s: NDArray[np.float64],
    open_rows: _OpenRows,
    costly: NDArray[Any],
) -> None:
    """Go through the events in order; `keys` has room for a path.

    Adds to `n_missed` and `lost_s`, (n_requests, n_reasons); `costly` becomes the costliest
    evictions, in no order.
    """
    for e in range(len(past.events)):
        event = past.events[e]
        if event.kind == EVICTED:
            if event.key < past.evicted.shape[1]:
                past.evicted[event.instance, event.key] = e
            continue
        if event.kind == PREEMPTED:
            past.status[event.request] = _PREEMPTED
            continue
        request = past.requests[event.request]
        segment = request.end
        upto = request.n_shared
        while segment >= 0:
            for k in range(depth[segment], upto):
                keys[k] = first_key[segment] + k - depth[segment]
            upto = depth[segment]
            segment = parent[segment]
        if past.status[event.request] == _PENDING:
            n_hit = request.cached_tokens // block_size
            n_open = 0
            for k in range(n_hit, (request.input_tokens - 1) // block_size):
                reason, by = np.int64(_COLD), np.int64(-1)
                if k < request.n_shared:
                    reason, by = _reason(past, e, keys[k], (k + 1) * block_size)
                n_missed[event.request, reason] += 1
                lost_s[event.request, reason] += cost_s[k]
                if by >= 0:
                    n_open = _blame(past, e, by, k, cost_s[k], open_rows, n_open)
            _close(open_rows, n_open, costly)
        past.status[event.request] = _ADMITTED
        for k in range(request.n_shared):
            past.brought[event.instance, keys[k]] = e


@inner
def _reason(past: _Past, e: int, key: int, upto: int) -> tuple[int, np.int64]:
    """Say why admission `e` missed a key that ends `upto` tokens deep, and which event is to blame,
    -1 for none."""
    event = past.events[e]
    came = np.int64(past.brought[event.instance, key])
    went = np.int64(past.evicted[event.instance, key])
    nobody = np.int64(-1)
    if went > came:
        return _CAPACITY, went
    if came >= 0:
        bringer = past.events[came].request
        if past.status[bringer] == _PREEMPTED:
            return _PREEMPTION, nobody
        if past.requests[bringer].finish_s > event.time_s:
            return _IN_FLIGHT, nobody
        return _GAP, nobody
    for j in range(len(past.brought)):
        there = past.brought[j, key]
        if there < 0 or past.evicted[j, key] > there:
            continue
        bringer = past.requests[past.events[there].request]
        is_prompt = upto <= bringer.input_tokens
        if bringer.finish_s <= event.time_s or (
            is_prompt and bringer.first_token_s <= event.time_s
        ):
            return _ROUTING, nobody
    return _COLD, nobody


@inner
def _blame(
    past: _Past, e: int, by: int, k: int, cost_s: float, open_rows: _OpenRows, n_open: int
) -> int:
    """Add the k-th block of a path, evicted by event `by`, to its eviction; return how many are
    open."""
    evicted_for = past.events[by].request
    at = open_rows.row_of[evicted_for]
    if at < 0:
        at = n_open
        n_open += 1
        open_rows.row_of[evicted_for] = at
        row = open_rows.rows[at]
        row.blocks = 0
        row.cost_s = 0.0
        row.score = past.events[by].score
        row.evicted_s = past.events[by].time_s
        # who brought it or found it last has given it up by then: at its end, or preempted
        row.last_used_s = np.nan
        last = np.int64(past.brought[past.events[by].instance, past.events[by].key])
        if last >= 0:
            user = past.requests[past.events[last].request]
            row.last_used_s = min(user.finish_s, row.evicted_s)
        row.missed_s = past.events[e].time_s
        row.evicted_for = evicted_for
        row.missed_by = past.events[e].request
        row.instance = past.events[e].instance
        row.depth = k
    open_rows.rows[at].blocks += 1
    open_rows.rows[at].cost_s += cost_s
    return n_open


@inner
def _close(open_rows: _OpenRows, n_open: int, costly: NDArray[Any]) -> None:
    """Keep the open evictions that cost more than the cheapest one kept."""
    for at in range(n_open):
        row = open_rows.rows[at]
        open_rows.row_of[row.evicted_for] = -1
        cheapest = 0
        for kept in range(len(costly)):
            if costly[kept].cost_s < costly[cheapest].cost_s:
                cheapest = kept
        if row.cost_s > costly[cheapest].cost_s:
            costly[cheapest] = row
