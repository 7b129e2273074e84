"""Scores that need no drawing: how likely true answers are, by examples shown, and choices among options."""
