"""Figures of what the cache did: capacity, time, categories, turns. Knows no HTML and no file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from . import units
from .columns import number
from .run_files import Run
from .style import OPTIMUM, Figure, axis, escape, layout, line, log_axis, look, time_line

MAX_BARS = 20
"""Categories in a figure: those with the most tokens."""


def cache_figures(runs: Sequence[Run]) -> list[Figure]:
    """Draw what the cache did, in the order of the page."""
    return [
        _miss_ratio_curve(runs),
        _running_hit_ratio(runs),
        _bars(runs, "by_category", "category"),
        _bars(runs, "by_turn", "turn"),
    ]


def _miss_ratio_curve(runs: Sequence[Run]) -> Figure:
    curves = [run.curve for run in runs if run.curve is not None]
    points: dict[str, list[tuple[float, float]]] = {}
    for curve in curves:
        if curve.block_size == curves[0].block_size:
            points = {**curve.points, **points}
    data = []
    names = sorted(points, key=lambda name: (name == OPTIMUM, name))
    for at, name in enumerate(names):
        blocks, ratios = zip(*points[name], strict=True) if points[name] else ((), ())
        drawn = line(
            escape(name), blocks, [100 * r for r in ratios], OPTIMUM if name == OPTIMUM else at
        )
        data.append(drawn)
    capacity = curves[0].capacity_blocks if curves else None
    return Figure(
        key="capacity",
        title="Hit ratio over cache size",
        caption=(
            "Where the curve is steep at the dotted line, the cache of this run, more memory pays;"
            " the gap up to the optimum is what a better policy could win (one cache for the whole"
            " trace, hits counted in blocks)."
        ),
        data=data,
        layout=layout(
            x=log_axis("capacity in blocks, all instances together", data, _tick),
            y=axis("hit ratio, %", rangemode="tozero"),
            **(_vertical(capacity, f"this run: {units.count(capacity)}") if capacity else {}),
        ),
    )


def _vertical(x: float, words: str) -> dict[str, Any]:
    """Return a dotted line across a logarithmic axis, with words at its foot."""
    dotted = {"color": "#555555", "width": 1.5, "dash": "dot"}
    ends = {"x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1}
    foot = {"yref": "paper", "y": 0.01, "yanchor": "bottom", "xanchor": "left", "xshift": 3}
    note = {"x": math.log10(x), "text": words, "showarrow": False, "bgcolor": "#ffffffcc"}
    return {
        "shapes": [{"type": "line", "line": dotted, **ends}],
        "annotations": [{**note, **foot}],
    }


def _running_hit_ratio(runs: Sequence[Run]) -> Figure:
    data = []
    for at, run in enumerate(runs):
        name = escape(run.label) if len(runs) > 1 else "hit ratio"
        percents = 100 * run.timeline.hit_ratio
        data += time_line(name, run.timeline.time_s, percents, at)
    if len(runs) == 1 and len(runs[0].timeline.time_s):
        summary, ends = runs[0].summary, runs[0].timeline.time_s[[0, -1]]
        overall = units.defined(number(summary, "hit_ratio_tokens"))
        bound = units.defined(number(summary, "bound_hit_ratio_tokens"))
        for name, level, drawn_as in (
            ("whole run", overall, 1),
            ("optimum, whole run", bound, OPTIMUM),
        ):
            if level is not None:
                data.append(line(name, ends, [100 * level] * 2, drawn_as))
    window_s = max(run.timeline.window_s for run in runs)
    return Figure(
        key="hits",
        title="Hit ratio over time",
        caption=(
            "Share of the prompt tokens admitted in the last"
            f" {units.duration(window_s)} that the cache already held: it climbs while the"
            " cache fills and drops when the mix of requests moves on."
        ),
        data=data,
        layout=layout(x=axis("simulated time, s"), y=axis("hit ratio, %", rangemode="tozero")),
    )


def _bars(runs: Sequence[Run], key: str, noun: str) -> Figure:
    """Hit ratio of each category or turn, a bar a run."""
    weight: dict[str, float] = {}
    for run in runs:
        for row in run.summary.get(key, []):
            name = str(row["name"])
            weight[name] = max(weight.get(name, 0.0), number(row, "lookup_tokens") or 0.0)
    names = list(weight)
    if len(names) > MAX_BARS:
        names = sorted(names, key=lambda name: (-weight[name], name))[:MAX_BARS]
    data = []
    for at, run in enumerate(runs):
        row_of = {str(row["name"]): row for row in run.summary.get(key, [])}
        rows = [row_of.get(name, {}) for name in names]
        ratios = [units.defined(number(row, "hit_ratio_tokens")) for row in rows]
        data.append(
            {
                "type": "bar",
                "name": escape(run.label),
                "x": list(range(len(names))),
                "y": [None if r is None else round(100 * r, 4) for r in ratios],
                "text": [units.DASH if r is None else f"{100 * r:.1f}" for r in ratios],
                "textangle": 0,
                "constraintext": "none",
                "textposition": "outside" if len(names) * len(runs) <= 12 else "none",
                "cliponaxis": False,
                "hovertext": [
                    _bar_hover(run, name, row) for name, row in zip(names, rows, strict=True)
                ],
                "hoverinfo": "text",
                "marker": look(at).bar,
            }
        )
    middle, half = (len(names) - 1) / 2, max(len(names), 4 if len(runs) == 1 else 2) / 2
    left_out = f" (the {MAX_BARS} largest of {len(weight)})" if len(weight) > MAX_BARS else ""
    what = {
        "category": "Which kinds of request the cache serves",
        "turn": "Later turns repeat the conversation so far, so they should hit more",
    }[noun]
    return Figure(
        key=noun,
        title=f"Hit ratio by {noun}",
        caption=f"{what}{left_out}; a low bar with many requests is where to look first.",
        data=data if names else [],
        layout=layout(
            x={
                **axis(noun),
                "range": [middle - half, middle + half],
                "tickvals": list(range(len(names))),
                "ticktext": [escape(units.plain(name, 18)) for name in names],
                "showgrid": False,
            },
            y=axis("hit ratio, %", rangemode="tozero"),
            barmode="group",
            showlegend=len(runs) > 1,
        ),
    )


def _bar_hover(run: Run, name: str, row: dict[str, Any]) -> str:
    return (
        f"{escape(run.label)}: {escape(name)}<br>{units.percent(number(row, 'hit_ratio_tokens'))}"
        f" of {units.count(number(row, 'lookup_tokens'))} prompt tokens"
        f"<br>{units.count(number(row, 'requests'))} requests"
    )


def _tick(blocks: float) -> str:
    """Write a round number of blocks: '500', '20 k', '1 M'."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if blocks >= size:
            return f"{units.count(blocks / size)} {unit}"
    return f"{blocks:g}"
