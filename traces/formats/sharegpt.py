"""Reads conversations like ShareGPT's: texts without times, a request for each answer.

A JSON array, or JSON lines, of `{"conversations": [{"from": "human", "value": ...}, ...]}` or
`{"messages": [{"role": "user", "content": ...}, ...]}`. The prompt of an answer is all that was
said before it. Conversations start as a Poisson process; a next turn comes after the answer, at
`output_tokens_per_s`, and a drawn pause.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ... import ConfigError, TraceError
from ..rows import Rows, wrong
from ..text_blocks import TextTokens
from .json_documents import json_values
from .text_rows import TextRows

_ANSWERS = ("gpt", "assistant", "bot", "chatgpt", "model", "bard", "bing")
_KEYS = (b'"conversations"', b'"conversation"', b'"messages"')


def sniff(start: bytes) -> bool:
    """Say whether a file that starts so may be of this format."""
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    return text[:1] in (b"[", b"{") and any(key in text for key in _KEYS)


def read(
    paths: Sequence[Path],
    *,
    tokenizer: str = "",
    tokens_per_word: float = 1.3,
    sessions_per_s: float = 1.0,
    think_s: float = 30.0,
    output_tokens_per_s: float = 50.0,
    seed: int = 0,
) -> Rows:
    """Read files as parts of one trace; `think_s` is the mean pause before a next turn."""
    for name, value in (
        ("sessions_per_s", sessions_per_s),
        ("output_tokens_per_s", output_tokens_per_s),
    ):
        if not 0 < value < np.inf:
            raise ConfigError(f"{name} must be positive and finite, got {value}")
    if not 0 <= think_s < np.inf:
        raise ConfigError(f"think_s must be at least 0 and finite, got {think_s}")
    tokens_of = TextTokens(tokenizer, tokens_per_word)
    rng = np.random.default_rng(seed)
    rows, start_s, n_sessions = TextRows(), 0.0, 0
    for path in paths:
        rows.starts.append(len(rows))
        for number, found in enumerate(json_values(path), 1):
            start_s += rng.exponential(1.0 / sessions_per_s)
            said = [(role, tokens_of.encode(text)) for role, text in _said(found, path, number)]
            whole = np.concatenate([np.zeros(0, np.int64), *(tokens for _, tokens in said)])
            at_s, pause_s, n_before = start_s, np.nan, 0
            for role, tokens in said:
                if role in _ANSWERS and n_before:
                    n = len(tokens)
                    rows.add(
                        whole[: n_before + n],
                        n_input=n_before,
                        n_output=n,
                        session=n_sessions,
                        line=number,
                        arrival_s=at_s,
                        think_s=pause_s,
                    )
                    pause_s = rng.exponential(think_s) if think_s else 0.0
                    at_s += n / output_tokens_per_s + pause_s
                n_before += len(tokens)
            n_sessions += 1
    if not len(rows):
        raise TraceError(f"{paths[0]}: a trace needs at least 1 request, got no answer")
    drawn = f"the file has no times: drawn, {sessions_per_s:g} conversations a second (seed {seed})"
    return rows.rows(paths, np.array(rows.arrival_s), (tokens_of.note, drawn))


def _said(found: Any, path: Path, number: int) -> list[tuple[str, str]]:  # noqa: ANN401
    """Return who said what."""
    where = f"{path}:{number}"
    names = ("conversations", "conversation", "messages")
    turns = (
        next((found[name] for name in names if name in found), None)
        if type(found) is dict
        else None
    )
    if type(turns) is not list:
        raise wrong(where, "conversations", "a list", turns)
    said = []
    for turn in turns:
        if type(turn) is not dict:
            raise wrong(where, "conversations", "a list of JSON objects", turn)
        role, text = turn.get("from", turn.get("role")), turn.get("value", turn.get("content"))
        if type(text) is list:  # parts, of which the texts count
            text = " ".join(str(part.get("text", "")) for part in text if type(part) is dict)
        if type(role) is not str or type(text) not in (str, type(None)):
            raise wrong(where, "conversations", "of strings: who, and what was said", turn)
        said.append((role, text or ""))
    return said
