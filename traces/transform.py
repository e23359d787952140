"""Traces made out of traces: parts of one, several as one. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .. import TraceError
from .chain import chained_ids
from .gather import gather
from .hashing import numbered
from .join import summed
from .schema import Sessions, Trace


def take(trace: Trace, rows: NDArray[np.int64]) -> Trace:
    """Return the requests `rows`, distinct and in the order of arrival.

    A request whose parent is left out has none; its turn stays what it was.
    """
    if len(rows) == 0:
        raise TraceError(f"{trace.name}: a trace needs at least 1 request, got none")
    block_ids, block_offsets = gather(trace.block_ids, trace.block_offsets, rows)
    place = np.full(len(trace) + 1, -1)  # the last entry stands for "none"
    place[rows] = np.arange(len(rows))
    return replace(
        trace,
        request_id=trace.request_id[rows],
        arrival_s=trace.arrival_s[rows],
        input_tokens=trace.input_tokens[rows],
        output_tokens=trace.output_tokens[rows],
        parent=place[trace.parent[rows]],
        session=numbered(trace.session[rows]),
        turn=trace.turn[rows],
        category=trace.category[rows],
        block_ids=block_ids,
        block_offsets=block_offsets,
        covered_tokens=trace.covered_tokens[rows],
        think_s=None if trace.think_s is None else trace.think_s[rows],
        recorded_e2e_s=None if trace.recorded_e2e_s is None else trace.recorded_e2e_s[rows],
    )


def slice_time(trace: Trace, start_s: float, end_s: float) -> Trace:
    """Return the requests that arrive in [start_s, end_s); arrival times stay what they are."""
    if not start_s < end_s:
        raise TraceError(f"{trace.name}: slice must end after {start_s} s, got {end_s} s")
    first, last = np.searchsorted(trace.arrival_s, [start_s, end_s], side="left")
    if first == last:
        span = f"from {trace.arrival_s[0]:g} to {trace.arrival_s[-1]:g} s"
        raise TraceError(
            f"{trace.name}: slice must overlap the arrivals, {span}, got {start_s:g} to {end_s:g} s"
        )
    return take(trace, np.arange(first, last))


def merge(traces: Sequence[Trace], *, name: str | None = None) -> Trace:
    """Return all requests of `traces` by arrival; equal times in the order of `traces`.

    Equal block ids mean equal content in all of them. Sessions stay apart, and requests are
    named by their row in the merged trace.
    """
    if not traces:
        raise TraceError("a merge needs at least 1 trace, got none")
    for trace in traces:
        if trace.block_size != traces[0].block_size:
            told = f"{traces[0].block_size} as in {traces[0].name}, got {trace.block_size}"
            raise TraceError(f"{trace.name}: block size must be {told}")
    first_row = np.cumsum([0, *(len(trace) for trace in traces)])
    n_sessions = np.cumsum([0, *(int(trace.session.max()) + 1 for trace in traces)])
    parents = [
        np.where(trace.parent < 0, -1, trace.parent + first)
        for trace, first in zip(traces, first_row[:-1], strict=True)
    ]
    sessions = [trace.session + n for trace, n in zip(traces, n_sessions[:-1], strict=True)]
    names = tuple(sorted({name for trace in traces for name in trace.category_names}))
    categories = [
        np.array([names.index(name) for name in trace.category_names])[trace.category]
        for trace in traces
    ]
    n_ids = np.concatenate([np.diff(trace.block_offsets) for trace in traces])
    kinds = {trace.sessions for trace in traces}
    has_think_s = any(trace.think_s is not None for trace in traces)
    unsorted = Trace(
        name=name or "+".join(trace.name for trace in traces),
        block_size=traces[0].block_size,
        request_id=np.arange(first_row[-1]),
        arrival_s=np.concatenate([trace.arrival_s for trace in traces]),
        input_tokens=np.concatenate([trace.input_tokens for trace in traces]),
        output_tokens=np.concatenate([trace.output_tokens for trace in traces]),
        parent=np.concatenate(parents),
        session=np.concatenate(sessions),
        turn=np.concatenate([trace.turn for trace in traces]),
        category=np.concatenate(categories),
        category_names=names,
        block_ids=np.concatenate([trace.block_ids for trace in traces]),
        block_offsets=np.concatenate([[0], np.cumsum(n_ids)]),
        covered_tokens=np.concatenate([trace.covered_tokens for trace in traces]),
        sessions=kinds.pop() if len(kinds) == 1 else Sessions.INFERRED,
        think_s=np.concatenate([_think_s(trace) for trace in traces]) if has_think_s else None,
        dropped=summed([trace.dropped for trace in traces]),
        notes=tuple(dict.fromkeys(note for trace in traces for note in trace.notes)),
    )
    merged = take(unsorted, np.argsort(unsorted.arrival_s, kind="stable"))
    return replace(
        merged,
        request_id=np.arange(len(merged)),
        block_ids=chained_ids(merged.block_ids, merged.block_offsets),
    )


def _think_s(trace: Trace) -> NDArray[np.float64]:
    return np.full(len(trace), np.nan) if trace.think_s is None else trace.think_s
