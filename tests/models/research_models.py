"""Policies of research and engines as their papers tell them, block by block in plain Python."""

from __future__ import annotations

from dataclasses import dataclass, field

from prefix_cache_model import Access, Cached, Path, Rule, Streaks


@dataclass
class TLru(Rule):
    """What lies behind a conversation's length less `spare` leaves first; blocks of one token."""

    spare: int
    longest: dict[Path, int] = field(default_factory=dict)
    """The longest path through each cached block since it was cached."""
    path: Path = ()

    def arrive(self, access: Access) -> None:
        self.path = access.path

    def inserted(self, block: Cached) -> None:
        self.longest[block.name] = 0
        for name in self.longest:
            if self.path[: len(name)] == name:
                self.longest[name] = max(self.longest[name], len(self.path))

    def evicted(self, block: Cached) -> None:
        del self.longest[block.name]

    def choose(self, candidates: list[Cached], now_s: float) -> Cached:
        def rank(block: Cached) -> tuple[bool, int, int]:
            budget = self.longest[block.name] - max(self.spare, 0)
            is_safe = len(block.name) - 1 >= budget
            return not is_safe, block.last, -len(block.name)

        return min(candidates, key=rank)


@dataclass
class Marconi(Streaks):
    """The least of normalised recency and normalised FLOPs saved, 8 d^2 + 4 (2 l + 1) d a token."""

    alpha: float = 0.0
    width: int = 64

    def pick(self, candidates: list[Cached], now_s: float) -> Cached:
        def normalised(values: list[float]) -> list[float]:
            low, high = min(values), max(values)
            return [(v - low) / (high - low) if high > low else 1.0 for v in values]

        def flops(n_tokens: int) -> float:
            return 24 * n_tokens * self.width**2 + 4 * n_tokens**2 * self.width

        recency = normalised([1 / max(now_s - b.last_s, 1e-6) for b in candidates])
        saved = normalised([flops(len(b.name)) - flops(len(b.name) - 1) for b in candidates])
        value = {
            b.name: r + self.alpha * s for b, r, s in zip(candidates, recency, saved, strict=True)
        }
        return min(candidates, key=lambda b: (value[b.name], b.last, -len(b.name)))
