"""What the figures of a trace share: a look for each type, shares in percent, ticks of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import units
from ..style import axis, escape, line, log_axis

MOST_LINES = 5
"""Lines of a figure that can be told apart without their colours: as many as there are dashes."""
MANY_NAMES = 8
"""Names below an axis for which a figure takes the whole width."""
NAME_CHARS = 16
ONLY_TYPE = "request"
NO_IDS = "Nothing to draw: the trace has no block ids, so nothing is known of reuse."


def name_of(kind: str) -> str:
    """Return a type's name, short and safe; "all requests" where the file names none."""
    return "all requests" if kind == ONLY_TYPE else escape(units.plain(kind, NAME_CHARS))


def category_name(category: str, max_chars: int = NAME_CHARS) -> str:
    """Return a category's name, its type shortened but not its turn; not yet safe.

    >>> category_name("request-6+"), category_name("text-1")
    ('turn 6+', 'text-1')
    >>> category_name("retrieval-augmented-2")
    'retrieval-augm…-2'
    """
    kind, _, turn = category.rpartition("-")
    if kind == ONLY_TYPE:
        return f"turn {turn}"
    if len(category) <= max_chars or not kind:
        return units.plain(category, max_chars)
    return f"{units.plain(kind, max_chars - 1)}-{turn}"


def largest(names: Sequence[str], weight: NDArray[np.floating] | NDArray[np.integer]) -> list[int]:
    """Return the places of the `MOST_LINES` with the most weight, in their own order.

    "all", where it leads the names, is always among them.
    """
    order = sorted(range(len(names)), key=lambda i: (-float(np.nan_to_num(weight[i])), i))
    if names and names[0] == "all":
        order = [0, *(i for i in order if i != 0)]
    return sorted(i for i in order[:MOST_LINES] if i == 0 or weight[i] > 0)


def lines(
    names: Sequence[str],
    x: NDArray[np.floating] | NDArray[np.integer],
    rows: NDArray[np.float64],
    chosen: Sequence[int],
    *,
    scale: float = 100.0,
    shape: str = "linear",
) -> list[dict[str, Any]]:
    """Draw a row each, with the looks in order; all-NaN rows are left out."""
    drawn = []
    for at, i in enumerate(chosen):
        if np.isfinite(rows[i]).any():
            drawn.append(line(name_of(names[i]), x, scale * rows[i], at, shape=shape))
    return drawn


def percent_axis(title: str, *, is_whole: bool = True, has_values: bool = False) -> dict[str, Any]:
    """Return an axis of shares, up to 100 % if `is_whole`; `has_values` are written on bars."""
    if is_whole:
        return {**axis(f"{title}, %"), "range": [0, 112 if has_values else 103]}
    return axis(f"{title}, %", rangemode="tozero")


def time_axis(title: str, data: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a logarithmic axis of seconds, labelled in units."""
    return log_axis(title, data, time_tick)


def time_tick(time_s: float) -> str:
    """Write a round time without the noughts behind its point."""
    return units.seconds(time_s).replace(".00 ", " ").replace(".0 ", " ")


def span(time_s: float) -> str:
    """Write a round stretch of time: '60 s', '10 min', '1 h'."""
    for unit, size in (("h", 3600), ("min", 60)):
        if (time_s > size and time_s % size == 0) or time_s == 3600:
            return f"{units.count(time_s / size)} {unit}"
    return f"{time_s:g} s"


def count_tick(number: float) -> str:
    """Write a round number: '500', '20 k', '1 M'."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{units.count(number / size)} {unit}"
    return f"{number:g}"


def bars(
    name: str,
    x: Sequence[str],
    y: NDArray[np.float64] | Sequence[float],
    look_of: dict[str, Any],
    *,
    written: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Draw a bar a name, with its value written above."""
    return {
        "type": "bar",
        "name": name,
        "x": list(range(len(x))),
        "y": [float(f"{v:.6g}") if np.isfinite(v) else None for v in y],
        "text": list(written) if written is not None else None,
        "textposition": "outside" if written is not None else "none",
        "textangle": 0,
        "constraintext": "none",
        "cliponaxis": False,
        "hovertext": [f"{name}: {of}" for of in x],
        "hoverinfo": "y+text" if written is None else "text",
        "marker": look_of,
    }


def named_axis(title: str, names: Sequence[str]) -> dict[str, Any]:
    """Return an axis with a name at each of 0, 1, ...; never so few that bars grow fat."""
    middle, half = (len(names) - 1) / 2, max(len(names), 4) / 2
    return {
        **axis(title),
        "range": [middle - half, middle + half],
        "tickvals": list(range(len(names))),
        "ticktext": list(names),
        "showgrid": False,
    }
