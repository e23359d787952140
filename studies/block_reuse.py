"""How blocks are reused: by whom, after how long, how unevenly. Exact counts over a whole trace.

A hit here is a block that an earlier request had, as a boundless cache would see it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..kernels import jitted
from ..traces.chain import known_prefixes
from ..traces.hashing import numbered
from ..traces.schema import Trace

_BINS_A_DECADE = 200
_LOWEST_S = 1e-3
_N_BINS = 8 * _BINS_A_DECADE
"""Reuse times from 1 ms to 10^5 s; shorter and longer ones fall into the outer bins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockReuse:
    """Block accesses of a trace, counted."""

    accesses: NDArray[np.int64]
    """(n_requests,): blocks of each prompt."""
    hits: NDArray[np.int64]
    """(n_requests,): those that an earlier request had."""
    own_hits: NDArray[np.int64]
    """(n_requests,): those that a request of the same session had first."""
    gaps: NDArray[np.int64]
    """(n_categories, n_bins): hits by the time since the block's last use and category."""
    uses: NDArray[np.int64]
    """(n_unique,): accesses of each block."""
    creator: NDArray[np.int32]
    """(n_unique,): the request that had each block first."""
    first_gap_s: NDArray[np.float64]
    """(n_unique,): time from the first to the second access, NaN if there is none."""

    @property
    def ideal(self) -> float:
        """Share of the accesses that hit."""
        return int(self.hits.sum()) / int(self.accesses.sum())

    @property
    def same_session(self) -> float:
        """Share of the hits whose block the same session had first; 0 without hits."""
        return int(self.own_hits.sum()) / max(int(self.hits.sum()), 1)

    def median_gap_s(self, category: int | None = None) -> float:
        """Median time between uses of a block, over all hits of a category (None: of all)."""
        return self.gap_quantile_s(0.5, category)

    def gap_quantile_s(self, level: float, category: int | None = None) -> float:
        """Quantile of the time between uses of a block, to about 1 %; NaN without hits."""
        counts = self.gaps.sum(axis=0) if category is None else self.gaps[category]
        total = int(counts.sum())
        if not total:
            return float("nan")
        at = int(np.searchsorted(np.cumsum(counts), level * total))
        return float(_LOWEST_S * 10 ** ((at + 0.5) / _BINS_A_DECADE))

    def share_of_top(self, part: float) -> float:
        """Share of all hits that falls on the `part` of the blocks with most of them."""
        reuses = np.sort(self.uses - 1)[::-1]
        return int(reuses[: round(part * len(reuses))].sum()) / max(int(reuses.sum()), 1)


def block_reuse(trace: Trace) -> BlockReuse:
    """Count the accesses to prompt blocks of `trace`."""
    ids, offsets = numbered(trace.block_ids), trace.block_offsets
    prompt = np.minimum(trace.input_tokens, trace.covered_tokens)
    accesses = np.minimum(-(-prompt // trace.block_size), np.diff(offsets))
    n_ids = int(ids.max(initial=-1)) + 1
    hits = np.minimum(known_prefixes(ids, offsets), accesses)
    last_s = np.full(n_ids, np.nan)
    own = np.zeros(len(trace), np.int64)
    gaps = np.zeros((len(trace.category_names), _N_BINS), np.int64)
    uses = np.zeros(n_ids, np.int64)
    creator = np.full(n_ids, -1, np.int32)
    first_gap_s = np.full(n_ids, np.nan)
    _count(
        ids,
        offsets,
        accesses,
        trace.arrival_s,
        trace.session,
        trace.category,
        last_s,
        own,
        gaps,
        uses,
        creator,
        first_gap_s,
    )
    used = uses > 0
    return BlockReuse(
        accesses=accesses,
        hits=hits,
        own_hits=own,
        gaps=gaps,
        uses=uses[used],
        creator=creator[used],
        first_gap_s=first_gap_s[used],
    )


@jitted
def _count(
    ids: NDArray[np.int64],
    offsets: NDArray[np.int64],
    accesses: NDArray[np.int64],
    arrival_s: NDArray[np.float64],
    session: NDArray[np.int64],
    category: NDArray[np.int64],
    last_s: NDArray[np.float64],
    own: NDArray[np.int64],
    gaps: NDArray[np.int64],
    uses: NDArray[np.int64],
    creator: NDArray[np.int32],
    first_gap_s: NDArray[np.float64],
) -> None:
    n_bins = gaps.shape[1]
    for r in range(accesses.size):
        before_s = np.nan
        place = 0
        for k in range(offsets[r], offsets[r] + accesses[r]):
            block = ids[k]
            if uses[block] == 0:
                creator[block] = r
            else:
                gap_s = arrival_s[r] - last_s[block]
                if gap_s != before_s:  # neighbours mostly have the same last use
                    before_s = gap_s
                    place = int(np.log10(max(gap_s, _LOWEST_S) / _LOWEST_S) * _BINS_A_DECADE)
                    place = min(max(place, 0), n_bins - 1)
                gaps[category[r], place] += 1
                if session[creator[block]] == session[r]:
                    own[r] += 1
                if uses[block] == 1:
                    first_gap_s[block] = gap_s
            uses[block] += 1
            last_s[block] = arrival_s[r]
