"""Figures of what arrives: rate, burstiness, lengths, turns. Knows no HTML and no file."""

from __future__ import annotations

import numpy as np

from ...studies.characterisation import TraceStudy
from .. import units
from ..style import OPTIMUM, Figure, axis, escape, layout, line, log_axis, look
from .drawing import (
    MANY_NAMES,
    bars,
    category_name,
    count_tick,
    largest,
    lines,
    name_of,
    named_axis,
    percent_axis,
    time_axis,
)

MOST_BARS = 18
MOST_TURNS = 12
NO_TURNS = "Nothing to draw: the trace neither names sessions nor has ids to find them by."
NO_TIME = "Nothing to draw: all requests arrive at once."


def load_figures(study: TraceStudy) -> list[Figure]:
    """Draw what arrives, in the order of the page."""
    return [
        arrival_rate(study),
        burstiness(study),
        lengths(study, "input"),
        lengths(study, "output"),
        turns(study),
        next_turn_over_time(study),
        next_turn(study),
    ]


def arrival_rate(study: TraceStudy) -> Figure:
    """Requests a second over time."""
    found = study.characterisation.arrivals
    data = []
    bin_s = 0.0
    if found is not None:
        bin_s = found.bin_s
        data.append(line("rate", found.time_s, found.per_s, 0, shape="hv"))
        data[0]["line"]["width"] = 1.6
        mean = float(found.per_s.mean())
        data.append(line("mean", found.time_s[[0, -1]], [mean, mean], OPTIMUM))
    return Figure(
        key="rate",
        title="Arrivals over time",
        caption=(
            f"Requests a second, in bins of {units.duration(bin_s)}: a trend means that a cache"
            " sized for the mean is too small at one end of the trace."
        ),
        data=data,
        layout=layout(
            x=axis("time since the first arrival, s"), y=axis("requests/s", rangemode="tozero")
        ),
        why_empty=NO_TIME,
    )


def burstiness(study: TraceStudy) -> Figure:
    """Index of dispersion and peak over mean, over time scales."""
    found = study.characterisation.arrivals
    data = []
    if found is not None:
        data.append(line("variance / mean of counts", found.scale_s, found.dispersion, 0))
        data.append(line("peak / mean", found.scale_s, found.peak_to_mean, 1))
        data.append(line("Poisson", found.scale_s[[0, -1]], [1.0, 1.0], OPTIMUM))
    ys = [{"x": [y for drawn in data for y in drawn["y"]]}]
    return Figure(
        key="burstiness",
        title="Burstiness over time scales",
        caption=(
            "Counts of arrivals in windows of each width: a line that stays at 1 is Poisson, one"
            " that climbs has bursts that outlast the window."
        ),
        data=data,
        layout=layout(
            x=time_axis("width of the window, log scale", data),
            y=log_axis("ratio, log scale", ys, lambda v: f"{v:g}"),
        ),
        why_empty=NO_TIME,
    )


def lengths(study: TraceStudy, which: str) -> Figure:
    """Distribution of prompt or output lengths, a line a type."""
    found = study.characterisation.lengths
    rows = found.input_tokens if which == "input" else found.output_tokens
    n_of = np.array(list(study.characterisation.description.requests_per_category.values()))
    data = []
    for at, i in enumerate(largest(found.types, n_of)):
        data.append(line(name_of(found.types[i]), rows[i], 100 * found.share, at))
    noun = "Prompt" if which == "input" else "Output"
    return Figure(
        key=f"{which}length",
        title=f"{noun} lengths",
        caption=(
            "Share of the requests that are at most so long: lines apart mean that the type"
            " tells the length in advance."
            if len(data) > 1
            else "Share of the requests that are at most so long; where the line is upright, many"
            " are as long as each other."
        ),
        data=data,
        layout=layout(
            x=log_axis("tokens, log scale", data, count_tick),
            y=percent_axis("share of requests"),
            showlegend=len(data) > 1,
        ),
    )


def turns(study: TraceStudy) -> Figure:
    """Requests by turn number."""
    found = study.characterisation.turns
    data = []
    names: list[str] = []
    if found is not None:
        n = found.n_requests
        first = n[: MOST_TURNS - 1]
        names = [str(t) for t in found.turn[: MOST_TURNS - 1]]
        if len(n) > len(first):
            first, names = np.append(first, n[len(first) :].sum()), [*names, f"{MOST_TURNS}+"]
        shares = 100 * first / n.sum()
        data.append(
            bars("requests", names, shares, look(0).bar, written=[f"{s:.1f}" for s in shares])
        )
    return Figure(
        key="turns",
        title="Requests by turn",
        caption=(
            "Share of the requests that are the first, second, ... of their session: what turn 1"
            " hits it owes to other sessions, later turns mostly to their own."
        ),
        data=data,
        layout=layout(
            x=named_axis("turn", names),
            y=percent_axis("share of requests", is_whole=False),
            showlegend=False,
        ),
        why_empty=NO_TURNS,
    )


def next_turn(study: TraceStudy) -> Figure:
    """Probability of a next turn by category."""
    found = study.characterisation.turns
    data = []
    names: list[str] = []
    is_short = False
    if found is not None and found.next_turn_seen.any():
        order = np.argsort(-found.n_of_category, kind="stable")[:MOST_BARS]
        chosen = sorted(i for i in order.tolist() if found.n_of_category[i] > 0)
        names = [escape(category_name(found.categories[i])) for i in chosen]
        is_short = len(names) <= 8
        for at, (label, values) in enumerate(
            (("seen in the trace", found.next_turn_seen), ("allowing for its end", found.next_turn))
        ):
            shares = 100 * values[chosen]
            written = [f"{s:.0f}" for s in shares] if is_short else None
            data.append(bars(label, names, shares, look(at).bar, written=written))
    horizon = units.duration(found.horizon_s) if found is not None else ""
    return Figure(
        key="nextturn",
        title="Probability of a next turn",
        caption=(
            f"By type and turn, within {horizon}: where it differs, the category tells a cache"
            " which conversations go on. Those whose next turn lies behind the trace's end are"
            " allowed for by Kaplan and Meier's estimate."
        ),
        data=data,
        layout=layout(
            x=named_axis("category", names),
            y=percent_axis("continued", has_values=is_short),
            barmode="group",
        ),
        is_wide=len(names) > MANY_NAMES,
        why_empty=NO_TURNS if found is None else "Nothing to draw: no session has a second turn.",
    )


def next_turn_over_time(study: TraceStudy) -> Figure:
    """Probability of a next turn in windows of the trace."""
    found = study.characterisation.turns
    data = []
    follow = window = ""
    if found is not None and len(found.window_start_s) > 1:
        rows = np.array([found.window_next_first, found.window_next_later])
        middle = found.window_start_s + found.window_s / 2
        data = lines(("first turns", "later turns"), middle, rows, (0, 1))
        for at, drawn in enumerate(data):
            drawn |= {"mode": "lines+markers", "marker": look(at).marker}
        follow, window = units.duration(found.follow_s), units.duration(found.window_s)
    return Figure(
        key="drift",
        title="Next turns over time",
        caption=(
            f"Requests of each {window} that are continued within {follow}: level lines mean that"
            " what was learnt an hour ago still holds."
        ),
        data=data,
        layout=layout(x=axis("time since the first arrival, s"), y=percent_axis("continued")),
        why_empty=NO_TURNS if found is None else "Nothing to draw: the trace is too short.",
    )
