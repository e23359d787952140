"""Reads Mooncake-style JSON lines: one request a line, with the ids of its prefix blocks.

`timestamp` in ms (or `arrival`, `arrival_s` in s), `input_length`, `output_length`, and
`hash_ids` of the prompt or `full_hash_ids` of prompt and output; optionally `request_id`,
`session`, `turn`, `type`, `think_s`, `delay` (ms from the last turn's end, which also stands in
for a later turn's time), `block_size`. Other fields are left alone. Rows of agents look alike but
some have seconds in `timestamp`: see `units`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..rows import MILLISECONDS, NAMES, Rows
from ..units import are_seconds_read_as_ms
from .json_rows import BOM, JsonRows

_MS = ("delay", "delay_ms", "created_time", MILLISECONDS)
_NAMES = {
    **NAMES,
    "arrival_s": ("created_time", *NAMES["arrival_s"]),
    "think_s": (*NAMES["think_s"], "delay", "delay_ms"),
    "block_size": ("block_size",),
}


def sniff(start: bytes) -> bool:
    """Say whether a file that starts so may be of this format: JSON lines that no other claims."""
    return start.removeprefix(BOM).lstrip().startswith(b"{")


def read(paths: Sequence[Path]) -> Rows:
    """Read files as consecutive parts of one trace; names mean the same in all of them."""
    columns = JsonRows(_NAMES, per_s=dict.fromkeys(_MS, 1000.0))
    for path in paths:
        columns.read(path)
    rows = columns.rows()
    if rows.session is None or not are_seconds_read_as_ms(
        rows.arrival_s, rows.session, rows.output_tokens
    ):
        return rows
    note = "timestamp is taken for seconds: as milliseconds, turns would outrun any decoder"
    return replace(rows, arrival_s=rows.arrival_s * 1000.0, notes=(note,))
