"""Figures of reuse: ideal hits, skew, reuse times and their fits, lifespans, locality."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...studies.characterisation import TraceStudy
from ...traces.characterize.reuse_time import CategoryFit
from .. import units
from ..style import OPTIMUM, Figure, axis, escape, layout, line, look
from .drawing import (
    MANY_NAMES,
    MOST_LINES,
    NO_IDS,
    bars,
    category_name,
    largest,
    lines,
    name_of,
    named_axis,
    percent_axis,
    time_axis,
)

MOST_BARS = 20
IN_ORDER = {
    "orientation": "h",
    "x": 0,
    "y": 1.02,
    "yanchor": "bottom",
    "traceorder": "normal",  # stacked bars are else named from the top
}
MOST_FITS = 4
DEFINITIONS = {
    "blocks": "blocks",
    "tokens": "tokens",
    "full_blocks": "full blocks",
    "engine_tokens": "engine",
    "blocks_with_outputs": "with outputs",
}
NO_FITS = "Nothing to draw: no category has enough reuses."


def reuse_figures(study: TraceStudy) -> list[Figure]:
    """Draw reuse, in the order of the page."""
    return [
        ideal_hits(study),
        hits_by_type(study),
        skew(study),
        reuse_times(study),
        lifespans(study),
        *fitted(study),
        stability(study),
        hits_by_position(study),
        heads(study),
    ]


def ideal_hits(study: TraceStudy) -> Figure:
    """Ideal hit ratio by definition."""
    found = study.characterisation.hits
    data = []
    names = list(DEFINITIONS.values())
    if found is not None:
        shares = [100 * (found.by_definition[key] or 0.0) for key in DEFINITIONS]
        data = [bars("ideal", names, shares, look(0).bar, written=[f"{s:.1f}" for s in shares])]
    return Figure(
        key="ideal",
        title="Ideal hit ratio by definition",
        caption=(
            "What a cache that forgets nothing would hit. Blocks: as published, partial last"
            " blocks included; engine: full blocks that leave a token to compute; with outputs:"
            " what a parent generated is cached as well. Say which one is meant."
        ),
        data=data,
        layout=layout(
            x=named_axis("counted in", names),
            y=percent_axis("hit ratio", has_values=True),
            showlegend=False,
        ),
        why_empty=NO_IDS,
    )


def hits_by_type(study: TraceStudy) -> Figure:
    """Ideal hits of each type, those within the session and those across."""
    found = study.characterisation.hits
    data = []
    names: list[str] = []
    if found is not None:
        chosen = [i for i in range(len(found.types)) if np.isfinite(found.ratio[i])][:MOST_BARS]
        names = [name_of(found.types[i]) for i in chosen]
        whole = 100 * found.ratio[chosen]
        if found.within is None:
            data = [bars("hits", names, whole, look(0).bar)]
        else:
            own = 100 * found.within[chosen]
            data = [
                bars("within the session", names, own, look(0).bar),
                bars("across sessions", names, whole - own, look(1).bar),
            ]
    return Figure(
        key="within",
        title="Where ideal hits come from",
        caption=(
            "Hit blocks of all blocks. What is hit within a session needs its next turn to come"
            " to the same cache; what is hit across sessions is a prefix that strangers share."
        ),
        data=data,
        layout=layout(
            x=named_axis("type", names),
            y=percent_axis("blocks hit"),
            barmode="stack",
            legend=IN_ORDER,
        ),
        why_empty=NO_IDS,
    )


def skew(study: TraceStudy) -> Figure:
    """Share of the reuses on the most reused blocks."""
    found = study.characterisation.skew
    data = []
    words = ""
    if found is not None and found.top_tenth is not None:
        x, y = 100 * found.block_share, 100 * found.reuse_share
        data = [line("blocks", x, y, 0), line("if all were equal", [0, 100], [0, 100], OPTIMUM)]
        mark = line("top 10 %", [10.0], [100 * found.top_tenth], 1)
        data.append(mark | {"mode": "markers", "marker": look(1).marker})
        words = f" The top 10 % take {units.percent(found.top_tenth)};"
        words += f" {units.percent(found.reused_blocks)} are reused at all."
    return Figure(
        key="skew",
        title="Skew of reuse",
        caption=(
            "Share of all reuses that falls on the most reused blocks: the faster the line rises,"
            f" the smaller a cache can be.{words}"
        ),
        data=data,
        layout=layout(
            x=percent_axis("distinct blocks, most reused first"), y=percent_axis("reuses")
        ),
        why_empty=NO_IDS if found is None else "Nothing to draw: no block is reused.",
    )


def reuse_times(study: TraceStudy) -> Figure:
    """Distribution of the time to the next use, a line a type."""
    found = study.characterisation.reuse_times
    data = []
    if found is not None:
        chosen = largest(found.types, _requests_of(study, found.types))
        data = lines(found.types, found.time_s, found.expected, chosen)
    return Figure(
        key="reusetime",
        title="Time to the next use",
        caption=(
            "Of all blocks used, the share used again within the time, by the type that used them"
            " last; the trace's end is allowed for (Kaplan and Meier). Where a line ends flat,"
            " keeping a block longer gains nothing."
        ),
        data=data,
        layout=layout(
            x=time_axis("time since the last use, log scale", data),
            y=percent_axis("used again"),
            showlegend=len(data) > 1,
        ),
        why_empty=NO_IDS,
    )


def lifespans(study: TraceStudy) -> Figure:
    """Distribution of lifespans, a line a type."""
    found = study.characterisation.lifespans
    data = []
    if found is not None:
        chosen = largest(found.types, _requests_of(study, found.types))
        data = lines(found.types, found.time_s, found.expected, chosen, shape="hv")
    return Figure(
        key="lifespan",
        title="Lifespan of blocks",
        caption=(
            "Share of the blocks made that are not reused any more after the time; those never"
            " reused live 0 s. A policy that counts uses keeps what has died here."
        ),
        data=data,
        layout=layout(
            x=time_axis("first use to last reuse, log scale", data),
            y=percent_axis("blocks without further reuse"),
            showlegend=len(data) > 1,
        ),
        why_empty=NO_IDS,
    )


def fitted(study: TraceStudy) -> list[Figure]:
    """Reuse times of the categories with the most reuses, against what was fitted to them."""
    fits = study.characterisation.fits
    chosen = sorted(range(len(fits)), key=lambda i: (-fits[i].n_blocks, i))[:MOST_FITS]
    if not chosen:
        return [_fit_figure("fit0", None)]
    return [_fit_figure(f"fit{at}", fits[i]) for at, i in enumerate(sorted(chosen))]


def _fit_figure(key: str, found: CategoryFit | None) -> Figure:
    data = []
    title = "Fits of reuse times"
    words = ""
    if found is not None:
        title = f"Reuse time of {units.plain(category_name(found.category, 40), 40)}, fitted"
        data = [
            line("observed", found.time_s, 100 * found.expected, 0, shape="hv"),
            line("exponential", found.time_s, 100 * found.exponential.share_by(found.time_s), 1),
            line("two exponentials", found.time_s, 100 * found.mixture.share_by(found.time_s), 2),
        ]
        one, two = found.exponential, found.mixture
        words = (
            f"One exponential: {units.percent(float(one.weight.sum()))} reused, mean"
            f" {units.seconds(float(one.mean_s[0]))}, KS {one.ks:.3f}, R² {one.r2:.3f}. Two:"
            f" means {' and '.join(units.seconds(float(m)) for m in two.mean_s)}, KS {two.ks:.3f},"
            f" R² {two.r2:.3f}. {units.count(found.n_runs)} reuses."
        )
    return Figure(
        key=key,
        title=title,
        caption=words,
        data=data,
        layout=layout(
            x=time_axis("time since the last use, log scale", data), y=percent_axis("used again")
        ),
        why_empty=NO_FITS,
    )


def stability(study: TraceStudy) -> Figure:
    """Distance between the reuse times of parts of the trace, and between turns."""
    fits = study.characterisation.fits
    chosen = sorted(range(len(fits)), key=lambda i: (-fits[i].n_blocks, i))[:MOST_BARS]
    fits = [fits[i] for i in sorted(chosen)]
    names = [escape(category_name(fit.category)) for fit in fits]
    nan = float("nan")
    drift = [nan if fit.drift is None else 100 * fit.drift for fit in fits]
    turn = [nan if fit.to_next_turn is None else 100 * fit.to_next_turn for fit in fits]
    data = []
    if np.isfinite([*drift, *turn]).any():
        data = [
            bars("first half to second half", names, drift, look(0).bar),
            bars("this turn to the next", names, turn, look(1).bar),
        ]
    return Figure(
        key="stability",
        title="Do reuse times stay, do turns differ?",
        caption=(
            "Largest difference between two curves of reuse time (Kolmogorov and Smirnov's"
            " distance). A policy that learns by category needs the first bars low; the second"
            " bars say what it gains by telling turns apart. Categories with few reuses differ"
            " by chance."
        ),
        data=data,
        layout=layout(
            x=named_axis("category", names),
            y=axis("distance, pp", rangemode="tozero"),
            barmode="group",
        ),
        is_wide=len(names) > MANY_NAMES,
        why_empty=NO_FITS,
    )


def hits_by_position(study: TraceStudy) -> Figure:
    """Ideal hits by relative position in the prompt."""
    found = study.characterisation.locality
    data = []
    if found is not None:
        chosen = range(min(len(found.groups), MOST_LINES))
        data = lines(found.groups, 100 * found.position, found.hit, list(chosen))
    return Figure(
        key="position",
        title="Hits by position in the prompt",
        caption=(
            "Share of the blocks at each position that a boundless cache hits: a line that falls"
            " steeply means that only heads of prompts are worth keeping."
        ),
        data=data,
        layout=layout(
            x=percent_axis("position in the prompt"),
            y=percent_axis("blocks hit"),
            showlegend=len(data) > 1,
        ),
        why_empty=NO_IDS,
    )


def heads(study: TraceStudy) -> Figure:
    """Ideal hit ratio if only the head of every prompt may be cached."""
    found = study.characterisation.locality
    data = []
    if found is not None:
        data = [line("hit ratio", 100 * found.head_share, 100 * found.head_hit, 0)]
        data[0] |= {"mode": "lines+markers", "marker": look(0).marker}
        top = 100 * float(found.head_hit[-1])
        data.append(line("all of the prompt", [0.0, 100.0], [top, top], OPTIMUM))
    return Figure(
        key="heads",
        title="Caching only the head of each prompt",
        caption=(
            "Ideal hit ratio if no more than the leading share of each prompt is cached: where"
            " the line meets the dotted one, the rest of the prompts is not worth its memory."
        ),
        data=data,
        layout=layout(
            x=percent_axis("leading share of each prompt that is cached"),
            y=axis("hit ratio, %", rangemode="tozero"),
        ),
        why_empty=NO_IDS,
    )


def _requests_of(study: TraceStudy, types: Sequence[str]) -> NDArray[np.float64]:
    """Return the requests of each type, and of "all" where that leads the types."""
    n_of = list(study.characterisation.description.requests_per_category.values())
    return np.array([sum(n_of), *n_of] if len(types) > len(n_of) else n_of, np.float64)
