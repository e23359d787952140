"""Texts as token blocks: with a tokenizer, or estimated from words. Knows no file format."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError

BLOCK_TOKENS = 16
"""Tokens a block of a text has."""
_SEED = 16


class TextTokens:
    """Turns texts into numbers for tokens; equal texts give equal numbers.

    With the path of a `tokenizer.json` they are its tokens. Otherwise each word counts
    `tokens_per_word` tokens, 1.3 being usual for English.
    """

    def __init__(self, tokenizer: str, tokens_per_word: float) -> None:
        if not 0.1 <= tokens_per_word <= 100:
            raise ConfigError(f"tokens_per_word must be from 0.1 to 100, got {tokens_per_word}")
        self._tokens_per_word = tokens_per_word
        self._number_of_word: dict[str, int] = {}
        self._tokenizer = _loaded(tokenizer) if tokenizer else None
        if tokenizer:
            self.note = f"lengths and blocks are those of the tokenizer {tokenizer}"
        else:
            self.note = f"lengths and blocks are estimated: {tokens_per_word:g} tokens a word"

    def encode(self, text: str) -> NDArray[np.int64]:
        """Return a number for each token."""
        if self._tokenizer is not None:
            return np.array(self._tokenizer.encode(text).ids, np.int64)
        numbers = self._number_of_word
        words = [numbers.setdefault(word, len(numbers)) for word in text.split()]
        ends = np.floor(np.arange(len(words) + 1) * self._tokens_per_word).astype(np.int64)
        return np.repeat(np.array(words, np.int64), np.diff(ends))


def _loaded(path: str):  # type: ignore[no-untyped-def]  # noqa: ANN202  (a tokenizers.Tokenizer)
    try:
        from tokenizers import Tokenizer  # type: ignore[import-not-found]
    except ImportError:
        told = "the package tokenizers, which is not installed; or give tokens_per_word instead"
        raise ConfigError(f"tokenizer {path} needs {told}") from None
    try:
        return Tokenizer.from_file(path)
    except Exception as error:  # the package raises bare Exceptions
        reason = str(error).splitlines()[0][:100]
        raise ConfigError(
            f"tokenizer must be a tokenizer.json file, got {path}: {reason}"
        ) from None


def block_contents(tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a 63-bit number for the content of each full block of `tokens`.

    Multilinear hashing with fixed odd multipliers: two different blocks among a million collide
    with a probability below 1e-6.
    """
    n = len(tokens) // BLOCK_TOKENS
    rng = np.random.default_rng(_SEED)
    factors = rng.integers(0, 2**63, BLOCK_TOKENS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    blocks = tokens[: n * BLOCK_TOKENS].reshape(n, BLOCK_TOKENS).astype(np.uint64)
    mixed = (blocks + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    sums = (mixed * factors).sum(axis=1, dtype=np.uint64)
    sums ^= sums >> np.uint64(32)
    return (sums * np.uint64(0xD6E8FEB86659FD93) >> np.uint64(1)).astype(np.int64)
