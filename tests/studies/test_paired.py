"""Paired intervals: the difference of the whole, an interval around it, the same each time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from kvsim.reports.comparison import show_comparison
from kvsim.studies.paired import paired_differences

Table = dict[str, NDArray[Any]]


def table(n: int = 400, *, hit_share: float = 0.3, slower_s: float = 0.0) -> Table:
    rng = np.random.default_rng(4)
    arrival_s = np.sort(rng.uniform(0, 1000, n))
    tokens = rng.integers(100, 2000, n)
    load_s = 1.0 + np.sin(arrival_s / 100)  # what makes a window hard is in both runs
    return {
        "status": np.full(n, "finished"),
        "arrival_s": arrival_s,
        "first_token_s": arrival_s + load_s + slower_s,
        "input_tokens": tokens,
        "cached_tokens": (hit_share * tokens).astype(np.int64),
    }


def test_the_difference_is_that_of_the_whole_and_the_interval_is_narrow() -> None:
    first, other = table(), table(hit_share=0.35, slower_s=0.05)
    found = paired_differences(first, other, seed=0)
    hits, ttft = found["hit_ratio_tokens"], found["ttft_mean_s"]
    assert hits is not None
    assert ttft is not None
    n_more = (other["cached_tokens"] - first["cached_tokens"]).sum()
    assert hits["difference"] == n_more / first["input_tokens"].sum()
    assert hits["low"] <= hits["difference"] <= hits["high"]
    assert ttft["difference"] == pytest.approx(0.05)
    # the TTFT itself varies by seconds from window to window, its difference does not
    assert 0 <= ttft["high"] - ttft["low"] < 1e-9


def test_no_difference_is_zero_and_a_seed_gives_the_same_interval() -> None:
    same = paired_differences(table(), table(), seed=1)
    assert same["hit_ratio_tokens"] == {"difference": 0.0, "low": 0.0, "high": 0.0}
    runs = [paired_differences(table(), table(hit_share=0.4), seed=s) for s in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(9)
    covered = 0
    for trial in range(200):
        first = table()
        other = {**first, "first_token_s": first["first_token_s"] + rng.normal(0.1, 0.3, 400)}
        found = paired_differences(first, other, seed=trial)["ttft_mean_s"]
        assert found is not None
        covered += found["low"] <= 0.1 <= found["high"]
    assert 175 <= covered <= 199


def test_only_requests_that_finished_in_both_runs_count() -> None:
    first, other = table(), table(hit_share=0.5)
    other["status"][:] = "rejected"
    assert paired_differences(first, other, seed=0) == {
        "hit_ratio_tokens": None,
        "ttft_mean_s": None,
    }


def test_the_terminal_shows_sizes_differences_goodput_and_overhead() -> None:
    spread = {"mean": 1.0, "p50": 1.0, "p99": 2.0}
    found = paired_differences(table(), table(hit_share=0.4), seed=0)
    rows = [
        {
            "trace": "chats",
            "policy": policy,
            "usable_blocks": blocks,
            "ttft_s": spread,
            "tpot_s": spread,
            "goodput_per_s": 1.5,
            "paired": {"to": "lru", "windows": 20, **found} if policy == "lfu" else None,
        }
        for blocks in (100, 200)
        for policy in ("lru", "lfu")
    ]
    console = Console(width=80, highlight=False, color_system=None)
    with console.capture() as capture:
        show_comparison(rows, console, [None, 0.25, None, 0.5])
    text = capture.get()
    assert text.count("lfu - lru") == 2
    assert "100 blocks" in text
    assert "200 blocks" in text
    assert "goodput/s" in text
    assert "0.250" in text
    assert "+10.0" in text or "+9.9" in text
    assert max(map(len, text.splitlines())) <= 80
