"""Writes Mooncake-style JSON lines: what the reader beside it reads."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from ..schema import Sessions, Trace
from ..units import are_seconds_read_as_ms
from .files import replaced


def write(trace: Trace, path: Path) -> None:
    """Write one request a line, packed if the name ends in `.gz`.

    Times are in `timestamp` (ms) if whole milliseconds say them exactly, else in `arrival_s`; also
    if they are so dense that the reader would take the milliseconds for seconds. Inferred sessions
    are left out: reading finds them again. The format has no place for the block size, for
    `recorded_e2e_s` and for `dropped`.
    """
    with replaced(path) as temporary, temporary.open("wb") as stored:
        if path.suffix == ".gz":
            with gzip.GzipFile("", "wb", fileobj=stored, mtime=0) as packed:
                packed.writelines(_lines(trace))
        else:
            stored.writelines(_lines(trace))


def _lines(trace: Trace) -> Iterator[bytes]:
    milliseconds = np.rint(trace.arrival_s * 1000.0)
    in_ms = bool(np.all(milliseconds / 1000.0 == trace.arrival_s)) and not are_seconds_read_as_ms(
        trace.arrival_s, trace.session, trace.output_tokens
    )
    has_own_ids = not np.array_equal(trace.request_id, np.arange(len(trace)))
    for i in range(len(trace)):
        row: dict[str, Any] = {}
        if has_own_ids:
            row["request_id"] = trace.request_id[i].item()
        if trace.sessions is Sessions.GIVEN:
            row["session"] = int(trace.session[i])
            row["turn"] = int(trace.turn[i])
        if in_ms:
            row["timestamp"] = int(milliseconds[i])
        else:
            row["arrival_s"] = float(trace.arrival_s[i])
        row["input_length"] = int(trace.input_tokens[i])
        row["output_length"] = int(trace.output_tokens[i])
        if trace.category_names != ("request",):
            row["type"] = trace.category_names[trace.category[i]]
        if trace.think_s is not None:
            think_s = float(trace.think_s[i])
            row["think_s"] = None if np.isnan(think_s) else think_s
        whole = trace.covered_tokens[i] > trace.input_tokens[i]
        row["full_hash_ids" if whole else "hash_ids"] = trace.ids_of(i).tolist()
        yield orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
