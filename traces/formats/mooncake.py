"""Mooncake-style JSON lines: one request a line, with the ids of its prefix blocks.

`timestamp` in ms (or `arrival`, `arrival_s` in s), `input_length`, `output_length`, and
`hash_ids` of the prompt or `full_hash_ids` of prompt and output; optionally `request_id`,
`session`, `turn`, `type`, `think_s`. Other fields are left alone.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import orjson

from ... import TraceError
from ..rows import LATEST_S, LONGEST_NAME, MILLISECONDS, MOST_TOKENS, NAMES, WHOLE_IDS, Rows, wrong
from .files import opened

_BOM = b"\xef\xbb\xbf"
_REQUIRED = ("arrival_s", "input_tokens", "output_tokens", "block_ids")
_OPTIONAL = ("request_id", "session", "turn", "category")
_AN_INTEGER = f"an integer from 0 to {MOST_TOKENS}"


def sniff(start: bytes) -> bool:
    """Say whether a file that starts so may be of this format.

    Lines with `chat_id` belong to the Qwen-Bailian traces, whose `timestamp` is in seconds.
    """
    text = start.removeprefix(_BOM).lstrip()
    return text.startswith(b"{") and b'"chat_id"' not in text.partition(b"\n")[0]


def read(paths: Sequence[Path]) -> Rows:
    """Read files as consecutive parts of one trace; names mean the same in all of them."""
    columns = _Columns()
    for path in paths:
        columns.read(path)
    return columns.rows()


class _Columns:
    """The columns under construction, and which key of the current row fills which."""

    def __init__(self) -> None:
        self._paths: list[Path] = []
        self._starts: list[int] = []
        self._line = array("q")
        self._arrival_s = array("d")
        self._lengths = {name: array("q") for name in ("input_tokens", "output_tokens", "turn")}
        self._ids = array("q")
        self._offsets = array("q", [0])
        self._names_output = array("b")
        self._think_s = array("d")
        self._request_ids: list[int | str] = []
        self._codes = {"session": array("q"), "category": array("q")}
        self._numbers: dict[str, dict[Any, int]] = {"session": {}, "category": {}, "block_ids": {}}
        self._type_of: dict[str, type] = {}
        self._n_unsigned = 0
        self._keys: Any = None
        self._key: dict[str, str] = {}

    def read(self, path: Path) -> None:
        self._paths.append(path)
        self._starts.append(len(self._line))
        with opened(path) as stream:
            for number, line in enumerate(stream, 1):
                if line.isspace():
                    continue
                self._line.append(number)
                try:
                    row = orjson.loads(line)
                except orjson.JSONDecodeError:
                    row = self._lenient(line)
                if type(row) is not dict:
                    self._fail("line", "a JSON object", row)
                self._add(row, line)

    def rows(self) -> Rows:
        ids = np.frombuffer(self._ids, np.int64) if self._ids else np.empty(0, np.int64)
        if self._n_unsigned and np.count_nonzero(ids < 0) > self._n_unsigned:
            raise TraceError(f"{self._paths[0]}: hash_ids must be all signed or all unsigned 64-bit")
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
            block_ids=ids,
            block_offsets=np.array(self._offsets, np.int64),
            names_output=np.array(self._names_output, np.bool_),
            request_id=np.array(self._request_ids) if self._request_ids else None,
            session=np.array(session, np.int64) if session else None,
            turn=np.array(self._lengths["turn"], np.int64) if self._lengths["turn"] else None,
            category=order[np.array(category, np.int64)] if category else None,
            category_names=tuple(rank) or ("request",),
            think_s=None if np.isnan(self._think_s).all() else np.array(self._think_s, np.float64),
        )

    def _add(self, row: dict[str, Any], line: bytes) -> None:
        if row.keys() != self._keys:
            self._learn(row)
        key = self._key
        name = key["arrival_s"]
        time, per_s = row[name], 1000.0 if name == MILLISECONDS else 1.0
        if type(time) not in (int, float) or not 0 <= time <= LATEST_S * per_s:
            self._fail(name, f"a number from 0 to {LATEST_S * per_s:g}", time)
        self._arrival_s.append(time / per_s)
        for column, values in self._lengths.items():
            if column in key:
                value = row[key[column]]
                if type(value) is not int or not 0 <= value <= MOST_TOKENS:
                    self._fail(key[column], _AN_INTEGER, value)
                values.append(value)
        self._add_ids(key["block_ids"], row[key["block_ids"]], line)
        for column, codes in self._codes.items():
            if column in key:
                value = self._named(column, row[key[column]])
                codes.append(self._numbers[column].setdefault(value, len(self._numbers[column])))
        if "request_id" in key:
            self._request_ids.append(self._named("request_id", row[key["request_id"]]))
        think_s = row[key["think_s"]] if "think_s" in key else None
        if think_s is not None and (
            type(think_s) not in (int, float) or think_s < 0 or think_s > LATEST_S
        ):
            self._fail(key["think_s"], f"a number of seconds from 0 to {LATEST_S:g}", think_s)
        self._think_s.append(np.nan if think_s is None else think_s)

    def _learn(self, row: dict[str, Any]) -> None:
        """Find which of its names each column has in this row."""
        found = {
            column: name
            for column, names in NAMES.items()
            if (name := next((name for name in names if name in row), None))
        }
        for column in _REQUIRED:
            if column not in found:
                raise self._error(NAMES[column][-1], "given", None)
        for column in _OPTIONAL if self._key else ():
            if (column in found) != (column in self._key):
                name, value = NAMES[column][-1], row[found[column]] if column in found else None
                raise self._error(name, "given in every row or in none", value)
        self._keys, self._key = row.keys(), found

    def _add_ids(self, name: str, ids: Any, line: bytes) -> None:
        if type(ids) is not list:
            self._fail(name, "a list of integers or of strings", ids)
        if ids:
            kind = self._type_of.setdefault("block_ids", type(ids[0]))
            if kind not in (int, str) or (
                # Looking through the line for true and false is faster than through the types.
                (kind is str or b"true" in line or b"false" in line)
                and any(type(value) is not kind for value in ids)
            ):
                self._fail(name, "a list of integers or of strings, the same in all rows", ids)
            if kind is str:
                numbers = self._numbers["block_ids"]
                ids = [numbers.setdefault(value, len(numbers)) for value in ids]
            try:
                self._ids.fromlist(ids)
            except TypeError:
                self._fail(name, "a list of integers or of strings, the same in all rows", ids)
            except OverflowError:
                signed = [i - 2**64 if i >= 2**63 else i for i in ids if type(i) is int]
                if len(signed) < len(ids):
                    self._fail(name, "a list of integers of at most 64 bits", ids)
                self._n_unsigned += sum(i >= 2**63 for i in ids)
                self._ids.fromlist(signed)
        self._offsets.append(len(self._ids))
        self._names_output.append(name == WHOLE_IDS)

    def _named(self, column: str, value: Any) -> Any:
        """Check a name: a string, or an integer where the column may hold one."""
        kind = str if column == "category" else self._type_of.setdefault(column, type(value))
        if type(value) is not kind or kind not in (int, str):
            must = "a string" if column == "category" else "all strings or all integers"
            self._fail(self._key[column], must, value)
        if kind is int and not -(2**63) <= value < 2**63:
            self._fail(self._key[column], "an integer of at most 64 bits", value)
        if kind is str and len(value) > LONGEST_NAME:
            self._fail(self._key[column], f"at most {LONGEST_NAME} characters", value)
        return value

    def _lenient(self, line: bytes) -> Any:
        """Parse what orjson refuses and Python's json writes, like NaN, to name its field."""
        try:
            text = line.decode("utf-8-sig" if len(self._line) == self._starts[-1] + 1 else "utf-8")
            if "\\ud" not in text.lower():  # half of a surrogate pair, which no text may hold
                return json.loads(text)
        except (ValueError, RecursionError):
            pass
        self._fail("line", "valid JSON", line[:80].decode("utf-8", "replace").strip())

    def _error(self, name: str, must: str, value: object) -> TraceError:
        return wrong(f"{self._paths[-1]}:{self._line[-1]}", name, must, value)

    def _fail(self, name: str, must: str, value: object) -> NoReturn:
        raise self._error(name, must, value)
