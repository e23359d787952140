"""Rows for the doctor, read also where the times are beyond what a reader allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ... import TraceError
from ..formats import read_rows, recognise, settings_of
from ..rows import Rows
from .finding import Finding, Severity
from .times import rescaled

_UNITS = {"us": "microseconds", "ns": "nanoseconds"}


def load(paths: Sequence[Path], settings: Mapping[str, str]) -> tuple[Rows, tuple[Finding, ...]]:
    """Read files as they are, in a smaller unit of time if they can be read only so.

    Raises:
        TraceError: they cannot be read at all.
    """
    try:
        return read_rows(paths, settings=settings), ()
    except TraceError as error:
        if "time_unit" not in settings_of(recognise(Path(paths[0]))) or "time_unit" in settings:
            raise
        for unit, words in _UNITS.items():
            try:
                rows = read_rows(paths, settings={**settings, "time_unit": unit})
            except TraceError:
                continue
            return rows, (_beyond(error, unit, words),)
        raise


def _beyond(error: TraceError, unit: str, words: str) -> Finding:
    return Finding(
        check="units",
        severity=Severity.WRONG,
        what=f"times are {words}, not what the format says: {error}",
        effect="the file is refused",
        remedy=f"--set time_unit={unit}, or --fix",
        fix=lambda rows: rescaled(rows, 1.0),
    )
