"""JSON values out of a file one at a time: an array's elements, or one value after the other.

Files of conversations are one array of gigabytes; nothing longer than an element is held.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ... import TraceError
from .files import opened

_CHUNK_BYTES = 1 << 20
_LONGEST_CHARS = 1 << 28
_SPACE = " \t\r\n"


def json_values(path: Path) -> Iterator[Any]:
    """Yield the elements of the array in `path`, or its values if it is none (JSON lines).

    Raises:
        TraceError: the contents are not JSON.
    """
    decoder = json.JSONDecoder()
    decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
    text, at, is_array, is_open, n_found = "", 0, False, False, 0
    with opened(path) as stream:
        while True:
            chunk = stream.read(_CHUNK_BYTES)
            text, at = text[at:] + decode(chunk, not chunk), 0
            while True:
                at = _skipped(text, at, _SPACE)
                if not is_open and at < len(text):
                    is_open, is_array = True, text[at] == "["
                    at += is_array
                    continue
                if is_array:
                    at = _skipped(text, at, _SPACE + ",")
                    if text[at : at + 1] == "]":
                        return
                if at == len(text):
                    break
                try:
                    value, end = decoder.raw_decode(text, at)
                except (ValueError, RecursionError):
                    if chunk and len(text) - at < _LONGEST_CHARS:
                        break  # perhaps the rest is still to come
                    shown = text[at : at + 40]
                    told = f"{path}: value {n_found + 1} must be JSON, got {shown!r}"
                    raise TraceError(told) from None
                if end == len(text) and chunk:
                    break  # a number may go on
                n_found += 1
                yield value
                at = end
            if not chunk:
                return


def _skipped(text: str, at: int, what: str) -> int:
    while at < len(text) and text[at] in what:
        at += 1
    return at
