"""What a policy sees of a block. Knows nothing else."""

from __future__ import annotations

from typing import NamedTuple


class Block(NamedTuple):
    """What a policy may know about a cached block: its past, never its future."""

    block_id: int
    """Which block: unique among those cached at any moment."""
    key: int
    """Its content: the same prefix has the same key all run long. Blocks that an event is about
    share one, with all of their run of the trace's prefix tree."""
    depth: int
    """Blocks between this one and the start of its prefix; 0 is the first."""
    category: int
    """Category of the request that brought it (of the last user, if the policy re-tags)."""
    last_access: int
    """Order number of its last use: larger is more recent."""
    last_access_s: float
    """Simulated time of its last use, in seconds."""
    inserted: int
    """Order number of the moment it was cached."""
    inserted_s: float
    """Simulated time of that moment, in seconds."""
    n_hits: int
    """Uses since it was cached."""
    next_use: float
    """Row of the next request that uses it, infinite if none; 0 unless `needs_future`."""
    clock: float
    """Highest score evicted so far, at the time of the block's last use: for ageing."""
    n_blocks: int = 1
    """How many blocks an event is about: this one and those right above it, which share its past.
    Always 1 in a timed run, and if the policy is not `is_uniform`."""
