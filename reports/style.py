"""How figures look: palette, dashes, axes, layout. Knows no run.

Runs are told apart by colour and by dash, marker or hatching, so that a print in grey can be
read. Names from data are escaped: plotly.js reads HTML in labels.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import units

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette without black, kept for the optimum, and yellow, too pale on white."""
DASHES = ("solid", "dash", "dashdot", "longdash", "longdashdot")
MARKERS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")
HATCHES = ("", "/", "x", "-", ".", "\\", "+")
OPTIMUM = "optimum"
INK = "#222222"
GRID = "#e4e4e4"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
HEIGHT = 360


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How one run is drawn in every figure."""

    line: dict[str, Any]
    marker: dict[str, Any]
    bar: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure with its words."""

    key: str
    """Names the figure in the page; letters only."""
    title: str
    caption: str
    """One sentence: what to see."""
    data: list[dict[str, Any]]
    """Empty: there is nothing to draw."""
    layout: dict[str, Any]
    is_wide: bool = False
    """Whether it takes the page's whole width."""
    why_empty: str = "Nothing to draw: the run has no such data."


def look(at: int | str) -> Look:
    """Return the look of the run at a position, or of `OPTIMUM`."""
    if isinstance(at, str):
        return Look(line={"color": "#000000", "width": 1.5, "dash": "dot"}, marker={}, bar={})
    colour = COLOURS[at % len(COLOURS)]
    return Look(
        line={"color": colour, "width": 2, "dash": DASHES[at % len(DASHES)]},
        marker={
            "color": colour,
            "size": 9,
            "symbol": MARKERS[at % len(MARKERS)],
            "line": {"color": "#ffffff", "width": 1},
        },
        bar={
            "color": colour,
            "line": {"color": colour, "width": 1},
            "pattern": {
                "shape": HATCHES[at % len(HATCHES)],
                "fgcolor": "#ffffff",
                "size": 7,
                "fillmode": "overlay",
            },
        },
    )


def line(
    name: str, x: Iterable[float], y: Iterable[float], at: int | str, *, shape: str = "linear"
) -> dict[str, Any]:
    """Return a line named by escaped text; NaN leaves a gap."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": rounded(x),
        "y": rounded(y),
        "line": {**look(at).line, "shape": shape},
    }


def time_line(
    name: str, x: NDArray[np.float64], y: NDArray[np.float64], at: int
) -> list[dict[str, Any]]:
    """Return a solid line, told apart by a few marks: dashes are lost where a line zigzags."""
    solid = line(name, x, y, at)
    solid["line"] |= {"dash": "solid", "width": 1.6}
    solid |= {"legendgroup": str(at), "showlegend": False}
    every = max(len(x) // 9, 1)
    first = every * (1 + at % 4) // 5
    marks = line(name, x[first::every], y[first::every], at)
    marks |= {"mode": "markers", "marker": look(at).marker, "hoverinfo": "skip"}
    marks |= {"legendgroup": str(at), "showlegend": False}
    key = {**line(name, [0.0], [math.nan], at), "mode": "lines+markers", "marker": look(at).marker}
    key["line"] = solid["line"]
    solid["connectgaps"] = True
    return [solid, marks, {**key, "legendgroup": str(at)}]


def rounded(values: Iterable[float]) -> list[float | None]:
    """Return plain numbers of six digits, the same on every machine; None for NaN."""
    return [float(f"{v:.6g}") if np.isfinite(v) else None for v in values]


def axis(title: str, *, rangemode: str = "normal") -> dict[str, Any]:
    """Return an axis with light grid lines."""
    return {
        "title": {"text": title, "standoff": 8},
        "rangemode": rangemode,
        "gridcolor": GRID,
        "linecolor": "#888888",
        "ticks": "outside",
        "tickcolor": "#888888",
        "zeroline": False,
        "automargin": True,
    }


def log_axis(
    title: str, data: Sequence[dict[str, Any]], write: Callable[[float], str]
) -> dict[str, Any]:
    """Return a logarithmic axis labelled in full: powers of ten, with 2 and 5 if these are few."""
    values = [x for drawn in data for x in drawn["x"] if x]
    low, high = (math.log10(end(values, default=1.0)) for end in (min, max))
    steps = (1, 2, 5) if high - low < 2.5 else (1,)
    every = 1 if high - low < 7 else 2
    at = [m * 10.0**k for k in range(math.floor(low), math.ceil(high) + 1, every) for m in steps]
    ticks = {"type": "log", "tickvals": at, "ticktext": [write(v) for v in at]}
    return {**axis(title), **ticks}


def layout(*, x: dict[str, Any], y: dict[str, Any], **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the layout that all figures share; `more` is plotly.js layout."""
    return {
        "xaxis": x,
        "yaxis": y,
        "height": HEIGHT,
        "margin": {"l": 56, "r": 20, "t": 10, "b": 48},
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "showlegend": True,
        "hovermode": "closest",
        **more,
    }


def escape(text: object) -> str:
    """Return text from data, short and such that plotly.js shows it as it is."""
    return html.escape(units.plain(text, 60), quote=False)
