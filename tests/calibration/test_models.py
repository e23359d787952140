"""Model shapes: the published sizes, and strict reading of a config.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kvsim import ConfigError
from kvsim.calibration.models import MODELS, ModelSpec, model

LLAMA: dict[str, Any] = {
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
QWEN_MOE = LLAMA | {
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 768,
    "sliding_window": None,
}
DEEPSEEK: dict[str, Any] = {
    "num_hidden_layers": 61,
    "hidden_size": 7168,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "intermediate_size": 18432,
    "vocab_size": 129280,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 2048,
    "first_k_dense_replace": 3,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
    "quantization_config": {"quant_method": "fp8"},
}


def write(folder: Path, content: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("name", "kv_bytes"),
    [
        ("llama-3.1-8b", 131_072),
        ("llama-3.3-70b", 327_680),
        ("llama-2-13b", 819_200),
        ("qwen2.5-7b", 57_344),
        ("qwen3-32b", 262_144),
        ("qwen3-30b-a3b", 98_304),
        ("deepseek-v3", 70_272),
    ],
)
def test_kv_bytes_per_token_are_the_known_ones(name: str, kv_bytes: int) -> None:
    assert model(name).kv_bytes_per_token == kv_bytes


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("llama-3.1-8b", 8.03),
        ("llama-3.3-70b", 70.55),
        ("llama-2-13b", 13.02),
        ("qwen2.5-7b", 7.62),
        ("qwen3-32b", 32.76),
        ("qwen3-30b-a3b", 30.53),
        ("deepseek-v3", 671.0),
    ],
)
def test_parameter_counts_are_the_published_ones(name: str, billions: float) -> None:
    assert model(name).n_parameters / 1e9 == pytest.approx(billions, rel=1e-3)


def test_llama_has_exactly_its_published_weights() -> None:
    assert model("llama-3.1-8b").n_parameters == 8_030_261_248
    assert model("llama-3.1-8b").weight_bytes == 2 * 8_030_261_248


def test_active_weights_of_the_mixtures_are_the_published_ones() -> None:
    embeddings = {name: MODELS[name].vocab_size * MODELS[name].hidden_size for name in MODELS}
    for name, active in (("qwen3-30b-a3b", 3.3e9), ("deepseek-v3", 37e9)):
        counted = MODELS[name].flops_per_token / 2 + 2 * embeddings[name]
        assert counted == pytest.approx(active, rel=0.03)


def test_a_pair_costs_four_flops_a_head_dimension() -> None:
    assert model("llama-3.1-8b").attention_flops_per_pair == 4 * 32 * 32 * 128
    assert model("deepseek-v3").attention_flops_per_pair == 2 * 61 * 128 * (576 + 512)


def test_a_config_gives_the_shipped_shape(tmp_path: Path) -> None:
    path = write(tmp_path, LLAMA)
    spec = model(path)
    assert spec.name == tmp_path.name
    assert spec.n_parameters == MODELS["llama-3.1-8b"].n_parameters
    assert model(tmp_path) == spec


def test_a_mla_config_gives_the_shipped_shape(tmp_path: Path) -> None:
    spec = ModelSpec.from_config(write(tmp_path, DEEPSEEK))
    shipped = MODELS["deepseek-v3"]
    assert spec.kv_bytes_per_token == shipped.kv_bytes_per_token
    assert spec.weight_bytes == shipped.weight_bytes
    assert spec.flops_per_token == shipped.flops_per_token


def test_a_mixture_config_counts_all_experts_to_hold_and_few_to_run(tmp_path: Path) -> None:
    spec = ModelSpec.from_config(write(tmp_path, QWEN_MOE))
    one = 3 * 4096 * 768 * 32
    router = 32 * 4096 * 128
    dense = ModelSpec.from_config(write(tmp_path, LLAMA | {"intermediate_size": 1}))
    assert spec.n_parameters - dense.n_parameters == 128 * one + router - 3 * 4096 * 32
    assert spec.flops_per_token - dense.flops_per_token == 2 * (8 * one + router - 3 * 4096 * 32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_hidden_layers": None}, "num_hidden_layers is missing; an integer is needed"),
        ({"hidden_size": "4096"}, "hidden_size must be an integer of at least 1, got '4096'"),
        ({"vocab_size": 0}, "vocab_size must be an integer of at least 1, got 0"),
        ({"num_key_value_heads": True}, "num_key_value_heads must be an integer"),
        ({"torch_dtype": "int3"}, "torch_dtype must be one of bfloat16, .*, got 'int3'"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings must be true or false, got 1"),
        ({"sliding_window": 4096}, "sliding_window must be null .*, got 4096"),
        ({"quantization_config": {"quant_method": "odd"}}, "quantization_config must be fp8 or"),
        ({"num_experts": 8}, "num_experts_per_tok is missing"),
    ],
)
def test_a_wrong_field_is_named_with_its_file(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = write(tmp_path, LLAMA | change)
    with pytest.raises(ConfigError, match=message) as caught:
        ModelSpec.from_config(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_four_bit_model_takes_half_a_byte_a_weight(tmp_path: Path) -> None:
    content = LLAMA | {"quantization_config": {"quant_method": "awq", "bits": 4}}
    spec = ModelSpec.from_config(write(tmp_path, content))
    assert spec.weight_bytes == 8_030_261_248 // 2


def test_an_unused_window_is_no_window(tmp_path: Path) -> None:
    content = LLAMA | {"sliding_window": 131072, "use_sliding_window": False}
    assert ModelSpec.from_config(write(tmp_path, content)).n_layers == 32


@pytest.mark.parametrize("text", ["[]", "{", "\xff"])
def test_a_file_that_holds_no_object_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"odd.json: "):
        model(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.json: cannot be read"):
        model(tmp_path / "none.json")


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown model 'Qwen3-32'; did you mean 'qwen3-32b'\?"):
        model("Qwen3-32")
