"""libCacheSim at its best: C code reading a memory-mapped binary trace, the best table size.

Its Python binding offers three ways in: `cache.get` per access (Python speed), a Python reader
(the same), and `process_trace` over one of its own readers, which stays in C. Of those readers
the one for 24-byte oracleGeneral records is the fastest. The file is written beforehand and is
in the page cache; making the cache, with its hash table, is part of a run, as making the
replay's state is part of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import libcachesim
import numpy as np
from harness import cpu_s
from numpy.typing import NDArray

from kvsim.traces.schema import Trace

HASHPOWERS = (18, 20, 22, 24)
_RECORD = [("time", "<u4"), ("id", "<u8"), ("size", "<u4"), ("next", "<i8")]


def _next_access(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Position of the next access of the same block, -1 if there is none: what Belady needs."""
    order = np.argsort(ids, kind="stable")
    following = np.full(len(ids), -1, np.int64)
    is_same = ids[order[:-1]] == ids[order[1:]]
    following[order[:-1][is_same]] = order[1:][is_same]
    return following


class Accesses:
    """A trace's blocks as one stream of accesses, every block once, shallow to deep.

    For hits equal to kvsim's, each request has to be fed forward and then in reverse, twice the
    accesses; the ratios leave that factor out. Deepest first takes no less time.
    """

    def __init__(self, trace: Trace, scratch: Path) -> None:
        rows = np.zeros(len(trace.block_ids), _RECORD)
        rows["id"] = trace.block_ids + 1
        rows["size"] = 1
        rows["next"] = _next_access(trace.block_ids)
        path = scratch / f"{trace.name.replace(' ', '-')}.oracleGeneral"
        rows.tofile(path)
        self._reader = libcachesim.TraceReader(
            str(path), libcachesim.TraceType.ORACLE_GENERAL_TRACE
        )

    def run(self, policy: str, capacity: int, hashpower: int) -> float:
        """Replay everything; the hit ratio."""
        return self.process(getattr(libcachesim, policy)(cache_size=capacity, hashpower=hashpower))

    def process(self, cache: libcachesim.CacheBase) -> float:
        """Replay everything through a cache; the hit ratio."""
        self._reader.reset()
        miss_ratio, _ = cache.process_trace(self._reader)
        return 1 - miss_ratio

    def best(
        self, policy: str, capacity: int, *, repeats: int = 2, is_slow: bool = False
    ) -> tuple[Callable[[], float], int]:
        """The run at the table size that is fastest here, and that size; the first if `is_slow`."""

        def run_at(hashpower: int) -> Callable[[], float]:
            return lambda: self.run(policy, capacity, hashpower)

        if is_slow:
            return run_at(HASHPOWERS[0]), HASHPOWERS[0]
        times = {p: min(cpu_s(run_at(p)) for _ in range(repeats)) for p in HASHPOWERS}
        fastest = min(times, key=times.__getitem__)
        return run_at(fastest), fastest
