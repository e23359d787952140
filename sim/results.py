"""What a run leaves: request table, time series, summary, manifest; written as a whole or not."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import OutputError, __version__
from ..traces.schema import Trace
from . import metrics
from .config import RunConfig
from .records import FINISHED, REJECTED, SAMPLE_FIELDS
from .state import Cluster
from .tier_setup import TIER_NAMES
from .tiers import BLOCK_BYTES, RING

Summary = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """One finished run."""

    manifest: dict[str, Any]
    summary: Summary
    requests: dict[str, NDArray[Any]]
    """Columns of requests.parquet, a row a request in trace order."""
    timeseries: dict[str, NDArray[Any]]
    """Columns of timeseries.parquet, an instance after the other at each time."""
    curve: dict[str, Any] | None = None
    """Hit ratio over capacity, for the report."""


def request_table(trace: Trace, requests: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the columns of requests.parquet."""
    status = np.where(requests["status"] == REJECTED, "rejected", "finished")
    names = np.array(trace.category_names)
    table: dict[str, NDArray[Any]] = {"request_id": trace.request_id}
    for name in (
        "arrival_s",
        "first_scheduled_s",
        "first_token_s",
        "finish_s",
        "input_tokens",
        "output_tokens",
        "cached_tokens",
        "peer_tokens",
        "host_tokens",
        "disk_tokens",
        "in_time_tokens",
        "late_tokens",
        "recached_tokens",
        "prefill_tokens",
        "preemptions",
        "instance",
    ):
        table[name] = np.ascontiguousarray(requests[name])
    table |= {
        "status": status,
        "turn": trace.turn,
        "session": trace.session,
        "category": names[trace.category],
    }
    return table


def time_table(cluster: Cluster) -> dict[str, NDArray[Any]]:
    """Return the columns of timeseries.parquet: NaN where an instance began no step."""
    samples = cluster.samples
    used = ~np.isnan(samples[:, :, 0]).all(axis=1)
    n = int(np.flatnonzero(used)[-1]) + 1 if used.any() else 0
    n_instances = samples.shape[1]
    every_s = float(cluster.sample_every_s[0])
    table = {
        "time_s": np.repeat(np.arange(n) * every_s, n_instances),
        "instance": np.tile(np.arange(n_instances), n),
    }
    for f, name in enumerate(SAMPLE_FIELDS):
        table[name] = samples[:n, :, f].reshape(-1)
    return table


def summarise(
    trace: Trace, cluster: Cluster, *, category: NDArray[np.int32], category_names: tuple[str, ...]
) -> Summary:
    """Return what can be said from the final state; see docs/metrics.md for each entry."""
    requests = cluster.requests
    instances = cluster.instances
    is_done = requests["status"] == FINISHED
    done = requests if is_done.all() else requests[is_done]
    start_s = float(done["arrival_s"].min()) if len(done) else 0.0
    end_s = float(done["finish_s"].max()) if len(done) else 0.0
    duration_s = end_s - start_s
    lookup_tokens = int(instances["lookup_tokens"].sum())
    hit_tokens = int(instances["hit_tokens"].sum())
    tiers = _tiers(cluster)
    below = {
        name: int(requests[f"{name}_tokens"].sum(dtype=np.int64))
        for name in TIER_NAMES
        if name in tiers
    }
    early = {
        name: int(requests[f"{name}_tokens"].sum(dtype=np.int64)) for name in ("in_time", "late")
    }
    block_bytes = int(cluster.links[BLOCK_BYTES])
    lookup_blocks = int(instances["lookup_blocks"].sum())
    output_tokens = int(instances["output_tokens"].sum())
    busy_s = float(instances["busy_s"].sum())
    turn, turn_names = turns(trace, category, category_names)
    return {
        "trace": trace.name,
        "requests": len(trace),
        "finished": len(done),
        "rejected": int((requests["status"] == REJECTED).sum()),
        "dropped": dict(trace.dropped),
        "duration_s": duration_s,
        "hit_ratio_tokens": _ratio(hit_tokens, lookup_tokens),
        "hit_ratio_blocks": _ratio(int(instances["hit_blocks"].sum()), lookup_blocks),
        "hit_tokens": hit_tokens,
        "lookup_tokens": lookup_tokens,
        "hits_per_tier": {"gpu": hit_tokens - sum(below.values()), **below},
        "lookup_split_tokens": {
            "gpu": hit_tokens - sum(below.values()),
            **early,
            "on_demand": sum(below.values()) - sum(early.values()),
            "miss": lookup_tokens - hit_tokens,
        },
        "recached_tokens": int(requests["recached_tokens"].sum()),
        "evictions": int(cluster.pools["evictions"].sum()),
        "orphaned_blocks": int(cluster.pools["orphaned"].sum()),
        "preemptions": int(instances["preemptions"].sum()),
        "transfer_bytes": {
            "host_to_gpu": int(instances["up_blocks"].sum()) * block_bytes,
            "gpu_to_host": int(instances["down_blocks"].sum()) * block_bytes,
            **_own_transfers(cluster, block_bytes),
        },
        "tiers": tiers,
        "promotions": {
            name: int(instances[f"{name}_blocks"].sum())
            for name in ("promoted", "in_time", "late", "useless")
        },
        "ttft_s": metrics.spread(metrics.ttft_s(done)),
        "tpot_s": metrics.spread(metrics.tpot_s(done)),
        "e2e_s": metrics.spread(metrics.e2e_s(done)),
        "queue_s": metrics.spread(metrics.queue_s(done)),
        "input_tokens": int(done["input_tokens"].sum()),
        "output_tokens": output_tokens,
        "prefill_tokens": int(instances["prefill_tokens"].sum()),
        "decode_tokens": int(instances["decode_tokens"].sum()),
        "context_tokens": int(instances["context_tokens"].sum()),
        "throughput_tokens_per_s": _ratio(output_tokens, duration_s),
        "utilisation": _ratio(busy_s, duration_s * len(instances)),
        "busy_s": busy_s,
        "steps": int(instances["steps"].sum()),
        "by_category": _split(done, trace.category[is_done], list(trace.category_names)),
        "by_turn": _split(done, turn[is_done], turn_names),
    }


def _own_transfers(cluster: Cluster, block_bytes: int) -> dict[str, int]:
    """Bytes over the links of the tiers' own, each way."""
    n = len(cluster.instances)
    moved = {}
    for name, number in TIER_NAMES.items():
        own = cluster.tiers[number * n : (number + 1) * n]
        if own["n_blocks"].any() and own["up_s"].any():
            moved[f"from_{name}"] = int(own["n_loaded"].sum()) * block_bytes
            moved[f"to_{name}"] = int(own["n_stored"].sum()) * block_bytes
    return moved


def _tiers(cluster: Cluster) -> dict[str, dict[str, int]]:
    """What each tier below the GPU did, in blocks."""
    n = len(cluster.instances)
    counts = ("stored", "kept", "loaded", "evicted", "refused", "unloaded")
    return {
        name: {count: int(own[f"n_{count}"].sum()) for count in counts}
        for name, number in {**TIER_NAMES, "ring": RING}.items()
        if (own := cluster.tiers[number * n : (number + 1) * n])["n_blocks"].any()
    }


def turns(
    trace: Trace, category: NDArray[np.int32], category_names: tuple[str, ...]
) -> tuple[NDArray[np.int32], list[str]]:
    """Return the turn of each request, numbered from 0 and capped, and what turns are called."""
    n_turns = len(category_names) // len(trace.category_names)
    return category % n_turns, [name.rpartition("-")[2] for name in category_names[:n_turns]]


def _split(done: NDArray[Any], code: NDArray[Any], names: list[str]) -> list[dict[str, Any]]:
    rows = []
    input_tokens = np.ascontiguousarray(done["input_tokens"])
    cached_tokens = np.ascontiguousarray(done["cached_tokens"])
    for number, name in enumerate(names):
        is_mine = code == number
        n = int(np.count_nonzero(is_mine))
        lookups = int(input_tokens[is_mine].sum(dtype=np.int64))
        hits = int(cached_tokens[is_mine].sum(dtype=np.int64))
        if n:
            rows.append(
                {
                    "name": name,
                    "requests": n,
                    "lookup_tokens": lookups,
                    "hit_tokens": hits,
                    "hit_ratio_tokens": _ratio(hits, lookups),
                }
            )
    return rows


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def manifest(
    config: RunConfig, *, trace: Trace, digest: str, profile: dict[str, str]
) -> dict[str, Any]:
    """Return what a run can be repeated from."""
    return {
        "kvsim": __version__,
        "config": dataclasses.asdict(config),
        "seed": config.seed,
        "trace": {
            "name": trace.name,
            "digest": digest,
            "requests": len(trace),
            "block_size": trace.block_size,
            "sessions": str(trace.sessions),
        },
        "profile": profile,
    }


class OutputDirectory:
    """A directory that appears complete or not at all.

    Used as a context manager: results are written under `path`, a temporary sibling, which is
    moved into place when the block ends well. An earlier result is replaced only if asked, and
    only then.
    """

    def __init__(self, target: Path, *, overwrite: bool = False) -> None:
        """Check that the target can be made.

        Raises:
            OutputError: it exists and is not empty, or cannot be made.
        """
        self._target = target
        if target.exists() and not target.is_dir():
            raise OutputError(f"{target}: --out must be a directory, this is a file")
        if target.is_dir() and any(target.iterdir()):
            if not overwrite:
                raise OutputError(
                    f"{target}: already holds files; choose another --out, or pass --overwrite"
                )
            if not (target / "manifest.json").exists() and not (target / "compare.json").exists():
                raise OutputError(
                    f"{target}: --overwrite replaces kvsim results only, and this holds none"
                )
        self.path = target.with_name(f".{target.name}.part-{os.getpid()}")
        try:
            self.path.mkdir(parents=True)
        except OSError as error:
            raise OutputError(f"{target}: cannot be written: {error.strerror}") from None

    def __enter__(self) -> OutputDirectory:
        return self

    def __exit__(self, kind: object, value: object, traceback: object) -> None:
        if kind is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            return
        try:
            if self._target.exists():
                old = self._target.with_name(f".{self._target.name}.old-{os.getpid()}")
                self._target.rename(old)
                self.path.rename(self._target)
                shutil.rmtree(old)
            else:
                self.path.rename(self._target)
        except OSError as error:
            raise OutputError(f"{self._target}: cannot be written: {error.strerror}") from None


def write_run(result: RunResult, directory: Path) -> None:
    """Write the files of a run into an existing directory.

    Raises:
        OutputError: a file cannot be written.
    """
    try:
        _write_json(directory / "manifest.json", result.manifest)
        _write_table(directory / "requests.parquet", result.requests)
        _write_table(directory / "timeseries.parquet", result.timeseries)
        if result.curve is not None:
            _write_json(directory / "curve.json", result.curve)
        _write_json(directory / "summary.json", result.summary)
    except OSError as error:
        raise OutputError(f"{directory}: cannot be written: {error.strerror}") from None


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _write_table(path: Path, columns: dict[str, NDArray[Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {
        name: pa.array(column, from_pandas=column.dtype.kind == "f")
        for name, column in columns.items()
    }
    pq.write_table(pa.table(arrays), path, compression="zstd")
