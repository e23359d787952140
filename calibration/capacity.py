"""How many KV blocks fit on a GPU. Knows no policy and no profile."""

from __future__ import annotations

import difflib
import math

from .. import ConfigError
from .models import ModelSpec

_GIB = 2**30
_MIB_PER_GIB = 1024

# Memory that the driver reports as total (nvidia-smi, memory.total in MiB), which is a little less
# than the name says: firmware and, on L40S, error correction take their share.
GPU_MEMORY_GIB: dict[str, float] = {
    "h100": 81559 / _MIB_PER_GIB,  # NVIDIA H100 80GB HBM3
    "h200": 143771 / _MIB_PER_GIB,  # NVIDIA H200
    "b200": 183359 / _MIB_PER_GIB,  # NVIDIA B200
    "a100-80": 81920 / _MIB_PER_GIB,  # NVIDIA A100-SXM4-80GB
    "a100-40": 40960 / _MIB_PER_GIB,  # NVIDIA A100-SXM4-40GB
    "l40s": 46068 / _MIB_PER_GIB,  # NVIDIA L40S
    "rtx4090": 24564 / _MIB_PER_GIB,  # NVIDIA GeForce RTX 4090
}


def gpu_memory_gib(name: str) -> float:
    """Return the memory of the GPU called `name`.

    >>> gpu_memory_gib("h10")
    Traceback (most recent call last):
    kvsim.ConfigError: unknown GPU 'h10'; did you mean 'h100'? (known: h100, h200, b200, a100-80, \
a100-40, l40s, rtx4090)
    """
    if name in GPU_MEMORY_GIB:
        return GPU_MEMORY_GIB[name]
    near = difflib.get_close_matches(name.lower(), GPU_MEMORY_GIB, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    raise ConfigError(f"unknown GPU {name!r}{hint} (known: {', '.join(GPU_MEMORY_GIB)})")


def kv_blocks(
    model: ModelSpec,
    gpu_memory_gib: float,
    *,
    reserve_gib: float,
    block_size: int = 16,
    utilisation: float = 0.9,
) -> int:
    """Return vLLM's num_gpu_blocks, null block included, of one GPU that holds the whole model.

    As vLLM: (memory * utilisation - weights - reserve) / bytes a block, rounded down; `reserve_gib`
    is what activations, CUDA graphs and libraries take. Differs: one number stands for vLLM's
    profiling run.

    Raises:
        ConfigError: a value out of range, or less than two blocks left.
    """
    _check_positive("gpu_memory_gib", gpu_memory_gib)
    if not 0 < utilisation <= 1:
        raise ConfigError(f"utilisation must be above 0 and at most 1, got {utilisation}")
    if not (math.isfinite(reserve_gib) and reserve_gib >= 0):
        raise ConfigError(f"reserve_gib must be finite and at least 0, got {reserve_gib}")
    weights_gib = model.weight_bytes / _GIB
    left_gib = gpu_memory_gib * utilisation - weights_gib - reserve_gib
    n_blocks = math.floor(left_gib * _GIB / _block_bytes(model, block_size))
    if n_blocks < 2:
        raise ConfigError(
            f"no room for KV blocks of {model.name}: {gpu_memory_gib:.4g} GiB * {utilisation:g} "
            f"- {weights_gib:.4g} GiB weights - {reserve_gib:.4g} GiB reserve = {left_gib:.4g} GiB;"
            " a larger GPU or a higher utilisation is needed"
        )
    return n_blocks


def blocks_from_gib(gib: float, model: ModelSpec, *, block_size: int = 16) -> int:
    """Return how many whole blocks `gib` holds.

    >>> from kvsim.calibration.models import model
    >>> blocks_from_gib(10, model("llama-3.1-8b"))
    5120

    Raises:
        ConfigError: a value out of range, or not one block fits.
    """
    _check_positive("gib", gib)
    block_bytes = _block_bytes(model, block_size)
    n_blocks = math.floor(gib * _GIB / block_bytes)
    if n_blocks < 1:
        raise ConfigError(
            f"{gib:g} GiB holds no block of {model.name}: "
            f"one of {block_size} tokens takes {block_bytes / _GIB:.4g} GiB"
        )
    return n_blocks


def _block_bytes(model: ModelSpec, block_size: int) -> int:
    if block_size < 1:
        raise ConfigError(f"block_size must be at least 1, got {block_size}")
    return block_size * model.kv_bytes_per_token


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{name} must be positive and finite, got {value}")
