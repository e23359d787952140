"""Figures of how much memory a trace asks for: working set, miss-ratio curves, models, tree."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...studies.characterisation import TraceStudy
from ...traces.characterize.tree_picture import TreePicture
from .. import units
from ..style import OPTIMUM, Figure, axis, escape, layout, line, log_axis, look
from .drawing import (
    MOST_LINES,
    NO_IDS,
    bars,
    count_tick,
    largest,
    lines,
    name_of,
    named_axis,
    percent_axis,
    span,
)

SHADES = ("#fff7e6", "#f6d9a8", "#e6ad66", "#c47a3a", "#8a4a1f", "#4d2510")
"""From few to many blocks: one hue, so that a print in grey keeps the order."""


def capacity_figures(study: TraceStudy) -> list[Figure]:
    """Draw what memory is needed, in the order of the page."""
    return [working_set(study), hit_curves(study), live_capacity(study), prefix_tree(study)]


def working_set(study: TraceStudy) -> Figure:
    """Distinct blocks in use over time."""
    found = study.characterisation.working_set
    data = []
    if found is not None:
        names = [f"used in the last {span(float(w))}" for w in found.window_s]
        for at, name in enumerate(names):
            data.append(line(name, found.time_s, found.blocks[at], at))
        data.append(line("used so far", found.time_s, found.distinct, 4))
        data.append(line("will be used again", found.time_s, found.live, OPTIMUM))
        for drawn in data:  # nothing in use is nowhere on a logarithmic axis
            drawn["y"] = [y or None for y in drawn["y"]]
    values = [{"x": [y for drawn in data for y in drawn["y"]]}]
    return Figure(
        key="workingset",
        title="Working set over time",
        caption=(
            "Distinct blocks used in windows of several lengths. The dotted line is all that a"
            " cache with perfect foresight would hold; the gap to the others is what eviction"
            " has to see through."
        ),
        data=data,
        layout=layout(
            x=axis("time since the first arrival, s"),
            y=log_axis("blocks, log scale", values, count_tick),
        ),
        why_empty=NO_IDS,
    )


def hit_curves(study: TraceStudy) -> Figure:
    """Hit ratio over cache size, of all requests and of each type, with the optimum."""
    found = study.curves
    data = []
    if found is not None:
        if len(found.types) > 1:
            n_of = study.characterisation.description.requests_per_category
            chosen = largest(found.types, np.array(list(n_of.values())))
            chosen = chosen[: MOST_LINES - 1]
            data = lines(found.types, found.capacity, found.lru_by_type, chosen)
        name = "all requests" if len(found.types) > 1 else "LRU"
        data.append(line(name, found.capacity, 100 * found.lru, len(data)))
        data.append(line("optimum", found.optimum_capacity, 100 * found.optimum, OPTIMUM))
    return Figure(
        key="curves",
        title="Hit ratio over cache size",
        caption=(
            "Exact LRU for one cache at all sizes, hits of each type in the cache that all share;"
            " dotted: what no policy can exceed."
        ),
        data=data,
        layout=layout(
            x=log_axis("capacity in blocks, log scale", data, count_tick),
            y=percent_axis("hit ratio", is_whole=False),
        ),
        why_empty=NO_IDS,
    )


def live_capacity(study: TraceStudy) -> Figure:
    """Memory for the ideal hit ratio, in multiples of what instances have, by model."""
    rows = study.capacity or []
    data = []
    names = [escape(row.model) for row in rows]
    if rows:
        one = [row.times_one_instance for row in rows]
        few = [row.times_kv_memory for row in rows]
        data = [
            bars("of one instance", names, one, look(0).bar, written=[f"{v:.2g}" for v in one]),
            bars(
                "of the fewest instances that serve the load",
                names,
                few,
                look(1).bar,
                written=[f"{v:.2g}" for v in few],
            ),
        ]
    values = {"x": [v for drawn in data for v in drawn["y"] if v]}
    return Figure(
        key="models",
        title="Memory for the ideal hit ratio, by model",
        caption=(
            "KV of the most blocks that are live at once, which a cache with perfect foresight"
            " needs, over the KV memory of instances on H100 GPUs: below 1 the GPU's memory is"
            " enough, above it the rest must go to the host."
        ),
        data=data,
        layout=layout(
            x=named_axis("model", names),
            y=log_axis("times the KV memory, log scale", [values], lambda v: f"{v:g}")
            if values["x"]
            else axis(""),
            barmode="group",
        ),
        is_wide=True,
        why_empty=NO_IDS,
    )


def prefix_tree(study: TraceStudy) -> Figure:
    """The most shared part of the prefix tree, as an icicle."""
    found = study.characterisation.tree
    words = ""
    if found is not None and found.n_hits:
        words = (
            f" The {units.count(len(found.parent))} runs with the most below them, of"
            f" {units.count(found.n_segments)}: {units.percent(found.hits.sum() / found.n_hits)}"
            " of all hits. Click a box to look into it."
        )
    return Figure(
        key="tree",
        title="The prefix tree",
        caption=(
            "Each box is a run of blocks that the same requests share, below what precedes it in"
            " the prompt: as wide as the hits on it and on what is drawn below, darker the more"
            f" blocks it has.{words}"
        ),
        data=[_icicle(found)] if found is not None and len(found.parent) else [],
        layout={
            **layout(x={}, y={}, height=460, showlegend=False),
            "margin": {"l": 4, "r": 70, "t": 10, "b": 10},
            "uniformtext": {"minsize": 9, "mode": "hide"},  # smaller labels are dust
        },
        is_wide=True,
        why_empty=NO_IDS,
    )


def _icicle(found: TreePicture) -> dict[str, Any]:
    n = len(found.parent)
    width = found.hits.copy()
    for i in range(n - 1, -1, -1):  # a child comes after its parent
        if found.parent[i] >= 0:
            width[found.parent[i]] += width[i]
    hover = [
        f"{units.plural(int(blocks), 'block')} after {units.count(int(found.depth[i]))}"
        f"<br>{units.plural(int(found.requests[i]), 'request')}"
        f"<br>{units.percent(found.hits[i] / found.n_hits)} of all hits"
        f"<br>made by {name_of(found.types[found.category[i]])}"
        for i, blocks in enumerate(found.blocks)
    ]
    most = math.ceil(math.log10(max(int(found.blocks.max()), 2)))
    return {
        "type": "icicle",
        "ids": ["all", *(str(i) for i in range(n))],
        "labels": [
            f"{units.count(n)} runs with the most hits",
            *(units.plural(int(blocks), "block") for blocks in found.blocks),
        ],
        "parents": ["", *("all" if p < 0 else str(p) for p in found.parent.tolist())],
        "values": [int(width[found.parent < 0].sum()), *width.tolist()],
        "branchvalues": "total",
        "hovertext": ["", *hover],
        "hoverinfo": "text",
        "textinfo": "label",
        "sort": True,
        "tiling": {"orientation": "v", "pad": 1},
        "pathbar": {"visible": False},
        "marker": {
            "colors": [0.0, *np.round(np.log10(found.blocks), 4).tolist()],
            "colorscale": [[i / (len(SHADES) - 1), shade] for i, shade in enumerate(SHADES)],
            "cmin": 0,
            "cmax": most,
            "line": {"color": "#777777", "width": 0.5},
            "showscale": True,
            "colorbar": {
                "title": {"text": "blocks"},
                "tickvals": list(range(most + 1)),
                "ticktext": [count_tick(10**k) for k in range(most + 1)],
                "thickness": 12,
            },
        },
    }
