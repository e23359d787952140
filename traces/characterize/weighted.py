"""Quantiles of weighted values. Knows no trace."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def quantiles(values: Values, weight: NDArray[np.integer], shares: Sequence[float]) -> Values:
    """Smallest value such that this share of the weight is at or below it; NaN if all weigh 0.

    With weights that count repetitions this is numpy's `inverted_cdf`.

    >>> quantiles(np.array([5.0, 1.0]), np.array([1, 9]), [0.5, 0.9, 0.91]).tolist()
    [1.0, 1.0, 5.0]
    """
    order = np.argsort(values, kind="stable")
    summed = np.cumsum(weight[order], dtype=np.int64)
    if not len(order) or summed[-1] == 0:
        return np.full(len(shares), np.nan)
    # a share of 0.9 of 10 is 9, not the 9.000000000000002 that a product may give
    wanted = np.ceil(np.round(np.asarray(shares) * summed[-1], 6))
    at = np.searchsorted(summed, np.maximum(wanted, 1), side="left")
    return values[order[np.minimum(at, len(order) - 1)]].astype(np.float64)


def mean(values: Values, weight: NDArray[np.integer]) -> float:
    """Return the weighted mean, NaN if all weigh 0."""
    whole = int(weight.sum(dtype=np.int64))
    return float((values * weight).sum() / whole) if whole else float("nan")


def share_at(values: Values, weight: NDArray[np.integer], at: Values | Sequence[float]) -> Values:
    """Share of the weight on values at or below each of `at`; NaN if all weigh 0."""
    order = np.argsort(values, kind="stable")
    summed = np.concatenate((np.zeros(1), np.cumsum(weight[order], dtype=np.int64)))
    if summed[-1] == 0:
        return np.full(len(at), np.nan)
    shares: Values = summed[np.searchsorted(values[order], at, side="right")] / summed[-1]
    return shares
