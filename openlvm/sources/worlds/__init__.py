"""Worlds: unlimited pictures drawn by rules, with exact targets, as sources and as puzzles with options."""
