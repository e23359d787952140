"""Figures of traces beside each other: hits over cache size, load over time, waits over instances.

Each takes what it compares by name, so that a trace, its twin and its twin at another rate stand
in one figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..studies.curves import hit_ratio, lru_curve
from ..studies.mrc import curve_points
from ..traces.compiled import CompiledTrace
from ..traces.schema import Trace
from .description.drawing import count_tick, percent_axis, time_axis
from .style import Figure, axis, escape, layout, line, log_axis

CURVE_POINTS = 60
WINDOWS = 60
"""Windows of equal length that the load is counted in."""


def hit_curves(compiled: Mapping[str, CompiledTrace]) -> Figure:
    """Draw exact LRU's hit ratio over the size of one cache, a line a trace."""
    data = []
    for at, (name, one) in enumerate(compiled.items()):
        points = curve_points(one.tree, CURVE_POINTS)
        hits = lru_curve(one.tree).hits_at(points)
        ratios = [100 * hit_ratio(int(h), one.tree) for h in hits]
        data.append(line(escape(name), points, ratios, at))
    return Figure(
        key="curves",
        title="Hit ratio over cache size",
        caption=(
            "Exact LRU in one cache. Where two lines lie on each other, the traces reuse blocks at"
            " the same distance; a line shifted to the right needs that much more memory."
        ),
        data=data,
        layout=layout(
            x=log_axis("capacity in blocks, log scale", data, count_tick),
            y=percent_axis("hit ratio", is_whole=False),
        ),
    )


def load_over_time(traces: Mapping[str, Trace]) -> Figure:
    """Draw requests a second in windows of the longest trace's duration, a line a trace."""
    last_s = max(float(trace.arrival_s[-1]) for trace in traces.values())
    edges = np.linspace(0.0, max(last_s, 1e-9), WINDOWS + 1)
    window_s = edges[1]
    data = []
    for at, (name, trace) in enumerate(traces.items()):
        per_s = np.histogram(trace.arrival_s, edges)[0] / window_s
        drawn = line(escape(name), edges, [*per_s, per_s[-1]], at, shape="hv")
        data.append(drawn)
    return Figure(
        key="load",
        title="Load over time",
        caption="Peaks and lulls at the same places: a twin keeps when its trace was busy.",
        data=data,
        layout=layout(
            x=axis("time, s"),
            y=axis(f"requests a second, in {window_s:.3g} s", rangemode="tozero"),
        ),
    )


def waits_by_instances(summaries: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw p50 and p99 of the time to first token over the number of instances, one run a point."""
    rows = sorted(summaries, key=lambda summary: summary["instances"])
    n = [row["instances"] for row in rows]
    data = []
    for at, level in enumerate(("p50", "p99")):
        drawn = line(level, n, [row["ttft_s"][level] for row in rows], at)
        data.append({**drawn, "mode": "lines+markers"})
    waits = [{"x": drawn["y"]} for drawn in data]
    return Figure(
        key="waits",
        title="Time to first token over instances",
        caption="The least number at which the line of your objective is low enough is the answer.",
        data=data,
        layout=layout(
            x={**axis("instances"), "tickvals": n},
            y=time_axis("time to first token, log scale", waits),
        ),
    )
