"""Suites: named sets of tasks on held-out data, their scores, and the figures they must reach."""
