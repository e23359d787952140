"""Random numbers by name: each use has a stream of its own, so that none shifts another."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, name: str) -> np.random.Generator:
    """Return the generator called `name` of the run `seed`; equal arguments, equal draws."""
    words = np.frombuffer(hashlib.sha256(name.encode()).digest(), np.uint32)
    key = tuple(int(word) for word in words[:4])
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))
