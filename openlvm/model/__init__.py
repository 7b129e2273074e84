"""Codes -> logits: the decoder with its table of sizes and its cache, and its form on disk."""
