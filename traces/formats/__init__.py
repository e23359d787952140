"""Trace files: recognised by what is in them, read and written.

A format is a module with `sniff(start)`, `read(paths, *, settings)` and, where it makes sense,
`write(trace, path)`, and an entry in `registry`. It turns a file into `Rows`; what holds for all
formats is in `build`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from ... import ConfigError, TraceError
from ..rows import Rows
from ..schema import Trace
from .files import head
from .registry import FORMATS, Format, converted, settings_of

__all__ = [
    "FORMATS",
    "Format",
    "format_of_name",
    "format_to_write",
    "read_rows",
    "read_trace",
    "read_traces",
    "recognise",
    "settings_of",
    "write_trace",
]


def read_trace(
    path: str | PathLike[str],
    *,
    block_size: int | None = None,
    name: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> Trace:
    """Read one trace file of any known format.

    `block_size` is the number of tokens a block id stands for; left out, it is what the file
    says, or else inferred. Sessions are inferred from shared prefixes where the file has none.
    `settings` are those of the format, as text: see `settings_of`.

    Raises:
        TraceError: the file cannot be read, is of no known format, or a row is wrong.
        ConfigError: the format has no such setting.
    """
    return read_traces([path], block_size=block_size, name=name, settings=settings)


def read_traces(
    paths: Sequence[str | PathLike[str]],
    *,
    block_size: int | None = None,
    name: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> Trace:
    """Read files of one format as parts of one trace: same clock, same block ids and sessions.

    Raises:
        TraceError: as `read_trace`, or the files differ in format or block size.
        ConfigError: the format has no such setting.
    """
    from ..build import build

    rows = read_rows(paths, settings=settings)
    if name is None and len(paths) > 1:
        name = "+".join(Path(path).name for path in paths)
    return build(rows, name=name, block_size=block_size)


def read_rows(
    paths: Sequence[str | PathLike[str]], *, settings: Mapping[str, str] | None = None
) -> Rows:
    """Read files of one format as they are: rows unsorted, none left out, ids not chained.

    Raises:
        TraceError: as `read_traces`.
        ConfigError: the format has no such setting.
    """
    found = [Path(path) for path in paths]
    if not found:
        raise TraceError("a trace needs at least 1 file, got none")
    formats = [recognise(path) for path in found]
    for path, format_ in zip(found, formats, strict=True):
        if format_ != formats[0]:
            told = f"{formats[0]} like {found[0]}, got {format_}"
            raise TraceError(f"{path}: files of one trace must have one format, here {told}")
    return FORMATS[formats[0]].read(found, **converted(formats[0], settings or {}))


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
    writers = {name: entry.write for name, entry in FORMATS.items() if entry.write}
    if format not in writers:
        raise ConfigError(
            f"trace format must be one of {', '.join(sorted(writers))}, got {format!r}"
        )
    writers[format](trace, Path(path))


def format_of_name(path: str | PathLike[str]) -> str:
    """Return the format that a name's end stands for.

    Raises:
        ConfigError: it stands for none.
    """
    ends = {end: name for name, known in FORMATS.items() for end in known.extensions}
    for end, name in ends.items():
        if Path(path).name.lower().endswith(end):
            return name
    told = f"end in one of {', '.join(ends)}, or --to must name a format"
    raise ConfigError(f"{path}: the name must {told}")


def format_to_write(path: str | PathLike[str], asked: str | None) -> str:
    """Return the format asked for, or else the one a name's end stands for, or else parquet.

    Raises:
        ConfigError: the format asked for is not written.
    """
    if asked is not None and (asked not in FORMATS or FORMATS[asked].write is None):
        told = ", ".join(sorted(name for name, known in FORMATS.items() if known.write))
        raise ConfigError(f"--to must be one of {told}, got {asked!r}")
    if asked is not None:
        return asked
    try:
        return format_of_name(path)
    except ConfigError:
        return "parquet"


def recognise(path: Path) -> str:
    """Return the format of a file, told by its contents.

    Raises:
        TraceError: the file cannot be read, or is of no known format.
    """
    start = head(path)
    for name, known in FORMATS.items():
        if known.sniff(start):
            return name
    told = f"one of {', '.join(FORMATS)}; starts with {start[:16]!r}"
    raise TraceError(f"{path}: must be a known trace format: {told}")
