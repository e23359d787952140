"""The Qwen-Bailian likenesses against what was published about the traces."""

from __future__ import annotations

import numpy as np
import pytest
from prefix_traces import trace_of

from kvsim.studies.bailian import (
    LRU_SECOND_HOUR,
    PUBLISHED,
    compare_with_published,
    measured,
)
from kvsim.studies.block_reuse import block_reuse
from kvsim.studies.first_hour import first_hour_table, fitted
from kvsim.traces.generate.presets import preset
from kvsim.traces.generate.sessions import generate
from kvsim.traces.schema import Trace


def missed(name: str, trace: Trace) -> list[str]:
    return [
        f"{check.name}: published {check.published:g}, found {check.found:g}"
        for check in compare_with_published(trace, name)
        if not check.is_met
    ]


def test_the_reasoning_likeness_meets_every_published_statistic() -> None:
    assert missed("qwen-thinking", generate(preset("qwen-thinking"))) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(PUBLISHED) - {"qwen-thinking"}))
def test_each_likeness_meets_every_published_statistic(name: str) -> None:
    assert missed(name, generate(preset(name))) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen-a", "qwen-b", "qwen-coder"])
def test_another_seed_keeps_hits_and_curves(name: str) -> None:
    """Only the hits, to twice the tolerance: counts of rare long sessions are chance.

    The reasoning trace has 600 longer sessions, too few for that.
    """
    checks = compare_with_published(generate(preset(name), seed=1), name)
    for check in checks:
        if "hit" in check.name:
            assert abs(check.difference) <= 2 * max(check.tolerance, 0.01), check


@pytest.mark.slow
def test_the_second_hour_of_a_is_as_the_authors_patch_reports() -> None:
    rows = first_hour_table(generate(preset("qwen-a")))
    assert [row.lru for row in rows] == pytest.approx(LRU_SECOND_HOUR, abs=0.02)
    gains = [row.gain for row in rows]
    assert min(gains) >= 0
    assert np.mean(gains[:4]) == pytest.approx(0.25, abs=0.06)  # a quarter in a small cache,
    assert gains[3:] == sorted(gains[3:], reverse=True)
    assert gains[-1] < 0.08  # a few percent in a large one


@pytest.mark.slow
def test_on_b_workload_aware_is_lru() -> None:
    for row in first_hour_table(generate(preset("qwen-b"))):
        assert row.workload_aware == pytest.approx(row.lru, abs=0.01)


def test_block_reuse_counts_by_hand() -> None:
    trace = trace_of([(0, 0), (0, 1), (0, 0), (1,)])
    reuse = block_reuse(trace)
    assert reuse.hits.tolist() == [0, 1, 2, 0]
    assert reuse.own_hits.tolist() == [0, 0, 0, 0]  # each request is a session of its own
    assert sorted(reuse.uses.tolist()) == [1, 1, 2, 3]
    assert reuse.ideal == pytest.approx(3 / 7)
    assert reuse.share_of_top(0.25) == pytest.approx(2 / 3)
    # gaps: the first block after 1 s and 1 s, the second after 2 s
    assert reuse.median_gap_s() == pytest.approx(1.0, rel=0.02)
    assert reuse.gap_quantile_s(0.9) == pytest.approx(2.0, rel=0.02)
    assert np.nanmax(reuse.first_gap_s) == 2.0


def test_parameters_of_a_part_are_those_of_its_reuses() -> None:
    trace = trace_of([(0,), (1,), (0,), (0,)])
    found = fitted(trace, 1)
    # 2 reuses in 4 accesses, after 2 s and 1 s
    assert found["p"]["request-1"] == pytest.approx(0.5)
    assert found["a"]["request-1"] == pytest.approx(2 / 3)
    assert found["a"]["request-2"] == 0.0


def test_what_is_measured_covers_what_is_published() -> None:
    trace = generate(preset("qwen-thinking"))
    assert set(PUBLISHED["qwen-thinking"]) <= set(measured(trace))
