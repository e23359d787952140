"""Files opened, recognised and replaced; every failure is one line that names the file."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from ... import OutputError, TraceError

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_HEAD_BYTES = 1 << 16


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open for reading, decompressing what gzip or zstd packed, whatever the name ends in.

    Raises:
        TraceError: the file cannot be opened, or its compressed data end early or are damaged.
    """
    try:
        with path.open("rb") as stored:
            magic = stored.read(len(ZSTD_MAGIC))
            stored.seek(0)
            if magic.startswith(GZIP_MAGIC):
                with gzip.open(stored) as unpacked:
                    yield _buffered(unpacked)
            elif magic == ZSTD_MAGIC:
                with _unpacked_zstd(path, stored) as unpacked:
                    yield _buffered(unpacked)
            else:
                yield stored
    except EOFError:
        raise TraceError(f"{path}: gzip data must be complete, got a truncated file") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise TraceError(f"{path}: gzip data must be intact, got damage: {error}") from None
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {_reason(error)}") from None


def _buffered(unpacked: object) -> BinaryIO:
    return cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", unpacked), 1 << 20))


@contextmanager
def _unpacked_zstd(path: Path, stored: BinaryIO) -> Iterator[object]:
    import pyarrow as pa

    try:
        with pa.CompressedInputStream(stored, "zstd") as unpacked:
            yield unpacked
    except OSError as error:  # pyarrow's, for damage and for an early end alike
        raise TraceError(f"{path}: zstd data must be intact and complete: {error}") from None


def head(path: Path) -> bytes:
    """Return the first bytes of the contents, decompressed; at least one, blanks skipped."""
    with opened(path) as stream:
        first = stream.read(_HEAD_BYTES)
        while first and not first.removeprefix(b"\xef\xbb\xbf").strip():
            first = stream.read(_HEAD_BYTES)
    if not first:
        raise TraceError(f"{path}: a trace needs at least 1 request, got an empty file")
    return first


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`, moved into place when the block ends well.

    Raises:
        OutputError: the place cannot be written. What was there is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {_reason(error)}") from None
    finally:
        if temporary.exists():
            temporary.unlink()


def _reason(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()
