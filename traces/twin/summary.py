"""What a fit found, in numbers for people: rate, bursts, lengths, growth, turns, popularity."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .fit import Twin

LEVELS = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
_TENTHS = 10
_MOST_TURNS = 10


def summarise_twin(twin: Twin) -> dict[str, Any]:
    """Return plain values, ready for JSON: quantiles are at LEVELS, rates in requests a second."""
    family = np.repeat(np.arange(twin.n_families), np.diff(twin.first))
    arrival_s = np.sort(twin.start_s[family] + twin.delay_s)
    span_s = float(arrival_s[-1])
    children = np.flatnonzero(twin.parent >= 0)
    parents = twin.parent[children] + twin.first[family[children]]
    growth = twin.input_tokens[children] - twin.input_tokens[parents]
    gap_s = twin.delay_s[children] - twin.delay_s[parents]
    kinds: dict[str, Any] = {}
    for number, name in enumerate(twin.category_names):
        rows = twin.category == number
        later = rows[children]
        kinds[name] = {
            "requests": int(rows.sum()),
            "input_tokens": _quantiles(twin.input_tokens[rows]),
            "output_tokens": _quantiles(twin.output_tokens[rows]),
            "growth_tokens": _quantiles(growth[later]),
            "turn_gap_s": _quantiles(gap_s[later]),
        }
        if twin.think_s is not None:
            think_s = twin.think_s[rows]
            kinds[name]["think_s"] = _quantiles(think_s[~np.isnan(think_s)])
    rates = np.zeros(0)
    if span_s > 0:
        n_in_tenth = np.histogram(arrival_s, bins=_TENTHS, range=(0.0, span_s))[0]
        rates = n_in_tenth / (span_s / _TENTHS)
    return {
        "requests": len(twin),
        "sessions": int(_sessions_of(twin).sum()),
        "families": twin.n_families,
        "levels": list(LEVELS),
        "by_category": kinds,
        "continues_after_turn": _continues(twin),
        "rate_by_tenth_per_s": rates.tolist(),
        "gap_cv": _cv(np.diff(arrival_s)),
        "dispersion_1_s": _dispersion(arrival_s, 1.0),
        "dispersion_60_s": _dispersion(arrival_s, 60.0),
        "common_paths": len(twin.path_blocks),
        "common_path_zipf": _zipf(twin.path_sessions),
    }


def _sessions_of(twin: Twin) -> NDArray[np.int64]:
    """Sessions of each family."""
    return np.maximum.reduceat(twin.session, twin.first[:-1]) + 1


def _quantiles(values: NDArray[Any]) -> list[float] | None:
    return np.quantile(values, LEVELS).tolist() if len(values) else None


def _continues(twin: Twin) -> list[float]:
    """Share of the requests of turn 1, 2, ... that are followed by the next turn."""
    n = np.bincount(np.minimum(twin.turn, _MOST_TURNS + 1), minlength=_MOST_TURNS + 2)
    return [float(min(n[t + 1] / n[t], 1.0)) if n[t] else 0.0 for t in range(1, _MOST_TURNS)]


def _cv(gaps: NDArray[np.float64]) -> float | None:
    """Coefficient of variation: 1 for Poisson arrivals, more for bursts."""
    return float(gaps.std() / gaps.mean()) if len(gaps) and gaps.mean() > 0 else None


def _dispersion(arrival_s: NDArray[np.float64], window_s: float) -> float:
    """Variance over mean of the arrivals in windows: 1 for Poisson arrivals."""
    counts = np.bincount((arrival_s // window_s).astype(np.int64))
    return float(counts.var() / counts.mean())


def _zipf(sessions: NDArray[np.int64]) -> float | None:
    """Slope of log popularity against log rank, least squares; None for fewer than 3."""
    if len(sessions) < 3:
        return None
    rank = np.log(np.arange(1, len(sessions) + 1))
    return float(-np.polyfit(rank, np.log(np.sort(sessions)[::-1]), 1)[0])
