"""Reads Azure's LLM inference traces of 2023 and 2024: dates and lengths, and nothing else.

CSV with `TIMESTAMP`, `ContextTokens`, `GeneratedTokens` (AzurePublicDataset). The dates of 2024
end in a zone, which must be UTC. There are no sessions and no prefixes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..rows import Rows
from .csv_columns import Column, has_header, read_csv

_COLUMNS = {
    "arrival_s": Column(header="TIMESTAMP", kind="date"),
    "input_tokens": Column(header="ContextTokens", kind="tokens"),
    "output_tokens": Column(header="GeneratedTokens", kind="tokens"),
}


def sniff(start: bytes) -> bool:
    """Say whether a file that starts so may be of this format."""
    return has_header(start, _COLUMNS)


def read(paths: Sequence[Path]) -> Rows:
    """Read files as parts of one trace."""
    return read_csv(paths, _COLUMNS)
