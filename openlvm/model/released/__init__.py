"""Decoders as others write them: Hugging Face folders, DeLVM's checkpoints, EasyLM's streams; writing for others."""
