"""Reads LMCache's lookup logs: JSON lines, a look-up each, with hashes of its full chunks.

`timestamp` (Unix seconds), `request_id`, `model_name`, `chunk_size`, `seq_len`, `chunk_hashes`. A
look-up knows no output: each request counts as generating one token, and a request looked up twice
counts once. The category is the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..rows import Rows
from .json_rows import JsonRows, Row

_NAMES = {
    "arrival_s": ("timestamp",),
    "input_tokens": ("seq_len",),
    "output_tokens": ("one token",),
    "request_id": ("request_id",),
    "category": ("model_name",),
    "block_size": ("chunk_size",),
}


def sniff(start: bytes) -> bool:
    """Say whether a file that starts so may be of this format."""
    line = start.lstrip().partition(b"\n")[0]
    return line.startswith(b"{") and b'"seq_len"' in line and b'"chunk_size"' in line


def read(paths: Sequence[Path]) -> Rows:
    """Read files as parts of one trace, its first look-up at 0."""
    seen: set[str] = set()
    n_again = 0

    def pick(row: Row, where: str) -> Row | None:
        nonlocal n_again
        name = row.get("request_id")
        if isinstance(name, str):
            if name in seen:
                n_again += 1
                return None
            seen.add(name)
        return {**row, "one token": 1}

    columns = JsonRows(_NAMES, ids_name="chunk_hashes", pick=pick)
    for path in paths:
        columns.read(path)
    rows = columns.rows()
    dropped = {"looked up again": n_again} if n_again else {}
    note = "look-ups know no outputs: each request generates 1 token"
    first_s = rows.arrival_s.min(initial=1e12)
    return replace(rows, arrival_s=rows.arrival_s - first_s, dropped=dropped, notes=(note,))
