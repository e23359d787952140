"""Reads ServeGen's client parameters, and draws the requests that they describe.

A client is a pair of files: `chunk-N-trace.csv` with a window a line (start s, requests/s, CV of
gaps, `Gamma` or `Weibull`, shape, scale), and beside it `chunk-N-dataset.json` with, for each
window of lengths, probabilities of input and output lengths. Either file stands for the client;
several are clients of one workload, and each is a category. There are no prefixes.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from ... import ConfigError, TraceError
from ..rows import LATEST_S, MOST_TOKENS, Rows, wrong
from .files import opened

_TRACE, _LENGTHS = "-trace.csv", "-dataset.json"
_LINE = re.compile(
    rb"[0-9.eE+]+,[0-9.eE+-]+,[0-9.eE+-]+,(Gamma|Weibull|),[0-9.eE+-]*,[0-9.eE+-]*\s"
)
_MOST_REQUESTS = 50_000_000


def sniff(start: bytes) -> bool:
    """Say whether a file that starts so may be of this format."""
    is_lengths = re.match(rb'\s*\{\s*"\d+"\s*:\s*\{\s*"(input|output)_tokens"', start) is not None
    return is_lengths or _LINE.match(start) is not None


def read(
    paths: Sequence[Path], *, start_s: float = 0.0, duration_s: float = 3600.0, seed: int = 0
) -> Rows:
    """Draw the requests of `duration_s` seconds from `start_s` of the clients' clock."""
    if not (0 <= start_s <= LATEST_S and 0 < duration_s <= LATEST_S):
        raise ConfigError(f"duration_s must be positive and finite, got {duration_s}")
    clients = list(dict.fromkeys(_client(path) for path in paths))
    found = []
    for number, client in enumerate(clients):
        rng = np.random.default_rng([seed, number])
        at_s = _arrivals(Path(f"{client}{_TRACE}"), start_s, start_s + duration_s, rng)
        input_tokens, output_tokens = _lengths(Path(f"{client}{_LENGTHS}"), at_s, rng)
        found.append((at_s - start_s, input_tokens, output_tokens))
    n = [len(at_s) for at_s, _, _ in found]
    if sum(n) == 0:
        told = f"none from {start_s:g} s to {start_s + duration_s:g} s"
        raise TraceError(f"{paths[0]}: a trace needs at least 1 request, got {told}")
    arrival_s, input_tokens, output_tokens = (
        np.concatenate(column) for column in zip(*found, strict=True)
    )
    names = tuple(Path(client).name for client in clients)
    order = sorted(range(len(names)), key=names.__getitem__)
    place = np.empty(len(names), np.int64)
    place[order] = np.arange(len(names))
    return Rows(
        paths=tuple(paths[:1]),
        starts=(0,),
        row=np.arange(sum(n)),
        line=np.concatenate([np.arange(1, k + 1) for k in n]),
        arrival_s=arrival_s,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        block_ids=np.zeros(0, np.int64),
        block_offsets=np.zeros(sum(n) + 1, np.int64),
        names_output=np.zeros(sum(n), np.bool_),
        category=np.repeat(place, n),
        category_names=tuple(names[i] for i in order),
        notes=(f"drawn from client parameters, {duration_s:g} s from {start_s:g} s (seed {seed})",),
    )


def _client(path: Path) -> str:
    for end in (_TRACE, _LENGTHS):
        if path.name.endswith(end):
            return str(path)[: -len(end)]
    raise TraceError(f"{path}: must be named CLIENT{_TRACE} or CLIENT{_LENGTHS}, with both there")


def _arrivals(
    path: Path, start_s: float, end_s: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw arrivals window by window: gaps of the window's family and shape, and of its rate."""
    windows = []
    with opened(path) as stream:
        for number, line in enumerate(stream, 1):
            parts = line.decode("utf-8", "replace").strip().split(",")
            where = f"{path}:{number}"
            if len(parts) != 6:
                raise wrong(where, "line", "start,rate,cv,family,shape,scale", ",".join(parts))
            at, rate, shape = (_number(parts[i] or "0", where) for i in (0, 1, 4))
            if rate and parts[3] not in ("Gamma", "Weibull"):
                raise wrong(where, "family", "Gamma or Weibull", parts[3])
            windows.append((at, rate, parts[3], shape))
    drawn = [np.zeros(0)]
    ends = [window[0] for window in windows[1:]] + [np.inf]
    for (at, rate, family, shape), until in zip(windows, ends, strict=True):
        low, high = max(at, start_s), min(until, end_s)
        if rate <= 0 or high <= low:
            continue
        n = rate * (high - low)
        if n > _MOST_REQUESTS or not 1e-3 < shape < 1e6:
            raise wrong(str(path), "rate and shape", "of a workload that can be drawn", rate)
        last = low
        while last < high:
            size = int(n) + 64
            if family == "Gamma":
                gaps = rng.gamma(shape, 1.0 / (rate * shape), size)
            else:
                gaps = rng.weibull(shape, size) / (rate * math.gamma(1.0 + 1.0 / shape))
            at_s = last + np.cumsum(gaps)
            last = float(at_s[-1])
            drawn.append(at_s[at_s < high])
    return np.concatenate(drawn)


def _lengths(
    path: Path, at_s: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw lengths from the distributions of each arrival's window."""
    with opened(path) as stream:
        try:
            tables = orjson.loads(stream.read())
        except orjson.JSONDecodeError as error:
            raise TraceError(f"{path}: not JSON: {error}") from None
    if type(tables) is not dict or not tables:
        raise wrong(str(path), "windows", "a JSON object by start in s", tables)
    try:
        starts = np.array(sorted(int(key) for key in tables))
    except ValueError:
        raise wrong(str(path), "windows", "named by whole seconds", next(iter(tables))) from None
    window = np.maximum(np.searchsorted(starts, at_s, side="right") - 1, 0)
    columns = {name: np.zeros(len(at_s), np.int64) for name in ("input_tokens", "output_tokens")}
    for number in np.unique(window).tolist():
        here = np.flatnonzero(window == number)
        table = tables[str(starts[number])]
        for name, column in columns.items():
            told = table.get(name) if type(table) is dict else None
            values, weights = _distribution(told, f"{path}: window {starts[number]}", name)
            if len(values):
                column[here] = rng.choice(values, len(here), p=weights)
    return columns["input_tokens"], columns["output_tokens"]


def _distribution(
    told: Any,  # noqa: ANN401
    where: str,
    name: str,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    must = "a text like {322: 0.5, 406: 0.5}, of lengths and probabilities"
    try:
        table = ast.literal_eval(told)
        values = np.array(list(table), np.int64)
        weights = np.array(list(table.values()), np.float64)
        if any(type(x) is not int for x in table):
            raise ValueError
    except (
        ValueError,
        TypeError,
        SyntaxError,
        AttributeError,
        OverflowError,
        MemoryError,
        RecursionError,
    ):
        raise wrong(where, name, must, told) from None
    bad = len(values) and (values.min() < 0 or values.max() > MOST_TOKENS or not weights.min() >= 0)
    if bad or (len(values) and not 0 < weights.sum() < np.inf):
        raise wrong(where, name, must, told)
    return values, weights / weights.sum() if len(values) else weights


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= LATEST_S:
        raise wrong(where, "line", "of numbers that are not negative", text)
    return value
