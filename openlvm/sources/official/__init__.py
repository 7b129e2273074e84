"""Layouts of published image datasets: annotation files, shards, pictures matched by patterns."""
