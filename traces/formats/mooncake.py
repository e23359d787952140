"""Reads Mooncake-style JSON lines: one request a line, with the ids of its prefix blocks.

`timestamp` in ms (or `arrival`, `arrival_s` in s), `input_length`, `output_length`, and
`hash_ids` of the prompt or `full_hash_ids` of prompt and output; optionally `request_id`,
`session`, `turn`, `type`, `think_s`. Other fields are left alone.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import numpy as np
import orjson

from ... import TraceError
from ..rows import LATEST_S, LONGEST_NAME, MILLISECONDS, MOST_TOKENS, NAMES, WHOLE_IDS, Rows, wrong
from .files import opened
from .id_lists import IdLists

_Row: TypeAlias = dict[str, Any]
_BOM = b"\xef\xbb\xbf"
_OF_OTHERS = (b'"chat_id"', b'"hash_id_scope"')
_BATCH_BYTES = 1 << 18
_REQUIRED = ("arrival_s", "input_tokens", "output_tokens")
_OPTIONAL = ("request_id", "session", "turn", "category")
_LOWEST = {"input_tokens": 0, "output_tokens": 0, "turn": 1}


def sniff(start: bytes) -> bool:
    """Say whether a file that starts so may be of this format.

    Lines with `chat_id` belong to the Qwen-Bailian traces, whose `timestamp` is in seconds, and
    those with `hash_id_scope` to WEKA's, which are sessions.
    """
    text = start.removeprefix(_BOM).lstrip()
    line = text.partition(b"\n")[0]
    return text.startswith(b"{") and not any(name in line for name in _OF_OTHERS)


def read(paths: Sequence[Path]) -> Rows:
    """Read files as consecutive parts of one trace; names mean the same in all of them."""
    columns = _Columns()
    for path in paths:
        columns.read(path)
    return columns.rows()


class _Columns:
    """The columns under construction, filled column by column from a batch of lines at a time."""

    def __init__(self) -> None:
        self._paths: list[Path] = []
        self._starts: list[int] = []
        self._line = array("q")
        self._first = 0  # entry of `_line` where the rows now being added start
        self._arrival_s = array("d")
        self._lengths = {name: array("q") for name in _LOWEST}
        self._ids = IdLists()
        self._names_output = array("b")
        self._think_s = array("d")
        self._request_ids: list[int | str] = []
        self._codes = {"session": array("q"), "category": array("q")}
        self._numbers: dict[str, dict[Any, int]] = {"session": {}, "category": {}}
        self._type_of: dict[str, type] = {"category": str}
        self._key: dict[str, str] = {}

    def read(self, path: Path) -> None:
        self._paths.append(path)
        self._starts.append(len(self._line))
        n_lines = 0
        with opened(path) as stream:
            while lines := stream.readlines(_BATCH_BYTES):
                self._first = len(self._line)
                for alike in _runs(self._parsed(lines, n_lines)):
                    self._add(alike)
                    self._first += len(alike)
                n_lines += len(lines)

    def rows(self) -> Rows:
        ids = self._ids.arrays()
        if ids is None:
            must = "all below 2**63 or none below 0"
            raise TraceError(f"{self._paths[0]}: block ids must be {must}, got both")
        session, category = self._codes["session"], self._codes["category"]
        names = self._numbers["category"]
        rank = {name: code for code, name in enumerate(sorted(names))}
        order = np.array([rank[name] for name in names], np.int64)
        return Rows(
            paths=tuple(self._paths),
            starts=tuple(self._starts),
            row=np.arange(len(self._line)),
            line=np.array(self._line, np.int64),
            arrival_s=np.array(self._arrival_s, np.float64),
            input_tokens=np.array(self._lengths["input_tokens"], np.int64),
            output_tokens=np.array(self._lengths["output_tokens"], np.int64),
            block_ids=ids[0],
            block_offsets=ids[1],
            names_output=np.array(self._names_output, np.bool_),
            request_id=np.array(self._request_ids) if self._request_ids else None,
            session=np.array(session, np.int64) if session else None,
            turn=np.array(self._lengths["turn"], np.int64) if self._lengths["turn"] else None,
            category=order[np.array(category, np.int64)] if category else None,
            category_names=tuple(rank) or ("request",),
            think_s=None if np.isnan(self._think_s).all() else np.array(self._think_s, np.float64),
        )

    def _parsed(self, lines: list[bytes], n_before: int) -> list[_Row]:
        """Take the ids out of `lines`, which `n_before` lines precede; return the other fields.

        The ids go first because they are most of a line: held for a whole batch, they would
        leave the processor's cache.
        """
        rows = []
        add_ids, add_line, add_whole = self._ids.add, self._line.append, self._names_output.append
        for number, line in enumerate(lines, n_before + 1):
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError:
                if line.isspace():
                    continue
                row = _lenient(line.removeprefix(_BOM) if number == 1 else line)
            if type(row) is not dict:
                shown = line[:80].decode("utf-8", "replace").strip()
                raise wrong(f"{self._paths[-1]}:{number}", "line", "a JSON object", shown)
            name = WHOLE_IDS if WHOLE_IDS in row else "hash_ids"
            ids = row.pop(name, None)
            if not add_ids(ids):
                raise wrong(f"{self._paths[-1]}:{number}", name, self._ids.ALLOWED, ids)
            add_whole(name == WHOLE_IDS)
            add_line(number)
            rows.append(row)
        return rows

    def _add(self, rows: list[_Row]) -> None:
        """Add rows that have the same keys."""
        self._learn(rows[0])
        key = self._key
        name = key["arrival_s"]
        per_s = 1000.0 if name == MILLISECONDS else 1.0
        times = [row[name] for row in rows]
        self._check(times, name, {int, float}, 0, LATEST_S * per_s)
        self._arrival_s.extend([time / per_s for time in times])
        for column, low in _LOWEST.items():
            if column in key:
                values = [row[key[column]] for row in rows]
                self._check(values, key[column], {int}, low, MOST_TOKENS)
                self._lengths[column].fromlist(values)
        for column, codes in self._codes.items():
            if column in key:
                numbers = self._numbers[column]
                names = self._checked_names(rows, column)
                codes.extend([numbers.setdefault(name, len(numbers)) for name in names])
        if "request_id" in key:
            self._request_ids += self._checked_names(rows, "request_id")
        self._add_think_s(rows)

    def _learn(self, row: _Row) -> None:
        """Find which of its names each column has in this row, and those that are like it."""
        found = {
            column: name
            for column, names in NAMES.items()
            if (name := next((name for name in names if name in row), None))
        }
        for column in _REQUIRED:
            if column not in found:
                self._fail(0, NAMES[column][-1], "given", None)
        for column in _OPTIONAL if self._key else ():
            if (column in found) != (column in self._key):
                name = found.get(column, NAMES[column][-1])
                self._fail(0, name, "given in every row or in none", row.get(name))
        self._key = found

    def _check(
        self, values: list[Any], name: str, kinds: set[type], low: float, high: float
    ) -> None:
        if kinds.issuperset(map(type, values)) and low <= min(values) and max(values) <= high:
            total = sum(values)
            if total == total:  # else one is NaN, which min and max may overlook
                return
        what = "an integer" if float not in kinds else "a number"
        for i, value in enumerate(values):
            if type(value) not in kinds or not low <= value <= high:
                limit = high if float not in kinds else f"{high:g}"
                self._fail(i, name, f"{what} from {low} to {limit}", value)

    def _add_think_s(self, rows: list[_Row]) -> None:
        if "think_s" not in self._key:
            self._think_s.extend([np.nan] * len(rows))
            return
        name = self._key["think_s"]
        values = [row[name] for row in rows]
        unknown = [value is None or value != value for value in values]  # null or NaN
        known: list[Any] = [
            0 if skip else value for value, skip in zip(values, unknown, strict=True)
        ]
        self._check(known, name, {int, float}, 0, LATEST_S)
        self._think_s.extend(
            [np.nan if skip else value for value, skip in zip(known, unknown, strict=True)]
        )

    def _checked_names(self, rows: list[_Row], column: str) -> list[Any]:
        """Return a column of names: strings or, except for categories, integers."""
        key = self._key[column]
        names: list[Any] = [row[key] for row in rows]
        kind = self._type_of.setdefault(column, type(names[0]))
        must = "a string" if column == "category" else "a string or an integer, alike in all rows"
        for i, name in enumerate(names):
            if type(name) is not kind or kind not in (int, str):
                self._fail(i, key, must, name)
            if isinstance(name, int) and not -(2**63) <= name < 2**63:
                self._fail(i, key, "an integer of at most 64 bits", name)
            if isinstance(name, str) and len(name) > LONGEST_NAME:
                self._fail(i, key, f"a string of at most {LONGEST_NAME} characters", name)
        return names

    def _fail(self, i: int, name: str, must: str, value: object) -> NoReturn:
        """Raise the error about row `i` of those now being added."""
        raise wrong(f"{self._paths[-1]}:{self._line[self._first + i]}", name, must, value)


def _runs(rows: list[_Row]) -> Iterator[list[_Row]]:
    """Split rows where their keys change."""
    if len(set(map(tuple, rows))) == 1:
        yield rows
        return
    start = 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or rows[end].keys() != rows[start].keys():
            yield rows[start:end]
            start = end


def _lenient(line: bytes) -> object:
    """Parse what orjson refuses and Python's json writes, like NaN, so that its field is named."""
    try:
        text = line.decode()
        # Half of a surrogate pair is no text, though Python's json lets it pass.
        return None if "\\ud" in text.lower() else json.loads(text)
    except (ValueError, RecursionError):
        return None
