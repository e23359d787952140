"""Reads results of `vllm bench serve` and of SGLang's `bench_serving`: the requests that were sent.

One JSON object a run (vLLM: a file each; SGLang: a line each), with lists `input_lens`,
`output_lens`, `ttfts` and `itls` (s); `start_times` (s) in newer versions. SGLang writes the lists
with --output-details only, vLLM with --save-detailed. Where there are no start times, arrivals are
drawn at the run's `request_rate`, as the benchmark drew them, or all at 0 if that is infinite.
Failed requests have no output. There are no prefixes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import TraceError
from ..rows import LATEST_S, MOST_TOKENS, Rows, wrong
from .json_documents import json_values

_MARKS = (b'"request_throughput"', b'"total_input_tokens"', b'"input_lens"')


def sniff(start: bytes) -> bool:
    """Say whether a file that starts so may be of this format."""
    return start.lstrip().startswith(b"{") and any(mark in start for mark in _MARKS)


def read(paths: Sequence[Path], *, seed: int = 0) -> Rows:
    """Read runs as parts of one trace, each starting when the last one has ended."""
    parts: list[dict[str, NDArray[Any]]] = []
    starts, notes, end_s = [], [], 0.0
    for path in paths:
        starts.append(sum(len(part["arrival_s"]) for part in parts))
        for number, run in enumerate(json_values(path), 1):
            where = f"{path}:{number}"
            if type(run) is not dict or "input_lens" not in run:
                must = "a list (vLLM: --save-detailed, SGLang: --output-details)"
                raise wrong(where, "input_lens", must, None)
            part = _requests(run, where)
            n = len(part["input_lens"])
            if "arrival_s" not in part:
                part["arrival_s"] = _drawn(run, n, np.random.default_rng([seed, len(parts)]))
                notes.append("the file has no start times: drawn at the run's request rate")
            part["arrival_s"] = part["arrival_s"] - part["arrival_s"].min(initial=LATEST_S) + end_s
            part["line"] = np.full(n, number)
            took_s = np.nan_to_num(part["recorded_e2e_s"])
            end_s = float((part["arrival_s"] + took_s).max(initial=end_s))
            parts.append(part)
    n = sum(len(part["arrival_s"]) for part in parts)
    if n == 0:
        raise TraceError(f"{paths[0]}: a trace needs at least 1 request, got none")
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Rows(
        paths=tuple(paths),
        starts=tuple(starts),
        row=np.arange(n),
        line=whole["line"],
        arrival_s=whole["arrival_s"],
        input_tokens=whole["input_lens"],
        output_tokens=whole["output_lens"],
        block_ids=np.zeros(0, np.int64),
        block_offsets=np.zeros(n + 1, np.int64),
        names_output=np.zeros(n, np.bool_),
        recorded_e2e_s=whole["recorded_e2e_s"],
        notes=tuple(dict.fromkeys(notes)),
    )


def _requests(run: dict[str, Any], where: str) -> dict[str, NDArray[Any]]:
    """Return a run's lists as arrays."""
    found: dict[str, NDArray[Any]] = {}
    n = None
    for name in ("input_lens", "output_lens", "start_times", "ttfts", "itls"):
        values = run.get(name)
        if values is None and name not in ("input_lens", "output_lens"):
            continue
        if type(values) is not list or (n is not None and len(values) != n):
            must = "a list" if n is None else f"a list of {n} values, as input_lens"
            raise wrong(where, name, must, values)
        n = len(values)
        if name == "itls":
            values = [sum(gaps) if _are_seconds(gaps) else None for gaps in values]
        kinds, high = ((int,), MOST_TOKENS) if name.endswith("_lens") else ((int, float), LATEST_S)
        for i, value in enumerate(values):
            if type(value) not in kinds or not 0 <= value <= high:
                what = "an integer" if kinds == (int,) else "a number"
                raise wrong(where, f"{name}[{i}]", f"{what} from 0 to {high:g}", value)
        found[name] = np.array(values, np.int64 if name.endswith("_lens") else np.float64)
    took_s = found.get("ttfts", np.full(n or 0, np.nan)) + found.pop("itls", np.nan)
    found.pop("ttfts", None)
    if "start_times" in found:
        found["arrival_s"] = found.pop("start_times")
    return found | {"recorded_e2e_s": took_s}


def _are_seconds(values: object) -> bool:
    return type(values) is list and all(type(value) in (int, float) for value in values)


def _drawn(run: dict[str, Any], n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw arrivals as the benchmarks do: gaps of a gamma distribution, `burstiness` its shape."""
    rate_per_s: Any = run.get("request_rate")
    shape: Any = run.get("burstiness", 1.0)
    if type(rate_per_s) not in (int, float) or not 0 < rate_per_s < 1e9:
        return np.zeros(n)
    if type(shape) not in (int, float) or not 0 < shape < 1e9:
        shape = 1.0
    return np.cumsum(rng.gamma(shape, 1.0 / (rate_per_s * shape), n))
