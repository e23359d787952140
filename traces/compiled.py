"""A trace with its prefix tree, kept beside the trace file once compiled. Knows no simulator.

The compiled file is named after the trace file, the contents of all files, and the choices
that shape the tree; it holds the request columns and the tree, but no block ids. Where it
cannot be written nothing is lost but time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import TraceError
from ..kernels import kernel
from .prefix_tree import PrefixTree, compile_tree
from .schema import Sessions, Trace

FORMAT = 2
SUFFIX = ".kvtree"

_COLUMNS = (
    "arrival_s",
    "input_tokens",
    "output_tokens",
    "parent",
    "session",
    "turn",
    "category",
    "covered_tokens",
)
_TREE = ("parent", "n_blocks", "end")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledTrace:
    """Requests and their prefix tree at one engine block size."""

    trace: Trace
    """Its `block_ids` are empty if it comes from a compiled file."""
    tree: PrefixTree
    digest: str
    """SHA-256 of the trace files' contents; of the columns, of a trace that was never a file."""

    def head(self, n: int) -> CompiledTrace:
        """The first `n` requests."""
        if n >= len(self.trace):
            return self
        if n < 1:
            raise TraceError(f"{self.trace.name}: --limit must be at least 1 request, got {n}")
        return replace(self, trace=self.trace.head(n), tree=self.tree.head(n))

    def scaled(self, time_scale: float) -> CompiledTrace:
        """The same with every arrival time multiplied by `time_scale`."""
        return replace(self, trace=self.trace.scaled(time_scale))


def load_compiled(
    paths: Sequence[Path],
    *,
    block_size: int | None = None,
    trace_block_size: int | None = None,
    partial_blocks: bool = False,
    keep: bool = True,
) -> CompiledTrace:
    """Load a trace (several files: as one) with its tree, from the compiled file if there is one.

    `block_size` is the engine's, by default the trace's; `trace_block_size` overrides what the
    trace says or shows; `keep` writes the compiled file.

    Raises:
        TraceError: a file is missing or wrong.
    """
    digest = _digest(paths)
    choice = f"{FORMAT} {digest} {block_size} {trace_block_size} {partial_blocks}"
    short = hashlib.sha256(choice.encode()).hexdigest()[:16]
    file = paths[0].with_name(f".{paths[0].name}.{short}{SUFFIX}")
    known = _read(file, digest)
    if known is not None:
        return known
    from .formats import read_traces

    trace = read_traces(paths, block_size=trace_block_size)
    tree = compile_tree(trace, block_size or trace.block_size, partial_blocks=partial_blocks)
    compiled = CompiledTrace(trace=trace, tree=tree, digest=digest)
    if keep:
        _write(file, compiled)
    return compiled


def compile_trace(
    trace: Trace, *, block_size: int | None = None, partial_blocks: bool = False
) -> CompiledTrace:
    """Compile a trace in memory, for an engine's block size, by default the trace's.

    Raises:
        TraceError: the block size is not positive.
    """
    tree = compile_tree(trace, block_size or trace.block_size, partial_blocks=partial_blocks)
    return CompiledTrace(trace=trace, tree=tree, digest=trace.digest())


def _digest(paths: Sequence[Path]) -> str:
    sha = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                sha.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            reason = (error.strerror or "unknown reason").lower()
            raise TraceError(f"{path}: cannot be read: {reason}") from None
    return sha.hexdigest()


def _write(file: Path, compiled: CompiledTrace) -> None:
    """Write one row of lists; give up silently where the folder is not writable."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    trace, tree = compiled.trace, compiled.tree
    columns: dict[str, Any] = {name: getattr(trace, name) for name in _COLUMNS}
    columns |= {f"tree_{name}": getattr(tree, name) for name in _TREE}
    if trace.think_s is not None:
        columns["think_s"] = trace.think_s
    if not np.array_equal(trace.request_id, np.arange(len(trace))):
        columns["request_id"] = trace.request_id
    # Differences compress best where values climb: parents follow their children by one.
    columns["tree_parent"] = np.arange(len(tree.parent), dtype=np.int32) - tree.parent
    columns["parent"] = np.where(trace.parent < 0, -1, np.arange(len(trace)) - trace.parent)
    metadata = {
        "format": FORMAT,
        "digest": compiled.digest,
        "name": trace.name,
        "trace_block_size": trace.block_size,
        "block_size": tree.block_size,
        "sessions": str(trace.sessions),
        "category_names": "\0".join(trace.category_names),
        "dropped": "\0".join(f"{n} {reason}" for reason, n in trace.dropped.items()),
        "notes": "\0".join(trace.notes),
    }
    table = pa.table(
        {
            name: pa.ListArray.from_arrays(pa.array([0, len(column)], pa.int32()), pa.array(column))
            for name, column in columns.items()
        },
        metadata={key: str(value) for key, value in metadata.items()},
    )
    encoding = {
        f"{name}.list.element": (
            "DELTA_BINARY_PACKED"
            if np.asarray(column).dtype.kind == "i"
            else "DELTA_LENGTH_BYTE_ARRAY"
            if np.asarray(column).dtype.kind in "UO"
            else "BYTE_STREAM_SPLIT"
        )
        for name, column in columns.items()
    }
    part = file.with_name(f"{file.name}.part")
    try:
        pq.write_table(
            table,
            part,
            compression="zstd",
            compression_level=9,
            use_dictionary=False,
            write_statistics=False,
            column_encoding=encoding,
        )
        part.replace(file)
    except OSError:
        part.unlink(missing_ok=True)


def _read(file: Path, digest: str) -> CompiledTrace | None:
    """Read a compiled file; a damaged or foreign one counts as none."""
    if not file.is_file():
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # not read_table: it loads pyarrow.dataset, and with it pandas where that is installed
        table = pq.ParquetFile(file).read()
        metadata = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
        if metadata.get("digest") != digest:
            return None
        column = {name: _values(table.column(name).chunk(0)) for name in table.column_names}
        rows = np.arange(len(column["arrival_s"]))
        parent = column["parent"]
        tree_parent = np.arange(len(column["tree_parent"]), dtype=np.int32) - column["tree_parent"]
        tree_parent = tree_parent.astype(np.int32)
        depth = np.zeros(len(tree_parent), np.int32)
        first_key = np.zeros(len(tree_parent), np.int64)
        _descend(tree_parent, column["tree_n_blocks"], depth, first_key)
        dropped = (pair.partition(" ") for pair in metadata["dropped"].split("\0") if pair)
        trace = Trace(
            name=metadata["name"],
            block_size=int(metadata["trace_block_size"]),
            request_id=column.get("request_id", rows),
            category_names=tuple(metadata["category_names"].split("\0")),
            block_ids=np.zeros(0, np.int64),
            block_offsets=np.zeros(len(rows) + 1, np.int64),
            sessions=Sessions(metadata["sessions"]),
            think_s=column.get("think_s"),
            dropped={reason: int(n) for n, _, reason in dropped},
            notes=tuple(note for note in metadata["notes"].split("\0") if note),
            **{name: column[name] for name in _COLUMNS if name != "parent"},
            parent=np.where(parent < 0, -1, rows - parent),
        )
        tree = PrefixTree(
            block_size=int(metadata["block_size"]),
            parent=tree_parent,
            first_key=first_key,
            n_blocks=column["tree_n_blocks"],
            depth=depth,
            end=column["tree_end"],
        )
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return None
    return CompiledTrace(trace=trace, tree=tree, digest=digest)


def _values(lists: Any) -> Any:  # noqa: ANN401  (numbers or strings)
    """Return the values of the one list in an Arrow array, without pandas' help.

    pyarrow's own conversions load pandas where it is installed, half a second for nothing.
    """
    import pyarrow as pa

    values = lists.values
    if not pa.types.is_primitive(values.type):
        return np.array(values.to_pylist(), np.str_)
    kind = {"int32": np.int32, "int64": np.int64, "double": np.float64}[str(values.type)]
    found = np.frombuffer(values.buffers()[1], kind)
    return found[values.offset : values.offset + len(values)].copy()


@kernel
def _descend(
    parent: NDArray[np.int32],
    n_blocks: NDArray[np.int32],
    depth: NDArray[np.int32],
    first_key: NDArray[np.int64],
) -> None:
    """Write depth and first key of all segments: keys are numbered segment by segment."""
    for s in range(len(parent)):
        if parent[s] >= 0:
            depth[s] = depth[parent[s]] + n_blocks[parent[s]]
        if s > 0:
            first_key[s] = first_key[s - 1] + n_blocks[s - 1]
