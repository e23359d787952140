"""JSON lines with a request each, read in batches into columns. Knows no format's names.

A format says what it calls each column and which names are not in seconds; one whose lines are
not flat also gives a function that makes a flat row of a line.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from ... import TraceError
from ..block_size import LARGEST_BLOCK_SIZE
from ..rows import LATEST_S, LONGEST_NAME, MOST_TOKENS, WHOLE_IDS, Rows, wrong
from .files import opened
from .id_lists import IdLists
from .id_text import split_off

Row: TypeAlias = dict[str, Any]
Names: TypeAlias = Mapping[str, tuple[str, ...]]
BOM = b"\xef\xbb\xbf"
_BATCH_BYTES = 1 << 20
_REQUIRED = ("arrival_s", "input_tokens", "output_tokens")
_OPTIONAL = ("request_id", "session", "turn", "category", "parent", "block_size")
_NULLABLE = ("think_s", "recorded_e2e_s")
_LOWEST = {"input_tokens": 0, "output_tokens": 0, "turn": 1}


class JsonRows:
    """The columns under construction, filled column by column from a batch of lines at a time.

    `names` gives what the files call each column, the first that is there counts; `per_s` the
    names whose values are not seconds, with how many of them a second has; `ids_name` the list of
    block ids; `pick` makes a flat row of a line, or None if the line is no request.
    """

    def __init__(
        self,
        names: Names,
        *,
        per_s: Mapping[str, float] | None = None,
        ids_name: str = "hash_ids",
        pick: Callable[[Row, str], Row | None] | None = None,
    ) -> None:
        self._names = names
        self._per_s = per_s or {}
        self._ids_name = ids_name
        self._pick = pick
        self._paths: list[Path] = []
        self._starts: list[int] = []
        self._line = array("q")
        self._first = 0  # entry of `_line` where the rows now being added start
        self._arrival_s = array("d")
        self._lengths = {name: array("q") for name in _LOWEST}
        self._ids = IdLists()
        self._names_output = array("b")
        self._nullable = {column: array("d") for column in _NULLABLE}
        self._parents: list[Any] = []
        self._block_size: int | None = None
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
            while block := stream.read(_BATCH_BYTES):
                block += stream.readline()  # the rest of a line that the block cuts
                self._first = len(self._line)
                for alike in _runs(self._parsed(block, n_lines)):
                    self._add(alike)
                    self._first += len(alike)
                n_lines += block.count(b"\n")

    @property
    def parents(self) -> list[Any]:
        """What each row names as its parent; empty if the files do not say."""
        return self._parents

    def rows(self) -> Rows:
        """Put the columns together."""
        ids = self._ids.arrays()
        if ids is None:
            must = "all below 2**63 or none below 0"
            raise TraceError(f"{self._paths[0]}: block ids must be {must}, got both")
        session, category = self._codes["session"], self._codes["category"]
        names = self._numbers["category"]
        rank = {name: code for code, name in enumerate(sorted(names))}
        order = np.array([rank[name] for name in names], np.int64)
        arrival_s = np.array(self._arrival_s, np.float64)
        self._fill_in(arrival_s)
        return Rows(
            paths=tuple(self._paths),
            starts=tuple(self._starts),
            row=np.arange(len(self._line)),
            line=np.array(self._line, np.int64),
            arrival_s=arrival_s,
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
            think_s=_known(self._nullable["think_s"]),
            recorded_e2e_s=_known(self._nullable["recorded_e2e_s"]),
            block_size=self._block_size,
        )

    def _fill_in(self, arrival_s: NDArray[np.float64]) -> None:
        """A turn without an arrival comes its think time after the turn before it."""
        latest: dict[int, float] = {}
        if not np.isnan(arrival_s).any():
            return
        for i, session in enumerate(self._codes["session"]):
            if np.isnan(arrival_s[i]):
                if session not in latest:
                    must = "given in the first turn of a session"
                    self._first = i
                    self._fail(0, self._names["arrival_s"][-1], must, None)
                arrival_s[i] = latest[session] + self._nullable["think_s"][i]
            latest[session] = arrival_s[i]

    def _parsed(self, block: bytes, n_before: int) -> list[Row]:
        """Take the ids out of the lines of `block`, which `n_before` lines precede.

        Returns the other fields. The ids go first because they are most of a line: held for a
        whole batch, they would leave the processor's cache.
        """
        found = None if self._pick else split_off(block, self._ids_name)
        if found and not any(WHOLE_IDS in row for row in found[0]):
            rows, ids, n_ids = found
            if self._ids.add_plain(ids, n_ids):
                self._line.extend(range(n_before + 1, n_before + 1 + len(rows)))
                self._names_output.extend([0] * len(rows))
                return rows
        lines = block.removesuffix(b"\n").split(b"\n")
        rows = []
        add_ids, add_line, add_whole = self._ids.add, self._line.append, self._names_output.append
        pick, ids_name = self._pick, self._ids_name
        for number, line in enumerate(lines, n_before + 1):
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError:
                if not line.strip():
                    continue
                row = _lenient(line.removeprefix(BOM) if number == 1 else line)
            if type(row) is not dict:
                shown = line[:80].decode("utf-8", "replace").strip()
                raise wrong(f"{self._paths[-1]}:{number}", "line", "a JSON object", shown)
            if pick:
                row = pick(row, f"{self._paths[-1]}:{number}")
                if row is None:
                    continue
            name = WHOLE_IDS if WHOLE_IDS in row else ids_name
            ids = row.pop(name, None)
            if not add_ids(ids):
                raise wrong(f"{self._paths[-1]}:{number}", name, self._ids.ALLOWED, ids)
            add_whole(name == WHOLE_IDS)
            add_line(number)
            rows.append(row)
        return rows

    def _add(self, rows: list[Row]) -> None:
        """Add rows that have the same keys."""
        self._learn(rows[0])
        key = self._key
        if "arrival_s" in key:
            name = key["arrival_s"]
            per_s = self._per_s.get(name, 1.0)
            times = [row[name] for row in rows]
            self._check(times, name, {int, float}, 0, LATEST_S * per_s)
            self._arrival_s.extend([time / per_s for time in times])
        else:
            self._arrival_s.extend([np.nan] * len(rows))
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
        if "parent" in key:
            self._parents += [row[key["parent"]] for row in rows]
        if "block_size" in key:
            self._add_block_size([row[key["block_size"]] for row in rows], key["block_size"])
        for column in _NULLABLE:
            self._add_nullable(column, rows)

    def _learn(self, row: Row) -> None:
        """Find which of its names each column has in this row, and those that are like it."""
        found = {
            column: name
            for column, names in self._names.items()
            if (name := next((name for name in names if name in row), None))
        }
        for column in _REQUIRED:
            told_by_think_s = column == "arrival_s" and {"session", "think_s"} <= found.keys()
            if column not in found and not told_by_think_s:
                self._fail(0, self._names[column][-1], "given", None)
        for column in _OPTIONAL if self._key else ():
            if (column in found) != (column in self._key):
                name = found.get(column, self._names.get(column, (column,))[-1])
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

    def _add_block_size(self, values: list[Any], name: str) -> None:
        must = f"an integer from 1 to {LARGEST_BLOCK_SIZE}, the same in all rows"
        for i, value in enumerate(values):
            size = self._block_size if self._block_size is not None else value
            if type(value) is not int or value != size or not 1 <= value <= LARGEST_BLOCK_SIZE:
                self._fail(i, name, must, value)
            self._block_size = size

    def _add_nullable(self, column: str, rows: list[Row]) -> None:
        if column not in self._key:
            self._nullable[column].extend([np.nan] * len(rows))
            return
        name = self._key[column]
        per_s = self._per_s.get(name, 1.0)
        values = [row[name] for row in rows]
        unknown = [value is None or value != value for value in values]  # null or NaN
        known: list[Any] = [
            0 if skip else value for value, skip in zip(values, unknown, strict=True)
        ]
        self._check(known, name, {int, float}, 0, LATEST_S * per_s)
        seconds = [value / per_s for value in known]
        self._nullable[column].extend(
            [np.nan if skip else value for value, skip in zip(seconds, unknown, strict=True)]
        )

    def _checked_names(self, rows: list[Row], column: str) -> list[Any]:
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


def _known(values: array[float]) -> NDArray[np.float64] | None:
    return None if np.isnan(values).all() else np.array(values, np.float64)


def _runs(rows: list[Row]) -> Iterator[list[Row]]:
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
