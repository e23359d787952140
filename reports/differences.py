"""Differences between runs of a comparison, with their intervals, as text. Knows no layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import units
from .columns import number, text
from .misses import TextTable

COLUMNS = ("hit ratio", "TTFT mean")
INTERVALS = "[ ] 95 % interval of the difference, over windows of the trace"


def difference_table(labels: Sequence[str], paired: Sequence[object]) -> TextTable | None:
    """Return a row for each run that was compared with another, or None if none was."""
    rows: list[tuple[str, ...]] = [
        difference_row(label, found)
        for label, found in zip(labels, paired, strict=True)
        if isinstance(found, Mapping)
    ]
    if not rows:
        return None
    return TextTable(
        title="Differences to the first policy",
        columns=("difference", *COLUMNS),
        rows=rows,
        note=(
            f"{INTERVALS}: both runs serve the same requests, so windows of arrivals are compared"
            " pair by pair, and drawn again and again. Where 0 lies inside, the trace does not tell"
            " the two apart. pp: percentage points."
        ),
    )


def difference_row(label: str, paired: Mapping[str, Any]) -> tuple[str, str, str]:
    """Write who is compared with whom, and both differences."""
    return (
        f"{label} - {units.plain(text(paired, 'to'), 30)}",
        _interval(paired.get("hit_ratio_tokens"), _signed(units.points)),
        _interval(paired.get("ttft_mean_s"), _signed(units.seconds)),
    )


def _interval(found: object, write: Callable[[float | None], str]) -> str:
    if not isinstance(found, Mapping):
        return units.DASH
    difference, low, high = (write(number(found, key)) for key in ("difference", "low", "high"))
    return f"{difference} [{low}, {high}]"


def _signed(write: Callable[[float | None], str]) -> Callable[[float | None], str]:
    def signed(value: float | None) -> str:
        return f"+{write(value)}" if value is not None and value > 0 else write(value)

    return signed
