"""Codes on disk, one row per image, and the order in which sentences are composed from them."""
