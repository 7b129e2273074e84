"""Finished stores from records of others: merged, split, sampled; nothing is encoded again."""
