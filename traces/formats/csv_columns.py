"""CSV files read in blocks into checked columns. Knows no format's names.

A file may be any size: what is held beside the columns is one block of text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ... import TraceError
from ..rows import LATEST_S, LONGEST_NAME, MOST_TOKENS, Rows, wrong
from .files import opened

_BLOCK_BYTES = 1 << 20
_MUST = {
    "tokens": f"an integer from 0 to {MOST_TOKENS}",
    "seconds": f"a number from 0 to {LATEST_S:g}",
    "date": "a date and time like 2023-11-16 18:15:46.68",
    "name": f"a string of at most {LONGEST_NAME} characters",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What a column of a trace is called in the file, and what its values are."""

    header: str
    kind: Literal["tokens", "seconds", "date", "name"]
    is_optional: bool = False


def has_header(start: bytes, columns: Mapping[str, Column]) -> bool:
    """Say whether the first line names all columns that are not optional."""
    line = start.removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0].decode("utf-8", "replace")
    names = {name.strip().strip('"') for name in line.split(",")}
    return all(column.header in names or column.is_optional for column in columns.values())


def read_csv(paths: Sequence[Path], columns: Mapping[str, Column]) -> Rows:
    """Read files with a header line as parts of one trace, its first arrival at 0.

    Empty lines do not count as rows. The trace has no block ids.
    """
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in columns}
    numbers: dict[str, dict[str, int]] = {}
    starts: list[int] = []
    lines: list[NDArray[np.int64]] = []
    for path in paths:
        starts.append(sum(map(len, lines)))
        n_rows = 0
        for batch in _batches(path, columns):
            for name, column in columns.items():
                if column.header in batch.schema.names:
                    values = batch.column(column.header)
                    known = numbers.setdefault(name, {})
                    found = _converted(values, column, str(path), n_rows, known)
                    parts[name].append(found)
            lines.append(np.arange(n_rows + 2, n_rows + 2 + batch.num_rows))
            n_rows += batch.num_rows
    n = sum(map(len, lines))
    whole = {
        name: np.concatenate(found)
        for name, found in parts.items()
        if found and sum(map(len, found)) == n
    }
    if n == 0:
        raise TraceError(f"{paths[0]}: a trace needs at least 1 request, got only a header")
    arrival = whole["arrival_s"]
    elapsed = arrival - arrival.min()  # in ns for dates: whole numbers lose nothing
    names = tuple(sorted(numbers.get("category", {}))) or ("request",)
    return Rows(
        paths=tuple(paths),
        starts=tuple(starts),
        row=np.arange(n),
        line=np.concatenate(lines),
        arrival_s=elapsed / 1e9 if columns["arrival_s"].kind == "date" else elapsed,
        input_tokens=whole["input_tokens"],
        output_tokens=whole["output_tokens"],
        block_ids=np.zeros(0, np.int64),
        block_offsets=np.zeros(n + 1, np.int64),
        names_output=np.zeros(n, np.bool_),
        session=whole.get("session"),
        category=_ranked(whole.get("category"), numbers.get("category", {})),
        category_names=names,
        recorded_e2e_s=whole.get("recorded_e2e_s"),
    )


def _ranked(codes: NDArray[np.int64] | None, numbers: dict[str, int]) -> NDArray[np.int64] | None:
    """Renumber names, numbered as they came, by their order."""
    if codes is None:
        return None
    rank = np.empty(len(numbers), np.int64)
    for place, name in enumerate(sorted(numbers)):
        rank[numbers[name]] = place
    ranked: NDArray[np.int64] = rank[codes]
    return ranked


def _batches(path: Path, columns: Mapping[str, Column]) -> Any:  # noqa: ANN401  (of Arrow batches)
    import pyarrow as pa
    import pyarrow.csv as pcsv

    headers = [column.header for column in columns.values()]
    try:
        with opened(path) as stream:
            first = (
                stream.readline(1 << 16).removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
            )
            found = [name.strip().strip('"') for name in first.rstrip("\r\n").split(",")]
            there = [name for name in dict.fromkeys(headers) if name in found]
            reader = pcsv.open_csv(
                pa.PythonFile(stream, mode="r"),
                read_options=pcsv.ReadOptions(
                    block_size=_BLOCK_BYTES, use_threads=False, column_names=found
                ),
                convert_options=pcsv.ConvertOptions(
                    include_columns=there,
                    column_types=dict.fromkeys(found, pa.string()),
                    strings_can_be_null=False,
                ),
            )
            yield from reader
    except (pa.ArrowException, ValueError, KeyError) as error:
        if isinstance(error, pa.ArrowInvalid) and "Empty CSV" in str(error):
            return
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise TraceError(f"{path}: must be intact CSV: {reason}") from None


def _converted(
    values: Any,  # noqa: ANN401  (an Arrow string array)
    column: Column,
    path: str,
    n_before: int,
    known: dict[str, int],
) -> NDArray[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    values = pc.utf8_trim_whitespace(values)
    if column.kind == "name":
        encoded = values.dictionary_encode()
        texts = [str(text) for text in encoded.dictionary.to_pylist()]
        for number, text in enumerate(texts):
            if len(text) > LONGEST_NAME:
                bad = int(np.argmax(encoded.indices.to_numpy() == number))
                raise wrong(f"{path}:{n_before + bad + 2}", column.header, _MUST["name"], text)
        codes = np.array([known.setdefault(text, len(known)) for text in texts], np.int64)
        found: NDArray[Any] = codes[encoded.indices.to_numpy(zero_copy_only=False)]
        return found
    try:
        return _numbers(values, column.kind)
    except (pa.ArrowException, ValueError):
        for i in range(len(values)):
            try:
                _numbers(values.slice(i, 1), column.kind)
            except (pa.ArrowException, ValueError):
                where = f"{path}:{n_before + i + 2}"
                must = _MUST[column.kind]
                raise wrong(where, column.header, must, values[i].as_py()) from None
        raise


def _numbers(values: Any, kind: str) -> NDArray[Any]:  # noqa: ANN401
    """Return numbers in range; raises if one is not."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if kind == "date":
        plain = pc.replace_substring_regex(values, r"(Z|[+-]00:?00)$", "")
        stamps: NDArray[Any] = pc.cast(plain, pa.timestamp("ns")).cast(pa.int64()).to_numpy()
        return stamps
    numbers = pc.cast(values, pa.float64()).to_numpy()
    if kind == "seconds":
        if not np.all((numbers >= 0) & (numbers <= LATEST_S)):
            raise ValueError
        return np.asarray(numbers)
    whole = (numbers >= 0) & (numbers <= MOST_TOKENS) & (numbers == np.floor(numbers))
    if not np.all(whole):
        raise ValueError
    return numbers.astype(np.int64)
