"""Records -> pseudo-labels, by other people's models."""
