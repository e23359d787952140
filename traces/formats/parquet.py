"""Reads Parquet with one row a request: kvsim's own, and others with columns of known names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ... import TraceError
from ..rows import LATEST_S, MILLISECONDS, MOST_TOKENS, NAMES, WHOLE_IDS, Rows, wrong
from ..schema import Sessions

if TYPE_CHECKING:
    import pyarrow.parquet as pq

FORMAT_VERSION = 1
_BATCH_ROWS = 1 << 12
_NAMES = {
    **NAMES,
    "parent": ("parent_id",),
    "covered_tokens": ("covered_tokens",),
    "recorded_e2e_s": ("recorded_e2e_s",),
}
_REQUIRED = ("arrival_s", "input_tokens", "output_tokens", "block_ids")


def sniff(start: bytes) -> bool:
    """Say whether a file that starts so may be of this format."""
    return start.startswith(b"PAR1")


def read(paths: Sequence[Path]) -> Rows:
    """Read files as consecutive parts of one trace; a session stays within its file."""
    import pyarrow as pa

    from ..join import joined

    parts = [_read_one(path) for path in paths]
    pa.default_memory_pool().release_unused()  # what decoding took, for what comes next
    return joined(parts)


def _read_one(path: Path) -> Rows:
    import pyarrow.parquet as pq

    from .parquet_columns import Columns

    with _intact(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        name_of = _name_of(path, file.schema_arrow.names)
        told = _told(path, dict(file.schema_arrow.metadata or {}))
        flat = [name for column, name in name_of.items() if column != "block_ids"]
        columns = Columns(path, file.read(columns=flat), name_of)
        n = columns.table.num_rows
        ids, offsets = _read_ids(path, file, name_of["block_ids"], n)
        if len(offsets) != n + 1:
            raise ValueError("columns differ in length")
        per_s = 1000.0 if name_of["arrival_s"] == MILLISECONDS else 1.0
        arrival = columns.numbers("arrival_s", low=0, high=LATEST_S * per_s)
        category, category_names = columns.categories(told.category_names)
        has_sessions = told.sessions is not Sessions.NONE
        return Rows(
            paths=(path,),
            starts=(0,),
            row=np.arange(n),
            line=np.arange(1, n + 1),
            arrival_s=arrival / per_s,
            input_tokens=columns.integers("input_tokens", low=0, high=MOST_TOKENS),
            output_tokens=columns.integers("output_tokens", low=0, high=MOST_TOKENS),
            block_ids=ids,
            block_offsets=offsets,
            names_output=np.full(n, name_of["block_ids"] == WHOLE_IDS),
            covered_tokens=columns.covered_tokens(),
            request_id=columns.names("request_id"),
            session=columns.codes("session") if has_sessions else None,
            parent=columns.parents() if has_sessions else None,
            turn=columns.optional_integers("turn", low=1) if has_sessions else None,
            category=category,
            category_names=category_names,
            think_s=columns.optional_seconds("think_s"),
            recorded_e2e_s=columns.optional_seconds("recorded_e2e_s"),
            block_size=told.block_size,
            says_chained=told.says_chained,
            sessions=told.sessions,
            name=told.name,
            dropped=told.dropped,
            notes=told.notes,
        )


@contextmanager
def _intact(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file makes of the Parquet library into one line."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError, MemoryError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise TraceError(f"{path}: must be intact Parquet: {reason}") from None


def _name_of(path: Path, names: list[str]) -> dict[str, str]:
    """Find which column of the file each column of a trace is."""
    found = {
        column: name
        for column, known in _NAMES.items()
        if (name := next((name for name in known if names.count(name) == 1), None))
    }
    for column in _REQUIRED:
        if column not in found:
            columns = ", ".join(names)[:200]
            raise TraceError(f"{path}: {_NAMES[column][0]} must be a column, got {columns}")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What the file says of itself."""

    block_size: int | None = None
    says_chained: bool = False
    sessions: Sessions = Sessions.GIVEN
    name: str | None = None
    dropped: dict[str, int] = field(default_factory=dict)
    category_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _told(path: Path, metadata: dict[bytes, bytes]) -> _Told:
    if b"format_version" not in metadata:
        return _Told()
    texts = {key.decode(): value.decode() for key, value in metadata.items()}
    if texts["format_version"] != str(FORMAT_VERSION):
        raise wrong(str(path), "format_version", str(FORMAT_VERSION), texts["format_version"])
    dropped, names = json.loads(texts["dropped"]), json.loads(texts["category_names"])
    if type(dropped) is not dict or any(type(n) is not int or n < 1 for n in dropped.values()):
        raise wrong(str(path), "dropped", "counts by reason", dropped)
    if type(names) is not list or any(type(name) is not str for name in names):
        raise wrong(str(path), "category_names", "a list of strings", names)
    notes = json.loads(texts.get("notes", "[]"))
    if type(notes) is not list or any(type(note) is not str for note in notes):
        raise wrong(str(path), "notes", "a list of strings", notes)
    return _Told(
        block_size=int(texts["block_size"]),
        says_chained=texts["chained"] == "true",
        sessions=Sessions(texts["sessions"]),
        name=texts["name"],
        dropped=dropped,
        category_names=tuple(names),
        notes=tuple(notes),
    )


def _read_ids(
    path: Path, file: pq.ParquetFile, name: str, n_all: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Read all lists into one array, batch by batch: never two copies of all `n_all` rows' ids."""
    import pyarrow as pa

    kind = file.schema_arrow.field(name).type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if not is_list or not pa.types.is_integer(kind.value_type):
        raise wrong(str(path), name, "a column of lists of integers", str(kind))
    ids = np.empty(0, np.int64)
    lengths = [np.zeros(1, np.int64)]
    n_rows = n_ids = 0
    for batch in file.iter_batches(_BATCH_ROWS, columns=[name]):
        lists = batch.column(0)
        lists.validate(full=True)
        values = lists.flatten()
        if lists.null_count or values.null_count:
            bad = next(i for i, row in enumerate(lists.to_pylist()) if row is None or None in row)
            raise wrong(f"{path}:{n_rows + bad + 1}", name, "a list of integers", None)
        n_rows, start, n_ids = n_rows + len(lists), n_ids, n_ids + len(values)
        if n_ids > len(ids):
            # In place, and to what all rows will need if they are like those so far.
            ids.resize(max(n_ids, int(1.02 * n_ids * n_all / max(n_rows, 1))), refcheck=False)
        ids[start:n_ids] = values.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
        lengths.append(np.diff(lists.offsets.to_numpy()).astype(np.int64))
    ids.resize(n_ids, refcheck=False)
    return ids, np.cumsum(np.concatenate(lengths))
