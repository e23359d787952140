"""How many tokens a block id stands for, told from lengths and numbers of ids."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DEFAULT_BLOCK_SIZE = 512
"""Where the data do not say: the Mooncake traces' size."""
LARGEST_BLOCK_SIZE = 2**31 - 1
_PREFERRED = (512, 16)
_UNBOUNDED = 2**62


def infer_block_size(tokens: NDArray[np.int64], n_ids: NDArray[np.int64]) -> int:
    """Return the block size that explains how many ids name so many tokens.

    Ids name either all blocks (tokens / size, rounded up) or full blocks only (rounded down):
    the first of the two that fits every row decides. Otherwise the size that fits most rows when
    rounded up, if that is more than half of them; else 512. Among equally good sizes: 512,
    then 16, then the largest power of two, then the smallest.
    """
    used = (n_ids > 0) & (tokens > 0)
    if not used.any():
        return DEFAULT_BLOCK_SIZE
    tokens, n_ids = tokens[used], n_ids[used]
    last = n_ids - 1
    lows = -(-tokens // n_ids)
    highs = np.where(last > 0, -(-tokens // np.maximum(last, 1)) - 1, _UNBOUNDED)
    if lows.max() <= highs.min():
        return _choice([(int(lows.max()), int(highs.min()))])
    low, high = int((tokens // (n_ids + 1)).max()) + 1, int((tokens // n_ids).min())
    if low <= high:
        return _choice([(low, high)])
    n_fitting, best = _most_covered(lows, highs)
    return _choice(best) if 2 * n_fitting > len(tokens) else DEFAULT_BLOCK_SIZE


def _most_covered(
    lows: NDArray[np.int64], highs: NDArray[np.int64]
) -> tuple[int, list[tuple[int, int]]]:
    """Return how many intervals [low, high] overlap at most, and where they do."""
    possible = lows <= highs
    lows, highs = lows[possible], highs[possible]
    if len(lows) == 0:
        return 0, []
    edges = np.concatenate([lows, highs + 1])
    steps = np.concatenate([np.ones(len(lows), np.int64), -np.ones(len(highs), np.int64)])
    places, group = np.unique(edges, return_inverse=True)
    overlap = np.cumsum(np.bincount(group, weights=steps).astype(np.int64))
    best = np.flatnonzero(overlap == overlap.max())
    return int(overlap.max()), [(int(places[i]), int(places[i + 1]) - 1) for i in best]


def _choice(intervals: list[tuple[int, int]]) -> int:
    """Choose one size out of closed intervals."""
    for size in _PREFERRED:
        if any(low <= size <= high for low, high in intervals):
            return size
    powers = [power for low, high in intervals if (power := _power_of_two(low, high))]
    return min(max(powers or [low for low, _ in intervals][:1]), LARGEST_BLOCK_SIZE)


def _power_of_two(low: int, high: int) -> int:
    """Return the largest power of two in [low, high], 0 if none; the smallest if unbounded."""
    power = 1 << (low - 1).bit_length() if high >= _UNBOUNDED else 1 << (high.bit_length() - 1)
    return power if power >= low else 0
