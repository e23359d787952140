"""How much memory the ideal hit ratio takes, by model: the least that suffices if all is known.

A clairvoyant cache keeps a block from a use until its next and drops what is not used again, so
it needs room for the blocks that are live at once. That is as many tokens for any model; their
bytes, and the memory that a serving instance leaves for KV, are the model's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from ..calibration.capacity import gpu_memory_gib, kv_blocks
from ..calibration.models import MODELS, ModelSpec
from ..traces.schema import Trace

GIB = 2**30
GPU = "h100"
TENSOR_FLOPS_PER_S = 989.4e12
"""Dense bf16 arithmetic of an H100 SXM, from NVIDIA's data sheet."""
MEMORY_BYTES_PER_S = 3.35e12
"""Its memory bandwidth, likewise."""
ARITHMETIC_SHARE = 0.5
"""Of the peak that prefill reaches: an assumption, with room to 0.4 .. 0.6 of real engines."""
KV_SHARE = 0.2
"""An instance has the fewest GPUs that leave this share of their memory to KV."""
RESERVE_GIB = 4.0
"""Activations, graphs and libraries, each GPU: an assumption."""
MOST_GPUS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCapacity:
    """What one model would need on a trace."""

    model: str
    kv_bytes_per_token: int
    peak_live_gib: float
    """KV of the most blocks that are live at once."""
    gpus: int
    """GPUs of an instance."""
    kv_gib: float
    """Memory that an instance has for KV."""
    instances: int
    """Fewest instances whose arithmetic and bandwidth suffice for the trace's mean load."""
    times_kv_memory: float
    """Peak live KV over the KV memory of these instances."""
    times_one_instance: float
    """Peak live KV over the KV memory of one."""


def live_capacities(
    trace: Trace, peak_live_blocks: int, block_size: int, hit_tokens: int
) -> list[LiveCapacity]:
    """Tabulate the shipped models on GPUs of one kind; one that fits on none is left out.

    `hit_tokens` are the prompt tokens that need no prefill. The fewest instances follow from a
    bound: prefill at a share of the arithmetic peak, and decoding at the bandwidth of memory,
    each sequence's KV read once a token and the weights not counted, as if batches were endless.
    """
    duration_s = float(trace.arrival_s[-1] - trace.arrival_s[0])
    rows = []
    for spec in MODELS.values():
        found = _instance(spec)
        if found is None:
            continue
        n_gpus, kv_gib = found
        busy_s = _work_s(trace, spec, hit_tokens, n_gpus)
        instances = max(1, math.ceil(busy_s / duration_s)) if duration_s > 0 else 1
        live_gib = peak_live_blocks * block_size * spec.kv_bytes_per_token / GIB
        rows.append(
            LiveCapacity(
                model=spec.name,
                kv_bytes_per_token=spec.kv_bytes_per_token,
                peak_live_gib=live_gib,
                gpus=n_gpus,
                kv_gib=kv_gib,
                instances=instances,
                times_kv_memory=live_gib / (instances * kv_gib),
                times_one_instance=live_gib / kv_gib,
            )
        )
    return rows


def _instance(spec: ModelSpec) -> tuple[int, float] | None:
    """Return the GPUs of an instance and its memory for KV, GiB."""
    n_gpus = 1
    while n_gpus <= MOST_GPUS:
        memory_gib = n_gpus * gpu_memory_gib(GPU)
        try:
            n_blocks = kv_blocks(spec, memory_gib, reserve_gib=n_gpus * RESERVE_GIB, block_size=1)
        except ConfigError:  # not even the weights fit
            n_blocks = 0
        kv_gib = n_blocks * spec.kv_bytes_per_token / GIB
        if kv_gib >= KV_SHARE * memory_gib:
            return n_gpus, kv_gib
        n_gpus *= 2
    return None


def _work_s(trace: Trace, spec: ModelSpec, hit_tokens: int, n_gpus: int) -> float:
    """Seconds that an instance needs at least for the whole trace."""
    prompt = trace.input_tokens.astype(np.float64)
    output = trace.output_tokens.astype(np.float64)
    computed = max(float(prompt.sum()) - hit_tokens, 0.0)
    pairs = _pairs(prompt) * computed / max(float(prompt.sum()), 1.0)
    flops = computed * spec.flops_per_token + pairs * spec.attention_flops_per_pair
    read_bytes = float((output * (prompt + output / 2)).sum()) * spec.kv_bytes_per_token
    prefill_s = flops / (ARITHMETIC_SHARE * TENSOR_FLOPS_PER_S * n_gpus)
    return prefill_s + read_bytes / (MEMORY_BYTES_PER_S * n_gpus)


def _pairs(prompt: NDArray[np.float64]) -> float:
    """Query-key pairs of all prompts computed whole; a share of them is taken for hits."""
    return float((prompt * (prompt + 1) / 2).sum())
