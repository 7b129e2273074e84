"""Solids before a camera: where rays meet them, and what they look like."""
