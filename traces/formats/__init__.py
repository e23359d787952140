"""Trace files: recognised by what is in them, read and written. This table is the registry.

A format is a module with `sniff(start)`, `read(paths)` and, where it makes sense,
`write(trace, path)`. It turns a file into `Rows`; what holds for all formats is in `build`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from ... import ConfigError, TraceError
from ..rows import Rows
from ..schema import Trace
from . import files, mooncake, mooncake_writer, parquet, parquet_writer, weka

__all__ = ["FORMATS", "Format", "read_trace", "read_traces", "write_trace"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """What kvsim can do with one kind of trace file."""

    what: str
    """A few words for messages and help."""
    sniff: Callable[[bytes], bool]
    """Whether a file whose (decompressed) contents start so may be of this kind."""
    read: Callable[[Sequence[Path]], Rows]
    write: Callable[[Trace, Path], None] | None = None


FORMATS: dict[str, Format] = {
    "mooncake": Format(
        what="JSON lines with timestamp, input_length, output_length, hash_ids",
        sniff=mooncake.sniff,
        read=mooncake.read,
        write=mooncake_writer.write,
    ),
    "parquet": Format(
        what="Parquet with a row a request",
        sniff=parquet.sniff,
        read=parquet.read,
        write=parquet_writer.write,
    ),
    "weka": Format(
        what="JSON lines with a Claude Code session each",
        sniff=weka.sniff,
        read=weka.read,
    ),
}


def read_trace(
    path: str | PathLike[str], *, block_size: int | None = None, name: str | None = None
) -> Trace:
    """Read one trace file of any known format.

    `block_size` is the number of tokens a block id stands for; left out, it is what the file
    says, or else inferred. Sessions are inferred from shared prefixes where the file has none.

    Raises:
        TraceError: the file cannot be read, is of no known format, or a row is wrong.
    """
    return read_traces([path], block_size=block_size, name=name)


def read_traces(
    paths: Sequence[str | PathLike[str]],
    *,
    block_size: int | None = None,
    name: str | None = None,
) -> Trace:
    """Read files of one format as parts of one trace: same clock, same block ids and sessions.

    Raises:
        TraceError: as `read_trace`, or the files differ in format or block size.
    """
    from ..build import build

    found = [Path(path) for path in paths]
    if not found:
        raise TraceError("a trace needs at least 1 file, got none")
    formats = [_recognise(path) for path in found]
    for path, format_ in zip(found, formats, strict=True):
        if format_ != formats[0]:
            told = f"{formats[0]} like {found[0]}, got {format_}"
            raise TraceError(f"{path}: files of one trace must have one format, here {told}")
    if name is None and len(found) > 1:
        name = "+".join(path.name for path in found)
    return build(FORMATS[formats[0]].read(found), name=name, block_size=block_size)


def write_trace(
    trace: Trace,
    path: str | PathLike[str],
    format: str = "parquet",  # noqa: A002
) -> None:
    """Write `trace`, moved into place when complete; equal traces give equal bytes.

    Raises:
        ConfigError: no format of that name can be written.
        OutputError: the place cannot be written.
    """
    writers = {name: known.write for name, known in FORMATS.items() if known.write}
    if format not in writers:
        raise ConfigError(f"trace format must be one of {', '.join(writers)}, got {format!r}")
    writers[format](trace, Path(path))


def _recognise(path: Path) -> str:
    start = files.head(path)
    for name, known in FORMATS.items():
        if known.sniff(start):
            return name
    kinds = "; ".join(f"{name} ({known.what})" for name, known in FORMATS.items())
    raise TraceError(f"{path}: must be a known trace format: {kinds}; starts with {start[:16]!r}")
