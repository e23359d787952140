"""KV capacity: vLLM's own number on a real GPU, and errors that say what is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kvsim import ConfigError
from kvsim.calibration.capacity import GPU_MEMORY_GIB, blocks_from_gib, gpu_memory_gib, kv_blocks
from kvsim.calibration.gpu_profile import load_profile
from kvsim.calibration.models import model

LLAMA = model("llama-3.1-8b")
SHARED = Path(__file__).resolve().parents[2] / "../shared"


def test_ten_gib_hold_5120_blocks_of_16_tokens() -> None:
    assert blocks_from_gib(10, LLAMA) == 5120
    assert blocks_from_gib(10, LLAMA, block_size=32) == 2560


def test_vllm_chose_as_many_blocks_on_an_rtx_4090() -> None:
    path = SHARED / "measured/vllm-request-level/RTX4090/Llama-3.1-8B/vllm/meta.json"
    if not path.exists():
        pytest.skip("needs the measured runs in ../shared/measured")
    measured = json.loads(path.read_text())["kv_cache"]
    counted = kv_blocks(
        LLAMA,
        gpu_memory_gib("rtx4090"),
        reserve_gib=load_profile().reserve_gib,
        block_size=measured["block_size"],
        utilisation=measured["gpu_memory_utilization"],
    )
    assert counted == pytest.approx(measured["num_gpu_blocks"], abs=1)


def test_a_gib_less_is_512_blocks_less() -> None:
    assert kv_blocks(LLAMA, 80, reserve_gib=1) - kv_blocks(LLAMA, 80, reserve_gib=2) == 512


def test_no_room_says_where_the_memory_went() -> None:
    with pytest.raises(ConfigError, match=r"no room for KV blocks of llama-3.3-70b: .* weights"):
        kv_blocks(model("llama-3.3-70b"), gpu_memory_gib("h100"), reserve_gib=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"utilisation": 1.1}, "utilisation must be above 0 and at most 1, got 1.1"),
        ({"utilisation": float("nan")}, "utilisation must be"),
        ({"reserve_gib": -1.0}, "reserve_gib must be finite and at least 0, got -1.0"),
        ({"block_size": 0}, "block_size must be at least 1, got 0"),
    ],
)
def test_a_value_out_of_range_is_named(change: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kv_blocks(LLAMA, 80, **({"reserve_gib": 1.0} | change))


def test_memory_must_be_positive_and_finite() -> None:
    for gib in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="gib must be positive and finite"):
            kv_blocks(LLAMA, gib, reserve_gib=0)
        with pytest.raises(ConfigError, match="gib must be positive and finite"):
            blocks_from_gib(gib, LLAMA)


def test_less_than_a_block_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"holds no block of llama-3.1-8b"):
        blocks_from_gib(0.001, LLAMA)


def test_every_gpu_answers_and_an_unknown_one_suggests_the_nearest() -> None:
    assert all(gpu_memory_gib(name) > 20 for name in GPU_MEMORY_GIB)
    with pytest.raises(ConfigError, match=r"unknown GPU 'H100'; did you mean 'h100'\?"):
        gpu_memory_gib("H100")
