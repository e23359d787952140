"""Reads Agentic Mooncake v2: a header line, then requests of plays with ids of the play's own.

The header gives `block_size`. A request has `request_id`, `play_id`, `session_id`, lengths,
`hash_ids`, `not_before_ms` from its play's start, perhaps `recorded_api_time_ms`, and
`dependencies`: it comes `delay_ms` after another request of the play was sent or complete. Plays
have no start times: they are drawn as WEKA's are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..rows import LATEST_S, Rows, wrong
from .json_rows import JsonRows, Row
from .session_starts import drawn_starts, told_starts

SCHEMA = "dynamo.agentic_mooncake"
_VERSION = 2
_IDS_A_PLAY = 1 << 32
_NAMES = {
    "arrival_s": ("arrival_s",),
    "input_tokens": ("input_tokens", "input_length"),
    "output_tokens": ("output_tokens", "output_length"),
    "request_id": ("request_id",),
    "session": ("session_id",),
    "think_s": ("think_s",),
    "block_size": ("block_size",),
    "recorded_e2e_s": ("recorded_api_time_ms",),
}


def sniff(start: bytes) -> bool:
    """Say whether a file that starts so may be of this format."""
    return SCHEMA.encode() in start.lstrip().partition(b"\n")[0]


def read(paths: Sequence[Path], *, active_sessions: int = 20, seed: int = 20260101) -> Rows:
    """Read files as parts of one trace, `active_sessions` plays going on average."""
    plays = _Plays()
    columns = JsonRows(_NAMES, per_s={"recorded_api_time_ms": 1000.0}, pick=plays.pick)
    for path in paths:
        plays.block_size = None
        columns.read(path)
    rows = columns.rows()
    duration_s = np.array(plays.duration_s or [0.0])
    start_s = drawn_starts(duration_s, active_sessions=active_sessions, seed=seed)
    return replace(
        rows,
        arrival_s=rows.arrival_s + start_s[np.array(plays.play_of, np.int64)],
        notes=(told_starts("plays", active_sessions, seed),),
    )


class _Plays:
    """What is known of the plays so far, and of when their requests were sent and complete."""

    def __init__(self) -> None:
        self.block_size: Any = None
        self.play_of: list[int] = []
        self.duration_s: list[float] = []
        self._number: dict[Any, int] = {}
        self._sent_s: dict[Any, float] = {}
        self._complete_s: dict[Any, float] = {}

    def pick(self, row: Row, where: str) -> Row | None:
        if row.get("schema") == SCHEMA:
            if row.get("version") != _VERSION:
                raise wrong(where, "version", str(_VERSION), row.get("version"))
            self.block_size = row.get("block_size")
            return None
        if self.block_size is None:
            raise wrong(where, "schema", f"{SCHEMA} in a first line", row.get("schema"))
        name, play = row.get("request_id"), row.get("play_id")
        if type(play) is not str or type(name) is not str:
            raise wrong(where, "play_id and request_id", "strings", play)
        number = self._number.setdefault(play, len(self._number))
        time_s = _seconds(row.get("not_before_ms"), "not_before_ms", where)
        think_s = None
        needed = row.get("dependencies", [])
        if type(needed) is not list or any(type(one) is not dict for one in needed):
            raise wrong(where, "dependencies", "a list of JSON objects", needed)
        for one in needed:
            delay_s = _seconds(one.get("delay_ms", 0), "delay_ms", where)
            is_complete = one.get("trigger") == "completion"
            known = self._complete_s if is_complete else self._sent_s
            time_s = max(time_s, known.get(one.get("request_id"), 0.0) + delay_s)
            if is_complete and one.get("relation") == "sequence":
                think_s = delay_s
        took_s = _seconds(row.get("recorded_api_time_ms") or 0, "recorded_api_time_ms", where)
        self._sent_s[name], self._complete_s[name] = time_s, time_s + took_s
        if number == len(self.duration_s):
            self.duration_s.append(0.0)
        self.duration_s[number] = max(self.duration_s[number], time_s)
        self.play_of.append(number)
        ids = row.get("hash_ids")
        is_list = type(ids) is list and all(type(x) is int and 0 <= x < _IDS_A_PLAY for x in ids)
        if not is_list:
            raise wrong(where, "hash_ids", "a list of integers of at most 32 bits", ids)
        base = number * _IDS_A_PLAY
        told = {"arrival_s": time_s, "think_s": think_s, "block_size": self.block_size}
        return {**row, **told, "hash_ids": [base + x for x in ids or ()]}


def _seconds(value: object, name: str, where: str) -> float:
    if type(value) not in (int, float) or not 0 <= value <= LATEST_S * 1000:  # type: ignore[operator]
        raise wrong(where, name, f"a number from 0 to {LATEST_S * 1000:g}", value)
    return value / 1000.0  # type: ignore[operator]
