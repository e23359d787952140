"""What compiled code wants moved between tiers, put on links that share their bandwidth."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial

import numpy as np
import simpy

from .event_calendar import Calendar
from .links import Links
from .records import MARK_TRANSFERS
from .state import Cluster
from .tiers import BLOCK_BYTES, DOWN_S, HASHED, START_S, UP_S

Path = tuple[Hashable, ...]
"""Names of the links that a transfer crosses."""


class Transfers:
    """The links of a cluster: begins what was noted, and tells the state what has arrived."""

    def __init__(self, cluster: Cluster, calendar: Calendar) -> None:
        """Make the links: each GPU's to its host, each way, and those of the tiers' caches."""
        self._cluster = cluster
        self._calendar = calendar
        self._links = Links(calendar)
        self._block_bytes = float(cluster.links[BLOCK_BYTES])
        self._unfinished: dict[int, set[int]] = {}
        for i in range(len(cluster.instances)):
            self._links.add(("up", i), self._block_bytes / cluster.links[UP_S])
            self._links.add(("down", i), self._block_bytes / cluster.links[DOWN_S])
        for q, tier in enumerate(cluster.tiers):
            if tier["n_blocks"] and tier["up_s"] > 0:
                self._links.add(("tier up", q), self._block_bytes / tier["up_s"])
                self._links.add(("tier down", q), self._block_bytes / tier["down_s"])

    def begin(self) -> None:
        """Begin the transfers that compiled code has noted, now."""
        n = int(self._cluster.marks[MARK_TRANSFERS])
        self._cluster.marks[MARK_TRANSFERS] = 0
        for note in self._cluster.transfers[:n].copy():
            way = "down" if note["request"] < 0 else "up"
            path = self._path(way, note)
            start_s = self._start_s(note, path)
            n_bytes = float(note["n_blocks"]) * self._block_bytes
            if note["request"] < 0:
                batch, q = int(note["batch"]), int(note["cache"])
                self._unfinished.setdefault(q, set()).add(batch)
                self._after(start_s, partial(self._store, path, n_bytes, q, batch))
            else:
                i, r = int(note["instance"]), int(note["request"])
                self._cluster.instances["n_flows"][i] += 1
                self._after(start_s, partial(self._load, path, n_bytes, i, r))

    def _path(self, way: str, note: np.void) -> Path:
        q, i = int(note["cache"]), int(note["instance"])
        tier = self._cluster.tiers[q]
        is_local = tier["placement"] == HASHED and q % len(self._cluster.instances) == i
        path: list[Hashable] = []
        if tier["up_s"] > 0 and not is_local:
            path.append((f"tier {way}", q))
        if note["crosses"]:
            path.append((way, i))
        return tuple(path)

    def _start_s(self, note: np.void, path: Path) -> float:
        starts = [0.0]
        if note["crosses"]:
            starts.append(float(self._cluster.links[START_S]))
        if len(path) > note["crosses"]:
            starts.append(float(self._cluster.tiers[int(note["cache"])]["start_s"]))
        return max(starts)

    def _after(self, seconds: float, begin: Callable[[], None]) -> None:
        """Begin after the time that it takes to start a transfer."""
        event = self._calendar.at(self._calendar.now + seconds, simpy.events.URGENT)
        assert event.callbacks is not None
        event.callbacks.append(lambda _: begin())

    def _move(self, path: Path, n_bytes: float, then: Callable[[], None] | None) -> None:
        """Move bytes over a path; one without links, within a GPU, takes no time."""
        if path and n_bytes > 0:
            self._links.start(path, n_bytes, then)
        elif then is not None:
            then()

    def _load(self, path: Path, n_bytes: float, i: int, r: int) -> None:
        """Load blocks for request `r`: what it waits for, then the rest."""
        exposed = self._exposed_bytes(path, n_bytes, r)

        def loaded() -> None:
            self._cluster.instances["n_flows"][i] -= 1
            request = self._cluster.requests[r]
            request["n_transfers"] -= 1
            if request["n_transfers"] == 0:
                request["loaded_s"] = self._calendar.now
            self._move(path, n_bytes - exposed, None)

        self._move(path, exposed, loaded)

    def _store(self, path: Path, n_bytes: float, q: int, batch: int) -> None:
        """Store a batch of blocks; batches count as ready in the order of their start."""

        def stored() -> None:
            unfinished = self._unfinished[q]
            unfinished.remove(batch)
            tier = self._cluster.tiers[q]
            tier["done_batch"] = min(unfinished) - 1 if unfinished else tier["batch"]

        self._move(path, n_bytes, stored)

    def _exposed_bytes(self, path: Path, n_bytes: float, r: int) -> float:
        """Return the bytes of a load that its request waits for: a later layer's may come later."""
        n_layers = int(self._cluster.record["n_layers"][0])
        if n_layers <= 1 or not path:
            return n_bytes
        alone_s = n_bytes / self._links.bandwidth(path)
        overlap_s = float(self._cluster.requests["overlap_s"][r])
        hidden_s = min(overlap_s, alone_s * (1 - 1 / n_layers))
        return n_bytes * (1 - hidden_s / alone_s)
