"""Reads KV-cache events of vLLM (and Dynamo, SGLang): requests told from the blocks they stored.

Batches of events, as JSON lines or MessagePack: `{"ts": s, "events": [...]}`, events as objects
with `type` or as arrays that begin with it. `BlockStored` has `block_hashes`,
`parent_block_hash`, `token_ids` and `block_size`. Nothing names requests, so this is inferred:
blocks stored on top of an open request's last block, within `gap_s` of it, belong to that request
(several at once: a further chunk of the prompt; one: output), and otherwise to a new one, whose
prompt begins with all blocks below. A request that found all its blocks stored nothing and is
missing here; so are blocks that were not full, and outputs of less than a block count as 1 token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ... import TraceError
from ..block_size import LARGEST_BLOCK_SIZE
from ..rows import LATEST_S, Rows, wrong
from .files import head
from .json_documents import json_values
from .msgpack_values import msgpack_values

_FIELDS = ("block_hashes", "parent_block_hash", "token_ids", "block_size", "lora_id", "medium")
_KINDS = ("BlockStored", "BlockRemoved", "AllBlocksCleared")


def sniff(start: bytes) -> bool:
    """Say whether a file that starts so may be of this format."""
    text = start.lstrip()
    is_json = text[:1] in (b"{", b"[") and b'"block_hashes"' in text
    return is_json or (text[:1] not in (b"{", b"[") and any(k.encode() in start for k in _KINDS))


def read(paths: Sequence[Path], *, gap_s: float = 5.0) -> Rows:
    """Read files as consecutive parts of one stream, its first event at 0."""
    requests = _Requests(gap_s)
    starts = []
    for path in paths:
        starts.append(len(requests.line))
        for number, batch in enumerate(_batches(path), 1):
            where = f"{path}:{number}"
            ts, events = _parts(batch, where)
            for event in events:
                requests.add(event, ts, where, number)
    return requests.rows(tuple(paths), tuple(starts))


def _batches(path: Path) -> Iterator[Any]:
    is_json = head(path).lstrip()[:1] in (b"{", b"[")
    return json_values(path) if is_json else msgpack_values(path)


def _parts(batch: Any, where: str) -> tuple[float, list[Any]]:  # noqa: ANN401
    ts: Any = None
    events: Any = None
    if type(batch) is dict:
        ts, events = batch.get("ts"), batch.get("events", [batch])
    elif type(batch) is list and len(batch) >= 2:
        ts, events = batch[:2]
    if type(ts) not in (int, float) or not 0 <= ts <= LATEST_S:
        raise wrong(where, "ts", f"a number from 0 to {LATEST_S:g}", ts)
    if type(events) is not list:
        raise wrong(where, "events", "a list", events)
    return float(ts), events


class _Requests:
    """Requests so far; a block is known by the number of its hash."""

    def __init__(self, gap_s: float) -> None:
        self._gap_s = gap_s
        self._number: dict[Any, int] = {}
        self._below: list[int] = []  # number of the block before each, -1 for none
        self._depth: list[int] = []
        self._open: dict[int, int] = {}  # last block of a request that may go on -> request
        self._at_s: list[float] = []
        self._until_s: list[float] = []
        self._last: list[int] = []
        self._n_prompt: list[int] = []
        self.line: list[int] = []
        self._block_size: int | None = None

    def add(self, event: Any, ts: float, where: str, number: int) -> None:  # noqa: ANN401
        """Add an event; others than stores leave requests as they are."""
        if type(event) is list and event:
            event = {"type": event[0], **dict(zip(_FIELDS, event[1:], strict=False))}
        if type(event) is not dict or event.get("type") not in _KINDS:
            found = event.get("type") if type(event) is dict else event
            raise wrong(where, "type", f"one of {', '.join(_KINDS)}", found)
        if event["type"] != "BlockStored" or event.get("medium") not in (None, "GPU"):
            return
        if event.get("group_idx"):
            return  # a hybrid model's further cache groups hold the same tokens
        hashes, size = event.get("block_hashes"), event.get("block_size")
        if type(hashes) is not list or not all(type(x) in (int, str, bytes) for x in hashes):
            raise wrong(where, "block_hashes", "a list of integers, strings or bytes", hashes)
        is_size = type(size) is int and 1 <= size <= LARGEST_BLOCK_SIZE
        if not is_size or self._block_size not in (None, size):
            raise wrong(where, "block_size", "a positive integer, the same in all events", size)
        self._block_size = size
        up = event.get("parent_block_hash")
        if type(up) not in (int, str, bytes, type(None)):
            raise wrong(where, "parent_block_hash", "an integer, a string or bytes", up)
        if hashes:
            self._store(-1 if up is None else self._known(up, -1), hashes, ts, number)

    def _known(self, name: Any, below: int) -> int:  # noqa: ANN401
        """Return a block's number; one whose store was not seen counts as a prompt's first."""
        number = self._number.setdefault(name, len(self._below))
        if number == len(self._below):
            self._below.append(below)
            self._depth.append(1 if below < 0 else self._depth[below] + 1)
        return number

    def _store(self, up: int, hashes: list[Any], ts: float, number: int) -> None:
        request = self._open.pop(up, None)
        last = up
        for name in hashes:
            last = self._known(name, last)
        if request is not None and ts - self._until_s[request] <= self._gap_s:
            if len(hashes) > 1 and self._n_prompt[request] == self._depth[self._last[request]]:
                self._n_prompt[request] = self._depth[last]
            self._last[request], self._until_s[request] = last, ts
        else:
            request = len(self.line)
            self.line.append(number)
            self._at_s.append(ts)
            self._until_s.append(ts)
            self._last.append(last)
            self._n_prompt.append(self._depth[last])
        self._open[last] = request

    def rows(self, paths: tuple[Path, ...], starts: tuple[int, ...]) -> Rows:
        """Put the columns together."""
        if not self.line:
            raise TraceError(f"{paths[0]}: a trace needs at least 1 request, got no stored block")
        size = self._block_size or 1
        n_ids = np.array([self._depth[last] for last in self._last], np.int64)
        offsets = np.concatenate([[0], np.cumsum(n_ids)])
        below = np.array(self._below, np.int64)
        ids = np.empty(offsets[-1], np.int64)
        at = np.array(self._last, np.int64)
        for back in range(int(n_ids.max())):  # all requests one block shallower at a time
            going = n_ids > back
            ids[offsets[1:][going] - 1 - back] = at[going]
            at = np.where(going, below[at], at)
        n_prompt = np.array(self._n_prompt, np.int64)
        arrival_s = np.array(self._at_s)
        notes = (
            "requests are inferred from stored blocks: those that hit in full are missing, and "
            "lengths are whole blocks",
        )
        return Rows(
            paths=paths,
            starts=starts,
            row=np.arange(len(n_ids)),
            line=np.array(self.line, np.int64),
            arrival_s=arrival_s - arrival_s.min(),
            input_tokens=n_prompt * size,
            output_tokens=np.maximum((n_ids - n_prompt) * size, 1),
            block_ids=ids,
            block_offsets=offsets,
            names_output=n_ids > n_prompt,
            covered_tokens=n_ids * size,
            block_size=self._block_size,
            notes=notes,
        )
