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
    output = Quantiles((0, 0.04511, 0.5, 0.99, 1), (1, 60, 375.5, 1641, 8000))
    return Workload(
        name="qwen-a",
        kinds=(
            Kind(
                name="text",
                weight=0.2772,
                pools=(("hot", 0.587), ("text", 0.02888)),
                repeats=Repeats(share=0.04555, gap_s=Lognormal(115.7, 0.9131), least_part=0.6),
                first_tokens=Mixture(
                    (0.998, 0.002), (Lognormal(173.4, 0.6479, most=14_000), Lognormal(25_000, 0.5))
                ),
                output_tokens=output,
                kept_output=0.9133,
                gap_scale=(1.416, 1.125, 0.8931),
                gap_power=0.2506,
            ),
            Kind(
                name="text",
                weight=0.4487,
                pools=(("hot", 0.587), ("text", 0.02888)),
                repeats=Repeats(share=0.04555, gap_s=Lognormal(115.7, 0.9131), least_part=0.6),
                first_tokens=Lognormal(323.8, 1.506, most=14_000),
                output_tokens=output,
                continues=(0.6683, 0.5565, 0.5565, 0.5565, 0.68, 0.68, 0.68, 0.68, 0.68, 0.8),
                added_tokens=Lognormal(51.03, 1.2),
                kept_output=0.9133,
                gap_s=Lognormal(86.17, 1.3),
                gap_scale=(1.416, 1.125, 0.8931),
                gap_power=0.2506,
            ),
            Kind(
                name="search",
                weight=0.1077,
                pools=(("shot", 0.4494), ("search", 0.1074)),
                repeats=Repeats(share=0.04555, gap_s=Lognormal(115.7, 0.9131), least_part=0.6),
                first_tokens=Lognormal(4113, 0.8, most=12_000),
                output_tokens=output,
                kept_output=0.9133,
                gap_scale=(1.416, 1.125, 0.8931),
                gap_power=0.2506,
            ),
            Kind(
                name="search",
                weight=0.1004,
                pools=(("shot", 0.4494), ("search", 0.1074)),
                repeats=Repeats(share=0.04555, gap_s=Lognormal(115.7, 0.9131), least_part=0.6),
                first_tokens=Lognormal(1891, 0.9028, most=10_000),
                output_tokens=output,
                continues=(0.6698, 0.4893, 0.4893, 0.4893, 0.68, 0.68, 0.68, 0.68, 0.68, 0.8),
                added_tokens=Lognormal(582.9, 1.0),
                kept_output=0.9133,
                gap_s=Lognormal(145.3, 1.3),
                gap_scale=(1.416, 1.125, 0.8931),
                gap_power=0.2506,
                limit_tokens=20_000,
                at_limit="end",
            ),
            Kind(
                name="image",
                weight=0.03822,
                pools=(("image", 0.9496),),
                first_tokens=Lognormal(91.97, 0.8),
                output_tokens=output,
                continues=(0.5314, 0.5565, 0.5565, 0.5565, 0.68, 0.68, 0.68, 0.68, 0.68, 0.8),
                added_tokens=Lognormal(51.03, 1.2),
                kept_output=0.9133,
                gap_s=Lognormal(11.03, 1.101),
                gap_scale=(1.416, 1.125, 0.8931),
                gap_power=0.2506,
            ),
            Kind(
                name="file",
                weight=0.02777,
                pools=(("file", 0.4103),),
                first_tokens=Lognormal(9204, 0.9, most=16_000),
                output_tokens=output,
                continues=(0.5421, 0.5565, 0.5565, 0.5565, 0.68, 0.68, 0.68, 0.68, 0.68, 0.8),
                added_tokens=Lognormal(51.03, 1.2),
                kept_output=0.9133,
                gap_s=Lognormal(141.5, 1.3),
                gap_scale=(1.416, 1.125, 0.8931),
                gap_power=0.2506,
            ),
        ),
        arrivals=Arrivals(per_s=3.2, rate=Rate(trend=1.318)),
        pools={
            "hot": Pool(n=2, tokens=Constant(602.9)),
            "shot": Pool(n=2, tokens=Constant(1234)),
            "text": Pool(n=53, tokens=Lognormal(331.1, 0.5), zipf=0.9175),
            "search": Pool(n=100, tokens=Lognormal(2325, 0.4), zipf=0.9),
            "image": Pool(n=3, tokens=Lognormal(275.9, 0.2)),
            "file": Pool(n=30, tokens=Lognormal(1142, 0.4)),
        },
        duration_s=7200,
        n_sessions=23_101,
        longest_tokens=89_286,
    )


def qwen_b() -> Workload:
    """Trace B: tasks through an API, single requests of applications with templates."""
    output = Quantiles((0, 0.08392, 0.5, 0.9, 0.99, 1), (1, 8, 39, 201.5, 1006, 4000))
    return Workload(
        name="qwen-b",
        kinds=(
            Kind(
                name="api",
                weight=0.6533,
                pools=(("applications", 0.928), ("rare", 0.07203)),
                first_tokens=Lognormal(100.4, 0.7134),
                output_tokens=output,
            ),
            Kind(
                name="api",
                weight=0.2016,
                first_tokens=Lognormal(363.3, 0.9822),
                output_tokens=output,
            ),
            Kind(
                name="api",
                weight=0.0186,
                first_tokens=Lognormal(5868, 0.8),
                output_tokens=output,
            ),
            Kind(
                name="text",
                weight=0.1265,
                pools=(("text", 0.7315),),
                first_tokens=Lognormal(242.7, 1.236),
                output_tokens=output,
            ),
        ),
        arrivals=Arrivals(per_s=24, process="gamma", cv=1.939, rate=Rate(trend=1.105)),
        pools={
            "applications": Pool(n=211, tokens=Lognormal(563.6, 0.7891, most=4000), zipf=0.6796),
            "rare": Pool(n=1801, tokens=Lognormal(563.6, 0.7891, most=4000), zipf=0.4888),
            "text": Pool(n=140, tokens=Lognormal(229.8, 0.6), zipf=0.8839),
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
    output = Quantiles((0, 0.068, 0.5, 0.99, 1), (2, 60, 469, 5835, 16_000))
    return Workload(
        name="qwen-coder",
        kinds=(
            Kind(
                name="coder",
                weight=0.4569,
                pools=(("system", 0.8558), ("rare", 0.1442)),
                first_tokens=Lognormal(81.76, 0.4529),
                output_tokens=output,
                limit_tokens=14_420,
            ),
            Kind(
                name="coder",
                weight=0.2247,
                first_tokens=Lognormal(4972, 0.9981),
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
                weight=0.2977,
                pools=(("system", 0.4795), ("rare", 0.2803)),
                first_tokens=Lognormal(1997, 0.746),
                output_tokens=output,
                continues=(
                    0.949,
                    0.605,
                    0.605,
                    0.605,
                    0.7991,
                    0.7991,
                    0.7991,
                    0.7991,
                    0.7991,
                    0.9355,
                ),
                added_tokens=Lognormal(214.6, 1.0),
                kept_output=0.4459,
                gap_s=Lognormal(139.5, 1.897),
                gap_scale=(1.0, 1.0, 0.9057),
                cut_short=0.004,
                limit_tokens=14_420,
                at_limit="end",
            ),
        ),
        arrivals=Arrivals(per_s=3.7, rate=Rate(trend=1.037)),
        pools={
            "system": Pool(n=10, tokens=Lognormal(3644, 0.25)),
            "rare": Pool(n=825, tokens=Lognormal(2667, 0.4), zipf=0.758),
        },
        duration_s=7199,
        n_sessions=26_406,
        longest_tokens=25_777,
    )
