"""Exponentials fitted to reuse times, by expectation and maximisation. Knows no trace.

A reuse time is drawn from a mixture of exponentials with weights w_k and means m_k; the weights
add up to the probability p <= 1 that there is a reuse at all. Of what was not reused while it
was watched the mixture says how likely a reuse was still to come: that is how the end of the
trace enters (a cure model with right-censoring; Farewell, Biometrics 1982).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .survival import Incidence

Values = NDArray[np.float64]
Weights = NDArray[np.integer]

N_BINS = 200
MAX_ROUNDS = 1000
TOLERANCE = 1e-6
FEWEST_RUNS = 30
"""Reuses, of runs of blocks, below which nothing is fitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A mixture of exponentials, its slowest component last."""

    weight: Values
    """(n_components,): they add up to the probability of a reuse."""
    mean_s: Values
    """(n_components,)"""
    ks: float
    """Largest distance to the observed curve, as a share of where that ends."""
    r2: float
    """1 - squared distances to the observed curve over its variance, over equal shares of it."""

    def share_by(self, time_s: Values) -> Values:
        """Probability of a reuse within each time."""
        reused = 1 - np.exp(-np.divide.outer(time_s, self.mean_s))
        found: Values = reused @ self.weight
        return found


def fit_mixture(
    n_components: int,
    event_s: Values,
    event_weight: Weights,
    censored_s: Values,
    censored_weight: Weights,
    observed: Incidence,
    *,
    resolution_s: float,
    longest_s: float,
) -> Fit:
    """Fit by maximum likelihood, to times binned finely by their logarithm.

    `observed` is what the fit is held against. No mean falls below `resolution_s`, the clock's:
    many equal times would else draw a component onto themselves. None exceeds the longest time
    watched, `longest_s`: beyond it, weight and mean cannot be told apart.
    """
    t, n = _binned(event_s, event_weight, resolution_s)
    c, m = _binned(censored_s, censored_weight, resolution_s)
    whole = n.sum() + m.sum()
    reused = n.sum() / whole
    start = np.geomspace(0.1, 2, n_components) if n_components > 1 else np.ones(1)
    mean_s = np.maximum(_weighted_mean(t, n) * start, resolution_s)
    weight = np.full(n_components, reused / n_components)
    for _ in range(MAX_ROUNDS):
        of_event = weight / mean_s * np.exp(-np.divide.outer(t, mean_s))
        of_event /= np.maximum(of_event.sum(axis=1, keepdims=True), 1e-300)
        to_come = weight * np.exp(-np.divide.outer(c, mean_s))
        never = max(1 - float(weight.sum()), 0.0)
        to_come /= np.maximum(to_come.sum(axis=1, keepdims=True) + never, 1e-300)
        n_event, n_to_come = n @ of_event, m @ to_come
        # what is still to come has lasted c already, and then lasts a mean longer
        seconds = (n * t) @ of_event + (m * c) @ to_come + n_to_come * mean_s
        new_weight = (n_event + n_to_come) / whole
        new_mean_s = seconds / np.maximum(n_event + n_to_come, 1e-300)
        new_mean_s = np.clip(new_mean_s, resolution_s, max(longest_s, resolution_s))
        change = max(
            float(np.max(np.abs(new_weight - weight))),
            float(np.max(np.abs(np.log(new_mean_s / mean_s)))),
        )
        weight, mean_s = new_weight, new_mean_s
        if change < TOLERANCE:
            break
    order = np.argsort(mean_s, kind="stable")
    weight, mean_s = weight[order], mean_s[order]
    ks, r2 = _goodness(weight, mean_s, observed)
    return Fit(weight=weight, mean_s=mean_s, ks=ks, r2=r2)


def fit_observed(
    event_s: Values, event_weight: Weights, observed: Incidence, *, resolution_s: float
) -> Fit:
    """Fit one exponential to the reuses seen, as if there were no others: their mean."""
    mean_s = max(_weighted_mean(event_s, event_weight), resolution_s)
    weight, means = np.ones(1), np.array([mean_s])
    ks, r2 = _goodness(weight, means, observed)
    return Fit(weight=weight, mean_s=means, ks=ks, r2=r2)


def _binned(values: Values, weight: Weights, resolution_s: float) -> tuple[Values, Values]:
    """Return the mean and the weight of each bin that holds any."""
    if not len(values):
        return np.zeros(1), np.zeros(1)
    log = np.log(np.maximum(values, resolution_s / 4))
    low, high = float(log.min()), float(log.max())
    width = max(high - low, 1e-9) / N_BINS
    at = np.minimum(((log - low) / width).astype(np.int64), N_BINS - 1)
    n = np.bincount(at, weight.astype(np.float64), N_BINS).astype(np.float64)
    seconds = np.bincount(at, weights=weight * values, minlength=N_BINS)
    held = n > 0
    return seconds[held] / n[held], n[held]


def _weighted_mean(values: Values, weight: NDArray[np.integer] | Values) -> float:
    return float((values * weight).sum() / max(float(weight.sum()), 1e-300))


def _goodness(weight: Values, mean_s: Values, observed: Incidence) -> tuple[float, float]:
    fit = Fit(weight=weight, mean_s=mean_s, ks=np.nan, r2=np.nan)
    model = fit.share_by(observed.time_s)
    before = np.concatenate((np.zeros(1), observed.share[:-1]))
    apart = np.maximum(np.abs(model - observed.share), np.abs(model - before))
    ks = float(apart.max()) / observed.last_share
    levels = observed.last_share * (np.arange(200) + 0.5) / 200
    at = np.minimum(np.searchsorted(observed.share, levels), len(observed.share) - 1)
    residual = observed.share[at] - model[at]
    variance = float(np.var(observed.share[at]))
    r2 = 1 - float(np.mean(residual**2)) / variance if variance > 0 else float("nan")
    return ks, r2
