"""Reads LMCache's agent traces: JSON lines, a call each, with the prompt as text or messages.

`timestamp`, `input`, `output` and `session_id`; or, in the published data set, `session_id`,
`input` (messages), `output_length` and `pre_gap`, the seconds since the session's last call ended.
A `timestamp` is a Unix time in s, ms, us or ns, told by its size; a smaller number is in seconds.
Without times, sessions start by a Poisson process and calls follow each other at
`output_tokens_per_s`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ... import ConfigError, TraceError
from ..rows import LATEST_S, MOST_TOKENS, Rows, wrong
from ..text_blocks import TextTokens
from ..units import unit_of_unix_time
from .json_documents import json_values
from .text_rows import TextRows


def sniff(start: bytes) -> bool:
    """Say whether a file that starts so may be of this format."""
    line = start.lstrip().partition(b"\n")[0]
    has_call = b'"input"' in line and (b'"session_id"' in line or b'"timestamp"' in line)
    return line.startswith(b"{") and has_call


def read(
    paths: Sequence[Path],
    *,
    tokenizer: str = "",
    tokens_per_word: float = 1.3,
    sessions_per_s: float = 0.1,
    output_tokens_per_s: float = 50.0,
    seed: int = 0,
) -> Rows:
    """Read files as parts of one trace, its first call at 0."""
    if not (0 < sessions_per_s < np.inf and 0 < output_tokens_per_s < np.inf):
        raise ConfigError("sessions_per_s and output_tokens_per_s must be positive and finite")
    tokens_of = TextTokens(tokenizer, tokens_per_word)
    rng = np.random.default_rng(seed)
    rows, number_of, free_s = TextRows(), dict[Any, int](), dict[int, float]()
    start_s, has_times = 0.0, None
    for path in paths:
        rows.starts.append(len(rows))
        for number, call in enumerate(json_values(path), 1):
            where = f"{path}:{number}"
            if type(call) is not dict:
                raise wrong(where, "line", "a JSON object", call)
            if has_times is None:
                has_times = "timestamp" in call
            prompt = tokens_of.encode(_text(call.get("input"), "input", where))
            answer = np.zeros(0, np.int64)
            n_output = call.get("output_length")
            if n_output is None:
                answer = tokens_of.encode(_text(call.get("output"), "output", where))
                n_output = len(answer)
            if type(n_output) is not int or not 0 <= n_output <= MOST_TOKENS:
                raise wrong(where, "output_length", f"an integer from 0 to {MOST_TOKENS}", n_output)
            name = call.get("session_id", 0)
            if type(name) not in (str, int):
                raise wrong(where, "session_id", "a string or an integer", name)
            session = number_of.setdefault(name, len(number_of))
            if has_times:
                at_s, think_s = _number(call, "timestamp", where), np.nan
            else:
                think_s = _number(call, "pre_gap", where)
                if session not in free_s:
                    start_s += rng.exponential(1.0 / sessions_per_s)
                at_s = free_s.get(session, start_s) + think_s
                free_s[session] = at_s + n_output / output_tokens_per_s
            rows.add(
                np.concatenate([prompt, answer]),
                n_input=len(prompt),
                n_output=n_output,
                session=session,
                line=number,
                arrival_s=at_s,
                think_s=think_s,
            )
    if not len(rows):
        raise TraceError(f"{paths[0]}: a trace needs at least 1 request, got none")
    at = np.array(rows.arrival_s)
    notes = [tokens_of.note]
    if has_times:
        at = (at - at.min()) / (unit_of_unix_time(float(at.max())) or 1.0)
    else:
        notes.append(
            f"the file has no times: drawn, {sessions_per_s:g} sessions a second (seed {seed})"
        )
    return rows.rows(paths, at, tuple(notes))


def _text(value: object, name: str, where: str) -> str:
    """Return a prompt or an answer as one text; messages one after the other."""
    if type(value) is list:
        return " ".join(
            message if type(message) is str else json.dumps(message, sort_keys=True)
            for message in value
        )
    if type(value) is not str:
        raise wrong(where, name, "a string or a list of messages", value)
    return value


def _number(call: dict[str, Any], name: str, where: str) -> float:
    value = call.get(name)
    high = LATEST_S * 1e9
    if type(value) not in (int, float) or not 0 <= value <= high:  # type: ignore[operator]
        raise wrong(where, name, f"a number from 0 to {high:g}", value)
    return float(value)  # type: ignore[arg-type]
