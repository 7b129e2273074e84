"""Continues rows of codes: prompts in, codes out; knows no images."""
