"""Training a tokenizer: its pictures and its objective."""
