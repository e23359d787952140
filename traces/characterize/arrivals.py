"""When requests arrive: the rate over time, and how bursty it is at each time scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..schema import Trace

N_BINS = 120
N_SCALES = 24
FEWEST_WINDOWS = 8
"""A scale is left out if fewer whole windows of it fit into the trace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Arrival statistics of a trace that lasts longer than nothing."""

    bin_s: float
    """Width of a bin of the rate."""
    time_s: NDArray[np.float64]
    """(n_bins,): where each bin starts, from the first arrival."""
    per_s: NDArray[np.float64]
    """(n_bins,): requests a second in it."""
    gap_cv: float | None
    """Standard deviation over mean of the gaps between arrivals; 1 if they are Poisson."""
    scale_s: NDArray[np.float64]
    """(n_scales,): width of the windows that are counted."""
    dispersion: NDArray[np.float64]
    """(n_scales,): index of dispersion, variance over mean of the counts; 1 if Poisson."""
    peak_to_mean: NDArray[np.float64]
    """(n_scales,): the largest count over the mean one."""


def arrivals_of(trace: Trace) -> Arrivals | None:
    """Measure arrivals; None if they are all at one time.

    The index of dispersion for counts is that of Cox and Lewis (The Statistical Analysis of
    Series of Events, 1966): IDC(w) = var N(w) / mean N(w) over whole, disjoint windows of w
    seconds from the first arrival on. It stays at 1 for a Poisson process and grows with w if
    bursts last.
    """
    at_s = trace.arrival_s - trace.arrival_s[0]
    duration_s = float(at_s[-1])
    if duration_s <= 0:
        return None
    bin_s = duration_s / N_BINS
    n_in_bin = np.bincount(
        np.minimum((at_s / bin_s).astype(np.int64), N_BINS - 1), minlength=N_BINS
    )
    gaps_s = np.diff(at_s)
    positive = gaps_s[gaps_s > 0]
    # below the clock's resolution counts say nothing
    shortest_s = max(duration_s / len(trace), float(np.median(positive)))
    longest_s = duration_s / FEWEST_WINDOWS
    n_scales = N_SCALES if longest_s > shortest_s else 1
    scale_s = np.geomspace(min(shortest_s, longest_s), longest_s, n_scales)
    dispersion, peak = np.empty(n_scales), np.empty(n_scales)
    for i, width_s in enumerate(scale_s):
        n_windows = max(int(duration_s / width_s * (1 + 1e-12)), 1)
        n = np.bincount((at_s / width_s).astype(np.int64), minlength=n_windows)[:n_windows]
        mean = max(float(n.mean()), 1e-300)
        dispersion[i], peak[i] = float(n.var()) / mean, float(n.max()) / mean
    mean_s = float(gaps_s.mean())
    return Arrivals(
        bin_s=bin_s,
        time_s=np.arange(N_BINS, dtype=np.float64) * bin_s,
        per_s=n_in_bin / bin_s,
        gap_cv=float(gaps_s.std()) / mean_s if mean_s > 0 else None,
        scale_s=scale_s,
        dispersion=dispersion,
        peak_to_mean=peak,
    )
