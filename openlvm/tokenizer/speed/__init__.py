"""Faster encoding and decoding with weights that no longer change: `prepare.prepare_for_inference`."""
