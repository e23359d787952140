"""Block ids of outputs, taken from the prompts of the turns that follow. Knows no file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..kernels import kernel
from .gather import leading
from .rows import Rows


def with_outputs_of_children(rows: Rows, size: int) -> Rows:
    """Let each request's ids, of `size`-token blocks, go on into an output that a child repeats.

    A child's prompt holds its parent's prompt, output and then new text. It shows the output if
    it is long enough for all of it and has the same blocks up to the parent's last, which may
    differ: there the output's first tokens follow. The first such child counts, and gives full
    blocks only, the last sampled token left out. Where a child dropped part of the output, as it
    does with a model's reasoning, it is too short or differs, and nothing is added.
    """
    assert rows.parent is not None
    n_ids = np.diff(rows.block_offsets)
    whole = rows.input_tokens + rows.output_tokens
    child = np.full(len(n_ids), -1, np.int64)
    n_new = n_ids.copy()
    _find_children(
        rows.block_ids,
        rows.block_offsets,
        rows.parent,
        rows.input_tokens,
        whole,
        size,
        child,
        n_new,
    )
    offsets = np.concatenate([[0], np.cumsum(n_new)])
    shown_by = np.where(child >= 0, child, np.arange(len(child)))
    ids = leading(rows.block_ids, rows.block_offsets, shown_by, offsets)
    prompt_tokens = np.minimum(rows.input_tokens, n_ids * size)
    covered = np.where(child >= 0, np.maximum(n_new * size, 0), prompt_tokens)
    return replace(
        rows,
        block_ids=ids,
        block_offsets=offsets,
        names_output=child >= 0,
        covered_tokens=np.minimum(covered, whole),
        block_size=size,
    )


@kernel
def _find_children(
    ids: NDArray[np.int64],
    offsets: NDArray[np.int64],
    parent: NDArray[np.int64],
    input_tokens: NDArray[np.int64],
    whole_tokens: NDArray[np.int64],
    size: int,
    child: NDArray[np.int64],
    n_new: NDArray[np.int64],
) -> None:
    """Set the child that shows each request's output (-1: none) and the number of ids then."""
    for row in range(parent.size):
        up = parent[row]
        if up < 0 or child[up] >= 0 or input_tokens[row] < whole_tokens[up]:
            continue
        start, n = offsets[up], offsets[up + 1] - offsets[up]
        start_here, n_here = offsets[row], offsets[row + 1] - offsets[row]
        shared = 0
        while shared < min(n, n_here) and ids[start + shared] == ids[start_here + shared]:
            shared += 1
        full = (whole_tokens[up] - 1) // size
        if shared >= n - 1 and full >= n and n_here >= full and n > 0:
            child[up] = row
            n_new[up] = full
