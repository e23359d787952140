"""Trace A: chat in an app and on the web; text, search, image and file requests."""

from __future__ import annotations

from dataclasses import replace

from ..arrivals import Arrivals, Rate
from ..lengths import Constant, Lognormal, Quantiles
from ..workload import Kind, Pool, Repeats, Workload
from .turns import hazards


def qwen_a(
    *,
    text_alone: float = 0.2642,
    search_alone: float = 0.08628,
    search_longer: float = 0.1234,
    image: float = 0.03284,
    file: float = 0.02991,
    hot: float = 0.4585,
    hot_zipf: float = 1.852,
    search_hot: float = 0.4247,
    brief: float = 0.105,
    search_pool: float = 0.1257,
    search_pool_tokens: float = 2521,
    search_zipf: float = 0.9415,
    image_pool_tokens: float = 948.2,
    file_pool: float = 0.2356,
    file_pool_tokens: float = 621.3,
    repeated: float = 0.07991,
    repeat_median_s: float = 93.67,
    repeat_sigma: float = 1.902,
    alone_tokens: float = 38.7,
    alone_sigma: float = 0.6088,
    text_tokens: float = 126.1,
    text_sigma: float = 1.588,
    search_alone_tokens: float = 4156,
    search_alone_sigma: float = 0.4824,
    search_tokens: float = 3830,
    search_sigma: float = 0.5885,
    file_tokens: float = 7579,
    file_sigma: float = 0.685,
    added: float = 33.22,
    search_added: float = 581.2,
    text_goes_on: float = 0.6581,
    search_goes_on: float = 0.6858,
    image_goes_on: float = 0.5161,
    file_goes_on: float = 0.5554,
    early: float = 0.5706,
    search_early: float = 0.5352,
    middle: float = 0.7017,
    late: float = 0.9209,
    kept_output: float = 0.6315,
    shift_s: float = 20.2,
    text_gap_s: float = 90.74,
    text_gap_sigma: float = 1.781,
    search_gap_s: float = 68.91,
    search_gap_sigma: float = 1.766,
    image_gap_s: float = 42.87,
    image_gap_sigma: float = 2.729,
    file_gap_s: float = 55.94,
    file_gap_sigma: float = 1.268,
    second_gap: float = 1.215,
    first_gap: float = 1.286,
    later_gap: float = 0.9322,
    gap_power: float = 0.2919,
    long_trend: float = 2.706,
    alone_trend: float = 1.192,
    trend: float = 1.619,
) -> Workload:
    """Trace A, to-C: people in front of an app.

    Each type but image has single requests and conversations apart, because the audits count hits
    of the two apart. How much workload-aware gains hangs on how far the types' reuse differs, and
    on prefixes used every ten seconds or so, which a small lru cache just loses.
    """
    base = Kind(
        name="text",
        # median and 99th percentile are published; the 90th gives the published mean
        output_tokens=Quantiles((0, 0.5, 0.9, 0.99, 1), (1, 375.5, 851, 1641, 8000)),
        kept_output=kept_output,
        gap_scale=(first_gap, second_gap, later_gap),
        gap_power=gap_power,
    )
    text = replace(
        base,
        pools=(("hot", hot), ("brief", brief)),
        repeats=Repeats(
            share=repeated, gap_s=Lognormal(repeat_median_s, repeat_sigma), least_part=0.6
        ),
        added_tokens=Lognormal(added, 1.2),
    )
    search = replace(
        text, name="search", pools=(("hot", search_hot), ("brief", brief), ("search", search_pool))
    )
    kinds = (
        replace(
            text,
            weight=text_alone,
            first_tokens=Lognormal(alone_tokens, alone_sigma, most=14_000),
            trend=alone_trend,
        ),
        # half a dozen very long prompts, for the published maximum
        replace(base, weight=0.00026, first_tokens=Lognormal(45_000, 0.8)),
        replace(
            text,
            weight=0.4735,  # the other weights are relative to it
            first_tokens=Lognormal(text_tokens, text_sigma, most=14_000),
            continues=hazards(text_goes_on, early, middle, late),
            gap_s=Lognormal(text_gap_s, text_gap_sigma, shift=shift_s),
        ),
        replace(
            search,
            weight=search_alone,
            first_tokens=Lognormal(search_alone_tokens, search_alone_sigma, most=12_000),
            trend=alone_trend,
        ),
        replace(
            search,
            weight=search_longer,
            trend=long_trend,
            first_tokens=Lognormal(search_tokens, search_sigma, most=10_000),
            continues=hazards(search_goes_on, search_early, middle, late),
            added_tokens=Lognormal(search_added, 1.0),
            gap_s=Lognormal(search_gap_s, search_gap_sigma, shift=shift_s),
            limit_tokens=17_000,
            at_limit="end",
        ),
        replace(
            base,
            name="image",
            weight=image,
            pools=(("image", 0.955),),
            first_tokens=Lognormal(300, 0.8),
            continues=hazards(image_goes_on, early, middle, late),
            added_tokens=Lognormal(added, 1.2),
            gap_s=Lognormal(image_gap_s, image_gap_sigma),
        ),
        replace(
            base,
            name="file",
            weight=file,
            trend=long_trend,
            pools=(("file", file_pool),),
            first_tokens=Lognormal(file_tokens, file_sigma, most=16_000),
            continues=hazards(file_goes_on, early, middle, late),
            added_tokens=Lognormal(added, 1.2),
            gap_s=Lognormal(file_gap_s, file_gap_sigma, shift=shift_s),
        ),
    )
    return Workload(
        name="qwen-a",
        kinds=kinds,
        arrivals=Arrivals(per_s=3.2, rate=Rate(trend=trend)),
        pools={
            # a median of 41 blocks, just above five of 128 tokens: the second hour's blocks
            "hot": Pool(n=12, tokens=Lognormal(656, 0.4), zipf=hot_zipf),
            # below 128 tokens: what the hits of small blocks have more than those of large ones
            "brief": Pool(n=3, tokens=Constant(112)),
            "search": Pool(n=100, tokens=Lognormal(search_pool_tokens, 0.4), zipf=search_zipf),
            "image": Pool(n=1, tokens=Constant(image_pool_tokens)),
            "file": Pool(n=30, tokens=Lognormal(file_pool_tokens, 0.4)),
        },
        duration_s=7200,
        n_sessions=23_101,
        longest_tokens=89_286,
        stratified=True,
    )
