"""Reads the steps that a real engine recorded, as features and seconds. Knows no formula."""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import TraceError

_NEEDED = (
    "step_start_s",
    "step_end_s",
    "prefill_tokens",
    "decode_seqs",
    "context_tokens",
    "num_reqs",
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepLog:
    """The steps of one run whose features are all known."""

    name: str
    features: NDArray[np.float64]
    """(n_steps, 6): columns in the order of `StepFeatures`."""
    seconds: NDArray[np.float64]
    """(n_steps,): the whole step as the engine's loop sees it, scheduling included."""
    n_left_out: int
    """Steps whose prefill attention could not be told."""


def read_steps(path: Path) -> StepLog:
    """Read NAME_step.csv.gz, with the requests of NAME_req.csv.gz where prefills need them.

    A log without `prefill_attention_pairs` tells a prefill's context only as a sum with the
    decodes'. There the decodes' context is counted from the requests (prompt, and one token a step
    from the first token to the finish), which is within 0.1 % where both are known; steps with
    several prefills, or where a preemption spoils the count, are left out.

    Raises:
        TraceError: the file cannot be read, or lacks a column.
    """
    step = _columns(path, _NEEDED)
    end_s = step["step_end_s"]
    seconds = end_s - step["step_start_s"]
    prefill_seqs = step["num_reqs"] - step["decode_seqs"]
    if "prefill_attention_pairs" in step:
        decode_context = step["context_tokens"] - step["prefill_context_tokens"]
        pairs = step["prefill_attention_pairs"]
        is_known = np.ones(len(seconds), dtype=np.bool_)
    else:
        n_decoding, counted = _decodes(_request_path(path), end_s)
        decode_context = np.where(prefill_seqs == 0, step["context_tokens"], counted)
        n = step["prefill_tokens"]
        computed = step["context_tokens"] - decode_context - n
        pairs = n * (computed + (n + 1) / 2)
        is_single = (prefill_seqs == 1) & (n_decoding == step["decode_seqs"]) & (computed >= 0)
        is_known = (prefill_seqs == 0) | is_single
    columns = (
        step["prefill_tokens"],
        prefill_seqs,
        step["decode_seqs"],
        step["context_tokens"],
        decode_context,
        pairs,
    )
    return StepLog(
        name=path.name.removesuffix(".gz").removesuffix(".csv").removesuffix("_step"),
        features=np.ascontiguousarray(np.stack(columns, axis=1)[is_known]),
        seconds=seconds[is_known],
        n_left_out=int((~is_known).sum()),
    )


def _request_path(step_path: Path) -> Path:
    return step_path.with_name(step_path.name.replace("_step.csv", "_req.csv"))


def _decodes(path: Path, end_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return, a step, how many requests decode and the sum of their C + n."""
    request = _columns(path, ("first_token_s", "finish_s", "input_tokens"))
    n_decoding, context = np.zeros(len(end_s)), np.zeros(len(end_s))
    # A stamp is the end of a step, rounded in the step's file to 1e-6 s.
    first = np.searchsorted(end_s, request["first_token_s"] - 2e-6)
    last = np.searchsorted(end_s, request["finish_s"] - 2e-6)
    for i in np.flatnonzero(~np.isnan(request["first_token_s"])):
        steps = np.arange(first[i] + 1, min(last[i] + 1, len(end_s)))
        n_decoding[steps] += 1
        context[steps] += request["input_tokens"][i] + 1 + np.arange(len(steps))
    return n_decoding, context


def _columns(path: Path, needed: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
    """Return the file's columns; an empty field is not a number."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror or error}") from None
    if not rows:
        raise TraceError(f"{path}: must hold at least one row")
    for name in needed:
        if name not in rows[0]:
            raise TraceError(f"{path}: column {name} is missing (found: {', '.join(rows[0])})")
    columns = {}
    for name in rows[0]:
        try:
            columns[name] = np.array([float(row[name] or "nan") for row in rows])
        except ValueError as error:
            raise TraceError(f"{path}: column {name}: {error}") from None
    return columns
