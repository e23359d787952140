"""Reads and writes the Qwen-Bailian traces: JSON lines, a request each, ids of block contents.

`timestamp` in s, `chat_id`, `parent_chat_id` (-1 for none), `turn`, `type`, `input_length`,
`output_length`, and `hash_ids` of the prompt. Ids name contents of single blocks in two of the
files, so they are chained when the trace is built. A parent that is absent counts as none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson

from ..rows import Rows
from ..schema import Trace
from ..sessions import roots
from .files import replaced
from .json_rows import JsonRows

_NAMES = {
    "arrival_s": ("timestamp",),
    "input_tokens": ("input_length",),
    "output_tokens": ("output_length",),
    "request_id": ("chat_id",),
    "parent": ("parent_chat_id",),
    "category": ("type",),
    "turn": ("turn",),
}


def sniff(start: bytes) -> bool:
    """Say whether a file that starts so may be of this format."""
    line = start.lstrip().partition(b"\n")[0]
    return line.startswith(b"{") and b'"chat_id"' in line


def read(paths: Sequence[Path], *, output_blocks: bool = True) -> Rows:
    """Read files as parts of one trace.

    With `output_blocks` a request's ids go on into its output where a child's prompt shows what
    its output was; without, they end with the prompt, as published hit ratios count.
    """
    columns = JsonRows(_NAMES)
    for path in paths:
        columns.read(path)
    rows = columns.rows()
    names = rows.request_id if rows.request_id is not None else rows.row
    row_of = {name: i for i, name in enumerate(names.tolist())}
    told = columns.parents or [-1] * len(rows)
    parent = np.array([row_of.get(name, -1) if _is_name(name) else -1 for name in told], np.int64)
    dangling = sum(not _is_name(name) or (name != -1 and name not in row_of) for name in told)
    notes = (f"{dangling} parents are not in the file",) if dangling else ()
    return replace(
        rows,
        parent=parent,
        session=roots(parent),
        children_show_outputs=output_blocks,
        notes=notes,
    )


def _is_name(value: object) -> bool:
    return type(value) in (int, str)


def write(trace: Trace, path: Path) -> None:
    """Write one request a line. The ids of the prompt only, and no think times."""
    are_numbers = trace.request_id.dtype.kind == "i"
    names = trace.request_id if are_numbers else np.arange(len(trace))
    with replaced(path) as temporary, temporary.open("wb") as out:
        for i in range(len(trace)):
            parent = int(trace.parent[i])
            n_ids = -(-int(trace.input_tokens[i]) // trace.block_size)
            row = {
                "chat_id": int(names[i]),
                "parent_chat_id": -1 if parent < 0 else int(names[parent]),
                "timestamp": float(trace.arrival_s[i]),
                "input_length": int(trace.input_tokens[i]),
                "output_length": int(trace.output_tokens[i]),
                "type": trace.category_names[trace.category[i]],
                "turn": int(trace.turn[i]),
                "hash_ids": trace.ids_of(i)[:n_ids].tolist(),
            }
            out.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
