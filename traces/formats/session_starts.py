"""Starts of sessions that a file does not tell: a seeded Poisson process. Knows no file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ... import ConfigError


def drawn_starts(
    duration_s: NDArray[np.float64], *, active_sessions: int, seed: int
) -> NDArray[np.float64]:
    """Draw starts (n_sessions,) in s so that `active_sessions` go on at a time, on average.

    By Little's law that takes a gap between starts of mean duration / `active_sessions`.
    """
    if active_sessions < 1:
        raise ConfigError(f"active_sessions must be at least 1, got {active_sessions}")
    rng = np.random.default_rng(seed)
    gap_s = float(np.mean(duration_s)) / active_sessions
    starts: NDArray[np.float64] = np.cumsum(rng.exponential(gap_s, len(duration_s)))
    return starts


def told_starts(what: str, active_sessions: int, seed: int) -> str:
    """Say in a note what was drawn."""
    return f"the file has no starts of {what}: drawn, {active_sessions} at a time (seed {seed})"
