"""What-if studies: comparisons, miss-ratio curves, bounds."""
