"""Latencies of requests: one function a definition. Undefined values are NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]


def ttft_s(requests: NDArray[Any]) -> Seconds:
    """Time to first token: arrival to the end of the step that samples the first token."""
    return np.asarray(requests["first_token_s"] - requests["arrival_s"])


def tpot_s(requests: NDArray[Any]) -> Seconds:
    """Mean time per output token after the first.

    (finish - first token) / (output tokens - 1); undefined for one token.
    """
    later = (requests["output_tokens"] - 1).astype(np.float64)
    later[later == 0] = np.nan
    return np.asarray((requests["finish_s"] - requests["first_token_s"]) / later)


def e2e_s(requests: NDArray[Any]) -> Seconds:
    """Arrival to the end of the step that samples the last token."""
    return np.asarray(requests["finish_s"] - requests["arrival_s"])


def queue_s(requests: NDArray[Any]) -> Seconds:
    """Arrival to the start of the step that first admits the request."""
    return np.asarray(requests["first_scheduled_s"] - requests["arrival_s"])


def n_within(
    requests: NDArray[Any], *, ttft_limit_s: float = 0.0, tpot_limit_s: float = 0.0
) -> int:
    """Count the requests within both limits; 0 is none, and an undefined TPOT is within any."""
    meets = np.ones(len(requests), np.bool_)
    if ttft_limit_s:
        meets &= ttft_s(requests) <= ttft_limit_s
    if tpot_limit_s:
        meets &= ~(tpot_s(requests) > tpot_limit_s)
    return int(meets.sum())


def spread(values: Seconds) -> dict[str, float | None]:
    """Mean and percentiles (linear between ranks) of the defined values; None if there are none."""
    known = values[~np.isnan(values)]
    if not len(known):
        return dict.fromkeys(("mean", "p50", "p90", "p95", "p99"))
    p50, p90, p95, p99 = np.percentile(known, (50, 90, 95, 99)).tolist()
    return {"mean": float(known.mean()), "p50": p50, "p90": p90, "p95": p95, "p99": p99}
