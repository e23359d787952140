"""Reads BurstGPT: arrivals, lengths, model and kind of calls to Azure OpenAI services.

CSV with `Timestamp` (s), `Model`, `Request tokens`, `Response tokens`, `Total tokens`, `Log Type`;
newer files add `Session ID` and `Elapsed time` (s). Failed calls have 0 response tokens. The
category is the log type. There are no prefixes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..rows import Rows
from .csv_columns import Column, has_header, read_csv

_COLUMNS = {
    "arrival_s": Column(header="Timestamp", kind="seconds"),
    "input_tokens": Column(header="Request tokens", kind="tokens"),
    "output_tokens": Column(header="Response tokens", kind="tokens"),
    "category": Column(header="Log Type", kind="name"),
    "session": Column(header="Session ID", kind="name", is_optional=True),
    "recorded_e2e_s": Column(header="Elapsed time", kind="seconds", is_optional=True),
}


def sniff(start: bytes) -> bool:
    """Say whether a file that starts so may be of this format."""
    return has_header(start, _COLUMNS)


def read(paths: Sequence[Path]) -> Rows:
    """Read files as parts of one trace."""
    return read_csv(paths, _COLUMNS)
