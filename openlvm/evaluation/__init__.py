"""How good answers are: metrics, tasks, and the conditions that keep a score honest."""
