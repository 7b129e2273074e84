"""Which records of stores are the same, or nearly: duplicates in one, contamination between two."""
