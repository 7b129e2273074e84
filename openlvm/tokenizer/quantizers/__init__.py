"""Latents to codes: one class for each way, all of them a `Quantizer` (interface.py)."""
