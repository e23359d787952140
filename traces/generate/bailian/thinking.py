"""The reasoning trace: long answers, of which little stays in the context."""

from __future__ import annotations

from dataclasses import replace

from ..arrivals import Arrivals
from ..lengths import Lognormal, Mixture, Quantiles
from ..workload import Kind, Pool, Workload
from .turns import hazards


def qwen_thinking(
    *,
    template: float = 0.5426,
    longer: float = 0.06022,
    frequent: float = 0.7902,
    template_tokens: float = 3591,
    template_trend: float = 0.1168,
    rare_tokens: float = 2629,
    template_added: float = 79.29,
    alone_tokens: float = 2340,
    alone_sigma: float = 1.45,
    longest_share: float = 0.01904,
    shared: float = 0.09229,
    first_tokens: float = 1798,
    first_sigma: float = 0.8825,
    added: float = 674,
    kept_output: float = 0.2196,
    goes_on: float = 0.9361,
    early: float = 0.5485,
    middle: float = 0.735,
    gap_s: float = 30.3,
    gap_sigma: float = 1.784,
    trend: float = 2.037,
) -> Workload:
    """A template of a few thousand tokens in half of the requests, and few conversations."""
    base = Kind(
        name="thinking",
        # median and 99th percentile are published; the 90th gives the published mean
        output_tokens=Quantiles((0, 0.5, 0.9, 0.99, 1), (5, 1665, 8573, 34_529, 60_000)),
        trend=trend,
    )
    return Workload(
        name="qwen-thinking",
        kinds=(
            replace(
                base,
                weight=template,
                pools=(("system", frequent), ("rare", 1 - frequent)),
                first_tokens=Lognormal(template_added, 0.04757),
                trend=template_trend,
            ),
            replace(
                base,
                weight=0.4385,
                first_tokens=Mixture(
                    (1 - longest_share, longest_share),
                    (Lognormal(alone_tokens, alone_sigma, most=26_000), Lognormal(26_000, 0.35)),
                ),
            ),
            replace(
                base,
                weight=longer,
                pools=(("system", shared),),
                first_tokens=Lognormal(first_tokens, first_sigma),
                # a late hazard below the audit's 0.67: few sessions reach turn 10, and the longer
                # they last the more the number of late requests hangs on which ones they are
                continues=hazards(goes_on, early, middle, 0.65),
                added_tokens=Lognormal(added, 1.0),
                kept_output=kept_output,
                gap_s=Lognormal(gap_s, gap_sigma),
                # published: 3.7 % of children share less than the parent's prompt, 0.3 % nothing
                cut_short=0.037,
                forgotten=0.003,
            ),
        ),
        arrivals=Arrivals(per_s=1.34),
        pools={
            "system": Pool(n=6, tokens=Lognormal(template_tokens, 0.15)),
            "rare": Pool(n=267, tokens=Lognormal(rare_tokens, 0.5), zipf=0.8),
        },
        duration_s=7192,
        n_sessions=9612,
        longest_tokens=51_622,
        stratified=True,
    )
