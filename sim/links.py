"""Links whose bandwidth all transfers share fairly, in simpy. Knows no block and no policy.

At every moment the rates are max-min fair: the link that is shared by most for its bandwidth
limits the transfers on it to equal parts; what they leave elsewhere goes to the others in the same
way. Between two changes of the set of transfers all rates are constant, so the next end is known.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import simpy

from .event_calendar import Calendar

ENDS_FIRST = simpy.events.URGENT
"""What ends at the time of an arrival, or of the start of a step, ends before it."""


@dataclass(slots=True, eq=False)
class Transfer:
    """Bytes on their way over one link, or over several in a row at once."""

    path: tuple[Hashable, ...]
    left_bytes: float
    then: Callable[[], None] | None
    rate: float = 0.0
    """Bytes a second."""
    frozen: bool = field(default=False)


class Links:
    """Links by name, and the transfers on them."""

    def __init__(self, calendar: Calendar) -> None:
        """Start without links; `calendar` is the simpy environment of the run."""
        self._calendar = calendar
        self._bytes_per_s: dict[Hashable, float] = {}
        self._transfers: list[Transfer] = []
        self._as_of_s = 0.0
        self._version = 0

    def add(self, name: Hashable, bytes_per_s: float) -> None:
        """Make a link."""
        self._bytes_per_s[name] = bytes_per_s

    def bandwidth(self, path: Sequence[Hashable]) -> float:
        """Bytes a second of a transfer that has the links of `path` for itself."""
        return min(self._bytes_per_s[name] for name in path)

    def start(
        self, path: tuple[Hashable, ...], n_bytes: float, then: Callable[[], None] | None
    ) -> None:
        """Begin a transfer over all links of `path` now; call `then` when it ends."""
        self._catch_up()
        self._transfers.append(Transfer(path, n_bytes, then))
        self._plan()

    def _catch_up(self) -> None:
        """Count what has been moved since the last change."""
        now_s = self._calendar.now
        passed_s = now_s - self._as_of_s
        if passed_s > 0.0:
            for transfer in self._transfers:
                transfer.left_bytes -= transfer.rate * passed_s
        self._as_of_s = now_s

    def _plan(self) -> None:
        """Share the links out anew, and wait for the first transfer that ends."""
        self._version += 1
        if not self._transfers:
            return
        self._share()
        first = min(self._transfers, key=lambda transfer: transfer.left_bytes / transfer.rate)
        end_s = self._as_of_s + max(0.0, first.left_bytes / first.rate)
        version = self._version
        event = self._calendar.at(end_s, ENDS_FIRST)
        event.callbacks.append(lambda _: self._end(first, version))

    def _share(self) -> None:
        """Give each transfer its max-min fair rate."""
        left = dict(self._bytes_per_s)
        users: dict[Hashable, int] = {}
        for transfer in self._transfers:
            transfer.frozen = False
            for name in transfer.path:
                users[name] = users.get(name, 0) + 1
        n_open = len(self._transfers)
        while n_open:
            tightest = min(users, key=lambda name: left[name] / users[name])
            rate = left[tightest] / users[tightest]
            for transfer in self._transfers:
                if transfer.frozen or tightest not in transfer.path:
                    continue
                transfer.frozen = True
                transfer.rate = rate
                n_open -= 1
                for name in transfer.path:
                    left[name] = max(0.0, left[name] - rate)
                    users[name] -= 1
                    if not users[name]:
                        del users[name]

    def _end(self, transfer: Transfer, version: int) -> None:
        if version != self._version:
            return  # the set of transfers has changed since: another event stands for this one
        self._catch_up()
        self._transfers.remove(transfer)
        self._plan()
        if transfer.then is not None:
            transfer.then()
