"""How long something takes to happen when the end of the trace hides some of it. Knows no trace."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Weights = NDArray[np.integer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Incidence:
    """The share to which it has happened, over time since the start; a step function."""

    time_s: Values
    """(n_steps,): distinct times at which it happened to some, increasing."""
    share: Values
    """(n_steps,): share to which it has happened at or before that time."""
    n_weight: int
    """Weight of all that were watched."""

    @property
    def last_share(self) -> float:
        """Share to which it has happened by the last time seen."""
        return float(self.share[-1]) if len(self.share) else 0.0

    def at(self, time_s: Values | list[float]) -> Values:
        """Share at each time, 0 before the first step: (n_times,)."""
        steps = np.concatenate((np.zeros(1), self.share))
        found: Values = steps[np.searchsorted(self.time_s, time_s, side="right")]
        return found

    def quantile_s(self, share: float) -> float:
        """First time at which the share is reached; infinite if it never is."""
        at = int(np.searchsorted(self.share, share - 1e-12, side="left"))
        return float(self.time_s[at]) if at < len(self.time_s) else float("inf")


def incidence(
    event_s: Values, event_weight: Weights, censored_s: Values, censored_weight: Weights
) -> Incidence:
    """Estimate how much has happened by each time, by Kaplan and Meier's product limit.

    1 - prod(1 - d_i / n_i) over the times with events, with d_i the weight of events at the time
    and n_i the weight still watched just before it (Kaplan and Meier, JASA 1958). `censored_s` is
    how long those were watched to which nothing happened: they count as watched up to and with
    that time, and say nothing of later.
    """
    order = np.argsort(event_s, kind="stable")
    times, weights = event_s[order], event_weight[order].astype(np.int64)
    is_kept = weights > 0
    times, weights = times[is_kept], weights[is_kept]
    n_events, n_censored = int(weights.sum()), int(censored_weight.sum(dtype=np.int64))
    if not n_events:
        return Incidence(time_s=np.zeros(0), share=np.zeros(0), n_weight=n_censored)
    first = np.flatnonzero(np.diff(times, prepend=-np.inf))
    happened = np.add.reduceat(weights, first)
    order = np.argsort(censored_s, kind="stable")
    gone = np.concatenate(
        (np.zeros(1, np.int64), np.cumsum(censored_weight[order], dtype=np.int64))
    )
    n_lost = gone[np.searchsorted(censored_s[order], times[first], side="left")]
    n_watched = n_events + n_censored - n_lost - (np.cumsum(happened) - happened)
    left = np.cumprod(1 - happened / n_watched)
    return Incidence(time_s=times[first], share=1 - left, n_weight=n_events + n_censored)


def furthest_apart(one: Incidence, other: Incidence) -> float:
    """Largest difference of two shares at any time that both saw: Kolmogorov and Smirnov's."""
    if not len(one.time_s) or not len(other.time_s):
        return abs(one.last_share - other.last_share)
    times = np.concatenate((one.time_s, other.time_s))
    times = times[times <= min(one.time_s[-1], other.time_s[-1])]
    return float(np.max(np.abs(one.at(times) - other.at(times)), initial=0.0))
