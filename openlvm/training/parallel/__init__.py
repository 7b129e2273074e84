"""What several ranks do together: shared sums and starts, modules split over ranks, checkpoints in shards."""
