"""What a model holds and computes: KV bytes, weight bytes, FLOPs. Knows no GPU."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from .. import ConfigError
from .hf_config import read_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """The shape of a decoder-only transformer with gated MLPs and RMS norms.

    Left out, as under 0.1 % of the weights: attention biases, q and k norms, router biases.
    """

    name: str
    n_layers: int
    hidden_size: int
    n_heads: int
    n_kv_heads: int
    """Fewer than `n_heads` with grouped-query attention."""
    head_dim: int
    intermediate_size: int
    """Width of a dense MLP."""
    vocab_size: int
    tie_embeddings: bool = False
    """Whether the output matrix is the embedding matrix."""
    dtype_bytes: float = 2.0
    """Bytes a weight."""
    kv_dtype_bytes: float = 2.0
    """Bytes a cached number."""
    n_experts: int = 0
    """Routed experts of a mixture-of-experts layer; 0: every layer is dense."""
    experts_per_token: int = 0
    expert_size: int = 0
    """Width of one expert's MLP."""
    n_shared_experts: int = 0
    """Experts that every token passes."""
    n_dense_layers: int = 0
    """Leading layers with a dense MLP in a mixture-of-experts model."""
    kv_lora_rank: int = 0
    """Width of the compressed KV of multi-head latent attention (MLA); 0: none."""
    q_lora_rank: int = 0
    qk_rope_head_dim: int = 0
    qk_nope_head_dim: int = 0
    v_head_dim: int = 0

    @classmethod
    def from_config(cls, path: str | Path) -> ModelSpec:
        """Read a Hugging Face config.json.

        Raises:
            ConfigError: names the file, the field and the value.
        """
        return cls(**read_fields(Path(path)))

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes one token keeps in the KV cache, over all layers.

        K and V of each KV head; for MLA the compressed vector and the shared rotary key
        (DeepSeek-V2, arXiv:2405.04434, section 2.1.3).

        >>> model("llama-3.1-8b").kv_bytes_per_token
        131072
        """
        if self.kv_lora_rank:
            width = self.kv_lora_rank + self.qk_rope_head_dim
        else:
            width = 2 * self.n_kv_heads * self.head_dim
        return int(self.n_layers * width * self.kv_dtype_bytes)

    @property
    def n_parameters(self) -> int:
        """All weights, embeddings and norms included."""
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tie_embeddings else 2)
        norms = (2 * self.n_layers + 1) * self.hidden_size
        if self.kv_lora_rank:
            norms += self.n_layers * (self.kv_lora_rank + self.q_lora_rank)
        mlps = self._mlp_weights(experts=self.n_experts)
        return embeddings + norms + self.n_layers * self._attention_weights() + mlps

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights."""
        return int(self.n_parameters * self.dtype_bytes)

    @property
    def flops_per_token(self) -> int:
        """FLOPs of one token in the layers' matrices: two a weight it passes.

        Without attention over the context (`attention_flops_per_pair`) and without the output
        matrix, which runs once a sequence and not once a token.
        """
        mlps = self._mlp_weights(experts=self.experts_per_token)
        return 2 * (self.n_layers * self._attention_weights() + mlps)

    @property
    def attention_flops_per_pair(self) -> int:
        """FLOPs of one query token attending to one key token, over all layers.

        A multiply and an add per element of q·k and of p·v, for each head; for MLA in the
        absorbed form, in which both run over the compressed vector.
        """
        if self.kv_lora_rank:
            width = 2 * self.kv_lora_rank + self.qk_rope_head_dim
        else:
            width = 2 * self.head_dim
        return 2 * self.n_layers * self.n_heads * width

    def _attention_weights(self) -> int:
        """Weights of one layer's projections."""
        if not self.kv_lora_rank:
            kept = self.n_heads + self.n_kv_heads
            return 2 * self.hidden_size * kept * self.head_dim
        query_width = self.n_heads * (self.qk_nope_head_dim + self.qk_rope_head_dim)
        if self.q_lora_rank:
            query = self.q_lora_rank * (self.hidden_size + query_width)
        else:
            query = self.hidden_size * query_width
        compress = self.hidden_size * (self.kv_lora_rank + self.qk_rope_head_dim)
        expand = self.kv_lora_rank * self.n_heads * (self.qk_nope_head_dim + self.v_head_dim)
        return query + compress + expand + self.n_heads * self.v_head_dim * self.hidden_size

    def _mlp_weights(self, *, experts: int) -> int:
        """Weights of all layers' MLPs (gate, up, down) when each runs so many routed experts."""
        dense = 3 * self.hidden_size * self.intermediate_size
        if not self.n_experts:
            return self.n_layers * dense
        routed = 3 * self.hidden_size * self.expert_size * (experts + self.n_shared_experts)
        router = self.hidden_size * self.n_experts
        n_sparse = self.n_layers - self.n_dense_layers
        return self.n_dense_layers * dense + n_sparse * (routed + router)


def _dense(
    name: str, n_layers: int, hidden: int, *, heads: tuple[int, int], mlp: int, vocab: int
) -> ModelSpec:
    return ModelSpec(
        name=name,
        n_layers=n_layers,
        hidden_size=hidden,
        n_heads=heads[0],
        n_kv_heads=heads[1],
        head_dim=128,
        intermediate_size=mlp,
        vocab_size=vocab,
    )


# Shapes from the config.json of each model's repository on huggingface.co, named beside it.
MODELS: dict[str, ModelSpec] = {
    # meta-llama/Llama-3.1-8B-Instruct
    "llama-3.1-8b": _dense("llama-3.1-8b", 32, 4096, heads=(32, 8), mlp=14336, vocab=128256),
    # meta-llama/Llama-3.3-70B-Instruct
    "llama-3.3-70b": _dense("llama-3.3-70b", 80, 8192, heads=(64, 8), mlp=28672, vocab=128256),
    # meta-llama/Llama-2-13b-hf
    "llama-2-13b": _dense("llama-2-13b", 40, 5120, heads=(40, 40), mlp=13824, vocab=32000),
    # Qwen/Qwen2.5-7B-Instruct
    "qwen2.5-7b": _dense("qwen2.5-7b", 28, 3584, heads=(28, 4), mlp=18944, vocab=152064),
    # Qwen/Qwen3-32B
    "qwen3-32b": _dense("qwen3-32b", 64, 5120, heads=(64, 8), mlp=25600, vocab=151936),
    # Qwen/Qwen3-30B-A3B-Instruct-2507
    "qwen3-30b-a3b": ModelSpec(
        name="qwen3-30b-a3b",
        n_layers=48,
        hidden_size=2048,
        n_heads=32,
        n_kv_heads=4,
        head_dim=128,
        intermediate_size=6144,
        vocab_size=151936,
        n_experts=128,
        experts_per_token=8,
        expert_size=768,
    ),
    # deepseek-ai/DeepSeek-V3: fp8 weights, MLA, one shared expert, three leading dense layers
    "deepseek-v3": ModelSpec(
        name="deepseek-v3",
        n_layers=61,
        hidden_size=7168,
        n_heads=128,
        n_kv_heads=128,
        head_dim=56,
        intermediate_size=18432,
        vocab_size=129280,
        dtype_bytes=1.0,
        n_experts=256,
        experts_per_token=8,
        expert_size=2048,
        n_shared_experts=1,
        n_dense_layers=3,
        kv_lora_rank=512,
        q_lora_rank=1536,
        qk_rope_head_dim=64,
        qk_nope_head_dim=128,
        v_head_dim=128,
    ),
}


def model(name_or_path: str | Path) -> ModelSpec:
    """Return the shipped model of that name, or the one of a config.json (or its folder).

    >>> model("llama-3.1-8")
    Traceback (most recent call last):
    kvsim.ConfigError: unknown model 'llama-3.1-8'; did you mean 'llama-3.1-8b'? (known: \
llama-3.1-8b, llama-3.3-70b, llama-2-13b, qwen2.5-7b, qwen3-32b, qwen3-30b-a3b, deepseek-v3; or \
a config.json)
    """
    name = str(name_or_path)
    if name in MODELS:
        return MODELS[name]
    path = Path(name_or_path)
    if path.is_dir():
        return ModelSpec.from_config(path / "config.json")
    if path.suffix == ".json" or path.is_file():
        return ModelSpec.from_config(path)
    near = difflib.get_close_matches(name.lower(), MODELS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    known = ", ".join(MODELS)
    raise ConfigError(f"unknown model {name!r}{hint} (known: {known}; or a config.json)")
