"""Reads WEKA's Claude Code sessions: one session a line, with block ids of its own.

Times are seconds from a session's start, and nothing says when sessions started: starts are drawn.
A sub-agent's requests have times from its own start and share the session's ids; they count as a
session of their own. `hash_rle` lists the full 64-token blocks as runs of consecutive ids, which
some files write out as `hash_ids`. `think_time` is the pause before a request, `api_time` what it
took; where the first is absent, it follows from the times and the last request's `api_time`.
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
from .session_starts import drawn_starts, told_starts

_IDS_A_SESSION = 1 << 32


def sniff(start: bytes) -> bool:
    """Say whether a file that starts so may be of this format."""
    line = start.lstrip().partition(b"\n")[0]
    return line.startswith(b"{") and b'"hash_id_scope"' in line


def read(
    paths: Sequence[Path],
    *,
    shared_prefix: bool = False,
    active_sessions: int = 20,
    seed: int = 20260101,
) -> Rows:
    """Read files as parts of one trace, `active_sessions` going on at a time on average.

    With `shared_prefix`, sessions with as many `tool_tokens` and `system_tokens` and the same
    models share the blocks of that prefix, as they do in reality; the file's ids do not say so.
    """
    columns = _Columns(shared_prefix=shared_prefix)
    starts = []
    for path in paths:
        starts.append(len(columns.line))
        with opened(path) as stream:
            for number, line in enumerate(stream, 1):
                if not line.isspace():
                    columns.add(line, f"{path}:{number}", number)
    return columns.rows(tuple(paths), tuple(starts), active_sessions=active_sessions, seed=seed)


class _Columns:
    def __init__(self, *, shared_prefix: bool) -> None:
        self._shared_prefix = shared_prefix
        self._number_of_prefix: dict[Any, int] = {}
        self._prefix: np.ndarray[Any, Any] = np.zeros(0, np.int64)
        self._own_prefix: np.ndarray[Any, Any] | None = None  # what stands there in the file
        self.line = array("q")
        self._start_of = array("q")  # session of each row: its drawn start is added at the end
        self._offset_s = array("d")
        self._input_tokens = array("q")
        self._output_tokens = array("q")
        self._think_s = array("d")
        self._recorded_e2e_s = array("d")
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
        self._prefix = self._shared_ids(session, where)
        self._own_prefix = None
        self._add_thread(session["requests"], where, number, 0.0, is_agent=False)

    def _add_thread(
        self, requests: list[Any], where: str, number: int, start_s: float, *, is_agent: bool
    ) -> None:
        """Add the requests of a session or of one of its sub-agents."""
        thread = self._n_threads
        self._n_threads += 1
        turn = 0
        free_s = None  # when the last request was complete
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
            ids = self._ids_of(request, place)
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
            think_s = _optional(request, "think_time", place)
            took_s = _optional(request, "api_time", place)
            if np.isnan(think_s) and free_s is not None:
                think_s = max(0.0, time_s - free_s)
            free_s = None if np.isnan(took_s) else time_s + took_s
            self._think_s.append(think_s)
            self._recorded_e2e_s.append(took_s)
            self._session.append(thread)
            self._turn.append(turn)
            self._is_agent.append(is_agent)
            self._ids.append(ids)
            self._n_ids.append(len(ids))

    def _shared_ids(self, session: dict[str, Any], where: str) -> np.ndarray[Any, Any]:
        """Return the ids that stand for the prefix shared with other sessions, below zero."""
        if not self._shared_prefix:
            return np.zeros(0, np.int64)
        n_tokens = sum(_whole(session, name, where) for name in ("tool_tokens", "system_tokens"))
        alike = (n_tokens, str(session.get("models")), session.get("tool_tokens"))
        number = self._number_of_prefix.setdefault(alike, len(self._number_of_prefix))
        n_blocks = n_tokens // (self._block_size or 1)
        return -1 - np.arange(n_blocks) - number * _IDS_A_SESSION

    def _ids_of(self, request: dict[str, Any], where: str) -> np.ndarray[Any, Any]:
        """Return a request's ids, those of the shared prefix replaced by the shared ones."""
        if "hash_rle" not in request and type(request.get("hash_ids")) is list:
            request = {"hash_rle": [[x, 1] for x in request["hash_ids"]]}
        ids = self._expanded(request.get("hash_rle"), where)
        if self._own_prefix is None:
            self._own_prefix = ids[: len(self._prefix)]
        n = min(len(ids), len(self._own_prefix))
        n_alike = int(np.cumprod(ids[:n] == self._own_prefix[:n]).sum())
        return np.concatenate([self._prefix[:n_alike], ids[n_alike:]])

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

    def rows(
        self,
        paths: tuple[Path, ...],
        starts: tuple[int, ...],
        *,
        active_sessions: int,
        seed: int,
    ) -> Rows:
        """Draw the sessions' starts, and put the columns together."""
        duration_s = np.array(self._duration_s or [0.0])
        start_s = drawn_starts(duration_s, active_sessions=active_sessions, seed=seed)
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
            recorded_e2e_s=np.array(self._recorded_e2e_s, np.float64),
            notes=(told_starts("sessions", active_sessions, seed),),
            block_size=self._block_size,
        )


def _number(row: dict[str, Any], name: str, where: str, high: float) -> float:
    value = row.get(name)
    if type(value) not in (int, float) or not 0 <= value <= high:  # type: ignore[operator]
        raise wrong(where, name, f"a number from 0 to {high:g}", value)
    return float(value)  # type: ignore[arg-type]


def _optional(row: dict[str, Any], name: str, where: str) -> float:
    return np.nan if row.get(name) is None else _number(row, name, where, LATEST_S)


def _whole(row: dict[str, Any], name: str, where: str) -> int:
    value = row.get(name)
    if type(value) is not int or not 0 <= value <= MOST_TOKENS:
        raise wrong(where, name, f"an integer from 0 to {MOST_TOKENS}", value)
    return value
