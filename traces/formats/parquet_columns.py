"""Flat Parquet columns as checked arrays. Knows what a value may be, not what it is for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ... import TraceError
from ..rows import LATEST_S, LONGEST_NAME, MOST_TOKENS, wrong


class Columns:
    """The columns of one file without the ids, asked for by what they are called in a trace."""

    def __init__(self, path: Path, table: pa.Table, name_of: dict[str, str]) -> None:
        self._path = path
        self.table = table
        self._name_of = name_of

    def numbers(self, column: str, *, low: float, high: float) -> NDArray[np.float64]:
        """Return a column of integers or floats, each in [low, high]."""
        values, _ = self._values(column, "numbers", pa.types.is_integer, pa.types.is_floating)
        self._check(column, values, low=low, high=high, must=f"a number from {low:g} to {high:g}")
        return values.astype(np.float64, copy=False)

    def integers(self, column: str, *, low: int, high: int) -> NDArray[np.int64]:
        """Return a column of integers, each in [low, high]."""
        values, _ = self._values(column, "integers", pa.types.is_integer)
        self._check(column, values, low=low, high=high, must=f"an integer from {low} to {high}")
        return values.astype(np.int64, copy=False)

    def optional_integers(self, column: str, *, low: int) -> NDArray[np.int64] | None:
        """Return `integers` if the file has the column."""
        return self.integers(column, low=low, high=MOST_TOKENS) if column in self._name_of else None

    def covered_tokens(self) -> NDArray[np.int64] | None:
        """Return how many positions the ids name, if the file has it: at most the whole request."""
        covered = self.optional_integers("covered_tokens", low=0)
        if covered is not None:
            whole = self.integers("input_tokens", low=0, high=MOST_TOKENS)
            whole = whole + self.integers("output_tokens", low=0, high=MOST_TOKENS)
            excess = np.flatnonzero(covered > whole)
            if len(excess):
                i = int(excess[0])
                must = f"at most {whole[i]}, the tokens of the request"
                raise self._wrong(i, "covered_tokens", must, int(covered[i]))
        return covered

    def parents(self) -> NDArray[np.int64] | None:
        """Return rows of parents, -1 where there is none."""
        if "parent" not in self._name_of:
            return None
        values, missing = self._values("parent", "integers", pa.types.is_integer, may_miss=True)
        values = np.where(missing, 0, values)
        high = self.table.num_rows - 1
        self._check("parent", values, low=0, high=high, must=f"a row from 0 to {high}, or null")
        return np.where(missing, -1, values).astype(np.int64)

    def optional_seconds(self, column: str) -> NDArray[np.float64] | None:
        """Return a column of durations, NaN where unknown, if the file has it."""
        if column not in self._name_of:
            return None
        values, missing = self._values(
            column, "numbers", pa.types.is_integer, pa.types.is_floating, may_miss=True
        )
        values = values.astype(np.float64)
        unknown = missing | np.isnan(values)
        must = f"a number from 0 to {LATEST_S:g}, or null"
        self._check(column, np.where(unknown, 0.0, values), low=0, high=LATEST_S, must=must)
        return np.where(unknown, np.nan, values)

    def names(self, column: str) -> NDArray[np.int64] | NDArray[np.str_] | None:
        """Return a column of strings or integers."""
        if column not in self._name_of:
            return None
        kind = self.table.column(self._name_of[column]).type
        if pa.types.is_integer(kind):
            return self.integers(column, low=-(2**63), high=2**63 - 1)
        codes, names = self._strings(column)
        return np.array(names, np.str_)[codes]

    def codes(self, column: str) -> NDArray[np.int64] | None:
        """Return numbers for a column of names, equal for equal names."""
        if column not in self._name_of:
            return None
        kind = self.table.column(self._name_of[column]).type
        if pa.types.is_integer(kind):
            return self.integers(column, low=-(2**63), high=2**63 - 1)
        return self._strings(column)[0]

    def categories(
        self, declared: tuple[str, ...]
    ) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
        """Return each row's category and what they are called; sorted unless declared."""
        if "category" not in self._name_of:
            return None, ("request",)
        codes, names = self._strings("category")
        known = declared or tuple(sorted(names))
        place = {name: i for i, name in enumerate(known)}
        strange = [name for name in names if name not in place]
        if strange:
            i = int(np.argmax(codes == names.index(strange[0])))
            raise self._wrong(i, "category", f"one of {', '.join(known)}", strange[0])
        return np.array([place[name] for name in names], np.int64)[codes], known

    def _strings(self, column: str) -> tuple[NDArray[np.int64], list[str]]:
        name = self._name_of[column]
        values = self.table.column(name)
        kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise self._mistyped(name, "strings", kind)
        values = values.cast(pa.large_string())
        self._no_nulls(name, values)
        values.validate(full=True)
        encoded = values.combine_chunks().dictionary_encode()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks()
        texts = [str(text) for text in encoded.dictionary.to_pylist()]
        codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        for number, text in enumerate(texts):
            if len(text) > LONGEST_NAME:
                i = int(np.argmax(codes == number))
                raise self._wrong(i, column, f"at most {LONGEST_NAME} characters", text)
        return codes, texts

    def _values(
        self, column: str, must: str, *kinds: object, may_miss: bool = False
    ) -> tuple[NDArray[np.int64] | NDArray[np.float64], NDArray[np.bool_]]:
        """Return a column of the allowed types, and where it is null (there it holds a 0)."""
        name = self._name_of[column]
        values = self.table.column(name)
        if not any(kind(values.type) for kind in kinds if callable(kind)):
            raise self._mistyped(name, must, values.type)
        if not may_miss:
            self._no_nulls(name, values)
        missing = values.is_null().to_numpy()
        found = values.fill_null(0).to_numpy() if values.null_count else values.to_numpy()
        return found, missing

    def _no_nulls(self, name: str, values: pa.ChunkedArray) -> None:
        if values.null_count:
            i = int(np.argmax(values.is_null().to_numpy()))
            raise wrong(f"{self._path}:{i + 1}", name, "given in every row", None)

    def _check(
        self,
        column: str,
        values: NDArray[np.int64] | NDArray[np.float64],
        *,
        low: float,
        high: float,
        must: str,
    ) -> None:
        bad = np.flatnonzero(~((values >= low) & (values <= high)))  # NaN is outside too
        if len(bad):
            raise self._wrong(int(bad[0]), column, must, values[bad[0]].item())

    def _wrong(self, i: int, column: str, must: str, value: object) -> TraceError:
        return wrong(f"{self._path}:{i + 1}", self._name_of[column], must, value)

    def _mistyped(self, name: str, must: str, kind: object) -> TraceError:
        return wrong(str(self._path), name, f"a column of {must}", str(kind))
