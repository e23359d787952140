"""Twins as files: one table of columns, with a summary for people. Equal twins, equal bytes."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import OutputError, TraceError
from ..schema import Sessions
from .fit import Twin, arrays

FORMAT = 1
_ABOUT = "about"


def write_twin(twin: Twin, path: Path) -> None:
    """Write a twin: a zip file of numpy arrays, moved into place when complete.

    Raises:
        OutputError: the place cannot be written.
    """
    about = {
        "format": FORMAT,
        "block_size": twin.block_size,
        "category_names": twin.category_names,
        "sessions": twin.sessions.value,
        "many": twin.many,
    }
    columns = arrays(twin) | {_ABOUT: np.array(json.dumps(about))}
    part = path.with_name(f"{path.name}.part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            for name, column in columns.items():
                stored = io.BytesIO()
                np.lib.format.write_array(stored, _small(column), allow_pickle=False)
                # a fixed date: equal twins have equal bytes
                entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, stored.getvalue())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from None


def read_twin(path: Path) -> Twin:
    """Read what `write_twin` wrote.

    Raises:
        TraceError: the file is missing, or is no twin.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            columns = {name: stored[name] for name in stored.files}
        about = json.loads(str(columns.pop(_ABOUT)))
        if about["format"] != FORMAT:
            raise TraceError(f"{path}: format of the twin must be {FORMAT}, got {about['format']}")
        values: dict[str, Any] = {name: _wide(column) for name, column in columns.items()}
        return Twin(
            block_size=int(about["block_size"]),
            category_names=tuple(about["category_names"]),
            sessions=Sessions(about["sessions"]),
            many=int(about["many"]),
            **({"think_s": None} | values),
        )
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise TraceError(f"{path}: must be what `kvsim trace fit` writes: {error}") from None


def _small(column: NDArray[Any]) -> NDArray[Any]:
    """Store whole numbers in 32 bits where they fit."""
    if column.dtype == np.int64 and (not len(column) or abs(column).max() < 2**31):
        return column.astype(np.int32)
    return column


def _wide(column: NDArray[Any]) -> NDArray[Any]:
    return column.astype(np.int64) if column.dtype == np.int32 else column
