"""What is in a trace: arrivals, lengths, turns, reuse. Knows no cache, no capacity, no model."""

from .description import Description, Spread, describe
from .whole import Characterisation, characterise

__all__ = ["Characterisation", "Description", "Spread", "characterise", "describe"]
