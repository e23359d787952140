"""Writes kvsim's own Parquet: what the reader beside it reads back exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..schema import Trace
from .files import replaced
from .parquet import FORMAT_VERSION

if TYPE_CHECKING:
    import pyarrow as pa

_ROW_GROUP_ROWS = 1 << 16


def write(trace: Trace, path: Path) -> None:
    """Write one row a request; equal traces give equal bytes."""
    import pyarrow.parquet as pq

    schema = _schema(trace)
    delta = {
        name: "DELTA_BINARY_PACKED"
        for name in (*(field.name for field in schema), "block_ids.list.element")
        if name == "block_ids.list.element" or str(schema.field(name).type) == "int64"
    }
    with (
        replaced(path) as temporary,
        pq.ParquetWriter(
            temporary,
            schema,
            compression="zstd",
            use_dictionary=["category"],
            column_encoding=delta,
            write_page_checksum=True,
        ) as writer,
    ):
        for start in range(0, len(trace), _ROW_GROUP_ROWS):
            writer.write_table(_table(trace, schema, start, start + _ROW_GROUP_ROWS))


def _schema(trace: Trace) -> pa.Schema:
    import pyarrow as pa

    has_names = trace.request_id.dtype.kind == "U"
    fields = [
        pa.field("request_id", pa.string() if has_names else pa.int64(), nullable=False),
        pa.field("arrival_s", pa.float64(), nullable=False),
        pa.field("input_tokens", pa.int64(), nullable=False),
        pa.field("output_tokens", pa.int64(), nullable=False),
        pa.field("session_id", pa.int64(), nullable=False),
        pa.field("parent_id", pa.int64()),
        pa.field("turn", pa.int64(), nullable=False),
        pa.field("category", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("covered_tokens", pa.int64(), nullable=False),
    ]
    if trace.think_s is not None:
        fields.append(pa.field("think_s", pa.float64()))
    if trace.recorded_e2e_s is not None:
        fields.append(pa.field("recorded_e2e_s", pa.float64()))
    element = pa.field("element", pa.int64(), nullable=False)
    fields.append(pa.field("block_ids", pa.list_(element), nullable=False))
    metadata = {
        "format_version": str(FORMAT_VERSION),
        "name": trace.name,
        "block_size": str(trace.block_size),
        "chained": "true",
        "sessions": trace.sessions.value,
        "category_names": json.dumps(trace.category_names),
        "dropped": json.dumps(trace.dropped, sort_keys=True),
        "notes": json.dumps(trace.notes),
    }
    return pa.schema(fields, metadata)


def _table(trace: Trace, schema: pa.Schema, start: int, end: int) -> pa.Table:
    import pyarrow as pa

    rows = slice(start, end)
    offsets = trace.block_offsets[start : end + 1]
    parent = trace.parent[rows]
    values: dict[str, pa.Array] = {
        "request_id": pa.array(trace.request_id[rows]),
        "arrival_s": pa.array(trace.arrival_s[rows]),
        "input_tokens": pa.array(trace.input_tokens[rows]),
        "output_tokens": pa.array(trace.output_tokens[rows]),
        "session_id": pa.array(trace.session[rows]),
        "parent_id": pa.array(parent, mask=parent < 0),
        "turn": pa.array(trace.turn[rows]),
        "category": pa.DictionaryArray.from_arrays(
            trace.category[rows].astype(np.int32), list(trace.category_names)
        ),
        "covered_tokens": pa.array(trace.covered_tokens[rows]),
        "block_ids": pa.ListArray.from_arrays(
            pa.array((offsets - offsets[0]).astype(np.int32)),
            pa.array(trace.block_ids[offsets[0] : offsets[-1]]),
            type=schema.field("block_ids").type,
        ),
    }
    for name in ("think_s", "recorded_e2e_s"):
        seconds = getattr(trace, name)
        if seconds is not None:
            values[name] = pa.array(seconds[rows], mask=np.isnan(seconds[rows]))
    return pa.Table.from_arrays([values[name] for name in schema.names], schema=schema)
