"""Reads Dynamo's request traces (dynamo.request.trace.v1): JSON lines of events.

A `request_end` event with replay data is a request: `request_received_ms` (Unix ms),
`output_tokens`, and in `replay` the block size, input length and sequence hashes, which are chained
and name a partial last block too. Events may be wrapped as `{"timestamp": ..., "event": {...}}`.
Payload and tool events are passed over. Sessions are those of the agent context.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..rows import Rows, wrong
from .json_rows import JsonRows, Row

SCHEMA = "dynamo.request.trace.v1"
_NAMES = {
    "arrival_s": ("request_received_ms",),
    "input_tokens": ("input_length",),
    "output_tokens": ("output_tokens",),
    "request_id": ("request_id",),
    "session": ("session_id",),
    "category": ("kind",),
    "block_size": ("trace_block_size",),
    "recorded_e2e_s": ("total_time_ms",),
}
_PER_S = {"request_received_ms": 1000.0, "total_time_ms": 1000.0}


def sniff(start: bytes) -> bool:
    """Say whether a file that starts so may be of this format."""
    return SCHEMA.encode() in start.lstrip().partition(b"\n")[0]


def read(paths: Sequence[Path]) -> Rows:
    """Read shards as parts of one trace, its first request at 0."""
    n_without = 0

    def pick(row: Row, where: str) -> Row | None:
        nonlocal n_without
        event: Any = row.get("event", row)
        if type(event) is not dict or event.get("schema") != SCHEMA:
            found = event.get("schema") if type(event) is dict else event
            raise wrong(where, "schema", SCHEMA, found)
        if event.get("event_type") != "request_end":
            return None
        request: Any = event.get("request")
        replay: Any = request.get("replay") if type(request) is dict else None
        if type(replay) is not dict:
            n_without += 1
            return None
        flat = {**request, **replay}
        del flat["replay"]
        context = event.get("agent_context")
        if type(context) is dict:
            flat["session_id"] = context.get("session_id")
            flat["kind"] = "sub-agent" if context.get("parent_session_id") else "agent"
        return flat

    columns = JsonRows(_NAMES, per_s=_PER_S, ids_name="input_sequence_hashes", pick=pick)
    for path in paths:
        columns.read(path)
    rows = columns.rows()
    dropped = {"no replay data": n_without} if n_without else {}
    first_s = rows.arrival_s.min(initial=1e12)
    return replace(rows, arrival_s=rows.arrival_s - first_s, dropped=dropped)
