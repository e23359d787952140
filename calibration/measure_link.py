"""Measure copies of KV blocks between a GPU and pinned host memory; needs torch and a GPU.

`python -m kvsim.calibration.measure_link` prints a row a case: contiguous copies, both ways at
once, a copy for each block and layer, and blocks put together on the GPU first.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

MIB = 1 << 20
N_LAYERS, BLOCK_TOKENS, KV_HEADS, HEAD_DIM, ELEMENT_BYTES = 32, 16, 8, 128, 2
PIECE_BYTES = BLOCK_TOKENS * KV_HEADS * HEAD_DIM * ELEMENT_BYTES
"""K or V of one block in one layer of Llama-3.1-8B."""


def measure() -> list[dict[str, Any]]:
    """Time all cases; medians of five.

    Raises:
        ImportError: torch is not installed.
        RuntimeError: there is no CUDA device.
    """
    import torch

    def seconds(run: Callable[[], object]) -> float:
        times_s = []
        for _ in range(5):
            torch.cuda.synchronize()
            start_s = time.perf_counter()
            run()
            torch.cuda.synchronize()
            times_s.append(time.perf_counter() - start_s)
        return statistics.median(times_s)

    def pair(shape: tuple[int, ...]) -> tuple[Any, Any]:
        host = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        return host, torch.empty(shape, dtype=torch.uint8, device="cuda")

    rows: list[dict[str, Any]] = []

    def add(kind: str, n_bytes: int, up: Callable[[], object], down: Callable[[], object]) -> None:
        up_s, down_s = seconds(up), seconds(down)
        rates = {"up_gb_per_s": n_bytes / up_s / 1e9, "down_gb_per_s": n_bytes / down_s / 1e9}
        rows.append({"kind": kind, "bytes": n_bytes, "up_s": up_s, "down_s": down_s, **rates})

    host, gpu = pair((1024 * MIB,))
    for n in (PIECE_BYTES, MIB // 2, 2 * MIB, 16 * MIB, 128 * MIB, 1024 * MIB):

        def contiguous(to: Any, source: Any, n: int = n) -> None:  # noqa: ANN401
            to[:n].copy_(source[:n], non_blocking=True)

        add("contiguous", n, partial(contiguous, gpu, host), partial(contiguous, host, gpu))
    n_pool = 512
    rng = np.random.default_rng(0)
    host, gpu = pair((2 * N_LAYERS, n_pool, PIECE_BYTES))
    for n in (1, 8, 64, 256):
        places = rng.permutation(n_pool)[: 2 * n].reshape(n, 2).tolist()

        def scattered(to: Any, source: Any, places: Any = places) -> None:  # noqa: ANN401
            for layer in range(2 * N_LAYERS):
                for a, b in places:
                    to[layer, b].copy_(source[layer, a], non_blocking=True)

        n_bytes = 2 * N_LAYERS * PIECE_BYTES * n
        add("scattered", n_bytes, partial(scattered, gpu, host), partial(scattered, host, gpu))
    for n in (8, 64, 256, 512):
        index = torch.randperm(n_pool, device="cuda")[:n]
        staged, stage = pair((2 * N_LAYERS, n, PIECE_BYTES))

        def up(index: Any = index, stage: Any = stage, staged: Any = staged) -> None:  # noqa: ANN401
            stage.copy_(staged, non_blocking=True)
            gpu.index_copy_(1, index, stage)

        def down(index: Any = index, stage: Any = stage, staged: Any = staged) -> None:  # noqa: ANN401
            torch.index_select(gpu, 1, index, out=stage)
            staged.copy_(stage, non_blocking=True)

        add("gathered", 2 * N_LAYERS * PIECE_BYTES * n, up, down)
    return rows


if __name__ == "__main__":
    for row in measure():
        sys.stdout.write(json.dumps(row) + "\n")
