"""How long prompts and outputs are, by request type, and how both grow with the turn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..schema import Trace
from .groups import Groups, by_code, has_turns, ratio, total, types_of

SHARES = np.concatenate((np.arange(0, 100) / 100, [0.99, 0.995, 0.999, 1.0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Token counts by request type."""

    types: tuple[str, ...]
    share: NDArray[np.float64]
    """(n_shares,): share of a type's requests that is at most as long as the quantile."""
    input_tokens: NDArray[np.float64]
    """(n_types, n_shares): quantiles of the prompt, values that occur; NaN for an absent type."""
    output_tokens: NDArray[np.float64]
    """(n_types, n_shares)"""
    mean_input_tokens: NDArray[np.float64]
    """(n_types,)"""
    mean_output_tokens: NDArray[np.float64]
    """(n_types,)"""
    first_turn_tokens: NDArray[np.float64] | None
    """(n_types,): mean prompt and output tokens of first turns; None if turns are unknown."""
    later_turn_tokens: NDArray[np.float64] | None
    """(n_types,): the same of requests that continue another."""


def lengths_of(trace: Trace) -> Lengths:
    """Measure lengths."""
    kinds = types_of(trace)
    order, bounds = by_code(kinds.code, len(kinds))
    n = np.diff(bounds)
    first = later = None
    if has_turns(trace):
        is_first = trace.parent < 0
        first = _means(trace.total_tokens, kinds, is_first)
        later = _means(trace.total_tokens, kinds, ~is_first)
    return Lengths(
        types=kinds.names,
        share=SHARES,
        input_tokens=_quantiles(trace.input_tokens[order], bounds),
        output_tokens=_quantiles(trace.output_tokens[order], bounds),
        mean_input_tokens=ratio(total(trace.input_tokens, kinds), n),
        mean_output_tokens=ratio(total(trace.output_tokens, kinds), n),
        first_turn_tokens=first,
        later_turn_tokens=later,
    )


def _quantiles(tokens: NDArray[np.int64], bounds: NDArray[np.int64]) -> NDArray[np.float64]:
    found = np.full((len(bounds) - 1, len(SHARES)), np.nan)
    for i in range(len(bounds) - 1):
        part = tokens[bounds[i] : bounds[i + 1]]
        if len(part):
            found[i] = np.percentile(part, 100 * SHARES, method="inverted_cdf")
    return found


def _means(
    tokens: NDArray[np.int64], kinds: Groups, is_counted: NDArray[np.bool_]
) -> NDArray[np.float64]:
    return ratio(total(tokens * is_counted, kinds), total(is_counted.astype(np.int64), kinds))
