"""Annotators that are models of Hugging Face's transformers; `network.py` alone imports it."""
