"""Keep what a turn ended with for the time that pays off; otherwise evict in lru order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from ..kernels import kernel
from .base import Binding, Block, History, Setting
from .sampled import Moment, SampledPolicy

N_QUANTILES = 24
ENOUGH_GAPS = 100
"""Gaps of a category, or of all, up to which they are not looked at, as in the paper."""
PRIOR_MEAN_S = 1.0
"""Mean of the exponential gaps that the paper presumes before."""
LONG_AGO = 2.0**50
N_DEPTHS = 1024
"""Depths, from 0 on, whose times to live `params` has ready."""
LEARNT_S, QUEUE_S, TOKEN_S, PAIR_S, BLOCK_TOKENS, SHARE, FROM_S = range(7)
TTL_S = FROM_S + N_QUANTILES
BY_DEPTH = TTL_S + N_QUANTILES
PRIOR_BY_DEPTH = BY_DEPTH + N_DEPTHS
LONGEST_S = PRIOR_BY_DEPTH + N_DEPTHS
N_PARAMS = LONGEST_S + 1
"""Columns of `params`: end of the learning, mean wait saved, seconds a token and a pair of tokens
of prefill, tokens a block, share of turns that another one follows (below 0: not known, the prior),
up to N_QUANTILES each, seconds saved from which on a time to live is the best, and that; the time
to live of each depth after the learning, and before; and the longest of those."""


@dataclass(frozen=True, kw_only=True)
class Continuum(SampledPolicy):
    """Keep what a turn ended with for the time that pays off; otherwise evict in lru order.

    Continuum (Li et al., arXiv 2511.02230, its equation 2): after a turn that calls a tool the KV
    is pinned for a time to live of

        ttl = argmax over t of P(t) * (T * eta + R) - t

    P(t) being the share of gaps to the next turn that are at most t among those seen, with 0 and
    the gaps seen as candidates; T * eta the wait in the queue that is saved, eta measuring how
    much a program depends on its order; R the time to compute (or load) the KV again. With up to
    100 gaps of the tool all tools' count, with up to 100 of all the prior is exponential with a
    mean of a second, where ttl = ln(T + R) if that is above 0. What is not pinned leaves in lru
    order; if all is, then the pin that ends first goes.

    Deviations: traces do not name tools, so the category, request type and turn, is what gaps
    are sorted by, and P counts turns that nothing follows. Gaps are those between arrivals of the
    first `train_share` of the requests, and 24 quantiles of them are kept; until the last of these
    has arrived the prior holds. A gap counts from the last use of a block. T * eta is a number
    given. The scheduler's part, to serve first who is pinned, is missing.
    """

    queue_s: float = 10.0
    """T * eta: seconds of waiting that a pin saves; assumed."""
    token_s: float = 2.11e-5
    """Seconds to compute a token again; h100-llama-3.1-8b. From a host: 2.8e-6, at 46.7 GB/s."""
    pair_s: float = 8.27e-10
    """Seconds to compute a token's attention to one before it; 0 from a host."""
    train_share: float = 0.3
    """Share of the trace's requests whose gaps are learnt, above 0 and at most 1."""
    n_samples: int = 32
    """Candidates compared at an eviction; 0 for all."""

    compiled = True

    @staticmethod
    def value(block: Block, now: Moment, p: Sequence[float]) -> float:
        age_s = now.now_s - block.last_access_s
        depth = int(block.depth)
        if depth < N_DEPTHS and age_s >= p[LONGEST_S]:  # most are that old
            return block.last_access - LONG_AGO
        is_learnt = now.now_s > p[LEARNT_S]
        ttl_s = 0.0
        if depth < N_DEPTHS:
            ttl_s = p[(BY_DEPTH if is_learnt else PRIOR_BY_DEPTH) + depth]
        else:
            n_tokens = (depth + 1.0) * p[BLOCK_TOKENS]
            saved_s = p[QUEUE_S] + p[TOKEN_S] * n_tokens + p[PAIR_S] * 0.5 * n_tokens * n_tokens
            if is_learnt and p[SHARE] >= 0:
                i = 0
                while i < N_QUANTILES and p[FROM_S + i] < saved_s:
                    ttl_s = p[TTL_S + i]
                    i += 1
            elif saved_s > PRIOR_MEAN_S:
                ttl_s = PRIOR_MEAN_S * math.log(saved_s / PRIOR_MEAN_S)
        if age_s >= ttl_s:
            return block.last_access - LONG_AGO
        return block.last_access_s + ttl_s

    def bind(self, setting: Setting) -> Binding:
        binding = super().bind(setting)
        binding.is_retagged = True
        binding.is_stamped_on_release = True
        return binding

    def params(self, setting: Setting) -> NDArray[np.float64]:
        if not 0 < self.train_share <= 1:
            raise ConfigError(f"continuum: train_share must be in (0, 1], got {self.train_share}")
        for name in ("queue_s", "token_s", "pair_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(
                    f"continuum: {name} must be at least 0, got {getattr(self, name)}"
                )
        n_categories = len(setting.category_names)
        made = np.zeros((n_categories, N_PARAMS))
        made[:, FROM_S:TTL_S] = np.inf
        made[:, QUEUE_S], made[:, TOKEN_S], made[:, PAIR_S] = (
            self.queue_s,
            self.token_s,
            self.pair_s,
        )
        made[:, BLOCK_TOKENS] = setting.block_size
        made[:, SHARE] = -1.0
        n_tokens = np.arange(1.0, N_DEPTHS + 1) * setting.block_size
        saved_s = self.queue_s + self.token_s * n_tokens + self.pair_s * 0.5 * n_tokens * n_tokens
        prior_s = PRIOR_MEAN_S * np.log(np.maximum(saved_s / PRIOR_MEAN_S, 1.0))
        made[:, BY_DEPTH:PRIOR_BY_DEPTH] = made[:, PRIOR_BY_DEPTH:LONGEST_S] = prior_s
        if setting.first_part is not None:
            history = setting.first_part(self.train_share)
            gap_s = gaps_s(history)
            if len(gap_s):
                made[:, LEARNT_S] = history.arrival_s[-1]
            all_seen_s = np.sort(gap_s[np.isfinite(gap_s)])
            for category in range(n_categories):
                own_s = gap_s[history.category == category]
                seen_s = own_s[np.isfinite(own_s)]
                n = len(own_s)
                if len(seen_s) <= ENOUGH_GAPS:
                    seen_s, n = all_seen_s, len(gap_s)
                if len(seen_s) > ENOUGH_GAPS:
                    at = np.ceil(np.arange(1, N_QUANTILES + 1) / N_QUANTILES * len(seen_s))
                    share = len(seen_s) / n
                    best = best_ttls(share, np.sort(seen_s)[at.astype(np.int64) - 1])
                    made[category, SHARE] = share
                    made[category, FROM_S : FROM_S + len(best)] = best[:, 0]
                    made[category, TTL_S : TTL_S + len(best)] = best[:, 1]
                    n_below = np.searchsorted(best[:, 0], saved_s)
                    ttl_s = np.append(0.0, best[:, 1])[n_below]
                    made[category, BY_DEPTH:PRIOR_BY_DEPTH] = ttl_s
        made[:, LONGEST_S] = made[:, BY_DEPTH:LONGEST_S].max(axis=1)
        return made


def best_ttls(share: float, quantile_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2): seconds saved from which on a time to live has the greatest gain, and that.

    The gain of quantile i of n is share * (i + 1) / n * saved - quantile: lines, of which one after
    the other is the upper one.
    """
    slopes, costs_s, from_s = [0.0], [0.0], [-np.inf]
    for i, ttl_s in enumerate(quantile_s.tolist()):
        slope = share * (i + 1) / len(quantile_s)
        while (crossing_s := (ttl_s - costs_s[-1]) / (slope - slopes[-1])) <= from_s[-1]:
            for line in (slopes, costs_s, from_s):
                line.pop()
        slopes.append(slope)
        costs_s.append(ttl_s)
        from_s.append(crossing_s)
    return np.column_stack((from_s[1:], costs_s[1:]))


def gaps_s(history: History) -> NDArray[np.float64]:
    """(n_requests,): seconds to the next request that goes through the end of a path, or inf.

    Requests without blocks end nowhere, and count as followed by none.
    """
    found = np.full(len(history.end), np.inf)
    parent, end = np.ascontiguousarray(history.parent), np.ascontiguousarray(history.end)
    arrival_s = np.ascontiguousarray(history.arrival_s)
    _measure_gaps(parent, end, arrival_s, np.full(len(parent), -1), found)
    return found


@kernel
def _measure_gaps(
    parent: NDArray[np.int32],
    end: NDArray[np.int32],
    arrival_s: NDArray[np.float64],
    ended: NDArray[np.int64],
    found: NDArray[np.float64],
) -> None:
    """Fill `found`; `ended`, (n_runs,) of -1: who ended at a run and was followed by none yet."""
    for t in range(len(end)):
        run = end[t]
        while run >= 0:
            if ended[run] >= 0:
                found[ended[run]] = arrival_s[t] - arrival_s[ended[run]]
                ended[run] = -1
            run = parent[run]
        if end[t] >= 0:
            ended[end[t]] = t
