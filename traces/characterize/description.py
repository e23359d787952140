"""What is in a trace: lengths, turns, and how much of it a boundless cache would have known."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..chain import known_prefixes
from ..schema import Trace
from .reuses import Reuses


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A column in a few numbers; percentiles are values that occur (the lower nearest)."""

    mean: float
    p50: float
    p90: float
    p99: float
    max: float
    total: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A trace in a few numbers."""

    name: str
    requests: int
    duration_s: float
    """From the first arrival to the last."""
    rate_per_s: float | None
    """Requests over duration; None if all arrive at once."""
    input_tokens: Spread
    output_tokens: Spread
    block_size: int
    block_accesses: int
    """Ids of prompt blocks, the partial last one included."""
    unique_blocks: int
    ideal_hit_ratio_blocks: float
    """Of the block accesses, those whose block an earlier request had: a boundless cache."""
    ideal_hit_ratio_tokens: float
    """The same in tokens, of all prompt tokens; a partial last block counts its tokens."""
    sessions: int
    sessions_are: str
    requests_per_turn: dict[int, int]
    requests_per_category: dict[str, int]
    dropped: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)


def describe(trace: Trace) -> Description:
    """Measure `trace`, which must still have its block ids (see `describe_compiled`)."""
    n_ids = np.diff(trace.block_offsets)
    known = known_prefixes(trace.block_ids, trace.block_offsets)
    return _describe(trace, trace.block_size, known, int((n_ids - known).sum()))


def describe_compiled(trace: Trace, reuses: Reuses) -> Description:
    """Measure a trace of which the prefix tree of its prompts is known, but perhaps no ids."""
    tree = reuses.tree
    return _describe(trace, tree.block_size, reuses.known, tree.n_keys)


def _describe(trace: Trace, block_size: int, known: NDArray[np.int64], unique: int) -> Description:
    """Describe; `known` are the leading blocks of each request that an earlier one had."""
    prompt = np.minimum(trace.input_tokens, trace.covered_tokens)
    in_prompt = -(-prompt // block_size)
    n_hit = np.minimum(known, in_prompt)
    accesses, hits = int(in_prompt.sum()), int(n_hit.sum())
    hit_tokens = int(np.minimum(n_hit * block_size, prompt).sum())
    duration_s = float(trace.arrival_s[-1] - trace.arrival_s[0])
    turns, n_of_turn = np.unique(trace.turn, return_counts=True)
    n_of_category = np.bincount(trace.category, minlength=len(trace.category_names))
    return Description(
        name=trace.name,
        requests=len(trace),
        duration_s=duration_s,
        rate_per_s=len(trace) / duration_s if duration_s > 0 else None,
        input_tokens=_spread(trace.input_tokens),
        output_tokens=_spread(trace.output_tokens),
        block_size=block_size,
        block_accesses=accesses,
        unique_blocks=unique,
        ideal_hit_ratio_blocks=hits / accesses if accesses else 0.0,
        ideal_hit_ratio_tokens=hit_tokens / int(trace.input_tokens.sum()),
        sessions=int(trace.session.max()) + 1,
        sessions_are=trace.sessions.value,
        requests_per_turn=dict(zip(turns.tolist(), n_of_turn.tolist(), strict=True)),
        requests_per_category=dict(zip(trace.category_names, n_of_category.tolist(), strict=True)),
        dropped=dict(trace.dropped),
    )


def _spread(values: NDArray[np.int64]) -> Spread:
    p50, p90, p99 = np.percentile(values, [50, 90, 99], method="inverted_cdf").tolist()
    return Spread(
        mean=float(values.mean()),
        p50=p50,
        p90=p90,
        p99=p99,
        max=int(values.max()),
        total=int(values.sum()),
    )
