"""Tokenizers that others released: where they are, how their files are laid out, and how they become ours."""
