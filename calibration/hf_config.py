"""Reads a Hugging Face config.json into the fields of a ModelSpec. Knows no formula."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .. import ConfigError

_DTYPE_BYTES = {"bfloat16": 2.0, "float16": 2.0, "float32": 4.0, "float8_e4m3fn": 1.0}
_EXPERT_KEYS = ("num_experts", "num_local_experts", "n_routed_experts")


def read_fields(path: Path) -> dict[str, Any]:
    """Return keyword arguments for `ModelSpec`; the folder's or file's name becomes the model's.

    Raises:
        ConfigError: the file cannot be read, or a field is missing, of the wrong type, out of
            range, or asks for something that `ModelSpec` does not model.
    """
    config = _Config(path)
    config.refuse_windows()
    n_heads = config.count("num_attention_heads")
    hidden_size = config.count("hidden_size")
    fields: dict[str, Any] = {
        "name": path.parent.name if path.name == "config.json" else path.stem,
        "n_layers": config.count("num_hidden_layers"),
        "hidden_size": hidden_size,
        "n_heads": n_heads,
        "n_kv_heads": config.count("num_key_value_heads", default=n_heads),
        "head_dim": config.count("head_dim", default=hidden_size // n_heads),
        "intermediate_size": config.count("intermediate_size"),
        "vocab_size": config.count("vocab_size"),
        "tie_embeddings": config.flag("tie_word_embeddings"),
        "dtype_bytes": config.weight_bytes(),
    }
    expert_key = next((key for key in _EXPERT_KEYS if config.has(key)), None)
    if expert_key is not None:
        fields |= {
            "n_experts": config.count(expert_key),
            "experts_per_token": config.count("num_experts_per_tok"),
            "expert_size": config.count(
                "moe_intermediate_size", default=fields["intermediate_size"]
            ),
            "n_shared_experts": config.count("n_shared_experts", default=0, least=0),
            "n_dense_layers": config.count("first_k_dense_replace", default=0, least=0),
        }
    if config.has("kv_lora_rank"):
        fields |= {
            "kv_lora_rank": config.count("kv_lora_rank"),
            "q_lora_rank": config.count("q_lora_rank", default=0, least=0),
            "qk_rope_head_dim": config.count("qk_rope_head_dim"),
            "qk_nope_head_dim": config.count("qk_nope_head_dim"),
            "v_head_dim": config.count("v_head_dim"),
        }
    return fields


class _Config:
    """One file's object, whose every complaint names the file and the field."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise ConfigError(f"{path}: is not JSON: {error}") from None
        if not isinstance(content, dict):
            raise ConfigError(f"{path}: must hold a JSON object, got {type(content).__name__}")
        self._content: dict[str, Any] = content

    def has(self, key: str) -> bool:
        return self._content.get(key) is not None

    def count(self, key: str, *, default: int | None = None, least: int = 1) -> int:
        value = self._content.get(key)
        if value is None:
            if default is None:
                raise ConfigError(f"{self._path}: {key} is missing; an integer is needed")
            value = default
        if type(value) is not int or value < least:
            raise ConfigError(
                f"{self._path}: {key} must be an integer of at least {least}, got {value!r}"
            )
        return value

    def flag(self, key: str) -> bool:
        value = self._content.get(key)
        if value is None:
            return False
        if type(value) is not bool:
            raise ConfigError(f"{self._path}: {key} must be true or false, got {value!r}")
        return value

    def weight_bytes(self) -> float:
        quantization = self._content.get("quantization_config")
        if isinstance(quantization, dict):
            method, bits = quantization.get("quant_method"), quantization.get("bits")
            if method == "fp8":
                return 1.0
            if type(bits) is int and 1 <= bits <= 16:
                return bits / 8
            raise ConfigError(
                f"{self._path}: quantization_config must be fp8 or state its bits, got {method!r}"
            )
        key = "dtype" if self.has("dtype") else "torch_dtype"
        dtype = self._content.get(key) or "bfloat16"
        if not isinstance(dtype, str) or dtype not in _DTYPE_BYTES:
            raise ConfigError(
                f"{self._path}: {key} must be one of {', '.join(_DTYPE_BYTES)}, got {dtype!r}"
            )
        return _DTYPE_BYTES[dtype]

    def refuse_windows(self) -> None:
        window = self._content.get("sliding_window")
        if window is not None and self._content.get("use_sliding_window", True) is not False:
            raise ConfigError(
                f"{self._path}: sliding_window must be null (windows are not modelled), "
                f"got {window!r}"
            )
