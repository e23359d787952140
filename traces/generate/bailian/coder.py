"""The coding trace: long shared prompts, and clients that stop at 14,400 tokens."""

from __future__ import annotations

from dataclasses import replace

from ..arrivals import Arrivals, Rate
from ..lengths import Lognormal, Quantiles
from ..workload import Kind, Pool, Workload
from .turns import hazards


def qwen_coder(
    *,
    template: float = 0.459,
    alone: float = 0.218,
    longest: float = 0.02006,
    frequent: float = 0.866,
    template_tokens: float = 3588,
    rare_tokens: float = 2914,
    rare_zipf: float = 0.7517,
    template_added: float = 63.44,
    template_added_sigma: float = 0.4632,
    alone_tokens: float = 4975,
    alone_sigma: float = 1.083,
    shared: float = 0.4825,
    rare_shared: float = 0.2557,
    first_tokens: float = 2021,
    first_sigma: float = 0.8098,
    added: float = 178,
    kept_output: float = 0.4333,
    goes_on: float = 0.9533,
    early: float = 0.6074,
    middle: float = 0.8,
    late: float = 0.98,
    gap_s: float = 155.5,
    gap_sigma: float = 1.865,
    later_gap: float = 0.7695,
    alone_trend: float = 1.28,
    trend: float = 0.95,
) -> Workload:
    """Prompts of editors and agents that many share, and conversations that fill a context."""
    # the published p99 of 14,406 is a bend: a client's limit
    limit = 14_420
    base = Kind(
        name="coder",
        # median and 99th percentile are published; the 90th gives the published mean
        output_tokens=Quantiles((0, 0.5, 0.9, 0.99, 1), (2, 469, 1808, 5835, 16_000)),
        limit_tokens=limit,
    )
    return Workload(
        name="qwen-coder",
        kinds=(
            replace(
                base,
                weight=template,
                pools=(("system", frequent), ("rare", 1 - frequent)),
                first_tokens=Lognormal(template_added, template_added_sigma),
            ),
            replace(
                base,
                weight=alone,
                first_tokens=Lognormal(alone_tokens, alone_sigma),
                trend=alone_trend,
            ),
            replace(
                base,
                weight=longest,
                first_tokens=Lognormal(17_000, 0.2, least=limit + 10),
                limit_tokens=None,
            ),
            replace(
                base,
                weight=0.298,
                pools=(("system", shared), ("rare", rare_shared)),
                first_tokens=Lognormal(first_tokens, first_sigma),
                continues=hazards(goes_on, early, middle, late),
                added_tokens=Lognormal(added, 1.0),
                kept_output=kept_output,
                gap_s=Lognormal(gap_s, gap_sigma),
                gap_scale=(1.0, 1.0, later_gap),
                cut_short=0.004,  # published: of the children, share less than the parent's prompt
                at_limit="end",
            ),
        ),
        arrivals=Arrivals(per_s=3.7, rate=Rate(trend=trend)),
        pools={
            "system": Pool(n=10, tokens=Lognormal(template_tokens, 0.25)),
            "rare": Pool(n=815, tokens=Lognormal(rare_tokens, 0.4), zipf=rare_zipf),
        },
        duration_s=7199,
        n_sessions=26_406,
        longest_tokens=25_777,
        stratified=True,
    )
