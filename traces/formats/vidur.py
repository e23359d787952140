"""Reads and writes vidur's request CSV: arrivals and lengths.

`arrived_at` (s), `num_prefill_tokens`, `num_decode_tokens`; `session_id` where it is there. There
are no prefixes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..rows import Rows
from ..schema import Sessions, Trace
from .csv_columns import Column, has_header, read_csv
from .files import replaced

_COLUMNS = {
    "arrival_s": Column(header="arrived_at", kind="seconds"),
    "input_tokens": Column(header="num_prefill_tokens", kind="tokens"),
    "output_tokens": Column(header="num_decode_tokens", kind="tokens"),
    "session": Column(header="session_id", kind="name", is_optional=True),
}


def sniff(start: bytes) -> bool:
    """Say whether a file that starts so may be of this format."""
    return has_header(start, _COLUMNS)


def read(paths: Sequence[Path]) -> Rows:
    """Read files as parts of one trace."""
    return read_csv(paths, _COLUMNS)


def write(trace: Trace, path: Path) -> None:
    """Write arrivals and lengths, and given sessions; everything else is lost.

    Arrivals count from the first one, as vidur's do.
    """
    has_sessions = trace.sessions is Sessions.GIVEN
    with replaced(path) as temporary, temporary.open("w", newline="") as out:
        header = [column.header for column in _COLUMNS.values()]
        out.write(",".join(header if has_sessions else header[:3]) + "\n")
        for i in range(len(trace)):
            row = f"{float(trace.arrival_s[i] - trace.arrival_s[0])!r}"
            row += f",{trace.input_tokens[i]},{trace.output_tokens[i]}"
            out.write(f"{row},{trace.session[i]}\n" if has_sessions else f"{row}\n")
