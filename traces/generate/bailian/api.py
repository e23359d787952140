"""Trace B: tasks through an API, single requests of applications with templates."""

from __future__ import annotations

from dataclasses import replace

from ..arrivals import Arrivals, Rate
from ..lengths import Lognormal, Quantiles
from ..workload import Kind, Pool, Workload


def qwen_b(
    *,
    template: float = 0.6708,
    own_text: float = 0.1907,
    long_text: float = 0.02049,
    frequent: float = 0.9299,
    template_tokens: float = 556.3,
    template_sigma: float = 0.8011,
    template_zipf: float = 0.7749,
    rare_zipf: float = 0.6446,
    added: float = 84.08,
    added_sigma: float = 0.6842,
    own_tokens: float = 373.1,
    own_sigma: float = 0.9734,
    text_tokens: float = 225,
    text_sigma: float = 1.257,
    text_shared: float = 0.5249,
    text_pool_tokens: float = 244.2,
    text_zipf: float = 0.7732,
    burstiness: float = 1.815,
    trend: float = 1.178,
) -> Workload:
    """Trace B, to-B: programs of a few hundred applications; nobody continues a conversation."""
    api = Kind(
        name="api",
        # median and 99th percentile are published; the 90th gives the published mean
        output_tokens=Quantiles((0, 0.5, 0.9, 0.99, 1), (1, 39, 187, 1006, 4000)),
    )
    template_length = Lognormal(template_tokens, template_sigma, most=4000)
    return Workload(
        name="qwen-b",
        kinds=(
            replace(
                api,
                weight=template,
                pools=(("applications", frequent), ("rare", 1 - frequent)),
                first_tokens=Lognormal(added, added_sigma),
            ),
            replace(api, weight=own_text, first_tokens=Lognormal(own_tokens, own_sigma)),
            replace(api, weight=long_text, first_tokens=Lognormal(5890, 0.8)),
            replace(
                api,
                name="text",
                weight=0.1265,  # published: 21,864 of 172,800
                pools=(("text", text_shared),),
                first_tokens=Lognormal(text_tokens, text_sigma),
            ),
        ),
        arrivals=Arrivals(per_s=24, process="gamma", cv=burstiness, rate=Rate(trend=trend)),
        pools={
            "applications": Pool(n=211, tokens=template_length, zipf=template_zipf),
            "rare": Pool(n=1918, tokens=template_length, zipf=rare_zipf),
            "text": Pool(n=157, tokens=Lognormal(text_pool_tokens, 0.6), zipf=text_zipf),
        },
        duration_s=7200,
        n_sessions=172_800,
        clients="applications",
        longest_tokens=66_446,
        stratified=True,
    )
