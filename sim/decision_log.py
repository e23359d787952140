"""The scheduler's decisions as text, one line a step, to compare with a real scheduler.

    step|request:n:computed,...|preempted,...|finished,...|free blocks

Entries are in batch order; requests are rows of the trace. A timed line starts with the step's
start time as Python's `float.hex()` writes it, and `|`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import IO

from .. import OutputError
from .records import MARK_LOG, MARK_LOG_STEPS
from .state import Cluster


class DecisionLog:
    """Turns the records of compiled code into lines and digests, and writes the lines.

    With several instances the log of instance i goes to `path` with `.i` appended.
    """

    def __init__(self, path: Path | None, n_instances: int) -> None:
        self._paths = [
            None if path is None else path if n_instances == 1 else Path(f"{path}.{i}")
            for i in range(n_instances)
        ]
        self._files: list[IO[str] | None] = [
            None if p is None else _open_part(p) for p in self._paths
        ]
        self._decisions = [hashlib.sha256() for _ in range(n_instances)]
        self._timed = [hashlib.sha256() for _ in range(n_instances)]

    def take(self, c: Cluster) -> None:
        """Write out the records gathered so far and make room for others."""
        record = c.log[: c.marks[MARK_LOG]].tolist()
        start_s = c.log_start_s[: c.marks[MARK_LOG_STEPS]].tolist()
        c.marks[MARK_LOG] = c.marks[MARK_LOG_STEPS] = 0
        at = 0
        for time_s in start_s:
            i, step, n_entries, n_preempted, n_finished, free = record[at : at + 6]
            at += 6
            entries = ",".join(
                f"{record[e]}:{record[e + 1]}:{record[e + 2]}"
                for e in range(at, at + 3 * n_entries, 3)
            )
            at += 3 * n_entries
            preempted = ",".join(map(str, record[at : at + n_preempted]))
            at += n_preempted
            finished = ",".join(map(str, record[at : at + n_finished]))
            at += n_finished
            line = f"{step}|{entries}|{preempted}|{finished}|{free}\n"
            self._decisions[i].update(line.encode())
            self._timed[i].update(f"{time_s.hex()}|{line}".encode())
            file = self._files[i]
            if file is not None:
                file.write(line)

    def digests(self) -> tuple[list[str], list[str]]:
        """SHA-256 of all lines and of all timed lines, an instance each."""
        return [d.hexdigest() for d in self._decisions], [d.hexdigest() for d in self._timed]

    def close(self, *, keep: bool) -> None:
        """Move the files into place, or remove them."""
        for path, file in zip(self._paths, self._files, strict=True):
            if path is None or file is None:
                continue
            file.close()
            part = Path(f"{path}.part")
            if keep:
                part.replace(path)
            else:
                part.unlink()


def _open_part(path: Path) -> IO[str]:
    part = Path(f"{path}.part")
    try:
        return part.open("w", encoding="ascii", newline="\n")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from None
