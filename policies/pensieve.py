"""Evict the block that is cheapest to compute again for the time it has been unused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from .base import Block, Setting
from .sampled import Moment, SampledPolicy

BREAK_EVEN_BLOCKS = 1900.0
"""Blocks before a block from which on attention to them costs more than all else. Llama-3.1-8B:
2 * 8.0e9 FLOPs a token for the weights, 4 * 32 layers * 4096 for each token before: equal at
30,500 tokens, or 1,900 blocks of 16."""
A_BLOCK = 3


@dataclass(frozen=True, kw_only=True)
class Pensieve(SampledPolicy):
    """Evict the block that is cheapest to compute again for the time it has been unused.

    Pensieve (Yu, Lin, Li, EuroSys 2025): the retention value of a chunk is the cost of computing it
    again, which grows with the tokens before it, over the time since its last use,

        value = (1 + depth / break_even_blocks) / age

    in units of the cost of a block with nothing before it.

    Deviations: single blocks instead of chunks of 32 tokens; theirs drops leading tokens first,
    being cheaper, and computes them again under what is left, while a prefix cache can only be
    trimmed from the tail; ages below a microsecond count as one; the least is sought in a random
    sample of the candidates, unless `n_samples` is 0.
    """

    break_even_blocks: float = BREAK_EVEN_BLOCKS
    """Blocks before a block from which on attention to them costs more than all else."""
    n_samples: int = 32
    """Candidates compared at an eviction; 0 for all."""

    compiled = True

    @staticmethod
    def value(block: Block, now: Moment, p: Sequence[float]) -> float:
        age_s = max(now.now_s - block.last_access_s, 1e-6)
        return (1.0 + block.depth * p[A_BLOCK]) / age_s

    def params(self, setting: Setting) -> NDArray[np.float64]:
        if not self.break_even_blocks > 0:
            raise ConfigError(
                f"pensieve: break_even_blocks must be positive, got {self.break_even_blocks}"
            )
        row = (0.0, 0.0, 0.0, 1.0 / self.break_even_blocks)
        return np.tile(row, (len(setting.category_names), 1))
