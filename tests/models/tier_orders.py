"""What policies that look beyond a block evict from a tier, in plain Python."""

from __future__ import annotations

import math

from tier_model import Held, Order, TierInstance


def belady(instance: TierInstance) -> Order:
    """The furthest next request; of one path the deepest block; else the longest unused."""

    def choose(candidates: list[Held], now_s: float) -> Held:
        turns = instance.turns
        assert turns is not None

        def rank(held: Held) -> tuple[float, int, int]:
            row = turns.next_use(instance.number, held.key)
            return -row, -held.depth if row < math.inf else 0, held.last

        return min(candidates, key=rank)

    return choose


def t_lru(instance: TierInstance, spare_blocks: int) -> Order:
    """What is behind the length of its longest request less the spare blocks; in lru order."""

    def choose(candidates: list[Held], now_s: float) -> Held:
        def rank(held: Held) -> tuple[bool, int]:
            length = max(instance.lengths.get(held.key, 0), held.depth + 1)
            return held.depth < length - spare_blocks, held.last

        return min(candidates, key=rank)

    return choose


def marconi(alpha: float, alpha_from_s: float) -> Order:
    """The least of recency and depth, each on the scale of all candidates."""

    def choose(candidates: list[Held], now_s: float) -> Held:
        def scaled(values: list[float]) -> dict[int, float]:
            low, high = min(values), max(values)
            return {
                held.key: (value - low) / (high - low) if high > low else 1.0
                for held, value in zip(candidates, values, strict=True)
            }

        recency = scaled([1.0 / max(now_s - held.last_s, 1e-6) for held in candidates])
        depth = scaled([float(held.depth) for held in candidates])
        weight = alpha if now_s > alpha_from_s else 0.0

        def rank(held: Held) -> tuple[float, int, int]:
            return recency[held.key] + weight * depth[held.key], held.last, -held.depth

        return min(candidates, key=rank)

    return choose
