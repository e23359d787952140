"""Likenesses of the Qwen-Bailian traces, accepted by every published statistic of them.

The traces (alibaba-edu/qwen-bailian-usagetraces-anon) are two hours each of one serving cluster.
Shape, numbers of sessions and hazards follow from what was published about the files; the other
numbers were fitted, by least squares on the differences that `kvsim.studies.bailian` lists. A
number here describes the likeness, and is no measurement of the trace.
"""

from __future__ import annotations

from .arrivals import Arrivals, Rate
from .lengths import Constant, Lognormal, Mixture, Quantiles
from .workload import Kind, Pool, Repeats, Workload


def qwen_a() -> Workload:
    """Trace A: chat in an app and on the web; text, search, image and file requests."""
    output = Quantiles((0, 0.0807, 0.5, 0.99, 1), (1, 60, 375.5, 1641, 8000))
    return Workload(
        name="qwen-a",
        kinds=(
            Kind(
                name="text",
                weight=0.264,
                pools=(("hot", 0.382), ("text", 0.2225)),
                repeats=Repeats(share=0.1, gap_s=Lognormal(120.7, 1.875), least_part=0.6),
                first_tokens=Mixture(
                    (0.9991, 0.0009), (Lognormal(74, 0.7352, most=14_000), Lognormal(40_000, 0.8))
                ),
                output_tokens=output,
                kept_output=0.675,
                gap_scale=(1.45, 1.09, 0.82),
                gap_power=0.27,
            ),
            Kind(
                name="text",
                weight=0.4735,
                pools=(("hot", 0.382), ("text", 0.2225)),
                repeats=Repeats(share=0.1, gap_s=Lognormal(120.7, 1.875), least_part=0.6),
                first_tokens=Lognormal(183, 1.346, most=14_000),
                output_tokens=output,
                continues=(0.6723, 0.568, 0.568, 0.568, 0.7, 0.7, 0.7, 0.7, 0.7, 0.86),
                added_tokens=Lognormal(36, 1.2),
                kept_output=0.675,
                gap_s=Lognormal(82.5, 1.85, shift=22),
                gap_scale=(1.45, 1.09, 0.82),
                gap_power=0.27,
            ),
            Kind(
                name="search",
                weight=0.076,
                pools=(("hot", 0.37), ("search", 0.1243)),
                repeats=Repeats(share=0.1, gap_s=Lognormal(120.7, 1.875), least_part=0.6),
                first_tokens=Lognormal(4050, 0.85, most=12_000),
                output_tokens=output,
                kept_output=0.675,
                gap_scale=(1.45, 1.09, 0.82),
                gap_power=0.27,
            ),
            Kind(
                name="search",
                weight=0.124,
                pools=(("hot", 0.37), ("search", 0.1243)),
                repeats=Repeats(share=0.1, gap_s=Lognormal(120.7, 1.875), least_part=0.6),
                first_tokens=Lognormal(3450, 0.7, most=10_000),
                output_tokens=output,
                continues=(0.6739, 0.5534, 0.5534, 0.5534, 0.7, 0.7, 0.7, 0.7, 0.7, 0.86),
                added_tokens=Lognormal(538, 1.0),
                kept_output=0.675,
                gap_s=Lognormal(80.02, 1.85, shift=22),
                gap_scale=(1.45, 1.09, 0.82),
                gap_power=0.27,
                limit_tokens=17_000,
                at_limit="end",
            ),
            Kind(
                name="image",
                weight=0.0335,
                pools=(("image", 0.955),),
                first_tokens=Lognormal(300, 0.8),
                output_tokens=output,
                continues=(0.5044, 0.568, 0.568, 0.568, 0.7, 0.7, 0.7, 0.7, 0.7, 0.86),
                added_tokens=Lognormal(36, 1.2),
                kept_output=0.675,
                gap_s=Lognormal(39.6, 1.909),
                gap_scale=(1.45, 1.09, 0.82),
                gap_power=0.27,
            ),
            Kind(
                name="file",
                weight=0.02902,
                pools=(("file", 0.455),),
                first_tokens=Lognormal(7500, 0.8944, most=16_000),
                output_tokens=output,
                continues=(0.5916, 0.568, 0.568, 0.568, 0.7, 0.7, 0.7, 0.7, 0.7, 0.86),
                added_tokens=Lognormal(36, 1.2),
                kept_output=0.675,
                gap_s=Lognormal(63.52, 1.85, shift=22),
                gap_scale=(1.45, 1.09, 0.82),
                gap_power=0.27,
            ),
        ),
        arrivals=Arrivals(per_s=3.2, rate=Rate(trend=1.72)),
        pools={
            "hot": Pool(n=1, tokens=Constant(620.5)),
            "text": Pool(n=34, tokens=Lognormal(230, 0.5), zipf=0.8686),
            "search": Pool(n=100, tokens=Lognormal(2383, 0.4), zipf=0.9),
            "image": Pool(n=1, tokens=Constant(985)),
            "file": Pool(n=30, tokens=Lognormal(1430, 0.4)),
        },
        duration_s=7200,
        n_sessions=23_101,
        longest_tokens=89_286,
    )


def qwen_b() -> Workload:
    """Trace B: tasks through an API, single requests of applications with templates."""
    output = Quantiles((0, 0.04408, 0.5, 0.9, 0.99, 1), (1, 8, 39, 193.9, 1006, 4000))
    return Workload(
        name="qwen-b",
        kinds=(
            Kind(
                name="api",
                weight=0.6642,
                pools=(("applications", 0.9288), ("rare", 0.0712)),
                first_tokens=Lognormal(86.69, 0.618),
                output_tokens=output,
            ),
            Kind(
                name="api",
                weight=0.1891,
                first_tokens=Lognormal(364.1, 0.9654),
                output_tokens=output,
            ),
            Kind(
                name="api",
                weight=0.02026,
                first_tokens=Lognormal(5890, 0.8),
                output_tokens=output,
            ),
            Kind(
                name="text",
                weight=0.1265,
                pools=(("text", 0.5122),),
                first_tokens=Lognormal(225, 1.229),
                output_tokens=output,
            ),
        ),
        arrivals=Arrivals(per_s=24, process="gamma", cv=1.762, rate=Rate(trend=1.105)),
        pools={
            "applications": Pool(n=211, tokens=Lognormal(554.6, 0.7946, most=4000), zipf=0.8288),
            "rare": Pool(n=1918, tokens=Lognormal(554.6, 0.7946, most=4000), zipf=0.5572),
            "text": Pool(n=157, tokens=Lognormal(220.7, 0.6), zipf=0.7896),
        },
        duration_s=7200,
        n_sessions=172_800,
        clients="applications",
        longest_tokens=66_446,
    )


def qwen_thinking() -> Workload:
    """The reasoning trace: long answers, of which little stays in the context."""
    output = Quantiles((0, 0.005817, 0.5, 0.99, 1), (5, 160, 1665, 34_529, 60_000))
    return Workload(
        name="qwen-thinking",
        kinds=(
            Kind(
                name="thinking",
                weight=0.5028,
                pools=(("system", 0.8077), ("rare", 0.1923)),
                first_tokens=Lognormal(63.25, 0.04757),
                output_tokens=output,
                trend=0.1065,
            ),
            Kind(
                name="thinking",
                weight=0.4385,
                first_tokens=Mixture(
                    (0.9826, 0.0174), (Lognormal(2200, 1.454, most=26_000), Lognormal(26_000, 0.35))
                ),
                output_tokens=output,
                trend=1.671,
            ),
            Kind(
                name="thinking",
                weight=0.05873,
                pools=(("system", 0.1021),),
                first_tokens=Lognormal(1722, 0.9784),
                output_tokens=output,
                continues=(0.934, 0.5673, 0.5673, 0.5673, 0.74, 0.74, 0.74, 0.74, 0.74, 0.7),
                added_tokens=Lognormal(680.3, 1.0),
                kept_output=0.2117,
                gap_s=Lognormal(31.37, 1.813),
                trend=1.671,
                cut_short=0.037,
                forgotten=0.003,
            ),
        ),
        arrivals=Arrivals(per_s=1.34),
        pools={
            "system": Pool(n=6, tokens=Lognormal(3619, 0.15)),
            "rare": Pool(n=267, tokens=Lognormal(2877, 0.5), zipf=0.8),
        },
        duration_s=7192,
        n_sessions=9612,
        longest_tokens=51_622,
    )


def qwen_coder() -> Workload:
    """The coding trace: long shared prompts, and clients that stop at 14,400 tokens."""
    output = Quantiles((0, 0.07021, 0.5, 0.99, 1), (2, 60, 469, 5835, 16_000))
    return Workload(
        name="qwen-coder",
        kinds=(
            Kind(
                name="coder",
                weight=0.4605,
                pools=(("system", 0.8549), ("rare", 0.1451)),
                first_tokens=Lognormal(72.81, 0.5004),
                output_tokens=output,
                limit_tokens=14_420,
            ),
            Kind(
                name="coder",
                weight=0.2208,
                first_tokens=Lognormal(5150, 0.9977),
                output_tokens=output,
                limit_tokens=14_420,
            ),
            Kind(
                name="coder",
                weight=0.0207,
                first_tokens=Lognormal(17_000, 0.2, least=14_430),
                output_tokens=output,
            ),
            Kind(
                name="coder",
                weight=0.298,
                pools=(("system", 0.4786), ("rare", 0.28)),
                first_tokens=Lognormal(1997, 0.7482),
                output_tokens=output,
                continues=(
                    0.9489,
                    0.6052,
                    0.6052,
                    0.6052,
                    0.7992,
                    0.7992,
                    0.7992,
                    0.7992,
                    0.7992,
                    0.945,
                ),
                added_tokens=Lognormal(205, 1.0),
                kept_output=0.4439,
                gap_s=Lognormal(147, 1.93),
                gap_scale=(1.0, 1.0, 0.8),
                cut_short=0.004,
                limit_tokens=14_420,
                at_limit="end",
            ),
        ),
        arrivals=Arrivals(per_s=3.7, rate=Rate(trend=0.97)),
        pools={
            "system": Pool(n=10, tokens=Lognormal(3642, 0.25)),
            "rare": Pool(n=815, tokens=Lognormal(2673, 0.4), zipf=0.7564),
        },
        duration_s=7199,
        n_sessions=26_406,
        longest_tokens=25_777,
    )
