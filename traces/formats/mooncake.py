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

from ... import ConfigError
from ..rows import MILLISECONDS, NAMES, Rows
from ..units import are_seconds_read_as_ms
from .json_rows import BOM, JsonRows

_MS = ("delay", "delay_ms", "created_time", MILLISECONDS)
_PER_S = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_NAMES = {
    **NAMES,
    "arrival_s": ("created_time", *NAMES["arrival_s"]),
    "think_s": (*NAMES["think_s"], "delay", "delay_ms"),
    "block_size": ("block_size",),
}


def sniff(start: bytes) -> bool:
    """Say whether a file that starts so may be of this format: JSON lines that no other claims."""
    return start.removeprefix(BOM).lstrip().startswith(b"{")


def read(paths: Sequence[Path], *, time_unit: str = "") -> Rows:
    """Read files as consecutive parts of one trace; names mean the same in all of them.

    `time_unit` (s, ms, us or ns) is that of `timestamp`; left out, it is what is plausible.
    """
    if time_unit and time_unit not in _PER_S:
        raise ConfigError(f"time_unit must be one of {', '.join(_PER_S)}, got {time_unit!r}")
    per_s = dict.fromkeys(_MS, 1000.0) | {MILLISECONDS: _PER_S.get(time_unit, 1000.0)}
    columns = JsonRows(_NAMES, per_s=per_s)
    for path in paths:
        columns.read(path)
    rows = columns.rows()
    if (
        time_unit
        or rows.session is None
        or not are_seconds_read_as_ms(rows.arrival_s, rows.session, rows.output_tokens)
    ):
        return rows
    note = "timestamp is taken for seconds: as milliseconds, turns would outrun any decoder"
    return replace(rows, arrival_s=rows.arrival_s * 1000.0, notes=(note,))
