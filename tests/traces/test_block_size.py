"""The block size told from lengths and numbers of ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsim.traces.block_size import infer_block_size
from kvsim.traces.formats import read_trace

TESTS = Path(__file__).resolve().parents[1]
SHARED = TESTS.parents[1] / "shared"
RECORDED = TESTS / "data/vllm-oracle"


@pytest.mark.parametrize(
    ("tokens", "n_ids", "size"),
    [
        ([6758, 7322], [14, 15], 512),
        ([1000], [1], 1024),  # 1000 and more would do: the smallest power of two
        ([100], [1], 512),
        ([30, 50], [2, 4], 16),
        ([8, 8, 10], [2, 2, 3], 4),
        ([700, 650], [2, 2], 512),
        ([70, 69], [10, 10], 7),
        ([100, 1000, 90], [6, 62, 5], 16),  # full blocks only
        ([1024, 1024, 1000], [2, 2, 3], 512),  # two of three rows
        ([1024, 70, 9], [2, 10, 9], 512),  # no majority
        ([100, 50], [0, 0], 512),
    ],
)
def test_the_size_is_chosen_from_those_that_fit(
    tokens: list[int], n_ids: list[int], size: int
) -> None:
    assert infer_block_size(np.array(tokens), np.array(n_ids)) == size


@given(
    tokens=st.lists(st.integers(1, 5000), min_size=1, max_size=20),
    size=st.integers(1, 1024),
    up=st.booleans(),
)
def test_the_size_chosen_explains_every_row(tokens: list[int], size: int, up: bool) -> None:
    lengths = np.array(tokens)
    n_ids = -(-lengths // size) if up else lengths // size
    found = infer_block_size(lengths, n_ids)
    fits_up = np.all((-(-lengths // found) == n_ids) | (n_ids == 0))
    fits_down = np.all((lengths // found == n_ids) | (n_ids == 0))
    assert fits_up or fits_down


@pytest.mark.parametrize(
    ("path", "size"),
    [
        ("traces/mooncake/conversation_trace.jsonl.gz", 512),
        ("traces/lmcache-agents/miniswe_blk16_cl100k.jsonl.gz", 16),
    ],
)
def test_the_sizes_of_real_traces_are_found(path: str, size: int) -> None:
    if not (SHARED / path).exists():
        pytest.skip(f"needs ../shared/{path}")
    assert read_trace(SHARED / path).block_size == size


@pytest.mark.parametrize("name", ["v1_same_step.jsonl", "v2_preempt.jsonl"])
def test_the_sizes_of_recorded_traces_are_found(name: str) -> None:
    assert read_trace(RECORDED / name).block_size == 4
