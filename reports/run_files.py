"""Reads a run's or a comparison's directory for the report. Knows no figure and no HTML."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from ..sim import metrics
from . import series
from .columns import CACHE, GOODPUT, TIMES, Summary

REQUEST_TIMES = ("arrival_s", "first_scheduled_s", "first_token_s", "finish_s")
REQUEST_COLUMNS = (*REQUEST_TIMES, "output_tokens", "instance")
TIME_COLUMNS = ("time_s", "instance", *series.LEVELS, *series.CUMULATIVE)
REGRETS = ("regret_by_category", "regret_by_turn", "regret_by_depth", "regret_by_tier")
PAIRED = ("hit_ratio_tokens", "ttft_mean_s")
"""What runs of a comparison are compared by, with intervals."""
SPLITS = ("by_category", "by_turn", *REGRETS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Hit ratio over capacity, by policy."""

    block_size: int
    capacity_blocks: float | None
    """What the run had; None if unknown."""
    points: dict[str, list[tuple[float, float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run as a report needs it."""

    label: str
    """The policy or, if two runs share it, the run's name in the comparison."""
    summary: Summary
    manifest: dict[str, Any]
    ttft_s: series.Values
    tpot_s: series.Values
    queue_s: series.Values
    timeline: series.Timeline
    curve: Curve | None
    paired: dict[str, Any] | None = None
    """Differences to the first run of its size, in a comparison."""


def read_directory(directory: Path) -> list[Run]:
    """Return the runs in a directory: the one there, or those of a comparison in its order.

    Raises:
        ConfigError: a file is missing or is not what kvsim writes; names the file.
    """
    if not directory.is_dir():
        raise ConfigError(f"{directory}: no such directory")
    compare = directory / "compare.json"
    if not compare.exists():
        return [_read_run(directory, "")]
    index = _read_object(compare)
    names = index.get("runs")
    if not isinstance(names, list) or not names or not all(_is_entry(n) for n in names):
        raise ConfigError(f"{compare}: runs must be a list of names of subdirectories")
    paired = _paired(index.get("paired"), compare, len(names))
    runs = [
        replace(_read_run(directory / name, name), paired=found)
        for name, found in zip(names, paired, strict=True)
    ]
    policies = [str(run.summary.get("policy")) for run in runs]
    if len(set(policies)) < len(runs):
        return runs
    return [replace(run, label=policy) for run, policy in zip(runs, policies, strict=True)]


def _paired(value: object, path: Path, n_runs: int) -> list[dict[str, Any] | None]:
    """Return the differences of each run to its first one; None for those without."""
    if value is None:
        return [None] * n_runs
    if (
        not isinstance(value, list)
        or len(value) != n_runs
        or not all(v is None or isinstance(v, dict) for v in value)
    ):
        raise ConfigError(f"{path}: paired must be a list of an object or null a run")
    for found in filter(None, value):
        for key in PAIRED:
            interval = found.get(key)
            names = ("difference", "low", "high")
            if interval is not None and not (
                isinstance(interval, dict) and all(_is_number(interval.get(n)) for n in names)
            ):
                raise ConfigError(f"{path}: {key} must be null or difference, low and high")
    return list(value)


def _is_entry(name: object) -> bool:
    """Whether a name is that of an entry of a directory, and no way out of it."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set("/\\\0") & set(name)


def _read_run(directory: Path, label: str) -> Run:
    manifest = _read_object(directory / "manifest.json")
    summary = _read_object(directory / "summary.json")
    _check_summary(summary, directory / "summary.json")
    requests = _read_table(directory / "requests.parquet", REQUEST_COLUMNS)
    times = _read_table(directory / "timeseries.parquet", TIME_COLUMNS)
    done = _done(requests)
    curve = directory / "curve.json"
    return Run(
        label=label or str(summary.get("policy", "?")),
        summary=summary,
        manifest=manifest,
        ttft_s=metrics.ttft_s(done),
        tpot_s=metrics.tpot_s(done),
        queue_s=metrics.queue_s(done),
        timeline=series.timeline(times, requests),
        curve=_read_curve(curve) if curve.exists() else None,
    )


def _done(requests: dict[str, series.Values]) -> NDArray[Any]:
    """Return the rows of the finished requests, as the functions of `metrics` take them."""
    is_done = ~np.isnan(requests["finish_s"])
    done = np.empty(int(is_done.sum()), [(name, np.float64) for name in REQUEST_COLUMNS])
    for name in REQUEST_COLUMNS:
        done[name] = requests[name][is_done]
    return done


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON: {_first_line(error)}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: must hold a JSON object, got {type(value).__name__}")
    return value


def _read_table(path: Path, columns: tuple[str, ...]) -> dict[str, series.Values]:
    """Read columns of numbers; null is NaN."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in columns if name not in file.schema_arrow.names]
            if missing:
                raise ConfigError(f"{path}: has no column {missing[0]}")
            table = file.read(columns=list(columns))
        return {
            name: table[name].cast(pa.float64()).to_numpy().astype(np.float64) for name in columns
        }
    except OSError as error:
        reason = error.strerror or _first_line(error)
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
    except pa.ArrowException as error:
        raise ConfigError(f"{path}: not a table of kvsim: {_first_line(error)}") from None


def _check_summary(summary: dict[str, Any], path: Path) -> None:
    """Reject what a report would show wrongly; what is missing is shown as undefined."""
    for column in (*CACHE, *TIMES, GOODPUT):
        value: Any = summary
        for at, key in enumerate(column.keys):
            value = value.get(key)
            is_last = at == len(column.keys) - 1
            if value is None:
                break
            if not (_is_number(value) if is_last else isinstance(value, dict)):
                name = ".".join(column.keys[: at + 1])
                raise ConfigError(f"{path}: {name} must be a number or null, got {value!r:.50}")
    for key in SPLITS:
        rows = summary.get(key, [])
        if not isinstance(rows, list) or not all(isinstance(r, dict) and "name" in r for r in rows):
            raise ConfigError(f"{path}: {key} must be a list of objects with a name")


def _read_curve(path: Path) -> Curve:
    value = _read_object(path)
    points: dict[str, list[tuple[float, float]]] = {}
    for name, rows in value.items():
        if not isinstance(rows, list):
            continue
        if not all(isinstance(r, list) and len(r) == 2 and all(map(_is_number, r)) for r in rows):
            raise ConfigError(f"{path}: {name} must be a list of [blocks, hit ratio]")
        points[name] = [(float(blocks), float(ratio)) for blocks, ratio in rows if blocks > 0]
    capacity = value.get("capacity_blocks")
    block_size = value.get("block_size")
    if not isinstance(block_size, int):
        raise ConfigError(f"{path}: block_size must be a whole number, got {block_size!r:.50}")
    return Curve(
        block_size=block_size,
        capacity_blocks=float(capacity) if _is_number(capacity) and capacity > 0 else None,
        points=points,
    )


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
