"""Datasets as they lie on disk, read as records; nothing here knows of codes."""
