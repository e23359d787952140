"""How unevenly reuses fall on blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .reuses import Reuses

BLOCK_SHARES: NDArray[np.float64] = np.concatenate(([0.0], np.geomspace(1e-4, 1.0, 81)))
TOP = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Skew:
    """Share of all reuses that falls on the most reused blocks."""

    block_share: NDArray[np.float64]
    """(n_points,): of all distinct blocks, the most reused first."""
    reuse_share: NDArray[np.float64]
    """(n_points,): of all reuses; NaN if there are none."""
    top_tenth: float | None
    """Share of the reuses on the top 10 % of the blocks."""
    reused_blocks: float | None
    """Blocks that are reused at all, of all distinct ones."""
    most_uses: int
    """Requests that use the most used block."""


def skew_of(reuses: Reuses) -> Skew:
    """Measure skew over blocks; a boundary within equally reused blocks takes its part of them."""
    n_blocks = reuses.tree.n_blocks.astype(np.int64)
    n_reuses = reuses.n_uses - 1
    order = np.argsort(-n_reuses, kind="stable")
    blocks = np.concatenate((np.zeros(1), np.cumsum(n_blocks[order].astype(np.float64))))
    summed = np.concatenate(
        (np.zeros(1), np.cumsum((n_reuses * n_blocks)[order].astype(np.float64)))
    )
    total_blocks, total_reuses = float(blocks[-1]), float(summed[-1])
    wanted: NDArray[np.float64] = np.append(BLOCK_SHARES, TOP) * total_blocks
    points = np.interp(wanted, blocks, summed)
    shares = points / total_reuses if total_reuses else np.full(len(points), np.nan)
    return Skew(
        block_share=BLOCK_SHARES,
        reuse_share=shares[:-1],
        top_tenth=float(shares[-1]) if total_reuses else None,
        reused_blocks=int(n_blocks[n_reuses > 0].sum()) / total_blocks if total_blocks else None,
        most_uses=int(reuses.n_uses.max(initial=0)),
    )
