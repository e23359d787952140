"""How sure a difference between two runs of the same requests is: paired windows, bootstrapped.

The trace is cut into windows of equal length by arrival. Both runs serve the same requests, so
what makes a window easy or hard is in both, and their difference varies far less than either.
Windows are drawn with replacement; the middle 95 % of the differences so found is the interval.
Windows are taken as independent: what one run leaves in the cache for the next window is not
accounted for.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

Table = dict[str, NDArray[Any]]

N_WINDOWS = 20
N_DRAWS = 2000
STREAM = zlib.crc32(b"paired windows")
"""Names the stream of random numbers, apart from all others of the same seed."""


def paired_differences(
    first: Table, other: Table, *, seed: int, n_windows: int = N_WINDOWS
) -> dict[str, dict[str, float] | None]:
    """Compare hit ratio and mean TTFT of `other` with those of `first`: difference, low, high.

    Tables are as in requests.parquet. Only requests that finished in both runs count; None if
    there is none. Windows are those of the first table's arrivals.
    """
    is_done = (first["status"] == "finished") & (other["status"] == "finished")
    if not is_done.any():
        return {"hit_ratio_tokens": None, "ttft_mean_s": None}
    window = _windows(first["arrival_s"][is_done], n_windows)
    rng = np.random.default_rng(np.random.SeedSequence([seed, STREAM]))
    draws = rng.integers(0, n_windows, (N_DRAWS, n_windows))

    def sums(values: NDArray[Any]) -> NDArray[np.float64]:
        found = np.bincount(window, weights=values[is_done], minlength=n_windows)
        return found.astype(np.float64)

    def ttft_s(table: Table) -> NDArray[np.float64]:
        return sums(table["first_token_s"] - table["arrival_s"])

    tokens = sums(first["input_tokens"])
    hits = sums(other["cached_tokens"]) - sums(first["cached_tokens"])
    requests = sums(np.ones(len(is_done)))
    return {
        "hit_ratio_tokens": _interval(hits, tokens, draws),
        "ttft_mean_s": _interval(ttft_s(other) - ttft_s(first), requests, draws),
    }


def _windows(arrival_s: NDArray[np.float64], n_windows: int) -> NDArray[np.int64]:
    start_s = arrival_s.min()
    span_s = float(arrival_s.max() - start_s) or 1.0
    share = (arrival_s - start_s) / span_s
    return np.minimum((share * n_windows).astype(np.int64), n_windows - 1)


def _interval(
    part: NDArray[np.float64], whole: NDArray[np.float64], draws: NDArray[np.int64]
) -> dict[str, float]:
    """Return the ratio of sums over all windows, and where its middle 95 % lie over the draws."""
    wholes = whole[draws].sum(axis=1)
    drawn = part[draws].sum(axis=1)[wholes > 0] / wholes[wholes > 0]
    low, high = np.percentile(drawn, (2.5, 97.5)).tolist()
    return {"difference": float(part.sum() / whole.sum()), "low": low, "high": high}
