"""Metrics as sums that add and values taken of sums: exact over ragged batches, over episodes and over processes."""
