"""Figures of latency and load: TTFT, TPOT, queue, occupancy. Knows no HTML and no file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import series, units
from .columns import number
from .run_files import Run
from .style import Figure, axis, escape, layout, line, log_axis, look, time_line


def load_figures(runs: Sequence[Run]) -> list[Figure]:
    """Draw latency and load, in the order of the page."""
    return [_ttft(runs), _tpot(runs), _queue(runs), _occupancy(runs)]


def _cdfs(lines: Sequence[tuple[str, NDArray[np.float64]]]) -> list[dict[str, Any]]:
    """Draw the share of requests at or below each time, with dots at p50, p90 and p99."""
    data = []
    for at, (name, values) in enumerate(lines):
        x, share = series.cdf(values)
        is_drawn = x > 0
        x, share = x[is_drawn], share[is_drawn]
        if not len(x):
            continue
        data.append(line(name, x, 100 * share, at, shape="hv"))
        known = values[~np.isnan(values)]
        quantiles = np.percentile(known, (50, 90, 99))
        dots = line(name, quantiles, [50, 90, 99], at)
        dots |= {"mode": "markers", "marker": look(at).marker, "showlegend": False}
        dots["hoverinfo"] = "x+name"
        data.append(dots)
    return data


def _ttft(runs: Sequence[Run]) -> Figure:
    if len(runs) == 1:
        lines = [("TTFT", runs[0].ttft_s), ("time in the queue", runs[0].queue_s)]
        seen = "Where the two lines meet, requests spend their time waiting, not computing"
    else:
        lines = [(escape(run.label), run.ttft_s) for run in runs]
        seen = "The line further left is faster; they part where hits spare prefill or queueing"
    data = _cdfs(lines)
    return Figure(
        key="ttft",
        title="Time to first token",
        caption=f"{seen}; marks stand at p50, p90 and p99.",
        data=data,
        layout=layout(x=log_axis("time, log scale", data, _tick), y=_share_axis()),
    )


def _tpot(runs: Sequence[Run]) -> Figure:
    lines = [(escape(run.label) if len(runs) > 1 else "TPOT", run.tpot_s) for run in runs]
    data = _cdfs(lines)
    return Figure(
        key="tpot",
        title="Time per output token",
        caption=(
            "Mean gap between the tokens of each request after its first: a long right tail is"
            " prefill of others, or preemption, in between; marks stand at p50, p90 and p99."
        ),
        data=data,
        layout=layout(
            x=log_axis("time, log scale", data, _tick), y=_share_axis(), showlegend=len(runs) > 1
        ),
    )


def _queue(runs: Sequence[Run]) -> Figure:
    data = []
    for at, run in enumerate(runs):
        name = escape(run.label) if len(runs) > 1 else "waiting"
        data += time_line(name, run.timeline.time_s, run.timeline.waiting, at)
    if len(runs) == 1:
        data += time_line("running", runs[0].timeline.time_s, runs[0].timeline.running, 1)
    what = "Requests waiting" if len(runs) > 1 else "Requests waiting and running"
    return Figure(
        key="queue",
        title="Queue length over time",
        caption=(
            f"{what}{_averaged(runs)}: a queue that keeps growing means that the load"
            " is above what the instances can serve."
        ),
        data=data,
        layout=layout(x=axis("simulated time, s"), y=axis("requests", rangemode="tozero")),
    )


def _occupancy(runs: Sequence[Run]) -> Figure:
    data = []
    if len(runs) == 1:
        time, scale = runs[0].timeline, 100 / _all_blocks(runs[0])
        kept = time.used_blocks + time.cached_blocks
        upper = time_line("in use or cached", time.time_s, scale * kept, 1)
        lower = time_line("in use", time.time_s, scale * time.used_blocks, 0)
        upper[0] |= {"fill": "tozeroy", "fillcolor": "#fbe9dd"}
        lower[0] |= {"fill": "tozeroy", "fillcolor": "#cfe3f1"}
        data = upper + lower
        seen = (
            "The band between the lines is what is kept for later requests: eviction begins when"
            " the upper line reaches 100 %, and preemption when the lower one does"
        )
    else:
        for at, run in enumerate(runs):
            time, scale = run.timeline, 100 / _all_blocks(run)
            data += time_line(escape(run.label), time.time_s, scale * time.used_blocks, at)
        seen = (
            "Blocks held by running requests: what is left up to 100 % is for the cache, and"
            " preemption begins when nothing is left"
        )
    return Figure(
        key="occupancy",
        title="Cache occupancy over time",
        caption=f"{seen}{_averaged(runs)}.",
        data=data,
        layout=layout(
            x=axis("simulated time, s"), y={**axis("share of the blocks, %"), "range": [0, 104]}
        ),
    )


def _averaged(runs: Sequence[Run]) -> str:
    return f" (means over {units.duration(max(run.timeline.every_s for run in runs))})"


def _tick(time_s: float) -> str:
    """Write a round time without the noughts behind its point."""
    return units.seconds(time_s).replace(".00 ", " ").replace(".0 ", " ")


def _all_blocks(run: Run) -> float:
    usable = (number(run.summary, "usable_blocks") or 0) * (number(run.summary, "instances") or 1)
    seen = float(np.max(run.timeline.used_blocks + run.timeline.cached_blocks, initial=1.0))
    return usable if usable > 0 else seen


def _share_axis() -> dict[str, Any]:
    return {**axis("share of requests, %"), "range": [0, 103]}
