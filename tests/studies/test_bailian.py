"""The Qwen-Bailian likenesses against what was published about the traces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prefix_traces import trace_of

from kvsim import TraceError
from kvsim.studies.bailian import (
    FILES,
    LRU_SECOND_HOUR,
    PUBLISHED,
    WORKLOAD_AWARE_SECOND_HOUR,
    compare_with_published,
    measured,
    which,
)
from kvsim.studies.first_hour import first_hour_table, fitted
from kvsim.traces.formats import read_trace, write_trace
from kvsim.traces.generate.presets import preset
from kvsim.traces.generate.sessions import generate
from kvsim.traces.schema import Trace

PUBLISHED_GAIN = np.array(WORKLOAD_AWARE_SECOND_HOUR) / np.array(LRU_SECOND_HOUR) - 1


def missed(name: str, trace: Trace) -> list[str]:
    return [
        f"{check.name}: published {check.published:g}, found {check.found:g}"
        for check in compare_with_published(trace, name)
        if not check.is_met
    ]


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_likeness_meets_every_published_statistic(name: str) -> None:
    assert missed(name, generate(preset(name))) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
@pytest.mark.parametrize("name", PUBLISHED)
def test_so_do_other_seeds(name: str, seed: int) -> None:
    assert missed(name, generate(preset(name), seed=seed)) == []


def test_the_second_hour_of_a_is_as_the_authors_patch_reports() -> None:
    rows = first_hour_table(generate(preset("qwen-a")))
    assert [row.lru for row in rows] == pytest.approx(LRU_SECOND_HOUR, abs=0.02)
    gains = np.array([row.gain for row in rows])
    assert gains.min() >= 0
    assert gains == pytest.approx(PUBLISHED_GAIN, abs=0.05)
    assert gains.max() == pytest.approx(0.25, abs=0.05)
    assert gains[2:].tolist() == sorted(gains[2:], reverse=True)
    assert gains[-1] <= 0.04


@pytest.mark.slow
def test_so_is_that_of_other_seeds() -> None:
    tables = [first_hour_table(generate(preset("qwen-a"), seed=seed)) for seed in range(5)]
    gains = np.array([[row.gain for row in rows] for rows in tables])
    assert gains.min() >= 0
    assert gains.mean(axis=0) == pytest.approx(PUBLISHED_GAIN, abs=0.05)
    assert gains == pytest.approx(np.tile(PUBLISHED_GAIN, (5, 1)), abs=0.08)
    for rows in tables:
        assert [row.lru for row in rows] == pytest.approx(LRU_SECOND_HOUR, abs=0.02)


@pytest.mark.slow
def test_on_b_workload_aware_is_lru() -> None:
    for row in first_hour_table(generate(preset("qwen-b"))):
        assert row.workload_aware == pytest.approx(row.lru, abs=0.01)


def test_a_file_of_the_published_schema_gives_the_very_same_numbers(tmp_path: Path) -> None:
    trace = generate(preset("qwen-thinking"))
    file = tmp_path / FILES["qwen-thinking"][0]
    write_trace(trace, file, "qwen-bailian")
    again = read_trace(file, settings={"output_blocks": "false"})
    assert which(again) == "qwen-thinking"
    assert measured(again) == pytest.approx(measured(trace), rel=0, abs=0, nan_ok=True)
    assert first_hour_table(again) == first_hour_table(trace)


@pytest.mark.slow
def test_so_does_a_file_with_four_types(tmp_path: Path) -> None:
    trace = generate(preset("qwen-a"))
    write_trace(trace, tmp_path / "a.jsonl", "qwen-bailian")
    again = read_trace(tmp_path / "a.jsonl", settings={"output_blocks": "false"})
    assert which(again) == "qwen-a"
    assert measured(again) == measured(trace)
    assert first_hour_table(again) == first_hour_table(trace)


def test_request_types_tell_the_traces_apart() -> None:
    for name in PUBLISHED:
        types = tuple({kind.name for kind in preset(name).kinds})
        assert which(typed(types)) == name
    with pytest.raises(TraceError, match="types must be those of a Bailian trace, got code, text"):
        which(typed(("code", "text")))


def typed(types: tuple[str, ...]) -> Trace:
    return replace(trace_of([(0, 1), (0, 1), (0, 2)]), category_names=types)


def test_parameters_of_a_part_are_those_of_its_reuses() -> None:
    trace = trace_of([(0,), (1,), (0,), (0,)])
    found = fitted(trace, 1)
    # 2 reuses in 4 accesses, after 2 s and 1 s
    assert found["p"]["request-1"] == pytest.approx(0.5)
    assert found["a"]["request-1"] == pytest.approx(2 / 3)
    assert found["a"]["request-2"] == 0.0


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_measured_covers_what_is_published(name: str) -> None:
    types = tuple(sorted({kind.name for kind in preset(name).kinds}))
    assert set(PUBLISHED[name]) <= set(measured(typed(types)))
