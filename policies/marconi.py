"""Evict what is old and saves few FLOPs a byte, both on the scale of the other candidates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from ..kernels import inner, view
from .base import Binding, Block, CompiledPolicy, Setting
from .candidates import hear, make_candidates, n_sampled, sampled
from .draws import make_generator
from .order import EVENT_ADD, EVENT_HIT, EVENT_INSERT, EVENT_REMOVE, EVENT_VICTIM

ALPHAS = tuple(i / 10 for i in range(21))
"""What is tried for alpha: as many as the authors try."""

BLOCK = np.dtype([("last_s", "f8"), ("last", "i8"), ("depth", "i8")])
STATE = np.dtype(
    [
        (name, "i8")
        for name in ("candidates", "generator", "blocks", "drawn", "n_items", "n_samples")
    ]
    + [(name, "f8") for name in ("now_s", "alpha", "alpha_from_s")]
)


@inner
def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 1.0


@inner
def _recency(last_s: float, now_s: float) -> float:
    return 1.0 / max(now_s - last_s, 1e-6)


def _event(event: int, state: int, block: Block) -> float:
    s = view(state, (1,), STATE)[0]
    blocks = view(s.blocks, (s.n_items,), BLOCK)
    if event in (EVENT_HIT, EVENT_INSERT):
        s.now_s = max(s.now_s, block.last_access_s)
    elif event == EVENT_ADD:
        record = blocks[block.block_id]
        record.last_s = block.last_access_s
        record.last = int(block.last_access)
        record.depth = int(block.depth)
        hear(s.candidates, event, block)
    elif event == EVENT_REMOVE:
        hear(s.candidates, event, block)
    elif event == EVENT_VICTIM:
        n = n_sampled(s.candidates, s.n_samples)
        drawn = view(s.drawn, (s.n_items,), np.int32)
        newest = deepest = -np.inf
        oldest = shallowest = np.inf
        for i in range(n):
            x = sampled(s.candidates, s.generator, i, s.n_samples)
            drawn[i] = x
            recency = _recency(blocks[x].last_s, s.now_s)
            newest, oldest = max(newest, recency), min(oldest, recency)
            depth = float(blocks[x].depth)
            deepest, shallowest = max(deepest, depth), min(shallowest, depth)
        alpha = s.alpha if s.now_s > s.alpha_from_s else 0.0
        best = -1
        least = np.inf
        for i in range(n):
            x = int(drawn[i])
            value = _share(_recency(blocks[x].last_s, s.now_s), oldest, newest)
            value += alpha * _share(float(blocks[x].depth), shallowest, deepest)
            goes_first = best < 0 or value < least
            if not goes_first and value == least:
                goes_first = blocks[x].last < blocks[best].last or (
                    blocks[x].last == blocks[best].last and blocks[x].depth > blocks[best].depth
                )
            if goes_first:
                best, least = x, value
        return float(best)
    return 0.0


@dataclass(frozen=True, kw_only=True)
class Marconi(CompiledPolicy):
    """Evict what is old and saves few FLOPs a byte, both on the scale of the other candidates.

    Marconi (Pan et al., MLSys 2025, arXiv 2411.19379): of the nodes of the prefix tree with at
    most one child the one of the lowest utility leaves,

        norm(1 / age) + alpha * norm(FLOPs saved / bytes)

    norm mapping the least of all candidates to 0 and the greatest to 1 (all to 1 if they are
    equal). alpha is chosen once: the requests up to the first eviction, times `bootstrap`, are
    replayed with 0, 0.1, ... 2, and the alpha of most hits holds from then on; before, 0.

    The FLOPs that a block of attention saves are a + b * (blocks before it), and all blocks have
    one size: so norm(FLOPs saved / bytes) is norm(blocks before it), whatever the model. What
    concerns states of SSM layers does not carry over: that they are only kept at branches and
    ends of paths, and leave without the KV around them, which is why nodes with one child are
    candidates there and are none here.

    Deviations: single blocks; a use refreshes all blocks of a path, theirs only the last node;
    the range is that of a random sample, unless `n_samples` is 0; ages count up to the last use
    that the policy was told of, and below a microsecond count as one; alpha is tried by a
    cache-only replay in one cache as large as all.
    """

    is_uniform = False

    alpha: float = -1.0
    """Weight of the FLOPs; below 0: chosen as described."""
    bootstrap: float = 5.0
    """Requests that alpha is chosen on, as a multiple of those up to the first eviction."""
    n_samples: int = 64
    """Candidates drawn at an eviction; 0 for all."""

    def event_function(self) -> Callable[..., float]:
        return _event

    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        if not self.alpha < np.inf:
            raise ConfigError(f"marconi: alpha must be finite, got {self.alpha}")
        if not self.bootstrap >= 1:
            raise ConfigError(f"marconi: bootstrap must be at least 1, got {self.bootstrap}")
        if self.n_samples < 0:
            raise ConfigError(f"marconi: n_samples must be at least 0, got {self.n_samples}")
        state = np.zeros(1, STATE)
        blocks = np.zeros(setting.n_items, BLOCK)
        drawn = np.zeros(setting.n_items, np.int32)
        state["candidates"] = make_candidates(setting)
        state["generator"] = make_generator(setting, cache)
        state["blocks"], state["drawn"] = blocks.ctypes.data, drawn.ctypes.data
        state["n_items"] = setting.n_items
        state["n_samples"] = self.n_samples or setting.n_items
        state["now_s"] = -np.inf
        state["alpha"], state["alpha_from_s"] = max(self.alpha, 0.0), -np.inf
        setting.keep(blocks, drawn)
        return state.view(np.int64)

    def bind(self, setting: Setting) -> Binding:
        binding = super().bind(setting)
        if self.alpha < 0:
            alpha, from_s = self.tuned(setting)
            for state in binding.kept_alive[0]:
                state.view(STATE)["alpha"], state.view(STATE)["alpha_from_s"] = alpha, from_s
        return binding

    def tuned(self, setting: Setting) -> tuple[float, float]:
        """Return the alpha of most hits at the start of the trace, and when it was known."""
        if setting.first_part is None or setting.rehearse is None:
            return 0.0, np.inf
        history = setting.first_part(1.0)
        n_requests = len(history.end)
        n_blocks = np.concatenate(([0], np.cumsum(history.n_blocks)))
        n_seen = n_blocks[np.maximum.accumulate(history.end) + 1]
        n_fitting = int(
            np.searchsorted(n_seen, setting.capacity_blocks * setting.n_caches, "right")
        )
        n = int(self.bootstrap * (n_fitting + 1))
        if n >= n_requests:
            return 0.0, np.inf
        share = (n + 0.5) / n_requests
        hits = [setting.rehearse(replace(self, alpha=alpha), share) for alpha in ALPHAS]
        return ALPHAS[int(np.argmax(hits))], float(history.arrival_s[n - 1])
