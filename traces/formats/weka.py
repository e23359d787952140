"""Reads WEKA's Claude Code sessions: one session a line, with block ids of its own.

Times are seconds from a session's start, and nothing says when sessions started: starts are drawn
here, a Poisson process that keeps `ACTIVE_SESSIONS` going on average, the same for the same file.
A sub-agent's requests have times from its own start and share the session's ids; they count as a
session of their own. `hash_rle` lists the full 64-token blocks as runs of consecutive ids.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from ... import TraceError
from ..rows import LATEST_S, MOST_TOKENS, Rows, wrong
from .files import opened

ACTIVE_SESSIONS = 20
"""Sessions at a time, on average, of the arrivals drawn."""
_SEED = 20260101
_IDS_A_SESSION = 1 << 32


def sniff(start: bytes) -> bool:
    """Say whether a file that starts so may be of this format."""
    line = start.lstrip().partition(b"\n")[0]
    return line.startswith(b"{") and b'"hash_id_scope"' in line


def read(paths: Sequence[Path]) -> Rows:
    """Read files as parts of one trace."""
    columns = _Columns()
    starts = []
    for path in paths:
        starts.append(len(columns.line))
        with opened(path) as stream:
            for number, line in enumerate(stream, 1):
                if not line.isspace():
                    columns.add(line, f"{path}:{number}", number)
    return columns.rows(tuple(paths), tuple(starts))


class _Columns:
    def __init__(self) -> None:
        self.line = array("q")
        self._start_of = array("q")  # session of each row: its drawn start is added at the end
        self._offset_s = array("d")
        self._input_tokens = array("q")
        self._output_tokens = array("q")
        self._think_s = array("d")
        self._session = array("q")
        self._turn = array("q")
        self._is_agent = array("b")
        self._ids: list[np.ndarray[Any, Any]] = []
        self._n_ids = array("q")
        self._duration_s: list[float] = []
        self._n_threads = 0
        self._block_size: int | None = None

    def add(self, line: bytes, where: str, number: int) -> None:
        """Add a session."""
        try:
            session = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise TraceError(f"{where}: not JSON: {error}") from None
        if type(session) is not dict or type(session.get("requests")) is not list:
            raise wrong(where, "requests", "a list", None)
        size = session.get("block_size")
        if type(size) is not int or size < 1 or self._block_size not in (None, size):
            must = "a positive integer, the same in all sessions"
            raise wrong(where, "block_size", must, size)
        self._block_size = size
        self._duration_s.append(0.0)
        self._add_thread(session["requests"], where, number, 0.0, is_agent=False)

    def _add_thread(
        self, requests: list[Any], where: str, number: int, start_s: float, *, is_agent: bool
    ) -> None:
        """Add the requests of a session or of one of its sub-agents."""
        thread = self._n_threads
        self._n_threads += 1
        turn = 0
        for at, request in enumerate(requests):
            place = f"{where}: request {at}"
            if type(request) is not dict:
                raise wrong(place, "request", "a JSON object", request)
            time_s = start_s + _number(request, "t", place, LATEST_S)
            if request.get("type") == "subagent":
                inner = request.get("requests")
                if is_agent or type(inner) is not list:
                    raise wrong(place, "requests", "a list, and only of a session's own", inner)
                self._add_thread(inner, place, number, time_s, is_agent=True)
                continue
            turn += 1
            ids = self._expanded(request.get("hash_rle"), place)
            n_input = _whole(request, "in", place)
            if len(ids) * (self._block_size or 1) > n_input:
                must = f"of at most {n_input // (self._block_size or 1)} full blocks"
                raise wrong(place, "hash_rle", must, len(ids))
            self.line.append(number)
            self._start_of.append(len(self._duration_s) - 1)
            self._offset_s.append(time_s)
            self._duration_s[-1] = max(self._duration_s[-1], time_s)
            self._input_tokens.append(n_input)
            self._output_tokens.append(_whole(request, "out", place))
            think = request.get("think_time")
            self._think_s.append(
                np.nan if think is None else _number(request, "think_time", place, LATEST_S)
            )
            self._session.append(thread)
            self._turn.append(turn)
            self._is_agent.append(is_agent)
            self._ids.append(ids)
            self._n_ids.append(len(ids))

    def _expanded(self, runs: object, where: str) -> np.ndarray[Any, Any]:
        must = "a list of [first id, count]"
        if type(runs) is not list:
            raise wrong(where, "hash_rle", must, runs)
        parts = []
        base = (len(self._duration_s) - 1) * _IDS_A_SESSION
        for run in runs:
            if (
                type(run) is not list
                or len(run) != 2
                or not all(type(x) is int for x in run)
                or not (run[0] >= 0 and 0 <= run[1] <= MOST_TOKENS)
                or run[0] + run[1] > _IDS_A_SESSION
            ):
                raise wrong(where, "hash_rle", must, run)
            parts.append(np.arange(base + run[0], base + run[0] + run[1]))
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def rows(self, paths: tuple[Path, ...], starts: tuple[int, ...]) -> Rows:
        """Draw the sessions' starts, and put the columns together."""
        rng = np.random.default_rng(_SEED)
        gap_s = float(np.mean(self._duration_s or [0.0])) / ACTIVE_SESSIONS
        start_s = np.cumsum(rng.exponential(gap_s, len(self._duration_s)))
        offsets = np.zeros(len(self.line) + 1, np.int64)
        np.cumsum(np.array(self._n_ids, np.int64), out=offsets[1:])
        input_tokens = np.array(self._input_tokens, np.int64)
        size = self._block_size or 1
        return Rows(
            paths=paths,
            starts=starts,
            row=np.arange(len(self.line)),
            line=np.array(self.line, np.int64),
            arrival_s=start_s[np.array(self._start_of, np.int64)]
            + np.array(self._offset_s, np.float64),
            input_tokens=input_tokens,
            output_tokens=np.array(self._output_tokens, np.int64),
            block_ids=np.concatenate(self._ids) if self._ids else np.zeros(0, np.int64),
            block_offsets=offsets,
            names_output=np.zeros(len(self.line), np.bool_),
            covered_tokens=np.array(self._n_ids, np.int64) * size,
            session=np.array(self._session, np.int64),
            turn=np.array(self._turn, np.int64),
            category=np.array(self._is_agent, np.int64),
            category_names=("session", "sub-agent"),
            think_s=np.array(self._think_s, np.float64),
            block_size=self._block_size,
        )


def _number(row: dict[str, Any], name: str, where: str, high: float) -> float:
    value = row.get(name)
    if type(value) not in (int, float) or not 0 <= value <= high:  # type: ignore[operator]
        raise wrong(where, name, f"a number from 0 to {high:g}", value)
    return float(value)  # type: ignore[arg-type]


def _whole(row: dict[str, Any], name: str, where: str) -> int:
    value = row.get(name)
    if type(value) is not int or not 0 <= value <= MOST_TOKENS:
        raise wrong(where, name, f"an integer from 0 to {MOST_TOKENS}", value)
    return value
