"""Evict the block of the lowest priority, which may lapse; among equals the longest unused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from .base import Block, Setting
from .sampled import Moment, SampledPolicy

PRIORITY, DURATION_S, DEFAULT = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class TrtLlm(SampledPolicy):
    """Evict the block of the lowest priority, which may lapse; among equals the longest unused.

    TensorRT-LLM's KV cache: a request may give its blocks a priority of 0 to 100, and a duration
    after which it falls back to the default of 35; leaves of the lowest priority go first, in lru
    order. Without durations this is also SGLang's `priority`; a category kept for a time, as
    Mooncake's soft pins (30 min) and time-to-live pins after tool calls are, is a priority of 36
    with a duration.

    Deviations: a priority belongs to a category, not to a range of tokens of a request; the
    duration counts from the last use; lru is over a random sample of the candidates, unless
    `n_samples` is 0.
    """

    priorities: str = ""
    """CATEGORY:PRIORITY or CATEGORY:PRIORITY:SECONDS, joined by +."""
    default: float = 35.0
    """Priority of all others, 0 to 100."""
    n_samples: int = 32
    """Candidates compared at an eviction; 0 for all."""

    compiled = True

    @staticmethod
    def value(block: Block, now: Moment, p: Sequence[float]) -> float:
        has_lapsed = now.now_s - block.last_access_s >= p[DURATION_S]
        return p[DEFAULT] if has_lapsed else p[PRIORITY]

    def params(self, setting: Setting) -> NDArray[np.float64]:
        names = setting.category_names
        made = np.tile((self.default, np.inf, self.default), (len(names), 1))
        for part in filter(None, self.priorities.split("+")):
            name, *numbers = part.split(":")
            try:
                priority, duration_s = numbers if len(numbers) > 1 else (*numbers, "inf")
                made[names.index(name), :2] = float(priority), float(duration_s)
            except ValueError:
                raise ConfigError(
                    "trt-llm: priorities must be CATEGORY:PRIORITY[:SECONDS]+..., got"
                    f" {part!r} (categories: {', '.join(names)})"
                ) from None
        is_allowed = (made[:, [PRIORITY, DEFAULT]] >= 0) & (made[:, [PRIORITY, DEFAULT]] <= 100)
        if not is_allowed.all():
            raise ConfigError(f"trt-llm: priorities must be in 0..100, got {self.priorities!r}")
        return made
